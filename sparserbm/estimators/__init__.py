"""Thin scikit-learn classes over the models and the one training loop."""

from sparserbm.estimators.autoencoder import SparseAutoencoder
from sparserbm.estimators.feature_selection import TopologySelector
from sparserbm.estimators.mlp_classifier import SparseMLPClassifier
from sparserbm.estimators.mlp_regressor import SparseMLPRegressor
from sparserbm.estimators.rbm import SparseRBM
from sparserbm.estimators.rbm_classifier import SparseRBMClassifier

__all__ = [
    "SparseAutoencoder",
    "SparseMLPClassifier",
    "SparseMLPRegressor",
    "SparseRBM",
    "SparseRBMClassifier",
    "TopologySelector",
]
