"""Studies: a grid of runs, each trained once, and what becomes of those that fail."""

import csv
import multiprocessing

import joblib
import numpy as np
import pytest

from sparserbm.runs import load_run
from sparserbm.studies import STUDY_MLP, _cells, _one_run, study

SETTINGS = {
    model: {"hidden": (10,), "epsilon": None, "density": 0.3, "batch_size": 16, "image_shape": (6, 6)}
    for model in ("rbm", "mlp")
}
SETTINGS["mlp"] |= {"weights": "he_sparse", "biases": "zero", "optimizer": "sgd(0.1, momentum=0.5)"}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(1)
    images = np.zeros((40, 6, 6))
    images[:, 1:5, 1:5] = rng.random((40, 4, 4))
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, X=images.reshape(40, 36), y=(images.sum(axis=(1, 2)) > 8).astype(int))
    return str(path)


@pytest.fixture(autouse=True)
def _no_pictures(request, monkeypatch):
    """Figures take longer than these runs; one test of this file and those of the command line draw them."""
    if "figures" not in request.node.name:
        monkeypatch.setattr("sparserbm.studies.draw", lambda found: [])


def small_study(table, out, **changes):
    options = {"models": ("rbm", "mlp"), "l2": (0.0, 0.1), "seeds": 2, "epochs": 2, "settings": SETTINGS, "n_jobs": 1}
    return study(table, out=out, **options | changes)


def test_every_cell_is_trained_with_its_own_strength_and_seed(table, tmp_path):
    said = []
    found = small_study(table, tmp_path, progress=said.append)
    assert [(row["model"], row["l2"], row["seed"]) for row in found.rows] == [
        (model, l2, seed) for model in ("rbm", "mlp") for l2 in (0.0, 0.1) for seed in (0, 1)
    ]
    assert len(said) == 1 + 8 + 1
    assert said[8].startswith("[8/8]")
    for row, run in zip(found.rows, found.runs):
        assert run.config["seed"] == row["seed"]
        assert run.config["study"] == {name: row[name] for name in ("model", "l2", "seed")}
        assert row["status"] == "finished"
        assert row["epoch"] == 2
    regularized = [run.config["training"]["regularization"] for run in found.runs if run.config["study"]["l2"]]
    assert all(texts == regularized[0] or "biases=True" in texts[0] for texts in regularized)


def test_the_table_has_mean_and_spread_over_seeds(table, tmp_path):
    found = small_study(table, tmp_path, models=("mlp",), l2=(0.0,), seeds=3)
    (cell,) = found.summary()
    losses = [row["validation_loss"] for row in found.rows]
    assert cell["validation_loss"] == pytest.approx(np.mean(losses))
    assert cell["validation_loss_sd"] == pytest.approx(np.std(losses, ddof=1))
    assert cell["positive"] + cell["negative"] + cell["none"] == 3
    with open(tmp_path / "table.csv", newline="") as stream:
        assert [float(row["validation_loss"]) for row in csv.DictReader(stream)] == losses
    with open(tmp_path / "summary.csv", newline="") as stream:
        assert float(next(csv.DictReader(stream))["validation_loss"]) == cell["validation_loss"]


def test_an_interrupted_study_goes_on_and_ends_the_same(table, tmp_path):
    whole = small_study(table, tmp_path / "whole", models=("rbm",), seeds=1, epochs=4)
    small_study(table, tmp_path / "cut", models=("rbm",), seeds=1, epochs=2)
    went_on = small_study(table, tmp_path / "cut", models=("rbm",), seeds=1, epochs=4)
    for a, b in zip(whole.runs, went_on.runs):
        assert [line.get("loss") for line in a.metrics] == [line.get("loss") for line in b.metrics]
        assert np.array_equal(a.degrees()[1], b.degrees()[1])
    with pytest.raises(ValueError, match="holds a run of 4 epochs, and 3 are asked for"):
        small_study(table, tmp_path / "cut", models=("rbm",), seeds=1, epochs=3)


def test_a_folder_with_other_settings_is_refused_unless_overwritten(table, tmp_path):
    small_study(table, tmp_path, models=("rbm",), l2=(0.0,), seeds=1)
    other = {"rbm": SETTINGS["rbm"] | {"hidden": (5,)}}
    with pytest.raises(ValueError, match="holds a run with other settings"):
        small_study(table, tmp_path, models=("rbm",), l2=(0.0,), seeds=1, settings=other)
    found = small_study(table, tmp_path, models=("rbm",), l2=(0.0,), seeds=1, settings=other, overwrite=True)
    assert found.runs[0].config["recipe"]["hidden"] == [5]


def test_a_run_that_diverges_does_not_end_the_study(table, tmp_path):
    wild = {"mlp": SETTINGS["mlp"] | {"optimizer": "sgd(steps((0.1, 1e30), (4,)))"}, "rbm": SETTINGS["rbm"]}
    with np.errstate(all="ignore"):
        found = small_study(table, tmp_path, l2=(0.0,), seeds=1, epochs=6, settings=wild)
    status = {row["model"]: row["status"] for row in found.rows}
    assert status["rbm"] == "finished"
    assert status["mlp"].startswith("training diverged in epoch")
    assert [run.config["study"]["model"] for run in found.runs] == ["rbm"]
    assert {cell["model"]: cell["finished"] for cell in found.summary()} == {"rbm": 1, "mlp": 0}


