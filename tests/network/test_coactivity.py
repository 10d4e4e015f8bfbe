"""The signed sum of outer products, at connections and anywhere else."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import blocks_of, gradient, host, wired

from sparserbm.backends import SignedPair, get_backend
from sparserbm.network.coactivity import Coactivity

N_PRE, N_POST = 6, 4


def pairs(backend, n_first, n_second):
    library, random = get_backend(backend, "float64"), np.random.default_rng(0)
    sizes = ((N_PRE, n_first), (N_POST, n_first), (N_PRE, n_second), (N_POST, n_second))
    a, b, c, d = (random.normal(size=size) for size in sizes)
    dense = -(a @ b.T) / n_first + c @ d.T / n_second
    a, b, c, d = map(library.asarray, (a, b, c, d))
    return Coactivity((SignedPair(-1.0, a, b), SignedPair(1.0, c, d))), dense


@pytest.mark.parametrize("lengths", [(7, 7), (3, 10)])
def test_each_pair_is_a_mean_over_its_own_samples(backend, lengths):
    """Persistent chains may be more than a small last batch has samples."""
    coactivity, dense = pairs(backend, *lengths)
    connections = wired(backend, N_PRE, N_POST, 9)
    assert len(connections.parts) == 1
    assert_allclose(
        gradient(coactivity, connections), dense[connections.pattern.pre, connections.pattern.post], rtol=1e-12
    )


def test_absent_places_are_sampled_as_connections_are(backend):
    coactivity, dense = pairs(backend, 5, 5)
    connections = wired(backend, N_PRE, N_POST, 9)
    everywhere = coactivity.at_places(connections.backend, np.arange(N_PRE * N_POST))
    assert_allclose(host(everywhere), dense.T.ravel(), rtol=1e-12)
    some = coactivity.at_places(connections.backend, connections.pattern.keys)
    assert np.array_equal(host(some), gradient(coactivity, connections))
    assert len(coactivity.at_places(connections.backend, np.array([], dtype=np.int64))) == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [0, 9, 24, 400, 800])
def test_a_gradient_in_parts_is_the_gradient(backend, dtype, count):
    """To the bit: every connection is sampled by itself, whatever the rows around it."""
    n_pre, n_post = (N_PRE, N_POST) if count < 25 else (40, 20)
    library, random = get_backend(backend, dtype), np.random.default_rng(count)
    sizes = [(units, n) for n in (33, 10) for units in (n_pre, n_post)]
    a, b, c, d = (library.asarray(random.normal(size=size)) for size in sizes)
    coactivity = Coactivity((SignedPair(-1.0, a, b), SignedPair(1.0, c, d)))
    whole = gradient(coactivity, wired(library, n_pre, n_post, count, dtype=dtype))
    with blocks_of(7):
        connections = wired(library, n_pre, n_post, count, dtype=dtype)
        assert len(connections.parts) > count / 50
        found = gradient(coactivity, connections)
    assert found.tobytes() == whole.tobytes()
    assert not np.isnan(found).any()
