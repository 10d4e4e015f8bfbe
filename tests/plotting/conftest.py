"""Runs as training leaves them, made up: wirings that drift into (or out of) the active zone, and smooth metrics."""

import numpy as np
import pytest

from sparserbm.runs import LayerSnapshot, Run, RunWriter, Snapshot
from sparserbm.topology import central_square

N_EPOCHS = 10


def layer_snapshot(random, drift, n_hidden, n_connections, mask, whole):
    """A wiring drawn at random; `drift` is the log of how much likelier a place in the zone is than in the margin."""
    likely = np.exp(drift * mask) * np.ones(mask.size)
    places = np.repeat(likely, n_hidden)
    chosen = random.choice(places.size, n_connections, replace=False, p=places / places.sum())
    pre, post = chosen // n_hidden, chosen % n_hidden
    degree_pre, degree_post = np.bincount(pre, minlength=mask.size), np.bincount(post, minlength=n_hidden)
    if not whole:
        return LayerSnapshot(degree_pre, degree_post)
    order = np.lexsort((pre, post))
    return LayerSnapshot(
        degree_pre,
        degree_post,
        np.concatenate([[0], np.cumsum(degree_post)]),
        pre[order].astype(np.int32),
        random.normal(0, 0.3, n_connections).astype(np.float32),
        np.zeros(n_connections, np.int64),
    )


def metrics(kind, epoch, n_epochs, l2):
    """One line of metrics.jsonl; epoch 0 has no loss, as before training."""
    line = {"epoch": epoch, "step": epoch * 60, "seconds": 0.5 * epoch, "density": 0.1}
    if epoch == 0:
        return line
    done = 1 - np.exp(-5 * epoch / n_epochs)
    if kind == "mlp":
        line |= {"loss": 2.3 - 2.2 * done + 5 * l2, "validation_loss": 2.3 - 2.05 * done + 2 * l2}
        line |= {"accuracy": 0.1 + 0.89 * done - 2 * l2, "validation_accuracy": 0.1 + 0.86 * done - l2}
    else:
        line |= {"loss": 0.08 - 0.06 * done + l2, "validation_loss": 0.08 - 0.055 * done + l2}
        line |= {"pseudo_likelihood": -200 + 130 * done, "free_energy_gap": 0.4 * done}
    return line


def make_run(folder=None, kind="mlp", l2=0.0, seed=0, drift=0.0, *, study=True, zone=True, n_epochs=N_EPOCHS, **data):
    """A run whose zone grows likelier by `drift` (log) until the last epoch; `folder` None keeps it in memory.

    `study` True puts it into a study over L2, a dict into one over these keys.
    """
    side = 28
    mask = central_square((side, side), 20)
    name = f"{kind}-l2-{l2:g}-seed-{seed}"
    config = {
        "name": name,
        "model": {"kind": kind, "layers": [784, 64, 10] if kind == "mlp" else [784, 64]},
        "data": {"name": "made up", "n_features": side**2, "image_shape": [side, side]} | data,
        "zone": {"inputs": np.flatnonzero(mask).tolist(), "rule": "central 20x20"} if zone else None,
        "training": {"epochs": n_epochs, "regularization": f"l2(strength={l2:g})", "optimizer": "sgd(0.05)"},
        "seed": seed,
        "versions": {"sparserbm": "0.1.0", "numpy": np.__version__},
    }
    if study:
        config["study"] = {"model": kind, **(study if isinstance(study, dict) else {"l2": l2}), "seed": seed}
    writer = RunWriter(config, folder)
    random = np.random.default_rng([seed, int(1e4 * l2), len(kind)])
    for epoch in range(n_epochs + 1):
        whole = epoch in (0, n_epochs)
        layers = [layer_snapshot(random, drift * epoch / n_epochs, 64, 5000, mask, whole)]
        if kind == "mlp":
            layers.append(layer_snapshot(random, 0.0, 10, 300, np.zeros(64), whole))
        writer.snapshot(Snapshot(epoch, tuple(layers)))
        writer.log(metrics(kind, epoch, n_epochs, l2))
    return writer.run


@pytest.fixture(scope="session")
def mlp() -> Run:
    """Connections gather in the zone."""
    return make_run(kind="mlp", l2=0.001, drift=0.5)


@pytest.fixture(scope="session")
def rbm() -> Run:
    """Connections leave the zone."""
    return make_run(kind="rbm", l2=0.0, drift=-0.4)


@pytest.fixture(scope="session")
def study_runs() -> list[Run]:
    """Two models, two strengths, two seeds; positive for the MLP with L2 0.01 only."""
    drifts = {("mlp", 0.0): 0.0, ("mlp", 0.01): 0.5, ("rbm", 0.0): -0.5, ("rbm", 0.01): 0.0}
    return [
        make_run(kind=kind, l2=l2, seed=seed, drift=drift, n_epochs=2)
        for (kind, l2), drift in drifts.items()
        for seed in (0, 1)
    ]


@pytest.fixture(scope="session")
def grid_runs() -> list[Run]:
    """An MLP on a grid of 12 cells with long labels, one seed each; the drift grows from cell to cell."""
    strengths = (0.0, 0.001, "linear(0, 1e-3, 5000)")
    grid = [(birth, zeta, l2) for birth in ("same(normal(0.05))", "zero") for zeta in (0.1, 0.5) for l2 in strengths]
    return [
        make_run(drift=0.1 * number, n_epochs=1, study={"birth": birth, "zeta": zeta, "l2": l2})
        for number, (birth, zeta, l2) in enumerate(grid)
    ]


@pytest.fixture
def run_maker():
    return make_run
