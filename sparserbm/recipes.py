"""A run as plain words: everything from data to run folder as numbers and rule texts.

The command line builds a `Recipe` from its options; a study varies one over penalties and seeds.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparserbm.backends import get_backend
from sparserbm.data import Dataset, load_dataset
from sparserbm.data.datasets import NAMES
from sparserbm.models.base import Model
from sparserbm.models.mlp import MLP, wiring_of_layers
from sparserbm.models.rbm import RBM
from sparserbm.network.units import Identity, Softmax, Units, hidden_layers, units_from
from sparserbm.network.wiring import ErdosRenyi, resolve_wiring
from sparserbm.registry import parse
from sparserbm.regularization import L1, L2, Penalty, penalties
from sparserbm.runs import Run, read_config
from sparserbm.training import resume, train
from sparserbm.training.config import Rules
from sparserbm.training.estimate import Estimate, estimate, memory_explained

MODELS = ("rbm", "mlp")
ALGORITHMS = {"rbm": "cd(k=1)", "mlp": "backprop"}


@dataclass(frozen=True)
class Recipe:
    """One training run in words.

    Parameters
    ----------
    model : {"rbm", "mlp"}
    data : str
        Name or path for `load_dataset`.
    folder : str, optional
        Where `load_dataset` looks first.
    scale : str
        Scaling mode of the data.
    validation : float in [0, 1)
        Share of the samples held out where the data bring no test set.
    hidden : tuple of int
        Sizes of the hidden layers; an RBM has one.
    visible, hidden_units, activation : str
        Unit types of an RBM's visible side (``"bernoulli"``, ``"gaussian(learned=True)"``, ``"potts(states=3)"``,
        ``"mixed((bernoulli(784), potts(10)))"``) and hidden side (also ``"truncated_gaussian"``), and of an MLP's
        hidden layers (``"relu"``, ``"leaky_relu(0.1)"``, ``"srelu"``; the slopes of ``"all_relu(0.6)"`` change sign
        from layer to layer).
    epsilon, density, wiring : float, float, text or tuple of texts, optional
        The first wiring of the hidden layers (``"erk(density=0.1)"``: of the whole network); ``epsilon=11`` if none is
        given.
    weights, biases : text or tuple of texts, optional
        Weight scales, as in `RBM` and `MLP`.
    algorithm, optimizer, evolution, early_stopping : text, optional
    l2, l1 : float or schedule text
    regularization : text or tuple of texts, optional
        Further penalties.
    penalise_biases : bool
        Let `l2` and `l1` act on biases too.
    epochs, batch_size, snapshot_every, seed : int
    zone : text, optional
    image_shape : (rows, columns), optional
        For files of images that do not say it.
    backend : str
    threads : int, optional
    """

    model: str = "rbm"
    data: str = "digits"
    folder: str | None = None
    scale: str = "unit"
    validation: float = 0.2
    hidden: tuple[int, ...] = (500,)
    visible: str = "bernoulli"
    hidden_units: str = "bernoulli"
    activation: str = "relu"
    epsilon: float | None = None
    density: float | None = None
    wiring: Any = None
    weights: Any = None
    biases: Any = "zero"
    algorithm: str | None = None
    optimizer: str = "sgd(0.05, momentum=0.5)"
    evolution: str | None = "set(zeta=0.3)"
    early_stopping: str | None = None
    l2: Any = 0.0
    l1: Any = 0.0
    regularization: Any = None
    penalise_biases: bool = False
    epochs: int = 50
    batch_size: int = 100
    snapshot_every: int = 10
    seed: int = 0
    zone: str | None = "auto"
    image_shape: tuple[int, int] | None = None
    backend: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        for kinds, names in _TYPES.items():
            for name in names:
                value = getattr(self, name)
                if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                    wanted = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in kinds)
                    raise ValueError(f"{name}={value!r} is not possible; give {wanted}")
        if self.model not in MODELS:
            raise ValueError(f"unknown model {self.model!r}; known: {', '.join(MODELS)}")
        for field in dataclasses.fields(self):  # JSON and TOML know lists only
            if isinstance(getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(getattr(self, field.name)))
        if isinstance(self.hidden, int):
            object.__setattr__(self, "hidden", (self.hidden,))
        if self.image_shape is not None and len(self.image_shape) != 2:
            raise ValueError(f"image_shape={self.image_shape} is not possible; give rows and columns, e.g. 28,28")
        if not self.hidden or (self.model == "rbm" and len(self.hidden) != 1):
            raise ValueError(f"hidden={self.hidden} is not possible: an RBM has one hidden layer, an MLP at least one")
        # A text that cannot be read should fail here, not when the first runs of a study are trained.
        algorithm = self.algorithm or ALGORITHMS[self.model]
        Rules.of(algorithm, self.optimizer, self.penalties(), self.evolution, self.early_stopping)
        if sum(given is not None for given in (self.epsilon, self.density, self.wiring)) > 1:
            raise ValueError("epsilon, density and wiring say the same thing in three ways; give one of them")

    @classmethod
    def options(cls) -> list[str]:
        """Names of all settings."""
        return [field.name for field in dataclasses.fields(cls)]

    def from_anywhere(self) -> Recipe:
        """The same recipe with files by their full path, so that a run can go on from another folder."""
        path = Path(self.folder or "").expanduser() / Path(self.data).expanduser()
        if self.data not in NAMES and path.is_file():  # a name wins over a file that is called so
            return dataclasses.replace(self, data=str(path.resolve()), folder=None)
        folder = None if self.folder is None else str(Path(self.folder).expanduser().resolve())
        return dataclasses.replace(self, folder=folder)

    def load_data(self) -> Dataset:
        """The data set with classes numbered from 0, and a test set or a held-out share for validation."""
        return _load(self.data, self.scale, self.folder, self.validation, self.image_shape)

    def build(self, data: Dataset) -> Model:
        """An untrained model for `data`."""
        backend = get_backend(self.backend, threads=self.threads)
        units, wiring = self._units(data), self._wiring()
        if self.model == "rbm":
            weights = "set_rbm" if self.weights is None else self.weights
            return RBM(*units, wiring=wiring, weights=weights, seed=self.seed, backend=backend)
        weights = "he_sparse" if self.weights is None else self.weights
        return MLP(*units, wiring=wiring, weights=weights, biases=self.biases, seed=self.seed, backend=backend)

    def _units(self, data: Dataset) -> list[Units]:
        if self.model == "rbm":
            return [units_from(self.visible, data.n_features), units_from(self.hidden_units, self.hidden[0])]
        if data.y is None:
            raise ValueError(f"an MLP needs labels, and {data.name} has none; train an rbm, or add y to the file")
        layers = hidden_layers(self.activation, self.hidden)
        return [Identity(data.n_features), *layers, Softmax(int(data.y.max()) + 1)]

    def _wiring(self) -> Any:
        if self.wiring is not None:
            return self.wiring
        if self.density is not None:
            return ErdosRenyi(density=self.density)
        return ErdosRenyi(epsilon=11, clip=True) if self.epsilon is None else ErdosRenyi(epsilon=self.epsilon)

    def estimate(self) -> Estimate:
        """Connections, memory and work of the run; loads the data, but builds no network."""
        data = self.load_data()
        units = self._units(data)
        sizes = [layer.n for layer in units]
        wiring = [self._wiring()] if self.model == "rbm" else wiring_of_layers(self._wiring(), sizes)
        arrays = [array for array in (data.X, data.y, data.X_test, data.y_test) if array is not None]
        rules = Rules.of(self.algorithm or ALGORITHMS[self.model], self.optimizer, None, None, None)
        return estimate(
            sizes,
            [resolve_wiring(rule) for rule in wiring],
            rules.algorithm,
            rules.optimizer,
            batch_size=self.batch_size,
            n_samples=len(data.X),
            epochs=self.epochs,
            n_validation=0 if data.X_test is None else len(data.X_test),
            data_bytes=sum(array.nbytes for array in arrays),
        )

    def penalties(self) -> list[Penalty]:
        """L2 and L1 as far as they are not 0, and what `regularization` adds."""
        given = ((L2, self.l2), (L1, self.l1))
        own = [kind(strength, biases=self.penalise_biases) for kind, strength in given if strength not in (0, 0.0)]
        return [*own, *penalties(self.regularization)]

    def run(self, out: str | os.PathLike | None = None, *, overwrite: bool = False, **watching: Any) -> Run:
        """Load the data, build the model, train it.

        Parameters
        ----------
        out : path, optional
            Run folder.
        overwrite : bool
        **watching
            Further arguments of `train`: name, progress, callbacks, notes.
        """
        with memory_explained(self.estimate, None, None):
            return self._run(out, overwrite=overwrite, **watching)

    def _run(self, out: str | os.PathLike | None, *, overwrite: bool, **watching: Any) -> Run:
        data = self.load_data()
        notes = {"recipe": dataclasses.asdict(self.from_anywhere())} | watching.pop("notes", {})
        return train(
            self.build(data),
            data,
            parse("algorithm", self.algorithm or ALGORITHMS[self.model]),
            epochs=self.epochs,
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            regularization=self.penalties(),
            evolution=self.evolution,
            early_stopping=self.early_stopping,
            zone=self.zone,
            out=out,
            overwrite=overwrite,
            snapshot_every=self.snapshot_every,
            notes=notes,
            **watching,
        )


_TYPES: dict[tuple[type, ...], tuple[str, ...]] = {
    (str,): ("model", "data", "scale", "visible", "hidden_units", "activation", "optimizer", "backend"),
    (str, type(None)): ("folder", "algorithm", "early_stopping", "evolution", "zone"),
    (str, tuple, list, type(None)): ("wiring",),
    (int,): ("epochs", "batch_size", "snapshot_every", "seed"),
    (int, type(None)): ("threads",),
    (int, float): ("validation",),
    (int, float, type(None)): ("epsilon", "density"),
    (bool,): ("penalise_biases",),
}


def resume_recipe(folder: str | os.PathLike, epochs: int, backend: str | None = None, **watching: Any) -> Run:
    """Continue a run that a recipe made, until it has `epochs` epochs in all; the data are loaded as before.

    `backend` may be another than that of the run.
    """
    config = read_config(Path(folder))
    if "recipe" not in config:
        raise ValueError(
            f"run {folder} was not made from a recipe; resume it in Python with sparserbm.resume(folder, X)"
        )
    recipe = Recipe(**config["recipe"])
    threads = recipe.threads and min(recipe.threads, os.cpu_count() or 1)  # it may go on at a smaller machine
    found = get_backend(backend or recipe.backend, threads=threads)
    return resume(folder, recipe.load_data(), epochs=epochs, backend=found, **watching)


@functools.lru_cache(maxsize=2)  # a worker of a study trains many runs on the same data
def _load(name: str, scale: str, folder: str | None, share: float, shape: tuple[int, int] | None) -> Dataset:
    data = load_dataset(name, scale=scale, folder=folder, hold_out=share)
    if shape is not None:
        data = dataclasses.replace(data, image_shape=(shape[0], shape[1]))
    if data.y is not None:
        classes, y = np.unique(data.y, return_inverse=True)
        y_test = None if data.y_test is None else class_numbers(classes, data.y_test, data.name)
        data = dataclasses.replace(data, y=y, y_test=y_test)
    return data


def forget_data() -> None:
    """Release the data sets that are kept for the next run."""
    _load.cache_clear()


def class_numbers(classes: np.ndarray, labels: np.ndarray, name: str) -> np.ndarray:
    """Places of `labels` among the sorted `classes` of training; a label that is none of them is an error."""
    numbers = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    unknown = np.unique(labels[classes[numbers] != labels])
    if len(unknown):
        raise ValueError(f"the test set of {name} has labels that no training sample has: {unknown[:5].tolist()}")
    return numbers
