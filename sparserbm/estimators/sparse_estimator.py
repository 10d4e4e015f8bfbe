"""What the estimators share: parameters that become rules of the library, and what is kept of a run."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from sparserbm.backends import Backend
from sparserbm.data.scaling import check_features
from sparserbm.data.sources import Samples, Source, SparseSource, as_samples, chunks, is_source, take
from sparserbm.estimators._callbacks import CallbackSupport, EachEpoch, with_callbacks
from sparserbm.evolution import SET, Evolution
from sparserbm.models.base import Model
from sparserbm.network.wiring import Dense, ErdosRenyi
from sparserbm.registry import resolve
from sparserbm.regularization import L1, L2, Penalty, penalties
from sparserbm.runs import Run
from sparserbm.topology import dead_units, learning_index
from sparserbm.training import EarlyStopping, train
from sparserbm.training.algorithm import Algorithm
from sparserbm.training.optimizers import Optimizer

NO_Y = "no_validation"  # scikit-learn's word for a y that is not there, unlike one that is None
FLOATS = (np.float64, np.float32)  # what scikit-learn may hand over; float64 where it has to convert


class SparseEstimator(CallbackSupport, BaseEstimator):
    """An estimator around one `Model`; a subclass has the parameters that the methods below read.

    Attributes
    ----------
    model_ : RBM or MLP
    run_ : Run
        The last training: config, metrics and snapshots of the topology, as the figures of `sparserbm.plotting` take
        it. After `partial_fit` the metrics are those of all calls, the snapshots those of the last.
    n_iter_ : int
        Epochs trained; calls of `partial_fit` count as one each.
    """

    epsilon: Any
    density: Any
    zeta: Any
    evolution: Any
    l1: Any
    l2: Any
    regularization: Any
    wiring: Any
    image_shape: Any
    zone: Any
    backend: Any
    callbacks: Any
    random_state: Any
    verbose: Any
    early_stopping: Any
    validation_fraction: Any
    n_iter_no_change: Any
    tol: Any
    model_: Model
    run_: Run
    n_iter_: int
    _takes_missing: ClassVar[bool] = False  # whether NaN in X stands for a value that is missing

    # -- parameters into rules -----------------------------------------------------------------------------------

    def _wiring(self) -> Any:
        """The one of `wiring`, `density` and `epsilon` that is given, as a rule; epsilon=11 where none is."""
        given = {name: getattr(self, name) for name in ("epsilon", "density", "wiring")}
        given = {name: value for name, value in given.items() if value is not None}
        if len(given) > 1:
            raise ValueError(
                " and ".join(f"{name}={value!r}" for name, value in given.items())
                + " contradict each other: each says which connections there are at first; keep one, set the others "
                "to None"
            )
        if "wiring" in given:
            return resolve("wiring", self.wiring)
        if "density" in given:
            return Dense() if self.density == 1 else ErdosRenyi(density=self.density)
        # The default must fit every layer, small ones too; a number that was asked for is not changed silently.
        return ErdosRenyi(epsilon=self.epsilon) if given else ErdosRenyi(epsilon=11, clip=True)

    def _evolution(self) -> Evolution | None:
        if self.evolution is None or self.evolution == "none":
            return None
        if self.evolution == "set":
            return SET(zeta=self.zeta)
        return resolve("evolution", self.evolution)

    def _penalties(self) -> tuple[Penalty, ...]:
        rules: list[Penalty] = [rule(given) for rule, given in ((L1, self.l1), (L2, self.l2)) if given != 0]
        return (*rules, *penalties(self.regularization))

    def _stopping(self, metric: str) -> EarlyStopping | None:
        """The rule of `early_stopping`, which watches `metric` where it is True."""
        if not self.n_iter_no_change >= 1:
            raise ValueError(f"n_iter_no_change={self.n_iter_no_change!r} is not possible; use at least 1 epoch")
        if isinstance(self.early_stopping, (bool, np.bool_)) or self.early_stopping is None:
            return EarlyStopping(self.n_iter_no_change, metric, self.tol) if self.early_stopping else None
        return resolve("early_stopping", self.early_stopping)

    def _held_out(
        self, X: Samples, y: Any, weight: Any, seed: int, stratify: Any = None
    ) -> tuple[tuple[Any, Any, Any], tuple[Any, Any, Any]]:
        """``X, y, weight`` to train with, and those of the share `validation_fraction`; what is None stays that."""
        share, numbers = self.validation_fraction, np.arange(len(X))
        parts = train_test_split(numbers, test_size=share, random_state=seed, stratify=stratify)
        kept, held = (tuple(None if each is None else take(each, part) for each in (X, y, weight)) for part in parts)
        return kept, held  # type: ignore[return-value]

    # -- data ----------------------------------------------------------------------------------------------------

    def _validated(self, X: Any, y: Any = NO_Y, *, reset: bool = True, **targets: Any) -> Any:
        """`X`, or ``X, y``, checked: X as an array, or as a `Source` where it is a sparse matrix or one already.

        Parameters
        ----------
        reset : bool
            These data say how many features there are; else they must have as many.
        **targets
            What `validate_data` is to know of y.
        """
        alone = isinstance(y, str) and y == NO_Y
        if not is_source(X):
            finite: Any = "allow-nan" if self._takes_missing else True
            form = {"dtype": FLOATS, "accept_sparse": "csr", "ensure_all_finite": finite}
            found = validate_data(self, X, y, reset=reset, **form, **targets)
            return as_samples(found) if alone else (as_samples(found[0]), found[1])
        X = check_features(X, missing=self._takes_missing)
        if not alone:
            y = validate_data(self, "no_validation", y, reset=False, **targets)
            if len(y) != len(X):
                raise ValueError(f"X has {len(X)} samples but y has {len(y)}; give one target for each sample")
        if reset:
            self.__dict__.pop("feature_names_in_", None)
            self.n_features_in_ = X.shape[1]
        elif X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting {self.n_features_in_} features "
                f"as input."
            )
        return X if alone else (X, y)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self._takes_missing
        return tags

    def _seed(self) -> int:
        """A seed for the model, from whatever scikit-learn takes as `random_state`, or a numpy Generator."""
        if isinstance(self.random_state, np.random.Generator):
            return int(self.random_state.integers(2**31 - 1))
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    # -- training ------------------------------------------------------------------------------------------------

    @with_callbacks
    def _train(
        self,
        model: Model,
        X: Samples,
        algorithm: Algorithm,
        optimizer: Optimizer,
        epochs: int,
        seen: dict[str, Any],
        follows: Run | None = None,
        callbacks: tuple = (),
        **settings: Any,
    ) -> None:
        """Train `model` and keep it; with `follows`, as a further part of that run.

        Parameters
        ----------
        seen : dict
            ``X`` and ``y`` as the user knows them: for callbacks by scikit-learn's protocol.
        """
        if isinstance(seen["X"], SparseSource):
            seen = seen | {"X": seen["X"].matrix}
        context = self._init_callback_context(max_subtasks=epochs)
        context.call_on_fit_task_begin(estimator=self, **seen)
        if hasattr(self, "_skl_callbacks"):
            callbacks = (*callbacks, EachEpoch(self, context, seen))
        run = train(
            model,
            X,
            algorithm,
            optimizer=optimizer,
            epochs=epochs,
            regularization=self._penalties(),
            evolution=self._evolution(),
            callbacks=(*self.callbacks, *callbacks),
            image_shape=self.image_shape,
            # A zone found in the first batch stays: with another one for each batch the index could not be followed.
            zone=self.zone if follows is None else follows.zone_mask,
            progress=bool(self.verbose),
            follows=follows,
            **settings,
        )
        if follows is not None:
            run.metrics = [*follows.metrics, *run.metrics[1:]]  # the first line is the last one of `follows` again
        self.model_, self.run_, self.n_iter_ = model, run, len(run.metrics) - 1
        context.call_on_fit_task_end(estimator=self, **seen, reconstruction_attributes={})

    def _dtype(self, X: Samples) -> str | None:
        """The number type of a model for `X`: that of a backend object, else of the data, as scikit-learn's do."""
        if isinstance(self.backend, Backend):
            return None
        return "float32" if X.dtype == np.float32 else "float64"

    def _check_partial(self) -> None:
        """Nobody knows which call of partial_fit is the last."""
        evolution = self._evolution()
        if evolution is not None and evolution.last != "none":
            raise ValueError(f"last={evolution.last!r} would end every call of partial_fit; use last='none', or fit")

    @property
    def history_(self) -> dict[str, np.ndarray]:
        """Metrics as columns with one entry an epoch, epoch 0 (before training) first."""
        return self.run_.history

    def _layer_topology(self, number: int) -> dict[str, Any]:
        """Degrees of one matrix of connections, and the learning index of the first where there is a zone."""
        pattern, zone = self.model_.connections[number].pattern, self.run_.zone_mask
        table: dict[str, Any] = {
            "n_connections": len(pattern),
            "density": pattern.density,
            "fan_out": pattern.fan_out(),
            "fan_in": pattern.fan_in(),
            "dead_inputs": dead_units(pattern.fan_out()),
            "dead_outputs": dead_units(pattern.fan_in()),
        }
        if number == 0 and zone is not None:
            table["zone"] = learning_index(table["fan_out"], zone, pattern.n_places)
        return table


def fitted(scaler: Any, X: Samples) -> Any:
    """A scaler of scikit-learn fitted to `X`, of a `Source` block by block."""
    if not isinstance(X, Source):
        return scaler.fit(X)
    for _, block in chunks(X):
        scaler.partial_fit(block)
    return scaler


def scaled(scaler: Any, X: Samples) -> Samples:
    """`X` as a fitted scaler makes it; a `Source` block by block, when it is read."""
    if scaler is None:
        return X
    return X.changed(scaler.transform) if isinstance(X, Source) else scaler.transform(X)


def float_type(X: Samples) -> np.dtype:
    """Type of the numbers that belong to `X`: its own if that is a float, else float64."""
    return X.dtype if X.dtype.kind == "f" else np.dtype(np.float64)


def check_epochs(name: str, given: Any) -> None:
    """Raise ValueError unless the number of epochs, the parameter `name`, is a positive integer."""
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 1:
        raise ValueError(f"{name}={given!r} is not possible; use an integer of at least 1 (epochs)")
