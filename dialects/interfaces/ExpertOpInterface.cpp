//===- ExpertOpInterface.cpp - What a set of experts offers ---------------===//
#include "dialects/interfaces/ExpertOpInterface.h"

#include "dialects/interfaces/ExpertOpInterface.cpp.inc"
