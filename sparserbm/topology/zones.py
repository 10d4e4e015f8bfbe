"""Zones of the input: where in the image do the connections gather?

Active and margin zone, the concentric squares, and the learning index, which says whether the active zone
holds more connections than chance gives it. Masks and degrees are flat, one entry per input, row by row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sparserbm.topology.degrees import degree_image

VERDICT_Z = 3.0  # beyond three standard deviations a random wiring comes out once in 370 runs


@dataclass(frozen=True)
class LearningIndex:
    """How the connections divide between the active zone and the margin (the rest of the inputs).

    Attributes
    ----------
    centre_density, margin_density : float
        Connections per input in the active zone and in the margin.
    ratio : float
        Centre over margin density; infinite where the margin is empty, NaN without connections.
    index : float
        log(ratio): 0 = evenly spread, positive = gathered in the active zone.
    z : float
        Distance of the zone's connections from what a random wiring gives it, in its standard deviations.
    verdict : {"positive", "negative", "none"}
        positive: z > 3; negative: z < -3.
    p : float
        Two-sided probability of such a z or a larger one in a random wiring, by the normal distribution.
    """

    centre_density: float
    margin_density: float
    ratio: float
    index: float
    z: float
    verdict: str
    p: float = math.nan


def verdict_of(z: float) -> str:
    """positive above 3, negative below -3, else none."""
    return "positive" if z > VERDICT_Z else "negative" if z < -VERDICT_Z else "none"


def two_sided(z: float) -> float:
    """Probability that a standard normal number is as far from 0 as `z`, or farther."""
    return math.erfc(abs(z) / math.sqrt(2))


def learning_index(degrees: np.ndarray, mask: np.ndarray, n_places: int) -> LearningIndex:
    """Compare the connections of the active zone with those that a random wiring would give it.

    Of N places K hold a connection. Drawn at random without replacement, the zone with a share q of the
    inputs gets K q connections on average, with variance K q (1 - q) (N - K) / (N - 1).

    Parameters
    ----------
    degrees : (n_inputs,) int
        Connections of every input.
    mask : (n_inputs,) bool
        The active zone.
    n_places : int
        Places for a connection: n_inputs * n_outputs.

    Returns
    -------
    LearningIndex
        At full density, and without any connection, nothing can deviate: z = 0, verdict "none".

    Raises
    ------
    ValueError
        If the zone covers everything or nothing, shapes differ, the mask holds anything but True and False, or there
        are more connections than places.
    """
    degrees, mask = np.asarray(degrees, dtype=float), np.asarray(mask)
    if mask.dtype != bool and not np.isin(mask, (0, 1)).all():
        raise ValueError(f"mask holds {np.unique(mask)[:5].tolist()}; give True or False for each input")
    mask = mask.astype(bool)
    if degrees.ndim != 1 or mask.shape != degrees.shape:
        raise ValueError(
            f"degrees of shape {degrees.shape} and mask of shape {mask.shape} differ; give one entry an input"
        )
    n_inputs, n_centre = degrees.size, int(mask.sum())
    if n_centre in (0, n_inputs):
        raise ValueError(
            f"the active zone covers {n_centre} of {n_inputs} inputs: there is nothing to compare it with; "
            f"choose a zone of 1 to {n_inputs - 1} inputs"
        )
    total, centre = float(degrees.sum()), float(degrees[mask].sum())
    if not (degrees.min() >= 0 and total <= n_places):
        raise ValueError(
            f"{total:,.0f} connections (fewest per input {degrees.min():g}) do not fit {n_places:,} places; "
            f"give n_places = n_inputs * n_outputs and degrees of at least 0"
        )
    share = n_centre / n_inputs
    inside, outside = centre / n_centre, (total - centre) / (n_inputs - n_centre)
    z = _deviation(centre, total, share, n_places)
    ratio = inside / outside if outside > 0 else (math.inf if inside > 0 else math.nan)
    index = math.log(ratio) if ratio > 0 else (-math.inf if ratio == 0 else math.nan)
    return LearningIndex(inside, outside, ratio, index, z, verdict_of(z), two_sided(z))


def _deviation(centre: float, total: float, share: float, n_places: int) -> float:
    if total in (0, n_places):
        return 0.0
    variance = total * share * (1.0 - share) * (n_places - total) / (n_places - 1)
    return (centre - total * share) / math.sqrt(variance)


def central_square(image_shape: tuple[int, int], side: int) -> np.ndarray:
    """The square of `side` x `side` pixels in the middle of the image.

    Returns
    -------
    (rows * columns,) bool

    Raises
    ------
    ValueError
        If the square does not fit, or cannot lie exactly in the middle (an odd side in an even image).
    """
    rows, columns = image_shape
    if not 1 <= side <= min(rows, columns) or (rows - side) % 2 or (columns - side) % 2:
        parity = ("an even", "an odd")[rows % 2]
        mend = f"use {parity} side up to {min(rows, columns)}" if rows % 2 == columns % 2 else "use rectangle()"
        raise ValueError(f"a square of side {side} has no middle place in an image of {rows} x {columns}; {mend}")
    top, left = (rows - side) // 2, (columns - side) // 2
    return rectangle(image_shape, top, left, top + side, left + side)


def rectangle(image_shape: tuple[int, int], top: int, left: int, bottom: int, right: int) -> np.ndarray:
    """Rows `top` to `bottom` - 1 and columns `left` to `right` - 1 of the image.

    Returns
    -------
    (rows * columns,) bool

    Raises
    ------
    ValueError
        If the rectangle is empty or leaves the image.
    """
    rows, columns = image_shape
    if not (0 <= top < bottom <= rows and 0 <= left < right <= columns):
        raise ValueError(
            f"rectangle top={top}, left={left}, bottom={bottom}, right={right} is empty or leaves the image; "
            f"use 0 <= top < bottom <= {rows} and 0 <= left < right <= {columns}"
        )
    mask = np.zeros((rows, columns), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask.ravel()


def zone_by_deviation(std: np.ndarray, threshold: float) -> np.ndarray:
    """The inputs that vary: those whose standard deviation over the data exceeds `threshold`.

    Parameters
    ----------
    std : (n_inputs,) float, at least 0
        Standard deviation of every input, in the unit of the data.
    threshold : float, at least 0

    Returns
    -------
    (n_inputs,) bool
    """
    std = np.asarray(std, dtype=float)
    if std.ndim != 1 or not np.all(std >= 0):
        raise ValueError(f"std must be flat, finite and at least 0 for every input; got shape {std.shape}")
    if not threshold >= 0:
        raise ValueError(f"threshold={threshold} is no standard deviation; use a value of at least 0")
    return std > threshold


def mutual_information(X: np.ndarray, y: np.ndarray, *, bins: int = 8) -> np.ndarray:
    """How much every input alone tells of the class, in nats: (n_inputs,) float, at least 0.

    Values are put into bins of equal width between the smallest and the largest of each input; the plug-in estimate is
    lowered by its bias to first order (Miller 1955), so that inputs without information come to about 0.

    Parameters
    ----------
    X : (n_samples, n_inputs)
        Finite.
    y : (n_samples,)
        Classes, of any kind.
    bins : int
        At least 2.

    Raises
    ------
    ValueError
        If numbers of samples differ, or a value is not finite.
    """
    X, y = np.asarray(X), np.asarray(y)
    if X.ndim != 2 or y.shape != (len(X),) or not len(X):
        raise ValueError(f"X {X.shape} and y {y.shape} need as many samples, and at least one")
    if isinstance(bins, bool) or bins < 2:
        raise ValueError(f"bins={bins} is not possible; use at least 2")
    classes = np.unique(y, return_inverse=True)[1]
    n, n_classes = len(X), int(classes.max()) + 1
    found = np.zeros(X.shape[1])
    for column in range(X.shape[1]):
        values = X[:, column].astype(float)
        low, high = values.min(), values.max()
        if not np.isfinite(high - low):
            raise ValueError(f"input {column} has values that are not finite; fill them in first")
        if high == low:
            continue
        level = np.minimum(((values - low) * (bins / (high - low))).astype(int), bins - 1)
        counts = np.bincount(level * n_classes + classes, minlength=bins * n_classes).reshape(bins, n_classes)
        rows, columns = counts.sum(axis=1, keepdims=True), counts.sum(axis=0, keepdims=True)
        seen = counts > 0
        plug_in = float((counts[seen] / n * np.log(counts[seen] * n / (rows * columns)[seen])).sum())
        # Cells that could be filled, less those of the margins: degrees of freedom over 2 n.
        freedom = (np.count_nonzero(rows) - 1) * (np.count_nonzero(columns) - 1)
        found[column] = max(plug_in - freedom / (2 * n), 0.0)
    return found


def border_distance(mask: np.ndarray, image_shape: tuple[int, int]) -> np.ndarray:
    """How far every input lies from the border of the active zone, in pixels: (n_inputs,) float.

    Negative inside, positive outside: -0.5 and 0.5 on both sides of the border, by the nearest pixel of the other kind
    (Euclidean distance of pixel centres, less a half).

    Parameters
    ----------
    mask : (rows * columns,) bool
        The active zone.
    image_shape : (rows, columns)

    Raises
    ------
    ValueError
        If the mask has not one entry per pixel, or there is no border.
    """
    from scipy.ndimage import distance_transform_edt

    zone = degree_image(np.asarray(mask, dtype=bool), image_shape)
    if zone.all() or not zone.any():
        raise ValueError("the active zone covers all or none of the inputs: it has no border")
    outside, inside = distance_transform_edt(~zone), distance_transform_edt(zone)
    return np.where(zone, 0.5 - inside, outside - 0.5).ravel()


def density_by_distance(
    degrees: np.ndarray, mask: np.ndarray, image_shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Connections per input over the distance from the border of the active zone, in steps of a pixel.

    Parameters
    ----------
    degrees : (rows * columns,) array
    mask, image_shape
        As in `border_distance`.

    Returns
    -------
    distance : (n_steps,) float
        Middles of the steps, from deep inside (negative) to far outside: step -1.5 holds the distances [-2, -1).
    density, error : (n_steps,) float
        Mean degree and its standard error over the inputs of the step; NaN as the error of a single one.
    count : (n_steps,) int
        Inputs of the step; those without any are left out.
    """
    degrees, distance = np.asarray(degrees, dtype=float), border_distance(mask, image_shape)
    if degrees.shape != distance.shape:
        raise ValueError(f"degrees of shape {degrees.shape} do not fit {distance.size} inputs")
    step = np.floor(distance).astype(int)
    steps = np.unique(step)
    groups = [degrees[step == each] for each in steps]
    error = [group.std(ddof=1) / math.sqrt(len(group)) if len(group) > 1 else math.nan for group in groups]
    return (
        steps + 0.5,
        np.array([group.mean() for group in groups]),
        np.array(error),
        np.array([len(group) for group in groups]),
    )


def concentric_trend(degrees: np.ndarray, image_shape: tuple[int, int]) -> np.ndarray:
    """Mean degree in the centred squares of side 2, 4, ..., L of an L x L image.

    The last value is the mean over all inputs. The first two, of 4 and 16 inputs, are mostly noise.

    Parameters
    ----------
    degrees : (L * L,) array
        Connections of every input.
    image_shape : (L, L), L even

    Returns
    -------
    (L / 2,) float

    Raises
    ------
    ValueError
        If the image is not a square of even side, or has not one pixel per input.
    """
    rows, columns = image_shape
    if rows != columns or rows % 2 or rows < 2:
        raise ValueError(
            f"concentric squares need a square image of even side; got {rows} x {columns}: "
            f"compare zones with learning_index() and rectangle() instead"
        )
    image = degree_image(degrees, image_shape)
    middle = rows // 2
    squares = [slice(middle - i, middle + i) for i in range(1, middle + 1)]
    return np.array([image[square, square].mean() for square in squares])
