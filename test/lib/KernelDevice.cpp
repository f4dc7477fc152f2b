//===- KernelDevice.cpp - Step functions on the emulated device -----------===//
#include "test/lib/KernelDevice.h"

#include "compiler/targets/nvptx/emulator/CudaApi.h"

#include <algorithm>
#include <cstdlib>
#include <map>

using namespace moec;
using namespace moec::test;

static CUdeviceptr addressOf(const void *pointer) {
  return reinterpret_cast<CUdeviceptr>(pointer);
}

KernelDevice::KernelDevice(unsigned seed) {
  setenv("MOE_CUDA_EMU_SEED", std::to_string(seed).c_str(), 1);
  CUcontext context;
  if (moeEmuReset() || cuInit(0) || cuDevicePrimaryCtxRetain(&context, 0))
    error = moeEmuLastError();
}

KernelDevice::~KernelDevice() {
  unsetenv("MOE_CUDA_EMU_SEED");
  moeEmuReset();
}

std::string KernelDevice::load(const JitKernels &given) {
  kernels.clear();
  CUmodule module;
  if (moeEmuModuleLoadIr(&module, given.ir.data(), given.ir.size()))
    return moeEmuLastError();
  for (const JitKernels::Kernel &kernel : given.kernels) {
    CUfunction function;
    if (cuModuleGetFunction(&function, module, kernel.name.c_str()) ||
        cuFuncSetAttribute(function,
                           CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                           static_cast<int>(kernel.sharedBytes)))
      return kernel.name + ": " + moeEmuLastError();
    kernels.push_back({kernel.name, kernel.threads, function});
  }
  loaded = &given;
  return "";
}

/// `room` bytes of the device that begin with `bytes` of `data`.
void *KernelDevice::place(const void *data, size_t bytes, size_t room) {
  CUdeviceptr at = 0;
  if (cuMemAlloc_v2(&at, std::max<size_t>(room, 1)) ||
      (bytes && cuMemcpyHtoD_v2(at, data, bytes)))
    error = moeEmuLastError();
  allocations.push_back(reinterpret_cast<void *>(at));
  return allocations.back();
}

int32_t KernelDevice::launch(const moe_launch_v1 &given, const void *onDevice) {
  const Kernel &kernel = kernels.at(given.kernel);
  if (given.grid[0] == 0 || given.grid[1] == 0 || given.grid[2] == 0)
    return 0;
  launches.push_back(
      {kernel.name, {given.grid[0], given.grid[1], given.grid[2]}});
  std::vector<uint64_t> arguments = {addressOf(onDevice)};
  arguments.insert(arguments.end(), given.args, given.args + given.num_args);
  std::vector<void *> pointers;
  for (uint64_t &argument : arguments)
    pointers.push_back(&argument);
  if (error.empty() &&
      (cuLaunchKernel(static_cast<CUfunction>(kernel.function), given.grid[0],
                      given.grid[1], given.grid[2], kernel.threads, 1, 1,
                      given.shared_bytes, nullptr, pointers.data(), nullptr) ||
       cuCtxSynchronize()))
    error = moeEmuLastError();
  return error.empty() ? 0 : 1;
}

std::string KernelDevice::run(KernelJit &jit, const moe_step_v1 &given,
                              const StepProgram::Memory &memory) {
  if (!jit.getKernels())
    return "not a level of a device";
  if (error.empty() && loaded != jit.getKernels())
    error = load(*jit.getKernels());
  if (!error.empty())
    return error;
  launches.clear();

  std::map<const void *, const void *> moved;
  auto move = [&](const StepProgram::Region &region) {
    return moved[region.data] = place(region.data, region.bytes, region.bytes);
  };
  moe_step_v1 step = given;
  moe_batch_v1 batch = *given.batch;
  for (const StepProgram::Region &region : memory.batch)
    move(region);
  auto translate = [&](auto &pointer) {
    auto known = moved.find(pointer);
    pointer = static_cast<std::remove_reference_t<decltype(pointer)>>(
        known == moved.end() ? nullptr : known->second);
  };
  translate(batch.tokens);
  translate(batch.kinds);
  translate(batch.positions);
  translate(batch.cu_seqlens);
  translate(batch.page_table);
  translate(batch.logits_rows);
  for (const void *&raw : batch.raw)
    translate(raw);
  std::vector<const void *> weights;
  for (const StepProgram::Region &region : memory.weights)
    weights.push_back(move(region));
  std::vector<void *> states, outputs;
  for (const StepProgram::Region &region : memory.states)
    states.push_back(place(region.data, region.bytes, region.bytes));
  outputs.push_back(
      place(memory.output.data, memory.output.bytes, memory.output.bytes));
  // Kernels need more of it than the buffers.
  step.scratch = place(memory.scratch.data, memory.scratch.bytes,
                       std::max<size_t>(memory.scratch.bytes,
                                        jit.getScratch("f")(&batch.extents)));
  const std::vector<int32_t> &constants = jit.getKernels()->constants;
  step.constants =
      place(constants.data(), constants.size() * 4, constants.size() * 4);

  // The host's structs, then those that kernels read.
  struct Call {
    KernelDevice *device;
    const void *onDevice;
  } call = {this, nullptr};
  moe_host_v1 host{};
  host.size = sizeof(host);
  host.abi_version = MOE_ABI_VERSION;
  host.launch = [](const moe_step_v1 *step, const moe_launch_v1 *launch) {
    auto *call = static_cast<Call *>(step->device);
    return call->device->launch(*launch, call->onDevice);
  };
  step.size = sizeof(step);
  step.host = &host;
  step.batch = &batch;
  step.weights = weights.data();
  step.states = states.data();
  step.outputs = outputs.data();
  step.device = &call;
  moe_step_v1 copy = step;
  auto array = [&](auto &pointers) {
    size_t bytes = pointers.size() * sizeof(void *);
    return place(pointers.data(), bytes, bytes);
  };
  copy.host = nullptr;
  copy.batch =
      static_cast<moe_batch_v1 *>(place(&batch, sizeof(batch), sizeof(batch)));
  copy.weights = static_cast<const void *const *>(array(weights));
  copy.states = static_cast<void *const *>(array(states));
  copy.outputs = static_cast<void *const *>(array(outputs));
  call.onDevice = place(&copy, sizeof(copy), sizeof(copy));
  step.on_device = static_cast<const moe_step_v1 *>(call.onDevice);

  KernelJit::StepFunction entry = jit.getStep("f");
  if (error.empty() && (!entry || entry(&step) != MOE_STEP_OK) && error.empty())
    error = "the step failed";
  auto bring = [&](const StepProgram::Region &region, const void *from) {
    if (error.empty() && region.bytes &&
        cuMemcpyDtoH_v2(region.data, addressOf(from), region.bytes))
      error = moeEmuLastError();
  };
  bring(memory.scratch, step.scratch);
  bring(memory.output, outputs[0]);
  for (size_t i = 0; i < states.size(); ++i)
    bring(memory.states[i], states[i]);
  for (void *allocation : allocations)
    cuMemFree_v2(addressOf(allocation));
  allocations.clear();
  return error;
}
