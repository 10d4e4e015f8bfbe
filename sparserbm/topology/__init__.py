"""Measures of the wiring: arrays in, numbers and tables out; nothing here knows a model or a run.

Measures that need SciPy are loaded when they are first used: every training asks for the learning index, and should
not wait for them.
"""

import importlib
from typing import TYPE_CHECKING, Any

from sparserbm.topology.degrees import dead_units, degree_image, dispersion, fan_in, fan_out, strength, survival
from sparserbm.topology.significance import (
    Combined,
    GroupDensity,
    PermutationTest,
    Turn,
    combine,
    group_densities,
    holm,
    input_mask,
    turning_point,
    zone_test,
)
from sparserbm.topology.turnover import AgePyramid, Explored, Turnover, WiringHistory, age_pyramid, explored, turnover
from sparserbm.topology.zones import (
    LearningIndex,
    border_distance,
    central_square,
    concentric_trend,
    density_by_distance,
    learning_index,
    mutual_information,
    rectangle,
    zone_by_deviation,
)

if TYPE_CHECKING:
    from sparserbm.topology.distance import LayerDistance, TopologyDistance, distances, nnstd
    from sparserbm.topology.graph import PathLength, giant_component, path_length, square_clustering, squares
    from sparserbm.topology.lifetimes import SurvivalCurve, survival_curve
    from sparserbm.topology.power_laws import LawComparison, PowerLawFit, power_law
    from sparserbm.topology.random_wirings import AgainstNull, against_null, random_wiring

_LATER = {
    "distance": ("nnstd", "distances", "TopologyDistance", "LayerDistance"),
    "graph": ("squares", "square_clustering", "giant_component", "path_length", "PathLength"),
    "lifetimes": ("survival_curve", "SurvivalCurve"),
    "power_laws": ("power_law", "PowerLawFit", "LawComparison"),
    "random_wirings": ("random_wiring", "against_null", "AgainstNull"),
}
_WHERE = {name: module for module, names in _LATER.items() for name in names}

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
    "power_law",
    "PowerLawFit",
    "LawComparison",
    "squares",
    "square_clustering",
    "giant_component",
    "path_length",
    "PathLength",
    "random_wiring",
    "against_null",
    "AgainstNull",
    "WiringHistory",
    "turnover",
    "Turnover",
    "age_pyramid",
    "AgePyramid",
    "explored",
    "Explored",
    "survival_curve",
    "SurvivalCurve",
    "LearningIndex",
    "learning_index",
    "central_square",
    "rectangle",
    "zone_by_deviation",
    "mutual_information",
    "border_distance",
    "density_by_distance",
    "concentric_trend",
    "zone_test",
    "PermutationTest",
    "combine",
    "Combined",
    "turning_point",
    "Turn",
    "group_densities",
    "GroupDensity",
    "input_mask",
    "holm",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
