"""The command line: words in, files and one-line errors out."""

import json
import re

import numpy as np
import pytest
from sparserbm_cli import options
from sparserbm_cli.study import comparisons

from sparserbm.runs import load_run

SMALL = ["--hidden", "20", "--epsilon", "4", "--batch-size", "40", "--epochs", "2", "--backend", "reference", "--quiet"]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """60 samples of 6 x 6 pixels with an empty margin, three classes."""
    rng = np.random.default_rng(0)
    images = np.zeros((60, 6, 6))
    images[:, 1:5, 1:5] = rng.random((60, 4, 4))
    y = np.repeat([3, 5, 8], 20)
    images[np.arange(60), 1 + y // 3, 2] = 1
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, X=images.reshape(60, 36), y=y)
    return path


def test_train_rbm_writes_a_run_and_says_what_it_learned(run, table, tmp_path):
    code, out, err = run("train", "rbm", "--data", table, "--image-shape", "6,6", *SMALL, "--out", tmp_path / "a")
    assert code == 0, err
    assert "2 epochs, 224 connections" in out
    assert re.search(r"connections an input in the active zone", out)
    found = load_run(tmp_path / "a")
    assert [line["epoch"] for line in found.metrics] == [0, 1, 2]
    assert found.config["recipe"]["hidden"] == [20]
    assert found.config["data"]["image_shape"] == [6, 6]
    assert found.config["data"]["n_samples"] == 48  # a fifth is held out


def test_units_and_algorithm_are_texts(run, table, tmp_path):
    """From flags and from a file, with schedules of k and of the momentum; the run goes on with what it kept."""
    rule = "cd(k=steps((1, 2), (3,)), persistent=True, chains=9, centred=True, sparsity=sparsity(0.1))"
    momentum = "sgd(0.01, momentum=linear(0.5, 0.9, steps=3))"
    units = "mixed((bernoulli(30), gaussian(6, learned=True)))"
    (tmp_path / "c.toml").write_text(f"""algorithm = "{rule}"\noptimizer = "{momentum}"\nvisible = "{units}"\n""")
    flags = ["--algorithm", rule, "--optimizer", momentum, "--visible", units, "--hidden-units", "potts(states=4)"]
    for name, words in (("flags", flags), ("file", ["--config", tmp_path / "c.toml", *flags[-2:]])):
        code, _, err = run("train", "rbm", "--data", table, *SMALL, *words, "--out", tmp_path / name)
        assert code == 0, err
    one, two = (load_run(tmp_path / name) for name in ("flags", "file"))
    assert one.history["loss"][1:].tolist() == two.history["loss"][1:].tolist()
    assert one.config["recipe"]["hidden_units"] == "potts(states=4)"
    code, _, err = run("train", "resume", tmp_path / "flags", "--epochs", 3, "--quiet")
    assert code == 0, err
    code, _, err = run("train", "rbm", "--data", table, *SMALL, "--algorithm", "cd(k=0)", "--out", tmp_path / "c")
    assert code != 0
    assert "k=0 is not possible; use an integer of at least 1" in err


@pytest.mark.parametrize(("model", "connections"), [("rbm", "224"), ("mlp", "284 = 224 + 60")])
def test_a_dry_run_says_what_a_run_takes_and_makes_nothing(run, table, tmp_path, monkeypatch, model, connections):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("train", model, "--data", table, *SMALL, "--dry-run", "--out", tmp_path / "a")
    assert code == 0, err
    assert f"connections     {connections}\n" in out
    assert re.search(r"memory +[\d.,]+ [KM]iB", out)
    assert re.search(r"a mini-batch +[\d.,]+ MFLOP", out)
    assert not list(tmp_path.iterdir())


def test_training_needs_a_folder_to_write(run, table):
    code, out, err = run("train", "rbm", "--data", table, *SMALL)
    assert code != 0
    assert out == ""
    assert err.splitlines() == ["Error: give the run folder to write with --out, or --dry-run"]


