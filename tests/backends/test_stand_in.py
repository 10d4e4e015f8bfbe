"""The stand-in for CuPy and the CUDA kernels that run on the CPU: right where right, and strict where a GPU is."""

import gc
import importlib
import os
import subprocess
import sys

import cupy_stand_in as stand_in
import numpy as np
import pytest

needs_compiler = pytest.mark.skipif(stand_in.compiler() is None, reason="no C++ compiler (CXX, g++, c++, clang++)")

KERNELS = r"""
// extern "C" __global__ void in_a_comment(int* a) {}
#define KERNEL extern "C" __global__ void
typedef REAL real;

struct __align__(16) Pair { long long index; double value; };

template <class T> __device__ __forceinline__ T warp_sum(T value, int width = 32) {
    #pragma unroll
    for (int lanes = width / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xffffffffu, value, lanes, width);
    return value;
}

template <int N> __device__ real block_sum(real value) {
    __shared__ real parts[N];
    value = warp_sum(value);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    if (threadIdx.x < 32) value = warp_sum(threadIdx.x < blockDim.x / 32 ? parts[threadIdx.x] : real(0));
    return value;
}

KERNEL add(const float* __restrict__ a, const float* b, float* c, long long n, double factor) {
    long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i < n) c[i] = __ldg(a + i) + float(factor) * b[i];
}

extern "C" __global__ void __launch_bounds__(256) totals(const real* x, real* out, long long n) {
    real value = 0;
    for (long long i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) value += x[i];
    value = block_sum<32>(value);
    if (threadIdx.x == 0) out[blockIdx.x] = value;
}

KERNEL cumulate(float* x) {  // dynamic shared memory, two waits in every round
    extern __shared__ __align__(16) float row[];
    const int t = threadIdx.x;
    row[t] = x[t];
    for (unsigned by = 1; by < blockDim.x; by *= 2) {
        __syncthreads();
        float before = t >= by ? row[t - by] : 0.f;
        __syncthreads();
        row[t] += before;
    }
    x[t] = row[t];
}

KERNEL numbers(int* out) {  // a block of three dimensions, in a grid of three
    int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    int size = blockDim.x * blockDim.y * blockDim.z;
    out[block * size + thread] = __shfl_sync(0xffffffffu, thread, 0) + 1000 * block;
}

KERNEL shuffles(int* out) {  // 32 threads; the results of every kind of shuffle in a row each
    int lane = threadIdx.x;
    const unsigned all = 0xffffffffu;
    out[lane] = __shfl_sync(all, lane, 5);
    out[32 + lane] = __shfl_sync(all, lane, 5, 4);
    out[64 + lane] = __shfl_xor_sync(all, lane, 3);
    out[96 + lane] = __shfl_xor_sync(all, lane, 4, 4);
    out[128 + lane] = __shfl_down_sync(all, lane, 3);
    out[160 + lane] = __shfl_down_sync(all, lane, 3, 8);
    out[192 + lane] = __shfl_up_sync(all, lane, 3, 8);
    out[224 + lane] = int(__shfl_xor_sync(all, lane + 0.25, 1) * 4);
}

KERNEL halves(float* out) {  // the halves of a warp go their own ways, with masks of their own and another number of shuffles
    int lane = threadIdx.x % 32;
    float value = float(lane);
    if (lane < 16) {
        for (int lanes = 8; lanes; lanes /= 2) value += __shfl_xor_sync(0x0000ffffu, value, lanes);
    } else {
        value += __shfl_xor_sync(0xffff0000u, value, 1);
        __syncwarp(0xffff0000u);
    }
    if (threadIdx.x >= 40) return;  // the others no longer wait for these
    __syncthreads();
    value += __shfl_xor_sync(0x000000ffu << (lane / 8 * 8), 100.f, 1);
    out[threadIdx.x] = value;
}

KERNEL fresh(unsigned* out) {  // what shared memory holds before anybody writes
    __shared__ unsigned fixed[1];
    extern __shared__ unsigned given[];
    out[2 * blockIdx.x] = fixed[0];
    out[2 * blockIdx.x + 1] = given[0];
    __syncthreads();
    fixed[0] = given[0] = 7;
}

KERNEL functions(double* out, const unsigned char* bytes, void* anything) {
    float4 four = make_float4(1, 2, 3, 4);
    auto twice = [](double x) { return 2 * x; };
    int exponent;
    double results[] = {
        min(3, 2) + max(2.f, 3.f), fma(2.0, 3.0, 1.0), fmaf(2.f, 3.f, 1.f), expf(0.f), log1p(0.0), tanhf(0.f), sqrtf(4.f),
        frexp(8.0, &exponent), double(exponent), floor(-0.5), pow(2.0, 3.0), fabsf(-1.f), double(isnan(NAN)),
        double(__float_as_uint(1.f)), double(__umulhi(0x80000000u, 6u)), four.w, twice(1.5), double(sizeof(Pair)),
        double(bytes[1]), double(anything == nullptr),
    };
    for (int i = 0; i < 20; i++) out[i] = results[i];
}

KERNEL stuck() { if (threadIdx.x == 5) __syncthreads(); else __syncwarp(); }
KERNEL crossed() { if (threadIdx.x == 5) __syncthreads();
                   else __syncthreads(); }
KERNEL unnamed() { __syncwarp(0xfffffffeu); }
KERNEL early(float* out, const float* a) {  // a wait is missing: what comes out depends on the order
    __shared__ float part[64];
    part[threadIdx.x] = a[threadIdx.x];
    out[threadIdx.x] = part[63 - threadIdx.x];
}
KERNEL select(float* a) { a[threadIdx.x] = 1; }
"""


