"""Checkpoints: everything comes back, and nothing that is damaged is ever used."""

import json

import numpy as np
import pytest
from problems import assert_same_bytes, host, states, tiny_mlp, tiny_rbm

from sparserbm import SET, Bernoulli, Gaussian, ReLU, Softmax, load_model
from sparserbm.training.checkpoint import load_checkpoint, save_checkpoint


def stored(tmp_path, model=None):
    """A small checkpoint with a connection of weight 0, optimizer slots and chains."""
    model = model or tiny_mlp("reference", 4, ReLU(3), Softmax(2))
    model.connections[0].weight[1] = 0.0
    model.connections[0].slots["velocity"] = np.arange(float(len(model.connections[0])))
    model.biases[0].ensure("first_moment")[0] = 0.25
    model.step, model.epoch = 70, 7
    path = tmp_path / "checkpoint.npz"
    save_checkpoint(path, model, {"start": 3}, {"chains": np.array([[0.0, 1.0]])})
    return path, model


def contents(path):
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def rewritten(path, **changes):
    """Arrays replaced (or, with None, removed) by somebody who did not care for the checksums."""
    arrays = contents(path) | {name.replace("__", "/"): array for name, array in changes.items()}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_everything_comes_back(backend, tmp_path, dtype):
    path, model = stored(tmp_path, tiny_mlp(backend, 4, ReLU(3), Softmax(2), dtype=dtype, seed=5))
    found, extra, state = load_checkpoint(path, backend)
    assert_same_bytes(found, model)
    assert extra == {"start": 3}
    assert state["chains"].tolist() == [[0.0, 1.0]]
    assert found.units == model.units
    assert found.seed == 5
    assert found.connections[0].weights_rule == model.connections[0].weights_rule
    assert np.array_equal(found.predict(np.eye(4)), model.predict(np.eye(4)))
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint.npz"]


def test_an_rbm_comes_back(backend, tmp_path):
    for units in (None, (Gaussian(4, sigma=0.5), Bernoulli(3))):
        rbm = tiny_rbm(backend, density=0.5, units=units)
        save_checkpoint(tmp_path / "a.npz", rbm, {}, {})
        found = load_model(tmp_path / "a.npz", backend)
        assert found.units == rbm.units
        assert np.array_equal(found.free_energy(states(4)), rbm.free_energy(states(4)))
        assert np.array_equal(found.sample(5, sweeps=3), rbm.sample(5, sweeps=3))


def test_numbers_of_units_may_come_from_numpy(tmp_path):
    rbm = tiny_rbm("reference", units=(Bernoulli(np.int64(4)), Gaussian(np.int32(3), sigma=np.float64(0.5))))
    save_checkpoint(tmp_path / "a.npz", rbm, {}, {})
    assert load_model(tmp_path / "a.npz", "reference").units == (Bernoulli(4), Gaussian(3, sigma=0.5))


def test_nothing_is_pickled(tmp_path):
    path, _ = stored(tmp_path)
    assert all(array.dtype != object for array in contents(path).values())
    rewritten(path, layer0__pre=np.array([None, "code"], dtype=object))
    with pytest.raises(ValueError, match="damaged"):
        load_model(path)


# -- damage ----------------------------------------------------------------------------------------------------------


def test_every_truncation_is_found(tmp_path):
    path, _ = stored(tmp_path)
    raw = path.read_bytes()
    for length in [0, 1, *range(10, len(raw) - 1, 211), len(raw) - 1]:
        path.write_bytes(raw[:length])
        with pytest.raises(
            ValueError, match=r"checkpoint.npz is no checkpoint or is damaged .*; restore it from a copy"
        ):
            load_model(path)


@pytest.mark.parametrize("mask", [0x01, 0xFF])
def test_a_flipped_byte_is_found_or_harmless(tmp_path, mask):
    """Time stamps of the archive may change; nothing that is loaded may."""
    path, model = stored(tmp_path)
    raw = path.read_bytes()
    found = 0
    for place in range(0, len(raw), 13):
        damaged = bytearray(raw)
        damaged[place] ^= mask
        path.write_bytes(damaged)
        try:
            loaded = load_model(path, "reference")
        except ValueError:
            found += 1
        else:
            assert_same_bytes(loaded, model)
    assert found > 0.6 * len(raw) / 13


def test_a_changed_array_is_found(tmp_path):
    path, model = stored(tmp_path)
    weight = model.connections[0].weight
    for changes, shown in (
        ({"layer0__slots__weight": weight * 1.0000001}, "layer0/slots/weight"),
        ({"layer0__pre": np.roll(model.connections[0].pattern.pre, 1)}, "layer0/pre"),
        ({"biases1__bias": None}, "biases1/bias"),
        ({"trainer__more": np.zeros(3)}, "its array list"),
    ):
        stored(tmp_path, model)
        with pytest.raises(ValueError, match=f"is damaged: checksum of {shown} does not match"):
            load_model(rewritten(path, **changes))


def test_a_pattern_that_cannot_be_never_reaches_a_kernel(tmp_path):
    """Checksums in order, but a connection from a unit that does not exist."""
    model = tiny_rbm("reference", density=0.5)
    model.matrix.pattern.pre = np.array([0, 1, 2, 0, 1, 99], np.int32)
    save_checkpoint(tmp_path / "a.npz", model, {}, {})
    with pytest.raises(ValueError, match="is damaged: a connection starts at a unit outside 0 to 3"):
        load_model(tmp_path / "a.npz")


def test_other_files_and_other_formats(tmp_path):
    path, _ = stored(tmp_path)
    manifest = json.loads(contents(path)["manifest"].tobytes())
    newer = np.frombuffer(json.dumps(manifest | {"format": 2}).encode(), dtype=np.uint8)
    with pytest.raises(ValueError, match="has checkpoint format 2; this version reads format 1"):
        load_model(rewritten(path, manifest=newer))
    np.savez(path, data=np.zeros(3))
    with pytest.raises(ValueError, match="is no checkpoint"):
        load_model(path)
    path.write_text("no archive")
    with pytest.raises(ValueError, match="is no checkpoint"):
        load_model(path)
    for missing in (tmp_path / "other.npz", tmp_path):
        with pytest.raises(ValueError, match="there is no checkpoint"):
            load_model(missing, which="best")


def test_a_crash_while_saving_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path, model = stored(tmp_path)
    monkeypatch.setattr("os.replace", lambda *paths: (_ for _ in ()).throw(OSError("disk full")))
    other = tiny_mlp("reference", 4, ReLU(3), Softmax(2), seed=9)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(path, other, {}, {})
    assert_same_bytes(load_model(path, "reference"), model)


def test_a_loaded_model_evolves_as_the_saved_one_would(backend, tmp_path):
    """Newborns need the weight scale of their layer, and no wiring rule."""
    path, model = stored(tmp_path, tiny_mlp(backend, 6, ReLU(5), Softmax(2), seed=2))
    found = load_model(path, backend)
    assert found.describe() == model.describe()
    for one in (model, found):
        SET(0.4).evolve(one, None, one.step)
    assert 70 in host(found.connections[0].born)
    assert_same_bytes(found, model)
