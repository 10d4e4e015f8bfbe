"""What a run's ``config.json`` says: everything needed to repeat the run."""

from __future__ import annotations

import dataclasses
import functools
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sparserbm.evolution.engine import Evolution
from sparserbm.models.base import Model
from sparserbm.registry import describe, resolve
from sparserbm.regularization import Penalty, penalties
from sparserbm.training.algorithm import Algorithm
from sparserbm.training.callbacks import EarlyStopping
from sparserbm.training.optimizers import SGD, Optimizer


@dataclass(frozen=True)
class Rules:
    """The rules of a run, each an object of its kind."""

    algorithm: Algorithm
    optimizer: Optimizer
    regularization: tuple[Penalty, ...]
    evolution: Evolution | None
    early_stopping: EarlyStopping | None

    @classmethod
    def of(cls, algorithm: Any, optimizer: Any, regularization: Any, evolution: Any, early_stopping: Any) -> Rules:
        """Objects and texts as objects, each checked to be of its kind."""
        rules = {
            "algorithm": resolve("algorithm", algorithm),
            "optimizer": SGD() if optimizer is None else resolve("optimizer", optimizer),
            "evolution": resolve("evolution", evolution),
            "early_stopping": resolve("early_stopping", early_stopping),
        }
        for name, kind in _KINDS.items():
            needed = name in ("algorithm", "optimizer")
            if not isinstance(rules[name], kind) and (needed or rules[name] is not None):
                raise TypeError(f"{name}={rules[name]!r} is not possible; give a rule ({kind.__name__}) or its text")
        return cls(regularization=penalties(regularization), **rules)

    @classmethod
    def kinds(cls) -> list[str]:
        return [field.name for field in dataclasses.fields(cls)]


_KINDS = {"algorithm": Algorithm, "optimizer": Optimizer, "evolution": Evolution, "early_stopping": EarlyStopping}


def describe_run(
    name: str | None,
    model: Model,
    data: dict[str, Any],
    zone: dict[str, Any] | None,
    rules: Rules,
    settings: dict[str, Any],
    strict: bool,
) -> dict[str, Any]:
    """The config of a run, ready for JSON.

    Parameters
    ----------
    strict : bool
        A rule without a text is an error (the run could not be resumed from its folder); otherwise its repr stands.
    """
    texts = {kind: describe(getattr(rules, kind), strict) for kind in Rules.kinds()}
    config = {
        "model": model.describe(strict)
        | {"backend": model.backend.name, "layer_sizes": [units.n for units in model.units]}
        | {"n_connections": [len(layer) for layer in model.connections]},
        "data": data,
        "zone": zone,
        "training": texts | settings,
        "seed": model.seed,
        "versions": dict(versions()),
    }
    return config if name is None else {"name": name} | config


@functools.cache  # asking the installed packages takes longer than a small epoch
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for package in ("sparserbm", "numpy", "scipy", "numba", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
