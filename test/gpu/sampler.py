"""Compares the kernel that chooses tokens with the runtime's sampler.

    python3 test/gpu/sampler.py --build=build --artifact=MODEL.so [--seeds=N]

Rows of random logits, of widths that are multiples of nothing, with ties, minus
infinity, and what is no number; each row of a launch has options of its own. Both must
choose the same token, whatever the order of threads (--seeds of the emulator).
"""

import argparse
import ctypes
import os
import pathlib
import struct
import subprocess
import sys

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "e2e"))  # where it is not beside this one
import driver  # noqa: E402
import sampling  # noqa: E402  (the reference of moe_sampler)
from runtime import Library, Struct  # noqa: E402

LOG2_E = float.fromhex("0x1.71547652b82fep+0")
PTX, LLVM_IR = 1, 3
# Offsets and sizes of runtime/abi/moe_abi.h.
STEP_BYTES, STEP_SAMPLING, SAMPLING_BYTES, ROW_BYTES = 88, 80, 64, 72


class Image(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_uint32), ("reserved", ctypes.c_uint32),
                ("bytes", ctypes.c_uint64), ("data", ctypes.c_void_p)]


class Kernel(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("threads", ctypes.c_uint32),
                ("shared_bytes", ctypes.c_uint32)]


class Level(Struct):
    _fields_ = [("size", ctypes.c_uint64), ("name", ctypes.c_char_p),
                ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32),
                ("exact", ctypes.c_uint32), ("num_kernels", ctypes.c_uint32),
                ("num_images", ctypes.c_uint32), ("reserved", ctypes.c_uint32),
                ("constant_bytes", ctypes.c_uint64), ("kernels", ctypes.POINTER(Kernel)),
                ("images", ctypes.POINTER(Image))]


class DeviceSampler:
    """The kernel of one level of an artifact, whose model stays loaded."""

    @staticmethod
    def load(library, artifact):
        model = ctypes.c_void_p()
        library.call("moe_model_load", library.engine, str(artifact).encode(), None,
                     ctypes.byref(model))
        return model

    @classmethod
    def levels(cls, device, library, artifact):
        """The numbers of those that the device runs."""
        model, found = cls.load(library, artifact), []
        level = Level()
        while not library.c.moe_model_get_level(model, len(found), ctypes.byref(level)):
            found.append((level.major, level.minor, level.exact))
        return [number for number, (*least, exact) in enumerate(found)
                if (device.capability == tuple(least) if exact
                    else device.capability >= tuple(least))]

    def __init__(self, device, library, artifact, number=0):
        level = Level()
        library.call("moe_model_get_level", self.load(library, artifact), number,
                     ctypes.byref(level))
        self.name = level.name.decode()
        images = {image.kind: ctypes.string_at(image.data, image.bytes)
                  for image in level.images[:level.num_images]}
        found = [kernel for kernel in level.kernels[:level.num_kernels]
                 if kernel.name.startswith(b"moe_sampling__")]
        assert len(found) == 1, [k.name for k in level.kernels[:level.num_kernels]]
        self.device, self.kernel = device, found[0]
        module = device.load(images.get(PTX, b""), images.get(LLVM_IR))
        self.function = device.function(module, found[0].name.decode())

    def allocate(self, size):
        address = ctypes.c_uint64()
        self.device.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address

    def upload(self, data):
        address = self.allocate(len(data))
        self.device.call("cuMemcpyHtoD_v2", address, data, ctypes.c_size_t(len(data)))
        return address

    def choose(self, logits, rows, histories):
        """A token for each row of `logits`; `rows` are moe_sampling_row_v1 packed, but
        for the places of their histories."""
        count, width = logits.shape
        starts = np.cumsum([0] + [len(history) for history in histories])
        rows = [row + struct.pack("QQ", start, len(history))
                for row, start, history in zip(rows, starts, histories)]
        assert all(len(row) == ROW_BYTES for row in rows)
        history = np.concatenate([*histories, np.zeros(1)]).astype(np.int32)
        memory = [self.upload(logits.tobytes()), self.upload(b"".join(rows)),
                  self.allocate(4 * count), self.upload(history.tobytes()),
                  self.allocate(history.nbytes)]
        memory.append(self.upload(struct.pack(
            "8Q", SAMPLING_BYTES, width, unit_bits(width), *(m.value for m in memory))))
        step = bytearray(STEP_BYTES)
        struct.pack_into("Q", step, 0, STEP_BYTES)
        struct.pack_into("Q", step, STEP_SAMPLING, memory[-1].value)
        memory.append(self.upload(bytes(step)))
        values = [memory[-1], ctypes.c_uint64(count)]
        arguments = (ctypes.c_void_p * 2)(
            *(ctypes.cast(ctypes.byref(v), ctypes.c_void_p) for v in values))
        self.device.call("cuLaunchKernel", self.function, count, 1, 1, self.kernel.threads,
                         1, 1, self.kernel.shared_bytes, ctypes.c_void_p(), arguments,
                         ctypes.c_void_p())
        tokens = np.zeros(count, np.int32)
        self.device.call("cuMemcpyDtoH_v2", driver.pointer(tokens), memory[2],
                         ctypes.c_size_t(tokens.nbytes))
        after = np.empty_like(logits)
        self.device.call("cuMemcpyDtoH_v2", driver.pointer(after), memory[0],
                         ctypes.c_size_t(after.nbytes))
        assert after.tobytes() == logits.tobytes(), "logits are not what they were"
        for address in memory:
            self.device.call("cuMemFree_v2", address)
        return tokens


