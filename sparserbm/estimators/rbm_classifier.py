"""A sparse RBM over features and class as a scikit-learn classifier."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from sparserbm.backends import with_kind
from sparserbm.data.batches import blocks
from sparserbm.data.sources import ReadSource, Samples, Source
from sparserbm.data.weights import weighted
from sparserbm.estimators.rbm import seed_of_draw, units_of
from sparserbm.estimators.sparse_estimator import SparseEstimator, check_epochs, fitted, float_type, scaled
from sparserbm.evolution import Evolution, Sparing
from sparserbm.models.rbm import RBM
from sparserbm.network.units import Mixed, Potts
from sparserbm.network.wiring import Dense, SideBySide
from sparserbm.registry import resolve
from sparserbm.training import CD, SGD, Hybrid
from sparserbm.training.hybrid import ClassProbabilities


class SparseRBMClassifier(ClassifierMixin, SparseEstimator):
    """Restricted Boltzmann machine over features and class (Larochelle and Bengio 2008; Larochelle et al. 2012).

    The visible units are those of the features and one group of Potts units for the classes; both are joined to the
    same hidden units. Given features, the probabilities of the classes are exact: hidden units are summed by formula
    for every class.

    Connections of features are sparse and evolve, and `zeta` is a share of them. Those of the classes are all there and
    stay: where they may go, those of rare classes go first (`Sparing`).

    Parameters
    ----------
    n_components : int
        Hidden units.
    learning_rate : float, Schedule or text
    batch_size : int
    n_iter : int
        Epochs.
    verbose : bool or int
        Show progress on standard error.
    random_state : int, RandomState, Generator or None
        One integer is drawn from it at every `fit`; all randomness of the fitted model depends on that alone.
    epsilon, density, wiring
        The first connections of the features, as in `SparseRBM`.
    zeta, evolution
        As in `SparseRBM`.
    algorithm : Hybrid, CD or text
        ``"hybrid(0.1)"`` minimises ``-log p(y | x) - 0.1 log p(x, y)``, ``"hybrid(0.0)"`` the first term alone,
        ``"cd(k=5)"`` the second one (generative: classes are visible units like others; use a smaller learning rate,
        0.1, and perhaps ``"cd(centred=True)"``). The more generative, the more its samples are worth.
    visible, hidden : text or Units
        Of the features, and of the components: as in `SparseRBM`.
    l1, l2, momentum, regularization
        As in `SparseRBM`.
    scale : bool
        Scale every feature to [0, 1] first, by its range in the training data; values beyond it are clipped.
    backend : {"auto", "numpy", "cupy", "reference"} or Backend
    callbacks : sequence of callables
        Each is called with (model, metrics) after every epoch; a true result ends training.

    Attributes
    ----------
    classes_ : (n_classes,)
    components_, class_components_ : (n_components, n_features) and (n_components, n_classes)
        The weights, absent connections 0; made on demand.
    connections_ : scipy.sparse.csr_matrix (n_components, n_features + n_classes)
    history_, topology_, n_iter_, n_features_in_, feature_names_in_, scaler_, run_
        As in `SparseRBM`; `fan_out` of `topology_` has the features first, then the classes.
    model_ : RBM
        Over features and classes.

    Notes
    -----
    ``p(y | x)`` is proportional to ``exp(-F(x, y))``, the free energy with the class y clamped.

    Examples
    --------
    >>> import sparserbm as sr
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = sr.SparseRBMClassifier(100, n_iter=20, random_state=0).fit(X / 16, y)
    >>> model.sample(3, sweeps=50).shape
    (1, 64)
    """

    model_: RBM
    scaler_: MinMaxScaler | None
    # Images and zones are those of all visible units, which here are classes too.
    image_shape = zone = None

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: Any = 0.5,
        batch_size: int = 10,
        n_iter: int = 50,
        verbose: bool | int = 0,
        random_state: Any = None,
        epsilon: float | None = None,
        density: float | None = None,
        zeta: Any = 0.3,
        evolution: Any = "set",
        algorithm: Any = "hybrid(0.1)",
        visible: Any = "bernoulli",
        hidden: Any = "bernoulli",
        l1: Any = 0.0,
        l2: Any = 0.0,
        momentum: Any = 0.0,
        regularization: Any = None,
        wiring: Any = None,
        scale: bool = False,
        backend: Any = "auto",
        callbacks: Any = (),
    ):
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state
        self.epsilon = epsilon
        self.density = density
        self.zeta = zeta
        self.evolution = evolution
        self.algorithm = algorithm
        self.visible = visible
        self.hidden = hidden
        self.l1 = l1
        self.l2 = l2
        self.momentum = momentum
        self.regularization = regularization
        self.wiring = wiring
        self.scale = scale
        self.backend = backend
        self.callbacks = callbacks

    # -- training ------------------------------------------------------------------------------------------------

    @with_kind
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new model on `X`, (n_samples, n_features), and the labels `y`, (n_samples,), for `n_iter` epochs.

        Parameters
        ----------
        X : array, sparse matrix, memory map or BatchSource
        y : (n_samples,)
            Of any type, at least two classes.
        sample_weight : (n_samples,) float of at least 0, optional
            How much each sample counts, relative to the others of this call; samples of weight 0 are left out.
        """
        check_epochs("n_iter", self.n_iter)
        X, y = self._validated(X, y)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        return self._learn(X, y, sample_weight, epochs=self.n_iter, fresh=True)

    @with_kind
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch on `X` and `y`; model and optimizer go on from the calls before.

        A call is an epoch: see `SparseRBM.partial_fit` for what that means for the evolution.

        Parameters
        ----------
        classes : (n_classes,) array
            All labels that will ever come; needed at the first call.
        """
        fresh = not hasattr(self, "model_")
        if fresh and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        X, y = self._validated(X, y, reset=fresh)
        self._check_partial()
        check_classification_targets(y)
        if fresh:
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(self.classes_, np.unique(classes)):
            raise ValueError(f"classes={classes!r} are not those of the first call to partial_fit: {self.classes_}")
        return self._learn(X, y, sample_weight, epochs=1, fresh=fresh)

    def _learn(self, X: Any, y: Any, sample_weight: Any, epochs: int, fresh: bool) -> Self:
        if len(self.classes_) < 2:
            raise ValueError(
                f"y has one class ({self.classes_[0]!r}); a classifier needs samples of at least 2 classes"
            )
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y has labels that are not in classes_: {unknown}; name them at the first partial_fit")
        X, y, weight = weighted(X, y, sample_weight)
        if fresh:
            self.scaler_ = fitted(MinMaxScaler(clip=True), X) if self.scale else None
            model, self._n_draws = self._new_model(X), 0
        else:
            model = self.model_
        algorithm = resolve("algorithm", self.algorithm)
        if not isinstance(algorithm, (CD, Hybrid)):
            raise ValueError(
                f'algorithm={self.algorithm!r} does not train an RBM; give e.g. "hybrid(0.1)" or "cd(k=5)"'
            )
        self._train(
            model,
            self._with_classes(scaled(self.scaler_, X), np.searchsorted(self.classes_, y)),
            algorithm,
            SGD(self.learning_rate, momentum=self.momentum),
            follows=None if fresh else self.run_,
            epochs=epochs,
            batch_size=self.batch_size,
            seen={"X": X, "y": y},
            sample_weight=weight,
        )
        return self

    def _new_model(self, X: Samples) -> RBM:
        n, n_classes = X.shape[1], len(self.classes_)
        visible, hidden = units_of("visible", self.visible, n), units_of("hidden", self.hidden, self.n_components)
        parts = visible.parts if isinstance(visible, Mixed) else (visible,)
        wiring = SideBySide((self._wiring(), Dense()), (n, n_classes))
        units = Mixed((*parts, Potts(n_classes)))
        return RBM(units, hidden, wiring=wiring, seed=self._seed(), backend=self.backend, dtype=self._dtype(X))

    def _evolution(self) -> Evolution | None:
        """As it was asked for, but sparing the connections of the classes."""
        rules = super()._evolution()
        return None if rules is None else replace(rules, drop=Sparing(self.n_features_in_, rules.drop))

    def _with_classes(self, X: Samples, numbers: np.ndarray) -> Samples:
        """Features, then one column a class."""
        n_classes = len(self.classes_)
        if isinstance(X, Source):
            return ReadSource(functools.partial(_rows, X, numbers, n_classes), len(X), X.n_features + n_classes)
        return np.hstack([X, _one_hot(numbers, n_classes, X.dtype)])

    # -- what the model says of data -----------------------------------------------------------------------------

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
        """``p(y | x)`` of every class, exact, in the order of `classes_`: (n_samples, n_classes)."""
        check_is_fitted(self)
        X, model = scaled(self.scaler_, self._validated(X, reset=False)), self.model_
        backend, chances = model.backend, ClassProbabilities(model)
        out = np.empty((len(X), len(self.classes_)), dtype=float_type(X))
        for part, x in blocks(backend, X, model.widest):
            v = backend.zeros((model.visible.n, x.shape[1]))
            v[: self.n_features_in_] = x
            out[part] = backend.to_numpy(chances.of(model, chances.features(model, v))).T
        return out

    @with_kind
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`; -inf where that is 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    # -- draws ---------------------------------------------------------------------------------------------------

    def sample(
        self,
        label: Any,
        n_samples: int = 1,
        *,
        sweeps: int = 1000,
        random_state: int | None = None,
        temperatures: Any = None,
    ) -> np.ndarray:
        """Features drawn from the model given a class: (n_samples, n_features).

        Parameters
        ----------
        label : one of `classes_`
        n_samples : int
        sweeps : int
            Of Gibbs sampling with the class held, from random states.
        random_state : int, optional
            The same integer gives the same samples; without it every call draws anew.
        temperatures : int or array, optional
            Of parallel tempering; see `RBM.sample`.
        """
        check_is_fitted(self)
        found = np.flatnonzero(self.classes_ == label)
        if not len(found):
            raise ValueError(f"label={label!r} is not in classes_: {self.classes_}")
        if random_state is None:
            self._n_draws += 1
            random_state = seed_of_draw(self.model_, self._n_draws)
        clamp = np.full(self.model_.n_features, np.nan)
        clamp[self.n_features_in_ :] = _one_hot(found[:1], len(self.classes_), clamp.dtype)[0]
        drawn = self.model_.sample(n_samples, sweeps=sweeps, seed=random_state, clamp=clamp, temperatures=temperatures)[
            :, : self.n_features_in_
        ]
        return drawn if self.scaler_ is None else self.scaler_.inverse_transform(drawn)

    @property
    def components_(self) -> np.ndarray:
        return self.model_.matrix.to_dense()[:, : self.n_features_in_]

    @property
    def class_components_(self) -> np.ndarray:
        return self.model_.matrix.to_dense()[:, self.n_features_in_ :]

    @property
    def connections_(self) -> Any:
        return self.model_.matrix.to_scipy()

    @property
    def topology_(self) -> dict[str, Any]:
        return self._layer_topology(0)


def _one_hot(numbers: np.ndarray, n_classes: int, dtype: Any) -> np.ndarray:
    return (numbers[:, None] == np.arange(n_classes)).astype(dtype)


def _rows(X: Source, numbers: np.ndarray, n_classes: int, index: np.ndarray) -> np.ndarray:
    """Some samples of a source with their classes; a function of the module, so that it can be pickled."""
    rows = X.rows(index)
    kind = rows.dtype if rows.dtype.kind == "f" else np.dtype(np.float64)
    return np.hstack([rows.astype(kind, copy=False), _one_hot(numbers[index], n_classes, kind)])
