"""What every result file says about where it was measured."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sparserbm.training.config import versions

RESULTS = Path(__file__).parent / "results"
PEERS = ("torch", "cupy", "threadpoolctl", "matplotlib")


def machine() -> dict[str, Any]:
    """Processor, cores, versions and commit."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "versions": versions() | {name: sys.modules[name].__version__ for name in PEERS if name in sys.modules},
        "commit": commit(),
    }


def commit() -> str:
    """The checked-out commit, with a mark where files have changed since."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "../sparserbm")
    return (git("rev-parse", "HEAD") or "unknown") + (" with changes" if changed else "")


def write(name: str, content: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Write a result file and return its path. What is not a number becomes null, which JSON has, as NaN it has not."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    text = json.dumps(_finite(content), indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
