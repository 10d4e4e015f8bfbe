"""How long connections live: a Kaplan-Meier curve from snapshots.

Sources: Kaplan and Meier (1958), "Nonparametric estimation from incomplete observations"; for deaths that are known to
an interval only, Turnbull (1976), "The empirical distribution function with arbitrarily grouped, censored and
truncated data".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparserbm.topology.turnover import WiringHistory, births_and_steps

ITERATIONS = 1000
NOBODY = 1e-3  # connections; what is left of one by the rounding of shared deaths
CONFIDENCE = 1.959964  # standard deviations to both sides: 95 %


@dataclass(frozen=True)
class SurvivalCurve:
    """Share of the connections that live longer than so many steps; 1 before the first age.

    Attributes
    ----------
    ages : (n_ages,) int, in steps, increasing
        Ages at which connections could die.
    survival : (n_ages,) float in [0, 1]
        Share that is still there after that age.
    standard_error : (n_ages,) float
        Greenwood's formula; NaN where the curve is 0.
    lower, upper : (n_ages,) float
        Pointwise band of 95 %, by the logarithm of the cumulative hazard, which keeps it in [0, 1].
    at_risk, deaths : (n_ages,) float
        Connections that reached that age and were watched then, and those of them that died. Whole numbers where every
        death is known to the event.
    n_connections : float
        All that were watched.
    n_censored : int
        Those still alive in the last snapshot.
    """

    ages: np.ndarray
    survival: np.ndarray
    standard_error: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    at_risk: np.ndarray
    deaths: np.ndarray
    n_connections: float
    n_censored: int

    @property
    def median(self) -> float:
        """The first age, in steps, that at most half of the connections survive; infinite if more than half do."""
        below = np.flatnonzero(self.survival <= 0.5)
        return float(self.ages[below[0]]) if len(below) else np.inf


def survival_curve(history: WiringHistory, *, born_from: int = 0) -> SurvivalCurve:
    """Survival of connections by their age.

    Parameters
    ----------
    history : WiringHistory
        With `steps` and `born`, and at least two snapshots.
    born_from : int, in steps
        Leave out connections born before; 1 leaves out those of the first wiring.

    Returns
    -------
    SurvivalCurve

    Raises
    ------
    ValueError
        If nothing can be said: without steps of birth, with one snapshot, or where several events lie between two
        snapshots and it is not known how many connections were born.

    Notes
    -----
    Connections born at one step are one cohort. An event is a step of birth: connections can only die there. Those
    alive in the last snapshot are censored.

    With at most one event from one snapshot to the next (``snapshot_every=1`` and an event an epoch), every death is
    known to the event, and the curve is that of Kaplan and Meier. Where more lie between, newborns may die unseen: the
    sizes of cohorts then come from `grown`, and deaths are distributed over the events at which they can have happened,
    by Turnbull's iteration. The band takes these times of death for known, and is too narrow there. Of the cohorts that
    one line of `grown` counts, those without an event before the next snapshot are as large as seen there; the others
    share the rest equally, none of them smaller than seen. Whoever is left over belongs to an event of which no newborn
    was seen, and is left out. Cohorts of unknown size, those older than the first snapshot, enter at the age at which
    they are first seen.

    All connections of one age are taken to be alike, whenever they were born. Greenwood's formula takes deaths for
    independent; drop rules with a fixed number make them depend on each other a little.
    """
    watch = _watch(history, born_from)
    weights, owners, candidates = _deaths(watch)
    ages, places = np.unique(candidates, return_inverse=True)
    # A cohort is at risk from the age at which it is first watched until it dies or the last snapshot is taken.
    rows, known = np.arange(len(watch.cohorts)), ~np.isnan(watch.size)
    entry_age = np.where(known, 0, watch.steps[watch.first] - watch.cohorts)
    entered = np.where(known, watch.size, watch.alive[rows, watch.first])
    change, left = np.zeros(len(ages) + 1), watch.alive[:, -1]
    np.add.at(change, np.searchsorted(ages, entry_age), entered)
    np.add.at(change, np.searchsorted(ages, watch.steps[-1] - watch.cohorts), -left.astype(float))
    at_risk, deaths = _turnbull(weights, owners, places.ravel(), change[:-1].cumsum(), len(ages))
    return _curve(ages, at_risk, deaths, float(entered.sum()), int(left.sum()))


@dataclass(frozen=True)
class _Watch:
    """Connections born at one step, the cohorts, in the snapshots."""

    cohorts: np.ndarray  # (n_cohorts,) steps of birth
    steps: np.ndarray  # (n_snapshots,)
    alive: np.ndarray  # (n_cohorts, n_snapshots)
    first: np.ndarray  # (n_cohorts,) the first snapshot after birth
    size: np.ndarray  # (n_cohorts,) at birth; NaN where that is not known
    events: np.ndarray  # steps at which connections were born and could die


def _watch(history: WiringHistory, born_from: int) -> _Watch:
    born, steps = births_and_steps(history)
    if len(steps) < 2:
        raise ValueError(f"{len(steps)} snapshot is given; a death shows between two: train with snapshot_every=1")
    events = _events(history)
    cohorts = np.union1d(events, np.concatenate(born))
    # Those of step 0 are in its snapshot; an event comes after the snapshot of its step.
    first = np.where(cohorts > 0, np.searchsorted(steps, cohorts, side="right"), 0)
    alive = np.zeros((len(cohorts), len(steps)), dtype=np.int64)
    for k, each in enumerate(born):
        present, counts = np.unique(each, return_counts=True)
        alive[np.searchsorted(cohorts, present), k] = counts
    size = _sizes(history, cohorts, steps, alive, first, events)
    chosen = (cohorts >= born_from) & (first < len(steps))
    cohorts, first, alive, size = cohorts[chosen], first[chosen], alive[chosen], size[chosen]
    if not len(cohorts):
        raise ValueError(f"no connection was born at step {born_from} or later; use a smaller born_from")
    before = np.arange(len(steps)) < first[:, None]
    if np.any(alive[before]) or np.any((np.diff(alive, axis=1) > 0) & ~before[:, :-1]):
        raise ValueError("some connections are in a snapshot, but not in those since their birth; check steps and born")
    return _Watch(cohorts, steps, alive, first, size, events)


def _events(history: WiringHistory) -> np.ndarray:
    assert history.born is not None
    seen = np.unique(np.concatenate(history.born))
    if history.grown is not None and history.grown_until is not None:
        # Where newborns were counted of whom none was seen, the event is taken to be at the end of the last epoch.
        since = np.append(0, history.grown_until[:-1])
        n_seen = np.searchsorted(seen, history.grown_until) - np.searchsorted(seen, since)
        seen = np.union1d(seen, since[(history.grown > 0) & (n_seen == 0)])
    return seen[seen > 0]


def _sizes(
    history: WiringHistory,
    cohorts: np.ndarray,
    steps: np.ndarray,
    alive: np.ndarray,
    first: np.ndarray,
    events: np.ndarray,
) -> np.ndarray:
    """At birth, NaN where that is not known."""
    size, seen = np.full(len(cohorts), np.nan), alive.max(axis=1)
    if steps[0] == 0:
        size[cohorts == 0] = alive[cohorts == 0, 0]
    if history.grown is not None and history.grown_until is not None:
        until = history.grown_until
        line = np.where(cohorts > 0, np.searchsorted(until, cohorts, side="right"), len(until))
        snapshot = np.append(steps, np.iinfo(np.int64).max)[first]
        whole = np.searchsorted(events, cohorts, side="right") == np.searchsorted(events, snapshot)
        whole &= first < len(steps)
        for number in np.unique(line[line < len(until)]):
            of_line = line == number
            size[of_line] = _shared(float(history.grown[number]), seen[of_line], whole[of_line])
    return size


def _shared(total: float, seen: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Equal parts of what is left of `total` for those that are not seen `whole`, none below what was seen."""
    size, open_ = seen.astype(float), ~whole
    while open_.any():
        part = (total - size[~open_].sum()) / open_.sum()
        if not np.any(open_ & (seen > part)):
            size[open_] = part
            break
        open_ &= seen <= part
    return size


