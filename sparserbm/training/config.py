"""What a run's ``config.json`` says: everything needed to repeat the run."""

from __future__ import annotations

import functools
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sparserbm.models.base import Model
from sparserbm.registry import to_text


def describe_run(
    name: str | None,
    model: Model,
    data: dict[str, Any],
    zone: dict[str, Any] | None,
    rules: dict[str, Any],
    settings: dict[str, Any],
    strict: bool,
) -> dict[str, Any]:
    """The config of a run, ready for JSON.

    Parameters
    ----------
    strict : bool
        A rule without a text is an error (the run could not be resumed from its folder); otherwise its repr stands.
    """
    texts = {kind: _text(rule, strict) for kind, rule in rules.items()}
    config = {
        "model": model.describe()
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


def _text(rule: Any, strict: bool) -> Any:
    if rule is None:
        return None
    if isinstance(rule, tuple):
        return [_text(item, strict) for item in rule]
    try:
        return to_text(rule)
    except TypeError:
        if strict:
            raise
        return repr(rule)
