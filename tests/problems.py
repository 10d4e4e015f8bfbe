"""Networks and data so small that every answer can be worked out a second way.

No answer here comes from a kernel: they come from dense NumPy in float64, or from writing out all states.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager

import numpy as np
import pytest
from scipy.special import expit, logsumexp
from scipy.stats import chi2

from sparserbm import CD, MLP, RBM, Backprop, Bernoulli, Dense, ErdosRenyi, Normal, SReLU
from sparserbm.backends import Backend, get_backend
from sparserbm.data.batches import Batch
from sparserbm.network.connections import Connections, Pattern

ACTIVATIONS = {
    "linear": lambda z: z,
    "sigmoid": expit,
    "relu": lambda z: np.maximum(z, 0.0),
    "tanh": np.tanh,
}
DERIVATIVES = {  # as functions of the activity
    "linear": np.ones_like,
    "sigmoid": lambda a: a * (1 - a),
    "relu": lambda a: (a > 0).astype(float),
    "tanh": lambda a: 1 - a**2,
}


def states(n):
    """All states of n binary units: (2**n, n) float64."""
    return ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(float)


def wired(backend, n_pre, n_post, count, seed=0, dtype="float64"):
    """Connections at `count` places chosen by NumPy, with normal weights."""
    random = np.random.default_rng(seed)
    keys = np.sort(random.choice(n_pre * n_post, count, replace=False)).astype(np.int64)
    backend = get_backend(backend, dtype)
    return Connections(backend, Pattern.from_keys(n_pre, n_post, keys), random.normal(size=count))


class Hosted:
    """A backend whose kernels take NumPy arrays: these go to the device, and what is written there comes back.

    A returned array that was given is the given one.
    """

    def __init__(self, backend):
        self._backend = backend

    def __getattr__(self, name):
        found = getattr(self._backend, name)
        return functools.partial(self._call, found) if callable(found) else found

    def _call(self, kernel, *arguments, **named):
        moved = {}  # a host array and its copy on the device, by the identity of the first

        def to_device(value):
            if isinstance(value, np.ndarray):
                if id(value) not in moved:
                    moved[id(value)] = value, self._backend.asarray(value, value.dtype)
                return moved[id(value)][1]
            if isinstance(value, (list, tuple)):
                parts = [to_device(part) for part in value]
                return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
            return value

        result = kernel(*to_device(arguments), **{key: to_device(value) for key, value in named.items()})
        for host, device in moved.values():
            if host.flags.writeable:
                host[...] = self._backend.to_numpy(device)
            if result is device:
                result = host
        return self._to_host(result)

    def _to_host(self, result):
        if type(result) is tuple:
            return tuple(self._to_host(part) for part in result)
        return result if result is None or isinstance(result, np.ndarray) else self._backend.to_numpy(result)


def hosted(backend, dtype=None):
    """The backend of this name, or this one, for calls with NumPy arrays."""
    found = get_backend(backend, dtype)
    return found if found.xp is np else Hosted(found)


def host(array):
    """The values on the host, of an array of any backend."""
    return array if isinstance(array, np.ndarray) else array.get()


def gradient(coactivity, layer):
    """What the library says at every connection of `layer`, part by part; NaN where it says nothing."""
    found = layer.backend.asarray(np.full(len(layer), np.nan))
    for part in layer.parts:
        out = found[part.connections]
        assert coactivity.at_connections(layer.backend, part, out) is out
    return layer.backend.to_numpy(found)


@contextmanager
def blocks_of(size):
    """The library works on so many connections at a time; a small network then has many blocks instead of one."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("network.slots", "network.connections", "evolution.engine"):
            patch.setattr(f"sparserbm.{module}.BLOCK", size)
        for kind in (
            Backend,
            *(kind for parent in Backend.__subclasses__() for kind in (parent, *parent.__subclasses__())),
        ):
            patch.setattr(kind, "parts_at_once", 1)
        yield


# -- restricted Boltzmann machines -----------------------------------------------------------------------------------


