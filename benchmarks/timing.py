"""How everything here is measured: contestants in turn, in one process, on the same number of threads."""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from machine import machine, write
from threadpoolctl import threadpool_limits

import sparserbm as sr

# Threads of OpenMP and of a BLAS spin for a while before they sleep, and would take a core from whoever comes next.
SETTLE = 0.1

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Timing:
    """Seconds of one contestant, one entry a round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def record(self, scale: float = 1.0) -> dict[str, Any]:
        """Median, quartiles and extremes, ready for JSON; `scale` multiplies them."""
        low, middle, high = (float(f"{scale * q:.4g}") for q in np.quantile(self.seconds, (0.25, 0.5, 0.75)))
        ends = [float(f"{scale * end:.4g}") for end in (min(self.seconds), max(self.seconds))]
        return {"median": middle, "quartiles": [low, high], "extremes": ends, "rounds": len(self.seconds)}


def take_turns(contestants: dict[Name, Callable[[], float]], rounds: int) -> dict[Name, Timing]:
    """Ask every contestant for its seconds once a round, so that a noisy minute hits all of them.

    A first round, in which kernels are compiled and memory is touched, does not count; every round begins with another
    contestant.
    """
    names = list(contestants)
    found: dict[Name, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            gc.collect()
            time.sleep(SETTLE)
            seconds = contestants[name]()
            if number > 0:
                found[name].append(seconds)
    return {name: Timing(tuple(seconds)) for name, seconds in found.items()}


def interleave(contestants: dict[Name, Callable[[], Any]], rounds: int, seconds_each: float) -> dict[Name, Timing]:
    """Seconds a call of every contestant, from about `seconds_each` of calls in each round."""
    return take_turns({name: repeated(call, seconds_each) for name, call in contestants.items()}, rounds)


def repeated(call: Callable[[], Any], seconds_each: float) -> Callable[[], float]:
    """A contestant that calls `call` again and again; first calls, which fill caches, count only if they are long."""

    def measure() -> float:
        first = once(call)
        if first >= seconds_each:
            return first
        calls = max(1, round(seconds_each / max(once(call), 1e-7)))
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - begin) / calls

    return measure


def once(call: Callable[[], Any]) -> float:
    """Seconds of a single call."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def on_threads(threads: int, contestant: Callable[[], float]) -> Callable[[], float]:
    """`contestant` with PyTorch and the BLAS limited to `threads`, whatever others before it had."""

    def measure() -> float:
        set_threads(threads)
        return contestant()

    return measure


def set_threads(threads: int) -> None:
    """Threads of PyTorch, and of the BLAS and OpenMP libraries that are loaded by now; ours are told to the backend."""
    threadpool_limits(limits=threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def training(model: Any, X: np.ndarray, algorithm: Any, **settings: Any) -> Callable[[], float]:
    """A contestant that trains `model` for one more epoch at each call and gives the seconds that the run recorded.

    They hold the whole epoch: evolution (due from the second epoch on), order, batches, loss. Not the checks of data
    and settings before it.
    """
    runs: list[Any] = []

    def measure() -> float:
        run = sr.train(model, X, algorithm, epochs=1, follows=runs[-1] if runs else None, **settings)
        if runs and settings.get("evolution") is not None and run.metrics[-1]["dropped"] == 0:
            raise RuntimeError("the epoch held no evolution event, so its time would flatter us")
        runs[:] = [run]
        return run.metrics[-1]["seconds"]

    return measure


# -- the rest of the machine ---------------------------------------------------------------------------------------


class Watch:
    """How many cores something else kept busy since this was made: other processes, or other guests of the host.

    A few per cent are the system's own. More than that spoils the figures, those of OpenMP (PyTorch) on all cores by
    factors of up to a hundred: its threads spin while they wait for one that has no core.
    """

    def __init__(self) -> None:
        self._begin = self._now()

    def busy_cores(self) -> float | None:
        """None where the system does not tell (there is no /proc)."""
        if self._begin is None or (now := self._now()) is None:
            return None
        wall, all_work, own = (end - begin for begin, end in zip(self._begin, now))
        return round(max(0.0, (all_work - own) / wall), 3)

    @staticmethod
    def _now() -> tuple[float, float, float] | None:
        try:
            with open("/proc/stat") as file:
                ticks = [int(word) for word in file.readline().split()[1:9]]
        except OSError:
            return None
        idle = ticks[3] + ticks[4]
        own = os.times()
        return time.perf_counter(), (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK"), sum(own[:4])


WATCH = Watch()


# -- scripts -------------------------------------------------------------------------------------------------------


def parser(doc: str | None, rounds: int) -> argparse.ArgumentParser:
    """The options that all scripts have."""
    found = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    found.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="of every contestant")
    found.add_argument("--rounds", type=int, default=rounds, help="measurements of each contestant")
    found.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs; nothing is written")
    return found


def publish(name: str, options: argparse.Namespace, content: dict[str, Any], table: Sequence[str]) -> None:
    """Print the table; unless --quick, write results/<name>.json with the machine beside the figures."""
    print("\n".join(table))
    if options.quick:
        say("--quick: nothing written")
        return
    others = WATCH.busy_cores()
    if others is not None and others > 0.1:
        say(f"others kept {others} cores busy meanwhile: measure again when the machine is quiet")
    settings = {"threads": options.threads, "dtype": "float32", "cores_busy_with_others": others}
    say(f"written to {write(name, {'machine': machine(), **settings, **content})}")


def markdown(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Lines of a Markdown table."""
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head)] + [
        f"| {' | '.join(str(cell) for cell in row)} |" for row in rows
    ]


def met(value: float | None, target: float | None, below: bool = False) -> str:
    """The word for a column "met": yes, no, or - where there is no target."""
    if value is None or target is None:
        return "-"
    return "yes" if (value <= target if below else value >= target) else "no"


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
