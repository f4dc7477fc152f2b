//===- DriverEntry.h - How exported functions begin -------------*- C++ -*-===//
#ifndef MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_DRIVERENTRY_H
#define MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_DRIVERENTRY_H

#include "compiler/targets/nvptx/emulator/Driver.h"

/// Takes the lock, names the driver, and returns an error that was there or was
/// asked for. The second form is for calls that need no context.
#define EMU_ENTER_WITH(NAME, NEEDS_CONTEXT)                                    \
  auto &driver = moec::emu::Driver::get();                                     \
  std::lock_guard<std::recursive_mutex> guard(driver.lock);                    \
  if (CUresult entryCode = driver.enter(#NAME, NEEDS_CONTEXT))                 \
    return entryCode;
#define EMU_ENTER(NAME) EMU_ENTER_WITH(NAME, true)
#define EMU_ENTER_DEVICE(NAME) EMU_ENTER_WITH(NAME, false)

#define EMU_REQUIRE(CONDITION)                                                 \
  if (!(CONDITION))                                                            \
    return driver.report(CUDA_ERROR_INVALID_VALUE,                             \
                         std::string(__func__) + ": expected " #CONDITION);

#endif // MOEC_COMPILER_TARGETS_NVPTX_EMULATOR_DRIVERENTRY_H
