"""The sparse MLP as a scikit-learn regressor."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import column_or_1d

from sparserbm.backends import with_kind
from sparserbm.data.weights import weighted
from sparserbm.estimators.mlp import SparseMLP
from sparserbm.network.units import Identity, Units


class SparseMLPRegressor(RegressorMixin, SparseMLP):
    """Multi-layer perceptron regressor with sparse, evolving hidden layers and linear outputs.

    Parameters and attributes are those of `SparseMLPClassifier`, without `classes_`; the loss is the mean squared
    error over samples and outputs (twice that of scikit-learn's `MLPRegressor`).

    Attributes
    ----------
    y_mean_, y_scale_ : (n_outputs,) or scalar float
        (Weighted) mean and standard deviation of the targets that `fit` (or the first `partial_fit`) saw. The network
        learns standardised targets: with raw ones, of a size in the hundreds, a gradient step would leave the finite
        numbers. `loss_`, `history_`, `coefs_` and `intercepts_` are those of the network.
    """

    loss = "mse"
    _watched = "validation_loss"
    # A linear output with squared error diverges where a softmax does not; 0.005 fails on unscaled features.
    _rates: ClassVar[dict[str, float]] = {"sgd": 0.002, "adam": 0.005}

    @with_kind
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new model on `X`, (n_samples, n_features), and `y`, (n_samples,) or (n_samples, n_outputs).

        Parameters
        ----------
        X, sample_weight : as in `SparseMLPClassifier.fit`
        """
        X, y = self._validated(X, y, multi_output=True, y_numeric=True)
        X, y, weight = weighted(X, _flat(y), sample_weight)
        self._measure(y, weight)
        return self._fit(X, y, weight)

    @with_kind
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch on `X` and `y`, as in `fit`; model and optimizer go on from the calls before.

        A call is an epoch: see `SparseRBM.partial_fit` for what that means for the evolution.
        """
        self._check_partial()
        fresh = not hasattr(self, "model_")
        X, y = self._validated(X, y, multi_output=True, y_numeric=True, reset=fresh)
        X, y, weight = weighted(X, _flat(y), sample_weight)
        if fresh:
            self._measure(y, weight)
        model, follows = (self._new_model(X), None) if fresh else (self.model_, self.run_)
        return self._learn(model, X, y, weight, epochs=1, follows=follows)

    def _targets(self, y: Any) -> np.ndarray:
        return (y - self.y_mean_) / self.y_scale_

    def _measure(self, y: np.ndarray, weight: np.ndarray | None) -> None:
        if y.dtype.kind not in "fiub":
            raise ValueError(
                f"y has dtype {y.dtype}; a regressor needs real numbers (SparseMLPClassifier takes labels)"
            )
        self._n_targets = 1 if y.ndim == 1 else y.shape[1]
        self.y_mean_ = np.average(y, axis=0, weights=weight)
        spread = y.std(axis=0) if weight is None else np.average((y - self.y_mean_) ** 2, axis=0, weights=weight) ** 0.5
        self.y_scale_ = np.where(spread > 0, spread, 1.0)

    def _output(self) -> Units:
        return Identity(self._n_targets)

    @with_kind
    def predict(self, X: Any) -> np.ndarray:
        """(n_samples,), or (n_samples, n_outputs) where there are several."""
        outputs = self._forward(X)
        outputs = (outputs * self.y_scale_ + self.y_mean_).astype(outputs.dtype)
        return outputs.ravel() if self.n_outputs_ == 1 else outputs

    @with_kind
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R squared of the prediction."""
        return super().score(X, y, sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _flat(y: np.ndarray) -> np.ndarray:
    """One column of targets as (n_samples,)."""
    return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