def test_tables_without_images_get_the_figures_that_need_none(tmp_path):
    path = tmp_path / "flat.npz"
    np.savez(path, X=np.random.default_rng(0).random((30, 10)))
    settings = {"rbm": {"hidden": (6,), "epsilon": None, "density": 0.5}}
    small_study(str(path), tmp_path / "s", models=("rbm",), l2=(0.0,), seeds=1, settings=settings)
    drawn = {file.name for file in (tmp_path / "s").iterdir() if file.is_file()}
    assert {"report.html", "learning-curves.png", "table.csv"} <= drawn
    assert "connection-map.png" not in drawn
    assert "zone-density.png" not in drawn


def test_workers_give_the_bytes_of_a_run_in_this_process(table, tmp_path):
    small_study(table, tmp_path / "two", models=("rbm",), l2=(0.1,), seeds=2, n_jobs=2)
    small_study(table, tmp_path / "one", models=("rbm",), l2=(0.1,), seeds=2, n_jobs=1)
    for seed in (0, 1):
        name = f"rbm-l2=0.1-seed={seed}"
        a, b = (load_run(tmp_path / folder / name).last_pattern()[1] for folder in ("one", "two"))
        assert a.weight.tobytes() == b.weight.tobytes()
        assert np.array_equal(a.pre, b.pre)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"models": ("rmb",)}, "unknown model 'rmb'"),
        ({"seeds": 0}, "seeds=0"),
        ({"l2": (-1.0,)}, "l2=-1 is out of range"),
    ],
)
def test_bad_words(table, tmp_path, words, message):
    with pytest.raises(ValueError, match=message):
        small_study(table, tmp_path / "s", **words)


def test_the_recipe_of_the_study_has_its_published_size():
    # 11 * (784 + 512) + 11 * (512 + 128) + 128 * 10
    data = STUDY_MLP.load_data()
    model = STUDY_MLP.build(data)
    assert [len(layer) for layer in model.connections] == [14256, 7040, 1280]


def test_strengths_that_are_the_same_are_refused(table, tmp_path):
    with pytest.raises(ValueError, match="repeat themselves; give each once"):
        small_study(table, tmp_path / "s", l2=(0.0, 0.0))


def test_a_run_that_stopped_early_is_finished(table, tmp_path):
    # nothing is ever 100 better than the first epoch: training stops after the second
    stopping = {"mlp": SETTINGS["mlp"] | {"early_stopping": "early_stopping(patience=1, min_delta=100.0)"}}
    options = {"models": ("mlp",), "l2": (0.0,), "seeds": 1, "epochs": 9, "settings": stopping}
    epochs = [small_study(table, tmp_path, **options).rows[0]["epoch"] for _ in range(3)]
    assert epochs == [2, 2, 2]


@pytest.mark.gpu_too
def test_a_study_on_a_device_says_so_and_can_go_on_without_it(cupy, table, tmp_path):
    options = {"models": ("rbm",), "l2": (0.0,), "seeds": 1}
    found = small_study(table, tmp_path, backend="cupy", **options)
    assert [run.config["model"]["backend"] for run in found.runs] == ["cupy"]
    again = small_study(table, tmp_path, backend="reference", epochs=3, **options)
    assert again.rows[0]["epoch"] == 3


def test_each_device_has_one_worker(pretended, cupy, table, tmp_path, monkeypatch):
    """Two devices: two runs at a time, and a worker takes the device of its number."""
    asked, own = [], joblib.parallel_config

    def parallel(backend, n_jobs, inner_max_num_threads):
        asked.append(n_jobs)
        return own("sequential")

    monkeypatch.setattr("joblib.parallel_config", parallel)
    options = {"models": ("rbm",), "l2": (0.0,), "seeds": 1, "n_jobs": None}
    for backend in ("cupy", "cupy:0", "reference"):
        small_study(table, tmp_path / backend.replace(":", "-"), backend=backend, **options)
    assert asked == [2, 1, joblib.cpu_count()]
    (cell,) = _cells(table, ["rbm"], [0.0], 1, 1, {"data": table, "folder": None, "backend": "cupy"}, SETTINGS)
    try:
        for number, device in ((1, 1), (2, 0), (3, 1)):
            monkeypatch.setattr(multiprocessing.current_process(), "name", f"LokyProcess-{number}")
            _one_run(cell[2], cell[1], tmp_path / f"d{number}", "run", False, 2)
            assert cupy.cuda.Device().id == device
    finally:
        cupy.cuda.Device(0).use()


def test_a_device_that_is_missing_is_said_before_the_first_run(table, tmp_path, monkeypatch):
    monkeypatch.setattr("sparserbm.backends.why_no_gpu", lambda: "CuPy is not installed")
    with pytest.raises(ValueError, match='backend="cupy" is not possible: CuPy is not installed'):
        small_study(table, tmp_path / "a", backend="cupy")
    assert not (tmp_path / "a").exists()
