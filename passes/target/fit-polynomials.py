#!/usr/bin/env python3
"""Fits the polynomials of MathExpansion.cpp.

Prints the coefficients, lowest power first, as they stand in the source. Each
fit is a Remez exchange in double precision on the error that the expansion
makes in its result. Needs numpy; run by hand when an expansion changes.
"""
import math
from fractions import Fraction

import numpy as np


def remez(target, weight, low, high, degree, rounds=60):
    """Minimax polynomial: minimises max |weight * (p - target)|."""
    count = degree + 2
    k = np.arange(count)
    nodes = (low + high) / 2 + (high - low) / 2 * np.cos(math.pi * k / (count - 1))
    nodes = np.sort(nodes)
    grid = (low + high) / 2 - (high - low) / 2 * np.cos(
        np.linspace(0, math.pi, 20001))
    goal = np.array([target(x) for x in grid])
    scale = np.array([weight(x) for x in grid])
    for _ in range(rounds):
        t = np.array([target(x) for x in nodes])
        w = np.array([weight(x) for x in nodes])
        matrix = np.vander(nodes, degree + 1, increasing=True)
        matrix = np.hstack([matrix, ((-1.0)**k / w)[:, None]])
        solution = np.linalg.solve(matrix, t)
        coefficients = solution[:-1]
        error = scale * (np.polynomial.polynomial.polyval(grid, coefficients) - goal)
        # One extremum per run of equal sign.
        nodes_next, start = [], 0
        for i in range(1, len(grid) + 1):
            if i == len(grid) or np.sign(error[i]) != np.sign(error[start]):
                best = start + int(np.argmax(np.abs(error[start:i])))
                nodes_next.append((abs(error[best]), grid[best]))
                start = i
        while len(nodes_next) > count:
            del nodes_next[0 if nodes_next[0][0] < nodes_next[-1][0] else -1]
        if len(nodes_next) < count:
            break
        nodes = np.array([x for _, x in nodes_next])
    return coefficients, float(np.max(np.abs(error)))


def series(x, terms):
    return sum(c * x**i for i, c in enumerate(terms))


def show(name, fit):
    coefficients, error = fit
    text = ", ".join(f"{np.float32(c):.9g}f" for c in coefficients)
    print(f"{name}: error {error:.2g}\n  {text}")


# exp(r) = 1 + r + r^2 P(r), relative error.
def exp_rest(r):
    if abs(r) < 0.02:
        return series(r, [1 / math.factorial(i + 2) for i in range(8)])
    return (math.exp(r) - 1 - r) / (r * r)


half_ln2 = math.log(2) / 2 * 1.001
show("exp", remez(exp_rest, lambda r: r * r / math.exp(r) + 1e-30, -half_ln2,
                  half_ln2, 4))


# log(1 + f) = f - f^2 / 2 + f^3 Q(f), relative error.
def log_rest(f):
    if abs(f) < 0.02:
        return series(f, [(-1)**i / (i + 3) for i in range(12)])
    return (math.log1p(f) - f + f * f / 2) / f**3


def log_weight(f):
    return f * f * f / math.log1p(f) if abs(f) > 1e-6 else f * f + 1e-30


show("log", remez(log_rest, log_weight, math.sqrt(0.5) - 1, math.sqrt(2) - 1, 8))


# tanh(x) = x + x^3 R(x^2) below 0.625, relative error; in z = x^2.
def tanh_rest(z):
    x = math.sqrt(z)
    if x < 0.02:
        return series(z, [-1 / 3, 2 / 15, -17 / 315, 62 / 2835])
    return (math.tanh(x) - x) / x**3


show("tanh", remez(tanh_rest, lambda z: z + 1e-30, 0, 0.625**2, 5))


# erf(x) = x + x S(x^2) below 1, relative error; in z = x^2.
def erf_rest(z):
    x = math.sqrt(z)
    if x < 0.01:
        return 2 / math.sqrt(math.pi) * series(z, [1, -1 / 3, 1 / 10]) - 1
    return math.erf(x) / x - 1


show("erf below 1", remez(erf_rest, lambda z: 1, 0, 1.0, 7))

# erf(x) = 1 - exp(-L(x)) on [1, 4], absolute error of erf.
show("erf above 1", remez(lambda t: -math.log(math.erfc(t)), math.erfc, 1.0, 4.0, 7))


# sin(x) = x + x^3 S(x^2), cos(x) = 1 - x^2 / 2 + x^4 C(x^2) up to pi / 4. The
# errors are below double precision, so these interpolate at Chebyshev nodes in
# rational arithmetic.
def interpolate(terms, high, degree):
    nodes = [Fraction(high * (0.5 + 0.5 * math.cos(
        math.pi * (2 * k + 1) / (2 * degree + 2)))) for k in range(degree + 1)]
    rows = [[x**j for j in range(degree + 1)] + [series(x, terms)] for x in nodes]
    for i in range(degree + 1):
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for k in range(degree + 1):
            if k != i:
                rows[k] = [a - rows[k][i] * b for a, b in zip(rows[k], rows[i])]
    return [float(row[-1]) for row in rows]


quarter = (math.pi / 4 * 1.001)**2
for name, first, sign in (("sin", 3, -1), ("cos", 4, 1)):
    terms = [Fraction(sign * (-1)**i, math.factorial(2 * i + first)) for i in range(12)]
    print(name + ":\n  " + ", ".join(f"{c:.17g}" for c in interpolate(terms, quarter, 5)))

# pi / 2 in three parts; the first two have 33 bits, so that multiples of them
# below 2^20 are exact.
pi_digits = 31415926535897932384626433832795028841971693993751
half_pi = pi_digits * 2**200 // (2 * 10**49)
for part in range(3):
    value = half_pi / 2**200
    if part < 2:
        exponent = math.frexp(value)[1]
        value = math.ldexp(math.floor(math.ldexp(value, 33 - exponent)), exponent - 33)
    half_pi -= int(math.ldexp(value, 200))
    print(f"pi/2 part {part}: {value.hex()}")