def test_train_mlp_numbers_the_classes(run, table, tmp_path):
    words = [
        "--data",
        table,
        *SMALL,
        "--l2",
        "linear(0, 1e-3, 10)",
        "--evolve",
        "set(zeta=0.2)",
        "--out",
        tmp_path / "m",
    ]
    code, out, err = run("train", "mlp", *words)
    assert code == 0, err
    assert "validation accuracy" in out
    config = load_run(tmp_path / "m").config
    assert config["model"]["layer_sizes"] == [36, 20, 3]
    assert config["training"]["regularization"][0].startswith("l2(strength=linear(start=0, stop=0.001, steps=10")


L1_RAMP = "l1(strength=linear(start=0, stop=0.0001, steps=5000, after=0), biases=False)"
L2_EACH = "l2(strength=(0.0, 0.001), biases=False, coupled=True)"
PENALTIES = [  # words, file, what they make
    (["--regularization", "l1(linear(0, 1e-4, 5000))"], "", [L1_RAMP]),
    (["--regularization", "l2((0, 1e-3))"], "", [L2_EACH]),
    (["--l2", "(0, 1e-3)", "--l1", "linear(0, 1e-4, 5000)"], "", [L2_EACH, L1_RAMP]),
    (
        ["--l2", "(1e-3, power(0, 1e-3, 10, exponent=2))"],
        "",
        ["l2(strength=(0.001, power(start=0, stop=0.001, steps=10, exponent=2, after=0)), biases=False, coupled=True)"],
    ),
    (
        ["--regularization", "elastic_net(1e-5, (0, linear(0, 1e-4, 9)))"],
        "",
        [
            "elastic_net(l1=1e-05, l2=(0.0, linear(start=0, stop=0.0001, steps=9, after=0)), biases=False)",
        ],
    ),
    (
        ["--set", "regularization=['set_decay(2e-4, biases=True)', 'max_norm(3, side=pre)']"],
        "",
        ["set_decay(decay=0.0002, biases=True)", "max_norm(norm=3.0, side='pre')"],
    ),
    ([], 'regularization = "l1(linear(0, 1e-4, 5000))"\nl2 = [0, 1e-3]', [L2_EACH, L1_RAMP]),
    (
        [],
        'regularization = ["l2((0, 1e-3))", "elastic_net(l1=1e-5, l2=0)"]\nl1 = "linear(0, 1e-4, 5000)"',
        [L1_RAMP, L2_EACH, "elastic_net(l1=1e-05, l2=0.0, biases=False)"],
    ),
]


@pytest.mark.parametrize(("words", "file", "made"), PENALTIES, ids=str)
def test_penalties_are_read_from_words_and_files(run, table, tmp_path, words, file, made):
    (tmp_path / "settings.toml").write_text(file)
    config = ["--config", tmp_path / "settings.toml"]
    code, _, err = run("train", "mlp", "--data", table, *SMALL, *config, *words, "--out", tmp_path / "a")
    assert code == 0, err
    assert load_run(tmp_path / "a").config["training"]["regularization"] == made


def test_the_outcome_says_how_fast_idle_weights_shrink(run, table, tmp_path):
    words = ["train", "mlp", "--data", table, *SMALL, "--optimizer", "sgd(0.01, momentum=0.5)", "--batch-size", "10"]
    code, out, err = run(*words, "--l2", "1e-3", "--out", tmp_path / "a")
    assert code == 0, err
    assert "  shrink without gradient   2.0e-05 a step, 1.0e-04 between events\n" in out  # five mini-batches
    code, out, err = run(*words, "--l2", "1e-3", "--evolve", "none", "--out", tmp_path / "b")
    assert "  shrink without gradient   2.0e-05 a step\n" in out
    code, out, err = run(*words, "--out", tmp_path / "c")
    assert code == 0, err
    assert "shrink" not in out


def test_one_density_for_the_network(run, table, tmp_path):
    words = [word for word in SMALL if word not in ("--epsilon", "4")]
    words = ["train", "mlp", "--data", table, *words, "--wiring", "erk(density=0.2)"]
    code, out, err = run(*words, "--dry-run")
    assert code == 0, err
    assert "connections     156 = 111 + 45\n" in out
    assert run(*words, "--out", tmp_path / "a")[0] == 0
    assert load_run(tmp_path / "a").metrics[-1]["n_connections"] == 156


