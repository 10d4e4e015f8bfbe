"""Studies: a grid of runs, each trained once, and what becomes of those that fail."""

import csv
import json
import multiprocessing

import joblib
import numpy as np
import pytest
from scipy import stats

from sparserbm.runs import load_run
from sparserbm.studies import STUDY_MLP, study
from sparserbm.studies.engine import _one_run
from sparserbm.studies.figures import draw
from sparserbm.studies.grid import full_grid, planned_runs

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
        monkeypatch.setattr("sparserbm.studies.engine.draw", lambda found: [])


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


def test_of_many_cells_the_first_are_drawn(table, tmp_path, monkeypatch):
    found = grid_study(table, tmp_path, seeds=1, epochs=1)
    drawn = []
    monkeypatch.setattr("sparserbm.plotting.plot", lambda name, runs, path: drawn.append((name, len(runs))))
    monkeypatch.setattr("sparserbm.plotting.report", lambda runs, path: drawn.append(("report", len(runs))))
    monkeypatch.setattr("sparserbm.studies.figures.MOST", 3)
    paths = draw(found)
    assert drawn[0] == ("study-summary", 4)
    assert {number for _, number in drawn[1:]} == {3}
    assert [path.stem for path in paths] == [name for name, _ in drawn]


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
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"zetta": [0.1]}, r"unknown grid key 'zetta' \(did you mean 'zeta'\?\); possible are the settings of a run"),
        ({"zeta": [0.1, 1.5]}, "rbm-zeta=1.5: zeta=1.5 is out of range"),
        ({"birth": ["same", "zeroo"]}, "unknown birth 'zeroo' .*; known: .*zero"),
        ({"density": [0.3, 1.3]}, "rbm-density=1.3: density=1.3 is not possible"),
        ({"weights": ["normal(0.1)", "normall(0.1)"]}, "unknown weights 'normall'"),
        ({"zone": ["central(40)"]}, "rbm-zone=central_40: a square of side 40 has no middle place"),
        ({"l2": [0, (1e-3, 0, 0)]}, "3 strengths for 1 matrices of connections"),
        ({"scale": ["unit", "standard"]}, "rbm-scale=standard: Bernoulli units need values in"),
        ({"batch_size": [0]}, "rbm-batch_size=0: batch_size=0 is not possible"),
    ],
)
def test_what_is_not_possible_is_said_before_the_first_run(table, tmp_path, grid, message):
    with pytest.raises(ValueError, match=message):
        small_study(table, tmp_path / "s", models=None, l2=None, grid=grid)
    assert not (tmp_path / "s").exists()


def test_other_settings_in_one_folder_are_said_before_the_first_run(table, tmp_path):
    small_study(table, tmp_path, models=("rbm",), l2=(0.1,), seeds=1)
    other = {"rbm": SETTINGS["rbm"] | {"hidden": (5,)}}
    with pytest.raises(ValueError, match="rbm-l2=0.1-seed=0 holds a run with other settings"):
        small_study(table, tmp_path, models=("rbm",), l2=(0.0, 0.1), seeds=1, settings=other)
    assert not (tmp_path / "rbm-l2=0.0-seed=0").exists()


def grid_study(table, out, **changes):
    grid = {"zeta": [0.1, 0.5], "birth": ["zero"], "density": [0.2, 0.3]}
    return small_study(table, out, **{"models": ("rbm",), "l2": None, "grid": grid, "seeds": 2} | changes)


