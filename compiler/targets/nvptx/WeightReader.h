//===- WeightReader.h - Numbers of stored weights ---------------*- C++ -*-===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_WEIGHTREADER_H
#define MOEC_COMPILER_TARGETS_NVPTX_WEIGHTREADER_H

#include "compiler/targets/nvptx/NvKernels.h"

#include "dialects/moeq/MoeqDialect.h"

namespace moec::nvptx {

/// Reads single numbers of a matrix [rows, columns] in any layout that weights
/// of a matmul have: #moeq.row_major, #moeq.row_blocks, #moeq.group_blocks.
class WeightReader {
public:
  WeightReader(const KernelOperand &operand, int64_t columns, Type compute);

  /// Whether operand `index` of `request` can be read; emits an error if not.
  static mlir::LogicalResult check(const KernelRequest &request, unsigned index,
                                   Type compute);

  /// Number (row, column) as f32, rounded to the type of computation; with i8
  /// the code, a whole number.
  Value load(CodeBuilder &b, Value matrix, Value row, Value column) const;
  /// Eight numbers of `row`, from `column`, a multiple of 8, on: as they were
  /// read, and what they are as f32, not rounded. `column` lies in the matrix,
  /// whose columns are a multiple of 8. `table` is what fillTable() filled,
  /// where there is one.
  CodeBuilder::Values loadUnit(CodeBuilder &b, Value matrix, Value row,
                               Value column) const;
  CodeBuilder::Values decodeUnit(CodeBuilder &b, mlir::ValueRange unit,
                                 Value table) const;
  /// Bytes of shared memory for the numbers of all codes at a scale of one: not
  /// none for formats that multiply the scale by what costs more than a load.
  int64_t getTableBytes() const;
  /// Fills it; a barrier has to follow.
  void fillTable(CodeBuilder &b, Value thread, Value table) const;
  /// The codes of 16 numbers of `row`, from `column`, a multiple of 16, on, of
  /// an integer format; and their integers, a byte each, as four words.
  CodeBuilder::Values loadCodes(CodeBuilder &b, Value matrix, Value row,
                                Value column) const;
  Value decodeCodes(CodeBuilder &b, mlir::ValueRange words) const;
  /// The scale of the group of `column`, as f32; of formats with one.
  Value loadScale(CodeBuilder &b, Value matrix, Value row, Value column) const;
  /// Columns that share a scale.
  int64_t getGroup() const { return group; }

  /// Task `i` of `rows` x `columns` numbers, multiples of 16 and 32: row and
  /// column, such that neighbouring tasks lie beside each other in memory.
  std::pair<Value, Value> spread(CodeBuilder &b, Value i, int64_t rows,
                                 int64_t columns) const;

private:
  /// The address of block `row` / 16 and of the unit of `column` in it.
  Value unitPointer(CodeBuilder &b, Value matrix, Value row,
                    Value column) const;
  /// The address of the word with the code of (row, column).
  Value wordPointer(CodeBuilder &b, Value matrix, Value row,
                    Value column) const;
  /// The place of (row, column), in elements; of plain numbers.
  Value getPlace(CodeBuilder &b, Value row, Value column) const;

  Type element;
  Type compute;
  QuantFormatAttrInterface format;
  mlir::Attribute layout;
  int64_t columns;
  int64_t group = 1;
  moeq::GroupUnit unit = {};
};

} // namespace moec::nvptx

#endif // MOEC_COMPILER_TARGETS_NVPTX_WEIGHTREADER_H