WHOLE = (
    "evolution(drop=taylor, grow=gradient(candidates=4), birth=zero, density=cubic(0.2, 0.05, 100), "
    "when=chance(0.05), min_age=3)"
)


@pytest.mark.parametrize("model", ["rbm", "mlp"])
def test_a_whole_rule_of_evolution_is_read_from_words_and_files(run, table, tmp_path, model):
    words = ["train", model, "--data", table, *SMALL, "--batch-size", "2", "--epochs", "3"]
    (tmp_path / "settings.toml").write_text(f"evolution = '{WHOLE}'\n")
    for name, given in (("a", ["--evolve", WHOLE]), ("b", ["--config", tmp_path / "settings.toml"])):
        code, _, err = run(*words, *given, "--out", tmp_path / name)
        assert code == 0, err
    a, b = (load_run(tmp_path / name) for name in "ab")
    text = a.config["training"]["evolution"]
    assert text == b.config["training"]["evolution"]
    assert "drop=taylor, grow=gradient(candidates=4, batches=1, decay=0.9), birth=zero" in text
    assert "when=chance(p=0.05)" in text
    assert "density=cubic(start=0.2, stop=0.05, steps=100, after=0), min_age=3" in text
    assert sum(line["dropped"] for line in a.metrics) > 0
    assert [line["n_connections"] for line in a.metrics] == [line["n_connections"] for line in b.metrics]
    assert a.metrics[-1]["n_connections"] < a.metrics[0]["n_connections"]


def test_resume_goes_on_where_the_run_stopped(run, table, tmp_path):
    run("train", "rbm", "--data", table, *SMALL, "--out", tmp_path / "a")
    code, _, err = run("train", "resume", tmp_path / "a", "--epochs", 4, "--quiet")
    assert code == 0, err
    run("train", "rbm", "--data", table, *SMALL, "--epochs", "4", "--out", tmp_path / "b")
    a, b = (
        [{k: v for k, v in line.items() if k != "seconds"} for line in load_run(tmp_path / n).metrics] for n in "ab"
    )
    assert a == b


def test_progress_is_plain_lines_on_standard_error(run, table, tmp_path):
    words = [word for word in SMALL if word != "--quiet"]
    code, out, err = run("train", "rbm", "--data", table, *words, "--out", tmp_path / "a")
    assert code == 0
    assert "epoch 1/2" in err
    assert "epoch 2/2" in err
    assert "\r" not in err
    assert "epoch 1/2" not in out


def test_flag_wins_over_set_over_file_over_default(run, table, tmp_path):
    toml = tmp_path / "settings.toml"
    toml.write_text("epochs = 7\nseed = 7\nbatch_size = 7\n[rbm]\nseed = 6\nhidden = [9]\n[mlp]\nhidden = [99]\n")
    words = ["--data", table, "--config", toml, "--set", "epochs=3", "--set", "rbm.batch_size=30", "--epochs", 1]
    code, _, err = run(
        "train", "rbm", *words, "--epsilon", 4, "--backend", "reference", "--quiet", "--out", tmp_path / "a"
    )
    assert code == 0, err
    recipe = load_run(tmp_path / "a").config["recipe"]
    assert (recipe["epochs"], recipe["batch_size"], recipe["seed"], recipe["hidden"]) == (1, 30, 6, [9])
    assert recipe["optimizer"] == "sgd(0.05, momentum=0.5)"


def test_plot_draws_a_figure_and_a_report(run, table, tmp_path):
    run("train", "rbm", "--data", table, "--image-shape", "6,6", *SMALL, "--out", tmp_path / "a")
    code, out, err = run("plot", "connection-map", tmp_path / "a", "-o", tmp_path / "map.png")
    assert (code, out.split()[-1]) == (0, str(tmp_path / "map.png")), err
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    code, _, err = run("plot", "report", tmp_path / "a", "-o", tmp_path / "report.html")
    assert code == 0, err
    assert "Where did the connections gather" in (tmp_path / "report.html").read_text()


