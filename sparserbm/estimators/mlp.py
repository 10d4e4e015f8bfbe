"""What the sparse MLP classifier and regressor share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_is_fitted, validate_data

from sparserbm.estimators.sparse_estimator import FLOATS, SparseEstimator, check_epochs
from sparserbm.models.mlp import MLP
from sparserbm.network.units import Softmax, Units, hidden_layers
from sparserbm.training import SGD, Adam, Backprop, EarlyStopping
from sparserbm.training.optimizers import Optimizer

# scikit-learn's names for types of units that have another one here
ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid"}


class SparseMLP(SparseEstimator):
    """An estimator around an `MLP`; targets and output layers are the subclasses' own, and so are the docs of the
    parameters, in `SparseMLPClassifier`."""

    model_: MLP

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "sgd",
        batch_size: int | str = "auto",
        learning_rate_init: Any = None,
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
    _rates: ClassVar[dict[str, float]]  # learning rate of each solver, where none is given

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
        if not self.n_iter_no_change >= 1:
            raise ValueError(f"n_iter_no_change={self.n_iter_no_change!r} is not possible; use at least 1 epoch")
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
        sizes = self.hidden_layer_sizes
        sizes = (sizes,) if isinstance(sizes, Integral) else tuple(sizes)
        return MLP(
            X.shape[1],
            *hidden_layers(ACTIVATIONS.get(self.activation, str(self.activation)), sizes),
            self._output(),
            wiring=self._wiring(),
            weights=self.weights,
            seed=self._seed(),
            backend=self.backend,
            dtype=self._dtype(X),
        )

    def _learn(self, model: MLP, X: np.ndarray, y: np.ndarray, **settings: Any) -> Self:
        batch_size = min(200, len(X)) if isinstance(self.batch_size, str) else self.batch_size
        if isinstance(self.batch_size, str) and self.batch_size != "auto":
            raise ValueError(f'batch_size={self.batch_size!r} is not possible; use an integer or "auto"')
        algorithm, optimizer = Backprop(self.loss), self._optimizer()
        self._train(model, X, algorithm, optimizer, y=y, batch_size=batch_size, shuffle=bool(self.shuffle), **settings)
        self.n_outputs_ = model.output.n
        return self

    def _optimizer(self) -> Optimizer:
        if self.solver not in self._rates:
            raise ValueError(f"unknown solver {self.solver!r}; known: {', '.join(self._rates)}")
        rate = self._rates[self.solver] if self.learning_rate_init is None else self.learning_rate_init
        if self.solver == "adam":
            return Adam(rate, beta1=self.beta_1, beta2=self.beta_2)
        return SGD(rate, momentum=self.momentum, nesterov=bool(self.nesterovs_momentum))

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


def _plateau(patience: int, tol: float) -> Callable[[Any, dict[str, Any]], bool]:
    """A callback that ends training when the training loss stays where it is; the last model is kept."""
    best, when = np.inf, 0

    def is_due(model: Any, metrics: dict[str, Any]) -> bool:
        nonlocal best, when
        if metrics["loss"] < best - tol:
            best, when = metrics["loss"], metrics["epoch"]
        return metrics["epoch"] - when >= patience

    return is_due
