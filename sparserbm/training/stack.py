"""Greedy training of a stack: each RBM is a run of its own, on what the layers below make of the data."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sparserbm.backends import Backend, get_backend
from sparserbm.data import Dataset, fingerprint
from sparserbm.data.weights import weighted
from sparserbm.models.rbm import RBM
from sparserbm.models.stack import Stack, transposed
from sparserbm.registry import describe, to_text
from sparserbm.runs import FORMAT, Run, load_run, prepare_folder, read_config, write_config
from sparserbm.training.algorithm import Algorithm
from sparserbm.training.begin import resume, train
from sparserbm.training.callbacks import Callback
from sparserbm.training.checkpoint import load_stack, save_checkpoint
from sparserbm.training.checks import check_callbacks, check_counts
from sparserbm.training.config import Rules, versions

COUNTS = {"epochs": 10, "batch_size": 100, "snapshot_every": 10}
STARTS = ("drawn", "transpose")


@dataclass(frozen=True)
class StackRun:
    """What the training of a stack leaves behind.

    Attributes
    ----------
    model : Stack
    layers : list of Run or None
        The run of every layer, from the data up; None for one that had been trained elsewhere before.
    folder : Path or None
    """

    model: Stack
    layers: list[Run | None]
    folder: Path | None = None


def train_stack(
    stack: Stack,
    X: Any,
    algorithm: Algorithm | str = "cd",
    *,
    per_layer: Sequence[Mapping[str, Any]] | None = None,
    start: str = "drawn",
    sample_weight: Any = None,
    validation: Any = None,
    callbacks: Sequence[Callback] = (),
    image_shape: tuple[int, int] | None = None,
    zone: Any = "auto",
    name: str | None = None,
    out: str | os.PathLike | None = None,
    overwrite: bool = False,
    progress: bool = False,
    **settings: Any,
) -> StackRun:
    """Train the RBMs of a stack one after the other, from the data up.

    The first learns the data, each other one the mean activities of the hidden units below it, which are computed once
    and held as one array. A layer that has been trained before (its epoch is not 0) stays as it is: so a stack can be
    grown by `Stack.add` and trained again.

    Parameters
    ----------
    stack : Stack
        Trained in place.
    X : array, sparse matrix, BatchSource or Dataset
        As in `train`. What the layers above the first see is held as a dense array.
    algorithm : Algorithm or text
    per_layer : sequence of dict, optional
        For every layer the settings in which it differs from the others, by the names of the parameters:
        ``[{"optimizer": "sgd(0.005)", "epochs": 30}, {}]``.
    start : {"drawn", "transpose"}
        What a layer starts from when its turn comes: the wiring and weights that it was made with, or the transpose of
        the layer below (`Stack.add_transpose`). The latter needs units of the same kind and number on both sides.
    sample_weight : (n_samples,) float, optional
        As in `train`, for all layers.
    validation : array, (X, y), (X, y, sample_weight) or Dataset, optional
        As in `train`; goes up through the layers as the data do.
    callbacks : sequence of callables
        As in `train`, for all layers.
    image_shape, zone
        As in `train`, of the first layer: hidden units are no pixels.
    name : str, optional
        The runs are called so, with the number of their layer.
    out : path, optional
        Folder to write: the stack, and a run folder ``layer0``, ``layer1`` ... for each layer.
    overwrite : bool
        Allow `out` to hold an earlier run or stack, which is then lost.
    progress : bool
        Show progress on standard error.
    **settings
        Those of `train` for all layers: epochs, batch_size, optimizer, regularization, evolution, early_stopping,
        shuffle, snapshot_every.

    Returns
    -------
    StackRun

    Raises
    ------
    ValueError, TypeError
        If data, stack and settings do not fit; for the settings of all layers before the first is trained.
    FileExistsError
        If `out` exists and `overwrite` is not set.

    Notes
    -----
    Source: Hinton, Osindero and Teh (2006), sections 4 and 6.1. The bound that justifies the method is one for drawn
    hidden states; as they did, higher layers learn the means, which say the same with less noise.
    """
    if not isinstance(stack, Stack):
        raise TypeError(f"train_stack trains a Stack, not a {type(stack).__name__}; for one model use train()")
    check_callbacks(callbacks)
    shape = None if image_shape is None else [int(side) for side in image_shape]
    plans = _plans(stack, {"algorithm": algorithm} | settings, per_layer)
    order = _Order(name, start, {"image_shape": shape, "zone": _listed(zone)}, plans)
    _check_start(stack, start)
    stack.check_data(_rows(X))
    folder = None if out is None else Path(out)
    finished = [layer.epoch > 0 for layer in stack.layers]
    if folder is not None:
        _begin_folder(stack, folder, overwrite, order)
    return _train(stack, order, finished, (X, sample_weight, validation), folder, tuple(callbacks), progress)


def resume_stack(
    folder: str | os.PathLike,
    X: Any,
    *,
    sample_weight: Any = None,
    validation: Any = None,
    backend: str | Backend | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
) -> StackRun:
    """Finish the training that `train_stack` began in a folder: the layer under way, then those above it.

    On the CPU the result has the bytes of a training that was never stopped.

    Parameters
    ----------
    folder : path
    X, sample_weight, validation : as in `train_stack`
        The same data as before; that is checked.
    backend : {"auto", "numpy", "cupy", "reference"} or Backend, optional
        By default the one that the training began with.
    callbacks, progress : as in `train_stack`

    Raises
    ------
    ValueError
        If the folder holds no stack, a file is damaged, or the data are others.
    """
    folder = Path(folder)
    config = read_config(folder)
    if config["model"]["kind"] != "stack":
        raise ValueError(f"{folder} holds the run of one model, not a stack; use resume()")
    check_callbacks(callbacks)
    made = config["model"]
    backend = get_backend(made["backend"] if backend is None else backend, made["dtype"])
    stack, finished = load_stack(folder, config, backend)
    _check_same_data(folder, stack.check_data(_rows(X)), sample_weight)
    said = config["training"]
    order = _Order(config.get("name"), said["start"], said["first"], said["layers"])
    return _train(stack, order, finished, (X, sample_weight, validation), folder, tuple(callbacks), progress)


# -- the layers, one after the other ---------------------------------------------------------------------------------


class _Order(NamedTuple):
    """What is to be done, as the config of the folder says it too."""

    name: str | None
    start: str
    first: dict[str, Any]  # image shape and zone of the first layer
    layers: list[dict[str, Any]]  # settings of `train` for every layer


def _train(
    stack: Stack,
    order: _Order,
    finished: list[bool],
    data: tuple[Any, Any, Any],
    folder: Path | None,
    callbacks: tuple[Callback, ...],
    progress: bool,
) -> StackRun:
    X, weight, validation = data
    if validation is None and isinstance(X, Dataset) and X.X_test is not None:
        validation = X
    runs: list[Run | None] = []
    for number, (layer, plan) in enumerate(zip(stack.layers, order.layers)):
        own = None if folder is None else folder / f"layer{number}"
        if finished[number]:
            runs.append(_earlier_run(own, layer))
        else:
            if progress:
                sizes = f"{layer.visible.n} to {layer.hidden.n} units"
                print(f"layer {number + 1} of {len(stack)}: {sizes}", file=sys.stderr)
            common = {"sample_weight": weight, "validation": validation, "callbacks": callbacks, "progress": progress}
            if own is not None and (own / "checkpoint.npz").is_file():
                run = resume(own, X, epochs=plan["epochs"], backend=layer.backend, **common)
                stack.layers[number] = layer = run.model
            else:
                if order.start == "transpose" and number > 0:
                    _become_transpose(layer, stack.layers[number - 1])
                called = f"layer {number}" if order.name is None else f"{order.name}, layer {number}"
                common |= {"name": called, "out": own, "overwrite": own is not None}
                special = _for_first(order.first) if number == 0 else _for_others(number, X)
                run = train(layer, X, **plan, **common, **special)
            runs.append(run)
            if folder is not None:
                _save_layer(folder, number, layer, finished=True)
        if number + 1 < len(stack):
            X, validation = layer.transform(_rows(X)), _seen_above(layer, validation)
    return StackRun(stack, runs, folder)


def _rows(given: Any) -> Any:
    """The samples to train with, of what may be a data set."""
    return given.X if isinstance(given, Dataset) else given


def _seen_above(layer: RBM, validation: Any) -> Any:
    """Validation data as the next layer sees them."""
    if isinstance(validation, Dataset):
        validation = validation.X_test
    if isinstance(validation, (tuple, list)) and len(validation) in (2, 3):
        X, *others = validation
        return (layer.transform(X), *others)
    return None if validation is None else layer.transform(validation)


def _become_transpose(layer: RBM, below: RBM) -> None:
    new = transposed(below, seed=layer.seed)
    layer.adopt(new)
    layer.origin = new.origin


def _for_first(first: dict[str, Any]) -> dict[str, Any]:
    zone = first["zone"]
    return first | {"zone": np.array(zone, dtype=bool) if isinstance(zone, list) else zone}


def _for_others(number: int, X: np.ndarray) -> dict[str, Any]:
    # No checksum: these data follow from those of the first layer, whose is checked, and on another device their last
    # digits differ.
    data = {"name": f"layer {number - 1}", "n_samples": len(X), "n_features": X.shape[1], "image_shape": None}
    return {"zone": None, "notes": {"data": data}}


# -- settings, before anything is trained or written -----------------------------------------------------------------


def _plans(stack: Stack, common: Mapping[str, Any], per_layer: Any) -> list[dict[str, Any]]:
    """Settings of `train` for every layer, all of them checked."""
    own = [{}] * len(stack) if per_layer is None else list(per_layer)
    if len(own) != len(stack) or not all(isinstance(each, Mapping) for each in own):
        raise ValueError(
            f"per_layer={per_layer!r} is not possible; give a list of {len(stack)} dicts of settings, one for each "
            f"layer"
        )
    return [_plan({**common, **each}, number) for number, each in enumerate(own)]


def _plan(given: dict[str, Any], number: int) -> dict[str, Any]:
    known = [*Rules.kinds(), *COUNTS, "shuffle"]
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise TypeError(f"a layer of a stack has no setting {name!r}{hint}; possible: {', '.join(known)}")
    try:
        rules = Rules.of(**{kind: given.get(kind) for kind in Rules.kinds()})
        counts = check_counts(**{name: given.get(name, usual) for name, usual in COUNTS.items()})
    except (ValueError, TypeError) as error:
        raise type(error)(f"layer {number}: {error}") from None
    return {kind: getattr(rules, kind) for kind in Rules.kinds()} | counts | {"shuffle": given.get("shuffle", True)}


def _check_start(stack: Stack, start: str) -> None:
    if start not in STARTS:
        raise ValueError(f"start={start!r} is not possible; use one of {', '.join(STARTS)}")
    if start == "drawn":
        return
    for number, (below, layer) in enumerate(zip(stack.layers, stack.layers[1:]), start=1):
        if layer.epoch == 0 and layer.hidden != below.visible:
            raise ValueError(
                f"layer {number} cannot start as the transpose of layer {number - 1}: its hidden units are "
                f"{to_text(layer.hidden)} instead of {to_text(below.visible)}; use start='drawn', or such units"
            )


# -- the folder ------------------------------------------------------------------------------------------------------


def _begin_folder(stack: Stack, folder: Path, overwrite: bool, order: _Order) -> None:
    """Write all that is needed to resume before the first layer is trained."""
    layers = [{key: _told(value) for key, value in plan.items()} for plan in order.layers]
    config = {
        "format": FORMAT,
        **({} if order.name is None else {"name": order.name}),
        "model": stack.describe()
        | {"backend": stack.backend.name, "layer_sizes": [units.n for units in stack.units]}
        | {"n_connections": [layer.n_connections for layer in stack.layers]},
        "training": {"start": order.start, "first": order.first, "layers": layers},
        "seed": stack.seed,
        "versions": dict(versions()),
    }
    prepare_folder(folder, overwrite)
    for earlier in folder.glob("layer[0-9]*"):  # of an earlier stack
        if earlier.suffix == ".npz":
            earlier.unlink()
        elif (earlier / "config.json").is_file():
            prepare_folder(earlier, overwrite=True)
            if not any(earlier.iterdir()):
                earlier.rmdir()
    write_config(folder, config)
    for number, layer in enumerate(stack.layers):
        _save_layer(folder, number, layer, finished=layer.epoch > 0)


def _told(value: Any) -> Any:
    return value if isinstance(value, (bool, int)) else describe(value)


def _listed(zone: Any) -> Any:
    """A zone as JSON has it: a text, None, or a list of bools."""
    if isinstance(zone, np.ndarray):
        return zone.astype(bool).tolist()
    return describe(zone)


def _save_layer(folder: Path, number: int, layer: RBM, finished: bool) -> None:
    bare = layer.copy({"weight", "born"})
    for slots in bare.biases:
        slots.keep_only(bare.unit_slots)
    save_checkpoint(folder / f"layer{number}.npz", bare, {"finished": finished}, {})


def _earlier_run(folder: Path | None, layer: RBM) -> Run | None:
    """The run of a layer that had been trained before, where it is in the folder of its stack."""
    if folder is None or not (folder / "config.json").is_file():
        return None
    run = load_run(folder)
    run.model = layer
    return run


def _check_same_data(folder: Path, X: Any, sample_weight: Any) -> None:
    """The data of the first layer, from whose activities those of the others follow."""
    first = folder / "layer0"
    if not (first / "config.json").is_file():
        return
    data = read_config(first)["data"]
    X, _, weight = weighted(X, None, sample_weight)
    found = fingerprint(X, None) if weight is None else fingerprint(X, None, weight)
    if data.get("sha256", found) != found:
        raise ValueError(
            f"these are not the data of stack {folder} (other checksum); resume it with those that it began with: "
            f"{data['name']}"
        )
