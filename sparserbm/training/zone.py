"""Which inputs form the active zone: a rule, so that it can be written in a text, applied to the training data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparserbm.data.sources import Samples, means, take, variances
from sparserbm.registry import register, resolve, to_text
from sparserbm.topology import central_square, input_mask, mutual_information, rectangle, zone_by_deviation

ImageShape = tuple[int, int] | None
LOOKED_AT = 20_000  # samples, evenly spaced, that tell of the mutual information


class Zone(ABC):
    """Marks the inputs of the active zone."""

    @abstractmethod
    def mask(self, X: Samples, image_shape: ImageShape, y: np.ndarray | None = None) -> np.ndarray:
        """(n_features,) bool: True inside the zone; `y` holds labels, where there are any."""


@register("zone", "central")
@dataclass(frozen=True)
class Central(Zone):
    """The centred square of `side` pixels; the study's zone for MNIST is ``central(20)``."""

    side: int

    def mask(self, X: Samples, image_shape: ImageShape, y: np.ndarray | None = None) -> np.ndarray:
        return central_square(_shape(image_shape, self), self.side)


@register("zone", "rectangle")
@dataclass(frozen=True)
class Rectangle(Zone):
    """Rows `top` to `bottom` and columns `left` to `right`, the last ones excluded."""

    top: int
    left: int
    bottom: int
    right: int

    def mask(self, X: Samples, image_shape: ImageShape, y: np.ndarray | None = None) -> np.ndarray:
        return rectangle(_shape(image_shape, self), self.top, self.left, self.bottom, self.right)


@register("zone", "deviation")
@dataclass(frozen=True)
class Deviation(Zone):
    """Inputs whose standard deviation over the training data exceeds `threshold`, in units of the data.

    Without a threshold, half of the largest standard deviation is taken.
    """

    threshold: float | None = None

    def mask(self, X: Samples, image_shape: ImageShape, y: np.ndarray | None = None) -> np.ndarray:
        # `X.std` would make a float64 copy of all data; a feature without any value does not vary
        deviation = np.nan_to_num(np.sqrt(variances(X, means(X))))
        threshold = 0.5 * float(deviation.max()) if self.threshold is None else self.threshold
        return zone_by_deviation(deviation, threshold)


@register("zone", "information")
@dataclass(frozen=True)
class Information(Zone):
    """Inputs whose mutual information with the label exceeds `threshold`, in nats; each input is judged alone.

    Without a threshold, a tenth of the largest one is taken. At most 20,000 samples are looked at, evenly spaced; see
    `topology.mutual_information`. An input that tells of the class only together with others is outside.

    Parameters
    ----------
    threshold : float, optional
    bins : int
        Of equal width, that the values of an input are put into.
    """

    threshold: float | None = None
    bins: int = 8

    def mask(self, X: Samples, image_shape: ImageShape, y: np.ndarray | None = None) -> np.ndarray:
        if y is None:
            raise ValueError(f"zone {to_text(self)} needs labels: pass y, or use deviation()")
        if np.shape(y) != (len(X),):
            raise ValueError(f"zone {to_text(self)} needs one label for each of {len(X)} samples, not y {np.shape(y)}")
        rows = np.linspace(0, len(X) - 1, min(len(X), LOOKED_AT)).astype(int)
        found = mutual_information(np.asarray(take(X, rows))[: len(rows)], np.asarray(y)[rows], bins=self.bins)
        return found > (0.1 * float(found.max()) if self.threshold is None else self.threshold)


@register("zone", "columns")
@dataclass(frozen=True)
class Columns(Zone):
    """The inputs with these numbers, such as columns of a table that are known to matter: ``columns((0, 1, 5))``."""

    columns: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(int(column) for column in np.atleast_1d(self.columns)))

    def mask(self, X: Samples, image_shape: ImageShape, y: np.ndarray | None = None) -> np.ndarray:
        return input_mask(np.array(self.columns), X.shape[1])


def active_zone(given: Any, X: Samples, image_shape: ImageShape, y: np.ndarray | None = None) -> dict[str, Any] | None:
    """The zone of a run, ready for its config: ``{"rule": text, "inputs": list of int}``.

    Parameters
    ----------
    given : Zone, text, (n_features,) bool or None
        ``"auto"`` is ``central(20)`` for 28 x 28 images and ``deviation`` otherwise; where the data leave no zone or
        no margin, there is none. None switches the zone off.
    """
    if given is None:
        return None
    automatic = isinstance(given, str) and given == "auto"
    if automatic:
        given = Central(20) if image_shape is not None and tuple(image_shape) == (28, 28) else Deviation()
    if isinstance(given, np.ndarray):
        if given.shape != (X.shape[1],) or given.dtype != bool:
            raise ValueError(f"a zone mask needs {X.shape[1]} booleans, not {given.dtype} of shape {given.shape}")
        text, mask = "mask", given
    else:
        rule = resolve("zone", given)
        if not isinstance(rule, Zone):
            raise TypeError(f'zone={given!r} is not possible; give a mask, a rule such as "central(20)", or None')
        text, mask = to_text(rule), rule.mask(X, image_shape, y)
    if not mask.all() and mask.any():
        return {"rule": text, "inputs": np.flatnonzero(mask).tolist()}
    if automatic:
        return None
    raise ValueError(
        f"zone {text} covers {'all' if mask.all() else 'none'} of {len(mask)} inputs; it must leave an active zone "
        f"and a margin"
    )


def _shape(image_shape: ImageShape, rule: Zone) -> tuple[int, int]:
    if image_shape is None:
        raise ValueError(f"zone {to_text(rule)} needs images: pass image_shape=(rows, columns), or use deviation()")
    return image_shape
