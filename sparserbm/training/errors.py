"""What can go wrong while training."""

from __future__ import annotations


class EfficiencyWarning(UserWarning):
    """The settings work, but another choice would be faster."""


class DivergenceError(FloatingPointError):
    """Training left the finite numbers; the last checkpoint on disk is from before."""


class OutOfMemoryError(MemoryError):
    """A run does not fit into the memory of its device; the text says what it needs and what to change."""