def tiny_rbm(
    backend, n_visible=4, n_hidden=3, density=1.0, seed=0, scale=1.0, dtype="float64", units=None, gates=False
):
    """An RBM with normal weights and biases of standard deviation `scale`, and gates of [0, 1]."""
    visible, hidden = units or (Bernoulli(n_visible), Bernoulli(n_hidden))
    wiring, weights = ErdosRenyi(density=density), Normal(scale)
    rbm = RBM(visible, hidden, wiring=wiring, weights=weights, gates=gates, seed=seed, backend=backend, dtype=dtype)
    random = np.random.default_rng(seed + 100)
    for slots in rbm.biases:
        slots["bias"] = random.normal(0.0, scale, len(slots))
    if gates:
        rbm.biases[1]["gate"] = random.random(rbm.hidden.n)
    return rbm


def parameters(rbm):
    """Dense weights times gates (n_visible, n_hidden), visible and hidden biases, all float64."""
    slots = [slots.to_numpy() for slots in rbm.biases]
    gates = slots[1].get("gate", np.ones(rbm.hidden.n))
    return rbm.matrix.to_dense().astype(float).T * gates, *(each["bias"].astype(float) for each in slots)


def energies(rbm):
    """Energy of every pair of binary states: (2**n_visible, 2**n_hidden)."""
    w, a, b = parameters(rbm)
    v, h = states(len(a)), states(len(b))
    return -(v @ a)[:, None] - (h @ b)[None, :] - v @ w @ h.T


def exact_log_z(rbm):
    return logsumexp(-energies(rbm))


def exact_visible(rbm):
    """P(v) of every visible state, in the order of `states`."""
    return np.exp(logsumexp(-energies(rbm), axis=1) - exact_log_z(rbm))


def exact_loss(rbm, data):
    """Mean negative log-likelihood of binary rows."""
    w, a, b = parameters(rbm)
    free = -(data @ a) - np.logaddexp(0.0, data @ w + b).sum(axis=1)
    return free.mean() + exact_log_z(rbm)


# -- multi-layer perceptrons -----------------------------------------------------------------------------------------


def tiny_mlp(backend, *units, density=0.5, seed=0, dtype="float64", gates=False):
    """An MLP with normal weights, biases and slots of its units, gates of [0, 1]; `density` holds for all layers."""
    n_layers = len(units) - 1
    wiring, kind = [ErdosRenyi(density=density)] * n_layers, {"seed": seed, "backend": backend, "dtype": dtype}
    mlp = MLP(*units, wiring=wiring, weights=Normal(0.7), biases=Normal(0.3), gates=gates, **kind)
    random = np.random.default_rng(seed + 200)
    for slots, layer in zip(mlp.biases, mlp.units[1:]):
        for name in layer.own:
            slots[name] = random.normal(0.3, 0.5, layer.n)
        if "gate" in slots:
            slots["gate"] = random.random(layer.n)
    return mlp


def activity(units, slots, z):
    """What these units make of total inputs, (n_samples, n_units), by their definition; `slots` on the host."""
    if isinstance(units, SReLU):
        start, end = slots["t_left"], slots["t_left"] + np.abs(slots["t_right"])
        left, right = start + slots["a_left"] * (z - start), end + slots["a_right"] * (z - end)
        return np.select([z <= start, z >= end], [left, right], z)
    return np.where(z > 0, z, units.slope * z) if units.slope else ACTIVATIONS[units.activation](z)


def dense_forward(mlp, X, masks=()):
    """Activities of the output layer, (n_samples, n_outputs), by dense products in float64.

    `masks` are factors for what the input, the first hidden layer, ... passes on, (n_samples, n_units).
    """
    a, masks = np.asarray(X, dtype=float), [*masks, *len(mlp.units) * [1.0]]
    for layer, slots, units, mask in zip(mlp.connections, mlp.biases, mlp.units[1:], masks):
        slots = {name: array.astype(float) for name, array in slots.to_numpy().items()}
        z = (mask * a) @ layer.to_dense().astype(float).T + slots["bias"]
        softmax = type(units).__name__ == "Softmax"
        a = np.exp(z - logsumexp(z, axis=1, keepdims=True)) if softmax else activity(units, slots, z)
        a = a * slots.get("gate", 1.0)
    return a


def dense_loss(mlp, X, y, loss, masks=()):
    """Mean loss by its definition: ``"mse"``, ``"sse"`` or ``"cross_entropy"``."""
    a = dense_forward(mlp, X, masks)
    if loss == "sse":
        return 0.5 * ((a - y) ** 2).sum(axis=1).mean()
    if loss == "mse":
        return np.mean((a - y) ** 2)
    if type(mlp.output).__name__ == "Softmax":
        return -np.log(a[np.arange(len(y)), y]).mean()
    return -(y * np.log(a) + (1 - y) * np.log(1 - a)).sum(axis=1).mean()


