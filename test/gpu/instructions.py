"""What single instructions do, on a device or in the emulator.

    python3 test/gpu/instructions.py FOLDER [--record=FILE.npz | --against=FILE.npz]

The kernels of instructions.ll and of wgmma.py run on seeded data and are compared with
NumPy, which follows the text of the PTX manual. FOLDER has instructions.ptx and
wgmma.ptx, the same through llc; the emulator, named by MOE_CUDA_DRIVER, takes LLVM IR
instead. --record keeps the results, --against compares with those that the emulator
gave: equal bits, but for what hardware may sum or approximate in another way.
"""

import argparse
import pathlib
import sys
from dataclasses import dataclass, field

import numpy as np

import wgmma
from driver import Driver, DriverError


@dataclass
class Case:
    name: str
    kernel: str
    blocks: int
    threads: int
    source: np.ndarray
    result: np.ndarray  # before the launch
    expected: np.ndarray
    numbers: tuple = ()
    # Largest error, relative to `scale`; 0: equal bits.
    tolerance: float = 0.0
    scale: object = field(default=1.0)


def to_bf16(values):
    """The nearest numbers of bf16, ties to even, as 16-bit codes."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7fff + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bf16(codes):
    return (codes.astype(np.uint32) << 16).view(np.float32)


def shuffles(random):
    source = random.integers(0, 1 << 32, 64, np.uint32)
    source[32:] &= 31
    lanes = np.arange(32)
    b = source[32:].astype(int)
    for clamp in (0x001f, 0x181f, 0x1c1f, 0x0000, 0x1807):
        segment, limit = clamp >> 8 & 31, clamp & 31
        low = lanes & segment
        high = low | (limit & ~segment)
        modes = (low | (b & ~segment & 31), lanes - b, lanes + b, lanes ^ b)
        expected = np.zeros((8, 32), np.uint32)
        for mode, origin in enumerate(modes):
            inside = origin >= high if mode == 1 else origin <= high
            origin = np.where(inside, origin, lanes)
            expected[mode] = source[:32][origin]
            expected[4 + mode] = inside
        yield Case(f"shfl.sync, segments {clamp:#06x}", "shuffle", 1, 32, source,
                   np.zeros((8, 32), np.uint32), expected, (clamp,))


def votes(random):
    source = random.integers(0, 1 << 32, 32, np.uint32)
    for name, values in (("mixed", source), ("all odd", source | 1), ("all even", source & ~1)):
        values = values.astype(np.uint32)
        odd = values & 1
        ballot = (odd.astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum()
        two = values & 3
        match = [((two == each).astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum()
                 for each in two]
        signed = values.view(np.int32)
        rows = [ballot, odd.all(), odd.any(), match, values.sum(dtype=np.uint32),
                signed.min().astype(np.uint32), values.max(), np.bitwise_xor.reduce(values)]
        expected = np.stack([np.broadcast_to(np.asarray(r).astype(np.uint32), 32) for r in rows])
        yield Case(f"vote, match, redux, {name}", "votes", 1, 32, values,
                   np.zeros((8, 32), np.uint32), expected)


def barriers(random):
    source = random.integers(0, 1 << 32, 128, np.uint32)
    backwards = source[::-1]
    halves = backwards.reshape(2, 64)[:, ::-1].reshape(-1)
    odd = np.full(128, (source & 1).sum(), np.uint32)
    yield Case("bar.sync, bar.red", "barriers", 1, 128, source, np.zeros((3, 128), np.uint32),
               np.stack([backwards, halves, odd]))


def ldmatrix(random):
    source = random.integers(0, 1 << 16, (4, 8, 8), np.uint16)

    def registers(matrices):  # lane l holds row l / 4, columns 2 (l % 4) ..
        pairs = matrices.reshape(4, 32, 2).astype(np.uint32)
        return (pairs[..., 0] | pairs[..., 1] << 16).T
    expected = np.stack([registers(source), registers(source.transpose(0, 2, 1))])
    yield Case("ldmatrix, and .trans", "ldmatrix", 1, 32, source,
               np.zeros((2, 32, 4), np.uint32), expected)


def products(random):
    count = 16
    lane = np.arange(32)
    group, pair = lane // 4, lane % 4
    for name, round_to, code in (
            ("bf16", lambda x: from_bf16(to_bf16(x)), to_bf16),
            ("f16", lambda x: x.astype(np.float16).astype(np.float32),
             lambda x: x.astype(np.float16).view(np.uint16))):
        a = round_to(random.standard_normal((count, 16, 16)).astype(np.float32))
        b = round_to(random.standard_normal((count, 16, 8)).astype(np.float32))
        c = random.standard_normal((count, 16, 8)).astype(np.float32)
        exact = a.astype(np.float64) @ b.astype(np.float64) + c
        scale = np.abs(a).astype(np.float64) @ np.abs(b) + np.abs(c)
        words = np.zeros((count, 32, 10), np.uint32)

        def both(first, second):
            return code(first).astype(np.uint32) | code(second).astype(np.uint32) << 16
        for index, (rows, columns) in enumerate(((0, 0), (8, 0), (0, 8), (8, 8))):
            at = columns + 2 * pair
            words[:, :, index] = both(a[:, group + rows, at], a[:, group + rows, at + 1])
        for index in range(2):
            at = 8 * index + 2 * pair
            words[:, :, 4 + index] = both(b[:, at, group], b[:, at + 1, group])
        rows = np.stack([group, group, group + 8, group + 8], 1)
        columns = np.stack([2 * pair, 2 * pair + 1] * 2, 1)
        words[:, :, 6:] = c[:, rows, columns].view(np.uint32)
        yield Case(f"mma.m16n8k16.f32.{name}", f"mma_{name}", count, 32, words,
                   np.zeros((count, 32, 4), np.float32), exact[:, rows, columns],
                   tolerance=2.0 ** -21, scale=scale[:, rows, columns])


def copies(random):
    source = random.integers(0, 1 << 32, (4, 32, 4), np.uint32)
    for size in (16, 8, 0):
        expected = source[:, ::-1].copy()
        expected[..., size // 4:] = 0
        yield Case(f"cp.async, {size} of 16 bytes", "copies", 1, 32, source,
                   np.zeros_like(source), expected, (size,))


def scalars(random):
    count = 1000
    x = np.concatenate([random.standard_normal(count // 2) * 10, random.uniform(-126, 126,
                                                                                count // 2)])
    y = random.standard_normal(count)
    x, y = x.astype(np.float32), y.astype(np.float32)
    wide, other = x.astype(np.float64), y.astype(np.float64)
    power = np.exp2(wide)
    expected = np.stack([power, np.sqrt(np.abs(x)), x / y,
                         (wide * other + wide).astype(np.float32), from_bf16(to_bf16(x))])
    # ex2.approx: 2 ulp; a product of two f32 and a sum in f64 may round twice.
    scale = np.stack([power * 2, np.zeros(count), np.zeros(count),
                      (np.abs(wide * other) + np.abs(wide)) * 2.0 ** -24, np.zeros(count)])
    yield Case("ex2, sqrt, div, fma, cvt.bf16", "scalars", 8, 128, np.concatenate([x, y]),
               np.zeros((5, count), np.float32), expected, (count,), 2.0 ** -23, scale)


def atomics(random):
    source = random.integers(0, 64, 4 * 256).astype(np.uint32)
    yield Case("atom.add", "atomics", 4, 256, source, np.zeros(64, np.uint32),
               np.bincount(source, minlength=64).astype(np.uint32))


def plain_pieces(codes):
    """[columns / 8][rows][8]: pieces of 8 x 8 are 128 adjacent bytes."""
    rows, columns = codes.shape
    return codes.reshape(rows, columns // 8, 8).transpose(1, 0, 2)


def swizzled_rows(codes):
    """Rows of 128 bytes, whose 16-byte parts change places by the row."""
    rows = codes.reshape(codes.shape[0], 8, 8)
    part = np.arange(8)
    return np.stack([row[part ^ index % 8] for index, row in enumerate(rows)])


def warpgroup_products(random):
    a = from_bf16(to_bf16(random.standard_normal((64, 64))))
    b = from_bf16(to_bf16(random.standard_normal((16, 64))))
    exact = a.astype(np.float64) @ b.T
    scale = np.abs(a).astype(np.float64) @ np.abs(b).T
    thread, index = np.arange(128)[:, None], np.arange(wgmma.COUNT)[None, :]
    lane = thread % 32
    row = 16 * (thread // 32) + lane // 4 + 8 * (index // 2 % 2)
    column = 8 * (index // 4) + 2 * (lane % 4) + index % 2

    def descriptor(leading, stride, mode):
        return leading >> 4 << 16 | stride >> 4 << 32 | mode << 62
    for name, place, of_a, of_b, move_a, move_b in (
            ("8 x 8 pieces", plain_pieces, descriptor(1024, 128, 0), descriptor(256, 128, 0),
             2048, 512),
            ("128-byte swizzle", swizzled_rows, descriptor(16, 1024, 1), descriptor(16, 1024, 1),
             32, 32)):
        image = np.concatenate([place(to_bf16(x)).ravel() for x in (a, b)])
        yield Case(f"wgmma.{wgmma.SHAPE[:9]}, {name}", "wgmma", 1, 128, image,
                   np.zeros((128, wgmma.COUNT), np.float32), exact[row, column],
                   (of_a, of_b, move_a, move_b), 2.0 ** -20, scale[row, column])


def cases():
    random = np.random.default_rng(1)
    for make in (shuffles, votes, barriers, ldmatrix, products, copies, scalars, atomics):
        yield from make(random)


def modules(folder):
    """Capability (None: from 8.0 on), PTX, LLVM IR for the emulator, cases."""
    yield None, folder / "instructions.ptx", (folder / "instructions.ll").read_bytes(), cases()
    yield ((9, 0), folder / "wgmma.ptx", wgmma.module("emulator").encode(),
           warpgroup_products(np.random.default_rng(2)))


def fault_of(case, found, expected):
    """"" if they agree."""
    if case.tolerance == 0:
        wrong = (found != expected).sum()
        return f"{wrong} of {found.size} words differ" if wrong else ""
    error = np.abs(found.astype(np.float64) - expected)
    worst = error > case.tolerance * np.broadcast_to(case.scale, error.shape)
    if not worst.any():
        return ""
    return f"{worst.sum()} of {found.size} numbers are too far, by up to {error.max():.1e}"


class Skipped(Exception):
    pass


def run(driver, folder, recorded=None):
    """Yields names, and functions that give a result and a fault."""
    for capability, ptx, ir, own in modules(folder):
        if capability and driver.capability != capability:
            def skip(capability=capability):
                raise Skipped(f"for compute capability {capability[0]}.0")
            yield ptx.stem, skip
            continue
        loaded = []

        def module(ptx=ptx, ir=ir, loaded=loaded):
            if not loaded:
                loaded.append(driver.load(ptx.read_bytes(), ir))
            return loaded[0]

        def launch(case, module=module):
            function = driver.function(module(), case.kernel)
            found = driver.run(function, case.blocks, case.threads, case.source,
                               case.result.copy(), case.numbers)
            fault = fault_of(case, found, case.expected)
            if not fault and recorded is not None:
                fault = fault_of(case, found, recorded[case.name])
                fault = f"not as the emulator: {fault}" if fault else ""
            return found, fault
        for case in own:
            yield case.name, lambda case=case, launch=launch: launch(case)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--record", type=pathlib.Path)
    parser.add_argument("--against", type=pathlib.Path)
    options = parser.parse_args()
    recorded = np.load(options.against) if options.against else None
    results, failures = {}, 0
    try:
        for name, work in run(Driver(), options.folder, recorded):
            try:
                results[name], fault = work()
            except Skipped as why:
                print(f"{name:36} skipped: {why}")
                continue
            print(f"{name:36} {fault or 'ok'}")
            failures += bool(fault)
    except DriverError as problem:
        sys.exit(f"instructions.py: {problem}")
    if options.record and not failures:
        np.savez_compressed(options.record, **results)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
