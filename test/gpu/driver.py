"""The CUDA driver through ctypes, or the emulator that MOE_CUDA_DRIVER names.

Just enough to launch a kernel of a module on arrays of NumPy.
"""

import ctypes
import os

import numpy as np

MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
PLAIN_SHARED = 48 << 10


class DriverError(RuntimeError):
    pass


class Driver:
    """One device; its primary context is current until the process ends."""

    def __init__(self, ordinal=0):
        path = os.environ.get("MOE_CUDA_DRIVER") or "libcuda.so.1"
        try:
            self.library = ctypes.CDLL(path)
        except OSError as problem:
            raise DriverError(f"cannot open the CUDA driver: {problem}") from problem
        self.is_emulator = hasattr(self.library, "moeEmuModuleLoadIr")
        self.call("cuInit", 0)
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuDeviceGet", ctypes.byref(device), ordinal)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)
        name = ctypes.create_string_buffer(256)
        self.call("cuDeviceGetName", name, 255, device)
        self.name = name.value.decode()
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.call("cuDeviceGetAttribute", ctypes.byref(major), 75, device)
        self.call("cuDeviceGetAttribute", ctypes.byref(minor), 76, device)
        self.capability = (major.value, minor.value)

    def call(self, function, *arguments):
        code = getattr(self.library, function)(*arguments)
        if code == 0:
            return
        text = ctypes.c_char_p()
        detail = ""
        if self.is_emulator:
            last = self.library.moeEmuLastError
            last.restype = ctypes.c_char_p
            detail = f": {(last() or b'').decode()}"
        elif self.library.cuGetErrorName(code, ctypes.byref(text)) == 0:
            detail = f": {text.value.decode()}"
        raise DriverError(f"{function} failed with {code}{detail}")

    def load(self, ptx, ir):
        """A module from the text of PTX, or in the emulator from LLVM IR."""
        module = ctypes.c_void_p()
        if self.is_emulator:
            self.call("moeEmuModuleLoadIr", ctypes.byref(module), ir, ctypes.c_size_t(len(ir)))
        else:
            self.call("cuModuleLoadData", ctypes.byref(module), ptx + b"\0")
        return module

    def function(self, module, name):
        function = ctypes.c_void_p()
        self.call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
        return function

    def run(self, function, blocks, threads, source, result, numbers=(), shared=0):
        """Launches with the addresses of a copy of `source` and of `result`, which
        is copied there and back, and with further numbers of 64 bits."""
        addresses = []
        try:
            for array in (source, result):
                address = ctypes.c_uint64()
                self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(array.nbytes))
                addresses.append(address)
                self.call("cuMemcpyHtoD_v2", address, pointer(array),
                          ctypes.c_size_t(array.nbytes))
            values = addresses + [ctypes.c_uint64(number) for number in numbers]
            arguments = (ctypes.c_void_p * len(values))(
                *(ctypes.cast(ctypes.byref(v), ctypes.c_void_p) for v in values))
            if shared > PLAIN_SHARED:
                self.call("cuFuncSetAttribute", function, MAX_DYNAMIC_SHARED, shared)
            self.call("cuLaunchKernel", function, blocks, 1, 1, threads, 1, 1, shared,
                      ctypes.c_void_p(), arguments, ctypes.c_void_p())
            self.call("cuCtxSynchronize")
            self.call("cuMemcpyDtoH_v2", pointer(result), addresses[1],
                      ctypes.c_size_t(result.nbytes))
        finally:
            for address in addresses:  # after a failure this fails as well
                self.library.cuMemFree_v2(address)
        return result


def pointer(array):
    return ctypes.c_void_p(np.require(array, requirements="C").ctypes.data)
