"""What all tests share: the backends, and hypothesis without chance."""

import importlib.util

import pytest
from hypothesis import settings

# The first call of a kernel compiles it, so no deadline; the same examples in every run.
settings.register_profile("sparserbm", derandomize=True, deadline=None, max_examples=50, database=None)
settings.load_profile("sparserbm")

HAS_NUMBA = importlib.util.find_spec("numba") is not None


@pytest.fixture(
    scope="session",
    params=[
        "reference",
        pytest.param("numpy", marks=pytest.mark.skipif(not HAS_NUMBA, reason="numba is not installed")),
    ],
)
def backend(request):
    """The name of every backend in turn."""
    return request.param
