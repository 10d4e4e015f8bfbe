"""The run folder: what a training run leaves behind, and how it is read again.

``config.json`` says everything needed to repeat the run, ``metrics.jsonl`` has one line an epoch,
``topology/000012.npz`` the degrees after epoch 12 (and the whole pattern now and then), ``checkpoint.npz`` and
``best.npz`` the model. A reader needs no model: measures and pictures work from here.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

FORMAT = 1


@dataclass(frozen=True)
class LayerSnapshot:
    """One matrix of connections at one moment.

    Attributes
    ----------
    degree_pre : (n_pre,) int
        Connections of every input (visible or pre-synaptic) unit.
    degree_post : (n_post,) int
        Connections of every output (hidden or post-synaptic) unit.
    indptr, pre, weight, born : arrays or None
        The whole pattern, CSR by post unit, when the snapshot holds it: ``pre[indptr[j]:indptr[j + 1]]`` are the
        inputs of unit j, with their weights and steps of birth.
    """

    degree_pre: np.ndarray
    degree_post: np.ndarray
    indptr: np.ndarray | None = None
    pre: np.ndarray | None = None
    weight: np.ndarray | None = None
    born: np.ndarray | None = None

    @property
    def has_pattern(self) -> bool:
        return self.indptr is not None


@dataclass(frozen=True)
class Snapshot:
    """The topology of every layer after `epoch` epochs (0: before training), before that epoch's evolution."""

    epoch: int
    layers: tuple[LayerSnapshot, ...]


@dataclass(repr=False)
class Run:
    """A training run, in memory or read from a folder.

    Attributes
    ----------
    config : dict
        Resolved options, seed, versions, data fingerprint; ``config["data"]["image_shape"]`` is (rows, columns)
        or None, ``config["zone"]`` the active inputs (see `zone_mask`).
    metrics : list of dict
        One entry an epoch, epoch 0 (before training) first; a quantity that was not measured is missing.
    snapshots : mapping from epoch to Snapshot
        Read lazily from the folder.
    folder : Path or None
    model : object or None
        The trained model, where the run was made in this process.
    carry : dict
        What training needs beside the model to go on as if it had not stopped (``train(follows=run)``).
    """

    config: dict[str, Any]
    metrics: list[dict[str, Any]] = field(default_factory=list)
    snapshots: Mapping[int, Snapshot] = field(default_factory=dict)
    folder: Path | None = None
    model: Any = None
    carry: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        epochs = self.metrics[-1]["epoch"] if self.metrics else 0
        return f"Run({self.name!r}, {epochs} epochs, {'in memory' if self.folder is None else self.folder})"

    @property
    def name(self) -> str:
        return str(self.config.get("name") or (self.folder.name if self.folder else "run"))

    @property
    def history(self) -> dict[str, np.ndarray]:
        """Metrics as columns, NaN where an epoch lacks the quantity; text columns are object arrays."""
        keys = list(dict.fromkeys(key for line in self.metrics for key in line))
        columns = {}
        for key in keys:
            values = [line.get(key) for line in self.metrics]
            if any(isinstance(value, str) for value in values):
                columns[key] = np.array(["" if value is None else value for value in values], dtype=object)
            else:
                columns[key] = np.array([np.nan if value is None else value for value in values], dtype=float)
        return columns

    @property
    def zone_mask(self) -> np.ndarray | None:
        """Which inputs form the active zone: (n_features,) bool, or None where the run has no zone."""
        zone = self.config.get("zone")
        if zone is None:
            return None
        mask = np.zeros(int(self.config["data"]["n_features"]), dtype=bool)
        inputs = np.asarray(zone["inputs"], dtype=int)
        if inputs.size and not 0 <= inputs.min() <= inputs.max() < mask.size:
            raise ValueError(
                f"the active zone of run {self.name} names the inputs {inputs.min()} to {inputs.max()}, but there are "
                f"0 to {mask.size - 1}: its config.json is damaged"
            )
        mask[inputs] = True
        return mask

    def degrees(self, layer: int = 0, side: str = "pre") -> tuple[np.ndarray, np.ndarray]:
        """Degrees over time: epochs (n_snapshots,) and connections per unit (n_snapshots, n_units).

        Parameters
        ----------
        layer : int
            Matrix of connections, from 0 at the input.
        side : {"pre", "post"}
            Count per input unit or per output unit of that layer.
        """
        epochs = np.array(sorted(self.snapshots), dtype=int)
        rows = [getattr(self.snapshots[int(epoch)].layers[layer], f"degree_{side}") for epoch in epochs]
        return epochs, np.array(rows)

    def last_pattern(self, layer: int = 0) -> tuple[int, LayerSnapshot]:
        """Epoch and layer of the newest snapshot that holds the whole pattern.

        Raises
        ------
        ValueError
            If no snapshot of this run holds a pattern.
        """
        for epoch in sorted(self.snapshots, reverse=True):
            found = self.snapshots[epoch].layers[layer]
            if found.has_pattern:
                return epoch, found
        raise ValueError(f"run {self.name} has no snapshot with whole patterns; train with snapshot_every=1 or more")


