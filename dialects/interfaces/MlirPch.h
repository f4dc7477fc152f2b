//===- MlirPch.h - Precompiled header of libmoec ----------------*- C++ -*-===//
//
// The MLIR headers that most sources need. NVVMDialect.h stays out: it alone
// costs more than all of these (docs/rationale/build.md).
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_DIALECTS_INTERFACES_MLIRPCH_H
#define MOEC_DIALECTS_INTERFACES_MLIRPCH_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Transforms/DialectConversion.h"
#include "llvm/ADT/TypeSwitch.h"

#endif // MOEC_DIALECTS_INTERFACES_MLIRPCH_H
