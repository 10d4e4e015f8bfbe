"""``sparserbm sample`` and ``sparserbm transform``: files in, files out, errors in one line."""

import numpy as np
import pytest
from matplotlib.image import imread
from numpy.testing import assert_array_equal

import sparserbm as sr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    random = np.random.default_rng(0)
    np.savez(folder / "grey.npz", X=random.random((40, 24)), y=np.arange(40) % 2)
    kind = {"data": str(folder / "grey.npz"), "epochs": 1, "epsilon": 3, "backend": "reference", "zone": None}
    sr.Recipe(hidden=(7,), image_shape=(4, 6), **kind).run(folder / "rbm")
    sr.Recipe(hidden=(7,), **kind).run(folder / "plain")
    sr.Recipe(model="mlp", hidden=(5,), **kind).run(folder / "mlp")
    clamp = np.full((3, 24), np.nan)
    clamp[:, :12] = random.random((3, 12)) < 0.5
    np.save(folder / "clamp.npy", clamp)
    text = [",".join("" if np.isnan(value) else f"{value:g}" for value in row) for row in clamp[:1]]
    (folder / "clamp.csv").write_text("\n".join(text) + "\n")
    return folder


SAMPLE = ("--sweeps", "3", "--backend", "reference")


@pytest.mark.parametrize("name", ["s.npy", "s.npz", "s.csv"])
def test_samples_are_those_of_the_model(run, folder, tmp_path, name):
    path = tmp_path / name
    code, out, err = run("sample", folder / "rbm", "-n", "9", "--seed", "5", *SAMPLE, "-o", path)
    assert (code, err) == (0, "")
    assert out == f"9 samples written to {path}\n"
    expected = sr.load_model(folder / "rbm", "reference").sample(9, sweeps=3, seed=5)
    found = {".npy": np.load, ".npz": lambda p: np.load(p)["X"], ".csv": lambda p: np.loadtxt(p, delimiter=",")}
    assert_array_equal(found[path.suffix](path), expected)


@pytest.mark.parametrize(("clamp", "n"), [("clamp.npy", 3), ("clamp.csv", 5)])
def test_values_are_held(run, folder, tmp_path, clamp, n):
    count = () if n == 3 else ("-n", n)
    words = ("--clamp", folder / clamp, *count, *SAMPLE, "-o", tmp_path / "s.npy", "--quiet")
    assert run("sample", folder / "rbm", *words) == (0, "", "")
    held = np.load(folder / "clamp.npy")[:, :12]
    assert_array_equal(np.load(tmp_path / "s.npy")[:, :12], held if n == 3 else np.tile(held[:1], (n, 1)))


def test_a_sheet_of_pictures(run, folder, tmp_path):
    path = tmp_path / "s.png"
    clamp = ("--clamp", folder / "clamp.npy")
    assert run("sample", folder / "rbm", *clamp, *SAMPLE, "-o", path)[0] == 0
    sheet = imread(path)[:, :, 0]
    # three pictures of 4 x 6 in two columns, with gaps of one pixel, each pixel so many times as large
    times = sheet.shape[0] // 11
    assert sheet.shape == (11 * times, 15 * times)
    small = sheet[times // 2 :: times, times // 2 :: times]
    held = np.load(folder / "clamp.npy")[0, :12].reshape(2, 6)
    assert_array_equal(small[1:3, 1:7], held)
    assert np.ptp(small[6:10, 8:14]) == 0  # nobody stands there


@pytest.mark.parametrize(("kind", "width"), [("rbm", 7), ("mlp", 2)])
def test_what_a_model_makes_of_data(run, folder, tmp_path, kind, width):
    path = tmp_path / "t.npz"
    code, _, err = run("transform", folder / kind, "--backend", "reference", "-o", path)
    assert (code, err) == (0, "")
    with np.load(path) as found:
        assert found["X"].shape == (32, width)
        assert found["y"].shape == (32,)
    model, data = sr.load_model(folder / kind, "reference"), sr.load_dataset(str(folder / "grey.npz"))
    words = ("--data", folder / "grey.npz", "--backend", "reference", "-o", tmp_path / "t.csv", "--quiet")
    assert run("transform", folder / kind, *words) == (0, "", "")
    expected = model.transform(data.X) if kind == "rbm" else model.predict(data.X)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "t.csv", delimiter=","), expected, rtol=1e-7)
    assert run("transform", folder / kind, "--part", "test", "--backend", "reference", "-o", tmp_path / "t.npy")[0] == 0
    assert np.load(tmp_path / "t.npy").shape == (8, width)
    if kind == "mlp":
        np.testing.assert_allclose(np.load(tmp_path / "t.npy").sum(axis=1), 1, rtol=1e-5)


def test_files_are_not_overwritten_unless_asked(run, folder, tmp_path):
    path = tmp_path / "s.npy"
    path.write_bytes(b"mine")
    for command in ("sample", "transform"):
        code, out, err = run(command, folder / "rbm", "-o", path, "--backend", "reference")
        assert (code, out, err) == (1, "", f"Error: {path} exists; give another name, or --overwrite\n")
    assert path.read_bytes() == b"mine"
    assert run("sample", folder / "rbm", "-n", "2", *SAMPLE, "-o", path, "--overwrite")[0] == 0
    assert np.load(path).shape == (2, 24)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sample", "nowhere", "-o", "{out}/s.npy"], "nowhere is no run folder"),
        (["sample", "{}/mlp", "-o", "{out}/s.npy"], "holds an MLP, which has no distribution"),
        (["sample", "{}/rbm", "-o", "{out}/s.txt"], "cannot write s.txt; use a name that ends in one of .npz, .npy"),
        (["sample", "{}/rbm", "-o", "{out}/nowhere/s.npy"], "there is no folder"),
        (["sample", "{}/plain", "-o", "{out}/s.png"], "does not know the shape of its images"),
        (["sample", "{}/rbm", "--best", "--clamp", "no.npy", "-o", "{out}/s.npy"], "there is no file no.npy"),
        (["sample", "{}/rbm", "--clamp", "{}/rbm/config.json", "-o", "{out}/s.npy"], "config.json"),
        (["sample", "{}/rbm", "--clamp", "{}/grey.npz", "-n", "3", "-o", "{out}/s.npy"], "has 40 rows, and -n asks"),
        (["sample", "{}/rbm", "-n", "0", "-o", "{out}/s.npy"], "0 is not in the range"),
        (["transform", "{}/rbm", "--data", "digits", "-o", "{out}/t.npy"], "digits has 784 features, but the model"),
        (["transform", "{}/rbm", "--data", "{}/grey.npz", "--part", "test", "-o", "{out}/t.npy"], "has no test set"),
        (["transform", "{}/rbm", "-o", "{out}/t.png"], "cannot write t.png"),
    ],
)
def test_errors_are_one_line(run, folder, tmp_path, words, said):
    code, out, err = run(*(word.format(folder, out=tmp_path) for word in words))
    assert code != 0
    assert out == ""
    line = err.splitlines()[-1]
    assert line.startswith("Error: ")
    assert said in line
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())
