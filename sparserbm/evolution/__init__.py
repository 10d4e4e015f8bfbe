"""How the topology changes while a network trains; nothing here knows which trainer is running."""

from sparserbm.evolution.birth import Birth, Fresh, ZeroBirth
from sparserbm.evolution.drop import Drop, SignedMagnitude
from sparserbm.evolution.engine import SET, Evolution, core_view
from sparserbm.evolution.grow import Grow, RandomGrow
from sparserbm.evolution.plans import RewirePlan

__all__ = [
    "SET",
    "Birth",
    "Drop",
    "Evolution",
    "Fresh",
    "Grow",
    "RandomGrow",
    "RewirePlan",
    "SignedMagnitude",
    "ZeroBirth",
    "core_view",
]
