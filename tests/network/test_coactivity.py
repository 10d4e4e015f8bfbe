"""The signed sum of outer products, at connections and anywhere else."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from problems import wired

from sparserbm.backends import SignedPair
from sparserbm.network.coactivity import Coactivity

N_PRE, N_POST = 6, 4


def pairs(n_first, n_second):
    random = np.random.default_rng(0)
    sizes = ((N_PRE, n_first), (N_POST, n_first), (N_PRE, n_second), (N_POST, n_second))
    a, b, c, d = (random.normal(size=size) for size in sizes)
    return Coactivity((SignedPair(-1.0, a, b), SignedPair(1.0, c, d))), -(a @ b.T) / n_first + c @ d.T / n_second


@pytest.mark.parametrize("lengths", [(7, 7), (3, 10)])
def test_each_pair_is_a_mean_over_its_own_samples(backend, lengths):
    """Persistent chains may be more than a small last batch has samples."""
    coactivity, dense = pairs(*lengths)
    connections = wired(backend, N_PRE, N_POST, 9)
    out = coactivity.at_connections(connections.backend, connections, np.full(9, np.nan))
    assert_allclose(out, dense[connections.pattern.pre, connections.pattern.post], rtol=1e-12)


def test_absent_places_are_sampled_as_connections_are(backend):
    coactivity, dense = pairs(5, 5)
    connections = wired(backend, N_PRE, N_POST, 9)
    everywhere = coactivity.at_places(connections.backend, np.arange(N_PRE * N_POST))
    assert_allclose(everywhere, dense.T.ravel(), rtol=1e-12)
    some = coactivity.at_places(connections.backend, connections.pattern.keys)
    assert np.array_equal(some, coactivity.at_connections(connections.backend, connections, np.empty(9)))
    assert len(coactivity.at_places(connections.backend, np.array([], dtype=np.int64))) == 0
