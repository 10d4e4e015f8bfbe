"""The evolution engine: when due, drop, grow and give birth, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from sparserbm.evolution.birth import Birth
from sparserbm.evolution.drop import ConnectionsView, Drop
from sparserbm.evolution.grow import Grow, GrowRequest
from sparserbm.evolution.plans import RewirePlan
from sparserbm.models.base import Model
from sparserbm.network.coactivity import Coactivity
from sparserbm.network.slots import BLOCK
from sparserbm.registry import register, resolve
from sparserbm.schedules import Schedule, Trigger, resolve_schedule

AnyModel = TypeVar("AnyModel", bound=Model)
LAST = ("none", "drop", "full")


@dataclass(frozen=True)
class EvolutionReport:
    """What one event did, all layers together."""

    dropped: int = 0
    grown: int = 0
    ages: tuple[np.ndarray, ...] = ()  # steps that the dropped connections lived, one array a layer

    @property
    def happened(self) -> bool:
        """Whether a layer was rewired."""
        return bool(self.ages)

    def __add__(self, other: EvolutionReport) -> EvolutionReport:
        return EvolutionReport(self.dropped + other.dropped, self.grown + other.grown, self.ages + other.ages)


@register("evolution", "evolution")
@dataclass(frozen=True)
class Evolution:
    """Rules that change the topology during training.

    Parameters
    ----------
    drop : Drop or text
        Which connections go.
    grow : Grow or text
        Where new ones come; as many as were dropped.
    birth : Birth or text
        The weights that they start with.
    zeta : float, Schedule or text, in [0, 1)
        Share of the connections of a layer that an event replaces.
    when : Trigger or text
        After how many epochs or steps.
    last : {"none", "drop", "full"}
        What happens when training ends: nothing, so that the model is the one whose figures were measured; the
        drop without new connections, as in the SET paper; or a whole event. See docs/decisions.
    allow_return : bool
        Whether a place may get a new connection in the event that emptied it (SET: yes), always as a newborn.

    Notes
    -----
    A full layer has nowhere to grow: it never evolves.
    """

    drop: Any = "set"
    grow: Any = "random"
    birth: Any = "same"
    zeta: Any = 0.3
    when: Any = "every(epochs=1)"
    last: str = "none"
    allow_return: bool = True

    def __post_init__(self) -> None:
        for name, kind in (("drop", Drop), ("grow", Grow), ("birth", Birth), ("when", Trigger)):
            rule = resolve({"when": "trigger"}.get(name, name), getattr(self, name))
            if not isinstance(rule, kind):
                raise TypeError(f"{name}={rule!r} is not possible; give a {kind.__name__} or its text")
            object.__setattr__(self, name, rule)
        schedule = resolve_schedule(self.zeta, "zeta", 0.0, 1.0)
        if not isinstance(self.zeta, (int, float)):
            object.__setattr__(self, "zeta", schedule)
        if self.last not in LAST:
            raise ValueError(f"last={self.last!r} is not possible; use one of {', '.join(LAST)}")

    def zeta_at(self, step: int) -> float:
        return self.zeta(step) if isinstance(self.zeta, Schedule) else float(self.zeta)

    def after_step(self, model: Model, coactivity: Sequence[Coactivity] | None, step: int) -> EvolutionReport:
        """Evolve if that is due after `step` mini-batches."""
        return self.evolve(model, coactivity, step) if self.when.after_step(step) else EvolutionReport()

    def finish(self, model: Model, coactivity: Sequence[Coactivity] | None = None) -> EvolutionReport:
        """What `last` asks for, once training is over."""
        if self.last == "none":
            return EvolutionReport()
        return self.evolve(model, coactivity, model.step, regrow=self.last == "full")

    def evolve(
        self, model: Model, coactivity: Sequence[Coactivity] | None, step: int, regrow: bool = True
    ) -> EvolutionReport:
        """Rewire every layer that is not full, now."""
        model.check_finite()
        report = EvolutionReport()
        for number, layer in enumerate(model.connections):
            if len(layer) == layer.pattern.n_places:
                continue
            signal = coactivity[number] if coactivity is not None else None
            layer.release()
            plan, ages = self._plan(model, number, signal, step, regrow)
            plan.apply(layer, step)
            report += EvolutionReport(plan.n_dropped, plan.n_grown, (ages,))
        return report

    def weakest(self, model: Model, number: int, step: int, regrow: bool = False) -> np.ndarray:
        """The connections of layer `number` that an event at `step` would drop; (n_connections,) bool."""
        layer = model.connections[number]
        count = int(round(self.zeta_at(step) * len(layer), 6))  # 0.29 * 100 is 28.999999999999996
        if regrow and not self.allow_return:  # a nearly full layer has less room than it would lose
            count = min(count, layer.pattern.n_places - len(layer))
        generator = model.streams.host("drop", step, number)
        drop = np.asarray(self.drop.select(ConnectionsView(layer, step), count, generator))
        if drop.shape != (len(layer),) or drop.dtype != bool:
            raise ValueError(
                f"drop rule {self.drop} must give one True or False for each of {len(layer)} connections, not "
                f"{drop.dtype} of shape {drop.shape}"
            )
        return drop

    def _plan(
        self,
        model: Model,
        number: int,
        signal: Coactivity | None,
        step: int,
        regrow: bool,
    ) -> tuple[RewirePlan, np.ndarray]:
        """What happens to one layer, and the ages of the connections that it drops."""
        layer = model.connections[number]
        pattern = layer.pattern
        drop = self.weakest(model, number, step, regrow)
        ages = ConnectionsView(layer, step).age_of(drop).astype(np.min_scalar_type(step))
        count = len(ages)
        keep = np.logical_not(drop, out=drop)
        if not regrow:
            return RewirePlan(keep, np.empty(0, np.int64), np.empty(0)), ages
        kept = pattern.keeping(keep)
        occupied = kept if self.allow_return else pattern
        request = GrowRequest(layer.n_pre, layer.n_post, occupied, count, signal, model.backend)
        grown = self.grow.propose(request, model.streams.host("grow", step, number))
        if len(grown) != count:
            raise ValueError(f"grow rule {self.grow} gave {len(grown)} places and was asked for {count}")
        fan_in = kept.fan_in() + np.diff(np.searchsorted(grown, np.arange(layer.n_post + 1) * layer.n_pre))
        weight = np.empty(count, dtype=model.backend.dtype)
        birth = model.streams.host("birth", step, number)
        for first in range(0, count, BLOCK):
            part = slice(first, first + BLOCK)
            inputs = fan_in[grown[part] // layer.n_pre]
            weight[part] = self.birth.draw(birth, inputs, layer.n_pre, layer.weights_rule)
        return RewirePlan(keep, grown, weight), ages


@register("evolution", "set")
def SET(
    zeta: Any = 0.3,
    when: Any = "every(epochs=1)",
    birth: Any = "same",
    last: str = "none",
    allow_return: bool = True,
) -> Evolution:
    """Sparse evolutionary training (Mocanu et al. 2018): signed drop, uniform regrowth, newborns as at the start.

    Parameters
    ----------
    zeta : float, Schedule or text, in [0, 1)
        Share of the connections that an event replaces.
    when : Trigger or text
        Every epoch by default.
    birth, last, allow_return
        As in `Evolution`.
    """
    return Evolution(birth=birth, zeta=zeta, when=when, last=last, allow_return=allow_return)


def silence_weakest(model: AnyModel, zeta: float, drop: Drop | str = "set") -> AnyModel:
    """A twin of `model` that computes what its `core_view` computes: the weakest connections have weight 0.

    It shares patterns and indices with `model`, which is faster than a smaller network and takes less memory.
    """
    twin, rules = model.copy({"weight", "born"}), Evolution(drop=drop, zeta=zeta)
    for number, layer in enumerate(twin.connections):
        if len(layer) < layer.pattern.n_places:
            layer.weight[model.backend.asarray(rules.weakest(model, number, model.step))] = 0
    return twin


def core_view(model: AnyModel, zeta: float, drop: Drop | str = "set") -> AnyModel:
    """A copy of `model` without the share `zeta` of its weakest connections, for evaluation; the model is untouched.

    Full layers keep everything, as they do in evolution.
    """
    core = Evolution(drop=drop, zeta=zeta, last="drop")
    twin = model.copy()
    core.finish(twin)
    return twin