def test_study_trains_the_grid_once(run, table, tmp_path):
    words = [
        "study",
        "--data",
        table,
        "--models",
        "rbm,mlp",
        "--l2",
        "0, linear(0, 1e-2, 10)",
        "--seeds",
        1,
        "--epochs",
        2,
    ]
    sets = ["rbm.hidden=(12,)", "mlp.hidden=(12,)", "mlp.weights='he_sparse'", "mlp.biases='zero'"]
    sets += [f"{model}.{setting}" for model in ("rbm", "mlp") for setting in ("epsilon=4", "image_shape=(6, 6)")]
    sets = [word for setting in sets for word in ("--set", setting)]
    code, out, err = run(*words, *sets, "--jobs", 1, "--out", tmp_path / "s")
    assert code == 0, err
    assert len(re.findall(r"^(rbm|mlp)  ", out, re.M)) == 4
    assert "no test between cells is possible: it takes at least two finished runs in each (--seeds 2" in out
    for name in ("table.csv", "summary.csv", "study-summary.png", "connection-map.png", "report.html"):
        assert (tmp_path / "s" / name).stat().st_size > 0
    before = (tmp_path / "s" / "rbm-l2=0.0-seed=0" / "checkpoint.npz").stat().st_mtime_ns
    code, again, _ = run(*words, *sets, "--jobs", 1, "--out", tmp_path / "s")
    assert code == 0
    assert again == out
    assert (tmp_path / "s" / "rbm-l2=0.0-seed=0" / "checkpoint.npz").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--evolve", "sett(zeta=0.3)"], r"unknown evolution 'sett' \(did you mean 'set'\?\); known: evolution, set"),
        (["--evolve", "set(zeta=1.5)"], r"zeta=1.5 is out of range; use a value in \[0, 1"),
        (
            ["--epsilon", "500"],
            r"epsilon=500 asks for 28,000 connections but 36 x 20 has room for 720; use epsilon <= 12.8",
        ),
        (["--visible", "bernouli"], r"unknown unit 'bernouli' \(did you mean 'bernoulli'\?\)"),
        (["--l2", "-1"], r"l2=-1 is out of range"),
        (["--optimizer", "sgd(rate=1)"], r"it takes: learning_rate, momentum, nesterov"),
        (["--hidden", "ten"], r"no list of integers; write e.g. 512,128"),
        (["--set", "epoch=3"], r"unknown setting 'epoch'"),
        (["--epsilon", "3", "--density", "0.1"], r"give one of them"),
        (["--data", "nowhere.npz"], r"nowhere.npz"),
        (["--data", "notes.txt"], r"suffix"),
        (["--config", "nowhere.toml"], r"there is no config file nowhere.toml"),
        (["--epochs", "0"], r"epochs=0 is not possible; use an integer of at least 1"),
    ],
)
def test_bad_words_end_in_one_clear_line(run, table, tmp_path, words, message):
    code, out, err = run("train", "rbm", "--data", table, *SMALL, *words, "--out", tmp_path / "a")
    assert code != 0
    assert out == ""
    assert "Traceback" not in err
    assert re.search(message, err.splitlines()[-1]), err
    assert sum(line.startswith("Error: ") for line in err.splitlines()) == 1


def test_data_out_of_range_are_scaled_only_when_asked(run, tmp_path):
    path = tmp_path / "wide.npy"
    np.save(path, np.random.default_rng(0).normal(size=(50, 36)))
    words = ["train", "rbm", "--data", path, *SMALL, "--out", tmp_path / "a"]
    code, _, err = run(*words, "--scale", "none")
    assert code == 1
    assert "Bernoulli units need values in [0, 1]" in err
    assert not (tmp_path / "a").exists()
    assert run(*words, "--scale", "unit")[0] == 0


def test_an_existing_run_is_refused_unless_overwritten(run, table, tmp_path):
    words = ["train", "rbm", "--data", table, *SMALL, "--out", tmp_path / "a"]
    assert run(*words)[0] == 0
    before = (tmp_path / "a" / "metrics.jsonl").read_bytes()
    code, _, err = run(*words)
    assert code == 1
    assert "exists" in err
    assert "--overwrite" in err
    assert (tmp_path / "a" / "metrics.jsonl").read_bytes() == before
    assert run(*words, "--overwrite")[0] == 0


