"""Early stopping, progress, and functions of one's own."""

import io

import numpy as np
import pytest
from problems import assert_same_bytes, blobs, stripes, tiny_mlp, tiny_rbm

from sparserbm import CD, SET, SGD, Backprop, Checkpoint, EarlyStopping, ReLU, Softmax, load_model, train
from sparserbm.training.callbacks import Progress, best_epoch

X, Y = blobs(30)
OTHER = blobs(15, seed=1)[0], np.arange(15) % 3  # wrong labels: the better the fit, the worse this loss


def lines(*losses, first=0, metric="validation_loss"):
    return [{"epoch": first}] + [{"epoch": first + n, metric: loss} for n, loss in enumerate(losses, start=1)]


def test_the_best_epoch_is_the_first_of_equals():
    assert best_epoch(lines(3.0, 1.0, 2.0, 1.0), "validation_loss") == 2
    assert best_epoch(lines(0.3, 0.9, 0.9, metric="validation_accuracy"), "validation_accuracy") == 2
    assert best_epoch(lines(-5.0, -2.0, -3.0, metric="pseudo_likelihood"), "pseudo_likelihood") == 2
    assert best_epoch(lines(3.0, 2.9, 2.5), "validation_loss", min_delta=0.2) == 3
    assert best_epoch(lines(3.0, 2.9, 2.85), "validation_loss", min_delta=0.2) == 1


def test_the_line_from_before_training_does_not_count():
    history = [{"epoch": 4, "validation_loss": 0.1}, *lines(3.0, 2.0, first=4)[1:]]
    assert best_epoch(history, "validation_loss") == 6
    with pytest.raises(ValueError, match="no epoch has the metric 'loss'; this run has: epoch, validation_loss"):
        best_epoch(history, "loss")


def test_patience_counts_epochs_without_a_new_best():
    stopping = EarlyStopping(patience=2)
    assert not stopping.is_due(lines(3.0))
    assert not stopping.is_due(lines(3.0, 4.0))
    assert stopping.is_due(lines(3.0, 4.0, 3.0))
    assert not stopping.is_due(lines(3.0, 4.0, 2.0))
    with pytest.raises(ValueError, match="patience=0 is not possible; use at least 1 epoch"):
        EarlyStopping(0)


def test_a_limit_keeps_the_last_epoch_within_it():
    stopping = EarlyStopping(2, "free_energy_gap", limit=1.0)
    gaps = lines(0.1, 0.5, 1.5, 0.9, 1.2, 1.3, metric="free_energy_gap")
    assert [stopping.is_due(gaps[:n]) for n in range(2, 8)] == [False] * 5 + [True]
    assert [stopping.epoch_to_keep(gaps[:n]) for n in range(2, 8)] == [1, 2, 2, 4, 4, 4]
    beyond = lines(5.0, 3.0, first=4, metric="free_energy_gap")
    assert stopping.is_due(beyond)
    assert stopping.epoch_to_keep(beyond) == 5
    higher = EarlyStopping(1, "validation_accuracy", limit=0.8)
    assert higher.epoch_to_keep(lines(0.9, 0.7, metric="validation_accuracy")) == 1
    assert higher.is_due(lines(0.9, 0.7, metric="validation_accuracy"))
    with pytest.raises(ValueError, match=r"gap is smallest before an RBM has learnt anything: give a limit in nats"):
        EarlyStopping(2, "free_energy_gap")


@pytest.mark.parametrize("in_folder", [False, True])
def test_an_rbm_ends_where_its_free_energy_gap_grows(tmp_path, in_folder):
    rbm, kept = tiny_rbm("reference", 16, 40, scale=0.01), {}

    def keep(model, metrics):
        kept[metrics["epoch"]] = model.copy()

    settings = {"batch_size": 5, "optimizer": SGD(0.3), "callbacks": [keep], "epochs": 60}
    settings |= {"validation": stripes(300, seed=1), "out": tmp_path / "run" if in_folder else None}
    stopping = EarlyStopping(3, "free_energy_gap", limit=1.0)
    gaps = train(rbm, stripes(15), CD(), early_stopping=stopping, **settings).history["free_energy_gap"]
    assert 5 < len(gaps) - 1 < 60
    assert (gaps[-3:] > 1).all()
    best = int(np.flatnonzero(gaps <= 1)[-1])
    assert best == len(gaps) - 4
    assert_same_bytes(rbm, kept[best])