def finite_differences(values, function, step=1e-6):
    """Central differences of `function()` for every entry of `values`, which is changed in place and put back.

    The values may be on a device.
    """
    slopes = np.empty(len(values))
    for k, middle in enumerate(host(values).tolist()):
        values[k] = middle + step
        above = function()
        values[k] = middle - step
        slopes[k] = (above - function()) / (2 * step)
        values[k] = middle
    return slopes


def slopes_everywhere(mlp, number, X, y):
    """Central differences of the cross-entropy at every place of a layer, connected or not: (n_places,) by key."""
    sizes = [units.n for units in mlp.units]
    dense = MLP(*sizes[:1], *mlp.units[1:], wiring=[Dense()] * (len(sizes) - 1), backend="reference", dtype="float64")
    for own, other in zip(dense.connections, mlp.connections):
        own.weight[:] = other.to_dense().ravel()
    for own, other in zip(dense.biases, mlp.biases):
        own["bias"][:] = host(other["bias"])
    return finite_differences(dense.connections[number].weight, lambda: dense_loss(dense, X, y, "cross_entropy"))


def evidence_of(model, X, y=None, algorithm=None, batch_size=10):
    """What the mini-batches of `X`, in its order, say of `model` as it is when asked; the last one first."""
    algorithm = algorithm or (CD() if isinstance(model, RBM) else Backprop())
    trainer, backend = algorithm.start(model, X, batch_size), model.backend
    parts = [slice(start, start + batch_size) for start in range(0, len(X), batch_size)]

    def evidence(count):
        for step, part in reversed(list(enumerate(parts))[-count:]):
            target = None if y is None else backend.asarray(y[part])
            batch = Batch(backend.asarray(X[part].T), target, step)
            yield trainer.signals(model, batch, model.streams.draws("evidence", step)).coactivity

    return evidence


# -- data ------------------------------------------------------------------------------------------------------------


def stripes(n_samples, seed=0, side=4):
    """Binary pictures of one full row or column each, 2 % of the pixels flipped: (n_samples, side**2)."""
    random = np.random.default_rng(seed)
    pictures = np.zeros((n_samples, side, side))
    for picture, place, upright in zip(pictures, random.integers(0, side, n_samples), random.random(n_samples) < 0.5):
        if upright:
            picture[:, place] = 1
        else:
            picture[place] = 1
    flat = pictures.reshape(n_samples, -1)
    return np.abs(flat - (random.random(flat.shape) < 0.02))


def blobs(n_samples, n_features=6, n_classes=3, seed=0):
    """Classes around corners of the unit cube, well apart: X (n_samples, n_features) in [0, 1], y int."""
    random = np.random.default_rng(seed)
    y = random.integers(0, n_classes, n_samples)
    centres = 0.2 + 0.6 * (np.arange(n_features)[None, :] % n_classes == np.arange(n_classes)[:, None])
    return np.clip(centres[y] + random.normal(0.0, 0.05, (n_samples, n_features)), 0, 1), y


# -- comparisons -----------------------------------------------------------------------------------------------------


def arrays_of(model):
    """Everything that a model holds, as copies on the host, by name."""
    found = {"step": np.array(model.step), "epoch": np.array(model.epoch)}
    for number, layer in enumerate(model.connections):
        found |= {f"keys {number}": layer.pattern.keys}
        found |= {f"{name} {number}": array.copy() for name, array in layer.slots.to_numpy().items()}
    for number, slots in enumerate(model.biases):
        found |= {f"{name} of biases {number}": array.copy() for name, array in slots.to_numpy().items()}
    return found


def assert_same_bytes(first, second):
    """Two models hold the same arrays, bit for bit."""
    first, second = arrays_of(first), arrays_of(second)
    assert first.keys() == second.keys()
    for name in first:
        assert first[name].dtype == second[name].dtype, name
        assert first[name].tobytes() == second[name].tobytes(), name


def even(counts, variance):
    """P-value of the hypothesis that `counts` scatter around one mean with this variance (chi-square)."""
    counts = np.asarray(counts, dtype=float)
    return chi2.sf(((counts - counts.mean()) ** 2).sum() / variance, len(counts) - 1)
