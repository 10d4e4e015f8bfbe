"""The restricted Boltzmann machine: E(v, h) = visible(v) + hidden(h) - sum over connections of v_i w_ij h_j."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sparserbm.backends import Backend, on_host
from sparserbm.data.batches import blocks
from sparserbm.data.scaling import check_features
from sparserbm.data.sources import Source, chunks, has_missing
from sparserbm.models.base import Model, resolve_units
from sparserbm.models.enumeration import observed_free_energy
from sparserbm.models.missing import Observed, filled, settled, without_gaps
from sparserbm.network.connections import Connections
from sparserbm.network.units import Bernoulli, Gaussian, Units
from sparserbm.network.weights import WeightScale
from sparserbm.network.wiring import ErdosRenyi, Wiring
from sparserbm.registry import to_text
from sparserbm.rng import Draws


class RBM(Model):
    """A restricted Boltzmann machine whose visible and hidden units are sparsely connected.

    Parameters
    ----------
    visible, hidden : Units or text
        Visible: Bernoulli, Gaussian, Potts, or several of them side by side (Mixed). Hidden: the same, or
        TruncatedGaussian. At most one of the two Gaussian.
    wiring : Wiring or text
        The first pattern; epsilon=11, or as much as there is room for, where none is given.
    weights : WeightScale or text
        Distribution of the first weights; biases start at 0.
    gates : bool
        Give every hidden unit a factor g for what its connections bring it, in [0, 1] and first 1, so that the energy
        has ``v_i w_ij g_j h_j``. It is trained like a bias: the slot ``"gate"``. `Polarization` drives gates to both
        ends, `fold_gates` makes weights of them; a unit with a gate of 0 can go without a trace.
    seed : int
        All randomness of the model depends on it alone.
    backend : {"auto", "numpy", "cupy", "reference"} or Backend
    dtype : {"float32", "float64"}, optional
        That of a backend object, else float32.

    Examples
    --------
    >>> import sparserbm as sr
    >>> rbm = sr.RBM(sr.Bernoulli(784), sr.Bernoulli(500), wiring=sr.ErdosRenyi(epsilon=11), seed=0)
    >>> rbm.n_connections
    14124
    """

    kind = "rbm"

    def __init__(
        self,
        visible: Units | str,
        hidden: Units | str,
        *,
        wiring: Wiring | str | None = None,
        weights: WeightScale | str = "set_rbm",
        gates: bool = False,
        seed: int = 0,
        backend: str | Backend = "auto",
        dtype: str | None = None,
    ):
        super().__init__(seed, backend, dtype)
        self.units = (resolve_units(visible), resolve_units(hidden))
        for units in self.units:
            if not units.stochastic:
                raise ValueError(
                    f"{type(units).__name__} units have no distribution; an RBM needs Bernoulli, Gaussian, Potts or, "
                    f"as hidden units, TruncatedGaussian"
                )
        if not self.visible.observable:
            raise ValueError(
                f"{type(self.visible).__name__} units can only be hidden units; use others as visible ones"
            )
        if self.hidden.own:
            raise ValueError(
                f"{to_text(self.hidden)}: hidden units cannot have slots of their own; learned=True is for visible ones"
            )
        if self.visible.real and self.hidden.real:
            raise ValueError("an RBM with Gaussian units on both sides has no finite partition function; use one side")
        self.connections = [self.wire(0, ErdosRenyi(epsilon=11, clip=True) if wiring is None else wiring, weights)]
        self.biases = [self.bias_slots(np.zeros(units.n)) for units in self.units]
        for units, slots in zip(self.units, self.biases):
            for name, first in units.own.items():
                slots[name] = np.broadcast_to(np.asarray(first, dtype=self.backend.dtype), (units.n,))
        if gates:
            self.add_gates(self.biases[1])

    @property
    def visible(self) -> Units:
        return self.units[0]

    @property
    def hidden(self) -> Units:
        return self.units[1]

    @property
    def bias_layers(self) -> tuple[int, ...]:
        return (0, 0)

    @property
    def matrix(self) -> Connections:
        """The one matrix of connections; it serves both directions."""
        return self.connections[0]

    @property
    def visible_bias(self) -> Any:
        return self.biases[0]["bias"]

    @property
    def hidden_bias(self) -> Any:
        return self.biases[1]["bias"]

    @property
    def gate(self) -> Any:
        """Gates of the hidden units, (n_hidden,), or None."""
        return self.biases[1].get("gate")

    # -- conditionals, unit-major --------------------------------------------------------------------------------

    def hidden_given(
        self, visible: Any, mean: Any, draws: Draws | None = None, sample: Any = None, total: Any = None
    ) -> Any:
        """Mean of the hidden units given visible states, and draws around it.

        Parameters
        ----------
        visible : (n_visible, n_samples)
        mean : (n_hidden, n_samples)
            Written and returned.
        draws, sample : Draws and (n_hidden, n_samples), optional
            Where `sample` is given, states are drawn into it.
        total : (n_hidden, n_samples), optional
            In a model with gates, what the connections bring before gate and bias is written here.
        """
        if self.gate is None:
            return self._given(0, self.seen(0, visible), mean, draws, sample)
        self._gated_input(visible, mean, mean if total is None else total)
        key = draws.next() if draws is not None and sample is not None else None
        return self.hidden.conditional(self.backend, self.biases[1], mean, key, sample)

    def visible_given(self, hidden: Any, mean: Any, draws: Draws | None = None, sample: Any = None) -> Any:
        """As `hidden_given`, the other way."""
        return self._given(1, self.gated(self.seen(1, hidden)), mean, draws, sample)

    def seen(self, side: int, states: Any) -> Any:
        """What connections see of states of the visible (side 0) or hidden (1) units, before gates."""
        return self.units[side].statistic(self.backend, self.biases[side], states)

    def gated(self, hidden: Any) -> Any:
        """Hidden statistics, (n_hidden, n_samples), as the connections see them: times the gates, if there are any."""
        return hidden if self.gate is None else hidden * self.gate[:, None]

    def _gated_input(self, visible: Any, out: Any, total: Any) -> None:
        """Total inputs of hidden units with gates, into `out`; `total` as in `hidden_given`."""
        self.backend.spmm(self.matrix, self.matrix.weight, self.seen(0, visible), total)
        self.backend.xp.multiply(total, self.gate[:, None], out=out)
        out += self.hidden_bias[:, None]

    def _given(self, source: int, states: Any, mean: Any, draws: Draws | None, sample: Any) -> Any:
        product = self.backend.spmm if source == 0 else self.backend.spmm_t
        units, slots = self.units[1 - source], self.biases[1 - source]
        key = draws.next() if draws is not None and sample is not None else None
        arguments = (self.matrix, self.matrix.weight, states, mean, slots["bias"])
        if isinstance(units, Bernoulli):  # activation and draw are fused into the product
            return product(*arguments, units.activation, sample=None if key is None else sample, key=key)
        product(*arguments)
        return units.conditional(self.backend, slots, mean, key, sample)

    def free_energy_of(self, visible: Any) -> Any:
        """``F(v) = visible(v) - sum_j log_partition_j(b_j + sum_i v_i w_ij)``; (n_samples,) on the device."""
        z = self.backend.empty((self.hidden.n, visible.shape[1]))
        if self.gate is None:
            self.backend.spmm(self.matrix, self.matrix.weight, self.seen(0, visible), z, self.hidden_bias)
        else:
            self._gated_input(visible, z, z)
        hidden = self.hidden.log_partition(self.backend, self.biases[1], z, z).sum(axis=0)
        return self.visible.energy(self.backend, self.biases[0], visible) - hidden

    # -- the public edge, sample-major ---------------------------------------------------------------------------

    def check_data(self, X: Any) -> Any:
        return self._checked(X, False)

    def check_known(self, X: Any) -> Any:
        return self._checked(X, True)

    def _checked(self, X: Any, missing: bool) -> Any:
        X = check_features(X, n_features=self.n_features, missing=missing)
        gaps = missing and has_missing(X)
        # The smallest and largest value of a source are known; other units look at all values, a few samples at a time.
        if gaps or (isinstance(X, Source) and not isinstance(self.visible, (Bernoulli, Gaussian))):
            for part, values in chunks(X):
                try:
                    self.visible.check_data(without_gaps(self.visible, values) if gaps else values)
                except ValueError as error:
                    raise ValueError(f"samples {part.start} to {part.stop - 1}: {error}") from None
        else:
            self.visible.check_data(X)
        return X

    # NaN in X is a missing value. Means given the known ones are those of mean field (`settled`), deterministic and the
    # same in every company; `fill` draws.

    def _known_blocks(self, X: Any) -> Iterator[tuple[slice, Any]]:
        """As `blocks`, with missing entries at their means given the known ones."""
        gaps = has_missing(X)
        for part, v in blocks(self.backend, X, self.widest):
            yield part, settled(self, v) if gaps else v

    def transform(self, X: Any) -> np.ndarray:
        """Means of the hidden units: (n_samples, n_hidden). Missing values, NaN, stand at their mean-field means."""
        X = check_features(X, n_features=self.n_features, missing=True)
        out = np.empty((len(X), self.hidden.n), dtype=self.backend.dtype)
        for part, v in self._known_blocks(X):
            h = self.hidden_given(v, self.backend.empty((self.hidden.n, v.shape[1])))
            out[part] = self.backend.to_numpy(h).T
        return out

    def reconstruct(self, X: Any) -> np.ndarray:
        """Means of the visible units given the means of the hidden ones: (n_samples, n_visible), deterministic.

        All of them, known ones too; missing values, NaN, stand at their mean-field means first.
        """
        X = check_features(X, n_features=self.n_features, missing=True)
        out = np.empty((len(X), self.visible.n), dtype=self.backend.dtype)
        for part, v in self._known_blocks(X):
            h = self.hidden_given(v, self.backend.empty((self.hidden.n, v.shape[1])))
            out[part] = self.backend.to_numpy(self.visible_given(h, self.backend.empty(v.shape))).T
        return out

    def free_energy(self, X: Any) -> np.ndarray:
        """F(v) for every row, in nats: (n_samples,); low where the model finds the sample probable.

        Of rows with missing values, NaN, that of what is known, exactly: ``-F - log Z`` is the logarithm of its
        marginal probability. That takes all states of the hidden units, at most 20 Bernoulli units.

        Raises
        ------
        ValueError
            If values are missing and the hidden units have more states than that.
        """
        X = check_features(X, n_features=self.n_features, missing=True)
        if has_missing(X):
            return observed_free_energy(self, X).astype(self.backend.dtype)
        out = np.empty(len(X), dtype=self.backend.dtype)
        for part, v in blocks(self.backend, X, self.widest):
            out[part] = self.backend.to_numpy(self.free_energy_of(v))
        return out

    def sample(
        self,
        n_samples: int,
        *,
        sweeps: int = 1000,
        seed: int | None = None,
        clamp: Any = None,
        temperatures: Any = None,
    ) -> np.ndarray:
        """States of the visible units after `sweeps` of Gibbs sampling from random hidden states.

        Parameters
        ----------
        n_samples, sweeps : int
            At least 1.
        seed : int, optional
            That of the model by default: the same seed gives the same samples.
        clamp : (n_visible,) or (n_samples, n_visible), optional
            Values that stay as they are during all sweeps; NaN where a unit is free. Samples are then drawn given these
            values, one row for all of them or one for each.
        temperatures : int or array, optional
            Sample by parallel tempering (Desjardins et al. 2010): so many replicas of the chains, at inverse
            temperatures evenly from 0 to 1 or at those given, trade states after every sweep. It takes as many times
            longer, and goes between modes where plain Gibbs chains stay for ever in the one they started in.

        Returns
        -------
        (n_samples, n_visible)

        Warns
        -----
        UserWarning
            If two neighbouring temperatures hardly ever trade: use more of them.
        """
        if n_samples < 1 or sweeps < 1:
            raise ValueError(f"n_samples={n_samples}, sweeps={sweeps} is not possible; use at least 1 of both")
        streams = self.streams if seed is None else type(self.streams)(seed)
        held = None if clamp is None else self._held(clamp, n_samples)
        if temperatures is not None:
            from sparserbm.models.tempering import tempered_samples  # it builds on this class

            return self.backend.to_numpy(
                tempered_samples(self, n_samples, temperatures, sweeps, streams, held)
            ).T.copy()
        h, v = self.backend.empty((self.hidden.n, n_samples)), self.backend.empty((self.visible.n, n_samples))
        h_mean, v_mean = self.backend.empty(h.shape), self.backend.empty(v.shape)
        h_mean[...] = 0  # hidden states as if there were no connections and biases
        key = streams.draws("sample-start", 0).next()
        self.hidden.conditional(self.backend, self.biases[1], h_mean, key, h)
        for sweep in range(sweeps):
            draws = streams.draws("sample", sweep)
            self.visible_given(h, v_mean, draws, v)
            if held is not None:
                held.put(v)
            self.hidden_given(v, h_mean, draws, h)
        return self.backend.to_numpy(v).T.copy()

    def _held(self, clamp: Any, n_samples: int) -> Observed:
        rows = np.asarray(on_host(clamp))
        if rows.shape not in ((self.n_features,), (n_samples, self.n_features)):
            raise ValueError(
                f"clamp has shape {rows.shape}; give one value (NaN: free) for each of the {self.n_features} visible "
                f"units, in one row or in one for each of the {n_samples} samples"
            )
        rows = self.check_known(np.broadcast_to(rows, (n_samples, self.n_features)))
        return Observed(self.backend, self.backend.asarray(np.ascontiguousarray(rows.T), self.backend.dtype))

    def fill(self, X: Any, *, sweeps: int = 200, seed: int | None = None, mean: bool = True) -> np.ndarray:
        """`X` with its missing values, NaN, filled in by Gibbs sampling given the known ones, which stay as they are.

        Parameters
        ----------
        X : (n_samples, n_visible)
            A row may be missing as a whole.
        sweeps : int
            At least 1. Chains begin at the means that missing units have without connections.
        seed : int, optional
            That of the model by default. The draws of a row depend on its place among the rows too.
        mean : bool
            Fill in the average, over the second half of the sweeps, of the means of the visible units given the hidden
            ones: an estimate of the mean of each missing value given the known ones. False: the states after the last
            sweep, a joint draw of all missing values.

        Returns
        -------
        (n_samples, n_visible)
            In the number type of `X` (float64, if that is none of floats).
        """
        if isinstance(sweeps, bool) or not isinstance(sweeps, (int, np.integer)) or sweeps < 1:
            raise ValueError(f"sweeps={sweeps!r} is not possible; use an integer of at least 1")
        X = self.check_known(X)
        streams = self.streams if seed is None else type(self.streams)(seed)
        out = np.empty(X.shape, dtype=X.dtype if X.dtype.kind == "f" else np.float64)
        for number, (part, v) in enumerate(blocks(self.backend, X, self.widest)):
            rows = out[part]
            rows[...] = X[part]
            gaps = np.isnan(rows)
            if gaps.any():
                found = filled(self, v, sweeps, mean, streams, f"fill {number}")
                rows[gaps] = self.backend.to_numpy(found).T[gaps]
        return out
