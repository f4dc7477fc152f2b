//===- Registration.cpp - Everything a tool of ours knows -----------------===//

#include "compiler/driver/Registration.h"

#include "compiler/pipeline/Pipeline.h"
#include "dialects/moe/MoeDialect.h"
#include "dialects/moeq/MoeqDialect.h"
#include "dialects/moex/MoexDialect.h"
#include "dialects/nn/NnDialect.h"
#include "dialects/row/RowDialect.h"
#include "passes/Passes.h"
#include "passes/target/Passes.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVM.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVM.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/Extensions/InlinerExtension.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

void moec::registerAllMoecDialects(DialectRegistry &registry) {
  registry.insert<moe::MoeDialect, moeq::MoeqDialect, moex::MoexDialect,
                  nn::NnDialect, row::RowDialect>();
  registry
      .insert<arith::ArithDialect, cf::ControlFlowDialect, func::FuncDialect,
              LLVM::LLVMDialect, math::MathDialect, memref::MemRefDialect,
              scf::SCFDialect, tensor::TensorDialect, vector::VectorDialect>();
  func::registerInlinerExtension(registry);

  // convert-to-llvm asks each dialect; the translation to LLVM IR too.
  arith::registerConvertArithToLLVMInterface(registry);
  cf::registerConvertControlFlowToLLVMInterface(registry);
  registerConvertFuncToLLVMInterface(registry);
  registerConvertMathToLLVMInterface(registry);
  registerConvertMemRefToLLVMInterface(registry);
  vector::registerConvertVectorToLLVMInterface(registry);
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
}

void moec::registerAllMoecPasses() {
  registerTransformsPasses();
  registerMoecPasses();
  registerMoecPipelinePasses();
  target::registerMoecTargetPasses();
}
