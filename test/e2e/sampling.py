"""Compares moe_sampler with NumPy.

The reference follows the definitions of Hugging Face's logits processors, order and
all, on sorted arrays; it shares nothing with the runtime, which is called through
ctypes.
"""

import argparse
import ctypes

import numpy as np


class Options(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint64), ("temperature", ctypes.c_double),
                ("top_p", ctypes.c_double), ("min_p", ctypes.c_double),
                ("repetition_penalty", ctypes.c_double), ("seed", ctypes.c_uint64),
                ("top_k", ctypes.c_uint32), ("reserved", ctypes.c_uint32)]


class Row(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint64), ("logits", ctypes.POINTER(ctypes.c_float)),
                ("width", ctypes.c_uint64), ("stream", ctypes.c_uint64),
                ("position", ctypes.c_uint64), ("history", ctypes.POINTER(ctypes.c_int32)),
                ("num_history", ctypes.c_uint64)]


class Distribution(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint64), ("ids", ctypes.POINTER(ctypes.c_int32)),
                ("probabilities", ctypes.POINTER(ctypes.c_double)),
                ("count", ctypes.c_uint64)]


class Sampler:
    """The runtime's."""

    def __init__(self, library, **options):
        self.library = library
        given = Options()
        library.moe_sampling_default_options(ctypes.byref(given))
        assert given.size == ctypes.sizeof(Options)
        for name, value in options.items():
            setattr(given, name, value)
        self.handle = ctypes.c_void_p()
        self.check(library.moe_sampler_create(ctypes.byref(given), ctypes.byref(self.handle)))

    def __del__(self):
        self.library.moe_sampler_destroy(self.handle)

    def check(self, status):
        assert status == 0, self.library.moe_last_error()

    def row(self, logits, history, stream=0, position=0):
        logits = np.ascontiguousarray(logits, np.float32)
        history = np.ascontiguousarray(history, np.int32)
        row = Row(ctypes.sizeof(Row), logits.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
                  len(logits), stream, position,
                  history.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)), len(history))
        row.keep = logits, history
        return row

    def distribution(self, logits, history=()):
        found = Distribution(ctypes.sizeof(Distribution))
        self.check(self.library.moe_sampler_get_distribution(
            self.handle, ctypes.byref(self.row(logits, history)), ctypes.byref(found)))
        return (np.ctypeslib.as_array(found.ids, (found.count,)).copy(),
                np.ctypeslib.as_array(found.probabilities, (found.count,)).copy())

    def choose(self, logits, history, stream, position):
        token = ctypes.c_int32()
        self.check(self.library.moe_sampler_choose(
            self.handle, ctypes.byref(self.row(logits, history, stream, position)),
            ctypes.byref(token)))
        return token.value


def softmax(scores):
    """What rounds to no unit of the largest weight has no probability (sampling.h)."""
    weights = np.exp(scores - scores.max())
    unit = 0.5 ** (62 - int(len(scores) - 1).bit_length())
    weights[weights < unit / 2] = 0
    return weights / weights.sum()


def reference(logits, history=(), temperature=1.0, top_k=0, top_p=1.0, min_p=0.0,
              repetition_penalty=1.0):
    """Probabilities of all tokens, 0 for those that are out."""
    scores = np.asarray(logits, np.float32).astype(np.float64)
    # RepetitionPenaltyLogitsProcessor
    seen = np.unique(np.asarray(history, np.int64))
    scores[seen] = np.where(scores[seen] < 0, scores[seen] * repetition_penalty,
                            scores[seen] / repetition_penalty).astype(np.float32)
    if temperature == 0:
        return np.eye(len(scores))[scores.argmax()]
    scores = scores / temperature  # TemperatureLogitsWarper
    if top_k > 0:  # TopKLogitsWarper
        kth = np.sort(scores)[-min(top_k, len(scores))]
        scores = np.where(scores < kth, -np.inf, scores)
    if top_p < 1:  # TopPLogitsWarper: from the least probable on, higher ids first
        order = np.lexsort((-np.arange(len(scores)), scores))
        cumulated = softmax(scores[order]).cumsum()
        removed = cumulated <= 1 - top_p
        removed[-1] = False
        scores[order[removed]] = -np.inf
    if min_p > 0:  # MinPLogitsWarper
        probabilities = softmax(scores)
        scores = np.where(probabilities < min_p * probabilities.max(), -np.inf, scores)
    return softmax(scores)


