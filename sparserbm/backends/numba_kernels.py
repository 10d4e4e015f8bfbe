"""CPU kernels, compiled by numba at their first call.

Each kernel works on a range of rows, and `threads` gives ranges to several threads. A row is always computed by one
thread in one order, so the number of threads cannot change a result.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numba.extending import overload

from sparserbm.backends.base import TILE
from sparserbm.backends.compiled import FAST, compiled
from sparserbm.backends.numba_draws import bernoulli_row
from sparserbm.backends.threads import address, share_range, share_rows, task
from sparserbm.backends.vector_products import sampled_products, weighted_sum
from sparserbm.backends.vectors import BYTES, exponential

LINEAR, SIGMOID, RELU, TANH = range(4)


# -- elementary functions --------------------------------------------------------------------------------------


def _log1p(t):
    """log(1 + t) for t of [0, 1], vectorised by the compiler for float32."""
    raise NotImplementedError


@overload(_log1p)
def _log1p_overload(t):
    if t == types.float32:
        return lambda t: _log1p_float32(t)
    return lambda t: math.log1p(t)


@compiled(fastmath=FAST)
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


@compiled(fastmath=FAST)
def activate(values, activation, slope):
    one, two, slope = values.dtype.type(1.0), values.dtype.type(2.0), values.dtype.type(slope)
    for k in range(values.size):
        if activation == SIGMOID:
            values[k] = one / (one + exponential(-values[k]))
        elif activation == RELU:
            values[k] = values[k] if values[k] > 0 else values[k] * slope  # NaN stays NaN
        elif activation == TANH:
            values[k] = one - two / (one + exponential(two * values[k]))


@compiled(fastmath=FAST)
def gate(values, activation, slope, activity):
    """``values *= f'(z)`` on flat arrays."""
    one, slope = values.dtype.type(1.0), values.dtype.type(slope)
    for k in range(values.size):
        if activation == SIGMOID:
            values[k] *= activity[k] * (one - activity[k])
        elif activation == RELU:
            values[k] = values[k] if activity[k] > 0 else values[k] * slope
        elif activation == TANH:
            values[k] *= one - activity[k] * activity[k]


# -- products --------------------------------------------------------------------------------------------------


@compiled(fastmath=FAST)
def product_rows(
    lo, hi, indptr, index, order, weight, x, bias, out, activation, slope, gating, slope2, activity, key, sample
):
    """Rows lo to hi of the product, with everything that is fused into it (see `Backend.spmm`)."""
    n, lanes, words = x.shape[1], BYTES // x.itemsize, np.empty(TILE, np.uint32)
    slope, slope2 = x.dtype.type(slope), x.dtype.type(slope2)
    for row in range(lo, hi):
        start = bias[row] if bias.size > 0 else weight.dtype.type(0.0)
        first, last = indptr[row], indptr[row + 1]
        if n >= lanes:
            weighted_sum(
                row, first, last, index, order, weight, start, x, out, activation, slope, gating, slope2, activity
            )
        else:
            narrow_sum(first, last, index, order, weight, start, x, out[row])
            activate(out[row], activation, slope)
            if gating != LINEAR:
                gate(out[row], gating, slope2, activity[row])
        if sample.size > 0:
            bernoulli_row(row, key[0], key[1], key[2], key[3], out[row], sample[row], words)


@compiled(fastmath=FAST)
def narrow_sum(first, last, index, order, weight, start, x, total):
    """A row of fewer samples than a vector has lanes."""
    total[:] = start
    for e in range(first, last):
        factor, source = weight[order[e] if order.size > 0 else e], x[index[e]]
        for c in range(total.size):
            total[c] += factor * source[c]


@compiled()
def product(
    state, shares, indptr, index, order, weight, x, bias, out, activation, slope, gating, slope2, activity, key, sample
):
    arguments = (indptr, index, order, weight, x, bias, out, activation, slope, gating, slope2, activity, key, sample)
    share_rows(state, shares, indptr, task(product_rows, arguments), address(arguments))


@compiled(fastmath=FAST)
def sampled_rows(lo, hi, indptr, index, x, y, scale, accumulate, out):
    """``out[e] = scale * x[i_e] . y[j]`` for the connections of rows lo to hi, added to `out` if `accumulate`."""
    n, lanes = x.shape[1], BYTES // x.itemsize
    for row in range(lo, hi):
        first, last = indptr[row], indptr[row + 1]
        if last - first >= lanes and n >= lanes:
            sampled_products(row, first, last, index, x, y, scale, accumulate, out)
            continue
        other = y[row]
        for e in range(first, last):
            source, total = x[index[e]], out.dtype.type(0.0)
            for c in range(n):
                total += source[c] * other[c]
            out[e] = (out[e] if accumulate else out.dtype.type(0.0)) + scale * total


