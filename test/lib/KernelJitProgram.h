//===- KernelJitProgram.h - Step functions written by tests -----*- C++ -*-===//
//
// Builds the text of a module after phase `schedule` together with the memory
// that its operations use, runs it, and reads results back. All buffers lie in
// scratch, where a test can fill them:
//
//   StepProgram program;
//   program.buffer("x", "memref<?x8xf32>", values);
//   program.buffer("y", "memref<?x8xf32>", std::vector<float>(rows * 8));
//   program.op("moex.lookup ins(%x : $x) outs(%y : $y) rows #T");
//   program.tokens = rows;
//   ASSERT_EQ(program.run("generic", 2), "");
//   program.read<float>("y");
//
// `$x` stands for the type of `%x`, `#T`, `#B`, `#R` for the maps of extents to
// tokens, sequences and result rows.
//
//===----------------------------------------------------------------------===//
#ifndef MOEC_TEST_LIB_KERNELJITPROGRAM_H
#define MOEC_TEST_LIB_KERNELJITPROGRAM_H

#include "test/lib/KernelJit.h"

#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace moec::test {

class StepProgram {
public:
  using Bytes = std::vector<char>;

  template <typename T> static Bytes bytesOf(const std::vector<T> &values) {
    Bytes bytes(values.size() * sizeof(T));
    if (!bytes.empty())
      std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  }

  /// `%name`, a buffer of scratch with these elements at the start of each run.
  template <typename T>
  void buffer(const std::string &name, const std::string &type,
              const std::vector<T> &values) {
    addBuffer(name, type, bytesOf(values));
  }
  /// `%name`, a weight; `storage` in the order of its layout.
  template <typename T>
  void weight(const std::string &name, const std::string &shape,
              const std::string &layout, const std::vector<T> &storage,
              const std::string &format = "") {
    declareWeight(name, shape, layout, bytesOf(storage), format);
    define(name, "memref<" + shape + ">",
           "moex.weight @" + name + " : memref<" + shape + ">");
  }
  /// A weight that only expert tables name.
  template <typename T>
  void hiddenWeight(const std::string &name, const std::string &shape,
                    const std::string &layout, const std::vector<T> &storage) {
    declareWeight(name, shape, layout, bytesOf(storage));
  }
  /// `@name`, a page pool; read(name) gives it back.
  template <typename T>
  void state(const std::string &name, const std::string &row,
             const std::vector<T> &pool) {
    addState(name, row, bytesOf(pool));
  }
  /// Other bytes at the start of the buffer or state `name`: the program stays
  /// the same and is not compiled again.
  template <typename T>
  void fill(const std::string &name, const std::vector<T> &values) {
    fillBytes(name, bytesOf(values));
  }
  /// A declaration at module level.
  void declare(const std::string &text) { declarations += text + "\n"; }
  /// `%name = text`, a memory operation of result type `type`.
  void define(const std::string &name, const std::string &type,
              const std::string &text);
  /// An operation of the parallel region.
  void op(const std::string &text) { body += "    " + text + "\n"; }

  /// The batch. cu_seqlens is one sequence of all tokens if left empty.
  uint64_t tokens = 0, logitsRows = 0;
  std::vector<int32_t> ids, positions, cuSeqlens, pageTable, logitsRowIndices;
  std::vector<int8_t> kinds;
  uint64_t pagesPerSequence = 0;
  /// Raw inputs by modality: rows and memory.
  std::map<unsigned, std::pair<uint64_t, Bytes>> raw;
  /// Bytes per row of result 0.
  uint64_t outputRowBytes = 0;
  /// The text of `moex.scratch`; all buffers by default.
  std::string scratch;

  /// The memory of a step.
  struct Region {
    char *data;
    size_t bytes;
  };
  struct Memory {
    Region scratch, output;
    std::vector<Region> weights, states, batch;
  };
  /// Runs a step in place of a team of threads; returns what went wrong.
  std::function<std::string(KernelJit &jit, const moe_step_v1 &step,
                            const Memory &memory)>
      runner;

  /// Runs the step with fresh memory. Returns what went wrong, or nothing.
  std::string run(const std::string &level, unsigned threads);
  /// The buffer, state, or, named "output", result 0 after the last run.
  template <typename T> std::vector<T> read(const std::string &name) const {
    const Bytes &bytes = results.at(name);
    std::vector<T> values(bytes.size() / sizeof(T));
    if (!values.empty())
      std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  /// The module.
  std::string getText() const;
  /// The compiled functions of a level; null after an error.
  KernelJit *compile(const std::string &level, std::string &error);
  /// The memory of a run, to time steps: valid until the next run or change.
  moe_step_v1 prepare();

private:
  struct Buffer {
    std::string name;
    size_t offset;
    Bytes initial;
  };

  void addBuffer(const std::string &name, const std::string &type,
                 Bytes initial);
  void declareWeight(const std::string &name, const std::string &shape,
                     const std::string &layout, Bytes storage,
                     const std::string &format = "");
  void addState(const std::string &name, const std::string &row, Bytes pool);
  void fillBytes(const std::string &name, const Bytes &bytes);
  std::string substitute(const std::string &text) const;
  Memory getMemory();

  /// Memory as the ABI wants it: aligned.
  struct Aligned {
    explicit Aligned(size_t bytes) : storage(bytes + MOE_ALIGNMENT) {}
    char *data() {
      auto address = reinterpret_cast<uintptr_t>(storage.data());
      return storage.data() + (-address & (MOE_ALIGNMENT - 1));
    }
    Bytes storage;
  };

  std::string declarations, definitions, body;
  std::map<std::string, std::string> types;
  std::vector<Buffer> buffers;
  std::vector<Aligned> weights;
  std::vector<std::pair<std::string, Bytes>> states;
  size_t scratchBytes = 0;
  std::map<std::string, Bytes> results;
  std::map<std::string, std::unique_ptr<KernelJit>> compiled;

  // What the last prepare() pointed to.
  moe_batch_v1 batch{};
  std::vector<const void *> weightPointers;
  std::vector<Aligned> stateMemory;
  std::vector<void *> statePointers, outputPointers;
  std::vector<Aligned> scratchMemory, outputMemory;
};

} // namespace moec::test

#endif // MOEC_TEST_LIB_KERNELJITPROGRAM_H
