"""MNIST and Fashion-MNIST: from the user's folder, from our cache, or from OpenML into our cache."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from sparserbm.data.files import RawData
from sparserbm.data.idx import find_idx, read_images, read_labels, reading

OPENML_NAMES = {"mnist": "mnist_784", "fashion-mnist": "Fashion-MNIST"}
_IMAGES, _LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
_FILES = [f"{part}-{kind}" for part in ("train", "t10k") for kind in (_IMAGES, _LABELS)]
_N_TRAIN, _N_TEST, _IMAGE_SHAPE = 60_000, 10_000, (28, 28)

logger = logging.getLogger("sparserbm")


def read_mnist(name: str, folder: str | os.PathLike | None = None) -> RawData:
    """The raw arrays of ``"mnist"`` or ``"fashion-mnist"``, uint8, labels int64.

    Places, in this order: `folder` (the IDX files in ``folder/<name>`` or in `folder` itself), the same in
    the folder named by the environment variable SPARSERBM_DATA, our cache (SPARSERBM_CACHE, else
    XDG_CACHE_HOME/sparserbm, else ~/.cache/sparserbm), and OpenML through scikit-learn, which fills the
    cache.

    Raises
    ------
    FileNotFoundError
        If it is nowhere and cannot be fetched, or a folder holds only some of the four files.
    ValueError
        If a file is damaged.
    """
    places = _places(name, folder)
    for place in places:
        if any(find_idx(place, file) for file in _FILES):
            return _read_folder(place)
    images, labels = _read_cache(name) or _fetch(name, places)
    train, test = slice(0, _N_TRAIN), slice(_N_TRAIN, None)
    labels = labels.astype(np.int64)
    return RawData(images[train], labels[train], images[test], labels[test], _IMAGE_SHAPE)


def _places(name: str, folder: str | os.PathLike | None) -> list[Path]:
    places = []
    if folder is not None:
        places += [Path(folder).expanduser() / name, Path(folder).expanduser()]
    if shared := os.environ.get("SPARSERBM_DATA"):
        places.append(Path(shared).expanduser() / name)
        # The files of both sets have the same names. In a folder that serves all data sets, loose ones are
        # MNIST: taken for Fashion-MNIST, they would give wrong results that look right.
        if name == "mnist":
            places.append(Path(shared).expanduser())
    return places


def _read_folder(folder: Path) -> RawData:
    found = {file: find_idx(folder, file) for file in _FILES}
    if missing := [file for file, path in found.items() if path is None]:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)} (plain or .gz); the four files of a set must lie together"
        )
    train, train_labels, test, test_labels = (path for path in found.values() if path is not None)
    X, image_shape = read_images(train)
    return RawData(X, read_labels(train_labels), read_images(test)[0], read_labels(test_labels), image_shape)


def cache_folder() -> Path:
    """Where fetched data sets are kept."""
    if own := os.environ.get("SPARSERBM_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sparserbm"


def _cache_paths(name: str) -> tuple[Path, Path]:
    return cache_folder() / f"{name}-images.npy", cache_folder() / f"{name}-labels.npy"


def _read_cache(name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Images (70000, 784) and labels (70000,), uint8 and memory-mapped; None if the cache lacks them."""
    paths = _cache_paths(name)
    if not all(path.is_file() and _sidecar(path).is_file() for path in paths):
        return None
    for path in paths:
        if _sidecar(path).read_text(encoding="utf-8").split()[:1] != [_sha256(path)]:
            raise ValueError(
                f"{path} does not match the checksum in {_sidecar(path).name}: it is damaged; "
                f"delete both files, and the next load fetches {name} again"
            )
    with reading(paths[0].parent, "cache of npy files"):
        images, labels = (np.load(path, mmap_mode="r", allow_pickle=False) for path in paths)
    return images, labels


def _write_cache(name: str, arrays: tuple[np.ndarray, np.ndarray]) -> None:
    """The sidecar is written last: a cache without it is incomplete and is fetched again."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    for path, array in zip(_cache_paths(name), arrays):
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        with open(temporary, "wb") as stream:
            np.save(stream, array, allow_pickle=False)
        digest = _sha256(temporary)
        os.replace(temporary, path)
        temporary.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
        os.replace(temporary, _sidecar(path))


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fetch(name: str, places: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import fetch_openml

    logger.info("fetching %s from OpenML into %s", name, cache_folder())
    try:
        # This parser is the slow one, but the only one that does not need pandas.
        bunch = fetch_openml(OPENML_NAMES[name], version=1, as_frame=False, parser="liac-arff")
    except Exception as error:  # no network, a proxy, a broken answer, a full disk: the way out is the same
        looked = [str(place) for place in places] + [str(cache_folder())]
        variable = "" if os.environ.get("SPARSERBM_DATA") else " (SPARSERBM_DATA is not set)"
        raise FileNotFoundError(
            f"cannot find {name}: it is not in {', '.join(looked)}{variable}, and fetching it from OpenML "
            f"failed ({type(error).__name__}: {error}); put {_FILES[0]}.gz and its three companions into a "
            f"folder {name}/ and set SPARSERBM_DATA to the folder above it, or pass folder="
        ) from error
    arrays = _as_bytes(bunch, name)
    try:
        _write_cache(name, arrays)
    except OSError as error:
        logger.warning("cannot keep %s (%s); set SPARSERBM_CACHE to a writable folder", name, error)
    return arrays


def _as_bytes(bunch: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """What OpenML gave, as uint8; checked before it enters the cache."""
    images, labels = np.asarray(bunch.data), np.asarray(bunch.target).astype(np.int64)
    expected = (_N_TRAIN + _N_TEST, _IMAGE_SHAPE[0] * _IMAGE_SHAPE[1])
    if images.shape != expected or labels.shape != expected[:1]:
        raise ValueError(
            f"OpenML gave {name} with images of shape {images.shape} and labels of shape {labels.shape}, "
            f"not {expected} and {expected[:1]}; put the original files into a folder and pass folder="
        )
    if images.min() < 0 or images.max() > 255 or labels.min() < 0 or labels.max() > 9:
        raise ValueError(f"OpenML gave {name} with pixels beyond 0..255 or labels beyond 0..9; pass folder=")
    return images.astype(np.uint8), labels.astype(np.uint8)
