"""What can go wrong while training."""

from __future__ import annotations


class DivergenceError(FloatingPointError):
    """Training left the finite numbers; the last checkpoint on disk is from before."""
