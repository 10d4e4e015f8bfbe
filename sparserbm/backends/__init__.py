"""Where arrays live. ``get_backend("numpy")`` gives the object that everything above works through."""

from __future__ import annotations

import importlib.util
import logging

from sparserbm.backends.base import Backend, Gate, Indexed, Rows, SignedPair, Workspace

__all__ = ["Backend", "Gate", "Indexed", "Rows", "SignedPair", "Workspace", "get_backend"]

NAMES = ("auto", "numpy", "reference")


def get_backend(name: str | Backend = "auto", dtype: str | None = None, threads: int | None = None) -> Backend:
    """The backend called `name`; a backend object passes through.

    Parameters
    ----------
    name : {"auto", "numpy", "reference"} or Backend
        ``"numpy"`` runs compiled kernels on the CPU, ``"reference"`` plain NumPy (slow; the oracle of the tests).
        ``"auto"`` takes numpy, or reference where numba is not installed.
    dtype : {"float32", "float64"}, optional
        float32 by default; a backend object must have this one.
    threads : int, optional
        Upper bound for the numpy backend.

    Raises
    ------
    ValueError
        If there is no such backend, or numba is missing for ``"numpy"``.
    """
    if isinstance(name, Backend):
        if dtype is not None and name.dtype != dtype:
            raise ValueError(f"this backend computes in {name.dtype}, not in {dtype}; make it with dtype={dtype!r}")
        return name
    dtype = dtype or "float32"
    if name not in NAMES:
        raise ValueError(f"unknown backend {name!r}; known: {', '.join(NAMES)}")
    has_numba = importlib.util.find_spec("numba") is not None
    if name == "numpy" and not has_numba:
        raise ValueError('backend="numpy" needs numba (pip install numba); backend="reference" runs without it')
    if name == "reference" or not has_numba:
        if name == "auto":
            logging.getLogger("sparserbm").warning("numba is not installed: the slow reference backend is used")
        from sparserbm.backends.reference import ReferenceBackend

        return ReferenceBackend(dtype)
    from sparserbm.backends.numpy_backend import NumpyBackend

    return NumpyBackend(dtype, threads)