def unit_bits(width):
    return 62 - int(width - 1).bit_length()


def pack(options, width, seed, stream, position):
    words = [x >> shift & 0xFFFFFFFF for x in (position, stream) for shift in (0, 32)]
    bits = sampling.philox(words, (seed & 0xFFFFFFFF, seed >> 32))
    random = (bits[0] << 32 | bits[1]) >> 11 << 11
    temperature = options.get("temperature", 0.0)
    scale = 0.0
    if temperature:
        with np.errstate(over="ignore"):
            scale = min(float(np.float64(LOG2_E) / temperature), sys.float_info.max)
    least = options.get("min_p", 0.0) * 2.0 ** unit_bits(width)
    return struct.pack("QdddQQd", ROW_BYTES, scale, options.get("top_p", 1.0), least, random,
                       options.get("top_k", 0), options.get("repetition_penalty", 1.0))


def rows(random, width):
    normal = random.normal(0, 3, width)
    ties = np.round(random.normal(0, 1, width))
    masked = random.normal(0, 3, width)
    masked[random.permutation(width)[:width - 1 - width // 5]] = -np.inf
    zeros = np.where(random.random(width) < 0.5, 0.0, -0.0)
    tiny = random.normal(0, 1e-40, width)
    huge = random.uniform(-3e38, 3e38, width)
    equal = np.full(width, -2.5)
    return [row.astype(np.float32)
            for row in (normal, ties, masked, zeros, tiny, huge, equal)]


def broken(random, width):
    """Rows that have no choice."""
    for place, value in ((0, np.nan), (width - 1, np.inf), (width // 2, -np.nan)):
        row = random.normal(0, 3, width).astype(np.float32)
        row[place] = value
        yield row
    yield np.full(width, -np.inf, np.float32)


def cases(random):
    yield from sampling.cases(random)
    yield {"temperature": 0.0, "repetition_penalty": 1.5}
    yield {"temperature": 5e-324}
    yield {"temperature": 1.7e308, "top_k": 3}
    yield {"temperature": 1e-3, "top_p": 1e-300}


def choose_on_host(library, row, options, seed, history, stream, position):
    """-1 where a penalty leads out of f32."""
    try:
        return sampling.Sampler(library.c, seed=seed, **options).choose(
            row, history, stream, position)
    except AssertionError as refusal:
        assert b"after the penalty" in refusal.args[0], refusal
        return -1


def compare(device, library, widths, seed):
    library.c.moe_sampler_destroy.argtypes = [ctypes.c_void_p]
    random = np.random.default_rng(seed)
    compared = 0
    options = list(cases(random))
    for width in widths:
        logits, packed, expected, histories = [], [], [], []
        # All kinds of rows meet all options over the widths, not within one.
        for number, row in enumerate(rows(random, width) * 4):
            chosen = options[(number * 7 + width) % len(options)]
            key = int(random.integers(0, 2**63))
            stream, position = int(random.integers(0, 2**40)), int(random.integers(0, 2**33))
            history = ()
            if chosen.get("repetition_penalty", 1.0) != 1.0:  # some tokens several times
                history = random.integers(0, width, int(random.integers(0, 700)))
            logits.append(row)
            histories.append(history)
            packed.append(pack(chosen, width, key, stream, position))
            expected.append(choose_on_host(library, row, chosen, key, history, stream,
                                           position))
        for row in broken(random, width):
            for chosen in ({}, {"temperature": 1.0, "top_p": 0.5}):
                logits.append(row)
                histories.append([width - 1])
                packed.append(pack(chosen, width, 1, 2, 3))
                expected.append(-1)
        found = device.choose(np.stack(logits), packed, histories)
        wrong = np.flatnonzero(found != expected)
        assert not wrong.size, (width, wrong, found[wrong], np.array(expected)[wrong])
        compared += len(found)
    return compared


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--artifact", type=pathlib.Path, required=True)
    parser.add_argument("--widths", default="1,2,31,257,1000,4099")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.seed is None:
        # The emulator reads its settings once.
        for seed in range(1, options.seeds + 1):
            emulator = next((options.build / "lib").glob("libmoe-cuda-emu.so*"))
            subprocess.run([sys.executable, __file__, *sys.argv[1:], f"--seed={seed}"],
                           check=True, env={"MOE_CUDA_DRIVER": str(emulator), **os.environ,
                                            "MOE_CUDA_EMU_SEED": str(seed)})
        return
    library = Library(options.build / "runtime" / "libmoert.so")
    device = DeviceSampler(driver.Driver(), library, options.artifact)
    widths = [int(width) for width in options.widths.split(",")]
    print(f"{compare(device, library, widths, options.seed)} tokens agree")


if __name__ == "__main__":
    main()
