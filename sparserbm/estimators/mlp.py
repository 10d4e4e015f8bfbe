"""The sparse MLP as a scikit-learn classifier and regressor."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from sparserbm.estimators.sparse_estimator import FLOATS, SparseEstimator, check_epochs, dtype_of
from sparserbm.models.mlp import MLP
from sparserbm.network.units import Identity, ReLU, Sigmoid, Softmax, Tanh, Units
from sparserbm.training import SGD, Adam, Backprop, EarlyStopping
from sparserbm.training.optimizers import Optimizer

# scikit-learn's names of the activations
ACTIVATIONS: dict[str, type[Units]] = {"identity": Identity, "logistic": Sigmoid, "tanh": Tanh, "relu": ReLU}


class SparseMLP(SparseEstimator):
    """What the classifier and the regressor share; their targets and output layers differ."""

    model_: MLP

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "sgd",
        batch_size: int | str = "auto",
        learning_rate_init: Any = 0.02,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        n_iter_no_change: int = 10,
        verbose: bool | int = False,
        momentum: Any = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = None,
        density: float | None = None,
        zeta: Any = 0.3,
        evolution: Any = "set",
        l1: Any = 0.0,
        l2: Any = 0.0,
        regularization: Any = None,
        wiring: Any = None,
        weights: Any = "he_sparse",
        image_shape: tuple[int, int] | None = None,
        zone: Any = "auto",
        backend: Any = "auto",
        callbacks: Any = (),
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.verbose = verbose
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.density = density
        self.zeta = zeta
        self.evolution = evolution
        self.l1 = l1
        self.l2 = l2
        self.regularization = regularization
        self.wiring = wiring
        self.weights = weights
        self.image_shape = image_shape
        self.zone = zone
        self.backend = backend
        self.callbacks = callbacks

    # -- what differs --------------------------------------------------------------------------------------------

    loss: str  # of `Backprop`
    _watched: str  # metric of early stopping

    @abstractmethod
    def _targets(self, y: np.ndarray) -> np.ndarray:
        """`y` as the loss wants it."""

    @abstractmethod
    def _output(self) -> Units:
        """The output layer."""

    # -- training ------------------------------------------------------------------------------------------------

    def _fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Train a new model for up to `max_iter` epochs; `y` as from `_targets`."""
        check_epochs("max_iter", self.max_iter)
        model = self._new_model(X)
        stopping: dict[str, Any]
        if self.early_stopping:
            # Both parts must hold every class, as in MLPClassifier.
            X, X_held, y, y_held = train_test_split(
                X,
                y,
                test_size=self.validation_fraction,
                random_state=model.seed,
                stratify=y if isinstance(model.output, Softmax) else None,
            )
            rule = EarlyStopping(self.n_iter_no_change, self._watched, self.tol)
            stopping = {"validation": (X_held, y_held), "early_stopping": rule}
        else:
            stopping = {"callbacks": (_plateau(self.n_iter_no_change, self.tol),)}
        return self._learn(model, X, y, epochs=self.max_iter, **stopping)

    def _new_model(self, X: np.ndarray) -> MLP:
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {self.activation!r}; known: {', '.join(ACTIVATIONS)}")
        sizes = self.hidden_layer_sizes
        sizes = (sizes,) if isinstance(sizes, Integral) else tuple(sizes)
        return MLP(
            X.shape[1],
            *(ACTIVATIONS[self.activation](size) for size in sizes),
            self._output(),
            wiring=self._wiring(),
            weights=self.weights,
            seed=self._seed(),
            backend=self.backend,
            dtype=dtype_of(X),
        )

    def _learn(self, model: MLP, X: np.ndarray, y: np.ndarray, **settings: Any) -> Self:
        batch_size = min(200, len(X)) if isinstance(self.batch_size, str) else self.batch_size
        if isinstance(self.batch_size, str) and self.batch_size != "auto":
            raise ValueError(f'batch_size={self.batch_size!r} is not possible; use an integer or "auto"')
        algorithm, optimizer = Backprop(self.loss), self._optimizer()
        self._train(
            model, X, algorithm, optimizer, y=y, batch_size=batch_size, shuffle=bool(self.shuffle), **settings
        )
        self.n_outputs_ = model.output.n
        return self

    def _optimizer(self) -> Optimizer:
        if self.solver == "sgd":
            return SGD(self.learning_rate_init, momentum=self.momentum, nesterov=self.nesterovs_momentum)
        if self.solver == "adam":
            return Adam(self.learning_rate_init, beta1=self.beta_1, beta2=self.beta_2)
        raise ValueError(f"unknown solver {self.solver!r}; known: sgd, adam")

    # -- the trained model ---------------------------------------------------------------------------------------

    def _forward(self, X: Any) -> np.ndarray:
        """Activities of the output layer, (n_samples, n_outputs), in the number type of X."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=FLOATS, reset=False)
        return self.model_.predict(X).astype(X.dtype, copy=False)

    @property
    def coefs_(self) -> list[np.ndarray]:
        return [layer.to_dense().T for layer in self.model_.connections]

    @property
    def connections_(self) -> list[Any]:
        return [layer.to_scipy() for layer in self.model_.connections]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        return [self.model_.backend.to_numpy(slots["bias"]) for slots in self.model_.biases]

    @property
    def topology_(self) -> list[dict[str, Any]]:
        return [self._layer_topology(number) for number in range(len(self.model_.connections))]

    @property
    def loss_(self) -> float:
        return self.run_.metrics[-1]["loss"]


class SparseMLPClassifier(ClassifierMixin, SparseMLP):
    """Multi-layer perceptron classifier with sparse, evolving hidden layers.

    The parameters up to `beta_2` are those of scikit-learn's `MLPClassifier`, with its meaning; its `epsilon` (of
    Adam) is here the Erdos-Renyi parameter, and Adam's stays at 1e-8. Its `alpha` is divided by the number of
    samples; `l2` is not. The output layer is dense. float32 data are computed in float32, all others in float64.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
    activation : {"identity", "logistic", "tanh", "relu"}
    solver : {"sgd", "adam"}
    batch_size : int or "auto"
        ``"auto"`` is ``min(200, n_samples)``.
    learning_rate_init : float, Schedule or text
        A schedule counts mini-batches. For Adam take a tenth of the default.
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
    early_stopping : bool
        Hold out `validation_fraction` of the data and judge by them (accuracy, for the regressor loss) instead of by
        the training loss; the model becomes that of the best epoch.
    validation_fraction : float in (0, 1)
    beta_1, beta_2 : float in [0, 1)
        Of ``solver="adam"``.
    epsilon : float, optional
        Erdos-Renyi parameter of the hidden layers: ``epsilon * (n_inputs + n_outputs)`` connections each. Without
        `epsilon`, `density` and `wiring` it is 11, or as much as there is room for.
    density : float in (0, 1], optional
        Connections over places instead; 1.0 is a dense MLP.
    zeta : float, Schedule or text, in [0, 1)
        Share of the connections that ``evolution="set"`` replaces after every epoch; no other value uses it.
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
    image_shape : (rows, columns), optional
        Where the features are pixels.
    zone : Zone, text, (n_features,) bool, "auto" or None
        The active zone that the learning index compares with the rest of the inputs.
    backend : {"auto", "numpy", "reference"} or Backend
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

    def fit(self, X: Any, y: Any) -> Self:
        """Train a new model on `X`, (n_samples, n_features), and the labels `y`, (n_samples,), of any type."""
        X, y = validate_data(self, X, y, dtype=FLOATS)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        return self._fit(X, self._targets(y))

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
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
        X, y = validate_data(self, X, y, dtype=FLOATS, reset=fresh)
        check_classification_targets(y)
        if fresh:
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(self.classes_, np.unique(classes)):
            raise ValueError(f"classes={classes!r} are not those of the first call to partial_fit: {self.classes_}")
        model, follows = (self._new_model(X), None) if fresh else (self.model_, self.run_)
        return self._learn(model, X, self._targets(y), epochs=1, follows=follows)

    def _targets(self, y: np.ndarray) -> np.ndarray:
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y has labels that are not in classes_: {unknown}; name them at the first partial_fit")
        return np.searchsorted(self.classes_, y)

    def _output(self) -> Units:
        return Softmax(len(self.classes_))

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label of every sample: (n_samples,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of every class, in the order of `classes_`: (n_samples, n_classes)."""
        return self._forward(X)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`; -inf where that is 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))


class SparseMLPRegressor(RegressorMixin, SparseMLP):
    """Multi-layer perceptron regressor with sparse, evolving hidden layers and linear outputs.

    Parameters and attributes are those of `SparseMLPClassifier`, without `classes_`; the loss is the mean squared
    error over samples and outputs (twice that of scikit-learn's `MLPRegressor`). Targets are best scaled to a
    standard deviation near 1.
    """

    loss = "mse"
    _watched = "validation_loss"

    def fit(self, X: Any, y: Any) -> Self:
        """Train a new model on `X`, (n_samples, n_features), and `y`, (n_samples,) or (n_samples, n_outputs)."""
        X, y = validate_data(self, X, y, dtype=FLOATS, multi_output=True, y_numeric=True)
        y = self._targets(y)
        self._n_targets = 1 if y.ndim == 1 else y.shape[1]
        return self._fit(X, y)

    def partial_fit(self, X: Any, y: Any) -> Self:
        """Train for one epoch on `X` and `y`; model and optimizer go on from the calls before.

        A call is an epoch: see `SparseRBM.partial_fit` for what that means for the evolution.
        """
        fresh = not hasattr(self, "model_")
        X, y = validate_data(self, X, y, dtype=FLOATS, multi_output=True, y_numeric=True, reset=fresh)
        y = self._targets(y)
        if fresh:
            self._n_targets = 1 if y.ndim == 1 else y.shape[1]
        model, follows = (self._new_model(X), None) if fresh else (self.model_, self.run_)
        return self._learn(model, X, y, epochs=1, follows=follows)

    def _targets(self, y: np.ndarray) -> np.ndarray:
        return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _output(self) -> Units:
        return Identity(self._n_targets)

    def predict(self, X: Any) -> np.ndarray:
        """(n_samples,), or (n_samples, n_outputs) where there are several."""
        outputs = self._forward(X)
        return outputs.ravel() if self.n_outputs_ == 1 else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _plateau(patience: int, tol: float) -> Callable[[Any, dict[str, Any]], bool]:
    """A callback that ends training when the training loss stays where it is; the last model is kept."""
    rule, epochs = EarlyStopping(patience, "loss", tol), []  # type: ignore[var-annotated]

    def is_due(model: Any, metrics: dict[str, Any]) -> bool:
        epochs.append(metrics)
        return rule.is_due(epochs)

    return is_due
