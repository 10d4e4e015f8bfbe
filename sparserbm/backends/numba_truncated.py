"""The normal distribution around z with variance 1, given that it is not negative: draws, mean and integral.

All in float64: its functions are differences of large numbers. Compiled without fast mathematics.
"""

from __future__ import annotations

import math

import numpy as np

from sparserbm.backends.base import TILE
from sparserbm.backends.compiled import compiled
from sparserbm.backends.threads import address, share_range, task
from sparserbm.backends.vector_draws import fill_tile

HALF_LOG_TWO_PI, SQRT_HALF_PI = 0.9189385332046727, 1.2533141373155003
INVERSE_SQRT_TWO_PI, SQRT_HALF = 0.3989422804014327, 0.7071067811865476

# Numerators and denominators of AS 241 for the centre, the tail and the far tail; the highest power first.
QUANTILE = (
    (
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    ),
    (
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ),
    (
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    ),
    (
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        1.24266094738807843860e-3,
        2.65321895265761230930e-2,
        2.96560571828504891230e-1,
        1.78482653991729133580e0,
        5.46378491116411436990e0,
        6.65790464350110377720e0,
    ),
    (
        2.04426310338993978564e-15,
        1.42151175831644588870e-7,
        1.84631831751005468180e-5,
        7.86869131145613259100e-4,
        1.48753612908506148525e-2,
        1.36929880922735805310e-1,
        5.99832206555887937690e-1,
        1.0,
    ),
)


@compiled()
def _quotient(over, under, r):
    above, below = over[0], under[0]
    for k in range(1, 8):
        above, below = above * r + over[k], below * r + under[k]
    return above / below


@compiled()
def _normal_quantile(log_p):
    """What a probability ``exp(log_p)`` is below (Wichura 1988, algorithm AS 241)."""
    p = math.exp(log_p)
    q = p - 0.5
    if abs(q) <= 0.425:
        return q * _quotient(QUANTILE[0], QUANTILE[1], 0.180625 - q * q)
    r = math.sqrt(-log_p if q < 0 else -math.log(-math.expm1(log_p)))
    near = r <= 5.0
    size = _quotient(QUANTILE[2], QUANTILE[3], r - 1.6) if near else _quotient(QUANTILE[4], QUANTILE[5], r - 5.0)
    return -size if q < 0 else size


@compiled()
def _mills(t):
    """Integral of the normal density above t >= 0, over the density at t: erfc, and its continued fraction far out."""
    if t < 4.0:
        return SQRT_HALF_PI * math.exp(0.5 * t * t) * math.erfc(SQRT_HALF * t)
    rest = t
    for k in range(24, 0, -1):
        rest = t + k / rest
    return 1.0 / rest


@compiled()
def _below_zero(z):
    """The probability that a normal number around z >= 0 is negative."""
    return INVERSE_SQRT_TWO_PI * math.exp(-0.5 * z * z) * _mills(z)


@compiled()
def _draw(z, uniform):
    if z >= -30.0:
        below = z < 0.0
        log_above = math.log(_mills(-z)) - 0.5 * z * z - HALF_LOG_TWO_PI if below else math.log1p(-_below_zero(z))
        return max(z - _normal_quantile(math.log(uniform) + log_above), 0.0)
    # The density above 0 is nearly exponential: h * (h / 2 - z) = -log(uniform) + log(mills(h - z) / mills(-z)).
    above = -math.log(uniform)
    h = 2.0 * above / (math.sqrt(z * z + 2.0 * above) - z)
    for _ in range(3):
        rest = above + math.log(_mills(h - z) / _mills(-z))
        h = 2.0 * rest / (math.sqrt(z * z + 2.0 * rest) - z)
    return h


@compiled()
def _mean(z):
    if z < -100.0:  # the two terms below would cancel
        return ((2.0 - 10.0 / (z * z)) / (z * z) - 1.0) / z
    if z < 0.0:
        return z + 1.0 / _mills(-z)
    return z + INVERSE_SQRT_TWO_PI * math.exp(-0.5 * z * z) / (1.0 - _below_zero(z))


@compiled()
def _log_partition(z):
    if z < 0.0:
        return math.log(_mills(-z))
    return 0.5 * z * z + HALF_LOG_TWO_PI + math.log1p(-_below_zero(z))


@compiled()
def draw_rows(lo, hi, key0, key1, step, draw, z, out):
    words = np.empty(TILE, np.uint32)
    for unit in range(lo, hi):
        for start in range(0, out.shape[1], TILE):
            fill_tile(start // TILE, unit, key0, key1, step, draw, words)
            for c in range(min(TILE, out.shape[1] - start)):
                uniform = (np.float64(words[c]) + 0.5) * 2.0**-32
                out[unit, start + c] = _draw(np.float64(z[unit, start + c]), uniform)


@compiled()
def mean_range(lo, hi, z, out):
    for k in range(lo, hi):
        out[k] = _mean(np.float64(z[k]))


@compiled()
def log_partition_range(lo, hi, z, out):
    for k in range(lo, hi):
        out[k] = _log_partition(np.float64(z[k]))


@compiled()
def draw(state, shares, key0, key1, step, draw, z, out):
    arguments = (key0, key1, step, draw, z, out)
    share_range(state, shares, out.shape[0], task(draw_rows, arguments), address(arguments))


@compiled()
def mean(state, shares, z, out):
    arguments = (z, out)
    share_range(state, shares, z.size, task(mean_range, arguments), address(arguments))


@compiled()
def log_partition(state, shares, z, out):
    arguments = (z, out)
    share_range(state, shares, z.size, task(log_partition_range, arguments), address(arguments))
