"""Doing the same step again and again, as fast as the backend can."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from sparserbm.backends import Backend, Recording
from sparserbm.data.batches import Batch
from sparserbm.schedules import Schedule
from sparserbm.training.config import Rules


class Repeated:
    """The steps of an epoch: launched one by one at first, replayed from a recording once a step comes again.

    A recording holds for steps with the same number of samples and the same rates, between two changes of the topology.

    Parameters
    ----------
    backend : Backend
    rules : Rules
        What they take from schedules makes one step differ from the next.
    """

    def __init__(self, backend: Backend, rules: Rules):
        self._backend = backend
        numeric = (rules.algorithm, rules.optimizer, *rules.regularization)
        self._schedules = [schedule for rule in numeric for schedule in _schedules(vars(rule).values())]
        # A rule from elsewhere may look at the step in ways that a recording would freeze.
        self._possible = all(type(rule).__module__.startswith("sparserbm.") for rule in numeric)
        self.forget()

    def forget(self) -> None:
        """The arrays of the model are others now."""
        self._last: tuple[Any, ...] | None = None
        self._recorded: dict[tuple[Any, ...], tuple[Recording, int]] = {}

    def do(self, batch: Batch, work: Callable[[], None]) -> None:
        """Do `work`, the launches of one step."""
        if not self._possible:
            work()
            return
        kind = (batch.x.shape[1], *(schedule(batch.step) for schedule in self._schedules))
        # The first step of a kind makes arrays that all others use; a kind that comes once is not worth a recording.
        if kind == self._last and kind not in self._recorded:
            self._record(kind, batch.step, work)
        self._last = kind
        if kind in self._recorded:
            recording, first = self._recorded[kind]
            recording.replay(batch.step - first)
        else:
            work()

    def _record(self, kind: tuple[Any, ...], step: int, work: Callable[[], None]) -> None:
        try:
            recording = self._backend.record(work)
        except Exception as error:  # whatever it was, launching one by one says it better or does it
            recording = None
            logging.getLogger("sparserbm").warning(
                "a training step could not be recorded (%s); its kernels are launched one by one, which is slower",
                error,
            )
        if recording is None:
            self._possible = False
        else:
            self._recorded[kind] = recording, step


def _schedules(values: Any) -> Iterator[Schedule]:
    for value in values:
        if isinstance(value, Schedule):
            yield value
        elif isinstance(value, tuple):
            yield from _schedules(value)