def load_run(folder: str | os.PathLike) -> Run:
    """Read a run folder.

    Raises
    ------
    ValueError
        If `folder` is no run folder, one written by a newer format, or that of a stack.
    """
    folder = Path(folder)
    config = read_config(folder)
    if config.get("model", {}).get("kind") == "stack":
        raise ValueError(f"{folder} holds a stack, with one run for each layer: read {folder / 'layer0'} and so on")
    return Run(config, _read_metrics(folder), _FolderSnapshots(folder), folder)


def read_config(folder: Path) -> dict[str, Any]:
    """The ``config.json`` of a run folder, checked."""
    path = folder / "config.json"
    if not path.is_file():
        raise ValueError(f"{folder} is no run folder (no config.json); give a folder that training wrote with out=")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}); restore it or train again") from None
    if not isinstance(config, dict):
        raise ValueError(f"{path} is damaged (it holds a {type(config).__name__}); restore it or train again")
    if config.get("format") != FORMAT:
        raise ValueError(
            f"{path} has run format {config.get('format')}; this version reads format {FORMAT}: "
            f"use the version of sparserbm that wrote it ({config.get('versions', {}).get('sparserbm', 'unknown')})"
        )
    return config


class RunWriter:
    """Writes a run, line by line, to a folder and to the `Run` in memory.

    Parameters
    ----------
    config : dict
        JSON-ready.
    folder : path or None
        None keeps the run in memory only.
    overwrite : bool
        Allow a folder that exists already; its earlier run is removed.
    """

    def __init__(self, config: dict[str, Any], folder: str | os.PathLike | None = None, overwrite: bool = False):
        self.folder = None if folder is None else Path(folder)
        self.run = Run(dict(config, format=FORMAT), [], {}, self.folder)
        if self.folder is None:
            return
        json.dumps(self.run.config)  # fails before anything is written or removed
        prepare_folder(self.folder, overwrite)
        self.write_config()
        (self.folder / "topology").mkdir()

    @classmethod
    def reopen(cls, folder: str | os.PathLike, epoch: int) -> RunWriter:
        """Continue a run after `epoch`: lines and snapshots of later epochs (a crash left them) are removed."""
        writer = cls.__new__(cls)
        writer.folder = Path(folder)
        run = load_run(writer.folder)
        run.metrics = [line for line in run.metrics if line["epoch"] <= epoch]
        text = "".join(json.dumps(line) + "\n" for line in run.metrics)
        write_atomically(writer.folder / "metrics.jsonl", text.encode())
        for later in [e for e in run.snapshots if e > epoch]:
            _snapshot_path(writer.folder, later).unlink()
        writer.run = load_run(writer.folder)
        return writer

    def write_config(self) -> None:
        if self.folder is not None:
            write_config(self.folder, self.run.config)

    def log(self, metrics: dict[str, Any]) -> None:
        """Append one epoch's metrics; None and non-finite values are left out (JSON has no NaN)."""
        line = {
            key: value
            for key, value in metrics.items()
            if value is not None and not (isinstance(value, float) and not np.isfinite(value))
        }
        self.run.metrics.append(line)
        if self.folder is not None:
            with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")

    def snapshot(self, snapshot: Snapshot) -> None:
        if self.folder is None:
            self.run.snapshots[snapshot.epoch] = _own_values(snapshot)  # type: ignore[index]
            return
        arrays: dict[str, np.ndarray] = {}
        for number, layer in enumerate(snapshot.layers):
            for name in _ARRAYS:
                array = getattr(layer, name)
                if array is not None:
                    arrays[f"{name}_{number}"] = array
        path = _snapshot_path(self.folder, snapshot.epoch)
        temporary = path.with_suffix(".tmp")
        with open(temporary, "wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, path)


def _own_values(snapshot: Snapshot) -> Snapshot:
    """The same snapshot with copies of what training goes on to change; patterns are immutable."""
    layers = [
        replace(layer, weight=layer.weight.copy(), born=layer.born.copy())
        if layer.weight is not None and layer.born is not None
        else layer
        for layer in snapshot.layers
    ]
    return replace(snapshot, layers=tuple(layers))


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write the ``config.json`` of a folder."""
    write_atomically(folder / "config.json", (json.dumps(config, indent=2) + "\n").encode())


def prepare_folder(folder: Path, overwrite: bool) -> None:
    """Make room for a new run; an existing run is refused unless `overwrite`, and other files are never touched."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; give another name for the run folder")
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / "config.json").is_file():
            raise FileExistsError(f"{folder} is not empty and holds no run; give another name for the run folder")
        if not overwrite:
            raise FileExistsError(
                f"run folder {folder} exists; give another name, pass overwrite=True (--overwrite), or resume it"
            )
        for path in _FILES:
            (folder / path).unlink(missing_ok=True)
        shutil.rmtree(folder / "topology", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


def write_atomically(path: Path, content: bytes | Callable[[BinaryIO], Any]) -> None:
    """Write so that a crash leaves the old file or the new one, never half of one; `content` may write by itself."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as stream:
        if callable(content):
            content(stream)
        else:
            stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open a folder for fsync
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_ARRAYS = ("degree_pre", "degree_post", "indptr", "pre", "weight", "born")
_FILES = ("config.json", "metrics.jsonl", "checkpoint.npz", "best.npz")


def _snapshot_path(folder: Path, epoch: int) -> Path:
    return folder / "topology" / f"{epoch:06d}.npz"


def _read_metrics(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines()
    metrics = []
    for number, line in enumerate(lines):
        try:
            found = json.loads(line)
        except ValueError:
            if number == len(lines) - 1:  # a crash in the middle of the last line loses that line only
                break
            found = None
        if not isinstance(found, dict):
            raise ValueError(f"{path}, line {number + 1} is damaged; restore the file or train again")
        metrics.append(found)
    return metrics


class _FolderSnapshots(Mapping[int, Snapshot]):
    """The snapshots of a folder, each read when asked for."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._read: dict[int, Snapshot] = {}
        named = [path.stem for path in (folder / "topology").glob("[0-9]*.npz")]
        self._epochs = sorted(int(name) for name in named if name.isdecimal())

    def __iter__(self) -> Iterator[int]:
        return iter(self._epochs)

    def __len__(self) -> int:
        return len(self._epochs)

    def __getitem__(self, epoch: int) -> Snapshot:
        if epoch not in self._read:
            self._read[epoch] = self._load(epoch)
        return self._read[epoch]

    def _load(self, epoch: int) -> Snapshot:
        path = _snapshot_path(self._folder, epoch)
        if not path.exists():
            raise KeyError(epoch)
        try:
            # From memory: np.load leaves a damaged file open.
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
                n_layers = sum(name.startswith("degree_pre_") for name in arrays.files)
                layers = tuple(
                    LayerSnapshot(**{name: arrays[f"{name}_{k}"] for name in _ARRAYS if f"{name}_{k}" in arrays.files})
                    for k in range(n_layers)
                )
        except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path} is damaged ({error}); restore it or train again") from None
        if not layers:
            raise ValueError(f"{path} is damaged (it holds no layer); restore it or train again")
        return Snapshot(epoch, layers)