@pytest.fixture
def cupy(monkeypatch):
    monkeypatch.setattr(stand_in, "order", "forward")
    stand_in.install()
    stand_in.forget()
    import cupy

    assert cupy is stand_in.cupy
    yield cupy
    stand_in.uninstall()
    assert cupy.cuda.Device().id == 0


@pytest.fixture(params=["forward", "backward"])
def kernel(request, cupy, monkeypatch):
    """A function that gives a kernel, for threads in both orders."""
    monkeypatch.setattr(stand_in, "order", request.param)
    return cupy.RawModule(
        code=KERNELS, options=("-DREAL=float", "--std=c++17", "--fmad=false"), backend="nvrtc"
    ).get_function


def values(n):
    return np.random.default_rng(3).random(n, np.float32)


# ------------------------------------------------------------------------------------------------------------- kernels
@needs_compiler
def test_a_kernel_without_cooperation(cupy, kernel):
    a, b = values(1000), values(1000)[::-1].copy()
    out = cupy.empty(1000, np.float32)
    kernel("add")((4,), (256,), (cupy.asarray(a), cupy.asarray(b), out, 1000, 2.0))
    np.testing.assert_array_equal(out.get(), a + np.float32(2) * b)
    assert stand_in.launches == ["add"]


@needs_compiler
def test_a_reduction_with_shuffles_and_shared_memory(cupy, kernel):
    x = np.arange(10_000, dtype=np.float32) % 16
    out = cupy.empty(3, np.float32)
    kernel("totals")((3,), (256,), (cupy.asarray(x), out, 10_000))
    assert out.get().sum() == x.sum()
    sums = [sum(x[block * 256 + i : block * 256 + i + 256].sum() for i in range(0, 10_000, 768)) for block in range(3)]
    np.testing.assert_array_equal(out.get(), sums)


@needs_compiler
def test_dynamic_shared_memory_and_many_waits(cupy, kernel):
    x = cupy.ones(100, np.float32)
    for _ in range(2):
        kernel("cumulate")((1,), (100,), (x,), shared_mem=400)
    np.testing.assert_array_equal(x.get(), np.cumsum(np.arange(1, 101)))
    with pytest.raises(
        RuntimeError, match=r"kernel cumulate, block \(0, 0, 0\): a write beyond the dynamic shared memory"
    ):
        kernel("cumulate")((1,), (100,), (x,), shared_mem=396)


