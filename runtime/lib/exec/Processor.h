//===- Processor.h - Which variants this processor can run ----------------===//
#ifndef MOEC_RUNTIME_LIB_EXEC_PROCESSOR_H
#define MOEC_RUNTIME_LIB_EXEC_PROCESSOR_H

#include "runtime/lib/load/ModelDescription.h"

namespace moe::rt {

/// Whether the processor and the operating system offer a feature, by LLVM's
/// name of it ("avx2", "avx512bw"). False for names we do not know: a variant
/// that is not chosen is slower, one that is chosen wrongly ends the process.
bool processorHas(const std::string &feature);

/// Sets Variant::available from the processor's features and the environment
/// variable MOE_ISA. Fails when MOE_ISA is not a level or names a level that
/// this processor lacks. `runnable` says whether every function has a variant
/// left.
absl::Status markAvailableVariants(const std::string &path,
                                   ModelDescription &model,
                                   absl::Status &runnable);

} // namespace moe::rt

#endif // MOEC_RUNTIME_LIB_EXEC_PROCESSOR_H
