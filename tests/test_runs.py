"""The run folder: what is written is what is read, and nothing that was there before is lost by accident."""

import json
import os

import numpy as np
import pytest

from sparserbm.runs import LayerSnapshot, Run, RunWriter, Snapshot, load_run, write_atomically

CONFIG = {"data": {"n_features": 3, "image_shape": None}, "zone": {"rule": "mask", "inputs": [0, 2]}}


def layer(whole=True):
    degrees = np.array([1, 0, 2], np.int32), np.array([2, 1], np.int32)
    if not whole:
        return LayerSnapshot(*degrees)
    indptr, pre = np.array([0, 2, 3]), np.array([0, 2, 2], np.int32)
    return LayerSnapshot(*degrees, indptr, pre, np.array([0.5, 0.0, -1.0]), np.array([0, 7, 0], np.int32))


def written(folder):
    writer = RunWriter(CONFIG, folder)
    for epoch in range(3):
        writer.log({"epoch": epoch, "loss": None if epoch == 0 else 1.0 / epoch, "verdict": "up"})
        writer.snapshot(Snapshot(epoch, (layer(whole=epoch == 1), layer(whole=False))))
    return writer


def test_a_run_is_read_as_it_was_written(tmp_path):
    writer = written(tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert run.name == "run"
    assert run.config == CONFIG | {"format": 1}
    assert run.metrics == writer.run.metrics
    assert sorted(run.snapshots) == [0, 1, 2]
    stored = run.snapshots[1].layers[0]
    for name, array in vars(layer()).items():
        assert np.array_equal(getattr(stored, name), array)
        assert getattr(stored, name).dtype == array.dtype
    assert not run.snapshots[2].layers[0].has_pattern
    epoch, pattern = run.last_pattern()
    assert (epoch, pattern.pre.tolist()) == (1, [0, 2, 2])
    with pytest.raises(ValueError, match="no snapshot with whole patterns"):
        run.last_pattern(1)
    with pytest.raises(KeyError):
        run.snapshots[9]


def test_a_run_in_memory_has_the_same_views(tmp_path):
    for run in (written(None).run, load_run(written(tmp_path / "a").folder)):
        epochs, degrees = run.degrees()
        assert epochs.tolist() == [0, 1, 2]
        assert degrees.tolist() == [[1, 0, 2]] * 3
        assert run.degrees(side="post")[1].shape == (3, 2)
        assert run.zone_mask.tolist() == [True, False, True]
        assert np.isnan(run.history["loss"][0])
        assert run.history["loss"].tolist()[1:] == [1.0, 0.5]
        assert run.history["verdict"].tolist() == ["up"] * 3


def test_numbers_that_json_lacks_are_left_out(tmp_path):
    writer = RunWriter(CONFIG, tmp_path / "run")
    writer.log({"epoch": 0, "loss": float("nan"), "gap": float("inf"), "seen": np.float64(0.1), "none": None})
    assert load_run(tmp_path / "run").metrics == [{"epoch": 0, "seen": 0.1}]


def test_a_run_without_a_zone_has_no_mask():
    assert Run({"zone": None}).zone_mask is None
    assert Run({}).name == "run"
    assert Run({"name": "mine"}).name == "mine"


# -- folders that exist ----------------------------------------------------------------------------------------------


def test_an_earlier_run_is_lost_only_if_asked(tmp_path):
    folder = written(tmp_path / "run").folder
    (folder / "notes.txt").write_text("mine")
    (folder / "checkpoint.npz").write_bytes(b"old")
    with pytest.raises(FileExistsError, match=r"exists; give another name, pass overwrite=True \(--overwrite\), or"):
        RunWriter(CONFIG, folder)
    assert len(load_run(folder).metrics) == 3
    RunWriter(CONFIG, folder, overwrite=True)
    assert load_run(folder).metrics == []
    assert list(load_run(folder).snapshots) == []
    assert not (folder / "checkpoint.npz").exists()
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_folder_without_a_run_is_never_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="is not empty and holds no run"):
            RunWriter(CONFIG, tmp_path, overwrite=overwrite)
    with pytest.raises(FileExistsError, match="is a file"):
        RunWriter(CONFIG, tmp_path / "thesis.tex", overwrite=True)
    (tmp_path / "empty").mkdir()
    RunWriter(CONFIG, tmp_path / "empty" / "deep" / "run")
    RunWriter(CONFIG, tmp_path / "empty" / "deep" / "other")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_run_goes_on_after_an_epoch(tmp_path):
    folder = written(tmp_path / "run").folder
    writer = RunWriter.reopen(folder, 1)
    writer.log({"epoch": 2, "loss": 9.0})
    run = load_run(folder)
    assert run.history["epoch"].tolist() == [0, 1, 2]
    assert run.metrics[-1]["loss"] == 9.0
    assert sorted(run.snapshots) == [0, 1]


# -- damage ----------------------------------------------------------------------------------------------------------


def test_half_a_last_line_is_lost_and_no_other(tmp_path):
    folder = written(tmp_path / "run").folder
    path = folder / "metrics.jsonl"
    path.write_text(path.read_text()[:-9])
    assert len(load_run(folder).metrics) == 2
    path.write_text('{"epoch": 0}\n{"epo\n{"epoch": 2}\n')
    with pytest.raises(ValueError, match=r"metrics.jsonl, line 2 is damaged; restore the file or train again"):
        load_run(folder)
    path.unlink()
    assert load_run(folder).metrics == []


@pytest.mark.parametrize("damage", [lambda raw: raw[: len(raw) // 2], lambda raw: b"no zip", lambda raw: b""])
def test_a_damaged_snapshot_says_so(tmp_path, damage):
    folder = written(tmp_path / "run").folder
    path = folder / "topology" / "000001.npz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="000001.npz is damaged"):
        load_run(folder).snapshots[1]


def test_configs_that_cannot_be_read(tmp_path):
    folder = written(tmp_path / "run").folder
    config = folder / "config.json"
    config.write_text(json.dumps({"format": 99, "versions": {"sparserbm": "7.0"}}))
    with pytest.raises(ValueError, match=r"run format 99; this version reads format 1: .*wrote it \(7.0\)"):
        load_run(folder)
    config.write_text('{"format": ')
    with pytest.raises(ValueError, match="config.json is damaged"):
        load_run(folder)
    config.unlink()
    with pytest.raises(ValueError, match=r"is no run folder \(no config.json\)"):
        load_run(folder)


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(OSError("power cut")))
    with pytest.raises(OSError, match="power cut"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    monkeypatch.undo()
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_zone_outside_the_inputs_says_so(tmp_path):
    folder = written(tmp_path / "run").folder
    config = json.loads((folder / "config.json").read_text())
    config["zone"] = {"rule": "columns((0, 99999))", "inputs": [0, 99999]}
    config.setdefault("data", {})["n_features"] = 4
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="names the inputs 0 to 99999, but there are 0 to 3"):
        _ = load_run(folder).zone_mask
