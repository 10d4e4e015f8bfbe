"""Philox4x32-10 on the CPU: every number depends on key, unit, sample and draw alone (see `rng`).

Compiled without fast mathematics, since the bits are promised.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numba.extending import overload

from sparserbm.backends.base import LANES, TILE
from sparserbm.backends.compiled import compiled
from sparserbm.backends.reference import COS_TERMS, LN2, LOG_TERMS, SIN_TERMS, SQRT_HALF, TWO_PI
from sparserbm.backends.threads import address, share_range, task
from sparserbm.backends.vector_draws import fill_tile


def _unit(word, like):
    """A word as a number of [0, 1) of the type of `like`."""
    raise NotImplementedError


@overload(_unit)
def _unit_overload(word, like):
    if like == types.float32:
        return lambda word, like: np.float32(np.int32(word >> np.uint32(8))) * np.float32(2.0**-24)
    return lambda word, like: np.float64(word) * 2.0**-32


@compiled()
def uniform_rows(lo, hi, key0, key1, step, draw, out):
    words = np.empty(TILE, np.uint32)
    n = out.shape[1]
    for unit in range(lo, hi):
        row = out[unit]
        for start in range(0, n, TILE):
            fill_tile(start // TILE, unit, key0, key1, step, draw, words)
            part = row[start : min(start + TILE, n)]
            for c in range(part.size):
                part[c] = _unit(words[c], part[c])


@compiled()
def bernoulli_row(unit, key0, key1, step, draw, mean, out, words):
    n = out.size
    one, zero = out.dtype.type(1.0), out.dtype.type(0.0)
    for start in range(0, n, TILE):
        fill_tile(start // TILE, unit, key0, key1, step, draw, words)
        stop = min(start + TILE, n)
        part, below = out[start:stop], mean[start:stop]
        for c in range(part.size):
            part[c] = one if _unit(words[c], below[c]) < below[c] else zero


@compiled()
def bernoulli_rows(lo, hi, key0, key1, step, draw, mean, out):
    words = np.empty(TILE, np.uint32)
    for unit in range(lo, hi):
        bernoulli_row(unit, key0, key1, step, draw, mean[unit], out[unit], words)


@compiled()
def categorical_groups(lo, hi, key0, key1, step, draw, mean, out, groups):
    words = np.empty(TILE, np.uint32)
    chosen = np.empty(TILE, np.int64)
    uniform, before = np.empty(TILE, out.dtype), np.empty(TILE, out.dtype)
    n, states = out.shape[1], out.shape[0] // groups
    one, zero = out.dtype.type(1.0), out.dtype.type(0.0)
    for group in range(lo, hi):
        first = group * states
        for start in range(0, n, TILE):
            fill_tile(start // TILE, group, key0, key1, step, draw, words)
            width = min(TILE, n - start)
            for c in range(width):
                uniform[c] = _unit(words[c], uniform[c])
                chosen[c], before[c] = 0, zero
            for state in range(states):  # the last one whose share begins below the draw
                probability = mean[first + state, start : start + width]
                for c in range(width):
                    if before[c] <= uniform[c] and probability[c] > zero:
                        chosen[c] = state
                    before[c] += probability[c]
            for state in range(states):
                target = out[first + state, start : start + width]
                for c in range(width):
                    target[c] = one if chosen[c] == state else zero


@compiled()
def _log(x):
    mantissa, exponent = math.frexp(x)
    if mantissa < SQRT_HALF:
        mantissa, exponent = 2.0 * mantissa, exponent - 1
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    total = LOG_TERMS[10]
    for k in range(9, -1, -1):
        total = total * square + LOG_TERMS[k]
    return 2.0 * s * total + exponent * LN2


@compiled()
def _cos_sin(turns):
    quarter = math.floor(4.0 * turns + 0.5)
    angle = (turns - 0.25 * quarter) * TWO_PI
    square = angle * angle
    sine, cosine = SIN_TERMS[7], COS_TERMS[7]
    for k in range(6, -1, -1):
        sine = sine * square + SIN_TERMS[k]
        cosine = cosine * square + COS_TERMS[k]
    sine = angle * sine
    quadrant = int(quarter) % 4
    if quadrant == 1:
        return -sine, cosine
    if quadrant == 2:
        return -cosine, -sine
    if quadrant == 3:
        return sine, -cosine
    return cosine, sine


@compiled()
def normal_rows(lo, hi, key0, key1, step, draw, out):
    words = np.empty(TILE, np.uint32)
    numbers = np.empty(TILE, np.float64)
    n = out.shape[1]
    for unit in range(lo, hi):
        for start in range(0, n, TILE):
            fill_tile(start // TILE, unit, key0, key1, step, draw, words)
            for half in range(2):
                for lane in range(LANES):
                    first = 2 * half * LANES + lane
                    radius = math.sqrt(-2.0 * _log((np.float64(words[first]) + 0.5) * 2.0**-32))
                    cosine, sine = _cos_sin(np.float64(words[first + LANES]) * 2.0**-32)
                    numbers[first] = radius * cosine
                    numbers[first + LANES] = radius * sine
            for c in range(min(TILE, n - start)):
                out[unit, start + c] = numbers[c]


@compiled()
def uniform(state, shares, key0, key1, step, draw, out):
    arguments = (key0, key1, step, draw, out)
    share_range(state, shares, out.shape[0], task(uniform_rows, arguments), address(arguments))


@compiled()
def bernoulli(state, shares, key0, key1, step, draw, mean, out):
    arguments = (key0, key1, step, draw, mean, out)
    share_range(state, shares, out.shape[0], task(bernoulli_rows, arguments), address(arguments))


@compiled()
def categorical(state, shares, key0, key1, step, draw, mean, out, groups):
    arguments = (key0, key1, step, draw, mean, out, groups)
    share_range(state, shares, groups, task(categorical_groups, arguments), address(arguments))


@compiled()
def normal(state, shares, key0, key1, step, draw, out):
    arguments = (key0, key1, step, draw, out)
    share_range(state, shares, out.shape[0], task(normal_rows, arguments), address(arguments))
