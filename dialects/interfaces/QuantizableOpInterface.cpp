//===- QuantizableOpInterface.cpp - Ops with quantisable weights ----------===//
#include "dialects/interfaces/QuantizableOpInterface.h"

#include "dialects/interfaces/QuantizableOpInterface.cpp.inc"
