"""An MLP whose hidden layers come from elsewhere, trained already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sparserbm.backends import Backend
from sparserbm.models.mlp import MLP
from sparserbm.network.units import Units
from sparserbm.network.wiring import FromScipy, Wiring


class Part(NamedTuple):
    """A layer of units with the connections that lead to it, on the host."""

    units: Units
    matrix: Any  # scipy.sparse, (n_units, n_units of the layer below); explicit zeros are connections
    weights_rule: Any  # what newborn connections draw from; None where nobody knows
    slots: Mapping[str, np.ndarray]  # of the units: bias, gate and what their type has
    wiring: Any  # text of the rule that drew the first pattern


def parts_of(mlp: MLP) -> list[Part]:
    """The layers of an MLP, the output layer included."""
    return [
        Part(
            units,
            layer.to_scipy(),
            layer.weights_rule,
            {name: array for name, array in slots.to_numpy().items() if name in mlp.unit_slots},
            wiring,
        )
        for units, layer, slots, wiring in zip(
            mlp.units[1:], mlp.connections, mlp.biases, mlp.origin.get("wiring", ["unknown"] * len(mlp.connections))
        )
    ]


def mlp_of_parts(
    inputs: int | Units,
    parts: Sequence[Part],
    output: Units | str | None = None,
    *,
    wiring: Wiring | str = "dense",
    weights: Any = "he_sparse",
    seed: int = 0,
    backend: str | Backend = "auto",
    dtype: str | None = None,
) -> MLP:
    """An MLP of these layers, with copies of their values and nothing else: it is untrained, no connection has an age.

    Parameters
    ----------
    inputs : int or Units
    parts : sequence of Part
        From the input on.
    output : Units or text, optional
        A fresh output layer on top of them; without it the last part is the output.
    wiring, weights : rules or texts
        Of the fresh output layer.
    seed, backend, dtype : as in `MLP`
    """
    fresh = [] if output is None else [(output, wiring, weights)]
    layers = [(part.units, FromScipy(part.matrix), part.weights_rule or "he_sparse") for part in parts] + fresh
    units, wirings, scales = (list(column) for column in zip(*layers))
    gates = any("gate" in part.slots for part in parts)
    kind: dict[str, Any] = {"gates": gates, "seed": seed, "backend": backend, "dtype": dtype}
    mlp = MLP(inputs, *units, wiring=wirings, weights=scales, **kind)
    for slots, part in zip(mlp.biases, parts):
        for name, values in part.slots.items():
            slots[name] = np.asarray(values, dtype=mlp.backend.dtype)
    mlp.origin["wiring"][: len(parts)] = [part.wiring for part in parts]
    return mlp
