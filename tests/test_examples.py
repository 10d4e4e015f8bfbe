"""Every example runs as it stands, in an empty folder, and says what its docstring promises."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
PROMISED = {
    "01_rbm_with_set.py": r"positive learning, z = \+\d+",
    "02_estimator_in_a_pipeline.py": r"test accuracy 0\.9\d+ with 2,560 connections of 12,800",
    "03_decay_that_ramps_up.py": r"first layer only +test loss 0\.\d+   z [+-]\d+",
    "04_a_drop_rule_of_your_own.py": r"weak_and_old\(min_age=150\) +loss 0\.\d+  age at death \d+",
    "05_resume.py": r"same connections: True\nsame weights, bit for bit: True",
    "07_stack.py": r"pretrained: 19,424 connections, test accuracy 0\.8\d+ with 100 labels",
    "08_noise_columns.py": r"(?s)informative: .*: denser .*\nnoise: .*: sparser",
    "06_a_small_study.py": r"(?s)rbm with L2 0.0: z .*mlp with L2 0.003: z ",
}


def test_every_example_is_listed():
    assert sorted(PROMISED) == sorted(path.name for path in EXAMPLES.glob("*.py"))


LONG = {"03_decay_that_ramps_up.py", "04_a_drop_rule_of_your_own.py", "06_a_small_study.py", "07_stack.py"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in sorted(PROMISED)]
)
def test_example(name, tmp_path):
    command = [sys.executable, "-W", "error", str(EXAMPLES / name)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(PROMISED[name], done.stdout), done.stdout