@needs_compiler
def test_threads_and_warps_are_numbered_as_in_cuda(cupy, kernel):
    out = cupy.empty((24, 60), np.int32)
    kernel("numbers")((2, 3, 4), (5, 4, 3), (out,))
    expected = np.where(np.arange(60) < 32, 0, 32) + 1000 * np.arange(24)[:, None]
    np.testing.assert_array_equal(out.get(), expected)


@needs_compiler
def test_every_shuffle_gives_the_value_of_its_source(cupy, kernel):
    out = cupy.empty((8, 32), np.int32)
    kernel("shuffles")((1,), (32,), (out,))
    lane = np.arange(32)
    expected = [
        np.full(32, 5),
        lane // 4 * 4 + 1,
        lane ^ 3,
        np.where(lane % 8 < 4, lane, lane - 4),  # an earlier group can be read, a later one cannot
        np.where(lane < 29, lane + 3, lane),
        np.where(lane % 8 < 5, lane + 3, lane),
        np.where(lane % 8 > 2, lane - 3, lane),
        4 * (lane ^ 1) + 1,
    ]
    np.testing.assert_array_equal(out.get(), expected)


@needs_compiler
def test_divergent_warps_meet_again(cupy, kernel):
    out = cupy.empty(40, np.float32)
    kernel("halves")((1,), (64,), (out,))
    lane = np.arange(40) % 32
    np.testing.assert_array_equal(out.get(), np.where(lane < 16, 120, 2 * (lane // 2 * 2) + 1) + 100)


@needs_compiler
def test_shared_memory_is_garbage_in_every_block(cupy, kernel):
    out = cupy.zeros(6, np.uint32)
    kernel("fresh")((3,), (1,), (out,), shared_mem=4)
    assert set(out.tolist()) == {0xFFFFFFFF}


@needs_compiler
def test_the_functions_of_the_shim(cupy, kernel):
    out = cupy.empty(20)
    kernel("functions")((1,), (1,), (out, cupy.asarray(np.array([False, True])), 0))
    expected = [5, 7, 7, 1, 0, 0, 2, 0.5, 4, -1, 8, 1, 1, 0x3F800000, 3, 4, 3, 16, 1, 1]
    assert out.tolist() == expected


@needs_compiler
def test_a_missing_wait_shows_in_the_order_of_the_threads(cupy, monkeypatch):
    kernel = cupy.RawModule(code=KERNELS, options=("-DREAL=float",)).get_function("early")
    results = []
    for order in ("forward", "backward"):
        monkeypatch.setattr(stand_in, "order", order)
        out = cupy.empty(64, np.float32)
        kernel((1,), (64,), (out, cupy.ones(64, np.float32)))
        results.append(out.get())
    assert np.isnan(results[0][0])
    assert results[1][0] == 1
    assert not np.array_equal(*results)


@needs_compiler
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "stuck",
            r"kernel stuck, block .*: deadlock; thread .*__syncwarp of line \d+ \(mask 0xffffffff\).*32 of 64 threads have ended",
        ),
        ("crossed", "kernel crossed, .*threads meet in different __syncthreads"),
        ("unnamed", r"kernel unnamed, .*thread \((0|32), 0, 0\): a thread that its own mask does not name"),
    ],
)
def test_threads_that_cannot_go_on_are_an_error(kernel, name, message):
    with pytest.raises(RuntimeError, match=message):
        kernel(name)((1,), (64,), ())
    with pytest.raises(RuntimeError, match=message):  # and the next launch begins anew
        kernel(name)((1,), (64,), ())


@needs_compiler
def test_an_address_that_nobody_has_is_an_error(kernel):
    with pytest.raises(RuntimeError, match="kernel select, block .*: illegal memory access"):
        kernel("select")((1,), (64,), (0,))


