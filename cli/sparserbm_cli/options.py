"""Options that become a recipe, with the precedence flag > --set > file > default."""

from __future__ import annotations

import ast
import dataclasses
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Command = Callable[..., Any]


class Sizes(click.ParamType):
    """Comma-separated integers, ``512,128``."""

    name = "N[,N...]"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        if isinstance(value, (list, tuple)):
            return tuple(value)
        try:
            return tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of integers; write e.g. 512,128", param, ctx)


class Words(click.ParamType):
    """Comma-separated words."""

    name = "A[,A...]"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        if isinstance(value, (list, tuple)):
            return tuple(value)
        return tuple(part.strip() for part in str(value).split(",") if part.strip())


class Strength(click.ParamType):
    """A number or the text of a schedule."""

    name = "NUMBER|SCHEDULE"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return strength(value)


def strength(value: Any) -> Any:
    """A number, or numbers for the layers, where the text is that; schedules stay text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        pass
    text = str(value).strip()
    return split_strengths(text[1:-1]) if text.startswith("(") and text.endswith(")") else value


def split_strengths(text: str) -> tuple[Any, ...]:
    """``"0, 1e-3, linear(0, 1e-3, 5000)"`` as two numbers and a schedule."""
    return tuple(strength(part) for part in split_values(text))


def split_values(text: str) -> list[str]:
    """Cut ``"0, 1e-3, linear(0, 1e-3, 5000)"`` at the commas outside parentheses."""
    parts, depth, start = [], 0, 0
    for place, character in enumerate(text + ","):
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append(text[start:place].strip())
            start = place + 1
    return [part for part in parts if part]


# (flag, field of the recipe, type, help); None as the default of all, so that what was not given is known.
_RECIPE = (
    ("--data", "data", str, "digits, mnist, fashion-mnist, or a file (.npz .npy .csv .mat .svmlight, IDX)."),
    ("--data-folder", "folder", str, "Where to look first; else SPARSERBM_DATA, the cache, the network."),
    ("--scale", "scale", str, "unit: [0, 1]; standard: (x - mean) / std; binary; stochastic; none."),
    ("--image-shape", "image_shape", Sizes(), "Rows and columns, for files of images: 32,32."),
    ("--validation", "validation", float, "Share held out where the data bring no test set."),
    ("--hidden", "hidden", Sizes(), "Hidden units; an MLP may have several layers: 512,128."),
    ("--visible", "visible", str, 'RBM: visible units, bernoulli, "gaussian(learned=True)", "potts(states=3)" ...'),
    ("--hidden-units", "hidden_units", str, "RBM: hidden units, bernoulli, gaussian, truncated_gaussian ..."),
    ("--activation", "activation", str, 'MLP: relu, sigmoid, tanh, linear, srelu, "leaky_relu(0.1)", "all_relu(0.6)".'),
    ("--epsilon", "epsilon", float, "Erdos-Renyi wiring with epsilon * (inputs + outputs) connections a layer."),
    ("--density", "density", float, "The same by density, 1 = dense."),
    ("--wiring", "wiring", str, 'Another first wiring, e.g. "fixed_fan_in(20)", "erk(density=0.1)".'),
    ("--weights", "weights", str, "Weight scale: set, set_rbm, hinton, he_sparse, he_dense, normal(0.1) ..."),
    ("--algorithm", "algorithm", str, 'E.g. "cd(k=5)", "cd(persistent=True, centred=True)" or "backprop".'),
    ("--optimizer", "optimizer", str, 'E.g. "sgd(0.05, momentum=0.9)" or "adam(1e-3)".'),
    ("--evolve", "evolution", str, 'E.g. "set(zeta=0.3)", "evolution(drop=magnitude, grow=gradient)", or none.'),
    ("--l2", "l2", Strength(), 'L2 strength, e.g. 1e-3 or "linear(0, 1e-3, 5000)".'),
    ("--l1", "l1", Strength(), "L1 strength."),
    ("--regularization", "regularization", str, 'Another penalty, e.g. "elastic_net(1e-5, 1e-4)".'),
    ("--epochs", "epochs", int, "Passes over the data."),
    ("--batch-size", "batch_size", int, "Samples in a mini-batch."),
    ("--early-stopping", "early_stopping", str, 'E.g. "early_stopping(patience=10)".'),
    (
        "--zone",
        "zone",
        str,
        'Active zone: auto, "central(20)", "deviation(0.1)", information, "columns((0, 1))", none, ...',
    ),
    ("--snapshot-every", "snapshot_every", int, "Whole patterns every so many epochs."),
    ("--seed", "seed", int, "All randomness depends on it."),
    ("--backend", "backend", str, "auto, numpy, cupy (a GPU; cupy:1 is the second) or reference."),
    ("--threads", "threads", int, "Threads of the CPU kernels."),
)
# "none" switches these off
_OPTIONAL = ("evolution", "zone", "early_stopping", "wiring", "algorithm")


def recipe_options(command: Command) -> Command:
    """Add the options of a recipe to a click command."""
    from sparserbm.recipes import Recipe  # imported where the defaults are shown

    defaults = {field.name: field.default for field in dataclasses.fields(Recipe)}
    for flag, name, kind, text in reversed(_RECIPE):
        default = defaults[name]
        shown = "" if default is None else f"  [default: {_shown(default)}]"
        command = click.option(flag, name, type=kind, default=None, help=text + shown)(command)
    command = click.option("--penalise-biases", is_flag=True, default=None, help="Penalties act on biases too.")(
        command
    )
    command = click.option(
        "--preset", help="Start from published settings: set_rbm, set_mlp, synapses, evolnet, rigl ..."
    )(command)
    command = click.option("--config", type=click.Path(), help="TOML file with the same settings.")(command)
    return click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="One setting, over the file.")(
        command
    )


def recipe_settings(
    model: str, preset: str | None, config: str | None, sets: tuple[str, ...], flags: dict[str, Any]
) -> dict[str, Any]:
    """Settings for a `Recipe`, by precedence: flags, ``--set``, the file, the preset.

    In a file, and with ``--set``, a setting stands at the top level or in the table of its model (``mlp.hidden``),
    which wins.
    """
    from sparserbm.recipes import MODELS, Recipe

    known = set(Recipe.options()) - {"model"}
    found: dict[str, Any] = {} if preset is None else _preset(model, preset)
    for source, table in ((config, read_toml(config)), ("--set", read_sets(sets))):
        own = table.get(model, {})
        if not isinstance(own, dict):
            raise click.UsageError(f"{model}={own!r} in {source} is no table of settings; write {model}.hidden=500")
        shared = {key: value for key, value in table.items() if key not in MODELS}
        for key, value in {**shared, **own}.items():
            if key not in known:
                raise click.UsageError(f"unknown setting {key!r} in {source}; known: {', '.join(sorted(known))}")
            found[key] = value
    found |= {key: value for key, value in flags.items() if value is not None}
    return switched_off(found)


def _preset(model: str, name: str) -> dict[str, Any]:
    from sparserbm.presets import preset
    from sparserbm.recipes import Recipe

    recipe, default = preset(name), Recipe(model=model)
    if recipe.model != model:
        raise click.UsageError(f"preset {name!r} is for train {recipe.model}, not for train {model}")
    return {key: value for key, value in vars(recipe).items() if key != "model" and value != getattr(default, key)}


def switched_off(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with "none" as None where that switches something off, and lists as tuples."""
    return {key: None if key in _OPTIONAL and value == "none" else _tuples(value) for key, value in settings.items()}


def read_toml(path: str | None) -> dict[str, Any]:
    """The settings of a TOML file; none for no path."""
    if path is None:
        return {}
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise click.UsageError(f"there is no config file {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"config file {path} is no valid TOML: {error}") from None


def read_sets(sets: tuple[str, ...]) -> dict[str, Any]:
    """``("epochs=5", "mlp.hidden=(64, 32)")`` as nested settings; what is no Python literal is text."""
    table: dict[str, Any] = {}
    for item in sets:
        key, equals, text = item.partition("=")
        if not equals:
            raise click.UsageError(f"--set {item!r} is no KEY=VALUE, e.g. --set epochs=5 or --set mlp.hidden=512,128")
        *tables, name = key.strip().split(".")
        place = table
        for part in tables:
            place = place.setdefault(part, {})
        place[name] = literal(text.strip())
    return table


def literal(text: str) -> Any:
    """A Python literal as its value, anything else as text."""
    if text in ("true", "false"):  # as in TOML
        return text == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _shown(default: Any) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
