"""The sparse MLP as a scikit-learn regressor."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import column_or_1d, validate_data

from sparserbm.backends import with_kind
from sparserbm.estimators.mlp import SparseMLP
from sparserbm.estimators.sparse_estimator import FLOATS
from sparserbm.network.units import Identity, Units


class SparseMLPRegressor(RegressorMixin, SparseMLP):
    """Multi-layer perceptron regressor with sparse, evolving hidden layers and linear outputs.

    Parameters and attributes are those of `SparseMLPClassifier`, without `classes_`; the loss is the mean squared
    error over samples and outputs (twice that of scikit-learn's `MLPRegressor`).

    Attributes
    ----------
    y_mean_, y_scale_ : (n_outputs,) or scalar float
        Mean and standard deviation of the targets that `fit` (or the first `partial_fit`) saw. The network learns
        standardised targets: with raw ones, of a size in the hundreds, a gradient step would leave the finite
        numbers. `loss_`, `history_`, `coefs_` and `intercepts_` are those of the network.
    """

    loss = "mse"
    _watched = "validation_loss"
    # A linear output with squared error diverges where a softmax does not; 0.005 fails on unscaled features.
    _rates: ClassVar[dict[str, float]] = {"sgd": 0.002, "adam": 0.005}

    @with_kind
    def fit(self, X: Any, y: Any) -> Self:
        """Train a new model on `X`, (n_samples, n_features), and `y`, (n_samples,) or (n_samples, n_outputs)."""
        X, y = validate_data(self, X, y, dtype=FLOATS, multi_output=True, y_numeric=True)
        y = self._targets(y)
        self._measure(y)
        return self._fit(X, (y - self.y_mean_) / self.y_scale_)

    @with_kind
    def partial_fit(self, X: Any, y: Any) -> Self:
        """Train for one epoch on `X` and `y`; model and optimizer go on from the calls before.

        A call is an epoch: see `SparseRBM.partial_fit` for what that means for the evolution.
        """
        self._check_partial()
        fresh = not hasattr(self, "model_")
        X, y = validate_data(self, X, y, dtype=FLOATS, multi_output=True, y_numeric=True, reset=fresh)
        y = self._targets(y)
        if fresh:
            self._measure(y)
        y = (y - self.y_mean_) / self.y_scale_
        model, follows = (self._new_model(X), None) if fresh else (self.model_, self.run_)
        return self._learn(model, X, y, epochs=1, follows=follows)

    def _targets(self, y: np.ndarray) -> np.ndarray:
        return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _measure(self, y: np.ndarray) -> None:
        if y.dtype.kind not in "fiub":
            raise ValueError(
                f"y has dtype {y.dtype}; a regressor needs real numbers (SparseMLPClassifier takes labels)"
            )
        self._n_targets = 1 if y.ndim == 1 else y.shape[1]
        spread = y.std(axis=0)
        self.y_mean_, self.y_scale_ = y.mean(axis=0), np.where(spread > 0, spread, 1.0)

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