@needs_compiler
def test_a_write_beyond_an_array_is_an_error(cupy, kernel):
    a = cupy.zeros(20, np.float32)
    kernel("select")((1,), (10,), (a[10:],))
    assert a.get().sum() == 10
    with pytest.raises(AssertionError, match="kernel select wrote beyond the memory of argument 0"):
        kernel("select")((1,), (11,), (a[10:],))
    kernel("select")((1,), (10,), (a[10:],))  # told once


@needs_compiler
@pytest.mark.parametrize(
    ("place", "wrong", "message"),
    [
        (0, np.zeros(4, np.float32), r"kernel add, argument 0: ndarray .* given, float\* needed"),
        (1, "float64", r"argument 1: cupy.ndarray of float64 given, float\* needed"),
        (2, "int32", r"argument 2: cupy.ndarray of int32 given, float\* needed"),
        (2, 1, r"argument 2: int 1 given, float\* needed"),
        (3, 4.0, "argument 3: float 4.0 given, long long needed"),
        (3, True, "argument 3: bool True given, long long needed"),
        (3, np.int64(4), "argument 3: int64 .* given, long long needed"),
        (4, 2, "argument 4: int 2 given, double needed"),
        (4, "float32", "argument 4: cupy.ndarray of float32 given, double needed"),
    ],
)
def test_arguments_must_have_the_kernels_types(cupy, kernel, place, wrong, message):
    arguments = [cupy.zeros(4, np.float32) for _ in range(3)] + [4, 2.0]
    arguments[place] = cupy.zeros(4, wrong) if isinstance(wrong, str) else wrong
    with pytest.raises(TypeError, match=message):
        kernel("add")((1,), (4,), tuple(arguments))


@needs_compiler
def test_the_limits_of_a_launch(cupy, kernel):
    a = cupy.zeros(2000, np.float32)
    select = kernel("select")
    with pytest.raises(TypeError, match="kernel select takes 1 arguments, 2 given"):
        select((1,), (1,), (a, 1))
    for grid, block in [((1,), (1025,)), ((1,), (32, 33)), ((1,), (1, 1, 65)), ((1, 65536), (1,)), ((0,), (1,))]:
        with pytest.raises(RuntimeError, match="CUDA_ERROR_INVALID_VALUE: kernel select"):
            select(grid, block, (a,))
    with pytest.raises(RuntimeError, match="shared memory"):
        select((1,), (1,), (a,), shared_mem=49_153)
    with pytest.raises(TypeError, match="grid must be a tuple"):
        select(1, (1,), (a,))
    with pytest.raises(OverflowError, match="argument 3"):
        kernel("add")((1,), (1,), (a, a, a, 2**63, 1.0))


@needs_compiler
def test_what_does_not_compile_says_why(cupy):
    with pytest.raises(RuntimeError, match=r"kernels\.cu:2.*nonsense"):
        cupy.RawModule(code='extern "C" __global__ void f() {\nnonsense; }').get_function("f")
    with pytest.raises(RuntimeError, match="parameters are pointers, long long"):
        cupy.RawModule(code='extern "C" __global__ void f(int n) {}').get_function("f")
    with pytest.raises(RuntimeError, match=r"named symbol not found: g; there are \['f'\]"):
        cupy.RawModule(code='extern "C" __global__ void f() {}').get_function("g")


@needs_compiler
def test_a_second_process_finds_the_library(cupy, monkeypatch, tmp_path):
    code, options = 'extern "C" __global__ void one(float* a) { a[0] = N; }', ("-DN=3",)
    monkeypatch.setattr(stand_in.tempfile, "gettempdir", lambda: str(tmp_path))
    stand_in._compiled.cache_clear()
    for _ in range(2):
        a = cupy.zeros(1, np.float32)
        cupy.RawModule(code=code, options=options).get_function("one")((1,), (1,), (a,))
        assert a.item() == 3
        stand_in._compiled.cache_clear()
        monkeypatch.setattr(subprocess, "run", None)  # nothing is compiled any more
    assert [path.suffix for path in next(tmp_path.iterdir()).iterdir()] == [".so"]


