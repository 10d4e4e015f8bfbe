"""Choosing a backend, its number type and its threads; and that the number of threads changes no bit."""

import os
import time

import numpy as np
import pytest
from problems import wired

from sparserbm.backends import VARIABLE, Backend, Gate, SignedPair, get_backend
from sparserbm.rng import DrawKey

KEY = DrawKey(1, 2, 3, 4)


def test_a_backend_is_found_by_its_name(backend):
    found = get_backend(backend, "float64")
    assert isinstance(found, Backend)
    assert (found.name, found.dtype) == (backend, np.float64)
    assert get_backend(found) is get_backend(found, "float64") is found
    with pytest.raises(
        ValueError, match="this backend computes in float64, not in float32; make it with dtype='float32'"
    ):
        get_backend(found, "float32")


def test_auto_takes_the_compiled_kernels(monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr("sparserbm.backends.why_no_gpu", lambda: "there is none")
    assert get_backend("auto").name == "numpy"
    assert get_backend().dtype == np.float32


def test_what_is_not_possible_is_said():
    with pytest.raises(ValueError, match="unknown backend 'torch'; known: auto, numpy, cupy, reference"):
        get_backend("torch")
    with pytest.raises(ValueError, match="dtype=int32 is not possible; use float32 or float64"):
        get_backend("reference", "int32")
    pytest.importorskip("numba")
    for threads in (0, 10_000):
        with pytest.raises(ValueError, match=rf"threads={threads} is not possible on this machine; use 1 to \d+"):
            get_backend("numpy", threads=threads)


def test_without_numba_the_reference_serves(monkeypatch, caplog):
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr("sparserbm.backends.why_no_gpu", lambda: "there is none")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert get_backend("auto").name == "reference"
    assert "numba is not installed" in caplog.text
    with pytest.raises(ValueError, match=r'backend="numpy" needs numba \(pip install numba\)'):
        get_backend("numpy")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_get_the_type_of_the_backend_and_integers_keep_theirs(backend, dtype):
    library = get_backend(backend, dtype)
    assert library.asarray([[0.5]]).dtype == dtype
    assert library.asarray(np.ones(3, np.float16)).dtype == dtype
    assert library.asarray(np.arange(3, dtype=np.int32)).dtype == np.int32
    assert library.asarray(np.ones((4, 3)).T).flags.c_contiguous
    assert library.zeros(3).dtype == library.empty((3, 2)).dtype == dtype


# -- threads ---------------------------------------------------------------------------------------------------------


def results(threads, n_pre, n_post, count, n):
    """All kernels that may use several threads."""
    library = get_backend("numpy", "float32", threads=threads)
    connections = wired(library, n_pre, n_post, count, dtype="float32")
    random = np.random.default_rng(n)
    x, y = (random.normal(size=(units, n)).astype(np.float32) for units in (n_pre, n_post))
    bias, mean, drawn = np.ones(n_post, np.float32), np.empty_like(y), np.empty_like(y)
    fewer = [np.ascontiguousarray(array[:, : n // 2 + 1]) for array in (x, y)]
    pairs = [SignedPair(-1.0, x, y), SignedPair(0.5, x + 1, y), SignedPair(2.0, *fewer)]
    found = [mean, drawn]
    library.spmm(connections, connections.weight, x, mean, bias, "sigmoid", sample=drawn, key=KEY)
    gate = Gate("tanh", np.tanh(x))
    found.append(library.spmm_t(connections, connections.weight, y, np.empty_like(x), gate=gate))
    for chosen in (pairs[:1], pairs[:2], pairs):
        found.append(library.sddmm(connections, chosen, np.empty(count, np.float32)))
    found.append(library.gather(x, np.arange(n_pre)[::-1].copy(), np.empty((n, n_pre), np.float32)))
    found += [draw(KEY, np.empty_like(x)) for draw in (library.uniform, library.normal)]
    found += [library.bernoulli(KEY, np.abs(x), np.empty_like(x)), library.softplus(x, np.empty_like(x))]
    for momentum, nesterov in ((0.0, False), (0.9, False), (0.9, True)):
        value, velocity = np.ones(x.size, np.float32), np.ones(x.size, np.float32)
        library.sgd(value, velocity if momentum else None, x.reshape(-1), 0.1, momentum, nesterov)
        found += [value, velocity]
    value, first, second = (np.ones(x.size, np.float32) for _ in range(3))
    library.adam(
        value, first, second, x.reshape(-1), np.arange(x.size, dtype=np.uint32), x.size, 0, 0.1, 0.9, 0.999, 1e-8
    )
    found += [value, first, second, library.add_scaled(x.reshape(-1).copy(), 0.3, x.reshape(-1) + 1)]
    for rows in (connections.by_post, connections.by_pre):
        found.append(connections.weight.copy())
        library.limit_norms(rows, found[-1], 1.0)
    return [array.tobytes() for array in found]


@pytest.mark.parametrize(
    ("size", "always"),
    [((400, 300, 40000, 128), False), ((37, 11, 150, 33), True), ((9, 2, 10, 1), True), ((5, 3, 0, 7), True)],
)
def test_the_number_of_threads_changes_no_bit(monkeypatch, size, always):
    numba = pytest.importorskip("numba")
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one thread is all there is")
    from sparserbm.backends import numpy_backend

    if always:
        monkeypatch.setattr(numpy_backend, "SHARE", 1)
    assert size[2] * size[3] > 2 * numpy_backend.SHARE or size[2] == 0
    assert results(1, *size) == results(2, *size)


def count_rows():
    numba = pytest.importorskip("numba")
    from sparserbm.backends.threads import address, share_range, task

    @numba.njit(nogil=True)
    def rows(lo, hi, seen):
        for row in range(lo, hi):
            seen[row] += 1

    @numba.njit(nogil=True)
    def count(state, shares, seen):
        arguments = (seen,)
        share_range(state, shares, seen.size, task(rows, arguments), address(arguments))

    return count


def test_every_row_is_done_once_whoever_does_it():
    count = count_rows()
    from sparserbm.backends import threads

    team = threads.Team(3)
    seen = np.zeros(1000)
    for repeat in range(2000):
        team.ready()  # wakes the workers, unless a share was late: they may be asleep or not
        count(team.state, 1 + repeat % (12), seen)
    assert (seen == 2000).all()


def test_a_team_that_is_at_work_leaves_a_second_caller_alone():
    count = count_rows()
    from sparserbm.backends import threads

    team = threads.Team(2)
    team.state[threads.BUSY] = 1
    seen = np.zeros(10)
    count(team.state, 4, seen)
    assert (seen == 1).all()
    assert team.state[threads.FIRST] == 0


def test_after_a_late_share_the_next_kernels_do_without_help():
    count_rows()
    from sparserbm.backends import threads

    team = threads.Team(2)
    team.state[threads.ALONE] = 2
    assert [team.ready() for _ in range(4)] == [False, False, True, True]


def test_workers_fall_asleep_and_wake():
    count = count_rows()
    from sparserbm.backends import threads

    team = threads.Team(2)
    seen = np.zeros(10)
    for _ in range(3):
        team.state[threads.ALONE] = 0
        assert team.ready()
        count(team.state, 4, seen)
        deadline = time.monotonic() + 10
        while team._sleeping[0].is_set() and time.monotonic() < deadline:
            time.sleep(0.001)
        assert not team._sleeping[0].is_set()
    assert (seen == 3).all()


def _count_in_child(queue):
    seen = np.zeros(1000)
    from sparserbm.backends import threads

    empty = not threads._teams
    team = threads.team(2)
    team.ready()
    count_rows()(team.state, 4, seen)
    queue.put((empty, float(seen.sum())))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_makes_its_own_team():
    import multiprocessing

    pytest.importorskip("numba")
    from sparserbm.backends import threads

    threads.team(2).ready()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_count_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == (True, 1000.0)
    child.join()
