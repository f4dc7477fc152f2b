//===- ModelFamily.cpp - The families that are linked in ------------------===//

#include "frontend/importers/ModelFamily.h"

#include "llvm/ADT/STLExtras.h"

#include <deque>

using namespace moec::importers;

/// In the order of static initialisation, which nothing may depend on. A deque
/// keeps its elements where they are.
static std::deque<ModelFamily> &registry() {
  static std::deque<ModelFamily> families;
  return families;
}

FamilyRegistration::FamilyRegistration(ModelFamily family) {
  registry().push_back(std::move(family));
}

std::vector<const ModelFamily *> moec::importers::modelFamilies() {
  std::vector<const ModelFamily *> result;
  for (const ModelFamily &family : registry())
    result.push_back(&family);
  llvm::sort(result, [](const ModelFamily *a, const ModelFamily *b) {
    return a->name() < b->name();
  });
  return result;
}

const ModelFamily *moec::importers::findModelFamily(llvm::StringRef modelType) {
  for (const ModelFamily &family : registry())
    if (llvm::is_contained(family.modelTypes, modelType))
      return &family;
  return nullptr;
}
