"""The order of the rooms: a module imports only what stands above it in the tree (docs/architecture.md)."""

import ast
from pathlib import Path

import pytest

import sparserbm

ROOMS = (
    *("registry", "schedules", "rng", "runs", "backends", "data", "network", "models", "regularization"),
    *("evolution", "training", "plotting", "recipes", "evaluation", "presets", "studies", "estimators"),
)
ONLY = {"topology": set(), "plotting": {"plotting", "runs", "topology"}}
APART = {"regularization": "evolution", "evolution": "regularization"}
OUTSIDE = {  # third-party package -> rooms that may know it
    "numba": {"backends"},
    "llvmlite": {"backends"},
    "cupy": {"backends"},
    "matplotlib": {"plotting"},
    "PIL": {"plotting"},
    "sklearn": {"data", "estimators"},
    "joblib": {"studies"},
    "click": set(),
}
LIBRARY = Path(sparserbm.__file__).parent
FILES = sorted(path for path in LIBRARY.rglob("*.py") if path != LIBRARY / "__init__.py")


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module
            if node.module == "sparserbm":
                yield from (f"sparserbm.{alias.name}" for alias in node.names)


def room(path):
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def mistakes(own, names):
    for name in names:
        package, *rest = name.split(".")
        if package in OUTSIDE and own not in OUTSIDE[package]:
            yield f"{own} imports {package}"
        if package != "sparserbm" or not rest:
            continue
        other = rest[0]
        if own in ONLY and other not in ONLY[own] | {own}:
            yield f"{own} imports {other}"
        elif own not in ONLY and other != "topology" and ROOMS.index(other) > ROOMS.index(own):
            yield f"{own} imports {other}, which stands below it"
        elif APART.get(own) == other:
            yield f"{own} and {other} must not know each other"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(LIBRARY)))
def test_rooms_import_only_what_stands_above_them(path):
    own = room(path)
    assert own in ROOMS or own in ONLY, f"{own} is no room of the house; add it to the tree and to this test"
    assert list(mistakes(own, imported(path))) == []


def test_the_rule_can_be_broken():
    assert list(mistakes("network", ["sparserbm.training.loop"]))
    assert list(mistakes("plotting", ["sparserbm.models.rbm"]))
    assert list(mistakes("evolution", ["sparserbm.regularization"]))
    assert list(mistakes("training", ["numba"]))
