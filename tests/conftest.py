"""What all tests share: the backends, and hypothesis without chance.

The cupy backend runs on a GPU under ``-m gpu``; without that, a stand-in for CuPy runs its kernels on the CPU.
"""

import gc
import importlib.util
import os

import cupy_stand_in
import pytest
from hypothesis import settings

from sparserbm import backends

# The first call of a kernel compiles it, so no deadline; the same examples in every run.
settings.register_profile("sparserbm", derandomize=True, deadline=None, max_examples=50, database=None)
settings.load_profile("sparserbm")

HAS_NUMBA = importlib.util.find_spec("numba") is not None
os.environ[backends.VARIABLE] = "numpy" if HAS_NUMBA else "reference"  # "auto" means the same on every machine


@pytest.fixture(scope="session", params=["reference", "numpy", "cupy"])
def backend(request):
    """The name of every backend in turn."""
    return request.param


@pytest.fixture
def cupy(request):
    """The module that the backend works with: CuPy, or its stand-in."""
    if not request.config.on_gpu and not cupy_stand_in.compiler():
        pytest.skip("there is no C++ compiler")
    reason = backends.why_no_gpu()
    if reason:
        pytest.skip(reason)
    import cupy

    return cupy


@pytest.fixture
def pretended(cupy, request):
    """The stand-in for CuPy, with its counters and limits."""
    if request.config.on_gpu:
        pytest.skip("needs the stand-in for CuPy, not a GPU")
    gc.collect()  # models of earlier tests may still hold its memory
    cupy_stand_in.forget()
    return cupy_stand_in


def pytest_configure(config):
    config.on_gpu = "gpu" in config.option.markexpr.replace("not gpu", "")
    if not config.on_gpu and cupy_stand_in.compiler():
        cupy_stand_in.install()
        backends.why_no_gpu.cache_clear()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    lacking = {
        "numpy": None if HAS_NUMBA else "numba is not installed",
        "cupy": backends.why_no_gpu() if config.on_gpu or cupy_stand_in.compiler() else "there is no C++ compiler",
    }
    for item in items:
        name = getattr(item, "callspec", None) and item.callspec.params.get("backend")
        if config.on_gpu and (name == "cupy" or item.get_closest_marker("gpu_too")):
            item.add_marker("gpu")
        # One backend draws by default: all draw the same numbers, which tests of their own compare bit by bit.
        if item.get_closest_marker("draws") and name in ("cupy", "reference")[: 1 + HAS_NUMBA] and not config.on_gpu:
            item.add_marker("slow")
        if item.get_closest_marker("gpu") and lacking["cupy"]:
            name = "cupy"
        if lacking.get(name):
            item.add_marker(pytest.mark.skip(reason=lacking[name]))