def test_a_run_that_diverges_ends_with_an_error_and_keeps_its_checkpoint(run, table, tmp_path):
    words = ["train", "mlp", "--data", table, *SMALL, "--epochs", "30", "--optimizer", "sgd(steps((0.1, 1e30), (4,)))"]
    with np.errstate(all="ignore"):
        code, _, err = run(*words, "--out", tmp_path / "a")
    assert code == 1
    assert re.search(r"training diverged in epoch \d+: .*lower the learning rate", err)
    assert (tmp_path / "a" / "checkpoint.npz").exists()


def test_plot_of_no_run_and_of_no_figure(run, tmp_path):
    code, _, err = run("plot", "zone-density", tmp_path)
    assert code == 1
    assert "is no run folder" in err
    code, _, err = run("plot", "zone-densty", tmp_path)
    assert code == 2
    assert "did you mean 'zone-density'" in err


def test_unknown_command_names_the_known_ones(run):
    code, _, err = run("trian")
    assert code == 2
    assert "unknown command 'trian'; known: train, evaluate, sample, transform, info, compare, plot, study" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "penalise_biases=maybe"], "penalise_biases='maybe' is not possible; give bool"),
        (["--set", "threads=none"], "threads='none' is not possible; give int or nothing"),
        (["--set", "rbm=3"], "rbm=3 in --set is no table of settings"),
        (["--early-stopping", "early_stopping(metric='validation_acuracy')"], "did you mean 'validation_accuracy'"),
        (["--visible", "gaussian(sigma=0)"], "sigma=0 is not possible for Gaussian units"),
        (["--regularization", "elastic(1)"], "unknown penalty 'elastic'"),
        (["--evolve", "set(zetta=0.3)"], "it takes: zeta, when, birth, last, allow_return"),
        (["--l2", "(1e-3, 0, 0)"], "has 3 strengths for 1 matrices of connections"),
    ],
)
def test_settings_of_a_wrong_kind_leave_an_earlier_run_alone(run, table, tmp_path, words, message):
    assert run("train", "rbm", "--data", table, *SMALL, "--out", tmp_path / "a")[0] == 0
    before = (tmp_path / "a" / "checkpoint.npz").read_bytes()
    code, _, err = run("train", "rbm", "--data", table, *SMALL, *words, "--out", tmp_path / "a", "--overwrite")
    assert code != 0
    assert message in err.splitlines()[-1]
    assert (tmp_path / "a" / "checkpoint.npz").read_bytes() == before


def test_true_and_false_are_those_of_toml(run, table, tmp_path):
    words = ["--l2", "1e-3", "--set", "penalise_biases=false", "--visible", "gaussian(sigma=0.5)"]
    assert run("train", "rbm", "--data", table, *SMALL, *words, "--out", tmp_path / "a")[0] == 0
    config = load_run(tmp_path / "a").config
    assert config["training"]["regularization"] == ["l2(strength=0.001, biases=False, coupled=True)"]
    assert config["model"]["units"][0] == "gaussian(n=36, sigma=0.5, learned=False, smallest=0.1)"


