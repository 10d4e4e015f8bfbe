"""Connections and their slots, under random rewirings, against a dictionary from place to values."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import blocks_of, host, hosted, wired
from scipy import sparse

from sparserbm import FromScipy
from sparserbm.backends import get_backend
from sparserbm.evolution.drop import ConnectionsView
from sparserbm.network.connections import Connections, Pattern
from sparserbm.network.slots import BLOCK

EXTRA = ("velocity", "first_moment")


@st.composite
def rewirings(draw):
    """Sizes, occupied places, which of them stay, and absent places where others are born."""
    n_pre, n_post = draw(st.integers(1, 8)), draw(st.integers(1, 6))
    places = range(n_pre * n_post)
    keys = sorted(draw(st.sets(st.sampled_from(places))))
    keep = draw(st.lists(st.booleans(), min_size=len(keys), max_size=len(keys)))
    stays = {key for key, kept in zip(keys, keep) if kept}
    grown = sorted(draw(st.sets(st.sampled_from(places))) - stays)
    return n_pre, n_post, np.array(keys, np.int64), np.array(keep, bool), np.array(grown, np.int64)


def build(backend, n_pre, n_post, keys, dtype="float32"):
    """Connections whose every slot value is its own; some weights are exactly 0."""
    random = np.random.default_rng(len(keys))
    weight = random.normal(size=len(keys)) * (random.random(len(keys)) < 0.7)
    connections = Connections(get_backend(backend, dtype), Pattern.from_keys(n_pre, n_post, keys), weight)
    for name in EXTRA:
        connections.slots[name] = random.normal(size=len(keys))
    connections.slots["born"] = random.integers(1, 99, len(keys)).astype(np.int32)
    return connections


def table(connections):
    """Place -> name -> the bytes of its value."""
    slots = connections.slots.to_numpy()
    return {
        int(key): {name: array[k].tobytes() for name, array in slots.items()}
        for k, key in enumerate(connections.pattern.keys)
    }


@pytest.mark.parametrize("block", [1, 7, BLOCK])
@given(rewirings())
def test_rewiring_moves_survivors_and_adds_newborns(backend, block, plan):
    """Whatever the number of connections that are worked on at a time."""
    n_pre, n_post, keys, keep, grown = plan
    connections = build(backend, n_pre, n_post, keys)
    before = table(connections)
    with blocks_of(block):
        connections.rewire(keep, grown, np.arange(1.0, len(grown) + 1), step=123)
    connections.pattern.check()
    assert {len(array) for array in connections.slots.to_numpy().values()} <= {len(connections)}
    after = table(connections)
    assert list(after) == sorted({*keys[keep].tolist(), *grown.tolist()})
    for key in keys[keep].tolist():
        assert after[key] == before[key]  # bit for bit, velocity included
    for number, key in enumerate(grown.tolist()):
        newborn = {name: np.zeros(1, np.float32).tobytes() for name in EXTRA}
        newborn |= {"weight": np.float32(number + 1).tobytes(), "born": np.int32(123).tobytes()}
        assert after[key] == newborn


@given(rewirings())
@settings(max_examples=30)
def test_both_directions_agree_after_a_rewire(backend, plan):
    n_pre, n_post, keys, keep, grown = plan
    connections = build(backend, n_pre, n_post, keys, dtype="float64")
    assert len(connections.by_pre.indptr) == n_pre + 1  # cached before the rewire
    connections.rewire(keep, grown, np.arange(1.0, len(grown) + 1), step=1)
    dense = np.zeros((n_post, n_pre))
    dense[connections.pattern.keys // n_pre, connections.pattern.keys % n_pre] = host(connections.weight)
    assert np.array_equal(connections.to_dense(), dense)
    x, y = np.eye(n_pre), np.eye(n_post)
    library = hosted(connections.backend)
    forth = library.spmm(connections, connections.weight, x, np.empty((n_post, n_pre)))
    back = library.spmm_t(connections, connections.weight, y, np.empty((n_pre, n_post)))
    assert np.array_equal(forth, dense)
    assert np.array_equal(back, dense.T)
    indptr, index, order = map(host, connections.by_pre)
    for pre in range(n_pre):
        entries = slice(indptr[pre], indptr[pre + 1])
        assert np.array_equal(connections.pattern.pre[order[entries]], np.full(len(order[entries]), pre))
        assert np.array_equal(connections.pattern.post[order[entries]], index[entries])
    assert np.array_equal(np.sort(order), np.arange(len(connections)))


@pytest.mark.parametrize(
    ("grown", "message"),
    [
        ([4], "1 of 1 new connections are at occupied places; a grow rule must pick absent ones"),
        ([1, 7, 8], "2 of 3 new connections are at occupied places"),
        ([1, 1], "increasing, distinct places"),
        ([5, 1], "increasing, distinct places"),
        ([-1, 1], "increasing, distinct places of the layer"),
        ([1, 12], "increasing, distinct places of the layer"),
    ],
)
@pytest.mark.parametrize("block", [1, BLOCK])
def test_impossible_plans_raise_and_change_nothing(backend, block, grown, message):
    connections = build(backend, 4, 3, np.array([0, 4, 7, 8]))
    before = table(connections)
    keep = np.array([False, True, True, True])
    with blocks_of(block), pytest.raises(ValueError, match=message):
        connections.rewire(keep, np.array(grown), np.ones(len(grown)), step=1)
    assert table(connections) == before


def test_a_place_may_be_taken_again_in_the_same_move(backend):
    connections = build(backend, 4, 3, np.array([0, 4, 7, 8]))
    connections.rewire(np.array([True, False, True, True]), np.array([4]), np.array([0.25]), step=9)
    assert connections.pattern.keys.tolist() == [0, 4, 7, 8]
    assert connections.weight[1] == 0.25
    assert connections.slots["born"][1] == 9
    assert connections.slots["velocity"][1] == 0


def test_a_weight_of_zero_is_a_connection(backend):
    connections = wired(backend, 4, 3, 6)
    connections.slots["weight"] = np.zeros(6)
    connections.rewire(np.ones(6, bool), np.array([], np.int64), np.array([]), step=1)
    assert len(connections) == 6
    assert connections.to_scipy().nnz == 6
    assert len(connections.by_pre.index) == 6


def test_a_large_rewire_is_the_same_in_blocks_of_any_size(backend):
    """Bit for bit, indices included; many blocks lose all of their connections, others get many."""
    n_pre, n_post, random = 60, 50, np.random.default_rng(4)
    keys = np.flatnonzero(random.random(n_pre * n_post) < 0.4)
    keep = (random.random(len(keys)) < 0.5) & (keys // 400 != 2)
    absent = np.setdiff1d(np.arange(n_pre * n_post), keys[keep])
    grown = absent[random.random(len(absent)) < np.where(absent // 400 == 4, 0.9, 0.05)]
    found = []
    for block in (7, 64, BLOCK):
        connections = build(backend, n_pre, n_post, keys)
        with blocks_of(block):
            connections.rewire(keep, grown, np.arange(1.0, len(grown) + 1), step=123)
            parts = connections.parts
        slots = connections.slots.to_numpy()
        index = np.concatenate([host(part.by_post.index) for part in parts])
        rows = np.concatenate([np.diff(host(part.by_post.indptr)) for part in parts])
        found.append([array.tobytes() for array in (connections.pattern.keys, index, rows, *slots.values())])
    assert found[0] == found[1] == found[2]
    assert connections.pattern.keys.tolist() == sorted([*keys[keep], *grown])


def test_a_copy_shares_nothing_that_changes(backend):
    connections = build(backend, 4, 3, np.array([0, 4, 7, 8]))
    before = table(connections)
    twin = connections.copy()
    assert table(twin) == before
    twin.slots["weight"][:] = 5
    twin.rewire(np.array([True, False, False, True]), np.array([1]), np.array([0.5]), step=2)
    assert table(connections) == before


# -- ages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, BLOCK])
def test_the_step_of_birth_takes_more_bytes_when_it_needs_them(backend, block):
    connections = wired(backend, 4, 3, 6)
    born = dict.fromkeys(connections.pattern.keys.tolist(), 0)
    assert connections.born.dtype == np.uint16
    for number, step in enumerate((65_534, 65_535, 65_536, 65_537, 1_000_000)):
        place = int(np.setdiff1d(np.arange(12), list(born))[number % 6])
        gone = sorted(born)[number]
        keep = connections.pattern.keys != gone
        with blocks_of(block):
            connections.rewire(keep, np.array([place]), np.ones(1), step)
        born = {key: value for key, value in born.items() if key != gone} | {place: step}
        assert connections.born.dtype == (np.uint16 if step <= 65_535 else np.uint32)
        assert connections.pattern.keys.tolist() == sorted(born)
        assert connections.born.tolist() == [born[key] for key in sorted(born)]
        for now in (step, step + 1, 2_000_000):
            age = ConnectionsView(connections, now).age
            assert age.tolist() == [now - born[key] for key in sorted(born)]
    assert len(set(born.values())) > 3


# -- the edge to SciPy -----------------------------------------------------------------------------------------------


def test_scipy_and_back_keeps_explicit_zeros(backend):
    connections = build(backend, 6, 5, np.arange(0, 30, 2))
    assert np.any(host(connections.weight) == 0)
    matrix = connections.to_scipy()
    assert matrix.shape == (5, 6)
    wiring = FromScipy(matrix)
    pattern = wiring.pattern(6, 5, np.random.default_rng(0))
    assert np.array_equal(pattern.keys, connections.pattern.keys)
    assert wiring.weights().tobytes() == host(connections.weight).tobytes()
    matrix.data[:] = 7
    assert not np.any(host(connections.weight) == 7)


def test_a_scipy_matrix_in_any_order_and_format(tmp_path):
    matrix = sparse.csr_matrix((np.array([3.0, 1.0, 0.0]), np.array([2, 0, 1]), np.array([0, 2, 3])), shape=(2, 3))
    sparse.save_npz(tmp_path / "wiring.npz", matrix)
    for given_matrix in (matrix, matrix.tocsc(), matrix.tocoo(), sparse.csr_array(matrix), tmp_path / "wiring.npz"):
        wiring = FromScipy(given_matrix)
        assert wiring.pattern(3, 2, np.random.default_rng(0)).keys.tolist() == [0, 2, 4]
        assert wiring.weights().tolist() == [1.0, 3.0, 0.0]
        assert repr(wiring) == f"FromScipy({given_matrix if isinstance(given_matrix, Path) else '3 entries'})"
    with pytest.raises(ValueError, match=r"the matrix has shape \(2, 3\), the layer needs .* = \(3, 2\)"):
        FromScipy(matrix).pattern(2, 3, np.random.default_rng(0))


def test_repeated_entries_are_refused_not_summed():
    repeated = sparse.coo_matrix((np.ones(3), ([0, 0, 1], [1, 1, 2])), shape=(2, 3))
    unsorted = sparse.csr_matrix((np.ones(3), np.array([1, 1, 2]), np.array([0, 2, 3])), shape=(2, 3))
    for matrix in (repeated, unsorted):
        with pytest.raises(ValueError, match="1 entries of the matrix repeat a place; every place must be unique"):
            FromScipy(matrix).pattern(3, 2, np.random.default_rng(0))
