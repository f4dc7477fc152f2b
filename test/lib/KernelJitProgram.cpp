//===- KernelJitProgram.cpp - Step functions written by tests -------------===//
#include "test/lib/KernelJitProgram.h"

#include <algorithm>

using namespace moec::test;

void StepProgram::define(const std::string &name, const std::string &type,
                         const std::string &text) {
  types[name] = type;
  definitions += "    %" + name + " = " + text + "\n";
}

void StepProgram::addBuffer(const std::string &name, const std::string &type,
                            Bytes initial) {
  size_t offset = scratchBytes;
  // A gap of one line shows writes behind the end as differences of results.
  scratchBytes += (initial.size() + 127) / 64 * 64;
  define(name, type,
         "moex.arena_slice affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7)"
         " -> (" +
             std::to_string(offset) + ")> rows #T : " + type);
  buffers.push_back({name, offset, std::move(initial)});
}

void StepProgram::declareWeight(const std::string &name,
                                const std::string &shape,
                                const std::string &layout, Bytes storage,
                                const std::string &format) {
  declare("moe.weight @" + name + " : tensor<" + shape +
          "> from [#moe.tensor<\"" + name + "\">]" +
          (format.empty() ? "" : " format = " + format) +
          (layout.empty() ? "" : " layout = " + layout));
  Aligned memory(storage.size());
  std::copy(storage.begin(), storage.end(), memory.data());
  weights.push_back(std::move(memory));
}

void StepProgram::addState(const std::string &name, const std::string &row,
                           Bytes pool) {
  declare("nn.state @" + name + " per_token : tensor<" + row +
          "> cache_tokens = 1024");
  states.push_back({name, std::move(pool)});
}

void StepProgram::fillBytes(const std::string &name, const Bytes &bytes) {
  for (Buffer &buffer : buffers)
    if (buffer.name == name && bytes.size() <= buffer.initial.size())
      std::copy(bytes.begin(), bytes.end(), buffer.initial.begin());
  for (auto &[state, pool] : states)
    if (state == name && bytes.size() <= pool.size())
      std::copy(bytes.begin(), bytes.end(), pool.begin());
}

std::string StepProgram::substitute(const std::string &text) const {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$') {
      result += text[i];
      continue;
    }
    size_t end = i + 1;
    while (end < text.size() && (std::isalnum(text[end]) || text[end] == '_'))
      ++end;
    auto type = types.find(text.substr(i + 1, end - i - 1));
    result += type == types.end() ? "unknown" : type->second;
    i = end - 1;
  }
  return result;
}

std::string StepProgram::getText() const {
  const std::string dims = "affine_map<(T, B, R, M0, M1, M2, M3, M4, M5, M6, M7)"
                           " -> (";
  std::string map =
      scratch.empty() ? dims + std::to_string(scratchBytes) + ")>" : scratch;
  return "#T = " + dims + "T)>\n#B = " + dims + "B)>\n#R = " + dims +
         "R)>\nmodule {\n" + declarations +
         "func.func @f() attributes {moex.scratch = " + map +
         "} {\n  moex.parallel {\n" + definitions + substitute(body) +
         "  }\n  return\n}\n}\n";
}

KernelJit *StepProgram::compile(const std::string &level, std::string &error) {
  std::unique_ptr<KernelJit> &jit = compiled[level];
  if (!jit)
    jit = KernelJit::compile(getText(), level, error);
  return jit.get();
}

