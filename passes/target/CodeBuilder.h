//===- CodeBuilder.h - Short forms for building CPU code --------*- C++ -*-===//
//
// Kernels and step functions are built from scf, arith, vector and LLVM
// pointers. This builder gives the few shapes they use: i64 arithmetic that
// folds, structured control flow with lambdas, and typed access to memory.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_PASSES_TARGET_CODEBUILDER_H
#define MOEC_PASSES_TARGET_CODEBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"

namespace moec::target {

/// Elements that row code handles at a time, on every instruction set: the 16
/// partial sums of `row.reduce` and the 16 rows of a weight block.
constexpr int64_t kLanes = 16;

class CodeBuilder : public mlir::ImplicitLocOpBuilder {
public:
  using Value = mlir::Value;
  using Type = mlir::Type;
  using Values = llvm::SmallVector<mlir::Value>;

  /// Builds at the end of `entry`, the first block of a function.
  CodeBuilder(mlir::Location loc, mlir::Block *entry);

  //===--------------------------------------------------------------------===//
  // Types
  //===--------------------------------------------------------------------===//

  Type ptrType();
  mlir::VectorType vectorOf(Type element, int64_t lanes = kLanes);
  /// The type in which memory is accessed: 16-bit floats as integers, so that
  /// no instruction selection for them is ever needed.
  static Type storageType(Type type);
  static int64_t byteSize(Type type);
  static bool isSmallFloat(Type type);
  /// Whether rows of this element type can be read and written.
  static bool isMemoryType(Type type);

  //===--------------------------------------------------------------------===//
  // Values
  //===--------------------------------------------------------------------===//

  Value i64(int64_t value);
  Value i32(int64_t value);
  /// A scalar or splat constant of an integer or float type.
  Value constant(Type type, double value);
  Value splat(Value scalar, int64_t lanes = kLanes);
  /// A constant vector of i32 or i1 lanes.
  Value lanes(llvm::ArrayRef<int64_t> values, unsigned bits);

  Value add(Value a, Value b);
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  /// Unsigned quotient and remainder; sizes are never negative.
  Value div(Value a, Value b);
  Value rem(Value a, Value b);
  Value min(Value a, Value b);
  Value max(Value a, Value b);
  Value add(Value a, int64_t b) { return b ? add(a, i64(b)) : a; }
  Value mul(Value a, int64_t b) { return b == 1 ? a : mul(a, i64(b)); }
  Value div(Value a, int64_t b) { return b == 1 ? a : div(a, i64(b)); }
  Value rem(Value a, int64_t b) { return rem(a, i64(b)); }
  Value compare(mlir::arith::CmpIPredicate predicate, Value a, Value b);
  Value lessThan(Value a, Value b);
  Value select(Value condition, Value a, Value b);
  /// A signed integer as i64.
  Value widen(Value value);
  /// `value` times `factor` plus `sum`, fused where the level has it.
  Value mulAdd(Value value, Value factor, Value sum, bool fused);
  /// Any float as f32, and f32 as any float, scalars or vectors.
  Value toF32(Value value);
  Value fromF32(Value value, Type element);
  /// f32 rounded to `type`, which products are computed in, and back: of f32 and
  /// integers `value` itself.
  Value roundTo(Value value, Type type);

  Value shuffle(Value a, Value b, llvm::ArrayRef<int64_t> mask);
  /// Lanes `first` .. `first + count - 1`.
  Value slice(Value vector, int64_t first, int64_t count);
  /// Vectors of equal length, one after the other.
  Value concat(llvm::ArrayRef<Value> parts);
  Value extract(Value vector, int64_t lane);
  /// The fixed tree of `row.reduce`: lane l with lane l + n/2, and so on.
  Value foldLanes(Value vector,
                  llvm::function_ref<Value(Value, Value)> combine);

  //===--------------------------------------------------------------------===//
  // Memory
  //===--------------------------------------------------------------------===//

  /// `bytes` of the stack, aligned to a cache line, reserved once per call.
  Value stack(int64_t bytes);
  /// All that stack() has reserved.
  int64_t getStackBytes() const { return stackBytes; }

  /// Notes that all participants meet here, and says how often they do; nothing
  /// where that depends on a condition or a loop.
  void noteBarrier();
  std::optional<unsigned> getBarriers() const { return barriers; }

  /// The address of element `index`, in the address space of `pointer`.
  Value element(Value pointer, Value index, Type type);
  Value field(Value pointer, int64_t offset);
  Value load(Value pointer, Type type);
  Value load(Value pointer, Value index, Type type) {
    return load(element(pointer, index, type), type);
  }
  void store(Value value, Value pointer);
  void store(Value value, Value pointer, Value index) {
    store(value, element(pointer, index, value.getType()));
  }
  /// `active` of `lanes` consecutive elements; the other lanes repeat the
  /// first, so that arithmetic on them is as safe as on a real element.
  Value loadLanes(Value pointer, Value index, Type type,
                  int64_t active = kLanes, int64_t lanes = kLanes);
  void storeLanes(Value vector, Value pointer, Value index,
                  int64_t active = kLanes);

  //===--------------------------------------------------------------------===//
  // Control flow
  //===--------------------------------------------------------------------===//

  void loop(Value low, Value high, int64_t step,
            llvm::function_ref<void(Value)> body);
  /// A step that is known at run time only; it is positive.
  void loop(Value low, Value high, Value step,
            llvm::function_ref<void(Value)> body);
  Values loop(Value low, Value high, Value step, mlir::ValueRange init,
              llvm::function_ref<Values(Value, mlir::ValueRange)> body);
  void ifThen(Value condition, llvm::function_ref<void()> body);
  void ifElse(Value condition, llvm::function_ref<void()> yes,
              llvm::function_ref<void()> no);
  /// The values of one side.
  Values choose(Value condition, llvm::function_ref<Values()> yes,
                llvm::function_ref<Values()> no);
  /// The first value from `start` on for which `stop` does not hold: advances
  /// by one while `proceed` is true.
  Value advance(Value start, llvm::function_ref<Value(Value)> proceed);

  /// Rebuilds elementwise arithmetic on other operands: on vectors of `lanes`
  /// where any of them is one. Null after an error.
  mlir::Operation *rebuild(mlir::Operation &op, mlir::ValueRange operands,
                           int64_t lanes = kLanes);

  /// Builds a vector form of scalar arithmetic: values that depend on no vector
  /// stay scalar. `arguments` replace the block's; `lookup` gives values from
  /// outside. Returns what the terminator yields, or failure after an error.
  mlir::FailureOr<Values>
  vectorize(mlir::Block &body, mlir::ValueRange arguments, int64_t lanes,
            llvm::function_ref<Value(Value)> lookup);

private:
  mlir::Block *entry;
  int64_t stackBytes = 0;
  std::optional<unsigned> barriers = 0;
};

} // namespace moec::target

#endif // MOEC_PASSES_TARGET_CODEBUILDER_H