def stopped(backend, mlp, **settings):
    """A run whose validation loss soon rises, and the model as it was after every epoch."""
    kept = {}

    def keep(model, metrics):
        kept[metrics["epoch"]] = model.copy()

    settings = {"optimizer": SGD(1.0), "evolution": SET(0.2), "callbacks": [keep]} | settings
    run = train(mlp, X, Backprop(), y=Y, epochs=30, batch_size=10, validation=OTHER, **settings)
    return run, kept


@pytest.mark.parametrize("in_folder", [False, True])
def test_the_model_becomes_that_of_the_best_epoch(backend, tmp_path, in_folder):
    mlp = tiny_mlp(backend, 6, ReLU(8), Softmax(3))
    out = tmp_path / "run" if in_folder else None
    run, kept = stopped(backend, mlp, early_stopping=EarlyStopping(4), out=out)
    losses = run.history["validation_loss"][1:]
    best = int(np.argmin(losses)) + 1
    assert len(losses) == best + 4 < 30
    assert mlp.epoch == best
    assert run.model is mlp
    assert_same_bytes(mlp, kept[best])
    if in_folder:
        assert_same_bytes(load_model(out, backend, "best"), kept[best])
        assert_same_bytes(load_model(out, backend), kept[best + 4])


@pytest.mark.parametrize("in_folder", [False, True])
def test_a_trained_model_may_stop_early_again(backend, tmp_path, in_folder):
    """The state before the second run is no epoch of it, however good it was: here nothing changes any more."""
    mlp = tiny_mlp(backend, 6, ReLU(8), Softmax(3))
    stopped(backend, mlp, early_stopping=EarlyStopping(2))
    start, out = mlp.epoch, tmp_path / "run" if in_folder else None
    still = {"optimizer": SGD(0.0), "evolution": None}
    run, kept = stopped(backend, mlp, early_stopping=EarlyStopping(2), out=out, **still)
    assert run.history["epoch"].tolist() == [start, start + 1, start + 2, start + 3]
    assert mlp.epoch == start + 1
    assert_same_bytes(mlp, kept[start + 1])


def test_a_callback_ends_training(backend):
    mlp = tiny_mlp(backend, 6, ReLU(8), Softmax(3))
    seen = []

    def watch(model, metrics):
        seen.append((model is mlp, metrics["epoch"], metrics["loss"] > 0))
        return metrics["epoch"] == 3

    run = train(mlp, X, Backprop(), y=Y, epochs=10, callbacks=[watch, lambda model, metrics: None])
    assert seen == [(True, 1, True), (True, 2, True), (True, 3, True)]
    assert run.history["epoch"].tolist() == [0, 1, 2, 3]


class Diary:
    """A callback with all that the loop may call."""

    def __init__(self, fail_at=None):
        self.said, self.fail_at = [], fail_at

    def begin_epoch(self, model):
        self.said.append(f"begin {model.epoch}")

    def __call__(self, model, metrics):
        self.said.append(f"end {model.epoch}")
        if model.epoch == self.fail_at:
            raise RuntimeError("no more")
        return model.epoch == 2

    def close(self):
        self.said.append("close")


def test_callbacks_hear_of_the_beginning_of_every_epoch_and_of_the_end():
    diary, broken = Diary(), Diary(fail_at=1)
    train(tiny_mlp("reference", 6, ReLU(8), Softmax(3)), X, Backprop(), y=Y, epochs=9, callbacks=[diary])
    assert diary.said == ["begin 0", "end 1", "begin 1", "end 2", "close"]
    with pytest.raises(RuntimeError, match="no more"):
        train(tiny_mlp("reference", 6, ReLU(8), Softmax(3)), X, Backprop(), y=Y, epochs=9, callbacks=[broken])
    assert broken.said == ["begin 0", "end 1", "close"]


