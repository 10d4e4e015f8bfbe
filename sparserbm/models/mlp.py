"""The multi-layer perceptron with sparse connections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sparserbm.backends import Backend, Workspace
from sparserbm.data.batches import blocks
from sparserbm.data.scaling import check_features
from sparserbm.models.base import Model, resolve_units
from sparserbm.network.units import Identity, Softmax, Units
from sparserbm.network.weights import WeightScale
from sparserbm.network.wiring import ErdosRenyi, Wiring, resolve_wiring
from sparserbm.registry import describe, resolve, to_text


class Layer(NamedTuple):
    """What a layer computed, (n_units, n_samples) each; one and the same array where nothing makes a difference."""

    seen: Any  # what `Units.back` wants to know
    activity: Any
    passed: Any  # what the next layer sees of the activity


class MLP(Model):
    """A feed-forward network with sparsely connected layers.

    Parameters
    ----------
    *units : int, Units or text
        The number of inputs, then the layers: ``MLP(784, ReLU(512), ReLU(128), Softmax(10))``.
    wiring : Wiring, text or a sequence of them
        One for every matrix of connections, or one for all but the last, which is then dense (the output layer of
        the regularization study; with 10 classes it is 1 % of the network). `ERK` is for the network as a whole.
    weights : WeightScale, text or a sequence of them
        Distribution of the first weights.
    biases : WeightScale, text or a sequence of them
        Distribution of the first biases.
    gates : bool
        Give every hidden unit a factor for its activity, in [0, 1] and first 1, that is trained like a bias: the slot
        ``"gate"``. `Polarization` drives gates to both ends, `fold_gates` makes weights of them.
    seed : int
        All randomness of the model depends on it alone.
    backend : {"auto", "numpy", "cupy", "reference"} or Backend
    dtype : {"float32", "float64"}, optional
        That of a backend object, else float32.
    """

    kind = "mlp"

    def __init__(
        self,
        *units: int | Units | str,
        wiring: Wiring | str | Sequence[Wiring | str] | None = None,
        weights: WeightScale | str | Sequence[WeightScale | str] = "he_sparse",
        biases: WeightScale | str | Sequence[WeightScale | str] = "zero",
        gates: bool = False,
        seed: int = 0,
        backend: str | Backend = "auto",
        dtype: str | None = None,
    ):
        super().__init__(seed, backend, dtype)
        if len(units) < 2:
            raise ValueError(
                "an MLP needs its number of inputs and at least one layer, e.g. MLP(784, ReLU(100), Softmax(10))"
            )
        inputs, *layers = units
        first = Identity(int(inputs)) if isinstance(inputs, (int, np.integer)) else resolve_units(inputs)
        self.units = (first, *(resolve_units(layer) for layer in layers))  # type: ignore[arg-type]
        if any(isinstance(layer, Softmax) for layer in self.units[:-1]):
            raise ValueError("Softmax units can only be the output layer")
        if not self.output.fused:
            raise ValueError(f"{to_text(self.output)} can only be a hidden layer; use other units for the output")
        n = len(layers)
        wirings = wiring_of_layers(wiring, [layer.n for layer in self.units])
        scales: list[Any] = [weights] * n if _is_one(weights) else _each(weights, "weights", n)
        bias_scales: list[Any] = [biases] * n if _is_one(biases) else _each(biases, "biases", n)
        self.connections = [self.wire(layer, wirings[layer], scales[layer]) for layer in range(n)]
        self.biases = [self._draw_bias(layer, bias_scales[layer]) for layer in range(n)]
        if gates:
            self.add_gates(*self.biases[:-1])

    def _draw_bias(self, layer: int, scale: Any) -> Any:
        pattern = self.connections[layer].pattern
        generator = self.streams.host("biases", 0, layer)
        scale = resolve("weights", scale)
        self.origin.setdefault("biases", []).append(describe(scale, strict=False))
        slots = self.bias_slots(scale.draw(generator, pattern.fan_in(), pattern.n_pre))
        for name, first in self.units[layer + 1].own.items():
            slots[name] = np.full(len(slots), first, dtype=self.backend.dtype)
        return slots

    @property
    def bias_layers(self) -> tuple[int, ...]:
        return tuple(range(len(self.connections)))

    @property
    def output(self) -> Units:
        return self.units[-1]

    def forward(self, x: Any, workspace: Workspace) -> list[Any]:
        """Activities of all layers, input included, unit-major; they live in `workspace` until the next call."""
        return [layer.passed for layer in self.layers(x, workspace, {})]

    def layers(
        self, x: Any, workspace: Workspace, masks: Mapping[int, Any], first: int = 0, last: int | None = None
    ) -> list[Layer]:
        """As `forward`, with all that the way back needs to know.

        Parameters
        ----------
        x : (n_units, n_samples)
            What layer `first` passes on.
        masks : dict of int to (n_units, n_samples)
            Factors for what a layer passes on, by its place (0 is the input): dropout.
        first, last : int
            The layers, by their places, from which and to which activities go; by default from the input to the
            output.
        """
        backend, passed = self.backend, _times(x, masks.get(first), None, workspace, first)
        layers = [Layer(x, x, passed)]
        for place in range(first + 1, len(self.units) if last is None else last + 1):
            connections, units, slots = self.connections[place - 1], self.units[place], self.biases[place - 1]
            weight = connections.weight
            seen = activity = workspace.array(f"seen {place}", units.n, x.shape[1])
            if units.fused:
                backend.spmm(connections, weight, passed, seen, slots["bias"], units.activation, slope=units.slope)
            else:
                activity = workspace.array(f"activity {place}", *seen.shape)
                backend.spmm(connections, weight, passed, seen, slots["bias"])
                units.activate(backend, slots, seen, activity, workspace)
            if isinstance(units, Softmax):
                backend.softmax(activity)
            passed = _times(activity, masks.get(place), slots.get("gate"), workspace, place)
            layers.append(Layer(seen, activity, passed))
        return layers

    def check_data(self, X: Any) -> Any:
        return check_features(X, n_features=self.n_features)

    def predict(self, X: Any) -> np.ndarray:
        """Activities of the output layer: (n_samples, n_outputs); probabilities for Softmax units."""
        return self.activity(self.check_data(X), len(self.connections))

    def activity(self, A: Any, layer: int, given: int = 0) -> np.ndarray:
        """What the layer at one place passes on, given what the layer at the place `given` does (0 is the input).

        Parameters
        ----------
        A : (n_samples, n_units of `given`)
        layer, given : int

        Returns
        -------
        (n_samples, n_units of `layer`)
        """
        out = np.empty((len(A), self.units[layer].n), dtype=self.backend.dtype)
        workspace = Workspace(self.backend)
        for part, a in blocks(self.backend, A, self.widest):
            passed = self.layers(a, workspace, {}, given, layer)[-1].passed
            out[part] = self.backend.to_numpy(passed).T
        return out


def _times(activity: Any, mask: Any, gate: Any, workspace: Workspace, place: int) -> Any:
    """What a layer passes on: its activity, times gates and mask of dropout where there are any."""
    if mask is None and gate is None:
        return activity
    out, multiply = workspace.array(f"passed {place}", *activity.shape), workspace.backend.xp.multiply
    if gate is not None:
        activity = multiply(activity, gate[:, None], out=out)
    return activity if mask is None else multiply(activity, mask, out=out)


def wiring_of_layers(wiring: Any, sizes: Sequence[int]) -> list[Any]:
    """A wiring for each matrix of connections: those given, or what one for all makes of layers of these sizes."""
    if not _is_one(wiring):
        return _each(wiring, "wiring", len(sizes) - 1)
    return resolve_wiring(ErdosRenyi(epsilon=11, clip=True) if wiring is None else wiring).of_layers(sizes)


def _is_one(rule: Any) -> bool:
    return not isinstance(rule, (list, tuple))


def _each(rules: Any, what: str, n_layers: int) -> list[Any]:
    rules = list(rules)
    if len(rules) != n_layers:
        raise ValueError(
            f"{what} has {len(rules)} entries for {n_layers} matrices of connections; give one or {n_layers}"
        )
    return rules
