"""The GPU benchmarks run to their end, on the stand-in for CuPy too, where their figures mean nothing."""

import argparse
import importlib
import importlib.util
import json
import math
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
HAS_TORCH = importlib.util.find_spec("torch") is not None
LISTS = {"gpu_products": "rows", "gpu_step": "rows", "gpu_break_even": "cases", "gpu_epoch": "cases"}

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")]


@pytest.fixture
def script(cupy, monkeypatch):
    """Imports a script; what belongs to benchmarks/ is forgotten afterwards."""
    pytest.importorskip("threadpoolctl")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "nowhere").parent == BENCHMARKS:
            del sys.modules[name]


@pytest.fixture
def run(script, monkeypatch):
    """Runs a script with these words on its command line."""

    def call(name, *words):
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        script(name).main()

    return call


def numbers(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, float | int) else []


def result(folder, name):
    content = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    found = numbers(content)
    assert found
    assert all(math.isfinite(number) for number in found)
    return content


@pytest.mark.parametrize("name", LISTS)
def test_every_script_runs_to_its_end(run, tmp_path, name):
    run(name, "--tiny", "--out", tmp_path)
    content = result(tmp_path, name)
    assert content["complete"]
    assert content["size"] == "tiny"
    assert {"name", "memory_bytes", "cuda_runtime", "cuda_of_the_driver"} <= content["device"].keys()
    assert content.get("left_out", {}) == {}  # every peer gave what NumPy gives
    for found in content[LISTS[name]]:
        assert len(numbers(found)) > 5
    if name == "gpu_products":
        peers = {who for row in content["rows"] for who in row["over_ours"] or {}}
        assert peers == ({"PyTorch", "PyTorch CSR", "PyTorch dense", "PyTorch dense, TF32"} if HAS_TORCH else set())
    if name == "gpu_step":
        assert all(row["compared_with_numpy"] for row in content["rows"])
        assert all(row["kernels_a_step"] >= 10 for row in content["rows"])
    if name == "gpu_break_even":
        assert (tmp_path / "gpu_break_even.png").exists() == HAS_TORCH
    if name == "gpu_epoch":
        assert content["data"].startswith("random")


@pytest.mark.parametrize("name", ["gpu_products", "gpu_step", "gpu_break_even"])
def test_without_pytorch_there_are_no_peers(script, run, tmp_path, monkeypatch, name):
    monkeypatch.setattr(script("gpu"), "torch", None)
    run(name, "--tiny", "--out", tmp_path)
    content = result(tmp_path, name)
    assert content["peers"] == {"device": None, "what": "none (PyTorch is not installed)"}
    assert not any("PyTorch" in key for row in content[LISTS[name]] for key in row.get("over_ours") or {})


def test_a_wrong_product_is_not_timed(script, run, tmp_path, monkeypatch):
    from sparserbm.backends.cupy_backend import CupyBackend

    right = CupyBackend.spmm
    monkeypatch.setattr(CupyBackend, "spmm", lambda *given, **more: right(*given, **more) + 0.01)
    with pytest.raises(script("gpu").Disagreement, match="gives another spmm"):
        run("gpu_products", "--tiny", "--out", tmp_path)


def test_tiny_writes_no_results(script):
    options = argparse.Namespace(tiny=True, out=None)
    assert script("gpu").save("gpu_products", options, {}) is None


def test_without_a_device_a_script_says_so(script, run, monkeypatch):
    monkeypatch.setattr(script("gpu"), "why_no_gpu", lambda: "there is none")
    with pytest.raises(SystemExit, match="needs a GPU: there is none"):
        run("gpu_products", "--tiny")


def test_all_goes_on_after_a_failure_and_says_so(script, run, tmp_path, monkeypatch, capsys):
    words_of = {}

    def pretend(name, words, limit):
        words_of[name] = words
        entry = {"what": f"something of {name}", "reached": 0.6, "target": 0.5, "met": "yes"}
        (tmp_path / f"{name}.json").write_text(json.dumps({"reached": [entry]}))
        return "exit code 1" if name == "gpu_step" else None

    monkeypatch.setattr(script("gpu_all"), "run_script", pretend)
    with pytest.raises(SystemExit) as ended:
        run("gpu_all", "--tiny", "--out", tmp_path)
    assert ended.value.code == 1
    assert words_of == {name: ["--tiny", "--out", str(tmp_path)] for name in LISTS}
    lines = capsys.readouterr().out.splitlines()
    assert "| gpu_epoch | something of gpu_epoch | 0.6 | 0.5 | yes |" in lines
    assert "| gpu_step | FAILED | exit code 1 | - | no |" in lines
    run("gpu_all", "--tiny", "--out", tmp_path, "--only", "gpu_epoch")
    for size, limits in script("gpu_all").LIMITS.items():
        assert sum(limits.values()) <= {"full": 25, "quick": 8}[size] * 60


def test_the_report_of_the_tests_is_counted(script, tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite tests="5" failures="1" errors="1" skipped="1"><testcase classname="a" name="b">'
        '<failure/></testcase><testcase classname="a" name="c"><error/></testcase></testsuite></testsuites>'
    )
    found = script("gpu_all").summary(report)
    assert found == {"passed": 2, "failed": 2, "skipped": 1, "failed_tests": ["a::b", "a::c"]}