# -------------------------------------------------------------------------------------------------------------- arrays
def test_nothing_passes_between_host_and_device_by_itself(cupy):
    a, host = cupy.ones(3), np.ones(3)
    for convert in (
        np.asarray,
        np.array,
        lambda x: np.ones(3).__iadd__(x),
        lambda x: np.testing.assert_array_equal(x, host),
    ):
        with pytest.raises(TypeError):
            convert(a)
    for mix in (
        *(
            lambda: a + host,
            lambda: host * a,
            lambda: a @ host,
            lambda: a < host,
            lambda: np.add(a, host),
            lambda: cupy.exp(host),
        ),
        *(
            lambda: cupy.maximum(a, host),
            lambda: cupy.sum(host),
            lambda: cupy.concatenate([a, host]),
            lambda: np.concatenate([a, host]),
        ),
        *(
            lambda: a[np.array([0])],
            lambda: a[[0, 1]],
            lambda: a.__setitem__(slice(None), host),
            lambda: a.__setitem__([0], 1.0),
        ),
        *(
            lambda: a.__setitem__(0, [1.0]),
            lambda: a.__iadd__(host),
            lambda: cupy.sum([1.0]),
            lambda: np.add(a, a, out=host),
        ),
        *(
            lambda: a.set([1.0]),
            lambda: cupy.take(a, host),
            lambda: cupy.searchsorted(a, host),
            lambda: cupy.full(3, host),
        ),
    ):
        with pytest.raises(TypeError):
            mix()


def test_operators_and_functions_do_as_numpy_does(cupy):
    x, y = values(12).reshape(3, 4), values(12).reshape(3, 4)[::-1] - np.float32(0.5)
    a, b = cupy.asarray(x), cupy.asarray(y)
    index, mask = np.array([2, 0]), x[:, 0] > 0.3
    device_index, device_mask = cupy.asarray(index), cupy.asarray(mask)
    for got, expected in [
        (2 * a - b / 3, 2 * x - y / 3),
        (a @ b.T, x @ y.T),
        (a > b, x > y),
        (-a, -x),
        (np.float64(2) * a, np.float64(2) * x),
        (np.exp(a), np.exp(x)),
        (np.add.reduce(a, axis=1), np.add.reduce(x, axis=1)),
        (np.sum(a, axis=0), x.sum(axis=0)),
        (cupy.maximum(a, b), np.maximum(x, y)),
        (cupy.where(a > b, a, 0.0), np.where(x > y, x, 0.0)),
        (cupy.concatenate([a, b], axis=1), np.concatenate([x, y], axis=1)),
        (cupy.stack([a, b]), np.stack([x, y])),
        (cupy.clip(a, 0.2, 0.8), np.clip(x, 0.2, 0.8)),
        (cupy.take(a, device_index, axis=0), np.take(x, index, axis=0)),
        (cupy.searchsorted(a[0], b[0], side="right"), np.searchsorted(x[0], y[0], side="right")),
        (cupy.argsort(a, axis=1), np.argsort(x, axis=1)),
        (cupy.cumsum(a, axis=1), np.cumsum(x, axis=1)),
        (cupy.bincount(device_index, minlength=5), np.bincount(index, minlength=5)),
        (cupy.flatnonzero(a > b), np.flatnonzero(x > y)),
        (cupy.count_nonzero(a > b), np.count_nonzero(x > y)),
        (cupy.repeat(device_index, 2), np.repeat(index, 2)),
        (cupy.arange(3, dtype=np.int32), np.arange(3, dtype=np.int32)),
        (cupy.full((2, 2), 7, np.int32), np.full((2, 2), 7, np.int32)),
        (cupy.zeros_like(a), np.zeros_like(x)),
        (a.mean(axis=0), x.mean(axis=0)),
        (a.sum(), x.sum()),
        (a.argmax(axis=1), x.argmax(axis=1)),
        (a[1], x[1]),
        (a[:, 1:3], x[:, 1:3]),
        (a[..., None], x[..., None]),
        (a[device_index], x[index]),
        (a[1, device_index], x[1, index]),
        (a[device_mask], x[mask]),
        (a.T.reshape(-1), x.T.reshape(-1)),
        (a.astype(np.float64), x.astype(np.float64)),
        (a.view(np.int32), x.view(np.int32)),
        (a.transpose(1, 0).copy(), x.T.copy()),
    ]:
        assert isinstance(got, cupy.ndarray)
        assert (got.dtype, got.shape) == (expected.dtype, np.shape(expected))
        np.testing.assert_array_equal(got.get(), expected)
    assert a[0, 0].shape == a.sum().shape == ()
    assert (float(a[0, 0]), len(a), a.tolist()) == (float(x[0, 0]), 3, x.tolist())
    assert [int(row.argmin()) for row in a] == x.argmin(axis=1).tolist()
    assert [10, 20, 30][cupy.asarray(1)] == 20
    assert (a.size, a.ndim, a.itemsize, a.nbytes, a.strides, a.flags.c_contiguous) == (12, 2, 4, 48, (16, 4), True)


