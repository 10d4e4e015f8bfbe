"""Gates made into weights."""

from __future__ import annotations

from typing import TypeVar

from sparserbm.models.base import Model
from sparserbm.models.rbm import RBM

M = TypeVar("M", bound=Model)


def fold_gates(model: M) -> M:
    """A twin without gates that computes the same: they are multiplied into the weights, and the twin is not gated.

    An RBM's gates go into the weights of their own units, an MLP's into those of the next layer. Results are the same
    within rounding; those of an MLP whose gates are 0 or 1, to the bit. The twin has no optimizer state; `model` stays
    as it is. A model without gates gives a copy.
    """
    twin = model.copy({"weight", "born"})
    for number, slots in enumerate(twin.biases):
        if "gate" in slots:
            # An MLP's biases are those of post units, whose activity the next layer sees; an RBM has one matrix.
            layer = twin.connections[0 if isinstance(model, RBM) else number + 1]
            index = layer.pattern.post if isinstance(model, RBM) else layer.pattern.pre
            layer.slots["weight"] = layer.weight * slots["gate"][model.backend.asarray(index)]
        slots.keep_only(twin.unit_slots - {"gate"})
    twin.origin = {key: value for key, value in model.origin.items() if key != "gates"}
    return twin
