//===- WeightInterfaces.cpp - Formats and layouts -------------------------===//
#include "dialects/interfaces/WeightInterfaces.h"

#include "dialects/interfaces/WeightAttrInterfaces.cpp.inc"