def test_a_checkpoint_without_a_run_folder(backend, tmp_path):
    mlp = tiny_mlp(backend, 6, ReLU(8), Softmax(3))
    last, each = Checkpoint(tmp_path / "last.npz"), Checkpoint(f"{tmp_path}/after {{epoch}}.npz", every=2)
    train(mlp, X, Backprop(), y=Y, epochs=5, callbacks=[last, each])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["after 2.npz", "after 4.npz", "last.npz"]
    assert_same_bytes(load_model(tmp_path / "last.npz", backend), mlp)
    assert load_model(tmp_path / "after 2.npz", backend).epoch == 2
    with pytest.raises(ValueError, match="every=0 is not possible"):
        Checkpoint(tmp_path / "last.npz", every=0)


@pytest.mark.parametrize(
    ("stopping", "validation", "message"),
    [
        (EarlyStopping(2), None, r"watches 'validation_loss': pass validation=\(X, y\), or another metric"),
        (
            EarlyStopping(2, metric="validation_auc"),
            OTHER,
            r"no epoch has the metric 'validation_auc' \(did you mean 'validation_accuracy'\?\); known: loss, accuracy",
        ),
    ],
)
def test_early_stopping_needs_something_to_watch(stopping, validation, message):
    mlp = tiny_mlp("reference", 6, ReLU(8), Softmax(3))
    with pytest.raises(ValueError, match=message):
        train(mlp, X, Backprop(), y=Y, epochs=3, validation=validation, early_stopping=stopping)


def test_early_stopping_on_training_figures_needs_no_validation(backend):
    mlp = tiny_mlp(backend, 6, ReLU(8), Softmax(3))
    settings = {"epochs": 8, "optimizer": SGD(0.0), "early_stopping": "early_stopping(2, metric='loss')"}
    run = train(mlp, X, Backprop(), y=Y, shuffle=False, **settings)
    assert run.history["epoch"].tolist() == [0, 1, 2, 3]  # nothing changes, so epoch 1 stays the best


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(capsys, monkeypatch):
    monkeypatch.setattr("sparserbm.training.callbacks._rich_bar", lambda *arguments: None)
    metrics = {"epoch": 1, "loss": 0.5, "validation_accuracy": 0.25, "seconds": 3}
    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        progress = Progress(4, stream, every=1000)
        for epoch in range(1, 5):
            progress(None, metrics | {"epoch": epoch})
        progress.close()
    assert file.getvalue().splitlines() == [
        "epoch 1/4  loss 0.5000  val acc 0.2500",
        "epoch 4/4  loss 0.5000  val acc 0.2500",
    ]
    assert terminal.getvalue().count("\r") == 4
    assert terminal.getvalue().endswith("█" * 20 + " epoch 4/4  loss 0.5000  val acc 0.2500\n")
    train(tiny_mlp("reference", 6, Softmax(3)), X, Backprop(), y=Y, epochs=2, progress=True)
    assert "epoch 2/2  loss" in capsys.readouterr().err


def test_progress_shows_the_time_that_is_left_where_it_can():
    pytest.importorskip("rich")
    terminal = Terminal()
    progress = Progress(4, terminal)
    progress(None, {"epoch": 4, "loss": 0.5})
    progress.close()
    assert "4/4" in terminal.getvalue()
    assert "loss 0.5000" in terminal.getvalue()


def test_the_bar_is_ended_where_training_ends_in_an_error(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("sparserbm.training.callbacks._rich_bar", lambda *arguments: None)

    def fail_later(model, metrics):
        if metrics["epoch"] == 2:
            raise RuntimeError("enough")

    settings = {"y": Y, "epochs": 9, "callbacks": [fail_later], "progress": True}
    with pytest.raises(RuntimeError, match="enough"):
        train(tiny_mlp("reference", 6, Softmax(3)), X, Backprop(), **settings)
    assert "epoch 1/9" in terminal.getvalue()
    assert terminal.getvalue().endswith("\n")
