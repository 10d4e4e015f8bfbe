"""How the CPU kernels are compiled: at their first call, and kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.extending import intrinsic as _intrinsic

intrinsic: Any = _intrinsic  # numba's types describe the compiler's side of it

# Reordering and fused multiply-adds are allowed; NaN and infinity stay, since diverging training must show.
FAST = {"reassoc", "contract", "nsz", "arcp"}

# numba compiles anew what the cache holds when the file of the function has changed, but not when a file has that the
# function calls into: here all files of this folder count.
SOURCES = tuple(
    (path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(Path(__file__).parent.glob("*.py"))
)


def compiled(**options: Any) -> Callable:
    """``numba.njit`` without Python's lock, with an on-disk cache where there is a place to write it.

    ``error_model="numpy"``: a check for division by zero would keep every loop with a division from being
    vectorised (measured: a sigmoid takes 7.3 ns an element with it, 0.8 ns without).
    """
    options |= {"nogil": True, "error_model": "numpy"}

    def wrap(function: Callable) -> Any:
        try:
            kernel = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # neither the package folder nor HOME is writable
            return numba.njit(**options)(function)
        file: Any = getattr(kernel._cache, "_cache_file", None)
        if hasattr(file, "_source_stamp"):  # numba's own affair: another version may have another name for it
            file._source_stamp = SOURCES
        return kernel

    return wrap