@compiled()
def sampled_product(state, shares, indptr, index, x, y, scale, accumulate, out):
    arguments = (indptr, index, x, y, scale, accumulate, out)
    share_rows(state, shares, indptr, task(sampled_rows, arguments), address(arguments))


@compiled(fastmath=FAST)
def limit_rows(lo, hi, indptr, order, values, limit):
    """See `Backend.limit_norms`; the squares add up in float64."""
    for row in range(lo, hi):
        first, last = indptr[row], indptr[row + 1]
        total = 0.0
        for e in range(first, last):
            value = np.float64(values[order[e] if order.size > 0 else e])
            total += value * value
        if total > limit * limit:
            factor = values.dtype.type(limit / math.sqrt(total))
            for e in range(first, last):
                values[order[e] if order.size > 0 else e] *= factor


@compiled()
def limit_norms(state, shares, indptr, order, values, limit):
    arguments = (indptr, order, values, limit)
    share_rows(state, shares, indptr, task(limit_rows, arguments), address(arguments))


@compiled()
def transpose(indptr, index, column_indptr, row, order):
    """Counting sort by column; see `Backend.transposed`."""
    for e in range(index.size):
        column_indptr[index[e] + 1] += 1
    for column in range(column_indptr.size - 1):
        column_indptr[column + 1] += column_indptr[column]
    # Every column's start moves to its end while the column fills, and back afterwards.
    for r in range(indptr.size - 1):
        for e in range(indptr[r], indptr[r + 1]):
            place = column_indptr[index[e]]
            row[place], order[place] = r, e
            column_indptr[index[e]] = place + 1
    for column in range(column_indptr.size - 1, 0, -1):
        column_indptr[column] = column_indptr[column - 1]
    column_indptr[0] = 0


@compiled()
def merge(old, keep, before, out):
    """See `Backend.merged`."""
    place = kept = newborn = 0
    for e in range(old.size):
        if keep[e]:
            while newborn < before.size and before[newborn] == kept:
                out[place] = 0
                place, newborn = place + 1, newborn + 1
            out[place] = old[e]
            place, kept = place + 1, kept + 1
    out[place:] = 0


# -- batches, sums, elementwise --------------------------------------------------------------------------------


@compiled()
def gather_features(lo, hi, samples, rows, out):
    """``out[f, b] = samples[rows[b], f]`` for features lo to hi.

    Eight samples side by side read eight streams and write whole lines. Measured at 128 of 60,000 samples of 784
    features: 78 microseconds, a sample at a time in blocks of features 425.
    """
    n = rows.size
    for b in range(0, n - 7, 8):
        x0, x1, x2, x3 = samples[rows[b]], samples[rows[b + 1]], samples[rows[b + 2]], samples[rows[b + 3]]
        x4, x5, x6, x7 = samples[rows[b + 4]], samples[rows[b + 5]], samples[rows[b + 6]], samples[rows[b + 7]]
        for f in range(lo, hi):
            part = out[f, b : b + 8]
            part[0], part[1], part[2], part[3] = x0[f], x1[f], x2[f], x3[f]
            part[4], part[5], part[6], part[7] = x4[f], x5[f], x6[f], x7[f]
    for b in range(n - n % 8, n):
        x0 = samples[rows[b]]
        for f in range(lo, hi):
            out[f, b] = x0[f]


@compiled()
def gather(state, shares, samples, rows, out):
    arguments = (samples, rows, out)
    share_range(state, shares, out.shape[0], task(gather_features, arguments), address(arguments))


@compiled(fastmath=FAST)
def row_sums(first, scale, second, scale2, out):
    """``out[j] = scale * sum(first[j])``, and ``scale2 * sum(second[j])`` more where `second` is not empty."""
    for row in range(out.size):
        values = first[row]
        total = out.dtype.type(0.0)
        for c in range(values.size):
            total += values[c]
        total *= scale
        if second.size > 0:
            values = second[row]
            more = out.dtype.type(0.0)
            for c in range(values.size):
                more += values[c]
            total += scale2 * more
        out[row] = total


