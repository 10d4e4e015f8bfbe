"""A deep belief network: sparse RBMs on top of each other, each of which models what the one below it found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np

from sparserbm.backends import Backend, get_backend
from sparserbm.data.batches import blocks
from sparserbm.models.base import resolve_units
from sparserbm.models.gates import fold_gates
from sparserbm.models.likelihood import ENUMERABLE, log_partition
from sparserbm.models.mlp import MLP
from sparserbm.models.parts import Part, mlp_of_parts
from sparserbm.models.rbm import RBM
from sparserbm.network.units import Bernoulli, Gaussian, Identity, Sigmoid, Units
from sparserbm.network.weights import WeightScale
from sparserbm.network.wiring import FromScipy, Wiring
from sparserbm.registry import describe, to_text
from sparserbm.rng import Streams

# What the mean of a type of stochastic units is as a layer of an MLP
WITHOUT_DRAWS: dict[type[Units], type[Units]] = {Bernoulli: Sigmoid, Gaussian: Identity}


class Stack:
    """A deep belief network: a stack of RBMs, where the hidden units of each are the visible units of the next.

    The top two layers of units are an RBM. Below it, connections point down: a layer of units is drawn given the one
    above it. `train_stack` trains the RBMs one after the other, from below (Hinton, Osindero and Teh 2006).

    Parameters
    ----------
    *units : Units or text
        The visible units, then every layer of hidden units: ``Stack(Bernoulli(784), Bernoulli(500), Bernoulli(300))``.
    wiring : Wiring, text or a sequence of them
        First pattern of all RBMs or of each; epsilon=11, or as much as there is room for, where none is given.
    weights : WeightScale, text or a sequence of them
        Distribution of the first weights.
    seed : int
        All randomness depends on it alone. The first RBM is the one that has this seed by itself.
    backend : {"auto", "numpy", "cupy", "reference"} or Backend
    dtype : {"float32", "float64"}, optional
        That of a backend object, else float32.

    Attributes
    ----------
    layers : list of RBM
        From the data up; each can be trained, measured and drawn by itself.
    backend : Backend
        Of all layers.

    Raises
    ------
    ValueError
        If there is no hidden layer, or a layer cannot be an RBM.

    Examples
    --------
    >>> import sparserbm as sr
    >>> stack = sr.Stack(sr.Bernoulli(784), sr.Bernoulli(500), sr.Bernoulli(300), seed=0)
    >>> stack.n_connections
    22924
    """

    def __init__(
        self,
        *units: Units | str,
        wiring: Wiring | str | Sequence[Wiring | str] | None = None,
        weights: WeightScale | str | Sequence[WeightScale | str] = "set_rbm",
        seed: int = 0,
        backend: str | Backend = "auto",
        dtype: str | None = None,
    ):
        if len(units) < 2:
            raise ValueError(
                f"a stack needs visible units and at least one layer of hidden units, not {len(units)} in all; "
                f"e.g. Stack(Bernoulli(784), Bernoulli(500), Bernoulli(300))"
            )
        first, *hidden = (resolve_units(each) for each in units)
        wirings, scales = _each(wiring, "wiring", len(hidden)), _each(weights, "weights", len(hidden))
        self.streams, self.backend = Streams(seed), get_backend(backend, dtype)
        kind: dict[str, Any] = {"seed": seed, "backend": self.backend}
        self.layers = [RBM(first, hidden[0], wiring=wirings[0], weights=scales[0], **kind)]
        for layer, own_wiring, own_scale in zip(hidden[1:], wirings[1:], scales[1:]):
            self.add(layer, wiring=own_wiring, weights=own_scale)

    @classmethod
    def from_rbms(cls, rbms: Sequence[RBM], *, seed: int | None = None) -> Self:
        """A stack of RBMs that exist: the very objects, from the data up, trained or not.

        Parameters
        ----------
        rbms : sequence of RBM
            The hidden units of each are the visible units of the next; all on one kind of backend.
        seed : int, optional
            For what the stack draws itself; that of the first RBM by default.

        Raises
        ------
        ValueError, TypeError
            If units of neighbours differ, or backends do, or there is no RBM.
        """
        layers = list(rbms)
        for layer in layers:
            if not isinstance(layer, RBM):
                raise TypeError(f"{layer!r} is no RBM; of a fitted SparseRBM give its model_")
        if not layers:
            raise ValueError("a stack needs at least one RBM, and none was given")
        for number, (below, above) in enumerate(zip(layers, layers[1:])):
            if below.hidden != above.visible:
                raise ValueError(
                    f"layer {number} has hidden units {to_text(below.hidden)}, but layer {number + 1} has visible "
                    f"units {to_text(above.visible)}; give RBMs whose units agree, from the data up"
                )
            if below is above or (below.backend.name, below.backend.dtype) != (above.backend.name, above.backend.dtype):
                raise ValueError(
                    f"layers {number} and {number + 1} must be two RBMs of one backend and number type, not "
                    f"{below.backend.name}, {below.backend.dtype} and {above.backend.name}, {above.backend.dtype}"
                    + (" (and the same object)" if below is above else "")
                )
        stack = cls.__new__(cls)
        stack.layers, stack.backend = layers, layers[0].backend
        stack.streams = Streams(layers[0].seed if seed is None else seed)
        return stack

    # -- growing -------------------------------------------------------------------------------------------------

    def add(
        self, hidden: Units | str, *, wiring: Wiring | str | None = None, weights: WeightScale | str = "set_rbm"
    ) -> RBM:
        """Put an RBM with these hidden units on top; returns it."""
        seed = self._next_seed()
        self.layers.append(RBM(self.units[-1], hidden, wiring=wiring, weights=weights, seed=seed, backend=self.backend))
        return self.layers[-1]

    def add_transpose(self) -> RBM:
        """Put the transpose of the top RBM (`transposed`) on top of it; returns it.

        What the stack says of data stays what it was: `variational_bound` is the same number, since the new RBM has,
        as the distribution of its visible units, what the old one has for its hidden units (Hinton, Osindero and Teh
        2006, section 4). From there on, what is learnt of the new RBM raises the bound.
        """
        self.layers.append(transposed(self.layers[-1], seed=self._next_seed()))
        return self.layers[-1]

    def _next_seed(self) -> int:
        return int(self.streams.host("layer", 0, len(self.layers)).integers(2**31 - 1))

    # -- what it is made of --------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[RBM]:
        return iter(self.layers)

    def __getitem__(self, number: int) -> RBM:
        return self.layers[number]

    @property
    def seed(self) -> int:
        return self.streams.seed

    @property
    def units(self) -> tuple[Units, ...]:
        """Visible units, then those of every hidden layer."""
        return (self.layers[0].visible, *(layer.hidden for layer in self.layers))

    @property
    def n_features(self) -> int:
        return self.layers[0].n_features

    @property
    def widest(self) -> int:
        """Units of the largest layer."""
        return max(units.n for units in self.units)

    @property
    def n_connections(self) -> int:
        return sum(layer.n_connections for layer in self.layers)

    @property
    def density(self) -> float:
        """Connections over places, all layers together."""
        return self.n_connections / sum(layer.matrix.pattern.n_places for layer in self.layers)

    def __repr__(self) -> str:
        units = ", ".join(to_text(units) for units in self.units)
        epochs = " + ".join(str(layer.epoch) for layer in self.layers)
        return f"Stack({units}): {self.n_connections:,} connections, epochs {epochs}"

    def describe(self, strict: bool = True) -> dict[str, Any]:
        """What the stack is made of, ready for JSON; `strict` as in `registry.describe`."""
        return {
            "kind": "stack",
            "units": describe(self.units, strict),
            "seed": self.seed,
            "dtype": str(self.backend.dtype),
        }

    def copy(self) -> Self:
        """A twin that can be changed without changing this stack."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.layers = [layer.copy() for layer in self.layers]
        return twin

    # -- the public edge, sample-major ---------------------------------------------------------------------------

    def check_data(self, X: np.ndarray) -> np.ndarray:
        """`X` checked as states of the visible units."""
        return self.layers[0].check_data(X)

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Means of the top hidden units, each layer given the means of the one below: (n_samples, n_hidden)."""
        for layer in self.layers:
            X = layer.transform(X)
        return X

    def reconstruct(self, X: np.ndarray) -> np.ndarray:
        """Means of the visible units after all layers up and down again, by means: (n_samples, n_visible)."""
        return self._down(self.transform(X), self.layers)

    def sample(self, n_samples: int, *, sweeps: int = 1000, seed: int | None = None) -> np.ndarray:
        """States of the visible units: `sweeps` of Gibbs sampling in the top RBM, then one draw down every layer.

        Parameters
        ----------
        n_samples, sweeps : int
            At least 1.
        seed : int, optional
            That of the stack by default: the same call then gives the same samples.

        Returns
        -------
        (n_samples, n_visible)
        """
        *below, top = self.layers
        seed = self.seed if seed is None else seed
        return self._down(top.sample(n_samples, sweeps=sweeps, seed=seed), below, Streams(seed))

    def _down(self, H: np.ndarray, layers: Sequence[RBM], streams: Streams | None = None) -> np.ndarray:
        """Hidden activities of the last of `layers`, (n_samples, n_hidden), as visible ones of the first: their means,
        or with `streams` a draw of every layer."""
        for number in reversed(range(len(layers))):
            layer = layers[number]
            out = np.empty((len(H), layer.visible.n), dtype=self.backend.dtype)
            for block, (part, h) in enumerate(blocks(self.backend, H, layer.widest)):
                mean = self.backend.empty((layer.visible.n, h.shape[1]))
                if streams is None:
                    found = layer.visible_given(h, mean)
                else:
                    found = self.backend.empty(mean.shape)
                    layer.visible_given(h, mean, streams.draws(f"down {number}", block), found)
                out[part] = self.backend.to_numpy(found).T
            H = out
        return H

    # -- as a feed-forward network -------------------------------------------------------------------------------

    def to_mlp(
        self,
        output: Units | str,
        *,
        wiring: Wiring | str | None = None,
        weights: WeightScale | str = "he_sparse",
        seed: int | None = None,
        backend: str | Backend | None = None,
        dtype: str | None = None,
    ) -> MLP:
        """An MLP whose hidden layers are those of the stack, with a fresh output layer: ready for backpropagation.

        Up to the output it computes what `transform` does. Connections, weights and hidden biases are copies; all else
        (momentum, steps of birth) begins afresh. Newborn connections of a layer draw from the weight scale of its RBM.

        Parameters
        ----------
        output : Units or text
            E.g. ``Softmax(10)``.
        wiring : Wiring or text, optional
            Of the output layer; dense by default.
        weights : WeightScale or text
            Of the output layer.
        seed : int, optional
            Of the MLP; that of the stack by default.
        backend, dtype : optional
            Those of the stack by default.

        Raises
        ------
        ValueError
            If hidden units have no counterpart in an MLP.
        """
        parts = [self._part(layer, number) for number, layer in enumerate(self.layers)]
        mlp = mlp_of_parts(
            self.n_features,
            parts,
            output,
            wiring="dense" if wiring is None else wiring,
            weights=weights,
            seed=self.seed if seed is None else seed,
            backend=backend or (self.backend if dtype is None else self.backend.name),
            dtype=dtype,
        )
        mlp.origin["stack"] = {"epochs": [layer.epoch for layer in self.layers], "seed": self.seed}
        return mlp

    def _part(self, layer: RBM, number: int) -> Part:
        kind = WITHOUT_DRAWS.get(type(layer.hidden))
        if kind is None:
            raise ValueError(
                f"the hidden units of layer {number}, {to_text(layer.hidden)}, have no counterpart in an MLP; possible "
                f"are {' and '.join(each.__name__ for each in WITHOUT_DRAWS)}"
            )
        folded, backend = fold_gates(layer), layer.backend
        matrix = folded.matrix.to_scipy()
        # What a connection sees of a state, e.g. of a Gaussian one in units of its variance, is part of the weight.
        ones = backend.asarray(np.ones((layer.visible.n, 1)))
        seen = backend.to_numpy(folded.seen(0, ones))[:, 0]
        matrix.data *= seen[folded.matrix.pattern.pre]
        bias = {"bias": backend.to_numpy(folded.biases[1]["bias"])}
        origin = layer.origin.get("wiring", ["unknown"])[0]
        return Part(kind(layer.hidden.n), matrix, layer.matrix.weights_rule, bias, origin)


def transposed(rbm: RBM, seed: int = 0) -> RBM:
    """The RBM with visible and hidden side exchanged: connections, weights and biases of `rbm`, untrained.

    Its free energy of hidden states of `rbm` gives their probability under `rbm`. Gates are folded into the weights.

    Parameters
    ----------
    seed : int
        Of the new RBM.

    Raises
    ------
    ValueError
        If the hidden units cannot be visible ones, or the visible ones no hidden ones.
    """
    folded = fold_gates(rbm)
    wiring = FromScipy(folded.matrix.to_scipy().T)
    rule = folded.matrix.weights_rule or "set_rbm"
    twin = RBM(folded.hidden, folded.visible, wiring=wiring, weights=rule, seed=seed, backend=rbm.backend)
    for slots, other in zip(twin.biases, reversed(folded.biases)):
        for name in other:
            slots[name] = other[name].copy()
    twin.origin = {"wiring": [f"transpose of {text}" for text in folded.origin.get("wiring", ["unknown"])]}
    return twin


def variational_bound(stack: Stack, X: np.ndarray) -> np.ndarray:
    """Lower bound on the exact ``log P(v)`` of a stack of Bernoulli units, (n_samples,) in nats, by enumeration.

    ``sum_h Q(h | v) (log P(v | h) + bound(h) - log Q(h | v))``, where Q are the hidden units of the first RBM given
    v, and bound(h) is the same of the layers above, of the top RBM its exact ``log P(h)`` (Hinton, Osindero and Teh
    2006, section 4). In float64. It is exact for one layer, and for two as long as the second is the transpose of the
    first.

    Raises
    ------
    ValueError
        If the hidden units below the top layer are more than 20 in one layer or 24 in two that follow each other, log Z
        of the top RBM cannot be enumerated (see `log_partition`), units are not Bernoulli, or values of `X` are not 0
        and 1.
    """
    for number, units in enumerate(stack.units):
        if not isinstance(units, Bernoulli):
            raise ValueError(f"the bound needs Bernoulli units in all layers; layer {number} has {to_text(units)}")
    X = stack.check_data(X)
    if not np.isin(X, (0, 1)).all():
        raise ValueError("the bound is one on the probability of states: values of X must be 0 and 1")
    sizes = [layer.hidden.n for layer in stack.layers[:-1]]
    if max(sizes, default=0) > ENUMERABLE or max(map(sum, zip(sizes, sizes[1:])), default=0) > ENUMERABLE + 4:
        raise ValueError(
            f"the bound enumerates the hidden units below the top layer, here {sizes}; possible up to {ENUMERABLE} in "
            f"a layer and {ENUMERABLE + 4} in two that follow each other"
        )
    return _bound([_dense(layer) for layer in stack.layers], log_partition(stack.layers[-1]), X.astype(np.float64))


def _dense(rbm: RBM) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (n_hidden, n_visible), visible and hidden biases, in float64."""
    folded = fold_gates(rbm)
    visible, hidden = (rbm.backend.to_numpy(slots["bias"]).astype(np.float64) for slots in folded.biases)
    return folded.matrix.to_dense().astype(np.float64), visible, hidden


