"""Compares two .npy files of logits.

    compare.py EXPECTED.npy FOUND.npy TERMS PRODUCTS [--unit=BITS]

Tolerance, relative in norm: TERMS * PRODUCTS * 2^-BITS (24: f32). FOUND may hold the last
rows only.
"""

import sys

import numpy as np

bits = next((int(a[7:]) for a in sys.argv[5:] if a.startswith("--unit=")), 24)
expected, found = np.load(sys.argv[1]), np.load(sys.argv[2])
expected = expected[len(expected) - len(found) :]
tolerance = int(sys.argv[3]) * int(sys.argv[4]) * 2.0**-bits
error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
print(f"relative error {error:.1e}, tolerance {tolerance:.1e}")
sys.exit(0 if expected.shape == found.shape and error <= tolerance else 1)
