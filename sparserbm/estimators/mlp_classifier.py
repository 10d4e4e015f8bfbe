"""The sparse MLP as a scikit-learn classifier."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from sparserbm.backends import with_kind
from sparserbm.data.weights import weighted
from sparserbm.estimators.mlp import SparseMLP
from sparserbm.network.units import Softmax, Units


class SparseMLPClassifier(ClassifierMixin, SparseMLP):
    """Multi-layer perceptron classifier with sparse, evolving hidden layers.

    The parameters up to `beta_2` are those of scikit-learn's `MLPClassifier`, with its meaning; its `epsilon` (of
    Adam) is here the Erdos-Renyi parameter, and Adam's stays at 1e-8. Its `alpha` is divided by the number of
    samples; `l2` is not. The output layer is dense. float32 data are computed in float32, all others in float64.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
    activation : {"identity", "logistic", "tanh", "relu"} or text
        Or any other type of units, such as ``"leaky_relu(0.1)"``, ``"all_relu(0.6)"``, ``"srelu"``.
    solver : {"sgd", "adam"}
    batch_size : int or "auto"
        ``"auto"`` is ``min(200, n_samples)``.
    learning_rate_init : float, Schedule or text, optional
        A schedule counts mini-batches. None is 0.05 for ``solver="sgd"`` (regressor: 0.002) and 0.005 for Adam:
        connections that live a few epochs must learn faster than scikit-learn's 0.001 lets them.
    max_iter : int
        Epochs. Training to the last of them gives no warning: a network that evolves does not converge.
    shuffle : bool
    random_state : int, RandomState, Generator or None
        One integer is drawn from it at every `fit`; all randomness of the fitted model depends on that alone.
    tol, n_iter_no_change : float, int
        Training ends when the loss has not become better by `tol` for so many epochs.
    verbose : bool or int
        Show progress on standard error.
    momentum, nesterovs_momentum : float, Schedule or text in [0, 1); bool
        Of ``solver="sgd"``.
    early_stopping : bool, EarlyStopping or text
        Hold out `validation_fraction` of the data and judge by them (accuracy, for the regressor loss) instead of by
        the training loss; the model becomes that of the best epoch. A rule may watch another metric of `history_`.
    validation_fraction : float in (0, 1)
    beta_1, beta_2 : float in [0, 1)
        Of ``solver="adam"``.
    epsilon : float, optional
        Erdos-Renyi parameter of the hidden layers: ``epsilon * (n_inputs + n_outputs)`` connections each. Without
        `epsilon`, `density` and `wiring` it is 11, or as much as there is room for.
    density : float in (0, 1], optional
        Connections over places instead; 1.0 is a dense MLP.
    zeta : float, Schedule or text, in [0, 1)
        Share of the connections that ``evolution="set"`` replaces after every epoch; no other value uses it. Where
        epochs have few mini-batches, newborns have little time: replace less, or let them start at 0
        (``evolution="set(birth=zero)"``), or wait longer (`n_iter_no_change`).
    evolution : {"set", "none"}, Evolution, text such as "set(zeta=0.2)", or None
        How connections change; None and "none" keep the first wiring.
    l1, l2 : float, Schedule, text, or a sequence with one of these for each layer
        Strength of an L1 or L2 penalty on the weights, against the mean loss.
    regularization : Penalty, text or a sequence of them, optional
        Further penalties.
    wiring : Wiring, text or a sequence of them, optional
        Another first pattern, in place of `epsilon` and `density`: one for all hidden layers, or one for each matrix
        of connections, that of the output included.
    weights : WeightScale, text or a sequence of them
        Distribution of the first weights.
    start_from : Stack, RBM, list of RBMs, MLP or fitted SparseRBM, optional
        Start every `fit` from a copy of its hidden layers: connections, weights and biases, to which the units, sizes
        and wiring are due then; `weights` is that of the output layer, which is fresh. Only an MLP with the same output
        layer keeps it. Copies that scikit-learn makes (cross-validation) hold a model, but unfit an estimator: give
        ``estimator.model_`` there.
    image_shape : (rows, columns), optional
        Where the features are pixels.
    zone : Zone, text, (n_features,) bool, "auto" or None
        The active zone that the learning index compares with the rest of the inputs.
    backend : {"auto", "numpy", "cupy", "reference"} or Backend
    callbacks : sequence of callables
        Each is called with (model, metrics) after every epoch; a true result ends training.

    Attributes
    ----------
    classes_ : (n_classes,) array
    coefs_ : list of (n_in, n_out) float
        The weights, absent connections 0; made on demand.
    connections_ : list of scipy.sparse.csr_matrix (n_out, n_in)
        The weights of the connections; an explicit zero is a connection.
    intercepts_ : list of (n_out,) float
    topology_ : list of dict
        For every layer ``n_connections, density, fan_out, fan_in, dead_inputs, dead_outputs``; for the first also
        ``zone``, a `LearningIndex`, where there is a zone.
    history_ : dict of (n_iter_ + 1,) arrays
        Metrics, before training and after every epoch.
    loss_ : float
        Mean training loss of the last epoch.
    n_iter_, n_outputs_, n_features_in_, feature_names_in_
        As in scikit-learn; the outputs of a classifier are its classes.
    model_ : MLP
    run_ : Run
        What `sparserbm.plotting` takes.

    Examples
    --------
    >>> import sparserbm as sr
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import scale
    >>> X, y = load_iris(return_X_y=True)
    >>> sr.SparseMLPClassifier(random_state=0, max_iter=50).fit(scale(X), y).score(scale(X), y) > 0.9
    True
    """

    loss = "cross_entropy"
    _watched = "validation_accuracy"
    _rates: ClassVar[dict[str, float]] = {"sgd": 0.05, "adam": 0.005}

    @with_kind
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new model on `X`, (n_samples, n_features), and the labels `y`, (n_samples,), of any type.

        Parameters
        ----------
        X : array, sparse matrix, memory map or BatchSource
            Of other data than arrays only one mini-batch at a time is dense.
        sample_weight : (n_samples,) float of at least 0, optional
            How much each sample counts, relative to the others of this call; samples of weight 0 are left out. For
            classes of unequal size: ``sklearn.utils.compute_sample_weight("balanced", y)``.
        """
        X, y = self._validated(X, y)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        return self._fit(*weighted(X, y, sample_weight))

    @with_kind
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch on `X` and `y`; model and optimizer go on from the calls before.

        A call is an epoch: see `SparseRBM.partial_fit` for what that means for the evolution.

        Parameters
        ----------
        classes : (n_classes,) array
            All labels that will ever come; needed at the first call.
        sample_weight : (n_samples,) float, optional
            As in `fit`.
        """
        self._check_partial()
        fresh = not hasattr(self, "model_")
        if fresh and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        X, y = self._validated(X, y, reset=fresh)
        check_classification_targets(y)
        if fresh:
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(self.classes_, np.unique(classes)):
            raise ValueError(f"classes={classes!r} are not those of the first call to partial_fit: {self.classes_}")
        model, follows = (self._new_model(X), None) if fresh else (self.model_, self.run_)
        return self._learn(model, *weighted(X, y, sample_weight), epochs=1, follows=follows)

    def _targets(self, y: Any) -> np.ndarray:
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y has labels that are not in classes_: {unknown}; name them at the first partial_fit")
        return np.searchsorted(self.classes_, y)

    def _output(self) -> Units:
        return Softmax(len(self.classes_))

    @with_kind
    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of every sample: (n_samples,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    @with_kind
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of the samples whose label is predicted."""
        return super().score(X, y, sample_weight)

    @with_kind
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of every class, in the order of `classes_`: (n_samples, n_classes)."""
        return self._forward(X)

    @with_kind
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`; -inf where that is 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))
