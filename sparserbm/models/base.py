"""What every model has: units, connections between neighbouring layers, biases, a seed and a step count."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np

from sparserbm.backends import Backend, get_backend
from sparserbm.network.connections import Connections, Pattern
from sparserbm.network.slots import Slots
from sparserbm.network.units import Units
from sparserbm.network.weights import WeightScale
from sparserbm.network.wiring import Wiring, resolve_wiring
from sparserbm.registry import describe, resolve, to_text
from sparserbm.rng import Streams

# Sigmoids hide a divergence: their network stays finite, with weights that no learning rate would explain.
TOO_LARGE = 1e8


class Model(ABC):
    """Layers of units; matrix of connections number l joins ``units[l]`` and ``units[l + 1]``.

    Attributes
    ----------
    units : tuple of Units
        From the input on.
    connections : list of Connections
    biases : list of Slots
        Slot ``"bias"`` of every layer that has biases, ``"gate"`` where its units have gates, and the slots that their
        type has (`Units.own`).
    step, epoch : int
        Mini-batches and epochs that the model has been trained for.
    origin : dict
        Texts of the rules that drew the first wiring and biases, for the record.
    """

    kind: str
    units: tuple[Units, ...]
    connections: list[Connections]
    biases: list[Slots]

    def __init__(self, seed: int, backend: str | Backend, dtype: str | None):
        self.streams = Streams(seed)
        self.backend = get_backend(backend, dtype)
        self.step = 0
        self.epoch = 0
        self.origin: dict[str, Any] = {}

    @property
    def seed(self) -> int:
        return self.streams.seed

    @property
    def n_features(self) -> int:
        return self.units[0].n

    @property
    def widest(self) -> int:
        """Units of the largest layer."""
        return max(units.n for units in self.units)

    @property
    @abstractmethod
    def bias_layers(self) -> tuple[int, ...]:
        """Which matrix of connections each of `biases` belongs to."""

    @property
    def n_connections(self) -> int:
        return sum(len(layer) for layer in self.connections)

    @property
    def density(self) -> float:
        """Connections over places, all layers together."""
        return self.n_connections / sum(layer.pattern.n_places for layer in self.connections)

    def wire(self, layer: int, wiring: Wiring | str, weights: WeightScale | str) -> Connections:
        """Draw the first pattern and weights of a layer from the host streams of the seed."""
        first = resolve_wiring(wiring)
        scale: WeightScale = resolve("weights", weights)
        if not isinstance(scale, WeightScale):
            raise TypeError(f"{scale!r} is no WeightScale; give a rule or its text")
        n_pre, n_post = self.units[layer].n, self.units[layer + 1].n
        pattern = first.pattern(n_pre, n_post, self.streams.host("wiring", 0, layer))
        self.origin.setdefault("wiring", []).append(describe(first, strict=False))
        values = first.weights()
        if values is None:
            values = self._first_weights(pattern, scale, self.streams.host("weights", 0, layer))
        return Connections(self.backend, pattern, values, scale)

    def _first_weights(self, pattern: Pattern, scale: WeightScale, generator: np.random.Generator) -> np.ndarray:
        values, fan_in = np.empty(len(pattern), dtype=self.backend.dtype), pattern.fan_in()
        for units, part in pattern.blocks():
            inputs = np.repeat(fan_in[units], fan_in[units])
            values[part] = scale.draw(generator, inputs, pattern.n_pre)
        return values

    @property
    def unit_slots(self) -> set[str]:
        """Slots of `biases` that belong to the units; an optimizer may have others there."""
        return {"bias", "gate"}.union(*(units.own for units in self.units))

    def add_gates(self, *biases: Slots) -> None:
        """Give these units gates, all open."""
        for slots in biases:
            slots["gate"] = np.ones(len(slots), dtype=self.backend.dtype)
        self.origin["gates"] = True

    def bias_slots(self, values: np.ndarray) -> Slots:
        slots = Slots(self.backend, len(values))
        slots["bias"] = np.asarray(values, dtype=self.backend.dtype)
        return slots

    def __repr__(self) -> str:
        units = ", ".join(to_text(units) for units in self.units)
        return f"{type(self).__name__}({units}): {self.n_connections:,} connections, epoch {self.epoch}"

    def check_finite(self) -> None:
        """Raise FloatingPointError if a weight or bias is NaN or infinite, or a weight beyond all reason."""
        for layer in self.connections:
            # Two passes instead of the absolute values: no second array.
            largest = float(max(layer.weight.max(), -layer.weight.min())) if len(layer) else 0.0
            if not largest < TOO_LARGE:
                problem = f"weights reach {largest:.1e}" if np.isfinite(largest) else "weights are NaN or infinite"
                raise FloatingPointError(problem)
        for slots in self.biases:
            for name in self.unit_slots.intersection(slots):
                if not bool(self.backend.xp.isfinite(slots[name]).all()):
                    what = {"bias": "biases", "gate": "gates"}.get(name, name)
                    raise FloatingPointError(f"{what} are NaN or infinite")

    def describe(self, strict: bool = True) -> dict[str, Any]:
        """What a model of this shape is made of, ready for JSON; `strict` as in `registry.describe`."""
        return {
            "kind": self.kind,
            "units": describe(self.units, strict),
            "weights": describe([layer.weights_rule for layer in self.connections], strict),
            "origin": self.origin,
            "seed": self.seed,
            "dtype": str(self.backend.dtype),
        }

    def copy(self, names: set[str] | None = None) -> Self:
        """A twin that can be changed without changing this model; its connections have all slots, or some by name."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.connections = [layer.copy(names) for layer in self.connections]
        twin.biases = [slots.copy() for slots in self.biases]
        return twin

    def adopt(self, other: Self) -> None:
        """Become what `other`, a model of the same units, is: connections, biases, step and epoch."""
        self.connections, self.biases = other.connections, other.biases
        self.step, self.epoch = other.step, other.epoch

    @abstractmethod
    def check_data(self, X: Any) -> Any:
        """`X`, an array or what becomes a `Source`, checked as input: finite, right number of features, right range."""

    def check_known(self, X: Any) -> Any:
        """As `check_data`, with NaN allowed for missing values where the model knows what to make of them."""
        return self.check_data(X)


def resolve_units(given: Units | str) -> Units:
    """Units from an object or a text such as ``"bernoulli(784)"``."""
    units = resolve("unit", given)
    if not isinstance(units, Units):
        raise TypeError(f'{given!r} is no unit type; give e.g. Bernoulli(784) or "bernoulli(784)"')
    return units
