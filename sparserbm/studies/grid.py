"""The grid of a study: which settings it varies, and the runs that come of it.

A key of the grid is a setting of a `Recipe` or a parameter of `Evolution`; a parameter is written into the recipe's
evolution text. A cell is one value of each key; its runs differ in their seed.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import inspect
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparserbm.evolution import Evolution
from sparserbm.presets import preset
from sparserbm.recipes import ALGORITHMS, MODELS, Recipe
from sparserbm.registry import parse, to_text
from sparserbm.training.checks import check_counts, check_data, check_stopping, check_strengths, validation_data
from sparserbm.training.config import Rules
from sparserbm.training.zone import active_zone

# The regularization study's network, on data coded as there; see docs/studies.md for what follows its code.
STUDY_MLP = preset("evolnet", evolution="set(zeta=0.3, allow_return=False)", epochs=Recipe.epochs)
STUDY_RBM = Recipe(model="rbm", hidden=(500,), epsilon=11)

# Settings by data set: what differs from the two recipes above. Digits are few: evolution counts steps there.
STUDY_SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "digits": {
        "mlp": {
            "epochs": 120,
            "batch_size": 32,
            "hidden": (256, 64),
            "optimizer": "sgd(0.02, momentum=0.9)",
            "evolution": "set(zeta=0.3, when=every(steps=90), allow_return=False)",
        },
        "rbm": {
            "epochs": 120,
            "batch_size": 32,
            "hidden": (250,),
            "evolution": "set(zeta=0.3, when=every(steps=90))",
        },
    }
}
STUDY_EPOCHS = 155  # of the study
STUDY_L2 = (0.0, 1e-3)  # strengths of a study that is given no other question

DEFAULTS = {field.name: field.default for field in dataclasses.fields(Recipe)}
# Parameters of the evolution rule and their defaults; one that is called like a setting is "evolution.<name>" as a key.
EVOLUTION = {name: parameter.default for name, parameter in inspect.signature(Evolution).parameters.items()}
ONE_WIRING = ("epsilon", "density", "wiring")  # three ways to say the same thing: a new one replaces the other two

PREFIX = "evolution."
SEED = "-seed="
SEEDS = (0, 1, 2)
LONGEST_VALUE = 32  # characters in the name of a run
LONGEST_NAME = 160


@dataclass(frozen=True)
class PlannedRun:
    """One run of a study.

    Attributes
    ----------
    cell : str
        Name of its cell: the values of all keys but the seed.
    place : dict
        Its value of every key: model first, seed last.
    recipe : Recipe
    """

    cell: str
    place: dict[str, Any]
    recipe: Recipe

    @property
    def name(self) -> str:
        return f"{self.cell}{SEED}{self.place['seed']}"


def cell_of(name: str) -> str:
    """The name of the cell that the run of this name belongs to."""
    return name.rpartition(SEED)[0]


def full_grid(
    grid: Mapping[str, Any] | None, models: Any = None, l2: Any = None, seeds: int | None = None
) -> dict[str, tuple[Any, ...]]:
    """Every key with its values: model, l2 where it has its short form, the keys of `grid` in their order, seed.

    Raises
    ------
    ValueError
        If a key is unknown or given twice, has no value or the same one twice, or a model is unknown.
    """
    if seeds is not None and seeds < 1:
        raise ValueError(f"seeds={seeds} is not possible; use at least 1")
    short = {"model": models, "l2": l2, "seed": None if seeds is None else range(seeds)}
    found = {key: _values(key, values) for key, values in short.items() if values is not None}
    for given, values in (grid or {}).items():
        key = grid_key(given)
        if key in found:
            raise ValueError(f"grid key {given!r} is given twice, or in its short form too; give it once")
        found[key] = _values(key, values)
    if not set(found) - {"model", "seed"}:
        found["l2"] = STUDY_L2
    models, seeds_in_order = found.pop("model", MODELS), found.pop("seed", SEEDS)
    for model in models:
        if model not in MODELS:
            raise ValueError(f"unknown model {model!r}; known: {', '.join(MODELS)}")
    return {"model": models, **found, "seed": seeds_in_order}


def grid_key(given: str) -> str:
    """The key by its name in tables: ``"zeta"`` for ``"evolution.zeta"`` too, where no setting has that name.

    Raises
    ------
    ValueError
        If neither a recipe nor evolution has it.
    """
    if given in DEFAULTS:
        return given
    name = given.removeprefix(PREFIX)
    if name in EVOLUTION:
        return PREFIX + name if name in DEFAULTS else name
    close = difflib.get_close_matches(given, [*DEFAULTS, *EVOLUTION], n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise ValueError(
        f"unknown grid key {given!r}{hint}; possible are the settings of a run ({', '.join(DEFAULTS)}) and the "
        f"parameters of evolution ({', '.join(EVOLUTION)})"
    )


def default_of(key: str) -> Any:
    """The default of a key that `grid_key` gave."""
    return DEFAULTS[key] if key in DEFAULTS else EVOLUTION[key.removeprefix(PREFIX)]


def _values(key: str, given: Any) -> tuple[Any, ...]:
    """Values as plain ones: numbers, texts, tuples; rules as their texts. One value may stand alone."""
    alone = given is None or isinstance(given, (str, bool, int, float)) or dataclasses.is_dataclass(given)
    values = tuple(_plain(key, value) for value in ([given] if alone else given))
    if not values:
        raise ValueError(f"grid key {key!r} has no value; give at least one")
    texts = [value_text(value) for value in values]
    for text in texts:
        if texts.count(text) > 1:
            raise ValueError(f"the values of {key!r} repeat themselves: {text} comes twice; give each once")
    return values


def _plain(key: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return tuple(_plain(key, item) for item in value)
    if isinstance(value, int) and not isinstance(value, bool) and isinstance(default_of(key), float):
        return float(value)  # l2=0 and l2=0.0 are one value, and give one name
    return value if value is None or isinstance(value, (bool, int, float, str)) else to_text(value)


def value_text(value: Any) -> str:
    """A value as part of a folder name; what is long is cut and ends in a hash of the whole."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    whole = "-".join(map(value_text, value)) if isinstance(value, tuple) else str(value)
    return _shortened(re.sub(r"[^\w.=-]+", "_", whole).strip("_"), whole, LONGEST_VALUE)