def test_writing_goes_where_it_should(cupy):
    a = cupy.zeros((3, 4), np.float32)
    a[1, 2:] = 5
    a[cupy.asarray(np.array([0, 2])), 0] = cupy.asarray(np.array([1.0, 2.0]))
    a[a == 5] = 6.0
    a += 1
    a[0].fill(9)
    row = a[2]
    np.multiply(row, 10, out=row)
    cupy.exp(cupy.zeros(4, np.float32), out=a[1])
    np.testing.assert_array_equal(a.get(), [[9, 9, 9, 9], [1, 1, 1, 1], [30, 10, 10, 10]])
    with pytest.raises(TypeError, match="Cannot cast"):
        cupy.exp(cupy.zeros(4), out=cupy.zeros(4, np.int32))
    with pytest.raises(ValueError, match="out has shape"):
        cupy.exp(cupy.zeros(4), out=cupy.zeros((2, 4)))
    a.set(np.ones((3, 4), np.float32))
    assert a.sum() == 12
    assert cupy.asarray(a) is a
    assert cupy.array(a) is not a


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.uint8, np.uint16])
def test_fresh_memory_is_aligned_garbage(cupy, dtype):
    a = cupy.empty(5, dtype)
    assert a.data.ptr % 512 == 0
    if np.dtype(dtype).kind == "f":
        assert np.isnan(a.get()).all()
    else:
        assert (a.get() % 2 == 1).all()
        assert (a.get() > np.iinfo(dtype).max / 4).all()
    assert a[2:].data.ptr == a.data.ptr + 2 * a.itemsize
    assert cupy.empty(0, dtype).data.ptr == 0


def test_an_operation_knows_one_device(cupy):
    assert cupy.cuda.runtime.getDeviceCount() == 2
    a = cupy.ones(3)
    with cupy.cuda.Device(1):
        b = cupy.asarray(np.ones(3))
        for operation in (lambda: a + b, lambda: b.__setitem__(0, a[0]), lambda: a + 1):
            with pytest.raises(ValueError, match="Array device must be same as the current device"):
                operation()
        assert (b + b).device.id == cupy.cuda.Device().id == 1
        np.testing.assert_array_equal((cupy.array(a) + b).get(), 2 * np.ones(3))
    assert (a.device.id, b.device.id, cupy.cuda.Device().id) == (0, 1, 0)
    np.testing.assert_array_equal(b.get(), np.ones(3))
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        cupy.cuda.Device(2).use()