def _deaths(watch: _Watch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Deaths of one cohort between two snapshots: their number; for every event they may be at, whose, and the age."""
    weights: list[float] = []
    owners, ages = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for born, alive, first, size in zip(watch.cohorts, watch.alive, watch.first, watch.size):
        counts, edges = alive[first:].astype(float), watch.steps[first:]
        if not np.isnan(size):
            counts, edges = np.append(size, counts), np.append(born + 1, edges)
        for k in np.flatnonzero(np.diff(counts) < 0):
            possible = watch.events[slice(*np.searchsorted(watch.events, edges[k : k + 2]))]
            if len(possible) > 1 and np.isnan(size) and first > 0:
                raise ValueError(
                    f"{len(possible)} events lie between the snapshots of steps {edges[k]} and {edges[k + 1]}, and "
                    f"how many connections were born at step {born} is not known; train with snapshot_every=1, or "
                    f"give grown"
                )
            possible = possible if len(possible) else edges[k : k + 1]  # an event without a newborn
            owners.append(np.full(len(possible), len(weights)))
            ages.append(possible - born)
            weights.append(counts[k] - counts[k + 1])
    return np.array(weights), np.concatenate(owners), np.concatenate(ages)


def _turnbull(
    weights: np.ndarray, owners: np.ndarray, places: np.ndarray, watched: np.ndarray, n_ages: int
) -> tuple[np.ndarray, np.ndarray]:
    """Connections at risk and (expected) deaths at every age."""
    share = 1.0 / np.bincount(owners, minlength=len(weights))[owners]
    last = None
    for _ in range(ITERATIONS):
        deaths = np.bincount(places, weights[owners] * share, minlength=n_ages)
        at_risk = watched - np.append(0.0, deaths.cumsum()[:-1])
        hazard = _hazard(deaths, at_risk)
        alive = np.cumprod(1.0 - hazard)
        if len(places) == len(weights) or (last is not None and np.abs(alive - last).max() < 1e-7):
            break
        last = alive
        mass = (hazard * np.append(1.0, alive[:-1]))[places]
        total = np.bincount(owners, mass, minlength=len(weights))[owners]
        share = np.divide(mass, total, out=share, where=total > 0)
    return at_risk, deaths


def _hazard(deaths: np.ndarray, at_risk: np.ndarray) -> np.ndarray:
    hazard = np.divide(deaths, at_risk, out=np.zeros(len(deaths)), where=at_risk > NOBODY)
    hazard[(at_risk > NOBODY) & (at_risk - deaths < NOBODY)] = 1.0
    return np.clip(hazard, 0.0, 1.0)


def _curve(
    ages: np.ndarray, at_risk: np.ndarray, deaths: np.ndarray, n_connections: float, n_censored: int
) -> SurvivalCurve:
    hazard = _hazard(np.where(deaths < NOBODY, 0.0, deaths), at_risk)
    survival = np.cumprod(1.0 - hazard)
    some = survival > 0
    error, lower, upper = (np.full(len(ages), np.nan) for _ in range(3))
    terms = np.divide(hazard, at_risk - deaths, out=np.zeros(len(ages)), where=some & (hazard > 0))
    relative = np.sqrt(np.cumsum(terms[some]))  # Greenwood (1926)
    error[some] = survival[some] * relative
    with np.errstate(divide="ignore", invalid="ignore"):  # a curve that is still at 1
        wide = np.exp(CONFIDENCE * relative / -np.log(survival[some]))
    wide[relative == 0] = 1.0
    lower[some], upper[some] = survival[some] ** wide, survival[some] ** (1 / wide)
    return SurvivalCurve(ages, survival, error, lower, upper, at_risk, deaths, n_connections, n_censored)
