"""Triton's interpreter, which runs kernels without a device, with numbers of bf16.

Import it before kernels are defined. The interpreter keeps bf16 as 16-bit integers:
it multiplies those as they are, and a rounding that carries into an exponent comes out
as half the number. Both are set right here; nothing else is changed.
"""

import os

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np  # noqa: E402
import triton.language as tl  # noqa: E402
from triton.runtime import interpreter  # noqa: E402


def widen(codes):
    return (np.ascontiguousarray(codes).view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def narrow(values):
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(values), 0x7fc0, rounded).astype(np.uint16)


def install():
    convert, dot = interpreter._convert_float, interpreter.InterpreterBuilder.create_dot

    def convert_right(values, source, target, rounding):
        if source == tl.bfloat16 and target == tl.float32:
            return widen(values).reshape(values.shape)
        if source == tl.float32 and target == tl.bfloat16:
            return narrow(values).reshape(values.shape)
        return convert(values, source, target, rounding)

    def dot_right(self, a, b, *rest):
        wide = [interpreter.TensorHandle(widen(x.data), tl.float32)
                if x.dtype.scalar == tl.bfloat16 else x for x in (a, b)]
        return dot(self, *wide, *rest)

    interpreter._convert_float = convert_right
    interpreter.InterpreterBuilder.create_dot = dot_right


install()
