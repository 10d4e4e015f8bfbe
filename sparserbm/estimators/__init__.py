"""Thin scikit-learn classes over the models and the one training loop."""

from sparserbm.estimators.mlp_classifier import SparseMLPClassifier
from sparserbm.estimators.mlp_regressor import SparseMLPRegressor
from sparserbm.estimators.rbm import SparseRBM

__all__ = ["SparseMLPClassifier", "SparseMLPRegressor", "SparseRBM"]
