//===- ReferenceOpInterface.cpp - Reference semantics ---------------------===//
#include "dialects/interfaces/ReferenceOpInterface.h"

#include "dialects/interfaces/ReferenceOpInterface.cpp.inc"

moec::ReferenceContext::~ReferenceContext() = default;
