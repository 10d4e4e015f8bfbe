"""A step makes no arrays: what it needs was made by the first step, and is used again."""

import gc
import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest

from sparserbm import CD, L2, MLP, RBM, SGD, Backprop, Bernoulli, ErdosRenyi, MaxNorm, ReLU, Softmax, train
from sparserbm.regularization import Penalty
from sparserbm.training import loop

pytest.importorskip("numba")

N, BATCH, N_BATCHES = 512, 128, 50
ACTIVITY = N * BATCH * 4  # bytes of one float32 array of activities
LIMIT = ACTIVITY // 4
X = np.random.default_rng(0).random((N_BATCHES * BATCH, N)) < 0.3
SETTINGS = {"epochs": 2, "batch_size": BATCH, "optimizer": SGD(0.05, momentum=0.9), "zone": None}


@pytest.fixture
def peaks(monkeypatch):
    """Bytes that stood at once, at most, of what was made between the first and the last batch of the second epoch."""
    found, one_batch = [], loop._one_batch

    def measured(training, batch):
        if training.model.step == N_BATCHES:
            gc.collect()
            tracemalloc.start()
        one_batch(training, batch)
        if training.model.step == 2 * N_BATCHES - 1:
            found.append(tracemalloc.get_traced_memory()[1])

    monkeypatch.setattr(loop, "_one_batch", measured)
    yield found
    tracemalloc.stop()


def train_rbm(rule, penalties):
    rbm = RBM(Bernoulli(N), Bernoulli(N), wiring=ErdosRenyi(density=0.05), backend="numpy")
    train(rbm, X, rule, regularization=penalties, **SETTINGS)
    assert rbm.step == 2 * N_BATCHES


@pytest.mark.parametrize("rule", [CD(), CD(k=2), CD(persistent=True), "cd(positive=sample, negative=sample)"])
def test_a_step_of_an_rbm_makes_no_array(peaks, rule):
    train_rbm(rule, L2(1e-3))
    assert len(peaks) == 1
    assert peaks[0] < LIMIT


def test_a_step_of_an_mlp_makes_no_array(peaks):
    wiring = [ErdosRenyi(density=0.05)] * 3
    mlp = MLP(N, ReLU(N), ReLU(N), Softmax(10), wiring=wiring, backend="numpy")
    train(mlp, X, Backprop(), y=np.arange(len(X)) % 10, regularization=[L2(1e-3), MaxNorm(0.5)], **SETTINGS)
    assert len(peaks) == 1
    assert peaks[0] < LIMIT


@dataclass(frozen=True)
class Wasteful(Penalty):
    """Makes an array of activities and forgets it at once."""

    biases: bool = False

    def add_gradient(self, backend, value, gradient, layer, step):
        np.zeros((N, BATCH), np.float32)

    def penalty(self, backend, value, layer, step):
        return 0.0


def test_an_array_that_a_step_makes_is_seen(peaks):
    train_rbm(CD(), Wasteful())
    assert len(peaks) == 1
    assert peaks[0] > ACTIVITY
