//===- TargetBackend.cpp - What a target is -------------------------------===//
#include "compiler/targets/TargetBackend.h"

#include <mutex>

using namespace moec;

TargetBackend::~TargetBackend() = default;

namespace {
/// Static initialisers of several libraries use it, in any order.
struct Registry {
  std::mutex mutex;
  llvm::SmallVector<const TargetBackend *> backends;

  static Registry &get() {
    static Registry registry;
    return registry;
  }
};
} // namespace

void moec::registerTargetBackend(const TargetBackend *backend) {
  Registry &registry = Registry::get();
  std::lock_guard<std::mutex> lock(registry.mutex);
  registry.backends.push_back(backend);
  target::registerKernelEmitter(&backend->getKernelEmitter());
  registerTargetModel(backend->getName(), &backend->getModel());
}

const TargetBackend *moec::lookupTargetBackend(llvm::StringRef name) {
  for (const TargetBackend *backend : getTargetBackends())
    if (backend->getName() == name)
      return backend;
  return nullptr;
}

llvm::SmallVector<const TargetBackend *> moec::getTargetBackends() {
  Registry &registry = Registry::get();
  std::lock_guard<std::mutex> lock(registry.mutex);
  return registry.backends;
}
