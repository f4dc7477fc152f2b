//===- WeightFiles.cpp - The weight files of a module ---------------------===//

#include "compiler/driver/WeightFiles.h"

#include "mlir/IR/BuiltinAttributes.h"

using namespace moec;
using namespace mlir;

LogicalResult moec::openWeightFiles(ModuleOp module, TensorFiles &files,
                                    Diagnostics &diagnostics) {
  auto list = module->getAttrOfType<ArrayAttr>("moe.weight_files");
  if (!list)
    return success();
  for (Attribute entry : list) {
    auto pair = dyn_cast<ArrayAttr>(entry);
    auto alias =
        pair && pair.size() == 2 ? dyn_cast<StringAttr>(pair[0]) : StringAttr();
    auto path = alias ? dyn_cast<StringAttr>(pair[1]) : StringAttr();
    if (!path)
      return module.emitError()
             << "expected pairs of alias and path in 'moe.weight_files', found "
             << entry;
    if (!files.add(alias, path, /*directory=*/".", SourceRange(), diagnostics))
      return failure();
  }
  return success();
}
