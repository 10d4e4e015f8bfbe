"""How the CPU kernels are compiled.

A kernel is compiled at its first call and kept on disk. numba notices changes of the file that a kernel is written in,
not of those that it calls into: after a change of `vectors` or `threads`, remove the ``__pycache__`` folders.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba.extending import intrinsic as _intrinsic

intrinsic: Any = _intrinsic  # numba's types describe the compiler's side of it

# Reordering and fused multiply-adds are allowed; NaN and infinity stay, since diverging training must show.
FAST = {"reassoc", "contract", "nsz", "arcp"}


def compiled(**options: Any) -> Callable:
    """``numba.njit`` without Python's lock, with an on-disk cache where there is a place to write it.

    ``error_model="numpy"``: a check for division by zero would keep every loop with a division from being
    vectorised (measured: a sigmoid takes 7.3 ns an element with it, 0.8 ns without).
    """
    options |= {"nogil": True, "error_model": "numpy"}

    def wrap(function: Callable) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # neither the package folder nor HOME is writable
            return numba.njit(**options)(function)

    return wrap
