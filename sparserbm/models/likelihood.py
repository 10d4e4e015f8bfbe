"""How probable data are under an RBM: exactly where one side is small, by pseudo-likelihood elsewhere."""

from __future__ import annotations

import numpy as np

from sparserbm.data.batches import blocks
from sparserbm.data.scaling import check_features
from sparserbm.models.gates import fold_gates
from sparserbm.models.rbm import RBM
from sparserbm.network.units import Bernoulli

ENUMERABLE = 20


def log_partition(rbm: RBM) -> float:
    """Exact log Z of a Bernoulli-Bernoulli RBM, by enumerating its smaller side; in nats.

    ``log Z = log sum_h exp(b . h + sum_i softplus(a_i + sum_j w_ij h_j))``, or the same with the sides exchanged;
    float64, in blocks of 4,096 states.

    Raises
    ------
    ValueError
        If the smaller side has more than 20 units, or units are not Bernoulli.
    """
    if not all(isinstance(units, Bernoulli) for units in rbm.units):
        raise ValueError("exact log Z needs Bernoulli units on both sides")
    weight = fold_gates(rbm).matrix.to_dense().astype(np.float64)
    outer, inner = (rbm.backend.to_numpy(bias).astype(np.float64) for bias in (rbm.hidden_bias, rbm.visible_bias))
    if rbm.visible.n < rbm.hidden.n:
        weight, outer, inner = weight.T, inner, outer
    n = len(outer)
    if n > ENUMERABLE:
        raise ValueError(f"exact log Z enumerates the smaller side, here {n} units; possible up to {ENUMERABLE}")
    parts = []
    for start in range(0, 2**n, 4096):
        numbers = np.arange(start, min(start + 4096, 2**n))
        states = (numbers[:, None] >> np.arange(n)) & 1
        parts.append(states @ outer + np.logaddexp(0.0, inner + states @ weight).sum(axis=1))
    return float(np.logaddexp.reduce(np.concatenate(parts)))


def log_likelihood(rbm: RBM, X: np.ndarray) -> np.ndarray:
    """Exact ``log P(v) = -F(v) - log Z`` of every row, (n_samples,) in nats; see `log_partition` for its limits."""
    return -rbm.free_energy(X).astype(np.float64) - log_partition(rbm)


def pseudo_likelihood(rbm: RBM, X: np.ndarray, seed: int = 0) -> np.ndarray:
    """Stochastic log pseudo-likelihood of every row, (n_samples,) in nats; higher is better.

    ``n_visible * log sigmoid(F(v with one bit flipped) - F(v))`` with one random bit a row (Besag 1975; the estimate
    of scikit-learn's BernoulliRBM). Rows of probabilities are rounded to states first. Which bit is flipped depends
    on seed and state alone: a row has the same score in every order and company.

    Raises
    ------
    ValueError
        If visible units are not Bernoulli.
    """
    if not isinstance(rbm.visible, Bernoulli):
        raise ValueError("the pseudo-likelihood flips bits: it needs Bernoulli visible units")
    X = check_features(X, n_features=rbm.n_features)
    states = X > 0.5
    words = np.random.Generator(np.random.Philox(seed)).integers(0, 2**64, rbm.visible.n + 1, dtype=np.uint64)
    out = np.empty(len(X))
    for part, v in blocks(rbm.backend, states.astype(rbm.backend.dtype), rbm.widest):
        before = rbm.backend.to_numpy(rbm.free_energy_of(v)).astype(np.float64)
        rows, columns = (
            rbm.backend.asarray(index) for index in (_bits_to_flip(states[part], words), np.arange(v.shape[1]))
        )
        v[rows, columns] = 1 - v[rows, columns]
        after = rbm.backend.to_numpy(rbm.free_energy_of(v)).astype(np.float64)
        out[part] = -rbm.visible.n * np.logaddexp(0.0, before - after)
    return out


def _bits_to_flip(states: np.ndarray, words: np.ndarray) -> np.ndarray:
    """One visible unit a row, (n_samples,) int64: the sum of the random words of its active units (Zobrist 1970), whose
    upper half is scaled to [0, n_visible)."""
    hashed = states.astype(np.uint64) @ words[1:] + words[0]
    return ((hashed >> np.uint64(32)) * np.uint64(states.shape[1]) >> np.uint64(32)).astype(np.int64)
