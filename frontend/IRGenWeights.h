//===- IRGenWeights.h - Weights by name and view ----------------*- C++ -*-===//
//
// Turns the names and views of a .moe file into `moe.weight` declarations and
// checks them against the checkpoint, if there is one.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_FRONTEND_IRGENWEIGHTS_H
#define MOEC_FRONTEND_IRGENWEIGHTS_H

#include "frontend/IRGen.h"
#include "frontend/Sema.h"
#include "frontend/weights/TensorSource.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringSet.h"

#include <map>

namespace moec::irgen {

/// The type that a `dtype` names: f32, bf16 or f16.
mlir::Type floatOfName(mlir::Builder &builder, llvm::StringRef name);


/// `[...]`, `.T` or `.view(...)` with its numbers.
struct WeightView {
  enum class Kind { Slice, Transpose, Reshape };
  struct Dim {
    bool isIndex = false;
    int64_t begin = 0; ///< the index itself when it is one
    std::optional<int64_t> end;
    int64_t step = 1;
  };

  Kind kind = Kind::Transpose;
  llvm::SmallVector<Dim, 3> dims;      ///< Slice
  llvm::SmallVector<int64_t, 4> shape; ///< Reshape
  SourceRange range;
};

/// A named tensor with views, and perhaps a number added to it.
struct WeightTerm {
  std::string name; ///< full, with all prefixes
  std::string alias;
  std::vector<WeightView> views; ///< in the order in which they act
  std::optional<double> offset;
  SourceRange range;
};

/// `"w"` or `"w" + "b"`.
struct WeightMap {
  WeightTerm weight;
  std::optional<WeightTerm> bias;
};

/// A size of a weight and where it comes from, for notes.
struct DimSource {
  int64_t value = 0;
  llvm::StringRef name; ///< of the dim, empty if it is none
  SourceRange range;
};

/// What an operation expects of a weight.
struct WeightUse {
  llvm::StringRef operation; ///< "glu"
  llvm::StringRef argument;  ///< "gate"
  llvm::StringRef formula;   ///< "width x hidden"
  llvm::SmallVector<DimSource, 2> dims;
  /// What the operation takes of the weight: views of what has these dims.
  std::vector<WeightView> parts;
  llvm::StringRef role;
  int64_t layer = -1;
  int64_t expert = -1;
  bool isIds = false; ///< integers, which become i32
  std::optional<mlir::Location> loc;

  llvm::SmallVector<int64_t, 2> shape() const;
};

/// Names of one symbol table, each given once.
class SymbolNames {
public:
  /// `base` if it is free, otherwise with `separator` and the first number from
  /// 1 that makes it so.
  std::string take(llvm::StringRef base, llvm::StringRef separator);
  /// Always with a number.
  std::string takeNumbered(llvm::StringRef base, llvm::StringRef separator);

private:
  llvm::StringSet<> used;
  llvm::StringMap<unsigned> next;
};

/// A declared weight.
struct WeightSymbol {
  mlir::StringAttr name;
  mlir::RankedTensorType type;
};

/// The weights of a module, in the order of their first use.
class WeightTable {
public:
  WeightTable(const SemaModel &model, const ImportOptions &options,
              mlir::MLIRContext &context, SymbolNames &symbols,
              Diagnostics &diagnostics);

  /// Opens the files of the model. False after reporting errors.
  bool openFiles();

  /// The weight of `term` for `use`. Nothing after reporting an error.
  std::optional<WeightSymbol> get(const WeightTerm &term, const WeightUse &use);

  /// The length of the whole stored vector `term`, where a checkpoint tells.
  std::optional<int64_t> lengthOf(const WeightTerm &term);

  /// Says what a weight is for, where that shows only at a use of its product.
  void setRole(llvm::StringRef symbol, llvm::StringRef role);

  /// Adds to messages about missing tensors which others miss there.
  void completeMissing();
  /// Reports tensors that nothing names and patterns that match nothing.
  void checkUnused();

  /// Declares all weights at the insertion point.
  void emit(mlir::OpBuilder &builder);
  /// The attribute moe.weight_files.
  mlir::ArrayAttr fileList();

  size_t size() const { return entries.size(); }

private:
  struct Entry {
    WeightSymbol symbol;
    mlir::ArrayAttr recipe;
    int64_t layer, expert;
    std::string role;
    mlir::Location loc;
    SourceRange range;
  };
  using Shape = llvm::SmallVector<int64_t, 4>;
  using Steps = llvm::SmallVector<mlir::Attribute, 4>;

  std::optional<FoundTensor> findTensor(const WeightTerm &term);
  mlir::Type elementType(FoundTensor tensor, const WeightTerm &term);
  mlir::Type idType(FoundTensor tensor, const WeightTerm &term);
  bool applyViews(llvm::ArrayRef<WeightView> views, Shape &shape, Steps &steps);
  bool applySlice(const WeightView &view, Shape &shape, Steps &steps);
  bool applyReshape(const WeightView &view, Shape &shape, Steps &steps);
  bool applyTranspose(const WeightView &view, Shape &shape, Steps &steps);
  bool planWithoutFile(const WeightTerm &term, const WeightUse &use,
                       Shape &shape, Steps &steps);
  bool invertSlice(const WeightView &view, Shape &shape, Steps &steps);
  void reportShape(const WeightTerm &term, const WeightUse &use,
                   llvm::ArrayRef<int64_t> found, FoundTensor tensor);
  std::string adviceFor(const WeightTerm &term, const WeightUse &use,
                        llvm::ArrayRef<int64_t> found);
  bool firstAt(DiagId id, SourceRange range);

  const SemaModel &model;
  const ImportOptions &options;
  mlir::MLIRContext &context;
  SymbolNames &symbols;
  Diagnostics &diagnostics;
  TensorFiles files;
  std::vector<Entry> entries;
  llvm::DenseMap<mlir::Attribute, size_t> byRecipe;
  llvm::StringMap<size_t> bySymbol;
  llvm::StringSet<> named; ///< alias, a zero byte, tensor
  llvm::DenseSet<std::pair<unsigned, uint32_t>> reported;
  /// Missing tensors by the place that names them: a name is expanded once per
  /// layer and expert. The first is reported at once.
  struct Missing {
    DiagnosticBuilder message;
    SourceRange range;
    std::vector<std::string> names; ///< that of the message first
  };
  std::map<uint32_t, Missing> missing;
};

} // namespace moec::irgen

#endif // MOEC_FRONTEND_IRGENWEIGHTS_H
