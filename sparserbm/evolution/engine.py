"""The evolution engine: when due, drop, grow and give birth, layer by layer."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from sparserbm.evolution.birth import Birth, Newborns
from sparserbm.evolution.drop import ConnectionsView, Drop, share_of
from sparserbm.evolution.grow import Grow, GrowRequest
from sparserbm.evolution.plans import RewirePlan
from sparserbm.models.base import Model
from sparserbm.network.coactivity import Evidence
from sparserbm.network.slots import BLOCK
from sparserbm.network.wiring import spread_exactly
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
    fell_back: int = 0  # newborns that a grow rule had to place otherwise than it wanted

    @property
    def happened(self) -> bool:
        """Whether a layer was rewired."""
        return bool(self.ages)

    def __add__(self, other: EvolutionReport) -> EvolutionReport:
        return EvolutionReport(
            self.dropped + other.dropped,
            self.grown + other.grown,
            self.ages + other.ages,
            self.fell_back + other.fell_back,
        )


@register("evolution", "evolution")
@dataclass(frozen=True)
class Evolution:
    """Rules that change the topology during training.

    Parameters
    ----------
    drop : Drop or text
        Which connections go.
    grow : Grow or text
        Where new ones come.
    birth : Birth or text
        The weights that they start with.
    zeta : float, Schedule or text, in [0, 1)
        Share of the connections of a layer that an event drops.
    when : Trigger or text
        After how many epochs or steps, or with which probability.
    last : {"none", "drop", "full"}
        What happens when training ends: nothing, so that the model is the one whose figures were measured; the
        drop without new connections, as in the SET paper; or a whole event. See docs/decisions.
    allow_return : bool
        Whether a place may get a new connection in the event that emptied it (SET: yes), always as a newborn.
    density : float, Schedule or text, optional, in (0, 1]
        Connections over places, of all layers that are not full taken together, which an event brings them to; each
        layer grows or shrinks by the same factor, until it is full. Without it as many come as go.
    min_age : int
        Steps for which a connection cannot be dropped after its birth.

    Notes
    -----
    A full layer has nowhere to grow: it never evolves. A drop rule with a number of its own, `min_age`, and a trigger
    that takes layers one by one may leave more connections than `density` asks for, until a later event.
    """

    drop: Any = "set"
    grow: Any = "random"
    birth: Any = "same"
    zeta: Any = 0.3
    when: Any = "every(epochs=1)"
    last: str = "none"
    allow_return: bool = True
    density: Any = None
    min_age: int = 0

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
        if self.density is not None:
            schedule = resolve_schedule(self.density, "density", -math.inf)
            if not 0 < schedule.extremes()[0] <= schedule.extremes()[1] <= 1:
                raise ValueError(f"density={self.density} is not possible; use values above 0, at most 1")
            if not isinstance(self.density, (int, float)):
                object.__setattr__(self, "density", schedule)
        if isinstance(self.min_age, bool) or not isinstance(self.min_age, (int, np.integer)) or self.min_age < 0:
            raise ValueError(f"min_age={self.min_age!r} is not possible; use a number of steps, at least 0")

    @property
    def needs_batches(self) -> bool:
        """Whether a rule looks at mini-batches: gradients or activities."""
        return self.drop.needs_batches or self.grow.needs_batches or self.birth.needs_batches

    def zeta_at(self, step: int) -> float:
        return self.zeta(step) if isinstance(self.zeta, Schedule) else float(self.zeta)

    def after_step(self, model: Model, evidence: Evidence | None, step: int) -> EvolutionReport:
        """Evolve if that is due after `step` mini-batches."""
        return self.evolve(model, evidence, step) if self.when.after_step(step) else EvolutionReport()

    def finish(self, model: Model, evidence: Evidence | None = None) -> EvolutionReport:
        """What `last` asks for, once training is over."""
        if self.last == "none":
            return EvolutionReport()
        return self._evolve(model, range(len(model.connections)), evidence, model.step, self.last == "full")

    def evolve(self, model: Model, evidence: Evidence | None, step: int) -> EvolutionReport:
        """Rewire every layer that is not full and that `when` takes, now.

        Parameters
        ----------
        model : Model
        evidence : Evidence or None
            The last mini-batches, for rules that look at them; None outside training.
        step : int
        """
        takes = [
            number
            for number in range(len(model.connections))
            if self.when.takes(functools.partial(model.streams.uniform, "trigger", step, number))
        ]
        return self._evolve(model, takes, evidence, step, True) if takes else EvolutionReport()

    def _evolve(
        self, model: Model, numbers: Sequence[int], evidence: Evidence | None, step: int, regrow: bool
    ) -> EvolutionReport:
        after = self._counts_after(model, step)
        numbers = [number for number in numbers if number in after]
        if numbers:
            model.check_finite()
        plans: Iterable[tuple[int, RewirePlan, EvolutionReport]]
        plans = (self._plan(model, number, evidence, step, after[number] if regrow else None) for number in numbers)
        if self.needs_batches:  # all layers are judged by one and the same network
            plans = list(plans)
        report = EvolutionReport()
        for number, plan, what in plans:
            plan.apply(model.connections[number], step)
            report += what
        return report

    def _counts_after(self, model: Model, step: int) -> dict[int, int]:
        """How many connections each layer that is not full has after an event."""
        layers = {n: layer for n, layer in enumerate(model.connections) if len(layer) < layer.pattern.n_places}
        if self.density is None:
            return {number: len(layer) for number, layer in layers.items()}
        places = [layer.pattern.n_places for layer in layers.values()]
        shares = [max(len(layer), 1) for layer in layers.values()]
        counts = spread_exactly(round(self.density_at(step) * sum(places)), shares, places)
        return {number: max(count, 1) for number, count in zip(layers, counts)}  # none is lost for good

    def density_at(self, step: int) -> float:
        return self.density(step) if isinstance(self.density, Schedule) else float(self.density)

    def weakest(self, model: Model, number: int, step: int) -> np.ndarray:
        """The share zeta of layer `number` that the drop rule picks at `step`; (n_connections,) bool."""
        return self._dropped(model, number, None, step, self._share(model, number, step))

    def _share(self, model: Model, number: int, step: int) -> int:
        return share_of(self.zeta_at(step), len(model.connections[number]))

    def _dropped(self, model: Model, number: int, evidence: Evidence | None, step: int, count: int) -> np.ndarray:
        """The connections that the drop rule picks; (n_connections,) bool."""
        layer = model.connections[number]
        view = ConnectionsView(layer, step, number, evidence)
        generator = model.streams.host("drop", step, number)
        if not self.min_age:
            return self._checked(self.drop.select(view, count, generator), len(layer))
        eligible = view.age >= self.min_age
        n_eligible = int(np.count_nonzero(eligible))
        if not n_eligible:
            return eligible
        chosen = self.drop.select(view.among(eligible), min(count, n_eligible), generator)
        eligible[eligible] = self._checked(chosen, n_eligible)
        return eligible

    def _checked(self, drop: Any, length: int) -> np.ndarray:
        drop = np.asarray(drop)
        if drop.shape != (length,) or drop.dtype != bool:
            raise ValueError(
                f"drop rule {self.drop} must give one True or False for each of {length} connections, not "
                f"{drop.dtype} of shape {drop.shape}"
            )
        return drop

    def _plan(
        self, model: Model, number: int, evidence: Evidence | None, step: int, after: int | None
    ) -> tuple[int, RewirePlan, EvolutionReport]:
        """What happens to one layer, and its report; `after` is its number of connections then, None: only drop."""
        layer, pattern = model.connections[number], model.connections[number].pattern
        if not self.needs_batches:
            layer.release()  # a third of the memory, which the plan may need
        count = self._share(model, number, step)
        if after is not None:
            count = max(count, len(layer) - after)
            if not self.allow_return:  # a nearly full layer has less room than it would lose
                count = min(count, max(pattern.n_places - after, 0))
        drop = self._dropped(model, number, evidence, step, count)
        ages = ConnectionsView(layer, step).age_of(drop).astype(np.min_scalar_type(step))
        keep = np.logical_not(drop, out=drop)
        if after is None:
            return number, RewirePlan(keep, np.empty(0, np.int64), np.empty(0)), EvolutionReport(len(ages), 0, (ages,))
        kept = pattern.keeping(keep)
        occupied = kept if self.allow_return else pattern
        count = min(max(after - len(kept), 0), occupied.n_places - len(occupied))
        request = GrowRequest(number, layer, keep, kept, occupied, count, evidence)
        grown = self.grow.propose(request, model.streams.host("grow", step, number))
        if len(grown) != count:
            raise ValueError(f"grow rule {self.grow} gave {len(grown)} places and was asked for {count}")
        weight = self._births(model, request, grown, step)
        return number, RewirePlan(keep, grown, weight), EvolutionReport(len(ages), count, (ages,), request.fell_back)

    def _births(self, model: Model, request: GrowRequest, grown: np.ndarray, step: int) -> np.ndarray:
        """Weights of the newborn, block by block."""
        n_pre, n_post = request.n_pre, request.n_post
        fan_in = request.parents.fan_in() + np.diff(np.searchsorted(grown, np.arange(n_post + 1) * n_pre))
        weight = np.empty(len(grown), dtype=model.backend.dtype)
        generator = model.streams.host("birth", step, request.number)
        first_rule = model.connections[request.number].weights_rule
        gradient = request.gradient(grown) if self.birth.needs_batches else None
        for first in range(0, len(grown), BLOCK):
            part = slice(first, first + BLOCK)
            own = None if gradient is None else gradient[part]
            newborns = Newborns(fan_in[grown[part] // n_pre], n_pre, first_rule, own)
            weight[part] = self.birth.draw(generator, newborns)
        return weight


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