@compiled(fastmath=FAST)
def softplus_range(lo, hi, x, out):
    source, target = x[lo:hi], out[lo:hi]
    for k in range(source.size):
        value = source[k]
        target[k] = (value if value > 0 else x.dtype.type(0.0)) + _log1p(exponential(-abs(value)))


@compiled()
def softplus(state, shares, x, out):
    arguments = (x, out)
    share_range(state, shares, x.size, task(softplus_range, arguments), address(arguments))


@compiled(fastmath=FAST)
def softmax(z):
    """Row by row, so that the loops go along the samples; the scratch rows are as long as one activity."""
    largest, total = z[0].copy(), np.zeros_like(z[0])
    for row in range(1, z.shape[0]):
        values = z[row]
        for c in range(values.size):
            # Compared this way round, NaN wins and spreads.
            largest[c] = largest[c] if values[c] <= largest[c] else values[c]
    for row in range(z.shape[0]):
        values = z[row]
        for c in range(values.size):
            values[c] = exponential(values[c] - largest[c])
            total[c] += values[c]
    for row in range(z.shape[0]):
        values = z[row]
        for c in range(values.size):
            values[c] /= total[c]


@compiled()
def softmax_groups(z, groups):
    states = z.shape[0] // groups
    for group in range(groups):
        softmax(z[group * states : (group + 1) * states])


@compiled()
def class_error(output, y, delta, smallest):
    loss, correct = 0.0, 0
    for row in range(output.shape[0]):
        delta[row] = output[row]
    for c in range(y.size):
        best = 0
        for row in range(1, output.shape[0]):
            if output[row, c] > output[best, c]:
                best = row
        hit = output[y[c], c]
        loss -= math.log(smallest if hit < smallest else hit)
        correct += best == y[c]
        delta[y[c], c] -= output.dtype.type(1.0)
    return loss, correct


@compiled(fastmath=FAST)
def squared_error(a, b):
    total = 0.0
    for row in range(a.shape[0]):
        first, second = a[row], b[row]
        part = a.dtype.type(0.0)
        for c in range(first.size):
            part += (first[c] - second[c]) * (first[c] - second[c])
        total += part
    return total


@compiled(fastmath=FAST)
def add_scaled_range(lo, hi, target, scale, source):
    a, b = target[lo:hi], source[lo:hi]
    for k in range(a.size):
        a[k] += scale * b[k]


@compiled()
def add_scaled(state, shares, target, scale, source):
    arguments = (target, scale, source)
    share_range(state, shares, target.size, task(add_scaled_range, arguments), address(arguments))


@compiled(fastmath=FAST)
def descend_range(lo, hi, value, velocity, gradient, learning_rate, momentum, nesterov):
    w, g = value[lo:hi], gradient[lo:hi]
    if velocity.size == 0:
        for k in range(w.size):
            w[k] -= learning_rate * g[k]
        return
    v = velocity[lo:hi]
    if nesterov:
        for k in range(w.size):
            v[k] = momentum * v[k] + g[k]
            w[k] -= learning_rate * (g[k] + momentum * v[k])
    else:
        for k in range(w.size):
            v[k] = momentum * v[k] + g[k]
            w[k] -= learning_rate * v[k]


@compiled()
def descend(state, shares, value, velocity, gradient, learning_rate, momentum, nesterov):
    arguments = (value, velocity, gradient, learning_rate, momentum, nesterov)
    share_range(state, shares, value.size, task(descend_range, arguments), address(arguments))


@compiled(fastmath=FAST)
def adam_range(lo, hi, value, first, second, gradient, born, step, start, learning_rate, beta1, beta2, eps):
    one = value.dtype.type(1.0)
    for k in range(lo, hi):
        age = step + 1 - (max(np.int64(born[k]), start) if born.size > 0 else start)
        first[k] = beta1 * first[k] + (one - beta1) * gradient[k]
        second[k] = beta2 * second[k] + (one - beta2) * gradient[k] * gradient[k]
        # float64 powers: 1 - 0.999**age loses five digits in float32
        mean = first[k] / (1.0 - np.float64(beta1) ** age)
        spread = second[k] / (1.0 - np.float64(beta2) ** age)
        value[k] -= learning_rate * mean / (math.sqrt(spread) + eps)


@compiled()
def adam(state, shares, value, first, second, gradient, born, step, start, learning_rate, beta1, beta2, eps):
    arguments = (value, first, second, gradient, born, step, start, learning_rate, beta1, beta2, eps)
    share_range(state, shares, value.size, task(adam_range, arguments), address(arguments))
