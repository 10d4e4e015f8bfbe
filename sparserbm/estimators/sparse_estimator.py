"""What the estimators share: parameters that become rules of the library, and what is kept of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from sparserbm.backends import Backend
from sparserbm.evolution import SET, Evolution
from sparserbm.models.base import Model
from sparserbm.network.wiring import Dense, ErdosRenyi
from sparserbm.registry import resolve
from sparserbm.regularization import L1, L2, Penalty, penalties
from sparserbm.runs import Run
from sparserbm.topology import dead_units, learning_index
from sparserbm.training import train
from sparserbm.training.algorithm import Algorithm
from sparserbm.training.optimizers import Optimizer

FLOATS = (np.float64, np.float32)  # what scikit-learn may hand over; float64 where it has to convert


class SparseEstimator(BaseEstimator):
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
    model_: Model
    run_: Run
    n_iter_: int

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

    def _seed(self) -> int:
        """A seed for the model, from whatever scikit-learn takes as `random_state`, or a numpy Generator."""
        if isinstance(self.random_state, np.random.Generator):
            return int(self.random_state.integers(2**31 - 1))
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    # -- training ------------------------------------------------------------------------------------------------

    def _train(
        self,
        model: Model,
        X: np.ndarray,
        algorithm: Algorithm,
        optimizer: Optimizer,
        follows: Run | None = None,
        callbacks: tuple = (),
        **settings: Any,
    ) -> None:
        """Train `model` and keep it; with `follows`, as a further part of that run."""
        run = train(
            model,
            X,
            algorithm,
            optimizer=optimizer,
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

    def _dtype(self, X: np.ndarray) -> str | None:
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


def check_epochs(name: str, given: Any) -> None:
    """Raise ValueError unless the number of epochs, the parameter `name`, is a positive integer."""
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 1:
        raise ValueError(f"{name}={given!r} is not possible; use an integer of at least 1 (epochs)")
