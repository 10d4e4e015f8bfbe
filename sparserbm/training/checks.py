"""What is checked before a run begins, so that nothing is written for a run that cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparserbm.data import Dataset
from sparserbm.evolution.engine import Evolution
from sparserbm.models.base import Model
from sparserbm.runs import Run
from sparserbm.training.algorithm import Algorithm
from sparserbm.training.callbacks import EarlyStopping
from sparserbm.training.optimizers import Optimizer


def check_counts(**counts: int) -> None:
    """Epochs, batch sizes and the like: integers of at least 1."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
            raise ValueError(f"{name}={count!r} is not possible; use an integer of at least 1")


_KINDS = {"algorithm": Algorithm, "optimizer": Optimizer, "evolution": Evolution, "early_stopping": EarlyStopping}


def check_kinds(rules: dict[str, Any]) -> None:
    """Every rule is of its kind, or None."""
    for name, kind in _KINDS.items():
        if rules[name] is not None and not isinstance(rules[name], kind):
            raise TypeError(f"{name}={rules[name]!r} is not possible; give a {kind.__name__} or its text")


def check_follows(follows: Run | None, model: Model) -> None:
    """A run to go on from trained this model, and nothing else since."""
    if follows is not None and (follows.model is not model or not follows.carry):
        raise ValueError("follows must be the run that trained this very model last; leave it out for a fresh start")


def check_data(model: Model, algorithm: Algorithm, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Data and targets as model and algorithm want them."""
    X = model.check_data(X)
    y = algorithm.check(model, y)
    if y is not None and len(y) != len(X):
        raise ValueError(f"X has {len(X)} samples but y has {len(y)}; give one target for each sample")
    return X, y


def validation_data(model: Model, algorithm: Algorithm, given: Any) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Validation data as (X, y): the test set of a data set, a tuple, or X alone; None stays None."""
    if given is None:
        return None
    if isinstance(given, Dataset):
        if given.X_test is None:
            raise ValueError(f"data set {given.name} has no test set to validate with; pass validation=(X, y)")
        given = (given.X_test, given.y_test)
    X, y = given if isinstance(given, tuple) else (given, None)
    return check_data(model, algorithm, X, y)


def check_stopping(stopping: EarlyStopping | None, validation: Any) -> None:
    """Early stopping has something to watch."""
    if stopping is not None and validation is None and "validation" in stopping.metric:
        raise ValueError(f"early stopping watches {stopping.metric!r}: pass validation=(X, y), or another metric")


def check_shape(image_shape: Any, n_features: int) -> None:
    """The image has as many pixels as there are features."""
    if image_shape is not None and (len(image_shape) != 2 or int(np.prod(image_shape)) != n_features):
        raise ValueError(f"image_shape={tuple(image_shape)} does not have the {n_features} pixels that X has features")
