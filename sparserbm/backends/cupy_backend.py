"""The GPU backend: CuPy arrays, and the CUDA kernels of ``kernels.cu``."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import cupy
import numpy as np

from sparserbm.backends.base import ACTIVATIONS, LANES, TILE, Backend, Gate, Recording, RowIndexed, Rows, SignedPair
from sparserbm.rng import DrawKey

NULL = 0  # CuPy passes it as a null pointer
WARP = 32
WIDTH = 4  # samples of one thread
BLOCK = 256
# Threads that keep every multiprocessor of a large device busy. Shapes of launches, and with them the order of sums,
# depend on this number and not on the device: two devices give the same sums.
ENOUGH = 1 << 17
MOST_BLOCKS = 4096  # of an elementwise kernel, whose threads go on with the rest
MOST_SUMS = 512
CACHED = 20 << 20  # bytes of activities that stay in the L2 cache of a large device while all connections read them


class CupyBackend(Backend):
    """CuPy arrays on one CUDA device; kernels are compiled at their first use and kept in CuPy's cache on disk.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    device : int, optional
        Number of the device, which becomes the current one; the current one by default.

    Raises
    ------
    ValueError
        If there is no such device.
    """

    name = "cupy"
    xp = cupy
    parts_at_once = 32  # a part should fill the device

    def __init__(self, dtype: str = "float32", device: int | None = None):
        super().__init__(dtype)
        n_devices = cupy.cuda.runtime.getDeviceCount()
        if device is not None and not 0 <= device < n_devices:
            raise ValueError(f'backend="cupy:{device}" is not possible: devices here are 0 to {n_devices - 1}')
        if device is not None:
            cupy.cuda.Device(device).use()
        self.device = cupy.cuda.Device().id
        real = {"float32": "float", "float64": "double"}[self.dtype.name]
        self._module = cupy.RawModule(
            code=files("sparserbm.backends").joinpath("kernels.cu").read_text(encoding="utf-8"),
            options=("--std=c++17", "--fmad=false", f"-DREAL={real}"),
        )
        self._kernels: dict[str, Callable[..., None]] = {}
        self._clock = cupy.zeros(1, dtype=np.uint32)  # 0 but in recorded work, which has a clock of its own
        self._sums = cupy.empty(2 * MOST_SUMS, dtype=np.float64)

    def __reduce__(self) -> Any:
        return type(self), (self.dtype.name, self.device)

    def _launch(
        self, name: str, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any, shared: int = 0
    ) -> None:
        """Launch a kernel, its arrays checked first: a kernel would read whatever memory a wrong one points to."""
        current = cupy.cuda.runtime.getDevice()
        if current != self.device:
            raise ValueError(
                f"device {current} is the current one, this backend works on device {self.device}; go back to it with "
                f"cupy.cuda.Device({self.device}).use()"
            )
        for argument in arguments:
            if isinstance(argument, cupy.ndarray):
                if argument.data.device_id != self.device:
                    raise ValueError(
                        f"an array is on device {argument.data.device_id}, this backend works on device {self.device}; "
                        f"move it with backend.asarray"
                    )
                if not argument.flags.c_contiguous:
                    raise ValueError(f"{name} needs contiguous arrays, not strides {argument.strides}")
            elif not isinstance(argument, (int, float)):
                raise TypeError(
                    f"{name} needs arrays on the device, not {type(argument).__name__}; move them with backend.asarray"
                )
        if min(grid) < 1:
            return  # nothing to compute
        kernel = self._kernels.get(name)
        if kernel is None:
            kernel = self._kernels[name] = self._module.get_function(name)
        kernel(grid, block, arguments, shared_mem=shared)

    def _each(self, name: str, size: int, *arguments: Any) -> None:
        """Launch an elementwise kernel over `size` elements."""
        self._launch(name, (min(-(-size // BLOCK), MOST_BLOCKS),), (BLOCK,), *arguments)

    # -- arrays ----------------------------------------------------------------------------------------------

    def asarray(self, array: Any, dtype: Any = None) -> Any:
        if not isinstance(array, cupy.ndarray):
            array = np.asarray(array)
        if dtype is None:  # files may hold numbers of the other byte order, which no kernel takes
            dtype = self.dtype if array.dtype.kind == "f" else array.dtype.newbyteorder("=")
        if isinstance(array, np.ndarray):
            array = np.ascontiguousarray(array, dtype=dtype)  # the host transposes; the device gets one block
        elif array.data.device_id != self.device:
            array = array.get()
        return cupy.ascontiguousarray(cupy.asarray(array, dtype=dtype))

    def to_numpy(self, array: Any) -> np.ndarray:
        return cupy.asnumpy(array)

    def free_memory(self) -> int | None:
        free, _ = cupy.cuda.Device(self.device).mem_info
        return int(free) + cupy.get_default_memory_pool().free_bytes()  # the pool keeps what was freed

    # -- products --------------------------------------------------------------------------------------------

    def _product(
        self,
        rows: Rows,
        weight: Any,
        x: Any,
        out: Any,
        bias: Any,
        activation: str,
        slope: float,
        gate: Gate | None,
        sample: Any,
        key: DrawKey | None,
    ) -> Any:
        n_rows, n = out.shape
        lanes, slices, together = _product_block(n_rows, len(rows.index), n)
        threads, size = lanes * slices * together, self.dtype.itemsize
        activity = NULL if gate is None else gate.activity
        self._launch(
            "product",
            (-(-n_rows // together), -(-n // (WIDTH * lanes))),
            (lanes, slices, together),
            rows.indptr,
            rows.index,
            NULL if rows.order is None else rows.order,
            weight,
            x,
            NULL if bias is None else bias,
            out,
            activity,
            NULL if sample is None else sample,
            n_rows,
            n,
            _aligned(n, x, out, activity, sample),
            ACTIVATIONS.index(activation),
            float(slope),
            0 if gate is None else ACTIVATIONS.index(gate.activation),
            0.0 if gate is None else float(gate.slope),
            *(key or (0, 0, 0, 0)),
            self._clock,
            shared=WIDTH * threads * max(size if slices > 1 else 0, 4 if sample is not None else 0),
        )
        return out

    def sddmm(self, connections: RowIndexed, pairs: Sequence[SignedPair], out: Any) -> Any:
        rows = connections.by_post
        n_rows, warps = len(rows.indptr) - 1, 4
        slices = _sampled_slices(n_rows, len(rows.index))
        for number, two in enumerate(_in_twos(pairs)):
            operands: list[Any] = []
            for sign, x, y in two:
                operands += [x, y, float(sign), x.shape[1]]
            operands += [NULL, NULL, 0.0, 0] if len(two) == 1 else []
            aligned = int(all(_aligned(x.shape[1], x, y) for _, x, y in two))
            longest = max(x.shape[1] for _, x, _ in two)
            bytes_a_sample = sum((len(x) + len(y)) * self.dtype.itemsize for _, x, y in two)
            width = longest if bytes_a_sample * longest <= CACHED else max(CACHED // bytes_a_sample // TILE, 1) * TILE
            for first in range(0, longest, width):  # a slice of the samples at a time stays in the cache
                rest = first, width, aligned, int(number > 0 or first > 0), n_rows, slices, out
                grid = (-(-n_rows * slices // warps),)
                self._launch("sampled_product", grid, (WARP, warps), rows.indptr, rows.index, *operands, *rest)
        return out

    def row_sums(self, terms: Sequence[tuple[float, Any]], out: Any) -> Any:
        warps = 4
        for number, two in enumerate(_in_twos(terms)):
            operands: list[Any] = []
            for sign, activity in two:
                operands += [activity, float(sign), activity.shape[1]]
            operands += [NULL, 0.0, 0] if len(two) == 1 else []
            self._launch("row_sums", (-(-len(out) // warps),), (WARP, warps), *operands, int(number > 0), len(out), out)
        return out

    def limit_norms(self, rows: Rows, values: Any, limit: float) -> None:
        n_rows, warps = len(rows.indptr) - 1, 4
        order = NULL if rows.order is None else rows.order
        grid = (-(-n_rows // warps),)
        self._launch("limit_norms", grid, (WARP, warps), rows.indptr, order, n_rows, float(limit), values)

    def transposed(self, rows: Rows, n_columns: int) -> Rows:
        order = cupy.argsort(rows.index)  # documented to be stable: rows of a column stay in order
        row = cupy.searchsorted(rows.indptr, order, side="right") - 1
        indptr = cupy.searchsorted(rows.index[order], cupy.arange(n_columns + 1))
        return Rows(indptr.astype(np.int64), row.astype(np.int32), order.astype(np.int32))

    def merged(self, old: Any, keep: Any, before: Any) -> Any:
        keep, before = self.asarray(keep), self.asarray(before)
        rank = cupy.cumsum(keep, dtype=np.int32)
        n_kept = int(rank[-1]) if len(rank) else 0
        out = cupy.zeros(n_kept + len(before), dtype=old.dtype)
        word = f"u{old.itemsize}"  # what the bytes mean does not matter
        arguments = (old.view(word), keep.view(np.uint8), rank, len(old), before, len(before), out.view(word))
        self._each(f"merge{old.itemsize}", len(old), *arguments)
        return out

    def gather(self, samples: Any, rows: Any, out: Any) -> Any:
        n_features, n = out.shape
        kernel = "gather"
        if samples.dtype in (np.uint8, np.bool_):
            kernel, samples = "gather_bytes", samples.view(np.uint8)
        elif samples.dtype != self.dtype:  # other kinds of numbers take the long way
            samples, rows = samples[rows].astype(self.dtype), cupy.arange(n)
        grid = (-(-n_features // WARP), -(-n // WARP))
        self._launch(kernel, grid, (WARP, 8), samples, rows, n_features, n, out)
        return out

    # -- random numbers --------------------------------------------------------------------------------------

    def _draw(self, name: str, key: DrawKey, out: Any, *more: Any) -> Any:
        n_rows, n = out.shape
        counters = n_rows * -(-n // TILE) * LANES
        self._each(name, counters, *key, self._clock, n_rows, n, *more, out)
        return out

    def uniform(self, key: DrawKey, out: Any) -> Any:
        return self._draw("uniform", key, out)

    def normal(self, key: DrawKey, out: Any) -> Any:
        return self._draw("normal", key, out)

    def bernoulli(self, key: DrawKey, mean: Any, out: Any) -> Any:
        return self._draw("bernoulli", key, out, mean)

    def categorical(self, key: DrawKey, mean: Any, out: Any, groups: int) -> Any:
        n_units, n = out.shape
        counters = groups * -(-n // TILE) * LANES
        self._each("categorical", counters, *key, self._clock, groups, n_units // groups, n, mean, out)
        return out

    def truncated_normal(self, key: DrawKey, z: Any, out: Any) -> Any:
        return self._draw("truncated_normal", key, out, z)

    # -- elementwise -----------------------------------------------------------------------------------------

    def truncated_mean(self, z: Any, out: Any) -> Any:
        self._each("truncated_mean", z.size, z.size, z, out)
        return out

    def truncated_log_partition(self, z: Any, out: Any) -> Any:
        self._each("truncated_log_partition", z.size, z.size, z, out)
        return out

    def softplus(self, x: Any, out: Any) -> Any:
        self._each("softplus", x.size, x.size, x, out)
        return out

    def softmax(self, z: Any, groups: int = 1) -> Any:
        n_units, n = z.shape
        self._launch("softmax", (groups, -(-n // WARP)), (WARP, 8), n_units // groups, n, z)
        return z

    def class_error(self, output: Any, y: Any, delta: Any, smallest: float) -> tuple[Any, Any]:
        n_classes, n = output.shape
        n_blocks = -(-n // WARP)
        if n_blocks > MOST_SUMS:
            raise ValueError(f"class_error takes at most {MOST_SUMS * WARP} samples at a time, not {n}")
        arguments = (output, y, n_classes, n, float(smallest), delta, self._sums)
        self._launch("class_error", (n_blocks,), (WARP, 8), *arguments)
        sums = self._column_sums(n_blocks, 2)
        return sums[0], sums[1]

    def _column_sums(self, count: int, columns: int) -> Any:
        out = cupy.empty(columns, dtype=np.float64)
        self._launch("column_sums", (columns,), (BLOCK,), self._sums, count, columns, out)
        return out

    def activate(self, activation: str, values: Any, slope: float = 0.0) -> Any:
        self._each("activate", values.size, values.size, ACTIVATIONS.index(activation), float(slope), values)
        return values

    def gate(self, activation: str, activity: Any, values: Any, slope: float = 0.0) -> Any:
        number = ACTIVATIONS.index(activation)
        self._each("gate", values.size, values.size, number, float(slope), activity, values)
        return values

    def squared_error(self, a: Any, b: Any) -> Any:
        n_blocks = min(-(-a.size // (16 * BLOCK)), MOST_SUMS)
        self._launch("squared_error", (n_blocks,), (BLOCK,), a, b, a.size, self._sums)
        return self._column_sums(n_blocks, 1)[0]

    def add_scaled(self, target: Any, scale: float, source: Any) -> Any:
        self._each("add_scaled", target.size, target.size, target, float(scale), source)
        return target

    def sgd(
        self, value: Any, velocity: Any, gradient: Any, learning_rate: float, momentum: float, nesterov: bool
    ) -> None:
        velocity = NULL if velocity is None else velocity
        rates = float(learning_rate), float(momentum), int(nesterov)
        self._each("sgd", value.size, value.size, value, velocity, gradient, *rates)

    def adam(
        self,
        value: Any,
        first: Any,
        second: Any,
        gradient: Any,
        born: Any,
        step: int,
        start: int,
        learning_rate: float,
        beta1: float,
        beta2: float,
        eps: float,
    ) -> None:
        born, born_bytes = (NULL, 0) if born is None else (born, born.itemsize)
        when = born, born_bytes, step, start, self._clock
        rates = float(learning_rate), float(beta1), float(beta2), float(eps)
        logarithms = [math.log(beta) if beta else -math.inf for beta in (beta1, beta2)]  # exp is cheaper than pow
        self._each("adam", value.size, value.size, value, first, second, gradient, *when, *rates, *logarithms)

    # -- work that is done again and again -------------------------------------------------------------------

    def record(self, work: Callable[[], None]) -> Recording | None:
        return _Graph(self, work)


class _Graph(Recording):
    """Work recorded as a CUDA graph: one launch instead of one for every kernel.

    Arrays that are made on the way live in a pool of their own, since every replay writes to the same places. The step
    of a draw is that of the recording plus a clock on the device, which the graph itself moves on.
    """

    def __init__(self, backend: CupyBackend, work: Callable[[], None]):
        self._backend = backend
        self._pool = cupy.cuda.MemoryPool()
        self._clock = cupy.zeros(1, dtype=np.uint32)
        self._time = 0
        no_clock, backend._clock = backend._clock, self._clock
        stream = cupy.cuda.Stream(non_blocking=True)
        try:
            with stream, cupy.cuda.using_allocator(self._pool.malloc):
                stream.begin_capture()
                try:
                    work()
                    backend._launch("tick", (1,), (1,), self._clock)
                except BaseException:
                    with contextlib.suppress(Exception):  # it would say once more that the capture failed
                        stream.end_capture()
                    raise
                self._graph = stream.end_capture()
        finally:
            backend._clock = no_clock

    def replay(self, later: int) -> None:
        if later != self._time:
            self._backend._launch("set_clock", (1,), (1,), self._clock, later)
        self._graph.launch()
        self._time = later + 1


def _in_twos(terms: Sequence[Any]) -> list[Sequence[Any]]:
    """Kernels take two terms at a time: contrastive divergence has two."""
    return [terms[first : first + 2] for first in range(0, len(terms), 2)]


def _aligned(n: int, *arrays: Any) -> int:
    """Whether rows of n samples begin at multiples of 16 bytes in all these arrays."""
    if n % WIDTH:
        return 0
    return int(not any(array.data.ptr % 16 for array in arrays if isinstance(array, cupy.ndarray)))


def _product_block(n_rows: int, n_connections: int, n: int) -> tuple[int, int, int]:
    """Threads of a block along samples, along the connections of a row, and rows of a block."""
    lanes = LANES
    while lanes < WARP and WIDTH * lanes < n:
        lanes *= 2
    threads = n_rows * -(-n // (WIDTH * lanes)) * lanes
    slices = 1  # few rows: several threads share the connections of one, eight or more each
    while lanes * slices < 512 and threads * slices < ENOUGH and n_connections >= 16 * slices * n_rows:
        slices *= 2
    return lanes, slices, max(1, 128 // (lanes * slices))


def _sampled_slices(n_rows: int, n_connections: int) -> int:
    """Warps that share the connections of a row, four at a time."""
    slices = 1
    while n_rows * slices * WARP < ENOUGH and n_connections >= 32 * slices * n_rows:
        slices *= 2
    return slices
