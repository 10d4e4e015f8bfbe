"""What a backend is: where arrays live, and the kernels that work on them.

All activities are unit-major, ``(n_units, n_samples)`` in C-order, so that one connection is one contiguous
operation over the batch. Kernels write into arrays that the caller owns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from sparserbm.rng import DrawKey

ACTIVATIONS = ("linear", "sigmoid", "relu", "tanh")
# Philox words come in fours: a tile of 32 neighbouring samples is 8 counters (lanes) x 4 words.
LANES = 8
TILE = 4 * LANES


class Rows(NamedTuple):
    """A sparse pattern seen row by row.

    ``index[indptr[r]:indptr[r + 1]]`` are the columns of row r; entry e has its value at ``values[order[e]]``, or
    at ``values[e]`` where `order` is None.
    """

    indptr: Any  # (n_rows + 1,) int64
    index: Any  # (n_connections,) int32
    order: Any  # (n_connections,) int32 or None


class RowIndexed(Protocol):
    """A pattern by post unit: what a sampled product asks of `Connections`, or of a part of them."""

    @property
    def by_post(self) -> Rows: ...


class Indexed(RowIndexed, Protocol):
    """A pattern with both directions: what the products ask of `Connections`."""

    @property
    def by_pre(self) -> Rows: ...


class SignedPair(NamedTuple):
    """One signed term of a coactivity: ``sign * sum_b pre[i, b] * post[j, b]``; the sign may carry a weight."""

    sign: float
    pre: Any  # (n_pre, n_samples)
    post: Any  # (n_post, n_samples)


class Gate(NamedTuple):
    """Multiply a product by the derivative of an activation, given the activity that it produced.

    ``"relu"`` takes total inputs as well, and needs them where its slope is below 0: the activity has lost their sign.
    """

    activation: str
    activity: Any  # (n_rows, n_samples)
    slope: float = 0.0


class Recording(ABC):
    """Work of one step that was recorded, to be done again at later steps on the same arrays."""

    @abstractmethod
    def replay(self, later: int) -> None:
        """Do the work once, with the draws of the step that comes `later` steps after the recorded one."""


class Backend(ABC):
    """Arrays and kernels on one device.

    Parameters
    ----------
    dtype : {"float32", "float64"}
        Of activities, weights and all other values.
    """

    name: str
    xp: Any
    parts_at_once: int = 1  # blocks of connections that are trained together (`Connections.parts`)
    dense_when_full: bool = False  # whether layers with all connections have dense products, as fast as a dense library

    def __init__(self, dtype: str = "float32"):
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype={dtype} is not possible; use float32 or float64")

    def __reduce__(self) -> Any:
        # Made again where it is loaded: its scratch arrays and number of threads belong to that process.
        return type(self), (self.dtype.name,)

    # -- arrays ----------------------------------------------------------------------------------------------

    @abstractmethod
    def asarray(self, array: Any, dtype: Any = None) -> Any:
        """The array on this device, C-order; `dtype` defaults to the backend's own for floating-point input."""

    @abstractmethod
    def to_numpy(self, array: Any) -> np.ndarray:
        """The array on the host."""

    def free_memory(self) -> int | None:
        """Bytes that are free on the device; None where nobody can say."""
        return None

    def empty(self, shape: tuple[int, ...]) -> Any:
        return self.xp.empty(shape, dtype=self.dtype)

    def zeros(self, shape: tuple[int, ...] | int) -> Any:
        return self.xp.zeros(shape, dtype=self.dtype)

    # -- products --------------------------------------------------------------------------------------------

    def spmm(
        self,
        connections: Indexed,
        weight: Any,
        x: Any,
        out: Any,
        bias: Any = None,
        activation: str = "linear",
        gate: Gate | None = None,
        sample: Any = None,
        key: DrawKey | None = None,
        slope: float = 0.0,
    ) -> Any:
        """``out[j] = f(bias[j] + sum_i weight[i, j] * x[i])`` over the connections of every post unit j.

        Parameters
        ----------
        connections : Indexed
        weight : (n_connections,)
        x : (n_pre, n_samples)
        out : (n_post, n_samples)
            Written and returned.
        bias : (n_post,), optional
        activation : one of `ACTIVATIONS`
            f, applied in the same pass.
        gate : Gate, optional
            Multiply by a derivative in the same pass (the way back through a layer).
        sample : (n_post, n_samples), optional
            Bernoulli draws with `out` as their means are written here, 0 or 1, in the same pass; needs `key`.
        slope : float
            Of ``"relu"`` for total inputs below 0; any sign.
        """
        return self._product(connections.by_post, weight, x, out, bias, activation, slope, gate, sample, key)

    def spmm_t(
        self,
        connections: Indexed,
        weight: Any,
        x: Any,
        out: Any,
        bias: Any = None,
        activation: str = "linear",
        gate: Gate | None = None,
        sample: Any = None,
        key: DrawKey | None = None,
        slope: float = 0.0,
    ) -> Any:
        """As `spmm` against the direction of the connections: x is (n_post, n_samples), out (n_pre, n_samples)."""
        return self._product(connections.by_pre, weight, x, out, bias, activation, slope, gate, sample, key)

    @abstractmethod
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
        """The product of `spmm` and `spmm_t`."""

    @abstractmethod
    def sddmm(self, connections: RowIndexed, pairs: Sequence[SignedPair], out: Any) -> Any:
        """Sampled dense-dense product over signed pairs.

        ``out[e] = sum_s sign_s * sum_b pre_s[i, b] * post_s[j, b]`` for every connection e = (i, j).
        """

    @abstractmethod
    def row_sums(self, terms: Sequence[tuple[float, Any]], out: Any) -> Any:
        """``out[j] = sum_s sign_s * sum_b activity_s[j, b]``, the gradient of a bias."""

    @abstractmethod
    def limit_norms(self, rows: Rows, values: Any, limit: float) -> None:
        """Scale every row of `values` whose Euclidean norm is above `limit` to that norm, in place.

        Parameters
        ----------
        rows : Rows
            By post unit or, with the order that leads back to the connections, by pre unit.
        values : (n_connections,)
            NaN in a row leaves it as it is.
        limit : float
            Above 0.
        """

    @abstractmethod
    def transposed(self, rows: Rows, n_columns: int) -> Rows:
        """The pattern column by column, with the order that leads back to the connections as `rows` has them.

        Rows of a column stand in increasing order; O(n_connections).
        """

    @abstractmethod
    def merged(self, old: Any, keep: Any, before: Any) -> Any:
        """``old[keep]``, with a 0 put in where ``before[k]`` of the kept have gone by, for every k.

        Parameters
        ----------
        old : (n,) of 2, 4 or 8 bytes each
        keep : (n,) bool
        before : (n_new,) int32
            Not decreasing.

        Returns
        -------
        (n_kept + n_new,) of the type of `old`
        """

    @abstractmethod
    def gather(self, samples: Any, rows: Any, out: Any) -> Any:
        """Take rows of a sample-major array into a unit-major one: ``out[f, b] = samples[rows[b], f]``."""

    # -- random numbers --------------------------------------------------------------------------------------

    @abstractmethod
    def uniform(self, key: DrawKey, out: Any) -> Any:
        """Fill a 2-D array with draws from [0, 1): 24 bits for float32, 32 bits for float64."""

    @abstractmethod
    def normal(self, key: DrawKey, out: Any) -> Any:
        """Fill a 2-D array with standard normal draws (Box and Muller 1958), the same bits on every backend."""

    @abstractmethod
    def bernoulli(self, key: DrawKey, mean: Any, out: Any) -> Any:
        """Fill `out` with 1 where a uniform draw is below `mean`, else 0; `out` may be `mean` itself."""

    @abstractmethod
    def categorical(self, key: DrawKey, mean: Any, out: Any, groups: int) -> Any:
        """Fill `out` with a single 1 for every sample and group of rows, drawn with the probabilities `mean`, else 0.

        Parameters
        ----------
        mean, out : (n_units, n_samples), two arrays
        groups : int
            As in `softmax`. A group takes one uniform draw; a state without probability is never drawn.
        """

    @abstractmethod
    def truncated_normal(self, key: DrawKey, z: Any, out: Any) -> Any:
        """Fill `out` with draws from the normal distribution around `z` with variance 1, given that it is not negative.

        By inversion (Wichura 1988, algorithm AS 241), computed in float64; backends agree within rounding. `out` may
        be `z` itself.
        """

    # -- elementwise -----------------------------------------------------------------------------------------

    @abstractmethod
    def truncated_mean(self, z: Any, out: Any) -> Any:
        """Mean of what `truncated_normal` draws, accurate for every `z`; `out` may be `z` itself."""

    @abstractmethod
    def truncated_log_partition(self, z: Any, out: Any) -> Any:
        """``log`` of the integral of ``exp(-h**2 / 2 + h * z)`` over h from 0; `out` may be `z` itself."""

    @abstractmethod
    def softplus(self, x: Any, out: Any) -> Any:
        """``log(1 + exp(x))``, without overflow; `out` may be `x`."""

    @abstractmethod
    def softmax(self, z: Any, groups: int = 1) -> Any:
        """Turn total inputs (n_units, n_samples) into probabilities that sum to 1 over the units, in place.

        With `groups`, over each of so many groups of neighbouring units, all of one size.
        """

    @abstractmethod
    def class_error(self, output: Any, y: Any, delta: Any, smallest: float) -> tuple[Any, Any]:
        """Cross-entropy of classes: ``delta = output - one_hot(y)``, and two sums over the samples.

        Parameters
        ----------
        output, delta : (n_classes, n_samples)
        y : (n_samples,) int64
        smallest : float
            Smaller probabilities count as this one.

        Returns
        -------
        (scalar, scalar)
            ``-log(output[y])``, and for how many samples the largest output is that of their class.
        """

    @abstractmethod
    def activate(self, activation: str, values: Any, slope: float = 0.0) -> Any:
        """``values = f(values)`` in place, for total inputs that no product hands over (see `spmm`)."""

    @abstractmethod
    def gate(self, activation: str, activity: Any, values: Any, slope: float = 0.0) -> Any:
        """``values *= f'(z)`` for the activation f that gave `activity`, in place (see `Gate`)."""

    @abstractmethod
    def squared_error(self, a: Any, b: Any) -> Any:
        """``sum((a - b)**2)`` as a scalar on the device, accumulated in float64."""

    @abstractmethod
    def add_scaled(self, target: Any, scale: float, source: Any) -> Any:
        """``target += scale * source``."""

    @abstractmethod
    def sgd(
        self, value: Any, velocity: Any, gradient: Any, learning_rate: float, momentum: float, nesterov: bool
    ) -> None:
        """One step of gradient descent: ``v = momentum * v + g``; ``value -= learning_rate * v`` (Nesterov: ``g +
        momentum * v`` in place of v). `velocity` may be None where momentum is 0."""

    @abstractmethod
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
        """One step of Adam (Kingma and Ba 2015, algorithm 1), each element corrected by its own age in steps.

        The age is ``step + 1 - max(born, start)``, or ``step + 1 - start`` where `born` is None. A newborn connection
        has age 1 at its first update; with a common step count its first update would be 3.16 times too large.
        """

    # -- work that is done again and again -------------------------------------------------------------------

    def record(self, work: Callable[[], None]) -> Recording | None:
        """Record `work`, the launches of one step, without doing it; None where a replay would not be faster.

        The work must read nothing back to the host, and use arrays that stay where they are; all numbers that it
        hands to kernels are those of the recorded step, except the step of draws and of `adam`.
        """
        return None


class Workspace:
    """Arrays that are made once and used again at every step.

    A small last batch gets a contiguous view of the same memory.
    """

    def __init__(self, backend: Backend):
        self.backend = backend
        self._flat: dict[str, Any] = {}
        self._views: dict[tuple[str, int, int], Any] = {}

    def array(self, name: str, n_units: int, n_samples: int) -> Any:
        """An uninitialised (n_units, n_samples) array, the same memory for the same name."""
        view = self._views.get((name, n_units, n_samples))
        return self._view(name, n_units, n_samples) if view is None else view

    def _view(self, name: str, n_units: int, n_samples: int) -> Any:
        size = n_units * n_samples
        flat = self._flat.get(name)
        if flat is None or flat.size < size:
            flat = self._flat[name] = self.backend.empty((size,))
            self._views.clear()  # they would keep the old memory alive
        elif len(self._views) > 100:  # parts of large matrices have other lengths after every event
            self._views.clear()
        view = self._views[name, n_units, n_samples] = flat[:size].reshape(n_units, n_samples)
        return view
