"""What the estimators around a sparse MLP share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sparserbm.data.sources import Samples
from sparserbm.estimators._start import model_to_start_from, started
from sparserbm.estimators.sparse_estimator import SparseEstimator, check_epochs, float_type
from sparserbm.models.mlp import MLP
from sparserbm.network.units import Softmax, Units, hidden_layers
from sparserbm.registry import to_text
from sparserbm.training import SGD, Adam, Backprop
from sparserbm.training.algorithm import Algorithm
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
        early_stopping: Any = False,
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
        start_from: Any = None,
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
        self.start_from = start_from
        self.image_shape = image_shape
        self.zone = zone
        self.backend = backend
        self.callbacks = callbacks

    # -- what differs --------------------------------------------------------------------------------------------

    loss: str  # of `Backprop`
    _watched: str  # metric of early stopping
    _rates: ClassVar[dict[str, float]]  # learning rate of each solver, where none is given

    @abstractmethod
    def _targets(self, y: Any) -> np.ndarray | None:
        """`y` as the loss wants it."""

    @abstractmethod
    def _output(self) -> Units:
        """The output layer."""

    def _inputs(self, X: Samples) -> Samples:
        """`X` as the network wants it."""
        return X

    def _algorithm(self) -> Algorithm:
        return Backprop(self.loss)

    # -- training ------------------------------------------------------------------------------------------------

    def _fit(self, X: Samples, y: Any, weight: Any = None) -> Self:
        """Train a new model for up to `max_iter` epochs."""
        check_epochs("max_iter", self.max_iter)
        model, rule = self._new_model(X), self._stopping(self._watched)
        stopping: dict[str, Any] = {"callbacks": (_plateau(self.n_iter_no_change, self.tol),)}
        if rule is not None:
            # Both parts must hold every class, as in MLPClassifier.
            classes = y if isinstance(model.output, Softmax) else None
            (X, y, weight), (X_held, y_held, w_held) = self._held_out(X, y, weight, model.seed, stratify=classes)
            stopping = {"validation": (self._inputs(X_held), self._targets(y_held), w_held), "early_stopping": rule}
        return self._learn(model, X, y, weight, epochs=self.max_iter, **stopping)

    @property
    def _sizes(self) -> tuple[int, ...]:
        sizes = self.hidden_layer_sizes
        return (int(sizes),) if isinstance(sizes, Integral) else tuple(sizes)

    def _new_model(self, X: Any) -> MLP:
        if self.start_from is not None:
            return self._started(X)
        return MLP(
            X.shape[1],
            *hidden_layers(ACTIVATIONS.get(self.activation, str(self.activation)), self._sizes),
            self._output(),
            wiring=self._wiring(),
            weights=self.weights,
            seed=self._seed(),
            backend=self.backend,
            dtype=self._dtype(X),
        )

    def _started(self, X: Any) -> MLP:
        """A new model with the hidden layers of `start_from`; parameters that say otherwise are refused."""
        source = model_to_start_from(self.start_from)
        if source.n_features != X.shape[1]:
            raise ValueError(f"start_from has {source.n_features} inputs, but X has {X.shape[1]} features")
        drawn = [name for name in ("epsilon", "density", "wiring") if getattr(self, name) is not None]
        if drawn:
            raise ValueError(f"start_from brings the connections of the hidden layers; leave {' and '.join(drawn)} out")
        kind = {"seed": self._seed(), "backend": self.backend, "dtype": self._dtype(X)}
        model = started(source, self._output(), weights=self.weights, **kind)
        hidden = model.units[1:-1]
        sizes = tuple(units.n for units in hidden)
        # The defaults are those of a network that starts from nothing.
        if self._sizes not in ((100,), sizes):
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r}, but start_from has hidden layers of {sizes} units; "
                f"leave hidden_layer_sizes out"
            )
        wanted = hidden_layers(ACTIVATIONS.get(self.activation, str(self.activation)), sizes)
        if self.activation != "relu" and wanted != list(hidden):
            raise ValueError(
                f"activation={self.activation!r}, but the hidden layers of start_from are "
                f"{', '.join(map(to_text, hidden))}; leave activation out"
            )
        return model

    def _learn(self, model: MLP, X: Samples, y: Any, weight: Any = None, **settings: Any) -> Self:
        batch_size = min(200, X.shape[0]) if isinstance(self.batch_size, str) else self.batch_size
        if isinstance(self.batch_size, str) and self.batch_size != "auto":
            raise ValueError(f'batch_size={self.batch_size!r} is not possible; use an integer or "auto"')
        self.n_outputs_ = model.output.n
        self._train(
            model,
            self._inputs(X),
            self._algorithm(),
            self._optimizer(),
            y=self._targets(y),
            sample_weight=weight,
            batch_size=batch_size,
            shuffle=bool(self.shuffle),
            seen={"X": X, "y": y},
            **settings,
        )
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
        X = self._validated(X, reset=False)
        return self.model_.predict(X).astype(float_type(X), copy=False)

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
