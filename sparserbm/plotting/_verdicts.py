"""What came of every group of runs: a sentence with z and p, and a strip with one dot a run, as HTML."""

from __future__ import annotations

import html
import math
from collections import Counter

import numpy as np
from matplotlib.ticker import MaxNLocator

from sparserbm.plotting._p_values import p_text
from sparserbm.plotting._runs import kind, last_value, rule_of
from sparserbm.plotting._tables import last_index, number
from sparserbm.plotting._zone_series import signed, tally
from sparserbm.runs import Run
from sparserbm.topology import LearningIndex, combine
from sparserbm.topology.zones import VERDICT_Z

MOST_OPEN = 12  # groups; more would push the rest of the page out of sight
WHERE = {"positive": "in the active zone", "negative": "outside the active zone", "none": "nowhere in particular"}


def lead(groups: dict[str, list[Run]]) -> str:
    """The answer of the whole page in one sentence, as plain text."""
    found = {label: _indices(runs) for label, runs in groups.items()}
    if len(found) == 1:
        ((label, indices),) = found.items()
        sentence = _sentence(groups[label], indices)
        return sentence[0].upper() + sentence[1:]
    counts = Counter(_word(indices) for indices in found.values())
    places = {**WHERE, "mixed": "not in the same place in all runs", "": "not measured"}
    parts = [(counts[word], place) for word, place in places.items() if counts[word]]
    if len(parts) == 1:
        text = f"{parts[0][1]} in all {len(found)} groups of runs"
    else:
        text = ", ".join(f"{place} in {n}" for n, place in parts[:-1]) + f" and {parts[-1][1]} in {parts[-1][0]}"
        text += f" of {len(found)} groups of runs"
    return text[0].upper() + text[1:] + "."


def _sentence(runs: list[Run], found: list[LearningIndex]) -> str:
    if not found and any(run.zone_mask is not None for run in runs):
        return "no epoch was measured, so there is no verdict."
    return verdict(found)


def verdict(found: list[LearningIndex]) -> str:
    """One sentence about the runs of a group."""
    if not found:
        return "no active zone was stated, so there is no verdict."
    every = "" if len(found) == 1 else f" in all {len(found)} runs"
    word = _word(found)
    if word == "mixed":
        return f"the runs differ: {tally(found)} ({_evidence(found)})."
    return f"{WHERE[word]}{every} (verdict {word}, {_evidence(found)})."


def _evidence(found: list[LearningIndex]) -> str:
    whole = combine([index.z for index in found])
    texts = [f"z = {signed(whole.z)}"] if whole.n == 1 else [f"mean z = {signed(whole.mean)}"]
    if whole.n > 1:
        texts.append(f"combined z = {signed(whole.z)}")
    return ", ".join([*texts, p_text(whole.p)])


def _word(found: list[LearningIndex]) -> str:
    """The verdict that all share, "mixed", or "" where there is none."""
    words = {index.verdict for index in found}
    return "mixed" if len(words) > 1 else "".join(words)


def _indices(runs: list[Run]) -> list[LearningIndex]:
    return [index for index in map(last_index, runs) if index is not None]


def verdict_list(groups: dict[str, list[Run]]) -> str:
    """One entry a group: the sentence, the densities and the quality behind it, and a strip of its z."""
    found = {label: _indices(runs) for label, runs in groups.items()}
    every = [index.z for indices in found.values() for index in indices]
    low, high = min([-3.5, *every]), max([3.5, *every])  # the ends of the band of no verdict are seen
    ends = low - 0.04 * (high - low), high + 0.04 * (high - low)
    lines = []
    for label, runs in groups.items():
        indices = found[label]
        sentence = f": {html.escape(_sentence(runs, indices))}" if len(groups) > 1 else ""  # else the lead says it
        text = f"<p><strong>{html.escape(label)}</strong>{sentence}</p>"
        detail = "; ".join(filter(None, [_densities(indices), _quality(runs)]))
        text += f'<p class="soft">{html.escape(detail)}</p>' if detail else ""
        strip = _strip([index.z for index in indices], ends) if indices else ""
        lines.append(f'<li class="{_word(indices) or "none"}"><div>{text}</div>{strip}</li>')
    axis = f'<div class="axis" aria-hidden="true"><span></span>{_axis(ends)}</div>' if every else ""
    listed = f'<ul class="verdicts">{"".join(lines)}</ul>{axis}'
    if len(groups) > MOST_OPEN:
        listed = f"<details><summary>The verdict on each of the {len(groups)} groups</summary>{listed}</details>"
    return f'{listed}<p class="soft">{html.escape(_note(groups))}</p>'


