"""Sequences and batches of a compiled model, through the C library.

    sequences.py --build=BUILD --artifact=FASHION.so

Rows of a step must not depend on what else is in the batch, on how a prompt was
cut, on which pages hold it, or on the number of threads: bit for bit.
"""

import argparse
import ctypes as c

import numpy as np

IMAGE = np.random.default_rng(3).integers(0, 256, 784, np.uint8)
PROMPT = np.frombuffer(b"a photo of a coat that somebody left on a chair in the hall, "
                       b"so that it has been there since; and a bag", np.uint8)
WIDTH = 256


class Input(c.Structure):
    _fields_ = [("size", c.c_uint64), ("modality", c.c_char_p), ("modality_id", c.c_uint32),
                ("dtype", c.c_uint32), ("data", c.c_void_p), ("count", c.c_uint64)]


class Item(c.Structure):
    _fields_ = [("size", c.c_uint64), ("sequence", c.c_void_p), ("inputs", c.POINTER(Input)),
                ("num_inputs", c.c_uint64), ("rows", c.c_void_p), ("num_rows", c.c_uint64)]


class Batch(c.Structure):
    # As long as the first version of the header had it.
    _fields_ = [("size", c.c_uint64), ("items", c.POINTER(Item)), ("num_items", c.c_uint64)]


class Output(c.Structure):
    _fields_ = [("size", c.c_uint64), ("data", c.POINTER(c.c_float)), ("capacity", c.c_uint64),
                ("rows", c.c_uint64), ("width", c.c_uint64), ("row_starts", c.POINTER(c.c_uint64))]


class EngineOptions(c.Structure):
    _fields_ = [("size", c.c_uint64), ("threads", c.c_uint32), ("reserved", c.c_uint32)]


class Stats(c.Structure):
    _fields_ = [(n, c.c_uint64) for n in ("size", "scratch", "pages", "used", "sequences",
                                          "steps", "variant")]


DTYPES = {np.dtype(np.uint8): 4, np.dtype(np.int32): 5}  # MOE_U8, MOE_I32


class Runtime:
    def __init__(self, library, artifact, threads, width=WIDTH):
        self.width = width
        self.lib = c.CDLL(library)
        self.lib.moe_last_error.restype = c.c_char_p
        self.lib.moe_sequence_length.restype = c.c_uint64
        options = EngineOptions(c.sizeof(EngineOptions), threads, 0)
        self.engine, self.model, self.session = (c.c_void_p() for _ in range(3))
        self.call("moe_engine_create", c.byref(options), c.byref(self.engine))
        self.call("moe_model_load", self.engine, artifact.encode(), None, c.byref(self.model))
        self.call("moe_session_create", self.model, None, c.byref(self.session))

    def call(self, name, *arguments):
        if getattr(self.lib, name)(*arguments):
            raise RuntimeError(f"{name}: {self.lib.moe_last_error().decode()}")

    def create(self):
        sequence = c.c_void_p()
        self.call("moe_sequence_create", self.session, c.byref(sequence))
        return sequence

    def fork(self, sequence):
        copy = c.c_void_p()
        self.call("moe_sequence_fork", sequence, c.byref(copy))
        return copy

    def trim(self, sequence, length):
        self.call("moe_sequence_trim", sequence, c.c_uint64(length))

    def free(self, sequence):
        self.lib.moe_sequence_free(sequence)

    def length(self, sequence):
        return self.lib.moe_sequence_length(sequence)

    def used(self):
        stats = Stats(c.sizeof(Stats))
        self.call("moe_session_get_stats", self.session, c.byref(stats))
        return stats.used, stats.sequences

    def step(self, entry, *items):
        """Each item: (sequence, [(modality, array), ..]); the rows of all tokens,
        by item."""
        keep, made = [], []
        for sequence, inputs in items:
            arrays = [np.ascontiguousarray(array) for _, array in inputs]
            list_ = (Input * len(inputs))(*(
                Input(c.sizeof(Input), name.encode(), 0, DTYPES[array.dtype],
                      array.ctypes.data, array.size)
                for (name, _), array in zip(inputs, arrays)))
            tokens = sum(49 if name == "image" else array.size for name, array in inputs)
            rows = np.arange(tokens, dtype=np.uint32)
            keep += [arrays, list_, rows]
            made.append(Item(c.sizeof(Item), sequence, list_, len(inputs),
                             rows.ctypes.data, tokens))
        batch = Batch(c.sizeof(Batch), (Item * len(made))(*made), len(made))
        output = Output(c.sizeof(Output))
        self.call("moe_step", self.session, entry.encode(), c.byref(batch), c.byref(output),
                  c.c_uint64(1))
        assert output.width == self.width
        values = np.ctypeslib.as_array(output.data, (output.rows, self.width)).copy()
        starts = output.row_starts[0:len(made) + 1]
        return [values[a:b] for a, b in zip(starts, starts[1:])]


