"""Everything about a GPU in one go: the tests that need one, then every GPU benchmark, then what was reached.

    python benchmarks/gpu_all.py                 # at most 25 minutes
    python benchmarks/gpu_all.py --quick         # at most 8 minutes: smaller layers, fewer rounds

Each part runs in a process of its own with a limit of time, and the next one begins whatever became of it; a script
that is stopped leaves what it had measured. Tests write results/gpu_tests.txt and gpu_tests.json. The exit code is 1 if
a test or a script failed; an aim that was not reached is no failure.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import gpu
from machine import RESULTS, machine
from timing import markdown, say

HERE = Path(__file__).parent
# Seconds that each part may take.
LIMITS = {
    "full": {"tests": 360, "gpu_products": 420, "gpu_step": 420, "gpu_break_even": 150, "gpu_epoch": 150},
    "quick": {"tests": 150, "gpu_products": 100, "gpu_step": 130, "gpu_break_even": 50, "gpu_epoch": 50},
}
PARTS = tuple(LIMITS["full"])
SUMMED = ("passed", "failed", "skipped", "seconds")


def main() -> None:
    arguments = gpu.parser(__doc__)
    arguments.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="only these parts")
    options = arguments.parse_args()
    options.words = passed_on(options)
    gpu.begin(options)
    folder = options.out or RESULTS
    parts = [part for part in options.only if not (options.tiny and part == "tests")]
    failures = {part: problem for part in parts if (problem := failure_of(part, folder, options)) is not None}
    print("\n".join(table(parts, folder, failures)))
    if failures:
        raise SystemExit(1)


def passed_on(options: argparse.Namespace) -> list[str]:
    """The options that the scripts get too."""
    words = [f"--{size}" for size in ("quick", "tiny") if getattr(options, size)]
    words += ["--rounds", str(options.rounds)] if options.rounds else []
    return words + (["--out", str(options.out)] if options.out else [])


def failure_of(part: str, folder: Path, options: argparse.Namespace) -> str | None:
    """Run a part; what went wrong, or None."""
    say(f"== {part}")
    limit = LIMITS["quick" if options.quick or options.tiny else "full"][part]
    if part == "tests":
        return run_tests(folder, limit)
    begin = time.perf_counter()
    problem = run_script(part, options.words, limit)
    say(f"{part}: {time.perf_counter() - begin:.0f} s" + ("" if problem is None else f", {problem}"))
    return problem


def run_script(name: str, words: list[str], limit: int) -> str | None:
    """Run a script with its output passed on."""
    try:
        words = [sys.executable, str(HERE / f"{name}.py"), *words]
        done = subprocess.run(words, env=environment(), timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return f"stopped after {limit} s"
    return None if done.returncode == 0 else f"exit code {done.returncode}"


def environment() -> dict[str, str]:
    """That of this process; a checkout need not be installed."""
    paths = [str(HERE.parent), str(HERE.parent / "cli"), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def run_tests(folder: Path, limit: int) -> str | None:
    """The tests that need a GPU; their output and a summary of it become result files."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, open(folder / "gpu_tests.txt", "w", encoding="utf-8") as output:
        report = Path(scratch, "report.xml")
        words = [sys.executable, "-m", "pytest", "-m", "gpu", "-rs", f"--junitxml={report}"]
        begin = time.perf_counter()
        try:
            streams = {"stdout": output, "stderr": subprocess.STDOUT}
            done = subprocess.run(words, cwd=HERE.parent, env=environment(), timeout=limit, check=False, **streams)
            problem = None if done.returncode == 0 else f"exit code {done.returncode}"
        except subprocess.TimeoutExpired:
            problem = f"stopped after {limit} s"
        found = {"seconds": round(time.perf_counter() - begin, 1)} | (summary(report) if report.exists() else {})
    if problem is None and not found.get("passed"):
        problem = "no test ran"
    content = {"machine": machine(), "device": gpu.device(), "problem": problem, **found}
    (folder / "gpu_tests.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    last = (folder / "gpu_tests.txt").read_text(encoding="utf-8").splitlines()[-1:]
    say(f"tests: {' '.join(last)}" + ("" if problem is None else f" ({problem})"))
    return problem


def summary(report: Path) -> dict[str, Any]:
    """Counts of a JUnit report, and the names of what failed."""
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    total = {key: sum(int(suite.get(key, 0)) for suite in suites) for key in ("tests", "failures", "errors", "skipped")}
    failed = total["failures"] + total["errors"]
    names = [
        f"{case.get('classname')}::{case.get('name')}"
        for suite in suites
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    passed = total["tests"] - failed - total["skipped"]
    return {"passed": passed, "failed": failed, "skipped": total["skipped"], "failed_tests": names}


def table(parts: list[str], folder: Path, failures: dict[str, str]) -> list[str]:
    """What was reached, part by part, against the aims where there are some."""
    rows: list[list[Any]] = []
    for part in parts:
        path = folder / f"gpu_{part.removeprefix('gpu_')}.json"
        if not path.is_file() or (part in failures and part != "tests"):
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        if part == "tests":
            rows += [[part, name, content.get(name, "-"), "0" if name == "failed" else "-", "-"] for name in SUMMED]
        for entry in content.get("reached", []):
            shown = ["-" if entry[key] is None else entry[key] for key in ("reached", "target")]
            rows.append([part, entry["what"], *shown, entry["met"]])
    rows += [[part, "FAILED", problem, "-", "no"] for part, problem in failures.items()]
    return markdown(["part", "what", "reached", "aim", "met"], rows)


if __name__ == "__main__":
    main()
