"""A team of threads that share the rows of one compiled kernel.

Waking a sleeping thread takes 100 to 200 microseconds, as long as a product over a mini-batch. So the workers of a team
wait for the next kernel in compiled code, without Python's lock, and fall asleep only after a while without work.

A kernel's rows are cut into shares. Every thread begins with its own part of them, the same in every kernel, since what
it writes stays in its cache; then it takes from the others, so that a worker that is asleep delays nobody. Every share
goes through the very same machine code, whatever the number of threads: numba's own parallel loops compile the body a
second time, and measured results differed in the last bit between one thread and two. Nor is there a threading layer to
crash in a forked child.
"""

from __future__ import annotations

import os
import platform
import threading
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from sparserbm.backends.compiled import compiled, intrinsic

# Words of a team's state, each on its own line of the cache. The tickets of all threads follow, then the bounds of all
# shares.
LINE = 8
BUSY, DONE, ALONE, RETREAT, THREADS, N_SHARES, TASK, ARGUMENTS, FIRST = range(0, 9 * LINE, LINE)
LEFT = (1 << 16) - 1  # lower bits of a ticket: shares that nobody has taken yet; the upper ones count kernels
# Shares of one kernel: so many that at 100 million connections none takes as long as what counts as late.
MOST = 1 << 15
PATIENCE = 20_000  # pauses without work before a worker goes to sleep, about half a millisecond
# A share that is late by so many pauses, about 400 microseconds, was interrupted: the cores have other things to do.
# Waiting for it costs milliseconds, so some of the kernels that follow do without help: more, if it happens again.
LATE = 20_000
SHORTEST, LONGEST = 32, 2048  # kernels


# -- what numba has no word for ----------------------------------------------------------------------------------

# LLVM's name for the instruction that says "this loop waits", and its arguments.
_PAUSES: dict[str, tuple[str, list[int]]] = {
    "x86_64": ("llvm.x86.sse2.pause", []),
    "amd64": ("llvm.x86.sse2.pause", []),
    "aarch64": ("llvm.aarch64.hint", [1]),
    "arm64": ("llvm.aarch64.hint", [1]),
}


def _word(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


@intrinsic
def _load(typingctx, array, index):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.load_atomic(_word(context, builder, signature.args[0], *args), "seq_cst", 8)

    return types.int64(array, index), codegen


@intrinsic
def _add(typingctx, array, index, value):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        place = _word(context, builder, signature.args[0], *args[:2])
        return builder.atomic_rmw("add", place, args[2], "seq_cst")

    return types.int64(array, index, types.int64), codegen


@intrinsic
def _exchange(typingctx, array, index, expected, value):  # type: ignore[no-untyped-def]
    """Whether the word was `expected`; then it is `value` now."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        place = _word(context, builder, signature.args[0], *args[:2])
        found = builder.cmpxchg(place, args[2], args[3], "seq_cst", "seq_cst")
        return builder.extract_value(found, 1)

    return types.boolean(array, index, types.int64, types.int64), codegen


@intrinsic
def _pause(typingctx):  # type: ignore[no-untyped-def]
    """Tell the processor that this is a loop that waits."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        found = _PAUSES.get(platform.machine().lower())
        if found is not None:
            name, values = found
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(32)] * len(values))
            instruction = cgutils.get_or_insert_function(builder.module, kind, name)
            builder.call(instruction, [ir.Constant(ir.IntType(32), value) for value in values])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def address(typingctx, arguments):  # type: ignore[no-untyped-def]
    """Where a copy of the tuple `arguments` stands until the calling function returns."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        place = cgutils.alloca_once_value(builder, args[0])
        return builder.ptrtoint(place, ir.IntType(64))

    return types.int64(arguments), codegen


_SIGNATURE = ir.FunctionType(ir.VoidType(), [ir.IntType(64), ir.IntType(64), ir.IntType(8).as_pointer()])


@intrinsic
def task(typingctx, kernel, arguments):  # type: ignore[no-untyped-def]
    """Address of a C function ``task(lo, hi, address)`` that calls ``kernel(lo, hi, *arguments)``.

    The kernel cannot be merged into its callers this way: there is one machine code of it.
    """
    inner = kernel.get_call_type(typingctx, (types.int64, types.int64, *arguments.types), {})

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        found = kernel.dispatcher.overloads[inner.args]
        context.active_code_library.add_linking_library(found.library)
        callee = context.declare_function(builder.module, found.fndesc)
        task = ir.Function(builder.module, _SIGNATURE, builder.module.get_unique_name("task"))
        task.linkage = "internal"
        inside = ir.IRBuilder(task.append_basic_block("entry"))
        kind = context.get_value_type(signature.args[1])
        packed = inside.load(inside.bitcast(task.args[2], kind.as_pointer()))
        values = [*task.args[:2], *cgutils.unpack_tuple(inside, packed)]
        context.call_conv.call_function(inside, callee, inner.return_type, inner.args, values)
        inside.ret_void()
        return builder.ptrtoint(task, ir.IntType(64))

    return types.int64(kernel, arguments), codegen


@intrinsic
def _call(typingctx, task, lo, hi, address):  # type: ignore[no-untyped-def]
    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        function = builder.inttoptr(args[0], _SIGNATURE.as_pointer())
        builder.call(function, [args[1], args[2], builder.inttoptr(args[3], ir.IntType(8).as_pointer())])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), codegen


# -- sharing -----------------------------------------------------------------------------------------------------


@compiled()
def _first_at_least(values, limit):
    # np.searchsorted takes three quarters of a second to compile.
    low, high = 0, values.size
    while low < high:
        middle = (low + high) // 2
        if values[middle] < limit:
            low = middle + 1
        else:
            high = middle
    return low


@compiled()
def share_rows(state, shares, indptr, task, arguments):
    """Run a task over all rows of a pattern, in `shares` with about equally many connections."""
    n, total = indptr.size - 1, indptr[indptr.size - 1]
    if not _helped(state, shares):
        _call(task, 0, n, arguments)
        return
    bounds = state[FIRST + LINE * state[THREADS] :]
    bounds[0], bounds[shares] = 0, n
    for k in range(1, shares):
        bounds[k] = _first_at_least(indptr, total * k // shares)
    _share(state, shares, task, arguments)


@compiled()
def share_range(state, shares, n, task, arguments):
    """Run a task over 0 to `n`, in equal `shares`."""
    if not _helped(state, shares):
        _call(task, 0, n, arguments)
        return
    bounds = state[FIRST + LINE * state[THREADS] :]
    for k in range(shares + 1):
        bounds[k] = n * k // shares
    _share(state, shares, task, arguments)


@compiled()
def _helped(state, shares):
    """Whether the team is there for this kernel; then it belongs to the caller until the kernel is done."""
    return shares > 1 and _exchange(state, BUSY, 0, 1)


@compiled()
def _share(state, shares, task, arguments):
    state[TASK], state[ARGUMENTS], state[N_SHARES], state[DONE] = task, arguments, shares, 0
    for thread in range(state[THREADS]):
        _add(state, FIRST + LINE * thread, LEFT + 1 + _end(state, thread) - _end(state, thread - 1))
    _worked(state, 0)
    pauses = 0
    while _load(state, DONE) < shares:
        _pause()
        pauses += 1
    if pauses > LATE:
        state[ALONE] = state[RETREAT]
        state[RETREAT] = min(2 * state[RETREAT], LONGEST)
    elif state[RETREAT] > SHORTEST:
        state[RETREAT] -= 1
    _add(state, BUSY, -1)


@compiled()
def _end(state, thread):
    """Where the shares of a thread end and those of the next begin."""
    return state[N_SHARES] * (thread + 1) // state[THREADS]


@compiled()
def _worked(state, thread):
    """Take shares until there are none left, one's own first; whether there was any."""
    worked = False
    for other in range(thread, thread + state[THREADS]):
        while _took_a_share(state, other % state[THREADS]):
            worked = True
    return worked


