"""Sparse restricted Boltzmann machines and sparse MLPs whose connections evolve while they train.

The public names below are loaded when they are first used: ``import sparserbm`` itself loads only NumPy.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Module -> the public names it defines; reading order.
_PUBLIC = {
    "sparserbm.schedules": (
        "Constant",
        "Linear",
        "Cosine",
        "Cubic",
        "Power",
        "Steps",
        "Rounded",
        "Every",
        "Chance",
        "Window",
    ),
    "sparserbm.runs": ("Run", "load_run"),
    "sparserbm.data": ("Dataset", "load_dataset", "binarise", "BatchSource"),
    "sparserbm.network.units": (
        *("Bernoulli", "Gaussian", "TruncatedGaussian", "Potts", "Mixed"),
        *("ReLU", "LeakyReLU", "AllReLU", "SReLU", "Sigmoid", "Tanh", "Identity", "Softmax"),
    ),
    "sparserbm.network.wiring": ("ErdosRenyi", "ERK", "Dense", "FixedFanIn", "FromScipy", "SideBySide"),
    "sparserbm.network.weights": ("Normal", "HeSparse", "HeDense", "UniformDense", "Zero"),
    "sparserbm.models.rbm": ("RBM",),
    "sparserbm.models.mlp": ("MLP",),
    "sparserbm.models.stack": ("Stack", "transposed", "variational_bound"),
    "sparserbm.models.gates": ("fold_gates",),
    "sparserbm.models.likelihood": (
        *("partition_function", "log_partition", "Partition", "log_likelihood", "mean_log_likelihood", "LogLikelihood"),
        *("pseudo_likelihood", "free_energy_gap", "LikelihoodWarning"),
    ),
    "sparserbm.regularization": ("L1", "L2", "ElasticNet", "SetDecay", "MaxNorm", "Polarization"),
    "sparserbm.evolution": (
        *("SET", "Evolution", "core_view"),
        *("SignedMagnitude", "PublishedSET", "Magnitude", "Threshold", "Taylor", "RandomDrop", "Largest", "Sparing"),
        *("RandomGrow", "GradientGrow", "MomentumGrow", "CosineGrow", "ParentalGrow"),
        *("Fresh", "ZeroBirth", "GradientSign"),
    ),
    "sparserbm.training": (
        *(
            "train",
            "resume",
            "train_stack",
            "resume_stack",
            "StackRun",
            "load_model",
            "CD",
            "Sparsity",
            "Hybrid",
            "Backprop",
            "CrossEntropy",
            "SquaredError",
            "SGD",
            "Adam",
        ),
        *("SumOfSquares", "Masking", "GaussianNoise", "Checkpoint"),
        *(
            "EarlyStopping",
            "DivergenceError",
            "EfficiencyWarning",
            "OutOfMemoryError",
            "Central",
            "Rectangle",
            "Deviation",
            "Information",
            "Columns",
        ),
    ),
    "sparserbm.recipes": ("Recipe",),
    "sparserbm.evaluation": ("evaluate", "Evaluation"),
    "sparserbm.presets": ("preset", "known_presets"),
    "sparserbm.studies": ("study",),
    "sparserbm.estimators": (
        *(
            "SparseRBM",
            "SparseRBMClassifier",
            "SparseAutoencoder",
            "SparseMLPClassifier",
            "SparseMLPRegressor",
            "TopologySelector",
        ),
    ),
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