def test_a_grid_of_settings_and_parameters_of_evolution(table, tmp_path):
    found = grid_study(table, tmp_path)
    assert found.keys == ("model", "zeta", "birth", "density")
    places = [(zeta, "zero", density, seed) for zeta in (0.1, 0.5) for density in (0.2, 0.3) for seed in (0, 1)]
    assert [tuple(row[key] for key in ("zeta", "birth", "density", "seed")) for row in found.rows] == places
    assert found.rows[0]["run"] == "rbm-birth=zero-density=0.2-zeta=0.1-seed=0"
    for row, run in zip(found.rows, found.runs):
        assert run.config["study"] == {key: row[key] for key in (*found.keys, "seed")}
        assert list(run.config["study"]) == [*found.keys, "seed"]
        assert f"birth=zero, zeta={row['zeta']}, when" in run.config["training"]["evolution"]
        assert run.config["recipe"]["density"] == row["density"]
        assert row["measured_density"] == pytest.approx(row["density"], abs=0.01)  # of the network, as it came out
    with open(tmp_path / "table.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0])[:7] == ["model", "zeta", "birth", "density", "seed", "run", "status"]
    assert [row["birth"] for row in rows] == ["zero"] * 8
    assert [(cell["zeta"], cell["density"], cell["seeds"]) for cell in found.summary()] == [
        (0.1, 0.2, 2),
        (0.1, 0.3, 2),
        (0.5, 0.2, 2),
        (0.5, 0.3, 2),
    ]


def test_zeta_decides_how_many_connections_are_replaced(table, tmp_path):
    found = grid_study(table, tmp_path, seeds=1, grid={"zeta": [0.0, 0.5]})
    newborn = [(run.last_pattern()[1].born > 0).mean() for run in found.runs]
    assert newborn[0] == 0.0
    assert newborn[1] == pytest.approx(0.5, abs=0.02)


def test_a_grid_goes_on_with_more_values_and_in_another_order(table, tmp_path):
    def trained(found):
        return {row["run"]: (tmp_path / row["run"] / "checkpoint.npz").stat().st_mtime_ns for row in found.rows}

    first = trained(grid_study(table, tmp_path))
    grid = {"density": [0.2, 0.3], "evolution.zeta": [0.1, 0.5, 0.7], "birth": "zero"}
    again = trained(grid_study(table, tmp_path, grid=grid))
    assert len(again) == 12
    assert {name: again[name] for name in first} == first


def test_runs_of_a_version_without_a_setting_count_as_having_its_default(table, tmp_path):
    (run,) = small_study(table, tmp_path, models=("rbm",), l2=(0.0,), seeds=1).runs
    config = json.loads((run.folder / "config.json").read_text())
    del config["recipe"]["penalise_biases"], config["recipe"]["l1"]
    (run.folder / "config.json").write_text(json.dumps(config))
    assert small_study(table, tmp_path, models=("rbm",), l2=(0.0,), seeds=1).rows[0]["status"] == "finished"
    del config["recipe"]["hidden"]
    (run.folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="other settings"):
        small_study(table, tmp_path, models=("rbm",), l2=(0.0,), seeds=1)


def test_comparisons_are_written_and_metrics_are_checked(table, tmp_path):
    found = grid_study(table, tmp_path, seeds=3, grid={"zeta": [0.0, 0.5]})
    (row,) = found.compare("validation_loss")
    losses = np.array([line["validation_loss"] for line in found.rows]).reshape(2, 3)
    assert row["difference"] == pytest.approx(losses[1].mean() - losses[0].mean())
    assert row["p"] == pytest.approx(stats.ttest_rel(losses[1], losses[0]).pvalue)
    assert row["p_welch"] == pytest.approx(stats.ttest_ind(losses[1], losses[0], equal_var=False).pvalue)
    with open(tmp_path / "comparisons.csv", newline="") as stream:
        written = list(csv.DictReader(stream))
    assert [line["metric"] for line in written] == ["validation_loss", "learning_index", "learning_z"]  # of an RBM
    assert float(written[0]["p"]) == row["p"]
    with pytest.raises(ValueError, match="no run has the metric 'los'; there are: .*validation_loss"):
        found.compare("los")


def test_the_recipe_of_the_study_has_its_published_size():
    # 11 * (784 + 512) + 11 * (512 + 128) + 128 * 10
    data = STUDY_MLP.load_data()
    model = STUDY_MLP.build(data)
    assert [len(layer) for layer in model.connections] == [14256, 7040, 1280]


def test_strengths_that_are_the_same_are_refused(table, tmp_path):
    with pytest.raises(ValueError, match="the values of 'l2' repeat themselves"):
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
    shared = {"data": table, "folder": None, "backend": "cupy", "threads": 1}
    (planned,) = planned_runs(full_grid(None, ["rbm"], [0.0], 1), shared, SETTINGS, 1)
    try:
        for number, device in ((1, 1), (2, 0), (3, 1)):
            monkeypatch.setattr(multiprocessing.current_process(), "name", f"LokyProcess-{number}")
            _one_run(planned, tmp_path / f"d{number}", False, 2)
            assert cupy.cuda.Device().id == device
    finally:
        cupy.cuda.Device(0).use()


def test_a_device_that_is_missing_is_said_before_the_first_run(table, tmp_path, monkeypatch):
    monkeypatch.setattr("sparserbm.backends.why_no_gpu", lambda: "CuPy is not installed")
    with pytest.raises(ValueError, match='backend="cupy" is not possible: CuPy is not installed'):
        small_study(table, tmp_path / "a", backend="cupy")
    assert not (tmp_path / "a").exists()
