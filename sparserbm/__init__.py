"""Sparse restricted Boltzmann machines and sparse MLPs whose connections evolve while they train.

The public names below are loaded when they are first used: ``import sparserbm`` itself loads only NumPy.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Module -> the public names it defines; reading order.
_PUBLIC = {
    "sparserbm.schedules": ("Constant", "Linear", "Cosine", "Cubic", "Power", "Steps", "Every", "Chance", "Window"),
    "sparserbm.runs": ("Run", "load_run"),
    "sparserbm.data": ("Dataset", "load_dataset"),
    "sparserbm.network.units": (
        *("Bernoulli", "Gaussian", "ReLU", "LeakyReLU", "AllReLU", "SReLU", "Sigmoid", "Tanh", "Identity", "Softmax"),
    ),
    "sparserbm.network.wiring": ("ErdosRenyi", "ERK", "Dense", "FixedFanIn", "FromScipy"),
    "sparserbm.network.weights": ("Normal", "HeSparse", "HeDense", "UniformDense", "Zero"),
    "sparserbm.models.rbm": ("RBM",),
    "sparserbm.models.mlp": ("MLP",),
    "sparserbm.models.gates": ("fold_gates",),
    "sparserbm.models.likelihood": ("log_partition", "log_likelihood", "pseudo_likelihood"),
    "sparserbm.regularization": ("L1", "L2", "ElasticNet", "SetDecay", "MaxNorm", "Polarization"),
    "sparserbm.evolution": (
        *("SET", "Evolution", "core_view"),
        *("SignedMagnitude", "PublishedSET", "Magnitude", "Threshold", "Taylor", "RandomDrop", "Largest"),
        *("RandomGrow", "GradientGrow", "MomentumGrow", "CosineGrow", "ParentalGrow"),
        *("Fresh", "ZeroBirth", "GradientSign"),
    ),
    "sparserbm.training": (
        *("train", "resume", "load_model", "CD", "Backprop", "CrossEntropy", "SquaredError", "SGD", "Adam"),
        *(
            "EarlyStopping",
            "DivergenceError",
            "EfficiencyWarning",
            "OutOfMemoryError",
            "Central",
            "Rectangle",
            "Deviation",
        ),
    ),
    "sparserbm.recipes": ("Recipe",),
    "sparserbm.presets": ("preset", "known_presets"),
    "sparserbm.studies": ("study",),
    "sparserbm.estimators": ("SparseRBM", "SparseMLPClassifier", "SparseMLPRegressor"),
}
_MODULES = ("registry", "topology", "plotting")
_WHERE = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = ["__version__", *_WHERE, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(importlib.import_module(_WHERE[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"sparserbm.{name}")
    else:
        raise AttributeError(f"module 'sparserbm' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