def text(array):
    return [("text", array)]


def check_steps(run, whole):
    """One prefill of image and prompt gives `whole`; everything else the same."""
    same = np.testing.assert_array_equal
    image = 49

    # In chunks that end within and at pages of 64 tokens, then token by token.
    sequence, at = run.create(), 0
    rows = run.step("prefill", (sequence, [("image", IMAGE)] + text(PROMPT[:15])))[0]
    same(rows, whole[:image + 15])
    at = 15
    for chunk in (1, 30, 33):
        rows = run.step("prefill", (sequence, text(PROMPT[at:at + chunk])))[0]
        same(rows, whole[image + at:image + at + chunk])
        at += chunk
    for token in PROMPT[at:]:
        rows = run.step("decode", (sequence, text(np.array([token]))))[0]
        same(rows[0], whole[image + at])
        at += 1
    assert run.length(sequence) == image + PROMPT.size

    # Mixed: a prompt with an image, one without, a chunk and two decodes at once.
    alone, short, fresh = run.create(), run.create(), run.create()
    text_whole = run.step("prefill", (alone, text(PROMPT)))[0]
    run.step("prefill", (short, text(PROMPT[:70])))
    branch = run.fork(short)
    run.trim(sequence, image + 63)
    run.trim(alone, 12)
    mixed = run.step("prefill", (fresh, [("image", IMAGE)] + text(PROMPT)),
                     (sequence, text(PROMPT[63:64])), (short, text(PROMPT[70:71])),
                     (alone, text(PROMPT[12:50])), (branch, text(PROMPT[70:])))
    same(mixed[0], whole)
    same(mixed[1], whole[image + 63:image + 64])
    same(mixed[2], text_whole[70:71])
    same(mixed[3], text_whole[12:50])
    same(mixed[4], text_whole[70:])

    # What one branch writes the other does not see.
    other = PROMPT[71:72] ^ 1
    run.step("decode", (short, text(other)))
    run.trim(short, 71)
    same(run.step("prefill", (short, text(PROMPT[71:])))[0], text_whole[71:])

    # Pages come back, and used ones hold nothing of their past.
    used, sequences = run.used()
    assert sequences == 5 and used > 0, (used, sequences)
    for each in (sequence, alone, short, fresh, branch):
        run.free(each)
    assert run.used() == (0, 0), run.used()
    again = run.create()
    same(run.step("prefill", (again, [("image", IMAGE)] + text(PROMPT)))[0], whole)
    run.free(again)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--artifact", required=True)
    options = parser.parse_args()
    first = None
    for threads in (1, 2, 5):
        run = Runtime(f"{options.build}/runtime/libmoert.so", options.artifact, threads)
        sequence = run.create()
        whole = run.step("prefill", (sequence, [("image", IMAGE)] + text(PROMPT)))[0]
        run.free(sequence)
        assert np.isfinite(whole).all() and len(np.unique(whole)) > 1000
        if first is None:
            first = whole
        np.testing.assert_array_equal(whole, first)
        check_steps(run, whole)


if __name__ == "__main__":
    main()
