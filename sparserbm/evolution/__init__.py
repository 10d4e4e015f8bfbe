"""How the topology changes while a network trains; nothing here knows which trainer is running."""

from sparserbm.evolution.birth import Birth, Fresh, GradientSign, Newborns, ZeroBirth
from sparserbm.evolution.drop import (
    Drop,
    Largest,
    Magnitude,
    PublishedSET,
    RandomDrop,
    SignedMagnitude,
    Sparing,
    Taylor,
    Threshold,
)
from sparserbm.evolution.engine import SET, Evolution, core_view
from sparserbm.evolution.grow import CosineGrow, GradientGrow, Grow, MomentumGrow, ParentalGrow, RandomGrow
from sparserbm.evolution.plans import RewirePlan

__all__ = [
    "SET",
    "Birth",
    "CosineGrow",
    "Drop",
    "Evolution",
    "Fresh",
    "GradientGrow",
    "GradientSign",
    "Grow",
    "Largest",
    "Magnitude",
    "MomentumGrow",
    "Newborns",
    "ParentalGrow",
    "PublishedSET",
    "RandomDrop",
    "RandomGrow",
    "RewirePlan",
    "SignedMagnitude",
    "Sparing",
    "Taylor",
    "Threshold",
    "ZeroBirth",
    "core_view",
]
