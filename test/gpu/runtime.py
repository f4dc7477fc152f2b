"""libmoert through ctypes: steps of an entry of raw vectors, and how long they take.

What a program in C would call (runtime/include/moe/runtime.h), in the process of the
engines that a model is compared with, and in the same context of the device.
"""

import ctypes
from ctypes import POINTER, byref, c_char_p, c_float, c_int32, c_uint32, c_uint64, c_void_p

import numpy as np

TRACE_NONE, TRACE_BARRIERS, TRACE_STEP = 0, 1, 2
DEVICE_CPU, DEVICE_CUDA = 1, 2
F32 = 0


class Struct(ctypes.Structure):
    """With its size in front, as the library wants it."""

    def __init__(self, **values):
        super().__init__(**values)
        self.size = ctypes.sizeof(self)


class EngineOptions(Struct):
    _fields_ = [("size", c_uint64), ("threads", c_uint32), ("reserved", c_uint32)]


class SessionOptions(Struct):
    _fields_ = [("size", c_uint64), ("max_sequences", c_uint32), ("reserved", c_uint32),
                ("cache_tokens", c_uint64), ("device", c_uint32), ("reserved2", c_uint32)]


class DeviceInfo(Struct):
    _fields_ = [("size", c_uint64), ("device", c_uint32), ("reserved", c_uint32),
                ("remark", c_char_p), ("name", c_char_p), ("level", c_char_p),
                ("major", c_uint32), ("minor", c_uint32)] + [
                    (name, c_uint64) for name in (
                        "total_bytes", "free_bytes", "weight_bytes", "constant_bytes",
                        "cache_bytes", "scratch_bytes", "output_bytes", "batch_bytes")]


class Input(Struct):
    _fields_ = [("size", c_uint64), ("modality", c_char_p), ("modality_id", c_uint32),
                ("dtype", c_uint32), ("data", c_void_p), ("count", c_uint64)]


class Item(Struct):
    _fields_ = [("size", c_uint64), ("sequence", c_void_p), ("inputs", POINTER(Input)),
                ("num_inputs", c_uint64), ("rows", POINTER(c_uint32)), ("num_rows", c_uint64)]


class Batch(Struct):
    _fields_ = [("size", c_uint64), ("items", POINTER(Item)), ("num_items", c_uint64),
                ("routing_out", c_uint32), ("trace", c_uint32)]


class Output(Struct):
    _fields_ = [("size", c_uint64), ("data", POINTER(c_float)), ("capacity", c_uint64),
                ("rows", c_uint64), ("width", c_uint64), ("row_starts", POINTER(c_uint64))]


class Routing(Struct):
    _fields_ = [("size", c_uint64), ("ids", POINTER(c_int32)), ("weights", POINTER(c_float)),
                ("tokens", c_uint64), ("slots", c_uint64)]


class Trace(Struct):
    _fields_ = [("size", c_uint64), ("stamps", POINTER(c_uint64)), ("intervals", c_uint64),
                ("threads", c_uint32), ("variant", c_uint32)]


class MoeError(RuntimeError):
    pass


class Library:
    def __init__(self, path, threads=0):
        self.c = ctypes.CDLL(str(path))
        self.c.moe_last_error.restype = c_char_p
        self.engine = c_void_p()
        self.call("moe_engine_create", byref(EngineOptions(threads=threads)),
                  byref(self.engine))

    def call(self, name, *arguments):
        if getattr(self.c, name)(*arguments):
            raise MoeError(f"{name}: {self.c.moe_last_error().decode()}")


class Layer:
    """A session of an artifact whose entry `score` takes vectors."""

    def __init__(self, library, path, device=DEVICE_CUDA):
        self.library = library
        self.model, self.session = c_void_p(), c_void_p()
        library.call("moe_model_load", library.engine, str(path).encode(), None,
                     byref(self.model))
        try:
            library.call("moe_session_create", self.model,
                         byref(SessionOptions(device=device)), byref(self.session))
        except MoeError:
            self.close()
            raise

    def close(self):
        self.library.c.moe_session_destroy(self.session)
        self.library.c.moe_model_destroy(self.model)
        self.session, self.model = c_void_p(), c_void_p()

    def device(self):
        info = DeviceInfo()
        self.library.call("moe_session_get_device", self.session, byref(info))
        return info

    def run(self, x, routing=False, trace=TRACE_NONE):
        """One step for the rows of `x`; the results stay in the session's buffer."""
        x = np.ascontiguousarray(x, np.float32)
        given = Input(modality=b"vector", dtype=F32, data=x.ctypes.data, count=x.size)
        item = Item(inputs=ctypes.pointer(given), num_inputs=1)
        batch = Batch(items=ctypes.pointer(item), num_items=1, routing_out=routing, trace=trace)
        output = Output()
        self.library.call("moe_step", self.session, b"score", byref(batch), byref(output),
                          c_uint64(1))
        return output

    def step(self, x, routing=False):
        """Results f32 [rows of x, width]."""
        output = self.run(x, routing)
        return np.ctypeslib.as_array(output.data, (output.rows, output.width)).copy()

    def time(self, x, trace):
        """Stamps of a step with `trace`."""
        self.run(x, trace=trace)
        return self.stamps()

    def routing(self):
        """ids and weights [tokens, slots] of the last step."""
        found = Routing()
        self.library.call("moe_session_get_routing", self.session, 0, byref(found))
        shape = (found.tokens, found.slots)
        return (np.ctypeslib.as_array(found.ids, shape).copy(),
                np.ctypeslib.as_array(found.weights, shape).copy())

    def stamps(self):
        """Nanoseconds [intervals, 2] of the last step, of the first participant."""
        found = Trace()
        self.library.call("moe_session_get_trace", self.session, byref(found))
        return np.ctypeslib.as_array(found.stamps, (found.intervals, 2)).copy()