# -------------------------------------------------------------------------------------------------------------- memory
def test_memory_has_a_limit(cupy):
    gc.collect()
    free, total = cupy.cuda.Device().mem_info
    used = total - free
    with stand_in.limit_memory(used + 100_000):
        kept = cupy.zeros(10_000)
        with pytest.raises(cupy.cuda.memory.OutOfMemoryError, match="Out of memory allocating 40,448 bytes"):
            cupy.zeros(5_000 + 10)
        assert cupy.cuda.Device().mem_info == (100_000 - 80_384, used + 100_000)
        del kept
        cupy.zeros(5_010)
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)


def test_a_pool_keeps_the_memory_of_dead_arrays(cupy):
    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc):
        a = cupy.zeros(100)
        address, bits = a.data.ptr, a._host
        assert (pool.used_bytes(), pool.total_bytes()) == (1024, 1024)
        del a
        assert (pool.used_bytes(), pool.total_bytes()) == (0, 1024)
        assert (bits == 0).all()  # still there
        b = cupy.empty(100)
        assert b.data.ptr == address
        assert np.isnan(b.get()).all()
    assert cupy.empty(100).data.ptr != address
    bits[:] = 0
    del b
    pool.free_all_blocks()
    assert pool.total_bytes() == 0
    assert np.isnan(bits).all()
    memory = pool.malloc(800)
    first, second = cupy.ndarray(50, np.float64, memory), cupy.ndarray((5, 10), np.float64, memory + 400)
    first.fill(1)
    second.fill(2)
    assert first.sum() == 50
    with pytest.raises(TypeError, match="too small"):
        cupy.ndarray(51, np.float64, memory + 400)


# -------------------------------------------------------------------------------------------------------------- graphs
@pytest.fixture
def stream(cupy):
    with cupy.cuda.Stream(non_blocking=True) as stream:
        yield stream


@needs_compiler
def test_a_graph_does_everything_again_at_every_launch(cupy, kernel, stream):
    a, count = cupy.zeros(4, np.float32), cupy.zeros(1, np.int64)
    out = cupy.zeros(4, np.float32)
    pool = cupy.cuda.MemoryPool()
    add = kernel("add")
    with cupy.cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        assert stream.is_capturing()
        doubled = 2 * a
        add((1,), (4,), (a, doubled, out, 4, 1.0))
        total = out.sum()
        count += 1
        out[0] = total
        graph = stream.end_capture()
    assert not stream.is_capturing()
    assert np.isnan(doubled.get()).all()
    assert (out.sum(), count.item(), stand_in.launches, stand_in.graph_launches) == (0, 0, [], 0)
    del doubled  # its memory stays in the pool
    for k in range(1, 4):
        a.fill(k)
        graph.launch()
        np.testing.assert_array_equal(out.get(), [12 * k, 3 * k, 3 * k, 3 * k])
        assert (total.item(), count.item()) == (12 * k, k)
    assert (stand_in.launches, stand_in.graph_launches) == ([], 3)
    stand_in.forget()
    assert stand_in.graph_launches == 0


def test_a_graph_reads_garbage_where_an_array_has_died(cupy, stream):
    a, out = cupy.ones(4), cupy.zeros(4)
    stream.begin_capture()
    cupy.add(a, 1, out=out)
    graph = stream.end_capture()
    graph.launch()
    assert out.tolist() == [2] * 4
    del a
    graph.launch()
    assert np.isnan(out.get()).all()


@needs_compiler
def test_a_kernel_in_a_graph_is_watched_too(cupy, kernel, stream):
    a = cupy.zeros(4, np.float32)
    stream.begin_capture()
    kernel("select")((1,), (5,), (a,))
    graph = stream.end_capture()
    with pytest.raises(AssertionError, match="kernel select wrote beyond"):
        graph.launch()


