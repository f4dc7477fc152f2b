//===- ManifestBuilder.h - What an artifact says about itself ---*- C++ -*-===//
#ifndef MOEC_COMPILER_ARTIFACT_MANIFESTBUILDER_H
#define MOEC_COMPILER_ARTIFACT_MANIFESTBUILDER_H

#include "compiler/artifact/WeightPacker.h"

#include "mlir/IR/BuiltinOps.h"

#include <cstdint>
#include <memory>
#include <string>

namespace moe::manifest {
struct ManifestT;
} // namespace moe::manifest

namespace moec {

/// LLVM triple of the artifacts we write.
inline constexpr char targetTriple[] = "x86_64-unknown-linux-gnu";

/// Describes a module after phase `target`, whose declarations are still there.
/// Numbers that are known only when the artifact is complete stay zero:
/// checksums, artifact_bytes. `sideFile` is the name of the file that holds the
/// weights, empty when they are embedded. Null after emitting a diagnostic.
std::unique_ptr<::moe::manifest::ManifestT>
buildManifest(mlir::ModuleOp module, const WeightPlan &plan,
              llvm::StringRef sideFile);

/// The bytes of the section. All scalars are written, zeros too, so that the
/// size does not depend on their values.
std::string serializeManifest(const ::moe::manifest::ManifestT &manifest);

/// XXH3-64 of the schema that the compiler was built with.
uint64_t manifestSchemaHash();

} // namespace moec

#endif // MOEC_COMPILER_ARTIFACT_MANIFESTBUILDER_H