def test_a_run_goes_on_from_another_folder(run, table, tmp_path, monkeypatch):
    monkeypatch.chdir(table.parent)
    assert run("train", "rbm", "--data", table.name, *SMALL, "--out", tmp_path / "a")[0] == 0
    monkeypatch.chdir(tmp_path)
    code, _, err = run("train", "resume", "a", "--epochs", 3, "--quiet")
    assert code == 0, err
    code, _, err = run("train", "resume", "a", "--epochs", 2)
    assert code == 1
    assert "has 3 epochs already" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--l2", ""], "grid key 'l2' has no value"),
        (["--jobs", "0"], "n_jobs=0 is not possible"),
        (["--models", "rbm,cnn"], "unknown model 'cnn'; known: rbm, mlp"),
        (["--set", "mlp.evolution=nose"], "unknown evolution 'nose'"),
        (["--set", "mlp.hiden=3"], "unknown setting 'hiden' in the settings of a study"),
        (["--set", "mpl.hidden=3"], "unknown model 'mpl' in the settings of a study"),
        (["--set", "mlp=3"], "'mlp' is no table"),
        (["--grid", "zeta"], "--grid 'zeta' is no KEY=VALUE,VALUE"),
        (["--grid", "zeta=0.1", "--grid", "zeta=0.3"], "--grid zeta is given twice; write all its values in one"),
        (["--grid", "zetta=0.1"], "unknown grid key 'zetta' (did you mean 'zeta'?); possible are the settings"),
        (["--grid", "zeta=0.1,2"], "rbm-zeta=2.0: zeta=2 is out of range"),
        (["--grid", "l2=0", "--l2", "0"], "'l2' is given twice, or in its short form too"),
        (["--grid", "allow_return=maybe"], "allow_return='maybe' is not possible; use true or false"),
    ],
)
def test_a_study_that_cannot_be_writes_nothing(run, table, tmp_path, words, message):
    code, _, err = run("study", "--data", table, *words, "--out", tmp_path / "s")
    assert code != 0
    assert sum(line.startswith("Error: ") for line in err.splitlines()) == 1
    assert message in err.splitlines()[-1]
    assert not (tmp_path / "s").exists()


@pytest.fixture
def asked(monkeypatch):
    """What the command line asks of a study that is not trained."""
    calls = {}

    def study(data, **options):
        calls.update(options, data=data)
        raise ValueError("not trained")

    monkeypatch.setattr("sparserbm.studies.study", study)
    return calls


def test_a_grid_in_words(run, asked):
    words = [
        "--grid",
        "l2 = 0, linear(0, 1e-3, 5000),1e-3",
        "--grid",
        "hidden=(256, 64),[20],9",
        "--grid",
        "last=none,drop",
    ]
    words += [
        "--grid",
        "zone=none,central(20)",
        "--grid",
        "allow_return=true,false",
        "--grid",
        "birth=same(normal(0.1))",
    ]
    run("study", *words, "--out", "s")
    assert asked["grid"] == {
        "l2": [0, "linear(0, 1e-3, 5000)", 1e-3],
        "hidden": [(256, 64), (20,), 9],
        "last": ["none", "drop"],
        "zone": [None, "central(20)"],
        "allow_return": [True, False],
        "birth": ["same(normal(0.1))"],
    }
    assert (asked["models"], asked["l2"], asked["seeds"]) == (None, None, None)
    run("study", "--l2", "0,linear(0, 1, 5)", "--models", "rbm", "--seeds", "4", "--out", "s")
    assert (asked["grid"], asked["l2"], asked["models"], asked["seeds"]) == ({}, (0.0, "linear(0, 1, 5)"), ("rbm",), 4)


def test_a_grid_in_a_file(run, asked, tmp_path):
    file = tmp_path / "grid.toml"
    file.write_text('[grid]\nzeta = [0.1, 0.3]\nzone = "none"\nhidden = [[20, 10], 9]\n[mlp]\nbatch_size = 7\n')
    run("study", "--config", file, "--grid", "zeta=0.5", "--set", "mlp.seed=3", "--out", "s")
    assert asked["grid"] == {"zeta": [0.5], "zone": [None], "hidden": [[20, 10], 9]}
    assert asked["settings"] == {"mlp": {"batch_size": 7, "seed": 3}}
    file.write_text("grid = 3\n")
    code, _, err = run("study", "--config", file, "--out", "s")
    assert (code, "'grid' is no table" in err) == (2, True)


def comparison(p, number=0):
    row = {"metric": "validation_loss", "a": "rbm-zeta=0.1", "b": f"rbm-zeta={number}", "difference": 0.00123}
    return row | {"effect": 2.5, "test": "paired t", "p": p, "p_holm": p}