@compiled()
def _took_a_share(state, owner):
    place = FIRST + LINE * owner
    ticket = _load(state, place)
    left = ticket & LEFT
    if left == 0:
        return False
    if _exchange(state, place, ticket, ticket - 1):
        # The kernel cannot end before this share is done: what is read here belongs to it.
        k = FIRST + LINE * state[THREADS] + _end(state, owner) - left
        _call(state[TASK], state[k], state[k + 1], state[ARGUMENTS])
        _add(state, DONE, 1)
    return True


@compiled()
def _serve(state, thread):
    """The life of a worker until there was nothing to do for a while."""
    idle = 0
    while idle < PATIENCE:
        if _worked(state, thread):
            idle = 0
        else:
            _pause()
            idle += 1


class Team:
    """`threads` - 1 workers that help the thread that calls.

    Attributes
    ----------
    state : (n,) int64
        What the compiled functions of this module work on.
    """

    def __init__(self, threads: int):
        self.threads = threads
        self.state = np.zeros(FIRST + LINE * threads + MOST + 1, dtype=np.int64)
        self.state[RETREAT], self.state[THREADS] = SHORTEST, threads
        self._sleeping: list[threading.Event] = []
        for number in range(1, threads):
            waking = threading.Event()
            self._sleeping.append(waking)
            name = f"sparserbm-{number}"
            threading.Thread(target=self._live, args=(number, waking), name=name, daemon=True).start()

    def ready(self) -> bool:
        """Whether to ask for help with the next kernel; wakes the workers that are asleep, for a later one."""
        if self.state[ALONE] > 0:
            self.state[ALONE] -= 1
            return False
        for waking in self._sleeping:
            if not waking.is_set():
                waking.set()
        return True

    def _live(self, number: int, waking: threading.Event) -> None:
        while waking.wait():
            _serve(self.state, number)
            waking.clear()


_teams: dict[int, Team] = {}


def team(threads: int) -> Team:
    """The team of this process with so many threads; made at first use."""
    found = _teams.get(threads)
    if found is None:
        found = _teams[threads] = Team(threads)
    return found


# A forked child inherits the dictionary but no threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_teams.clear)