def philox(counter, key):
    """Philox4x32-10, by Python's integers."""
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(10):
        a, b = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = ((b >> 32) ^ x1 ^ k0, b & 0xFFFFFFFF,
                          (a >> 32) ^ x3 ^ k1, a & 0xFFFFFFFF)
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return x0, x1, x2, x3


def uniform(seed, stream, position):
    words = [x >> shift & 0xFFFFFFFF for x in (position, stream) for shift in (0, 32)]
    bits = philox(words, (seed & 0xFFFFFFFF, seed >> 32))
    return ((bits[0] << 32 | bits[1]) >> 11) * 2.0 ** -53


def draw(probabilities, seed, stream, position):
    """The token at which the running sum passes the random number, ids ascending."""
    cumulated = probabilities.cumsum()
    wanted = uniform(seed, stream, position)
    at = int(np.searchsorted(cumulated, wanted, side="right"))
    return min(at, int(np.flatnonzero(probabilities)[-1]))


def cases(random):
    """Options and rows; every filter alone, and all of them together."""
    singles = [{}, {"top_k": 1}, {"top_k": 7}, {"top_k": 10**6}, {"top_p": 0.1},
               {"top_p": 0.5}, {"top_p": 0.9}, {"top_p": 0.999}, {"min_p": 0.01},
               {"min_p": 0.3}, {"min_p": 1.0}, {"repetition_penalty": 1.3},
               {"repetition_penalty": 0.7}, {"temperature": 0.25}, {"temperature": 3.0},
               {"temperature": 0.0}]
    for options in singles:
        yield {"temperature": 1.0, **options}
    for _ in range(60):
        yield {"temperature": float(random.uniform(0.2, 2)),
               "top_k": int(random.integers(0, 60)), "top_p": float(random.uniform(0.05, 1)),
               "min_p": float(random.uniform(0, 0.3)),
               "repetition_penalty": float(random.uniform(0.8, 1.6))}


def rows(random):
    for width in (1, 2, 50, 1000):
        yield random.normal(0, 3, width)
    ties = np.round(random.normal(0, 1.5, 200))  # few values, so many are equal
    yield ties
    masked = random.normal(0, 3, 300)
    masked[random.permutation(300)[:250]] = -np.inf
    yield masked
    yield np.full(16, 2.5)
    yield random.normal(0, 2, 151936)  # the largest vocabulary that is common


def clear_of_borders(logits, history, options):
    """Whether no sum of top_p is so near to its border that rounding decides."""
    if options.get("top_p", 1.0) == 1.0 or options["temperature"] == 0:
        return True
    before = reference(logits, history, **{**options, "top_p": 1.0, "min_p": 0.0})
    sums = np.sort(before)[::-1].cumsum()
    return np.abs(sums - options["top_p"]).min() > 1e-10


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runtime", required=True)
    library = ctypes.CDLL(parser.parse_args().runtime)
    library.moe_last_error.restype = ctypes.c_char_p
    library.moe_sampler_destroy.argtypes = [ctypes.c_void_p]
    random = np.random.default_rng(20)
    compared = drawn = 0
    for number, options in enumerate(cases(random)):
        seed = int(random.integers(0, 2**63))
        sampler = Sampler(library, seed=seed, **options)
        for logits in rows(random):
            if len(logits) > 100000 and number % 8:
                continue
            logits = logits.astype(np.float32)
            history = random.integers(0, len(logits), 20)
            if not clear_of_borders(logits, history, options):
                continue
            expected = reference(logits, history, **options)
            ids, probabilities = sampler.distribution(logits, history)
            kept = np.flatnonzero(expected)
            assert np.array_equal(ids, kept), (options, len(logits), ids, kept)
            assert np.abs(probabilities - expected[kept]).max() < 1e-6, options
            compared += 1
            for stream, position in ((0, 0), (3, 17), (2**40, 2**33 + 5)):
                token = sampler.choose(logits, history, stream, position)
                assert token == draw(expected, seed, stream, position), (options, token)
                drawn += 1
    assert compared > 400, compared
    print(f"{compared} distributions and {drawn} draws agree")


if __name__ == "__main__":
    main()