def test_what_a_study_says_of_differences():
    nan = float("nan")
    assert comparisons([]) == "one cell: there is nothing to compare"
    assert comparisons([comparison(nan)]).startswith("no test between cells is possible")
    head, line = comparisons([comparison(0.2), comparison(0.011, 7), comparison(nan)]).splitlines()
    assert head.startswith("1 of 2 differences between cells are significant (p < 0.05; paired t-tests, seeds as pairs")
    assert line.split() == [
        "validation_loss",
        "rbm-zeta=0.1",
        "->",
        "rbm-zeta=7",
        "+0.00123",
        "+2.5",
        "sd",
        "p",
        "0.011",
    ]
    many = comparisons([comparison(0.001, number) for number in range(13)]).splitlines()
    assert len(many) == 12
    assert many[-1] == "  and 3 more in comparisons.csv"


def test_sigmoids_do_not_hide_a_divergence(run, table, tmp_path):
    code, _, err = run("train", "rbm", "--data", table, *SMALL, "--optimizer", "sgd(1e38)", "--out", tmp_path / "a")
    assert code == 1
    assert "training diverged in epoch 1" in err
    assert "Warning" not in err


@pytest.mark.parametrize(
    "words", [[], ["train"], ["train", "rbm"], ["train", "mlp"], ["train", "resume"], ["plot"], ["study"]]
)
def test_every_help_has_an_example(run, words):
    code, out, _ = run(*words, "--help")
    assert code == 0
    assert f"sparserbm {' '.join(words)}".strip() in out


def test_settings_are_read_as_python_values():
    assert options.read_sets(("a=1", "mlp.hidden=(3, 4)", "mlp.evolution=set(zeta=0.1)")) == {
        "a": 1,
        "mlp": {"hidden": (3, 4), "evolution": "set(zeta=0.1)"},
    }
    assert options.split_strengths("0, 1e-3,linear(0, 1e-3, 50)") == (0.0, 1e-3, "linear(0, 1e-3, 50)")
    assert options.split_strengths("0, (1e-3, linear(0, 1, 5))") == (0.0, (1e-3, "linear(0, 1, 5)"))
    assert options.strength("(1e-3, 0)") == (1e-3, 0.0)


def test_config_is_json_without_nan(run, table, tmp_path):
    run("train", "rbm", "--data", table, *SMALL, "--out", tmp_path / "a")
    lines = (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in metrics.jsonl")) for text in lines]
    assert [line["epoch"] for line in found] == [0, 1, 2]


def test_a_missing_device_is_one_line(run, table, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "sparserbm.backends.why_no_gpu", lambda: 'CuPy is not installed (pip install "sparserbm[cuda12]")'
    )
    words = [
        "train",
        "rbm",
        "--data",
        table,
        "--image-shape",
        "6,6",
        *SMALL,
        "--out",
        tmp_path / "a",
        "--backend",
        "cupy",
    ]
    code, _, err = run(*words)
    assert code == 1
    assert err.count("\n") == 1
    assert 'backend="cupy" is not possible: CuPy is not installed (pip install "sparserbm[cuda12]")' in err
    assert not (tmp_path / "a").exists()


@pytest.mark.gpu_too
def test_a_run_begins_on_a_device_and_goes_on_without_it(cupy, run, table, tmp_path):
    words = [
        "train",
        "rbm",
        "--data",
        table,
        "--image-shape",
        "6,6",
        *SMALL,
        "--out",
        tmp_path / "a",
        "--backend",
        "cupy",
    ]
    code, _, err = run(*words)
    assert code == 0, err
    assert load_run(tmp_path / "a").config["model"]["backend"] == "cupy"
    code, out, err = run("train", "resume", tmp_path / "a", "--epochs", "3", "--backend", "reference", "--quiet")
    assert code == 0, err
    assert "3 epochs" in out


def test_out_of_memory_is_one_line_that_says_what_to_do(pretended, run, table, tmp_path):
    words = ["train", "rbm", "--data", table, "--image-shape", "6,6", "--hidden", "4000", "--density", "0.5", "--quiet"]
    with pretended.limit_memory(1_000_000):
        code, _, err = run(*words, "--epochs", "2", "--backend", "cupy", "--out", tmp_path / "a")
    assert code == 1
    assert err.count("\n") == 1
    assert "this run needs about" in err
    assert "smaller batch_size" in err
