"""The CPU backend: NumPy arrays, numba kernels."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np

from sparserbm.backends import dense_products
from sparserbm.backends import numba_draws as draws
from sparserbm.backends import numba_kernels as kernels
from sparserbm.backends import numba_truncated as truncated
from sparserbm.backends.base import ACTIVATIONS, Gate, RowIndexed, Rows, SignedPair
from sparserbm.backends.reference import ReferenceBackend
from sparserbm.backends.threads import MOST, team
from sparserbm.rng import DrawKey

# Multiply-adds that make a share worth its while, about 5 microseconds; elementwise work counts by this factor.
SHARE = 100_000
ELEMENT = 4
DRAW = 16
# A layer with all connections has dense products if it has so many units on each side and so many connections: in a
# smaller one, packing took what it saves. They are about so many times as fast as sparse products.
FEWEST_UNITS, FEWEST_CONNECTIONS = 64, 1 << 14
DENSE = 4
NO_KEY = DrawKey(0, 0, 0, 0)


class NumpyBackend(ReferenceBackend):
    """NumPy arrays with compiled kernels; arrays are handled as in the reference backend.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    threads : int, optional
        How many threads the products may use; the machine's number by default.
    """

    name = "numpy"
    dense_when_full = True

    def __init__(self, dtype: str = "float32", threads: int | None = None):
        super().__init__(dtype)
        limit = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        if threads is not None and not 1 <= threads <= limit:
            raise ValueError(f"threads={threads} is not possible on this machine; use 1 to {limit}")
        self.threads = threads or limit
        self._no_vector = np.empty(0, self.dtype)
        self._no_matrix = np.empty((0, 0), self.dtype)
        self._no_index = np.empty(0, np.int32)
        self._no_birth = np.empty(0, np.uint16)
        self._alone = np.zeros(1, np.int64)  # the state of no team
        self._scratch = threading.local()  # of dense products, whose callers may be several

    def _shared(self, work: int) -> tuple[Any, int]:
        """State of a team and number of shares for so many multiply-adds."""
        if self.threads == 1 or work < 2 * SHARE:
            return self._alone, 1
        helpers = team(self.threads)
        return (helpers.state, min(work // SHARE, MOST)) if helpers.ready() else (self._alone, 1)

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
        if _dense(rows, *x.shape):
            strides = (len(x), 1) if rows.order is None else (1, len(out))
            self._dense_product(weight, strides, x, False, 1.0, False, out, bias, activation, slope, gate)
            return out if sample is None else self.bernoulli(key or NO_KEY, out, sample)
        kernels.product(
            *self._shared(len(rows.index) * x.shape[1]),
            rows.indptr,
            rows.index,
            self._no_index if rows.order is None else rows.order,
            weight,
            x,
            self._no_vector if bias is None else bias,
            out,
            ACTIVATIONS.index(activation),
            slope,
            0 if gate is None else ACTIVATIONS.index(gate.activation),
            0.0 if gate is None else gate.slope,
            self._no_matrix if gate is None else gate.activity,
            tuple(key or NO_KEY),
            self._no_matrix if sample is None else sample,
        )
        return out

    def _dense_product(
        self,
        left: Any,
        strides: tuple[int, int],
        right: Any,
        transposed: bool,
        scale: float,
        accumulate: bool,
        out: Any,
        bias: Any = None,
        activation: str = "linear",
        slope: float = 0.0,
        gate: Gate | None = None,
    ) -> None:
        """See `dense_products.product`; `strides` are `per_row` and `per_term`."""
        n_terms, wide = right.shape[transposed], dense_products.strip_width(self.dtype.itemsize)
        size = n_terms * -(-out.shape[1] // wide) * wide
        strips = getattr(self._scratch, "strips", self._no_vector)
        if strips.size < size:
            strips = self._scratch.strips = np.empty(size, self.dtype)
        dense_products.product(
            *self._shared(out.size * n_terms // DENSE),
            left,
            *strides,
            right,
            transposed,
            self.dtype.type(scale),
            strips,
            wide,
            dense_products.rows_at_once(n_terms),
            accumulate,
            out,
            self._no_vector if bias is None else bias,
            ACTIVATIONS.index(activation),
            slope,
            0 if gate is None else ACTIVATIONS.index(gate.activation),
            0.0 if gate is None else gate.slope,
            self._no_matrix if gate is None else gate.activity,
        )

    def sddmm(self, connections: RowIndexed, pairs: Sequence[SignedPair], out: Any) -> Any:
        rows = connections.by_post
        for number, (sign, pre, post) in enumerate(pairs):
            if _dense(rows, *pre.shape):
                matrix, strides = out.reshape(len(post), len(pre)), (post.shape[1], 1)
                self._dense_product(post.reshape(-1), strides, pre, True, sign, number > 0, matrix)
                continue
            share = self._shared(len(rows.index) * pre.shape[1])
            kernels.sampled_product(*share, rows.indptr, rows.index, pre, post, self.dtype.type(sign), number > 0, out)
        return out

    def row_sums(self, terms: Sequence[tuple[float, Any]], out: Any) -> Any:
        number = self.dtype.type
        (sign, activity), *more = terms
        (sign2, activity2), *more = more or [(0.0, self._no_matrix)]
        kernels.row_sums(activity, number(sign), activity2, number(sign2), out)
        for sign, activity in more:
            out += number(sign) * activity.sum(axis=1)
        return out

    def limit_norms(self, rows: Rows, values: Any, limit: float) -> None:
        order = self._no_index if rows.order is None else rows.order
        kernels.limit_norms(*self._shared(ELEMENT * len(rows.index)), rows.indptr, order, values, float(limit))

    def transposed(self, rows: Rows, n_columns: int) -> Rows:
        indptr = np.zeros(n_columns + 1, dtype=np.int64)
        index, order = np.empty_like(rows.index), np.empty_like(rows.index)
        kernels.transpose(rows.indptr, rows.index, indptr, index, order)
        return Rows(indptr, index, order)

    def merged(self, old: Any, keep: Any, before: Any) -> Any:
        out = np.empty(int(np.count_nonzero(keep)) + len(before), old.dtype)
        word = f"u{old.itemsize}"  # what the bytes mean does not matter
        kernels.merge(old.view(word), keep, before, out.view(word))
        return out

    def gather(self, samples: Any, rows: Any, out: Any) -> Any:
        kernels.gather(*self._shared(ELEMENT * out.size), samples, rows, out)
        return out

    def uniform(self, key: DrawKey, out: Any) -> Any:
        draws.uniform(*self._shared(DRAW * out.size), *key, out)
        return out

    def normal(self, key: DrawKey, out: Any) -> Any:
        draws.normal(*self._shared(DRAW * out.size), *key, out)
        return out

    def bernoulli(self, key: DrawKey, mean: Any, out: Any) -> Any:
        draws.bernoulli(*self._shared(DRAW * out.size), *key, mean, out)
        return out

    def categorical(self, key: DrawKey, mean: Any, out: Any, groups: int) -> Any:
        draws.categorical(*self._shared(DRAW * out.size), *key, mean, out, groups)
        return out

    def truncated_normal(self, key: DrawKey, z: Any, out: Any) -> Any:
        truncated.draw(*self._shared(DRAW * out.size), *key, z, out)
        return out

    def truncated_mean(self, z: Any, out: Any) -> Any:
        truncated.mean(*self._shared(DRAW * z.size), z.reshape(-1), out.reshape(-1))
        return out

    def truncated_log_partition(self, z: Any, out: Any) -> Any:
        truncated.log_partition(*self._shared(DRAW * z.size), z.reshape(-1), out.reshape(-1))
        return out

    def softplus(self, x: Any, out: Any) -> Any:
        kernels.softplus(*self._shared(DRAW * x.size), x.reshape(-1), out.reshape(-1))
        return out

    def softmax(self, z: Any, groups: int = 1) -> Any:
        kernels.softmax_groups(z, groups)
        return z

    def class_error(self, output: Any, y: Any, delta: Any, smallest: float) -> tuple[Any, Any]:
        return kernels.class_error(output, y, delta, smallest)

    def activate(self, activation: str, values: Any, slope: float = 0.0) -> Any:
        kernels.activate(values.reshape(-1), ACTIVATIONS.index(activation), slope)
        return values

    def gate(self, activation: str, activity: Any, values: Any, slope: float = 0.0) -> Any:
        kernels.gate(values.reshape(-1), ACTIVATIONS.index(activation), slope, activity.reshape(-1))
        return values

    def squared_error(self, a: Any, b: Any) -> Any:
        return kernels.squared_error(a, b)

    def add_scaled(self, target: Any, scale: float, source: Any) -> Any:
        kernels.add_scaled(*self._shared(ELEMENT * target.size), target, self.dtype.type(scale), source)
        return target

    def sgd(
        self, value: Any, velocity: Any, gradient: Any, learning_rate: float, momentum: float, nesterov: bool
    ) -> None:
        number = self.dtype.type
        rates = number(learning_rate), number(momentum), nesterov
        velocity = self._no_vector if velocity is None else velocity
        kernels.descend(*self._shared(ELEMENT * value.size), value, velocity, gradient, *rates)

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
        kernels.adam(
            *self._shared(DRAW * value.size),
            value,
            first,
            second,
            gradient,
            self._no_birth if born is None else born,
            step,
            start,
            number(learning_rate),
            number(beta1),
            number(beta2),
            number(eps),
        )


def _dense(rows: Rows, n_columns: int, n_samples: int) -> bool:
    """Whether every row has all columns, in a matrix that is large enough for dense products.

    The values are then that matrix, row by row; in the order of the columns where `rows.order` leads there.
    """
    n_rows, count = len(rows.indptr) - 1, len(rows.index)
    return (
        count == n_rows * n_columns
        and count >= FEWEST_CONNECTIONS
        and min(n_rows, n_columns) >= FEWEST_UNITS
        and n_samples > 0
    )