@pytest.mark.parametrize(
    "waits",
    [
        *(
            lambda cupy, a: a.get(),
            lambda cupy, a: float(a[0]),
            lambda cupy, a: bool(a[0]),
            lambda cupy, a: a.tolist(),
            lambda cupy, a: a[0].item(),
        ),
        *(
            lambda cupy, a: cupy.asnumpy(a),
            lambda cupy, a: cupy.asarray(np.ones(2)),
            lambda cupy, a: a.set(np.ones(4)),
            lambda cupy, a: a[a > 0],
        ),
        *(
            lambda cupy, a: cupy.flatnonzero(a),
            lambda cupy, a: cupy.cuda.Device().synchronize(),
            lambda cupy, a: cupy.cuda.get_current_stream().synchronize(),
        ),
    ],
)
def test_what_needs_values_on_the_host_breaks_a_capture(cupy, stream, waits):
    a = cupy.ones(4)
    stream.begin_capture()
    with pytest.raises(RuntimeError, match="StreamCapture"):
        waits(cupy, a)
    with pytest.raises(RuntimeError, match="StreamCaptureInvalidated"):
        stream.end_capture()
    assert not stream.is_capturing()
    assert (a + 1).sum() == 8  # the stream works again


def test_what_a_capture_allows(cupy, stream):
    a = cupy.ones(4)
    stream.begin_capture()
    three = cupy.asarray(3.0)
    b = cupy.zeros(4)
    b[:2] = a[2:] * three
    b[b == 0] = 5
    c = cupy.take(b, cupy.argsort(b)).astype(np.int32)
    d = b.copy().reshape(2, 2).T.ravel()
    graph = stream.end_capture()
    a.fill(2)
    graph.launch()
    assert (b.tolist(), c.tolist(), d.tolist()) == ([6, 6, 5, 5], [5, 5, 6, 6], [6, 5, 6, 5])


def test_captures_need_a_stream_of_their_own(cupy):
    with pytest.raises(RuntimeError, match="cannot capture on the default"):
        cupy.cuda.Stream.null.begin_capture()
    stream = cupy.cuda.Stream()
    with pytest.raises(RuntimeError, match="does not capture"):
        stream.end_capture()
    stream.begin_capture()
    with pytest.raises(RuntimeError, match="StreamCaptureImplicit"):  # the null stream waits for streams like this
        cupy.zeros(3)
    with pytest.raises(RuntimeError, match="Invalidated"):
        stream.end_capture()


def test_events_measure_time(cupy):
    first, second = cupy.cuda.Event(), cupy.cuda.Event()
    first.record()
    second.record()
    second.synchronize()
    assert 0 <= cupy.cuda.get_elapsed_time(first, second) < 1000


# ---------------------------------------------------------------------------------------------------------- the module
def test_install_and_uninstall(monkeypatch):
    before = object()
    monkeypatch.setitem(sys.modules, "cupy", before)
    stand_in.install()
    assert importlib.import_module("cupy.cuda.memory").OutOfMemoryError is stand_in.OutOfMemoryError
    assert importlib.util.find_spec("cupy") is not None
    stand_in.uninstall()
    assert sys.modules["cupy"] is before


NAMES = """
import importlib.util, sys, warnings
if importlib.util.find_spec("cupy") is None:
    sys.exit(3)
warnings.simplefilter("ignore")  # it may miss a GPU here
import cupy as real
import cupy_stand_in
own = cupy_stand_in.cupy
pairs = [(real, own), (real.cuda, own.cuda), (real.ndarray, own.ndarray), (real.RawModule, own.RawModule)]
inside = "runtime", "memory", "Device", "Stream", "Event", "Graph", "MemoryPool", "MemoryPointer"
pairs += [(getattr(real.cuda, name), getattr(own.cuda, name)) for name in inside]
for theirs, ours in pairs:
    for name in vars(ours):
        if name[0] != "_" and not hasattr(theirs, name):
            print(ours, "has", name)
"""


def test_the_real_cupy_has_every_name_of_the_stand_in():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", NAMES], env=environment, capture_output=True, text=True)
    if done.returncode == 3:
        pytest.skip("CuPy is not installed")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
