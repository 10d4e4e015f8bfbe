"""How sure is a verdict: p values, seeds taken together, and when a run turns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparserbm.topology.zones import VERDICT_Z, learning_index, two_sided, verdict_of

NULLS = ("connections", "degrees")


@dataclass(frozen=True)
class PermutationTest:
    """The active zone against random wirings.

    Attributes
    ----------
    share : float
        Of all connections, those in the active zone.
    null : (n_permutations,) float
        That share in random wirings.
    z : float
        Deviation of `share` from what is expected, the zone's share of the inputs, in standard deviations of `null`; 0
        where these all agree.
    p : float
        Two-sided: the share of wirings (this one included) that deviate as far from what is expected, at least
        ``1 / (n_permutations + 1)``.
    """

    share: float
    null: np.ndarray
    z: float
    p: float


def zone_test(
    degrees: np.ndarray,
    mask: np.ndarray,
    n_places: int,
    *,
    null: str = "connections",
    n_permutations: int = 9999,
    seed: int = 0,
) -> PermutationTest:
    """Whether the active zone holds more connections, or fewer, than random wirings give it.

    Parameters
    ----------
    degrees, mask, n_places
        As in `learning_index`.
    null : {"connections", "degrees"}
        What is random. ``"connections"``: every wiring with as many connections is equally likely; the learning index
        has this null, by formula. ``"degrees"``: the degrees that there are, on inputs drawn at random: stricter, as
        it knows that some inputs have many connections and others few, and asks only where they lie.
    n_permutations : int
        At least 1.
    seed : int

    Returns
    -------
    PermutationTest

    Raises
    ------
    ValueError
        As `learning_index` does; also if `null` or `n_permutations` are not possible.

    Notes
    -----
    The p value counts the wiring itself among the random ones (Phipson and Smyth 2010), so that it is never 0.
    """
    learning_index(degrees, mask, n_places)  # the same demands
    if not np.array_equal(degrees, np.floor(degrees)):
        raise ValueError("degrees must be whole numbers: connections of every input")
    if null not in NULLS:
        raise ValueError(f"null={null!r} is not possible; use connections or degrees")
    if isinstance(n_permutations, bool) or not isinstance(n_permutations, (int, np.integer)) or n_permutations < 1:
        raise ValueError(f"n_permutations={n_permutations!r} is not possible; use an integer of at least 1")
    degrees, mask = np.asarray(degrees, dtype=np.int64), np.asarray(mask, dtype=bool)
    generator, total, inside = np.random.default_rng(seed), int(degrees.sum()), int(mask.sum())
    if not total:
        return PermutationTest(math.nan, np.full(n_permutations, math.nan), 0.0, 1.0)
    if null == "connections":
        places = n_places // len(degrees) * inside
        drawn = _hypergeometric(places, n_places - places, total, n_permutations, generator)
    else:
        drawn = np.array([generator.permutation(degrees)[:inside].sum() for _ in range(n_permutations)])
    # Under both nulls every input expects the same; the mean of few draws is not it, and would make p too small.
    expected = total * inside / len(degrees)
    off, spread = int(degrees[mask].sum()) - expected, float(drawn.std())
    p = (1 + np.count_nonzero(np.abs(drawn - expected) >= abs(off) - 1e-9 * total)) / (n_permutations + 1)
    z = off / spread if spread > 0 else 0.0
    return PermutationTest(float(degrees[mask].sum()) / total, drawn / total, z, float(p))


def _hypergeometric(good: int, bad: int, n: int, size: int, generator: np.random.Generator) -> np.ndarray:
    if good + bad < 10**9:  # NumPy's limit
        return generator.hypergeometric(good, bad, n, size)
    share = good / (good + bad)
    deviation = math.sqrt(n * share * (1 - share) * (good + bad - n) / (good + bad - 1))
    return np.rint(generator.normal(n * share, deviation, size))


# -- several seeds -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Combined:
    """What several runs of one setting, each with its own seed, say together.

    Attributes
    ----------
    n : int
        Runs.
    z : float
        Stouffer's: the sum of their z over the square root of their number (Stouffer et al. 1949).
    p : float
        Two-sided, of that z.
    verdict : {"positive", "negative", "none"}
        Of that z, by the same limit of 3 as for one run.
    mean, spread : float
        Mean and standard deviation of the single z; NaN as the spread of one run. Seeds differ by more than chance
        where the spread is well above 1.
    """

    n: int
    z: float
    p: float
    verdict: str
    mean: float
    spread: float


def combine(z: Sequence[float]) -> Combined:
    """Take the z of independent runs together.

    Parameters
    ----------
    z : (n_runs,) float

    Raises
    ------
    ValueError
        If there is none, or one is not finite.
    """
    values = np.asarray(z, dtype=float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"z={z!r} cannot be combined; give one finite number for each run")
    both = float(values.sum() / math.sqrt(len(values)))
    spread = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return Combined(len(values), both, two_sided(both), verdict_of(both), float(values.mean()), spread)


# -- over time ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Turn:
    """Where a series of z goes from one sign to the other for good.

    Attributes
    ----------
    epoch : float
        Where the smoothed series crosses 0 for the last time, between two measurements by a straight line; NaN where
        it does not.
    direction : {"to positive", "to negative", "none"}
        "none" too where the series never leaves -3 to 3 on one of both sides of the crossing: then there was nothing
        to turn from, or to.
    last_before : int or None
        The last epoch whose own verdict is that of the start.
    first_after : int or None
        The first epoch whose own verdict is that of the end.
    lasting_from : int or None
        The epoch from which on every verdict is that of the end.
    """

    epoch: float
    direction: str
    last_before: int | None
    first_after: int | None
    lasting_from: int | None


def turning_point(epochs: np.ndarray, z: np.ndarray, *, window: int = 5) -> Turn:
    """When a run turns from positive to negative learning, or the other way.

    Parameters
    ----------
    epochs : (n,) int, increasing
    z : (n,) float
        Of the learning index at these epochs.
    window : int
        Measurements in the running median that smooths the series, odd; 1 leaves it as it is. Single events of
        evolution make z jump by one or two.

    Returns
    -------
    Turn

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, or the window is even.
    """
    epochs, z = np.asarray(epochs), np.asarray(z, dtype=float)
    if epochs.ndim != 1 or epochs.shape != z.shape or not len(z) or np.any(np.diff(epochs) <= 0):
        raise ValueError(f"epochs {epochs.shape} must increase, with one z for each, {z.shape}, and at least one")
    if not (np.isfinite(z).all() and np.isfinite(epochs).all()):
        raise ValueError("epochs and z must be finite; leave out the epochs where z is not known")
    if isinstance(window, bool) or window < 1 or window % 2 == 0:
        raise ValueError(f"window={window} is not possible; use an odd number of at least 1")
    none = Turn(math.nan, "none", None, None, None)
    smooth = _running_median(z, window)
    end = np.sign(smooth[-1])
    others = np.flatnonzero(np.sign(smooth) != end)
    if end == 0 or not len(others):
        return none
    before, after = int(others[-1]), int(others[-1]) + 1
    # The farthest that the series went to either side, before and after the crossing.
    start, stop = (
        verdict_of(sign * np.max(sign * part)) for sign, part in ((-end, smooth[:after]), (end, smooth[after:]))
    )
    if "none" in (start, stop):
        return none
    share = smooth[before] / (smooth[before] - smooth[after])
    epoch = float(epochs[before] + share * (epochs[after] - epochs[before]))
    verdicts = np.array([verdict_of(float(value)) for value in z])
    first, last = np.flatnonzero(verdicts == start), np.flatnonzero(verdicts == stop)
    unlike = np.flatnonzero(verdicts != stop)
    lasting = int(unlike[-1]) + 1 if len(unlike) else 0
    return Turn(
        epoch,
        f"to {stop}",
        int(epochs[first[-1]]) if len(first) else None,
        int(epochs[last[0]]) if len(last) else None,
        int(epochs[lasting]) if lasting < len(z) else None,
    )


def _running_median(values: np.ndarray, window: int) -> np.ndarray:
    """Median of the `window` values around each one; of fewer, but as many on both sides, near the ends."""
    half = window // 2
    reach = [min(half, place, len(values) - 1 - place) for place in range(len(values))]
    return np.array([np.median(values[place - r : place + r + 1]) for place, r in enumerate(reach)])


# -- several groups of inputs ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GroupDensity:
    """Connections of one group of inputs beside those of all others.

    Attributes
    ----------
    name : str
    n_inputs : int
    density : float
        Connections per input of the group.
    others : float
        Connections per input outside it.
    z, p : float
        Of the learning index with the group as active zone; p corrected for the number of groups (Holm 1979).
    verdict : {"denser", "sparser", "none"}
        By p, at the level of a single z of 3: 0.0027.
    """

    name: str
    n_inputs: int
    density: float
    others: float
    z: float
    p: float
    verdict: str


def group_densities(degrees: np.ndarray, groups: dict[str, np.ndarray], n_places: int) -> list[GroupDensity]:
    """Where do the connections gather, asked of groups of inputs such as the columns of a table.

    Parameters
    ----------
    degrees : (n_inputs,) int
    groups : dict of str to array
        For each group its inputs: numbers, or (n_inputs,) bool. They may overlap, and need not cover all inputs.
    n_places : int
        n_inputs * n_outputs.

    Returns
    -------
    list of GroupDensity

    Raises
    ------
    ValueError
        If a group is empty, holds all inputs, or names one that does not exist.
    """
    degrees = np.asarray(degrees)
    found = {}
    for name, inputs in groups.items():
        try:
            found[name] = learning_index(degrees, input_mask(inputs, len(degrees)), n_places)
        except ValueError as error:
            raise ValueError(f"group {name!r}: {error}") from None
    corrected = holm([index.p for index in found.values()])
    level = two_sided(VERDICT_Z)
    return [
        GroupDensity(
            name,
            int(input_mask(groups[name], len(degrees)).sum()),
            index.centre_density,
            index.margin_density,
            index.z,
            p,
            "none" if not p < level else "denser" if index.z > 0 else "sparser",
        )
        for (name, index), p in zip(found.items(), corrected)
    ]


def input_mask(inputs: np.ndarray, n_inputs: int) -> np.ndarray:
    """Numbers of inputs as (n_inputs,) bool; such a mask stays what it is."""
    inputs = np.asarray(inputs)
    if inputs.dtype == bool:
        if inputs.shape != (n_inputs,):
            raise ValueError(f"a mask of shape {inputs.shape} does not fit {n_inputs} inputs")
        return inputs
    if not inputs.size:
        raise ValueError("no input is named; give at least one")
    if inputs.dtype.kind not in "iu" or inputs.ndim != 1:
        raise ValueError(f"inputs must be numbers of inputs or a mask, not {inputs.dtype} of shape {inputs.shape}")
    if inputs.min() < 0 or inputs.max() >= n_inputs:
        raise ValueError(f"inputs {inputs.min()} to {inputs.max()} do not exist; there are 0 to {n_inputs - 1}")
    mask = np.zeros(n_inputs, dtype=bool)
    mask[inputs] = True
    return mask


def holm(p: Sequence[float]) -> list[float]:
    """p corrected so that a false find among all is as rare as that of one test (Holm 1979); NaN do not count."""
    order = sorted((place for place, value in enumerate(p) if not math.isnan(value)), key=lambda place: p[place])
    corrected, largest = [math.nan] * len(p), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p[place]))
        corrected[place] = largest
    return corrected