moe_step_v1 StepProgram::prepare() {
  if (cuSeqlens.empty())
    cuSeqlens = {0, static_cast<int32_t>(tokens)};
  batch = moe_batch_v1{};
  batch.size = sizeof(batch);
  batch.extents.size = sizeof(batch.extents);
  batch.extents.tokens = tokens;
  batch.extents.sequences = cuSeqlens.size() - 1;
  batch.extents.logits_rows = logitsRows;
  batch.tokens = ids.data();
  batch.kinds = kinds.data();
  batch.positions = positions.data();
  batch.cu_seqlens = cuSeqlens.data();
  batch.page_table = pageTable.data();
  batch.pages_per_sequence = pagesPerSequence;
  batch.logits_rows = logitsRowIndices.data();
  for (auto &[modality, input] : raw) {
    batch.extents.raw_inputs[modality] = input.first;
    batch.raw[modality] = input.second.data();
  }
  weightPointers.clear();
  for (Aligned &weight : weights)
    weightPointers.push_back(weight.data());
  stateMemory.clear();
  for (auto &[name, pool] : states) {
    stateMemory.emplace_back(pool.size());
    std::copy(pool.begin(), pool.end(), stateMemory.back().data());
  }
  statePointers.clear();
  for (Aligned &memory : stateMemory)
    statePointers.push_back(memory.data());
  // Bytes that nothing should write are recognisable.
  scratchMemory.clear();
  scratchMemory.emplace_back(scratchBytes);
  std::fill_n(scratchMemory[0].data(), scratchBytes, char(0x5a));
  for (const Buffer &buffer : buffers)
    std::copy(buffer.initial.begin(), buffer.initial.end(),
              scratchMemory[0].data() + buffer.offset);
  outputMemory.clear();
  outputMemory.emplace_back(logitsRows * outputRowBytes);
  outputPointers = {outputMemory[0].data()};

  moe_step_v1 step{};
  step.size = sizeof(step);
  step.batch = &batch;
  step.weights = weightPointers.data();
  step.states = statePointers.data();
  step.scratch = scratchMemory[0].data();
  step.outputs = outputPointers.data();
  return step;
}

StepProgram::Memory StepProgram::getMemory() {
  Memory memory;
  memory.scratch = {scratchMemory[0].data(), scratchBytes};
  memory.output = {outputMemory[0].data(), logitsRows * outputRowBytes};
  for (size_t i = 0; i < states.size(); ++i)
    memory.states.push_back({stateMemory[i].data(), states[i].second.size()});
  for (Aligned &weight : weights)
    memory.weights.push_back(
        {weight.data(), weight.storage.size() - MOE_ALIGNMENT});
  auto add = [&](auto &values) {
    if (!values.empty())
      memory.batch.push_back({reinterpret_cast<char *>(values.data()),
                              values.size() * sizeof(values[0])});
  };
  add(ids);
  add(kinds);
  add(positions);
  add(cuSeqlens);
  add(pageTable);
  add(logitsRowIndices);
  for (auto &[modality, input] : raw)
    add(input.second);
  return memory;
}

std::string StepProgram::run(const std::string &level, unsigned threads) {
  std::string error;
  KernelJit *jit = compile(level, error);
  if (!jit)
    return error + getText();
  moe_step_v1 step = prepare();
  if (runner) {
    if (error = runner(*jit, step, getMemory()); !error.empty())
      return error;
  } else if (int32_t status = jit->run("f", step, threads);
             status != MOE_STEP_OK) {
    return "status " + std::to_string(status);
  }
  results.clear();
  for (const Buffer &buffer : buffers) {
    const char *data = scratchMemory[0].data() + buffer.offset;
    results[buffer.name] = Bytes(data, data + buffer.initial.size());
    const char *end = data + buffer.initial.size();
    const char *next = scratchMemory[0].data() + buffer.offset +
                       (buffer.initial.size() + 127) / 64 * 64;
    if (std::any_of(end, next, [](char c) { return c != char(0x5a); }))
      return "bytes behind buffer " + buffer.name + " were written";
  }
  for (size_t i = 0; i < states.size(); ++i) {
    const char *data = stateMemory[i].data();
    results[states[i].first] = Bytes(data, data + states[i].second.size());
  }
  const char *output = outputMemory[0].data();
  results["output"] = Bytes(output, output + logitsRows * outputRowBytes);
  return "";
}