def _densities(found: list[LearningIndex]) -> str:
    if not found:
        return ""
    inside, outside = (
        _mean([getattr(one, side) for one in found], ".2f") for side in ("centre_density", "margin_density")
    )
    return f"{inside} connections per input in the zone, {outside} in the margin"


def _quality(runs: list[Run]) -> str:
    if kind(runs[0]) == "rbm":
        errors = [last_value(run, "validation_loss") for run in runs]
        return "" if np.isnan(errors).all() else f"validation reconstruction error {_mean(errors)}"
    shares = [last_value(run, "validation_accuracy") for run in runs]
    return "" if np.isnan(shares).all() else f"validation accuracy {_mean(shares, '.1%')}"


def _mean(values: list[float], form: str = "") -> str:
    """Mean of what was measured, ± the standard deviation over several runs; 3 digits, where `form` is not given."""
    measured = np.array([value for value in values if math.isfinite(value)])
    if not measured.size:
        return number(math.nan, form)
    size = float(np.abs(measured).max())
    form = form or f".{max(0, 2 - math.floor(math.log10(size))) if size else 0}f"
    spread = f" ± {number(float(measured.std(ddof=1)), form)}" if measured.size > 1 else ""
    return number(float(measured.mean()), form) + spread


def _strip(z: list[float], ends: tuple[float, float]) -> str:
    """A scale with one dot a run, the mean as a bar, and the band of no verdict; lengths in per cent fit any width."""
    left, right = _place(-VERDICT_Z, ends), _place(VERDICT_Z, ends)
    marks = f'<rect class="band" x="{left:.2f}%" width="{right - left:.2f}%" y="0" height="28"/>'
    marks += _upright("zero", 0.0, ends)
    marks += "".join(f'<circle cx="{_place(value, ends):.2f}%" cy="14" r="4.5"/>' for value in z)
    marks += _upright("mean", float(np.mean(z)), ends) if len(z) > 1 else ""
    return f'<svg class="strip" height="28" aria-hidden="true">{marks}</svg>'


def _upright(mark: str, value: float, ends: tuple[float, float]) -> str:
    x = f"{_place(value, ends):.2f}%"
    return f'<line class="{mark}" x1="{x}" x2="{x}" y1="2" y2="26"/>'


def _axis(ends: tuple[float, float]) -> str:
    ticks = [tick for tick in MaxNLocator(5, integer=True).tick_values(*ends) if ends[0] <= tick <= ends[1]]
    texts = [
        f'<text x="{_place(tick, ends):.2f}%" y="12">{number(tick, "+.0f") if tick else "z 0"}</text>'
        for tick in ticks
        if 3 < _place(tick, ends) < 97  # no half numbers at the edge
    ]
    return f'<svg class="strip" height="16">{"".join(texts)}</svg>'


def _place(value: float, ends: tuple[float, float]) -> float:
    """Per cent of the width."""
    return 100.0 * (value - ends[0]) / (ends[1] - ends[0])


def _note(groups: dict[str, list[Run]]) -> str:
    runs = [run for members in groups.values() for run in members]
    rules = sorted({rule_of(run) for run in runs} - {""})
    zone = f" ({', '.join(rules)})" if rules else ""
    note = (
        f"z counts how many standard deviations the connections in the active zone{zone} lie above those of a "
        f"random wiring with as many connections: positive above 3, negative below \N{MINUS SIGN}3, else none. "
        f"p is the probability of a z at least as far from 0 under a random wiring, from the normal distribution, "
        f"two-sided"
    )
    if any(len(members) > 1 for members in groups.values()):
        note += (
            "; of several runs, from their combined z by Stouffer's method: the sum of their z over the root of their "
            "number, as runs with other seeds are independent"
        )
    if len(groups) > 1:
        note += ". It is not corrected for the number of groups, and says nothing about differences between them"
    return note + "."
