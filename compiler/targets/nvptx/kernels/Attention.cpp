//===- Attention.cpp - Grouped-query attention ----------------------------===//
#include "compiler/targets/nvptx/NvKernels.h"

using namespace mlir;
using namespace moec;
using namespace moec::nvptx;

FailureOr<Launches> nvptx::attentionLaunches(const KernelRequest &request) {
  return request.op->emitOpError("is not built for target 'nvptx' yet");
}
