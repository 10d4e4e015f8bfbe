"""What is installed, and what importing it costs."""

import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command, **options):
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True, **options)


def test_the_wheel_holds_the_two_packages_and_nothing_else(tmp_path):
    run("-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT))
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert top == {"sparserbm", "sparserbm_cli"}
    for needed in (
        "sparserbm/py.typed",
        "sparserbm/plotting/report.html",
        "sparserbm/backends/kernels.cu",
        "sparserbm_cli/main.py",
    ):
        assert needed in names
    entry = next(name for name in names if name.endswith("entry_points.txt"))
    assert "sparserbm = sparserbm_cli.main:main" in zipfile.ZipFile(wheel).read(entry).decode()


def loaded_by(statement):
    """Third-party packages in memory after a statement."""
    code = f"{statement}\nimport json, sys; print(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    plain = set(json.loads(run("-c", "import json, sys; print(json.dumps(sorted(sys.modules)))").stdout))
    found = set(json.loads(run("-c", code).stdout.splitlines()[-1]))
    return {name for name in found - plain if name not in sys.stdlib_module_names and not name.startswith("_")}


def test_importing_the_library_loads_nothing_but_numpy():
    assert loaded_by("import sparserbm") <= {"sparserbm", "numpy"}


def test_help_does_not_load_the_library():
    statement = "import sys; sys.argv = ['sparserbm', '--help']\nfrom sparserbm_cli.main import main; main()"
    assert loaded_by(statement) <= {"sparserbm", "sparserbm_cli", "click", "numpy"}


def test_public_names_exist():
    import sparserbm as sr

    for name in sr.__all__:
        assert getattr(sr, name) is not None
    assert set(sr.__all__) <= set(dir(sr))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        sr.nothing  # noqa: B018


@pytest.mark.slow  # seconds depend on the machine: fastest of five, on a quiet one
@pytest.mark.parametrize(
    ("arguments", "limit"),
    [(["-c", "import sparserbm"], 0.3), (["-c", "from sparserbm_cli.main import main; main()", "--help"], 0.6)],
)
def test_import_cost(arguments, limit):
    def seconds(command):
        start = time.perf_counter()
        run(*command)
        return time.perf_counter() - start

    assert min(seconds(arguments) for _ in range(5)) < limit
