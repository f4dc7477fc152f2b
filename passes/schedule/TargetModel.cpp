//===- TargetModel.cpp - What passes know of a target ---------------------===//
#include "passes/schedule/TargetModel.h"

#include "llvm/ADT/StringMap.h"

#include <mutex>

using namespace moec;

namespace {
/// Static initialisers of several libraries use it, in any order.
struct Registry {
  std::mutex mutex;
  llvm::StringMap<const TargetModel *> models;

  static Registry &get() {
    static Registry registry;
    return registry;
  }
};
} // namespace

void moec::registerTargetModel(llvm::StringRef target,
                               const TargetModel *model) {
  Registry &registry = Registry::get();
  std::lock_guard<std::mutex> lock(registry.mutex);
  registry.models[target] = model;
}

const TargetModel *moec::lookupTargetModel(llvm::StringRef target) {
  Registry &registry = Registry::get();
  std::lock_guard<std::mutex> lock(registry.mutex);
  return registry.models.lookup(target);
}
