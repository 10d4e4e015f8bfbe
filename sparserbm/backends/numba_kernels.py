"""CPU kernels, compiled by numba at their first call.

Each kernel is a plain loop over a range of rows, without Python's lock: `threads.run_rows` gives ranges to several
threads. A row is always computed by one thread in one order, so the number of threads cannot change a result.
The products take four connections of a row together: one pass over the batch for four multiply-adds
(measured 1.5 times the speed of one connection a pass).

``fastmath`` allows reordering and fused multiply-adds, but keeps NaN and infinity: diverging training must show.
The random numbers are compiled without it, since their bits are promised.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from sparserbm.backends.base import LANES, TILE
from sparserbm.backends.reference import COS_TERMS, LN2, LOG_TERMS, SIN_TERMS, SQRT_HALF, TWO_PI

FAST = {"reassoc", "contract", "nsz", "arcp"}
LINEAR, SIGMOID, RELU, TANH = range(4)


def _compiled(**options):
    """``numba.njit`` with an on-disk cache where there is a place to write it.

    ``error_model="numpy"``: a check for division by zero would keep every loop with a division from being
    vectorised (measured: a sigmoid takes 7.3 ns an element with it, 0.8 ns without).
    """
    options |= {"nogil": True, "error_model": "numpy"}

    def wrap(function):
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # neither the package folder nor HOME is writable
            return numba.njit(**options)(function)

    return wrap


# -- elementary functions --------------------------------------------------------------------------------------


@intrinsic
def _float32_from_bits(typingctx, bits):
    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), codegen


def _exp(x):
    """exp(x), vectorised by the compiler for float32 (relative error below 2e-7 for |x| < 87)."""
    raise NotImplementedError


@overload(_exp)
def _exp_overload(x):
    if x == types.float32:
        return lambda x: _exp_float32(x)
    return lambda x: math.exp(x)


@_compiled(fastmath=FAST)
def _exp_float32(x):
    # exp(x) = 2**n * exp(r), |r| <= ln(2) / 2: a Taylor polynomial for exp(r), n written into the exponent bits.
    # The conversion to int32 truncates a positive number, which rounds n; `floor` would not be vectorised.
    # Compared this way round, NaN passes both limits and stays NaN.
    x = np.float32(-87.0) if x < np.float32(-87.0) else x
    x = np.float32(88.0) if x > np.float32(88.0) else x
    biased = np.int32(x * np.float32(1.44269504) + np.float32(127.5))
    n = np.float32(np.int32(biased - np.int32(127)))
    r = x - n * np.float32(0.693359375)
    r = r + n * np.float32(2.12194440e-4)
    p = np.float32(1.0 / 5040.0)
    p = p * r + np.float32(1.0 / 720.0)
    p = p * r + np.float32(1.0 / 120.0)
    p = p * r + np.float32(1.0 / 24.0)
    p = p * r + np.float32(1.0 / 6.0)
    p = p * r + np.float32(0.5)
    p = p * r + np.float32(1.0)
    p = p * r + np.float32(1.0)
    return p * _float32_from_bits(np.int32(biased << np.int32(23)))  # type: ignore[call-arg]


def _log1p(t):
    """log(1 + t) for t of [0, 1], vectorised by the compiler for float32."""
    raise NotImplementedError


@overload(_log1p)
def _log1p_overload(t):
    if t == types.float32:
        return lambda t: _log1p_float32(t)
    return lambda t: math.log1p(t)


@_compiled(fastmath=FAST)
def _log1p_float32(t):
    # 2 atanh(s) with s = t / (2 + t) <= 1/3: seven terms reach float32 precision.
    s = t / (np.float32(2.0) + t)
    square = s * s
    total = np.float32(1.0 / 13.0)
    total = total * square + np.float32(1.0 / 11.0)
    total = total * square + np.float32(1.0 / 9.0)
    total = total * square + np.float32(1.0 / 7.0)
    total = total * square + np.float32(1.0 / 5.0)
    total = total * square + np.float32(1.0 / 3.0)
    total = total * square + np.float32(1.0)
    return np.float32(2.0) * s * total


@_compiled(fastmath=FAST)
def activate_row(row, activation):
    one = row.dtype.type(1.0)
    if activation == SIGMOID:
        for c in range(row.size):
            row[c] = one / (one + _exp(-row[c]))
    elif activation == RELU:
        for c in range(row.size):
            row[c] = row[c] if row[c] > 0 else row[c] * row.dtype.type(0.0)  # NaN stays NaN
    elif activation == TANH:
        two = row.dtype.type(2.0)
        for c in range(row.size):
            row[c] = one - two / (one + _exp(two * row[c]))


@_compiled(fastmath=FAST)
def gate_row(row, activation, activity):
    one = row.dtype.type(1.0)
    if activation == SIGMOID:
        for c in range(row.size):
            row[c] *= activity[c] * (one - activity[c])
    elif activation == RELU:
        for c in range(row.size):
            row[c] = row[c] if activity[c] > 0 else row[c] * row.dtype.type(0.0)
    elif activation == TANH:
        for c in range(row.size):
            row[c] *= one - activity[c] * activity[c]


# -- random numbers --------------------------------------------------------------------------------------------


@_compiled()
def _round(c0, c1, c2, c3, k0, k1):
    p0 = np.uint64(c0) * np.uint64(0xD2511F53)
    p1 = np.uint64(c2) * np.uint64(0xCD9E8D57)
    high0, high1 = np.uint32(p0 >> np.uint64(32)), np.uint32(p1 >> np.uint64(32))
    return np.uint32(high1 ^ c1 ^ k0), np.uint32(p1), np.uint32(high0 ^ c3 ^ k1), np.uint32(p0)


@_compiled()
def fill_tile(tile, unit, key0, key1, step, draw, words):
    """The 32 words of one tile of samples: see `reference.philox_words`."""
    w0, w1 = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
    for lane in range(LANES):
        c0, c1 = np.uint32(tile * LANES + lane), np.uint32(unit)
        c2, c3 = np.uint32(draw), np.uint32(step)
        k0, k1 = np.uint32(key0), np.uint32(key1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        k0, k1 = np.uint32(k0 + w0), np.uint32(k1 + w1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        k0, k1 = np.uint32(k0 + w0), np.uint32(k1 + w1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        k0, k1 = np.uint32(k0 + w0), np.uint32(k1 + w1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        k0, k1 = np.uint32(k0 + w0), np.uint32(k1 + w1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        k0, k1 = np.uint32(k0 + w0), np.uint32(k1 + w1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        k0, k1 = np.uint32(k0 + w0), np.uint32(k1 + w1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        k0, k1 = np.uint32(k0 + w0), np.uint32(k1 + w1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        k0, k1 = np.uint32(k0 + w0), np.uint32(k1 + w1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        k0, k1 = np.uint32(k0 + w0), np.uint32(k1 + w1)
        c0, c1, c2, c3 = _round(c0, c1, c2, c3, k0, k1)
        words[lane] = c0
        words[LANES + lane] = c1
        words[2 * LANES + lane] = c2
        words[3 * LANES + lane] = c3


def _unit(word, like):
    """A word as a number of [0, 1) of the type of `like`."""
    raise NotImplementedError


@overload(_unit)
def _unit_overload(word, like):
    if like == types.float32:
        return lambda word, like: np.float32(np.int32(word >> np.uint32(8))) * np.float32(2.0**-24)
    return lambda word, like: np.float64(word) * 2.0**-32


@_compiled()
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


@_compiled()
def bernoulli_row(unit, key0, key1, step, draw, mean, out, words):
    n = out.size
    one, zero = out.dtype.type(1.0), out.dtype.type(0.0)
    for start in range(0, n, TILE):
        fill_tile(start // TILE, unit, key0, key1, step, draw, words)
        stop = min(start + TILE, n)
        part, below = out[start:stop], mean[start:stop]
        for c in range(part.size):
            part[c] = one if _unit(words[c], below[c]) < below[c] else zero


@_compiled()
def bernoulli_rows(lo, hi, key0, key1, step, draw, mean, out):
    words = np.empty(TILE, np.uint32)
    for unit in range(lo, hi):
        bernoulli_row(unit, key0, key1, step, draw, mean[unit], out[unit], words)


@_compiled()
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


@_compiled()
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


@_compiled()
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


# -- products --------------------------------------------------------------------------------------------------


@_compiled(fastmath=FAST)
def product_rows(
    lo, hi, indptr, index, order, weight, x, bias, out, activation, gated, gate, activity, drawn, key, sample
):
    """Rows lo to hi of the product, with everything that is fused into it (see `Backend.spmm`)."""
    n = x.shape[1]
    words = np.empty(TILE, np.uint32)
    ordered = order.size > 0
    for row in range(lo, hi):
        total = out[row]
        start = bias[row] if bias.size > 0 else weight.dtype.type(0.0)
        for c in range(n):
            total[c] = start
        e, end = indptr[row], indptr[row + 1]
        while e + 4 <= end:
            if ordered:
                w0, w1, w2, w3 = (
                    weight[order[e]],
                    weight[order[e + 1]],
                    weight[order[e + 2]],
                    weight[order[e + 3]],
                )
            else:
                w0, w1, w2, w3 = weight[e], weight[e + 1], weight[e + 2], weight[e + 3]
            x0, x1, x2, x3 = x[index[e]], x[index[e + 1]], x[index[e + 2]], x[index[e + 3]]
            for c in range(n):
                total[c] += w0 * x0[c] + w1 * x1[c] + w2 * x2[c] + w3 * x3[c]
            e += 4
        while e < end:
            w0 = weight[order[e]] if ordered else weight[e]
            x0 = x[index[e]]
            for c in range(n):
                total[c] += w0 * x0[c]
            e += 1
        if activation != LINEAR:
            activate_row(total, activation)
        if gated:
            gate_row(total, gate, activity[row])
        if drawn:
            bernoulli_row(row, key[0], key[1], key[2], key[3], total, sample[row], words)


@_compiled(fastmath=FAST)
def sampled_rows(lo, hi, indptr, index, x, y, scale, accumulate, out):
    """``out[e] = scale * x[i_e] . y[j]`` for the connections of rows lo to hi, added to `out` if `accumulate`."""
    n = x.shape[1]
    zero = out.dtype.type(0.0)
    for row in range(lo, hi):
        other = y[row]
        e, end = indptr[row], indptr[row + 1]
        while e + 4 <= end:
            x0, x1, x2, x3 = x[index[e]], x[index[e + 1]], x[index[e + 2]], x[index[e + 3]]
            s0, s1, s2, s3 = zero, zero, zero, zero
            for c in range(n):
                s0 += x0[c] * other[c]
                s1 += x1[c] * other[c]
                s2 += x2[c] * other[c]
                s3 += x3[c] * other[c]
            if accumulate:
                out[e] += scale * s0
                out[e + 1] += scale * s1
                out[e + 2] += scale * s2
                out[e + 3] += scale * s3
            else:
                out[e], out[e + 1], out[e + 2], out[e + 3] = scale * s0, scale * s1, scale * s2, scale * s3
            e += 4
        while e < end:
            x0 = x[index[e]]
            s0 = zero
            for c in range(n):
                s0 += x0[c] * other[c]
            out[e] = (out[e] if accumulate else zero) + scale * s0
            e += 1


@_compiled(fastmath=FAST)
def sampled_pair_rows(lo, hi, indptr, index, x, y, scale, x2, y2, scale2, out):
    """Two signed pairs in one pass: ``out[e] = scale * x[i] . y[j] + scale2 * x2[i] . y2[j]``."""
    n = x.shape[1]
    zero = out.dtype.type(0.0)
    for row in range(lo, hi):
        other, other2 = y[row], y2[row]
        e, end = indptr[row], indptr[row + 1]
        while e + 2 <= end:
            i, j = index[e], index[e + 1]
            a0, a1, b0, b1 = x[i], x[j], x2[i], x2[j]
            s0, s1, t0, t1 = zero, zero, zero, zero
            for c in range(n):
                s0 += a0[c] * other[c]
                s1 += a1[c] * other[c]
                t0 += b0[c] * other2[c]
                t1 += b1[c] * other2[c]
            out[e] = scale * s0 + scale2 * t0
            out[e + 1] = scale * s1 + scale2 * t1
            e += 2
        while e < end:
            a0, b0 = x[index[e]], x2[index[e]]
            s0, t0 = zero, zero
            for c in range(n):
                s0 += a0[c] * other[c]
                t0 += b0[c] * other2[c]
            out[e] = scale * s0 + scale2 * t0
            e += 1


# -- batches, sums, elementwise --------------------------------------------------------------------------------


@_compiled()
def gather(samples, rows, out):
    """``out[f, b] = samples[rows[b], f]``; eight samples side by side read eight streams and write whole lines.

    Measured at 128 of 60,000 samples of 784 features: 78 microseconds, a sample at a time in blocks of features 425.
    """
    n, n_features = rows.size, out.shape[0]
    for b in range(0, n - 7, 8):
        x0, x1, x2, x3 = samples[rows[b]], samples[rows[b + 1]], samples[rows[b + 2]], samples[rows[b + 3]]
        x4, x5, x6, x7 = samples[rows[b + 4]], samples[rows[b + 5]], samples[rows[b + 6]], samples[rows[b + 7]]
        for f in range(n_features):
            part = out[f, b : b + 8]
            part[0], part[1], part[2], part[3] = x0[f], x1[f], x2[f], x3[f]
            part[4], part[5], part[6], part[7] = x4[f], x5[f], x6[f], x7[f]
    for b in range(n - n % 8, n):
        x0 = samples[rows[b]]
        for f in range(n_features):
            out[f, b] = x0[f]


@_compiled(fastmath=FAST)
def add_row_sums(activity, scale, out):
    for row in range(out.size):
        values = activity[row]
        total = out.dtype.type(0.0)
        for c in range(values.size):
            total += values[c]
        out[row] += scale * total


@_compiled(fastmath=FAST)
def softplus(x, out):
    for k in range(x.size):
        value = x[k]
        out[k] = (value if value > 0 else x.dtype.type(0.0)) + _log1p(_exp(-abs(value)))


@_compiled(fastmath=FAST)
def squared_error(a, b):
    total = 0.0
    for row in range(a.shape[0]):
        first, second = a[row], b[row]
        part = a.dtype.type(0.0)
        for c in range(first.size):
            part += (first[c] - second[c]) * (first[c] - second[c])
        total += part
    return total


@_compiled(fastmath=FAST)
def add_scaled(target, scale, source):
    for k in range(target.size):
        target[k] += scale * source[k]


@_compiled(fastmath=FAST)
def descend(value, gradient, learning_rate):
    for k in range(value.size):
        value[k] -= learning_rate * gradient[k]


@_compiled(fastmath=FAST)
def descend_with_momentum(value, velocity, gradient, learning_rate, momentum, nesterov):
    if nesterov:
        for k in range(value.size):
            velocity[k] = momentum * velocity[k] + gradient[k]
            value[k] -= learning_rate * (gradient[k] + momentum * velocity[k])
    else:
        for k in range(value.size):
            velocity[k] = momentum * velocity[k] + gradient[k]
            value[k] -= learning_rate * velocity[k]


@_compiled(fastmath=FAST)
def adam(value, first, second, gradient, age, learning_rate, beta1, beta2, eps):
    one = value.dtype.type(1.0)
    for k in range(value.size):
        first[k] = beta1 * first[k] + (one - beta1) * gradient[k]
        second[k] = beta2 * second[k] + (one - beta2) * gradient[k] * gradient[k]
        # float64 powers: 1 - 0.999**age loses five digits in float32
        mean = first[k] / (1.0 - np.float64(beta1) ** age[k])
        spread = second[k] / (1.0 - np.float64(beta2) ** age[k])
        value[k] -= learning_rate * mean / (math.sqrt(spread) + eps)