def _bound(layers: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], log_z: float, states: np.ndarray) -> np.ndarray:
    """The bound for rows of states; `log_z` is that of the last layer."""
    (weight, visible, hidden), *above = layers
    n = len(hidden)
    if not above:
        return states @ visible + np.logaddexp(0.0, states @ weight.T + hidden).sum(axis=1) - log_z
    h = ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)
    up = _bound(above, log_z, h)
    down = h @ weight + visible  # total inputs of the visible units
    rest = up - np.logaddexp(0.0, down).sum(axis=1)
    out = np.empty(len(states))
    rows = max(1, 2**22 // 2**n)
    for start in range(0, len(states), rows):
        v = states[start : start + rows]
        total = v @ weight.T + hidden
        log_q = total @ h.T - np.logaddexp(0.0, total).sum(axis=1, keepdims=True)
        out[start : start + rows] = (np.exp(log_q) * (v @ down.T + rest - log_q)).sum(axis=1)
    return out


def _each(rules: Any, what: str, n_layers: int) -> list[Any]:
    """A rule for each RBM: those given, or one for all."""
    if not isinstance(rules, (list, tuple)):
        return [rules] * n_layers
    if len(rules) != n_layers:
        raise ValueError(f"{what} has {len(rules)} entries for {n_layers} RBMs; give one or {n_layers}")
    return list(rules)
