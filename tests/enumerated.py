"""RBMs with every pair of unit types, so small that their joint distribution can be written out (or integrated).

Energies stand here by their definition, with no help from the library.
"""

import itertools

import numpy as np
from problems import parameters, tiny_rbm
from scipy.special import logsumexp

from sparserbm import Bernoulli, Gaussian, Mixed, Potts, TruncatedGaussian

PAIRS = {
    "bernoulli, bernoulli": (Bernoulli(4), Bernoulli(3)),
    "more hidden": (Bernoulli(3), Bernoulli(5)),
    "bernoulli, gaussian": (Bernoulli(4), Gaussian(2, sigma=0.7)),
    "gaussian, bernoulli": (Gaussian(2, sigma=0.8), Bernoulli(3)),
    "learned, bernoulli": (Gaussian(2, learned=True), Bernoulli(3)),
    "potts, bernoulli": (Potts(6, states=3), Bernoulli(3)),
    "bernoulli, potts": (Bernoulli(4), Potts(6, states=3)),
    "gaussian, potts": (Gaussian(2), Potts(3)),
    "potts, gaussian": (Potts(4, states=2), Gaussian(2)),
    "bernoulli, truncated": (Bernoulli(4), TruncatedGaussian(2)),
    "potts, truncated": (Potts(3), TruncatedGaussian(2)),
    "mixed, bernoulli": (Mixed((Bernoulli(3), Potts(3))), Bernoulli(3)),
    "mixed with reals": (Mixed((Bernoulli(2), Gaussian(1, sigma=0.9))), Bernoulli(3)),
    "bernoulli, mixed": (Bernoulli(3), Mixed((Bernoulli(2), Potts(2)))),
}
NODES, WEIGHTS = np.polynomial.legendre.leggauss(150)


def small(pair, backend, scale=0.6, density=0.8, seed=0, dtype="float64", gates=False):
    """The RBM of a pair of unit types, or of a name in `PAIRS`, with random slots of all kinds."""
    units = PAIRS[pair] if isinstance(pair, str) else pair
    rbm = tiny_rbm(backend, density=density, seed=seed, scale=scale, dtype=dtype, units=units, gates=gates)
    if "log_variance" in rbm.biases[0]:
        rbm.biases[0]["log_variance"] = np.random.default_rng(seed).normal(0, 0.3, rbm.visible.n)
    return rbm


def alternatives(units, slots, first=0):
    """Every variable of a side as (units, values (n_values, n_units), log measure of each value, energy, statistic)."""
    for part in units.parts if isinstance(units, Mixed) else (units,):
        span = 1
        while_units = range(first, first + part.n)
        if isinstance(part, Potts):
            span = part.states
            while_units = while_units[::span]
        for unit in while_units:
            own = slice(unit, unit + span)
            bias = slots["bias"][own]
            if isinstance(part, Potts):
                values, measure = np.eye(span), np.zeros(span)
                energy = -values @ bias
                seen = values
            elif isinstance(part, Bernoulli):
                values, measure = np.array([[0.0], [1.0]]), np.zeros(2)
                energy, seen = -values @ bias, values
            elif isinstance(part, Gaussian):
                log_variance = slots["log_variance"][unit] if part.learned else np.log(part.sigma**2)
                values, measure = 14 * NODES[:, None], np.log(14 * WEIGHTS)
                energy = (values[:, 0] - bias) ** 2 / (2 * np.exp(log_variance))
                seen = values / np.exp(log_variance)
            else:
                values, measure = 8 * (NODES[:, None] + 1), np.log(8 * WEIGHTS)
                energy = values[:, 0] ** 2 / 2 - bias * values[:, 0]
                seen = values
            yield values, measure, energy, seen
        first += part.n


def support(units, slots):
    """All states (grid points, where real) of a side: states, log measures, energies, statistics."""
    variables = list(alternatives(units, slots))
    chosen = list(itertools.product(*(range(len(variable[0])) for variable in variables)))
    picks = np.array(chosen).T
    states = np.hstack([variable[0][pick] for variable, pick in zip(variables, picks)])
    measure = sum(variable[1][pick] for variable, pick in zip(variables, picks))
    energy = sum(variable[2][pick] for variable, pick in zip(variables, picks))
    return states, measure, energy, np.hstack([variable[3][pick] for variable, pick in zip(variables, picks)])


def written_out(rbm):
    """Visible states, their log measures, and log P of each (a density, where real); and log Z."""
    weights = parameters(rbm)[0]
    (v, v_measure, v_energy, v_seen), (_, h_measure, h_energy, h_seen) = (
        support(units, {name: array.astype(float) for name, array in slots.to_numpy().items()})
        for units, slots in zip(rbm.units, rbm.biases)
    )
    log_p = -v_energy + logsumexp(v_seen @ weights @ h_seen.T - h_energy + h_measure, axis=1)
    log_z = logsumexp(log_p + v_measure)
    return v, v_measure, log_p - log_z, log_z


def typical(rbm, n_samples=40, seed=0):
    """Samples of the model (grid points, where real): (n_samples, n_visible)."""
    visible, measure, log_p, _ = written_out(rbm)
    chance = np.exp(log_p + measure)
    return visible[np.random.default_rng(seed).choice(len(visible), n_samples, p=chance / chance.sum())]
