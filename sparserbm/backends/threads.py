"""Worker threads that run ranges of rows of one compiled kernel.

The kernels release Python's lock, so plain threads serve. Every range goes through the very same machine code,
whatever the number of threads: numba's own parallel loops compile the body a second time, and measured results
differed in the last bit between one thread and two. Nor is there a threading layer to crash in a forked child.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

_workers: list[SimpleQueue] = []
_owner = 0
_lock = threading.Lock()


def run_rows(kernel: Callable[..., Any], cuts: Sequence[int], arguments: tuple[Any, ...]) -> None:
    """Call ``kernel(cuts[k], cuts[k + 1], *arguments)`` for every k at the same time, the first in this thread."""
    n_others = len(cuts) - 2
    done: SimpleQueue = SimpleQueue()
    for place, worker in enumerate(_waiting(n_others), start=1):
        worker.put((kernel, (cuts[place], cuts[place + 1], *arguments), done))
    try:
        kernel(cuts[0], cuts[1], *arguments)
    finally:  # the arrays belong to the caller: nobody may write them after this returns
        errors = [done.get() for _ in range(n_others)]
    for error in errors:
        if error is not None:
            raise error


def _waiting(count: int) -> list[SimpleQueue]:
    """Queues of `count` workers; made at first use, and again in a forked child, which inherits no threads."""
    global _owner
    with _lock:
        if _owner != os.getpid():
            _workers.clear()
            _owner = os.getpid()
        while len(_workers) < count:
            queue: SimpleQueue = SimpleQueue()
            threading.Thread(target=_work, args=(queue,), name="sparserbm-rows", daemon=True).start()
            _workers.append(queue)
        return _workers[:count]


def _work(queue: SimpleQueue) -> None:
    while True:
        kernel, arguments, done = queue.get()
        try:
            kernel(*arguments)
            done.put(None)
        except BaseException as error:
            done.put(error)
