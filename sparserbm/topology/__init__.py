"""Measures of the wiring: arrays in, numbers and tables out; nothing here knows a model or a run."""

from sparserbm.topology.degrees import dead_units, degree_image, dispersion, fan_in, fan_out, strength, survival
from sparserbm.topology.distance import LayerDistance, TopologyDistance, distances, nnstd
from sparserbm.topology.zones import (
    LearningIndex,
    central_square,
    concentric_trend,
    learning_index,
    rectangle,
    zone_by_deviation,
)

__all__ = [
    "fan_out",
    "fan_in",
    "strength",
    "survival",
    "degree_image",
    "dispersion",
    "dead_units",
    "nnstd",
    "distances",
    "TopologyDistance",
    "LayerDistance",
    "LearningIndex",
    "learning_index",
    "central_square",
    "rectangle",
    "zone_by_deviation",
    "concentric_trend",
]
