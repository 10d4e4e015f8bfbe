"""Thin scikit-learn classes over the models and the one training loop."""

from sparserbm.estimators.mlp import SparseMLPClassifier, SparseMLPRegressor
from sparserbm.estimators.rbm import SparseRBM

__all__ = ["SparseMLPClassifier", "SparseMLPRegressor", "SparseRBM"]
