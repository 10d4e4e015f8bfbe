"""What is checked before a run begins, so that nothing is written for a run that cannot be."""

from __future__ import annotations

import difflib
import warnings
from typing import Any

import numpy as np

from sparserbm.data import Dataset
from sparserbm.data.weights import weighted
from sparserbm.models.base import Model
from sparserbm.regularization import Penalty, Polarization
from sparserbm.runs import Run
from sparserbm.training.algorithm import Algorithm
from sparserbm.training.callbacks import EarlyStopping
from sparserbm.training.errors import EfficiencyWarning


def check_counts(**counts: Any) -> dict[str, int]:
    """Epochs, batch sizes and the like, as integers of at least 1."""
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
            raise ValueError(f"{name}={count!r} is not possible; use an integer of at least 1")
    return {name: int(count) for name, count in counts.items()}


def check_callbacks(callbacks: Any) -> None:
    """A sequence of functions."""
    if not isinstance(callbacks, (list, tuple)) or not all(callable(callback) for callback in callbacks):
        raise TypeError(f"callbacks={callbacks!r} is not possible; give a list of functions of (model, metrics)")


def check_strengths(penalties: tuple[Penalty, ...], model: Model) -> None:
    """Where a penalty has one strength for each layer, there are as many as layers; polarization finds gates."""
    for penalty in penalties:
        if isinstance(penalty, Polarization) and not any("gate" in slots for slots in model.biases):
            raise ValueError("polarization acts on gates, and this model has none; make it with gates=True")
        for strength in vars(penalty).values():
            if isinstance(strength, tuple) and len(strength) != len(model.connections):
                raise ValueError(
                    f"{penalty} has {len(strength)} strengths for {len(model.connections)} matrices of connections; "
                    f"give one, or one for each"
                )


def check_follows(follows: Run | None, model: Model) -> None:
    """A run to go on from trained this model, and nothing else since."""
    if follows is None:
        return
    if follows.model is not model or follows.carry.get("step") != model.step:
        raise ValueError("follows must be the run that trained this very model last; leave it out for a fresh start")


def check_data(model: Model, algorithm: Algorithm, X: Any, y: Any) -> tuple[Any, np.ndarray | None]:
    """Data and targets as model and algorithm want them."""
    X = model.check_known(X) if algorithm.takes_missing else model.check_data(X)
    largest = float(np.finfo(model.backend.dtype).max)
    wider = X.dtype.kind == "f" and X.dtype.itemsize > model.backend.dtype.itemsize
    if wider and max(X.max(), -X.min()) > largest:
        raise ValueError(
            f"X has values beyond {largest:.3g}, the largest number of {model.backend.dtype}; scale the data"
        )
    y = algorithm.check(model, y)
    if y is not None and len(y) != len(X):
        raise ValueError(f"X has {len(X)} samples but y has {len(y)}; give one target for each sample")
    return X, y


def validation_data(model: Model, algorithm: Algorithm, given: Any) -> tuple[Any, ...] | None:
    """Validation data as (X, y): the test set of a data set, a tuple, or X alone; None stays None.

    A third entry, the weights of the samples, stays where they make a difference.
    """
    if given is None:
        return None
    if isinstance(given, Dataset):
        if given.X_test is None:
            raise ValueError(f"data set {given.name} has no test set to validate with; pass validation=(X, y)")
        given = (given.X_test, given.y_test)
    X, y, *weight = given if isinstance(given, (tuple, list)) and len(given) in (2, 3) else (given, None)
    try:
        X, y, found = weighted(*check_data(model, algorithm, X, y), *(weight or [None]))
        return (X, y) if found is None else (X, y, found)
    except ValueError as error:
        raise ValueError(f"validation data: {error}") from None


# Measured on two cores (docs/speed.md): the density from which on a BLAS is faster was 16 to 53 %, depending on layer
# and batch, so above this one it always was. Layers with fewer places take no time either way.
BREAK_EVEN = 0.55
LARGE_LAYER = 200_000


def warn_if_dense(model: Model) -> None:
    """Warn, once, of layers that would be faster in a library for dense networks."""
    all_is_fast = model.backend.dense_when_full
    dense = [
        f"{layer.n_pre} x {layer.n_post} ({layer.density:.0%})"
        for layer in model.connections
        if layer.density > BREAK_EVEN and layer.pattern.n_places >= LARGE_LAYER
        if not (layer.density == 1 and all_is_fast)
    ]
    if dense:
        warnings.warn(
            f"layer {', '.join(dense)} is denser than {BREAK_EVEN:.0%}: from there on a library for dense networks is "
            f"faster; a smaller epsilon or density makes sparse training pay"
            + (", and a layer with all connections (wiring 'dense') has dense products too" if all_is_fast else ""),
            EfficiencyWarning,
            stacklevel=3,
        )


METRICS = (
    *("loss", "accuracy", "validation_loss", "validation_accuracy", "core_validation_loss", "core_validation_accuracy"),
    *("free_energy_gap", "pseudo_likelihood"),
)
NEED_VALIDATION = ("validation_", "core_validation_", "free_energy_gap", "pseudo_likelihood")


def check_stopping(stopping: EarlyStopping | None, validation: Any) -> None:
    """Early stopping has something to watch."""
    if stopping is not None and stopping.metric not in METRICS:
        close = difflib.get_close_matches(stopping.metric, METRICS, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(f"no epoch has the metric {stopping.metric!r}{hint}; known: {', '.join(METRICS)}")
    if stopping is not None and validation is None and stopping.metric.startswith(NEED_VALIDATION):
        raise ValueError(f"early stopping watches {stopping.metric!r}: pass validation=(X, y), or another metric")


def check_shape(image_shape: Any, n_features: int) -> list[int] | None:
    """(rows, columns) as a list, with as many pixels as there are features."""
    if image_shape is None:
        return None
    shape = [int(side) for side in image_shape]
    if len(shape) != 2 or shape[0] * shape[1] != n_features:
        raise ValueError(f"image_shape={tuple(shape)} does not have the {n_features} pixels that X has features")
    return shape
