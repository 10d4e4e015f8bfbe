"""The CPU backend: NumPy arrays, numba kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np

from sparserbm.backends import numba_kernels as kernels
from sparserbm.backends.base import ACTIVATIONS, Gate, Indexed, Rows, SignedPair
from sparserbm.backends.reference import ReferenceBackend
from sparserbm.backends.threads import run_rows
from sparserbm.rng import DrawKey

# Waking another thread costs 100 to 200 microseconds (measured on two virtual cores; a worker that spun instead would
# keep a core busy between products). Below this many multiply-adds one thread is faster.
PARALLEL_FROM = 4_000_000
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

    def __init__(self, dtype: str = "float32", threads: int | None = None):
        super().__init__(dtype)
        limit = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        if threads is not None and not 1 <= threads <= limit:
            raise ValueError(f"threads={threads} is not possible on this machine; use 1 to {limit}")
        self.threads = threads or limit
        self._no_vector = np.empty(0, self.dtype)
        self._no_matrix = np.empty((0, 0), self.dtype)
        self._no_index = np.empty(0, np.int32)

    def _run(self, kernel: Any, rows: Rows, work: int, arguments: tuple[Any, ...]) -> None:
        """Run `kernel` over all rows: in ranges with about equally many connections, if `work` pays for threads."""
        n_rows = len(rows.indptr) - 1
        if self.threads == 1 or work < PARALLEL_FROM:
            kernel(0, n_rows, *arguments)
            return
        shares = np.arange(1, self.threads) * len(rows.index) // self.threads
        cuts = [0, *np.searchsorted(rows.indptr, shares).tolist(), n_rows]
        run_rows(kernel, cuts, arguments)

    def _product(
        self,
        rows: Rows,
        weight: Any,
        x: Any,
        out: Any,
        bias: Any,
        activation: str,
        gate: Gate | None,
        sample: Any,
        key: DrawKey | None,
    ) -> Any:
        arguments = (
            rows.indptr,
            rows.index,
            self._no_index if rows.order is None else rows.order,
            weight,
            x,
            self._no_vector if bias is None else bias,
            out,
            ACTIVATIONS.index(activation),
            gate is not None,
            0 if gate is None else ACTIVATIONS.index(gate.activation),
            self._no_matrix if gate is None else gate.activity,
            sample is not None,
            tuple(key or NO_KEY),
            self._no_matrix if sample is None else sample,
        )
        self._run(kernels.product_rows, rows, len(rows.index) * x.shape[1], arguments)
        return out

    def sddmm(self, connections: Indexed, pairs: Sequence[SignedPair], out: Any) -> Any:
        rows, number = connections.by_post, self.dtype.type
        work = len(rows.index) * pairs[0].pre.shape[1]
        if len(pairs) == 2 and pairs[0].pre.shape == pairs[1].pre.shape:
            both = [value for pair in pairs for value in (pair.pre, pair.post, number(pair.sign))]
            self._run(kernels.sampled_pair_rows, rows, 2 * work, (rows.indptr, rows.index, *both, out))
            return out
        for k, pair in enumerate(pairs):
            one = (pair.pre, pair.post, number(pair.sign), k > 0)
            self._run(kernels.sampled_rows, rows, work, (rows.indptr, rows.index, *one, out))
        return out

    def row_sums(self, terms: Sequence[tuple[float, Any]], out: Any) -> Any:
        out[...] = 0
        for sign, activity in terms:
            kernels.add_row_sums(activity, self.dtype.type(sign), out)
        return out

    def gather(self, samples: Any, rows: Any, out: Any) -> Any:
        kernels.gather(samples, rows, out)
        return out

    def uniform(self, key: DrawKey, out: Any) -> Any:
        kernels.uniform_rows(0, len(out), *key, out)
        return out

    def normal(self, key: DrawKey, out: Any) -> Any:
        kernels.normal_rows(0, len(out), *key, out)
        return out

    def bernoulli(self, key: DrawKey, mean: Any, out: Any) -> Any:
        kernels.bernoulli_rows(0, len(out), *key, mean, out)
        return out

    def softplus(self, x: Any, out: Any) -> Any:
        kernels.softplus(x.reshape(-1), out.reshape(-1))
        return out

    def gate(self, activation: str, activity: Any, values: Any) -> Any:
        kernels.gate_row(values.reshape(-1), ACTIVATIONS.index(activation), activity.reshape(-1))
        return values

    def squared_error(self, a: Any, b: Any) -> Any:
        return kernels.squared_error(a, b)

    def add_scaled(self, target: Any, scale: float, source: Any) -> Any:
        kernels.add_scaled(target, self.dtype.type(scale), source)
        return target

    def sgd(
        self, value: Any, velocity: Any, gradient: Any, learning_rate: float, momentum: float, nesterov: bool
    ) -> None:
        number = self.dtype.type
        if velocity is None:
            kernels.descend(value, gradient, number(learning_rate))
        else:
            kernels.descend_with_momentum(value, velocity, gradient, number(learning_rate), number(momentum), nesterov)

    def adam(
        self,
        value: Any,
        first: Any,
        second: Any,
        gradient: Any,
        age: Any,
        learning_rate: float,
        beta1: float,
        beta2: float,
        eps: float,
    ) -> None:
        number = self.dtype.type
        kernels.adam(
            value,
            first,
            second,
            gradient,
            age,
            number(learning_rate),
            number(beta1),
            number(beta2),
            number(eps),
        )
