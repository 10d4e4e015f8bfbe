"""The text of kernels.cu: NVRTC, which compiles it on a user's machine, takes it for the devices in use."""

import ctypes
import ctypes.util
from importlib import metadata
from pathlib import Path

import pytest

import sparserbm.backends

SOURCE = Path(sparserbm.backends.__file__).with_name("kernels.cu")


def nvrtc():
    """NVIDIA's runtime compiler, which needs no device: from its wheel or from a CUDA toolkit; None where there is none."""
    for package in ("nvidia-cuda-nvrtc-cu12", "nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu13"):
        try:
            files = metadata.files(package) or []
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name.startswith("libnvrtc.so"):
                return ctypes.CDLL(str(file.locate()))
    found = ctypes.util.find_library("nvrtc")
    return ctypes.CDLL(found) if found else None


def compiled(library, options):
    """PTX of the kernels, or an AssertionError with what the compiler says."""
    program = ctypes.c_void_p()
    text = SOURCE.read_bytes()
    assert library.nvrtcCreateProgram(ctypes.byref(program), text, b"kernels.cu", 0, None, None) == 0
    words = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    status = library.nvrtcCompileProgram(program, len(options), words)
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    assert status == 0, log.value.decode()
    library.nvrtcGetPTXSize(program, ctypes.byref(size))
    ptx = ctypes.create_string_buffer(size.value)
    library.nvrtcGetPTX(program, ptx)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    return log.value.decode(), ptx.value.decode()


@pytest.mark.slow
@pytest.mark.parametrize("device", ["sm_80", "sm_90"])
@pytest.mark.parametrize("real", ["float", "double"])
def test_nvrtc_compiles_the_kernels(device, real):
    library = nvrtc()
    if library is None:
        pytest.skip("NVRTC is not installed (pip install nvidia-cuda-nvrtc-cu12)")
    options = [f"--gpu-architecture=compute_{device[3:]}", "--std=c++17", "--fmad=false", f"-DREAL={real}"]
    log, ptx = compiled(library, options)
    assert "warning" not in log, log
    for kernel in ("product", "sampled_product", "adam", "merge4", "tick"):
        assert f".entry {kernel}(" in ptx
    assert "atom." not in ptx  # no atomics: runs must not differ
    assert ("fma.rn.f32" if real == "float" else "fma.rn.f64") in ptx
    assert ("ld.global.nc.v4.f32" in ptx) == (real == "float")  # connections are read 16 bytes at a time
