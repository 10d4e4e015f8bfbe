"""Where arrays live. ``get_backend("numpy")`` gives the object that everything above works through."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from sparserbm.backends.base import Backend, Gate, Indexed, Recording, Rows, SignedPair, Workspace

__all__ = [
    "Backend",
    "Gate",
    "Indexed",
    "Recording",
    "Rows",
    "SignedPair",
    "Workspace",
    "get_backend",
    "is_cupy",
    "n_gpus",
    "on_host",
    "resolve_name",
    "use_gpu",
    "why_no_gpu",
    "with_kind",
]

VARIABLE = "SPARSERBM_BACKEND"
NAMES = ("auto", "numpy", "cupy", "reference")


def get_backend(name: str | Backend = "auto", dtype: str | None = None, threads: int | None = None) -> Backend:
    """The backend called `name`; a backend object passes through.

    Parameters
    ----------
    name : {"auto", "numpy", "cupy", "reference"} or Backend
        ``"numpy"`` runs compiled kernels on the CPU, ``"cupy"`` CUDA kernels on a GPU (``"cupy:1"``: on device 1,
        which becomes the current one), ``"reference"`` plain NumPy (slow; the oracle of the tests). ``"auto"`` takes
        what the environment variable SPARSERBM_BACKEND names; without it cupy where CuPy is installed and finds a
        device, else numpy, or reference where numba is not installed.
    dtype : {"float32", "float64"}, optional
        float32 by default; a backend object must have this one.
    threads : int, optional
        Upper bound for the numpy backend.

    Raises
    ------
    ValueError
        If there is no such backend, or this machine lacks what it needs.
    """
    if isinstance(name, Backend):
        if dtype is not None and name.dtype != dtype:
            raise ValueError(f"this backend computes in {name.dtype}, not in {dtype}; make it with dtype={dtype!r}")
        return name
    dtype = dtype or "float32"
    kind, device = resolve_name(name)
    if kind == "cupy":
        return _cupy(dtype, device)
    has_numba = importlib.util.find_spec("numba") is not None
    if kind == "numpy":
        if not has_numba:
            raise ValueError('backend="numpy" needs numba (pip install numba); backend="reference" runs without it')
        from sparserbm.backends.numpy_backend import NumpyBackend

        return NumpyBackend(dtype, threads)
    from sparserbm.backends.reference import ReferenceBackend

    return ReferenceBackend(dtype)


def resolve_name(name: str) -> tuple[str, int | None]:
    """Which of numpy, cupy and reference a backend's name stands for on this machine, and the number of its device."""
    name = os.environ.get(VARIABLE, name) if name == "auto" else name
    kind, _, device = name.partition(":")
    if kind not in NAMES or (device and not (kind == "cupy" and device.isdecimal())):
        raise ValueError(f"unknown backend {name!r}; known: {', '.join(NAMES)}, or cupy:1 for device 1")
    if kind != "auto":
        return kind, int(device) if device else None
    if why_no_gpu() is None:
        return "cupy", None
    if importlib.util.find_spec("numba") is not None:
        return "numpy", None
    logging.getLogger("sparserbm").warning("numba is not installed: the slow reference backend is used")
    return "reference", None


def _cupy(dtype: str, device: int | None) -> Backend:
    n_gpus()
    from sparserbm.backends.cupy_backend import CupyBackend

    return CupyBackend(dtype, device)


def n_gpus() -> int:
    """How many CUDA devices the cupy backend can run on, at least 1.

    Raises
    ------
    ValueError
        If there is none, with the reason.
    """
    reason = why_no_gpu()
    if reason is not None:
        raise ValueError(f'backend="cupy" is not possible: {reason}; backend="numpy" runs on the CPU')
    import cupy

    return int(cupy.cuda.runtime.getDeviceCount())


@functools.cache  # what is asked for at every model takes milliseconds
def why_no_gpu() -> str | None:
    """Why this machine cannot run the cupy backend; None if it can."""
    if importlib.util.find_spec("cupy") is None:
        return (
            'CuPy is not installed (pip install "sparserbm[cuda12]" or "sparserbm[cuda13]", as the CUDA version that '
            "nvidia-smi shows)"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # CuPy warns of CUDA folders that it does not need
            import cupy
        available = cupy.cuda.is_available()
    except Exception as error:  # CuPy for another CUDA, or a driver too old for it: many kinds of errors
        return f"CuPy cannot be used ({' '.join(str(error).split()) or type(error).__name__})"
    return None if available else "CuPy finds no CUDA device (nvidia-smi shows what the driver sees)"


def use_gpu(number: int) -> None:
    """Make a device the current one of this thread, which ``backend="cupy"`` takes."""
    import cupy

    cupy.cuda.Device(number).use()


# -- arrays of users, on the host or on a device -------------------------------------------------------------------


def is_cupy(array: Any) -> bool:
    """Whether this is an array of CuPy, told by its module: CuPy need not be there."""
    return type(array).__module__.partition(".")[0] == "cupy"


def on_host(array: Any) -> Any:
    """A copy in NumPy's memory of an array of CuPy; anything else passes through."""
    return array.get() if is_cupy(array) else array


def with_kind(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method for NumPy arrays take CuPy's too: numbers then come back as CuPy's, on the same device."""

    @functools.wraps(method)
    def call(self: Any, *given: Any, **named: Any) -> Any:
        device = next((array.device for array in (*given, *named.values()) if is_cupy(array)), None)
        if device is None:
            return method(self, *given, **named)
        result = method(self, *map(on_host, given), **{name: on_host(value) for name, value in named.items()})
        if not isinstance(result, np.ndarray) or result.dtype.kind not in "biuf":
            return result
        import cupy

        with device:
            return cupy.asarray(result)

    return call
