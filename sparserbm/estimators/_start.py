"""What an estimator around an MLP starts from instead of drawn connections: a model that was trained before."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator

from sparserbm.models.mlp import MLP
from sparserbm.models.parts import mlp_of_parts, parts_of
from sparserbm.models.rbm import RBM
from sparserbm.models.stack import Stack
from sparserbm.network.units import Units


def model_to_start_from(given: Any) -> MLP | Stack:
    """The network of what `start_from` may be.

    Raises
    ------
    TypeError
        If it is none of them.
    ValueError
        If it is an estimator that is not fitted, or one that scales its features.
    """
    if isinstance(given, BaseEstimator):
        if not hasattr(given, "model_"):
            raise ValueError(
                f"start_from={type(given).__name__} is not fitted (copies that scikit-learn makes, as in "
                f"cross-validation, never are); give its model: start_from=estimator.model_"
            )
        if getattr(given, "scaler_", None) is not None:
            raise ValueError(
                f"start_from={type(given).__name__} scales its features (scale=True), and this network would see "
                f"others; put a MinMaxScaler before both"
            )
        given = given.model_
    if isinstance(given, (MLP, Stack)):
        return given
    if isinstance(given, RBM):
        return Stack.from_rbms([given])
    if isinstance(given, (list, tuple)):
        return Stack.from_rbms(given)
    raise TypeError(f"start_from={given!r} is not possible; give a Stack, an RBM, a list of RBMs, an MLP or SparseRBM")


def started(source: MLP | Stack, output: Units, *, weights: Any, seed: int, backend: Any, dtype: str | None) -> MLP:
    """An MLP with the hidden layers of `source`; its output layer too, where it is an MLP with the same one."""
    if isinstance(source, Stack):
        return source.to_mlp(output, weights=weights, seed=seed, backend=backend, dtype=dtype)
    parts = parts_of(source)
    fresh = source.output != output
    return mlp_of_parts(
        source.units[0],
        parts[:-1] if fresh else parts,
        output if fresh else None,
        weights=weights,
        seed=seed,
        backend=backend,
        dtype=dtype,
    )
