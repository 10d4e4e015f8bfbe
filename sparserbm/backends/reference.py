"""The reference backend: every kernel in slow, obvious NumPy. It is the oracle of the tests and the fallback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparserbm.backends.base import LANES, TILE, Backend, Gate, RowIndexed, Rows, SignedPair
from sparserbm.rng import DrawKey

_ROUND_0, _ROUND_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


class ReferenceBackend(Backend):
    """Plain NumPy on the CPU."""

    name = "reference"
    xp = np

    def asarray(self, array: Any, dtype: Any = None) -> np.ndarray:
        array = np.asarray(array)
        if dtype is None:  # files may hold numbers of the other byte order, which no kernel takes
            dtype = self.dtype if array.dtype.kind == "f" else array.dtype.newbyteorder("=")
        return np.ascontiguousarray(array, dtype=dtype)

    def to_numpy(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    def _product(
        self,
        rows: Rows,
        weight: Any,
        x: Any,
        out: Any,
        bias: Any,
        activation: str,
        slope: float,
        gate: Gate | None,
        sample: Any,
        key: DrawKey | None,
    ) -> Any:
        values = weight if rows.order is None else weight[rows.order]
        for row in range(len(rows.indptr) - 1):
            entries = slice(rows.indptr[row], rows.indptr[row + 1])
            out[row] = values[entries] @ x[rows.index[entries]]
            if bias is not None:
                out[row] += bias[row]
        self.activate(activation, out, slope)
        if gate is not None:
            self.gate(gate.activation, gate.activity, out, gate.slope)
        if sample is not None:
            assert key is not None
            self.bernoulli(key, out, sample)
        return out

    def sddmm(self, connections: RowIndexed, pairs: Sequence[SignedPair], out: Any) -> Any:
        rows = connections.by_post
        out[...] = 0
        for post in range(len(rows.indptr) - 1):
            entries = slice(rows.indptr[post], rows.indptr[post + 1])
            for pair in pairs:
                out[entries] += pair.sign * (pair.pre[rows.index[entries]] @ pair.post[post])
        return out

    def row_sums(self, terms: Sequence[tuple[float, Any]], out: Any) -> Any:
        out[...] = sum(sign * activity.sum(axis=1) for sign, activity in terms)
        return out

    def limit_norms(self, rows: Rows, values: Any, limit: float) -> None:
        for row in range(len(rows.indptr) - 1):
            entries = slice(rows.indptr[row], rows.indptr[row + 1])
            places = entries if rows.order is None else rows.order[entries]
            norm = np.sqrt(np.sum(values[places].astype(np.float64) ** 2))
            if norm > limit:
                values[places] *= self.dtype.type(limit / norm)

    def transposed(self, rows: Rows, n_columns: int) -> Rows:
        order = np.argsort(rows.index, kind="stable")
        row = np.repeat(np.arange(len(rows.indptr) - 1), np.diff(rows.indptr))
        counts = np.bincount(rows.index, minlength=n_columns)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        return Rows(indptr, row[order].astype(np.int32), order.astype(np.int32))

    def merged(self, old: Any, keep: Any, before: Any) -> Any:
        return np.insert(old[keep], before, 0)

    def gather(self, samples: Any, rows: Any, out: Any) -> Any:
        out[...] = samples[rows].T
        return out

    def uniform(self, key: DrawKey, out: Any) -> Any:
        out[...] = unit_interval(philox_words(key, out.shape), out.dtype)
        return out

    def normal(self, key: DrawKey, out: Any) -> Any:
        out[...] = normal_from_words(philox_words(key, out.shape, whole_tiles=True))[:, : out.shape[1]]
        return out

    def bernoulli(self, key: DrawKey, mean: Any, out: Any) -> Any:
        out[...] = unit_interval(philox_words(key, out.shape), out.dtype) < mean
        return out

    def categorical(self, key: DrawKey, mean: Any, out: Any, groups: int) -> Any:
        n_samples = mean.shape[1]
        uniform = unit_interval(philox_words(key, (groups, n_samples)), out.dtype)
        out[...] = 0
        for means, states, draw in zip(np.split(mean, groups), np.split(out, groups), uniform):
            chosen, before = np.zeros(n_samples, int), np.zeros(n_samples, mean.dtype)
            for state, probability in enumerate(means):  # the last one whose share begins below the draw
                chosen = np.where((before <= draw) & (probability > 0), state, chosen)
                before = before + probability
            states[chosen, np.arange(n_samples)] = 1
        return out

    def truncated_normal(self, key: DrawKey, z: Any, out: Any) -> Any:
        from scipy.special import log_ndtr, ndtri_exp

        uniform = (philox_words(key, out.shape) + 0.5) * 2.0**-32
        z = z.astype(np.float64)
        drawn = np.maximum(z - ndtri_exp(np.log(uniform) + log_ndtr(z)), 0)
        # Far below 0 that difference cancels, and the density above 0 is exponential.
        out[...] = np.where(z < -300, np.log(uniform) / np.minimum(z, -1), drawn)
        return out

    def truncated_mean(self, z: Any, out: Any) -> Any:
        from scipy.special import erfcx

        z = z.astype(np.float64)
        with np.errstate(over="ignore"):  # of erfcx, where the mean is z itself
            mean = z + np.sqrt(2 / np.pi) / erfcx(-z * np.sqrt(0.5))
        # Far below 0 the two cancel: an expansion by powers of 1 / z**2 takes over.
        far = np.minimum(z, -1.0)
        out[...] = np.where(z < -100, ((2 - 10 / far**2) / far**2 - 1) / far, mean)
        return out

    def truncated_log_partition(self, z: Any, out: Any) -> Any:
        from scipy.special import erfcx, log_ndtr

        z = z.astype(np.float64)
        below = np.log(np.sqrt(np.pi / 2) * erfcx(-np.minimum(z, 0) * np.sqrt(0.5)))
        out[...] = np.where(z < 0, below, z**2 / 2 + log_ndtr(z) + 0.5 * np.log(2 * np.pi))
        return out

    def softplus(self, x: Any, out: Any) -> Any:
        out[...] = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
        return out

    def softmax(self, z: Any, groups: int = 1) -> Any:
        for group in np.split(z, groups):  # views
            group -= group.max(axis=0, keepdims=True)
            np.exp(group, out=group)
            group /= group.sum(axis=0, keepdims=True)
        return z

    def class_error(self, output: Any, y: Any, delta: Any, smallest: float) -> tuple[Any, Any]:
        columns = np.arange(output.shape[1])
        hit = output[y, columns]
        delta[...] = output
        delta[y, columns] -= 1
        return -np.log(np.maximum(hit, smallest)).sum(dtype=float), (output.argmax(axis=0) == y).sum()

    def activate(self, activation: str, values: Any, slope: float = 0.0) -> Any:
        values[...] = activate(activation, values, slope)
        return values

    def gate(self, activation: str, activity: Any, values: Any, slope: float = 0.0) -> Any:
        values *= derivative(activation, activity, slope)
        return values

    def squared_error(self, a: Any, b: Any) -> Any:
        return np.sum((a - b) ** 2, dtype=np.float64)

    def add_scaled(self, target: Any, scale: float, source: Any) -> Any:
        target += self.dtype.type(scale) * source
        return target

    def sgd(
        self, value: Any, velocity: Any, gradient: Any, learning_rate: float, momentum: float, nesterov: bool
    ) -> None:
        number = self.dtype.type
        if velocity is None:
            value -= number(learning_rate) * gradient
            return
        velocity[...] = number(momentum) * velocity + gradient
        value -= number(learning_rate) * (gradient + number(momentum) * velocity if nesterov else velocity)

    def adam(
        self,
        value: Any,
        first: Any,
        second: Any,
        gradient: Any,
        born: Any,
        step: int,
        start: int,
        learning_rate: float,
        beta1: float,
        beta2: float,
        eps: float,
    ) -> None:
        number = self.dtype.type
        age = step + 1 - (start if born is None else np.maximum(born.astype(np.int64), start))
        first[...] = number(beta1) * first + number(1 - beta1) * gradient
        second[...] = number(beta2) * second + number(1 - beta2) * gradient**2
        mean = first / np.asarray(1 - beta1**age, self.dtype)
        spread = second / np.asarray(1 - beta2**age, self.dtype)
        value -= number(learning_rate) * mean / (np.sqrt(spread) + number(eps))


def activate(activation: str, z: np.ndarray, slope: float) -> np.ndarray:
    """Activity for the pre-activation `z`."""
    if activation == "linear":
        return z
    if activation == "sigmoid":
        return 0.5 * (1 + np.tanh(0.5 * z))
    if activation == "relu":
        return np.maximum(z, 0) + slope * np.minimum(z, 0) if slope else np.maximum(z, 0)
    if activation == "tanh":
        return np.tanh(z)
    raise ValueError(f"unknown activation {activation!r}")


def derivative(activation: str, activity: np.ndarray, slope: float) -> np.ndarray:
    """Derivative of `activate` with respect to z, as a function of the activity it gave."""
    if activation == "linear":
        return np.ones_like(activity)
    if activation == "sigmoid":
        return activity * (1 - activity)
    if activation == "relu":
        return np.where(activity > 0, activity.dtype.type(1), activity.dtype.type(slope))
    if activation == "tanh":
        return 1 - activity**2
    raise ValueError(f"unknown activation {activation!r}")


def philox4x32(counters: Sequence[Any], key0: int, key1: int) -> list[np.ndarray]:
    """Philox4x32-10: four words from four counter words (arrays of one shape, below 2**32) and a 64-bit key.

    Source: Salmon et al. (2011), section 3.3, with their published constants.
    """
    c0, c1, c2, c3 = (np.asarray(counter, dtype=np.uint64) for counter in counters)
    for _ in range(10):
        product0, product1 = c0 * _ROUND_0, c2 * _ROUND_1
        c0, c1, c2, c3 = (
            (product1 >> _HALF) ^ c1 ^ np.uint64(key0),
            product1 & _LOW,
            (product0 >> _HALF) ^ c3 ^ np.uint64(key1),
            product0 & _LOW,
        )
        key0, key1 = (key0 + _WEYL_0) % 2**32, (key1 + _WEYL_1) % 2**32
    return [word.astype(np.uint32) for word in (c0, c1, c2, c3)]


def philox_words(key: DrawKey, shape: tuple[int, int], whole_tiles: bool = False) -> np.ndarray:
    """One 32-bit word for every (unit, sample): its value does not depend on the shape of the array.

    Sample b of unit j takes word ``(b % 32) // 8`` of the counter ``(8 * (b // 32) + b % 8, j, draw, step)``: eight
    counters side by side fill 32 neighbouring samples, which is what vector registers want.
    """
    n_units, n_samples = shape
    n_tiles = -(-n_samples // TILE)
    lanes = np.arange(n_tiles * LANES)[None, :]
    units = np.arange(n_units)[:, None]
    draw, step = np.full((1, 1), key.draw), np.full((1, 1), key.step)
    words = philox4x32(np.broadcast_arrays(lanes, units, draw, step), key.key0, key.key1)
    tiles = np.stack([word.reshape(n_units, n_tiles, LANES) for word in words], axis=2)
    words_in_order = tiles.reshape(n_units, n_tiles * TILE)
    return words_in_order if whole_tiles else words_in_order[:, :n_samples]


def unit_interval(words: np.ndarray, dtype: Any) -> np.ndarray:
    """32-bit words as numbers of [0, 1)."""
    if dtype == np.float32:
        return (words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
    return words.astype(np.float64) * 2.0**-32


def normal_from_words(words: np.ndarray) -> np.ndarray:
    """Standard normal numbers from whole tiles of words; (n_units, n_tiles * 32) float64.

    Words 0 and 1 of a counter give the samples of words 0 and 1 (radius from the first, angle from the
    second), words 2 and 3 likewise. Logarithm, sine and cosine are written out in IEEE operations, so that
    every backend rounds alike.
    """
    tiles = words.reshape(words.shape[0], -1, 2, 2, LANES)
    radius = np.sqrt(-2.0 * portable_log((tiles[:, :, :, 0, :] + 0.5) * 2.0**-32))
    cosine, sine = portable_cos_sin(tiles[:, :, :, 1, :] * 2.0**-32)
    return np.stack([radius * cosine, radius * sine], axis=3).reshape(words.shape)


# log(m) = 2 atanh(s), s = (m - 1) / (m + 1), |s| <= 0.172: eleven terms reach double precision.
LOG_TERMS = tuple(1.0 / (2 * k + 1) for k in range(11))
SIN_TERMS = (1.0, -1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800, 1 / 6227020800, -1 / 1307674368000)
COS_TERMS = (1.0, -1 / 2, 1 / 24, -1 / 720, 1 / 40320, -1 / 3628800, 1 / 479001600, -1 / 87178291200)
LN2, SQRT_HALF, TWO_PI = 0.6931471805599453, 0.7071067811865476, 6.283185307179586


def portable_log(x: np.ndarray) -> np.ndarray:
    """Natural logarithm of positive numbers by additions, products and one division."""
    mantissa, exponent = np.frexp(x)
    small = mantissa < SQRT_HALF
    mantissa = np.where(small, 2.0 * mantissa, mantissa)
    exponent = exponent - small
    s = (mantissa - 1.0) / (mantissa + 1.0)
    return 2.0 * s * _horner(LOG_TERMS, s * s) + exponent * LN2


def portable_cos_sin(turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of ``2 pi turns`` for turns of [0, 1)."""
    quarter = np.floor(4.0 * turns + 0.5)
    angle = (turns - 0.25 * quarter) * TWO_PI
    square = angle * angle
    sine, cosine = angle * _horner(SIN_TERMS, square), _horner(COS_TERMS, square)
    quadrant = quarter.astype(int) % 4
    swapped, both = quadrant % 2 == 1, (cosine, sine)
    cosine, sine = np.where(swapped, both[1], both[0]), np.where(swapped, both[0], both[1])
    cosine = np.where((quadrant == 1) | (quadrant == 2), -cosine, cosine)
    sine = np.where(quadrant >= 2, -sine, sine)
    return cosine, sine


def _horner(terms: Sequence[float], x: np.ndarray) -> np.ndarray:
    total = np.full_like(x, terms[-1])
    for term in reversed(terms[:-1]):
        total = total * x + term
    return total
