"""Checkpoints: one .npz of NumPy arrays and a JSON manifest; see docs/checkpoint_format.md.

Arrays always come to the host, so that a run of one device resumes on another. Nothing is pickled. On load,
format version, checksums and the invariants of the patterns are checked before any kernel sees an index.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparserbm.backends import Backend, get_backend
from sparserbm.models.base import Model, resolve_units
from sparserbm.models.mlp import MLP
from sparserbm.models.rbm import RBM
from sparserbm.models.stack import Stack
from sparserbm.network.connections import Connections, Pattern
from sparserbm.network.slots import Slots
from sparserbm.registry import parse
from sparserbm.rng import Streams
from sparserbm.runs import read_config, write_atomically

FORMAT = 1
KINDS: dict[str, type[Model]] = {"rbm": RBM, "mlp": MLP}


def save_checkpoint(path: str | os.PathLike, model: Model, extra: dict[str, Any], state: dict[str, np.ndarray]) -> None:
    """Write `model`, JSON-ready `extra` and the trainer's `state` to `path`, all or nothing."""
    arrays: dict[str, np.ndarray] = {}
    for number, layer in enumerate(model.connections):
        arrays[f"layer{number}/indptr"] = layer.pattern.indptr
        arrays[f"layer{number}/pre"] = layer.pattern.pre
        for name, array in layer.slots.to_numpy().items():
            arrays[f"layer{number}/slots/{name}"] = array
    for number, slots in enumerate(model.biases):
        for name, array in slots.to_numpy().items():
            arrays[f"biases{number}/{name}"] = array
    for name, array in state.items():
        arrays[f"trainer/{name}"] = array
    manifest = {
        "format": FORMAT,
        "model": model.describe(),
        "step": model.step,
        "epoch": model.epoch,
        "extra": extra,
        "sha256": {name: _checksum(array) for name, array in arrays.items()},
    }
    text = np.frombuffer(json.dumps(manifest).encode(), dtype=np.uint8)
    # Array by array to the file: through memory it would take the model's size twice.
    write_atomically(Path(path), lambda stream: np.savez(stream, manifest=text, **arrays))  # type: ignore[arg-type]


def load_checkpoint(
    path: str | os.PathLike, backend: str | Backend = "auto"
) -> tuple[Model, dict[str, Any], dict[str, np.ndarray]]:
    """The model, `extra` and trainer state of a checkpoint.

    Raises
    ------
    ValueError
        If the file is no checkpoint, damaged, or of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no checkpoint {path}; train with out= to write one")
    manifest, arrays = _read(path)
    try:
        model = _rebuild(manifest, arrays, backend, path)
    except KeyError as error:
        raise ValueError(f"{path} is damaged or of another format: it lacks {error}") from None
    state = {name.removeprefix("trainer/"): array for name, array in arrays.items() if name.startswith("trainer/")}
    return model, manifest["extra"], state


def load_model(path: str | os.PathLike, backend: str | Backend = "auto", which: str = "checkpoint") -> Any:
    """The model of a run folder or of a checkpoint file, or the stack of a folder of `train_stack`.

    Parameters
    ----------
    path : path
        A run folder or an .npz checkpoint.
    backend : {"auto", "numpy", "cupy", "reference"} or Backend
    which : {"checkpoint", "best"}
        From a run folder, the last model or the one with the best validation figures. A stack has one state only: every
        finished layer is the model that the layers above it were trained on.
    """
    path = Path(path)
    if path.is_dir() and (path / "config.json").is_file() and _is_stack(config := read_config(path)):
        if which != "checkpoint":
            raise ValueError(f"a stack has no {which!r} model; ask for that of a layer, {path / 'layer0'} and so on")
        return load_stack(path, config, backend)[0]
    return load_checkpoint(path / f"{which}.npz" if path.is_dir() else path, backend)[0]


def load_stack(folder: Path, config: dict[str, Any], backend: str | Backend = "auto") -> tuple[Stack, list[bool]]:
    """The stack of a folder with this config, and for each layer whether its training is finished."""
    layers, finished = [], []
    for number in range(len(config["model"]["units"]) - 1):
        layer, extra, _ = load_checkpoint(folder / f"layer{number}.npz", backend)
        under_way = folder / f"layer{number}" / "checkpoint.npz"
        if not extra["finished"] and under_way.is_file():
            layer = load_checkpoint(under_way, backend)[0]
        layers.append(layer)
        finished.append(extra["finished"])
    return Stack.from_rbms(layers, seed=config["seed"]), finished  # type: ignore[arg-type]


def _is_stack(config: dict[str, Any]) -> bool:
    return config.get("model", {}).get("kind") == "stack"


@dataclass(frozen=True)
class Checkpoint:
    """A callback that saves the model at the end of an epoch, all or nothing, over what was there.

    For training without a run folder, such as that of the estimators; `load_model` reads the file.

    Parameters
    ----------
    path : path
        An .npz file. ``{epoch}`` in it becomes the number of the epoch, so that files of all epochs stay.
    every : int
        Save after every so many epochs.
    """

    path: str | os.PathLike
    every: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
            raise ValueError(f"every={self.every!r} is not possible; use an integer of at least 1 (epochs)")

    def __call__(self, model: Model, metrics: dict[str, Any]) -> None:
        if metrics["epoch"] % self.every == 0:
            save_checkpoint(os.fspath(self.path).replace("{epoch}", str(metrics["epoch"])), model, {}, {})


def _checksum(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).data).hexdigest()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        # From memory: np.load leaves a damaged file open.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        manifest = json.loads(arrays.pop("manifest").tobytes())
        sums = manifest["sha256"]
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is no checkpoint or is damaged ({error}); restore it from a copy") from None
    if manifest.get("format") != FORMAT:
        raise ValueError(f"{path} has checkpoint format {manifest.get('format')}; this version reads format {FORMAT}")
    wrong = sorted({name for name in sums if name not in arrays or _checksum(arrays[name]) != sums[name]})
    if wrong or set(arrays) != set(sums):
        raise ValueError(f"{path} is damaged: checksum of {', '.join(wrong) or 'its array list'} does not match")
    return manifest, arrays


def _rebuild(manifest: dict[str, Any], arrays: dict[str, np.ndarray], backend: str | Backend, path: Path) -> Model:
    described = manifest["model"]
    cls = KINDS[described["kind"]]
    model = cls.__new__(cls)
    model.backend = get_backend(backend, described["dtype"])
    model.streams = Streams(described["seed"])
    model.step, model.epoch = manifest["step"], manifest["epoch"]
    model.origin = described.get("origin", {})
    model.units = tuple(resolve_units(text) for text in described["units"])
    model.connections = []
    for number, rule in enumerate(described["weights"]):
        own = f"layer{number}/"
        n_pre, n_post = model.units[number].n, model.units[number + 1].n
        pattern = Pattern(n_pre, n_post, arrays[f"{own}indptr"], arrays[f"{own}pre"])
        try:
            pattern.check()
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from None
        layer = Connections(model.backend, pattern, arrays[f"{own}slots/weight"], rule and parse("weights", rule))
        _fill(layer.slots, arrays, f"{own}slots/")
        model.connections.append(layer)
    model.biases = []
    for number in range(len(model.bias_layers)):
        own = f"biases{number}/"
        slots = Slots(model.backend, len(arrays[f"{own}bias"]))
        _fill(slots, arrays, own)
        model.biases.append(slots)
    return model


def _fill(slots: Slots, arrays: dict[str, np.ndarray], prefix: str) -> None:
    for name, array in arrays.items():
        if name.startswith(prefix):
            slots[name.removeprefix(prefix)] = array
