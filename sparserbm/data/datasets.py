"""Data sets by name or path: ``load_dataset("digits")``, ``load_dataset("cells.csv", scale="standard")``.

Outside the library examples are rows, (n_samples, n_features); `batches` turns them for the device.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparserbm.data.files import SUFFIXES, RawData, read_file, reader_for
from sparserbm.data.mnist import OPENML_NAMES, read_mnist
from sparserbm.data.scaling import check_features, check_mode, scale_features
from sparserbm.data.sources import as_samples, fingerprint, take

NAMES = ("digits", *OPENML_NAMES)

# The split belongs to the data set: it must not move with the seed of a run.
_DIGITS_SPLIT_SEED = 0
_HOLD_OUT_SEED = 0


@dataclass(frozen=True, eq=False)
class Dataset:
    """Scaled examples, ready for training.

    Attributes
    ----------
    name : str
        The name it was loaded by, or the name of its file.
    X : (n_samples, n_features) float32
        Training examples: an array in C-order, or a `BatchSource` where that would take too much memory. That of a
        sparse file has its rows as the CSR ``X.matrix``; that of an ``.npy`` file reads and scales them when they are
        asked for.
    y : (n_samples,) or None
        Labels as the source gives them.
    X_test, y_test : arrays or None
        The test set, scaled with the statistics of the training set.
    image_shape : (rows, columns) or None
        Where an example is a picture. For a file that does not say, state it with
        ``dataclasses.replace(data, image_shape=(32, 32))``.
    scale : str
        The scaling mode, see `scale_features`.
    sha256 : str
        `fingerprint` of the arrays before scaling.
    """

    name: str
    X: Any
    y: np.ndarray | None
    X_test: Any
    y_test: np.ndarray | None
    image_shape: tuple[int, int] | None
    scale: str
    sha256: str

    def __post_init__(self) -> None:
        for name in ("X", "X_test"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, as_samples(getattr(self, name)))
        if self.image_shape is not None and np.prod(self.image_shape) != self.n_features:
            raise ValueError(
                f"image_shape={tuple(self.image_shape)} has {np.prod(self.image_shape)} pixels, but "
                f"{self.name} has {self.n_features} features; give rows and columns of that product"
            )

    @property
    def n_features(self) -> int:
        return self.X.shape[1]


def load_dataset(
    name_or_path: str | os.PathLike,
    *,
    scale: str = "unit",
    folder: str | os.PathLike | None = None,
    seed: int = 0,
    hold_out: float = 0.0,
) -> Dataset:
    """Load a data set by its name, or from a file, and scale it.

    Parameters
    ----------
    name_or_path : str or path
        ``"digits"``: scikit-learn's 1,797 digits of 8 x 8, enlarged to 20 x 20 in the middle of 28 x 28
        pixels, a fifth of each class for testing; needs no network. ``"mnist"`` and ``"fashion-mnist"``:
        `read_mnist` says where they are looked for. Otherwise a file: ``.npz`` and ``.mat`` with X and
        optionally y, X_test, y_test; ``.npz`` of ``scipy.sparse.save_npz`` and ``.npy`` with X; ``.csv``, in whose
        optional header label, target, y or class names the labels; svmlight (``.svm``, ``.svmlight``,
        ``.libsvm``); IDX (``-ubyte``, ``.idx``, ``.gz``). What would take more than 1 GiB as a float32 array stays
        sparse, if it is, or in its file (``.npy``).
    scale : {"unit", "standard", "binary", "stochastic", "none"}
        See `scale_features`.
    folder : path, optional
        Where to look first for mnist and fashion-mnist; for a file, where a relative path starts.
    seed : int
        Of the draw of ``scale="stochastic"``; nothing else depends on it.
    hold_out : float in [0, 1)
        Share of the samples that becomes the test set where the data bring none; always the same samples. They are
        taken out before the statistics of the scaling.

    Raises
    ------
    ValueError
        If the name, the suffix or the scale is unknown, a file is damaged, values are not finite, or the
        arrays do not fit each other.
    FileNotFoundError
        If there is no such file, or MNIST is nowhere and cannot be fetched.
    """
    check_mode(scale)
    name, raw = _read(name_or_path, folder)
    _check(raw, name)
    if not 0 <= hold_out < 1:
        raise ValueError(f"hold_out={hold_out} is out of range; use a share in [0, 1)")
    if raw.X_test is None and hold_out > 0:
        raw = _split(raw, name, hold_out)
    X_test = None if raw.X_test is None else scale_features(raw.X_test, scale, reference=raw.X, seed=seed)
    return Dataset(
        name=name,
        X=scale_features(raw.X, scale, seed=seed),
        y=raw.y,
        X_test=X_test,
        y_test=raw.y_test,
        image_shape=raw.image_shape,
        scale=scale,
        sha256=fingerprint(raw.X, raw.y, raw.X_test, raw.y_test),
    )


def _read(name_or_path: str | os.PathLike, folder: str | os.PathLike | None) -> tuple[str, RawData]:
    name = os.fspath(name_or_path)
    if name == "digits":
        return name, _digits()
    if name in OPENML_NAMES:
        return name, read_mnist(name, folder)
    path = Path(folder or "").expanduser() / Path(name).expanduser()
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file, or 'mnist' with folder= for MNIST files")
    if reader_for(path) is None and not path.suffix and not path.exists():
        close = difflib.get_close_matches(name.lower(), NAMES, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(
            f"unknown data set {name!r}{hint}; known: {', '.join(NAMES)}, "
            f"or the path of a file with one of the suffixes {SUFFIXES}"
        )
    return path.name, read_file(path)


def _split(raw: RawData, name: str, share: float) -> RawData:
    X = raw.X if isinstance(raw.X, np.ndarray) else as_samples(raw.X)
    n_samples = len(X)
    n_test = max(1, round(share * n_samples))
    if n_test >= n_samples:
        raise ValueError(f"{name} has {n_samples} samples: too few to hold out {share:.0%}; hold out less, or nothing")
    order = np.random.Generator(np.random.Philox(_HOLD_OUT_SEED)).permutation(n_samples)
    test, rest = np.sort(order[:n_test]), np.sort(order[n_test:])
    y, y_test = (None, None) if raw.y is None else (raw.y[rest], raw.y[test])
    return RawData(take(X, rest), y, take(X, test), y_test, raw.image_shape)


def _check(raw: RawData, name: str) -> None:
    check_features(raw.X, f"X of {name}")
    _check_labels(raw.y, raw.X, "y", name)
    if raw.X_test is None:
        if raw.y_test is not None:
            raise ValueError(f"{name} has y_test but no X_test; store both or neither")
        return
    check_features(raw.X_test, f"X_test of {name}")
    _check_labels(raw.y_test, raw.X_test, "y_test", name)
    if raw.X_test.shape[1] != raw.X.shape[1]:
        raise ValueError(
            f"X_test of {name} has {raw.X_test.shape[1]} features but X has {raw.X.shape[1]}; they must agree"
        )


def _check_labels(y: np.ndarray | None, X: Any, what: str, name: str) -> None:
    if y is None:
        return
    if y.ndim != 1 or y.dtype.kind == "O":
        raise ValueError(f"{what} of {name} has shape {y.shape}, dtype {y.dtype}; give one label a sample")
    if len(y) != X.shape[0]:
        raise ValueError(f"{what} of {name} has {len(y)} labels for {X.shape[0]} samples; give one a sample")
    if y.dtype.kind == "f":
        check_features(y.reshape(-1, 1), f"{what} of {name}")


def _digits() -> RawData:
    """Real handwritten digits in the layout of MNIST: 20 x 20 pixels with a margin of 4, values in [0, 1].

    Source: E. Alpaydin and C. Kaynak (1998), "Optical recognition of handwritten digits", UCI repository, the
    test part of 1,797 samples as scikit-learn ships it.
    """
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    small, y = load_digits(return_X_y=True)
    images = np.zeros((len(small), 28, 28), dtype=np.float32)
    images[:, 4:24, 4:24] = zoom(small.reshape(-1, 8, 8) / 16.0, (1, 2.5, 2.5), order=1)
    X, y = images.reshape(len(images), -1), y.astype(np.int64)
    test = _stratified(y)
    return RawData(X[~test], y[~test], X[test], y[test], (28, 28))


def _stratified(y: np.ndarray) -> np.ndarray:
    """A fifth of each class, drawn once and for all: (n_samples,) bool."""
    keys = np.random.Generator(np.random.Philox(_DIGITS_SPLIT_SEED)).random(len(y))
    test = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        test[members[np.argsort(keys[members])][: round(len(members) / 5)]] = True
    return test