def _shortened(text: str, whole: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 7]}_{hashlib.sha256(whole.encode()).hexdigest()[:6]}"


def cell_name(place: Mapping[str, Any]) -> str:
    """Model and values, in alphabetical order of the keys: the order in which they were given says nothing."""
    parts = [f"{key}={value_text(place[key])}" for key in sorted(place) if key not in ("model", "seed")]
    name = "-".join([place["model"], *parts])
    return _shortened(name, name, LONGEST_NAME)


def planned_runs(
    grid: Mapping[str, tuple[Any, ...]],
    shared: Mapping[str, Any],
    settings: Mapping[str, Mapping[str, Any]],
    epochs: int | None = None,
) -> list[PlannedRun]:
    """All runs of a grid, the last key fastest, each with its recipe.

    A value of the grid goes over `epochs`, that over the `settings` of the model, these over those of the data set,
    and these over what all runs share.

    Raises
    ------
    ValueError
        If a setting is unknown or a value is not possible; the message names the cell.
    """
    for model, own in settings.items():
        unknown = [key for key in own if key not in DEFAULTS]
        if model not in MODELS or unknown:
            what, known = (f"setting {unknown[0]!r}", DEFAULTS) if model in MODELS else (f"model {model!r}", MODELS)
            raise ValueError(f"unknown {what} in the settings of a study; known: {', '.join(known)}")
    if epochs is not None and "epochs" in grid:
        raise ValueError("epochs are in the grid and given for all runs too; give them once")
    last = {} if epochs is None else {"epochs": epochs}
    runs = []
    for values in itertools.product(*grid.values()):
        place = dict(zip(grid, values))
        cell = cell_name(place)
        try:
            recipe = _recipe(place, shared, {**settings.get(place["model"], {}), **last})
        except (ValueError, TypeError) as error:
            raise ValueError(f"{cell}: {error}") from None
        runs.append(PlannedRun(cell, place, recipe))
    return runs


def _recipe(place: dict[str, Any], shared: Mapping[str, Any], settings: Mapping[str, Any]) -> Recipe:
    model = place["model"]
    own = {key: value for key, value in place.items() if key in DEFAULTS}
    of_data = STUDY_SETTINGS.get(own.get("data", shared["data"]), {}).get(model, {})
    changes = vars(STUDY_MLP if model == "mlp" else STUDY_RBM) | {"epochs": STUDY_EPOCHS}
    for over in (shared, of_data, settings, own):
        if any(over.get(key) is not None for key in ONE_WIRING):
            changes |= dict.fromkeys(ONE_WIRING)
        changes |= over
    parameters = {key.removeprefix(PREFIX): value for key, value in place.items() if key not in DEFAULTS}
    if parameters:
        changes["evolution"] = _evolution(changes["evolution"], parameters)
    return Recipe(**changes).from_anywhere()


def _evolution(text: str | None, parameters: dict[str, Any]) -> str:
    """The text of an evolution rule with other parameters; what is as by default is not in it."""
    if text is None:
        raise ValueError(f"evolution is off, so it has no {' or '.join(parameters)}; leave these keys out, or none")
    for name, value in parameters.items():
        if isinstance(EVOLUTION[name], bool) and not isinstance(value, bool):
            raise ValueError(f"{name}={value!r} is not possible; use true or false")
    rules = dataclasses.replace(parse("evolution", text), **parameters)
    usual = vars(type(rules)())
    named = [f"{name}={to_text(value)}" for name, value in vars(rules).items() if value != usual[name]]
    return f"evolution({', '.join(named)})" if type(rules) is Evolution else to_text(rules)


def check_runs(runs: Iterable[PlannedRun]) -> None:
    """Fail now on what would fail when a run begins: every cell's data, network, penalties, zone and rules.

    Raises
    ------
    ValueError
        The message names the cell.
    """
    for run in {run.cell: run for run in runs}.values():
        try:
            _check(run.recipe)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{run.cell}: {error}") from None


def _check(recipe: Recipe) -> None:
    check_counts(epochs=recipe.epochs, batch_size=recipe.batch_size, snapshot_every=recipe.snapshot_every)
    data = recipe.load_data()
    # built by the plain backend: this process should not wake up a device
    model = dataclasses.replace(recipe, backend="reference", threads=None).build(data)
    algorithm = recipe.algorithm or ALGORITHMS[recipe.model]
    rules = Rules.of(algorithm, recipe.optimizer, recipe.penalties(), recipe.evolution, recipe.early_stopping)
    check_strengths(rules.regularization, model)
    check_data(model, rules.algorithm, data.X, data.y)
    check_stopping(rules.early_stopping, validation_data(model, rules.algorithm, None if data.X_test is None else data))
    active_zone(recipe.zone, data.X, data.image_shape, data.y)
