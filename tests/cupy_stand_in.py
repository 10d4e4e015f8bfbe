"""A stand-in for CuPy on a machine without GPU: pretended devices, and CUDA kernels that g++ compiles and really runs.

``install()`` puts it into ``sys.modules["cupy"]``. It is as strict as a GPU: no array passes between host and device
unless asked to, fresh memory is garbage, a kernel's arguments must have the kernel's types, a kernel that writes beside an array fails, a captured graph
does nothing until it is launched and does not keep its arrays alive. What it does not have it refuses; add names to the lists below.
"""

import contextlib
import ctypes
import functools
import hashlib
import importlib.machinery
import itertools
import operator
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import types
from pathlib import Path

import numpy as np

N_DEVICES = 2
TOTAL = 8 << 30  # bytes of memory that a pretended device has
ALIGNMENT = 512
GUARD, GUARD_BYTE = 1024, 0xA5
GARBAGE = 0x7FFD  # repeated: NaN in every floating type, a large odd number in the integers
SHIM = Path(__file__).parent / "backends" / "cuda_on_cpu.h"
FLAGS = ("-O2", "-std=c++17", "-shared", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing", "-fvisibility=hidden")
FLAGS += ("-U_FORTIFY_SOURCE", "-Wno-unknown-pragmas")

# Names of this module for tests: how kernels run, and what has run.
order = "forward"  # or "backward": in which order the threads of a block and the blocks run
launches: list[str] = []  # kernels launched one by one (not in a graph)
graph_launches = 0


def forget():
    """Begin counting launches anew."""
    global graph_launches
    launches.clear()
    graph_launches = 0


class CUDARuntimeError(RuntimeError):
    """What CUDA itself reports."""


class OutOfMemoryError(MemoryError):
    """The pretended device has no memory left."""


# ------------------------------------------------------------------------------------------------- devices and streams
class _Current(threading.local):
    """What is current in a thread."""

    def __init__(self):
        self.device = 0
        self.left = []  # devices to go back to
        self.streams = {}  # of every device
        self.allocators = []


_current = _Current()
_numbers = itertools.count(1)
_captures: list["Stream"] = []


class Device:
    """One of the pretended devices."""

    compute_capability = "90"

    def __init__(self, device=None):
        self.id = _current.device if device is None else int(device)

    def _checked(self):
        if not 0 <= self.id < N_DEVICES:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        return self.id

    def use(self):
        _current.device = self._checked()

    def __enter__(self):
        _current.left.append(_current.device)
        self.use()
        return self

    def __exit__(self, *_):
        _current.device = _current.left.pop()

    def synchronize(self):
        for stream in _captures:
            if stream.device_id == self.id:
                stream._break("a device cannot be waited for")

    @property
    def mem_info(self):
        return _total - _held.get(self._checked(), 0), _total

    def __int__(self):
        return self.id

    def __eq__(self, other):
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self):
        return hash(("device", self.id))

    def __repr__(self):
        return f"<CUDA Device {self.id}>"


class Stream:
    """A stream. What it is given runs at once, or is recorded while it captures."""

    null: "Stream"

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        self.ptr = 0 if null else next(_numbers)
        self.device_id = _current.device
        self.non_blocking = non_blocking
        self._records = None
        self._broken = False
        self._left = []

    def use(self):
        _current.streams[_current.device] = self
        return self

    def __enter__(self):
        self._left.append((_current.device, get_current_stream()))
        return self.use()

    def __exit__(self, *_):
        device, stream = self._left.pop()
        _current.streams[device] = stream

    def begin_capture(self, mode=None):
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self.is_capturing():
            raise CUDARuntimeError("cudaErrorIllegalState: the stream captures already")
        self._records, self._broken = [], False
        _captures.append(self)

    def end_capture(self):
        if not self.is_capturing():
            raise RuntimeError("cudaErrorIllegalState: the stream does not capture")
        records, self._records = self._records, None
        _captures.remove(self)
        if self._broken:
            raise CUDARuntimeError(
                "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during capture"
            )
        return Graph(records)

    def is_capturing(self):
        return self._records is not None

    def _break(self, why):
        self._broken = True
        raise CUDARuntimeError(
            f"cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing: {why}"
        )

    def synchronize(self):
        if self.is_capturing():
            self._break("the stream cannot be waited for")

    def record(self, event=None):
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event):
        """Everything has run already."""

    def __repr__(self):
        return f"<Stream {self.ptr} (device {self.device_id})>"


Stream.null = Stream(null=True)


def get_current_stream():
    return _current.streams.get(_current.device, Stream.null)


def _capturing():
    """The current stream if it captures, else None."""
    stream = get_current_stream()
    if stream.is_capturing():
        if stream._broken:
            stream._break("the capture is broken already")
        return stream
    if stream.ptr == 0:
        for other in _captures:
            if not other.non_blocking:
                other._break("the null stream waits for it (StreamCaptureImplicit)")
    return None


def _host_needs(what):
    stream = get_current_stream()
    if stream.is_capturing():
        stream._break(what)


class Graph:
    """What a stream has captured. It keeps no array alive, as on a device."""

    def __init__(self, records):
        self._records = records

    def launch(self, stream=None):
        global graph_launches
        if (get_current_stream() if stream is None else stream).is_capturing():
            raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: a graph in a capture")
        graph_launches += 1
        with np.errstate(all="ignore"):
            for record in self._records:
                record()

    def upload(self, stream=None):
        """Nothing to upload."""


class Event:
    """A moment."""

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self.time = None
        self.captured = False

    def record(self, stream=None):
        self.captured = (get_current_stream() if stream is None else stream).is_capturing()
        self.time = time.perf_counter()

    def synchronize(self):
        if self.captured:
            raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: the event belongs to a capture")

    @property
    def done(self):
        return not self.captured


def get_elapsed_time(start, end):
    """Milliseconds between two events."""
    for event in (start, end):
        event.synchronize()
        if event.time is None:
            raise CUDARuntimeError("cudaErrorInvalidResourceHandle: the event was never recorded")
    return 1000 * (end.time - start.time)


# -------------------------------------------------------------------------------------------------------------- memory
_total = TOTAL
_held: dict[int, int] = {}  # bytes that the pools hold on each device


@contextlib.contextmanager
def limit_memory(n_bytes):
    """Devices with only so much memory."""
    global _total
    before, _total = _total, n_bytes
    try:
        yield
    finally:
        _total = before


_GUARDS = bytes([GUARD_BYTE]) * (2 * GUARD + 2 * ALIGNMENT)


class _Block:
    """Memory of a pretended device, with guards on both sides."""

    def __init__(self, device, capacity):
        self.device, self.capacity, self.nbytes = device, capacity, 0
        self.raw = np.empty(capacity + 2 * GUARD + ALIGNMENT, np.uint8)
        address = self.raw.__array_interface__["data"][0] + GUARD
        self.start = GUARD + -address % ALIGNMENT

    def lend(self, nbytes):
        self.nbytes = nbytes
        self.spoil()
        self.mend()

    def spoil(self):
        data = self.raw[self.start : self.start + self.nbytes]
        even = self.nbytes // 2 * 2
        data[:even].view(np.uint16)[:] = GARBAGE
        data[even:] = GARBAGE >> 8

    def guards(self):
        return self.raw[: self.start], self.raw[self.start + self.nbytes :]

    def mend(self):
        for guard in self.guards():
            guard[:] = GUARD_BYTE

    def intact(self):
        """Whether nobody wrote beside it."""
        return all(guard.tobytes() == _GUARDS[: len(guard)] for guard in self.guards())


class MemoryPool:
    """Memory that stays with the pool when its arrays die, and serves the next arrays of the same size."""

    def __init__(self, allocator=None, *, _keeps=True):
        self._keeps = _keeps
        self._free = []
        self._used = dict.fromkeys(range(N_DEVICES), 0)

    def malloc(self, nbytes):
        device = Device()._checked()
        return MemoryPointer(_Memory(self, device, int(nbytes)), 0)

    def _lend(self, device, nbytes):
        capacity = -(-nbytes // ALIGNMENT) * ALIGNMENT
        # Of the very size, so that the guards of arrays that share a block in a graph are at one place.
        fitting = (i for i, block in enumerate(self._free) if (block.device, block.nbytes) == (device, nbytes))
        found = next(fitting, None)
        if found is None and _held.get(device, 0) + capacity > _total:
            self.free_all_blocks()
            if _held.get(device, 0) + capacity > _total:
                raise OutOfMemoryError(
                    f"Out of memory allocating {capacity:,} bytes (allocated so far: {_held.get(device, 0):,} bytes)."
                )
        if found is None:
            _held[device] = _held.get(device, 0) + capacity
            block = _Block(device, capacity)
        else:
            block = self._free.pop(found)
        self._used[device] += capacity
        block.lend(nbytes)
        return block

    def _take_back(self, block):
        self._used[block.device] -= block.capacity
        self._free.append(block)
        if not self._keeps:
            self.free_all_blocks()

    def free_all_blocks(self, stream=None):
        for block in self._free:
            block.spoil()  # a graph may still look at it
            _held[block.device] -= block.capacity
        self._free.clear()

    def used_bytes(self):
        return self._used[_current.device]

    def free_bytes(self):
        return sum(block.capacity for block in self._free if block.device == _current.device)

    def total_bytes(self):
        return self.used_bytes() + self.free_bytes()

    def n_free_blocks(self):
        return sum(block.device == _current.device for block in self._free)

    def __del__(self):
        self.free_all_blocks()


class _Memory:
    """What owns a block as long as an array needs it."""

    def __init__(self, pool, device, nbytes):
        self.block = None
        self.pool, self.device_id, self.size = pool, device, nbytes
        self.bytes, self.ptr = np.empty(0, np.uint8), 0
        if nbytes:
            self.block = block = pool._lend(device, nbytes)
            self.bytes = block.raw[block.start : block.start + nbytes]
            self.ptr = self.bytes.__array_interface__["data"][0]

    def __del__(self):
        if self.block is not None:
            self.pool._take_back(self.block)


class MemoryPointer:
    """An address in a memory."""

    def __init__(self, mem, offset):
        self.mem, self._offset = mem, offset
        self.ptr, self.device_id, self.device = mem.ptr + offset, mem.device_id, Device(mem.device_id)

    def __add__(self, offset):
        return MemoryPointer(self.mem, self._offset + offset)

    def __int__(self):
        return self.ptr


_default_pool = MemoryPool(_keeps=False)
_allocator = _default_pool.malloc


def alloc(nbytes):
    return (_current.allocators[-1] if _current.allocators else _allocator)(nbytes)


def set_allocator(allocator=None):
    global _allocator
    if _current.allocators:
        raise ValueError("Can't change the global allocator inside `using_allocator` context manager")
    _allocator = _default_pool.malloc if allocator is None else allocator


@contextlib.contextmanager
def using_allocator(allocator=None):
    _current.allocators.append(_default_pool.malloc if allocator is None else allocator)
    try:
        yield
    finally:
        _current.allocators.pop()


# -------------------------------------------------------------------------------------------------------------- arrays
_NUMBERS = (bool, int, float, complex, np.generic)


def _map(value, change):
    """The same tuples, lists and dicts with every device array changed; NumPy's arrays are refused."""
    if isinstance(value, ndarray):
        return change(value)
    if isinstance(value, tuple | list):
        return type(value)([_map(item, change) for item in value])
    if isinstance(value, dict):
        return {key: _map(item, change) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}: transfer it with cupy.asarray first")
    return value


def _do(operands, action):
    """Do it, or record it in the graph. The action must hold no device arrays, only views of their memory."""
    arrays: list[ndarray] = []
    _map(operands, arrays.append)
    for array in arrays:
        if array.device.id != _current.device:
            raise ValueError(
                f"Array device must be same as the current device: array device = {array.device.id} while current = {_current.device}"
            )
    stream = _capturing()
    if stream is not None:
        stream._records.append(action)
        return
    with np.errstate(all="ignore"):
        action()


def _run(function, *args, out=None, **kwargs):
    """``function`` of NumPy applied to device arrays; the result is a device array (``out`` if given)."""
    if not isinstance(out, ndarray | None):
        raise TypeError(f"out must be a cupy.ndarray, not {type(out)}")
    (args, kwargs), given = _map((args, kwargs), lambda array: array._host), (args, kwargs, out)
    capturing = get_current_stream().is_capturing()
    with np.errstate(all="ignore"):
        if capturing:  # nothing is calculated now: zeros tell shape and type of the result
            zero_args, zero_kwargs = _map(given[:2], lambda array: np.zeros_like(array._host))
            result = np.asarray(function(*zero_args, **zero_kwargs))
        else:
            result = np.asarray(function(*args, **kwargs))
    if out is None:
        fortran = result.flags.f_contiguous and not result.flags.c_contiguous
        out = ndarray(result.shape, result.dtype, order="F" if fortran else "C")
    elif out.shape != result.shape:
        raise ValueError(f"out has shape {out.shape}, the result {result.shape}")
    elif not np.can_cast(result.dtype, out.dtype, "same_kind"):
        raise TypeError(f"Cannot cast the result from {result.dtype} to {out.dtype} with casting rule 'same_kind'")
    target = out._host
    if capturing:
        _do(given, lambda: np.copyto(target, function(*args, **kwargs), casting="same_kind"))
    else:
        _do(given, lambda: np.copyto(target, result))
    return out


def _elementwise(ufunc, *args, out=None, **kwargs):
    if len(args) > ufunc.nin:
        *args, out = args
    for value in args:
        if not isinstance(value, (ndarray, *_NUMBERS)):
            raise TypeError(f"Unsupported type {type(value)}")
    if ufunc.nout != 1 or kwargs.keys() - {"dtype", "casting"}:
        raise TypeError(f"the stand-in has no {ufunc.__name__} with {sorted(kwargs)}")
    return _run(ufunc, *args, out=out, **kwargs)


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array on a pretended device."""

    __module__ = "cupy"  # by which users' arrays are told
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, shape, dtype=float, memptr=None, strides=None, order="C"):
        dtype = np.dtype(dtype)
        shape = (operator.index(shape),) if not isinstance(shape, tuple | list) else tuple(map(operator.index, shape))
        if memptr is None:
            memptr = alloc(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        self._memory = memptr.mem
        self._host = np.ndarray(
            shape, dtype, buffer=memptr.mem.bytes, offset=memptr._offset, strides=strides, order=order
        )

    def _see(self, host):
        """Another view of the same memory."""
        view = object.__new__(ndarray)
        view._memory, view._host = self._memory, host
        return view

    def _values(self, what):
        _host_needs(what)
        return self._host

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    size = property(lambda self: self._host.size)
    ndim = property(lambda self: self._host.ndim)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: self._host.flags)
    device = property(lambda self: Device(self._memory.device_id))
    T = property(lambda self: self._see(self._host.T))

    @property
    def _address(self):
        return self._host.__array_interface__["data"][0] if self.size else 0

    @property
    def data(self):
        return MemoryPointer(self._memory, self._address - self._memory.ptr if self.size else 0)

    # --- to the host
    def get(self, stream=None, order="C", out=None, blocking=True):
        values = self._values("values go to the host")
        if out is None:
            return values.copy(order="C" if order == "A" else order)
        if not isinstance(out, np.ndarray) or (out.dtype, out.shape) != (self.dtype, self.shape):
            raise TypeError("out must be a NumPy array of the same type and shape")
        out[...] = values
        return out

    def set(self, array, stream=None):
        if not isinstance(array, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if (array.dtype, array.shape) != (self.dtype, self.shape):
            raise ValueError(f"{array.dtype} {array.shape} cannot be set to {self.dtype} {self.shape}")
        self._values("values come from the host")[...] = array

    def __array__(self, dtype=None, copy=None):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."
        )

    def item(self, *index):
        return self._values("a value goes to the host").item(*index)

    def tolist(self):
        return self._values("values go to the host").tolist()

    def __bool__(self):
        return bool(self._values("a value goes to the host"))

    def __int__(self):
        return int(self.item())

    def __float__(self):
        return float(self.item())

    def __index__(self):
        if self.ndim:
            raise TypeError("only 0-d integer arrays can be converted to a scalar index")
        return operator.index(self.item())

    def __repr__(self):
        return repr(self._host)

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        if not self.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    # --- what NumPy's functions do with it
    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        out = out[0] if out is not None else None
        if method == "__call__":
            return _elementwise(ufunc, *inputs, out=out, **kwargs)
        if method == "reduce":
            return _run(ufunc.reduce, *inputs, out=out, **kwargs)
        return NotImplemented

    def __array_function__(self, function, kinds, args, kwargs):
        own = getattr(cupy, function.__name__, None) if function.__module__ == "numpy" else None
        if own is None or not all(kind in (ndarray, np.ndarray) for kind in kinds):
            return NotImplemented
        return own(*args, **kwargs)

    # --- parts
    def _key(self, key):
        key = key if isinstance(key, tuple) else (key,)
        for part in key:
            good = isinstance(part, int | np.integer | slice) and not isinstance(part, bool)
            if isinstance(part, ndarray) and part.dtype.kind not in "iub":
                raise IndexError("arrays used as indices must be of integer or boolean type")
            if not (good or part is None or part is Ellipsis or isinstance(part, ndarray)):
                raise TypeError(f"Unsupported type {type(part)} as index")
        masked = any(isinstance(part, ndarray) and part.dtype == bool for part in key)
        fancy = any(isinstance(part, ndarray) for part in key)
        return key, fancy, masked

    def __getitem__(self, key):
        key, fancy, masked = self._key(key)
        if masked:
            _host_needs("a mask's shape depends on its values")
        if fancy:
            return _run(operator.getitem, self, key)
        return self._see(self._host[key if any(part is Ellipsis for part in key) else (*key, ...)])

    def __setitem__(self, key, value):
        key, _, masked = self._key(key)
        if not isinstance(value, (ndarray, *_NUMBERS)):
            raise TypeError(f"Unsupported type {type(value)}")
        if masked and isinstance(value, ndarray) and value.ndim:
            _host_needs("a mask's shape depends on its values")
        host_key, host_value = _map((key, value), lambda array: array._host)
        host = self._host
        _do((self, key, value), lambda: operator.setitem(host, host_key, host_value))

    def fill(self, value):
        self[...] = value

    # --- other forms
    def _same_or_copy(self, host):
        return self._see(host) if np.may_share_memory(host, self._host) else None

    def reshape(self, *shape, order="C"):
        shape = shape[0] if len(shape) == 1 else shape
        view = self._same_or_copy(self._host.reshape(shape, order=order))
        return _run(np.reshape, self, shape, order=order) if view is None else view

    def ravel(self, order="C"):
        return self.reshape(-1, order=order)

    def flatten(self, order="C"):
        return self.ravel(order).copy()

    def transpose(self, *axes):
        return self._see(self._host.transpose(*axes))

    def squeeze(self, axis=None):
        return self._see(self._host.squeeze(axis))

    def view(self, dtype=None):
        return self._see(self._host.view() if dtype is None else self._host.view(dtype))

    def copy(self, order="C"):
        return _run(np.array, self, copy=True, order=order)

    def astype(self, dtype, order="K", casting=None, subok=None, copy=True):
        return self if not copy and self.dtype == np.dtype(dtype) else _run(np.ndarray.astype, self, np.dtype(dtype))


# -------------------------------------------------------------------------------------------- functions of the module
def _names(text):
    return tuple(text.split())


UFUNCS = _names("""
    abs absolute sign maximum minimum exp expm1 log log1p sqrt square isfinite isnan isinf add subtract multiply divide
    floor_divide remainder negative power floor ceil rint tanh reciprocal equal not_equal less less_equal greater
    greater_equal logical_and logical_or logical_not matmul
""")
REDUCTIONS = _names("sum prod mean max min amax amin all any argmax argmin count_nonzero")
OF_AN_ARRAY = _names("cumsum argsort sort searchsorted repeat take clip diff bincount flatnonzero dot where")
OF_ARRAYS = _names("concatenate stack")
LIKE = _names("zeros_like ones_like full_like")
NEW = _names("zeros ones full arange")
METHODS = _names("sum prod mean max min all any argmax argmin cumsum argsort searchsorted repeat take clip dot")
CONSTANTS = _names("""
    float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool_ newaxis inf nan pi e
    dtype integer floating generic result_type iinfo finfo
""")
KEYWORDS = _names("axis dtype keepdims side sorter minlength weights a_min a_max kind n fill_value order repeats")
WAITING = {"bincount", "flatnonzero"}  # the shape of the result depends on values


def _checked(name, args, kwargs):
    """Refuse what CuPy refuses."""
    if unknown := kwargs.keys() - set(KEYWORDS):
        raise TypeError(f"cupy.{name} has no {sorted(unknown)}")
    if name in OF_ARRAYS:
        good = isinstance(args[0], tuple | list) and all(isinstance(item, ndarray) for item in args[0])
    else:
        good = name in NEW or isinstance(args[0], ndarray)
    if not good:
        raise TypeError(f"cupy.{name} takes a cupy.ndarray, not {type(args[0])}")
    if name in ("take", "searchsorted") and len(args) > 1 and not isinstance(args[1], ndarray | int | float):
        raise TypeError(f"cupy.{name} takes a cupy.ndarray or a number, not {type(args[1])}")
    if name == "where" and len(args) != 3:
        raise TypeError("the stand-in has cupy.where with three arguments only")
    counted = name == "repeat" and any(isinstance(item, ndarray) for item in (*args[1:], *kwargs.values()))
    if counted or name in WAITING:
        _host_needs(f"the shape that cupy.{name} gives depends on values")


def _function(name):
    numpy_function = getattr(np, name)

    def call(*args, out=None, **kwargs):
        _checked(name, args, kwargs)
        if name in ("argsort", "sort"):
            kwargs.setdefault("kind", "stable")  # as CuPy, unlike NumPy
        return _run(numpy_function, *args, out=out, **kwargs)

    call.__name__ = call.__qualname__ = name
    return call


def _method(name):
    return lambda self, *args, **kwargs: getattr(cupy, name)(self, *args, **kwargs)


for _name in METHODS:
    setattr(ndarray, _name, _method(_name))


def _empty(shape, dtype=float, order="C"):
    return ndarray(shape, dtype, order=order)


def _empty_like(a, dtype=None):
    _checked("zeros_like", (a,), {})
    return ndarray(a.shape, a.dtype if dtype is None else dtype)


def _array(obj, dtype=None, copy=True, order="K", ndmin=0):
    if isinstance(obj, ndarray):
        if obj.device.id != _current.device:
            with obj.device:
                obj._values("values go to another device")
            return _array(obj._host, dtype)
        return obj.copy() if dtype is None else obj.astype(dtype)
    host = np.array(obj, dtype, order=order, ndmin=ndmin)
    if host.dtype.kind not in "biuf":
        raise ValueError(f"Unsupported dtype {host.dtype}")
    if host.size > 1:
        _host_needs("values come from the host")
    return _run(lambda: host)


def _asarray(a, dtype=None, order=None):
    same = isinstance(a, ndarray) and dtype in (None, a.dtype)
    return a if same else _array(a, dtype)


def _ascontiguousarray(a, dtype=None):
    a = _asarray(a, dtype)
    return a if a.flags.c_contiguous else a.copy()


def _copyto(dst, src, casting="same_kind", where=None):
    if not isinstance(dst, ndarray) or not isinstance(src, ndarray) or not isinstance(where, ndarray | None):
        raise TypeError("the stand-in copies from one cupy.ndarray to another only")
    if where is None:
        dst[...] = src
        return
    target, values, mask = dst._host, src._host, where._host
    _do((dst, src, where), lambda: np.copyto(target, values, casting=casting, where=mask))


def _asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    return a.get(out=out) if isinstance(a, ndarray) else np.asarray(a)


# ------------------------------------------------------------------------------------------------------------- kernels
def compiler():
    """The C++ compiler that will be used, or None."""
    if not sys.platform.startswith("linux"):
        return None
    found = (shutil.which(name) for name in (os.environ.get("CXX"), "g++", "c++", "clang++") if name)
    return next((path for path in found if path), None)


_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_KERNEL = re.compile(r'extern\s+"C"\s+(?:__global__|void|__launch_bounds__\s*\([^)]*\)|\s)+?\b(?!__|void\b)(\w+)\s*\(')
_SHORTHAND = re.compile(r'^#define (\w+)\s+(extern\s+"C"[^\n]*__global__[^\n]*)$', re.MULTILINE)
_LINKAGE = re.compile(r'extern\s+"C"(?=\s+(?:__global__|__launch_bounds__|void)\b)')
_DYNAMIC = re.compile(r"extern\s+__shared__\s+(?:__align__\s*\(\s*\w+\s*\)\s*)?([\w\s]+?)\s*\b(\w+)\s*\[\s*\]\s*;")


@functools.cache
def _compiled(code, options):
    """The library of a source text, and the names of its kernels."""
    plain = _COMMENT.sub(lambda match: "\n" * match[0].count("\n") or " ", code)
    for word, text in _SHORTHAND.findall(plain):
        plain = re.sub(rf"(?<!#define )\b{word}\b", text, plain)
    names = [match[1] for match in _KERNEL.finditer(plain) if "__global__" in match[0]]
    body = _DYNAMIC.sub(r"\1* const \2 = reinterpret_cast<\1*>(cuda_on_cpu::dynamic_shared);", plain)
    body = _LINKAGE.sub("", body)  # in C a kernel named like a function of the system would be that function
    launchers = "\n".join(f"CUDA_ON_CPU_LAUNCHER({name})" for name in names)
    text = f'{SHIM.read_text()}\nnamespace cuda_source {{ namespace {{\n#line 1 "kernels.cu"\n{body}\n}} }}\n#line 1 "launchers"\n{launchers}\n'
    program = compiler()
    if program is None:
        raise RuntimeError("no C++ compiler (CXX, g++, c++ or clang++) on this machine")
    command = [program, *FLAGS, *(option for option in options if option.startswith(("-D", "-U")))]
    folder = Path(tempfile.gettempdir()) / f"cuda_on_cpu_{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise RuntimeError(f"{folder} belongs to somebody else")
    library = folder / (hashlib.sha256("\0".join([text, *command]).encode()).hexdigest()[:32] + ".so")
    if not library.exists():  # several processes may be here at once
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            source, made = Path(scratch, "kernels.cpp"), Path(scratch, "kernels.so")
            source.write_text(text)
            done = subprocess.run([*command, "-o", str(made), str(source)], capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"the compiler refuses the kernels:\n{done.stdout}{done.stderr}")
            os.replace(made, library)
    return ctypes.PyDLL(str(library)), frozenset(names)  # PyDLL: the interpreter's lock lets one launch run at a time


def _kind(dtype):
    return f"{dtype.kind}{dtype.itemsize}"


def _words(kind):
    """A parameter's type in C."""
    names = {"f4": "float", "f8": "double", "u1": "unsigned char", "b1": "bool", "V0": "void"}
    names |= {f"i{n}": f"int{8 * n}" for n in (1, 2, 4, 8)} | {f"u{n}": f"unsigned int{8 * n}" for n in (2, 4, 8)}
    return f"{names[kind[1:]]}*" if kind.startswith("*") else {"i8": "long long", "f8": "double"}[kind]


class _Kernel:
    """A kernel of a module; called like CuPy's."""

    def __init__(self, library, name):
        self.name = name
        self._launch = getattr(library, f"launch_{name}")
        types_of = getattr(library, f"types_{name}")
        types_of.restype = ctypes.c_char_p
        self._kinds = types_of().decode().split(",")[:-1]

    def _size(self, what, size, limits):
        if (
            not isinstance(size, tuple)
            or not 1 <= len(size) <= 3
            or any(not isinstance(n, int | np.integer) for n in size)
        ):
            raise TypeError(f"kernel {self.name}: {what} must be a tuple of 1 to 3 integers, not {size!r}")
        size = (*map(int, size), 1, 1)[:3]
        if any(not 1 <= n <= limit for n, limit in zip(size, limits)):
            raise CUDARuntimeError(
                f"CUDA_ERROR_INVALID_VALUE: kernel {self.name}: {what} {size} is not within 1 to {limits}"
            )
        return size

    def _argument(self, number, kind, value):
        """The 8 bytes that are passed, as a ctypes value."""
        if kind.startswith("*"):
            if type(value) is int and value == 0:
                return ctypes.c_void_p(0)
            same = {"u1": ("u1", "b1"), "b1": ("u1", "b1")}.get(kind[1:], (kind[1:],))
            if isinstance(value, ndarray) and (kind == "*V0" or _kind(value.dtype) in same):
                return ctypes.c_void_p(value._address)
        elif kind == "i8" and type(value) is int:
            if not -(2**63) <= value < 2**63:
                raise OverflowError(f"kernel {self.name}, argument {number}: {value} does not fit into long long")
            return ctypes.c_longlong(value)
        elif kind == "f8" and type(value) is float:
            return ctypes.c_double(value)
        given = (
            f"cupy.ndarray of {value.dtype}" if isinstance(value, ndarray) else f"{type(value).__name__} {value!r:.80}"
        )
        raise TypeError(f"kernel {self.name}, argument {number}: {given} given, {_words(kind)} needed")

    def __call__(self, grid, block, args, *, shared_mem=0):
        sizes = (
            *self._size("grid", grid, (2**31 - 1, 65535, 65535)),
            *self._size("block", block, (1024, 1024, 64)),
            shared_mem,
        )
        if sizes[3] * sizes[4] * sizes[5] > 1024:
            raise CUDARuntimeError(
                f"CUDA_ERROR_INVALID_VALUE: kernel {self.name}: a block of {sizes[3:6]} has more than 1024 threads"
            )
        if not 0 <= shared_mem <= 48 << 10:
            raise CUDARuntimeError(f"CUDA_ERROR_INVALID_VALUE: kernel {self.name}: {shared_mem} bytes of shared memory")
        if len(args) != len(self._kinds):
            raise TypeError(f"kernel {self.name} takes {len(self._kinds)} arguments, {len(args)} given")
        values = [self._argument(i, kind, value) for i, (kind, value) in enumerate(zip(self._kinds, args))]
        arrays = {i: value for i, value in enumerate(args) if isinstance(value, ndarray) and value.size}
        blocks = {i: array._memory.block for i, array in arrays.items()}
        c_sizes = (ctypes.c_uint * 7)(*sizes)

        def action():
            pointers = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))
            text = ctypes.create_string_buffer(4000)
            if self._launch(c_sizes, pointers, int(order == "backward"), text, len(text)):
                raise RuntimeError(text.value.decode(errors="replace"))
            wrong = [i for i, block in blocks.items() if not block.intact()]
            for i in wrong:
                blocks[i].mend()  # one mistake is told once
            if wrong:
                raise AssertionError(f"kernel {self.name} wrote beyond the memory of argument {wrong[0]}")

        _do(args, action)
        if not get_current_stream().is_capturing():
            launches.append(self.name)


class RawModule:
    """Kernels from their source text."""

    def __init__(
        self,
        code=None,
        *,
        path=None,
        options=(),
        backend="nvrtc",
        translate_cucomplex=False,
        enable_cooperative_groups=False,
        name_expressions=None,
        jitify=False,
    ):
        if not isinstance(code, str) or not isinstance(options, tuple):
            raise TypeError("the stand-in needs code as text and options as a tuple")
        self._code, self._options = code, options

    def compile(self, log_stream=None):
        return _compiled(self._code, self._options)

    def get_function(self, name):
        library, names = self.compile()
        if name not in names:
            raise CUDARuntimeError(f"CUDA_ERROR_NOT_FOUND: named symbol not found: {name}; there are {sorted(names)}")
        return _Kernel(library, name)


# ----------------------------------------------------------------------------------------------------------- the module
def _module(name, **names):
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
    module.__path__ = []
    vars(module).update(names)
    return module


def _properties(device):
    return {
        "name": f"pretended device {device}".encode(),
        "totalGlobalMem": _total,
        "multiProcessorCount": 16,
        "major": 9,
        "minor": 0,
    }


_runtime = _module(
    "cupy.cuda.runtime",
    CUDARuntimeError=CUDARuntimeError,
    getDeviceCount=lambda: N_DEVICES,
    getDevice=lambda: _current.device,
    getDeviceProperties=_properties,
    memGetInfo=lambda: Device().mem_info,
    runtimeGetVersion=lambda: 12090,
    driverGetVersion=lambda: 12090,
)
_memory = _module(
    "cupy.cuda.memory", OutOfMemoryError=OutOfMemoryError, MemoryPool=MemoryPool, MemoryPointer=MemoryPointer
)
_cuda = _module(
    "cupy.cuda",
    is_available=lambda: True,
    runtime=_runtime,
    memory=_memory,
    get_allocator=lambda: _current.allocators[-1] if _current.allocators else _allocator,
    **{item.__name__: item for item in (Device, Stream, Event, Graph, MemoryPool, MemoryPointer, alloc, set_allocator)},
    **{item.__name__: item for item in (using_allocator, get_current_stream, get_elapsed_time)},
)
cupy = _module(
    "cupy",
    __version__="14.2.0",
    cuda=_cuda,
    ndarray=ndarray,
    RawModule=RawModule,
    empty=_empty,
    empty_like=_empty_like,
    array=_array,
    asarray=_asarray,
    ascontiguousarray=_ascontiguousarray,
    asnumpy=_asnumpy,
    copyto=_copyto,
    ndim=lambda a: a.ndim,
    shape=lambda a: a.shape,
    size=lambda a: a.size,
    get_default_memory_pool=lambda: _default_pool,
    **{name: functools.partial(_elementwise, getattr(np, name)) for name in UFUNCS},
    **{name: _function(name) for name in (*REDUCTIONS, *OF_AN_ARRAY, *OF_ARRAYS, *LIKE, *NEW)},
    **{name: getattr(np, name) for name in CONSTANTS},
)
_before: list[dict[str, types.ModuleType | None]] = []


def install():
    """Make ``import cupy`` give the stand-in."""
    modules = (cupy, _cuda, _runtime, _memory)
    _before.append({module.__name__: sys.modules.get(module.__name__) for module in modules})
    sys.modules.update({module.__name__: module for module in modules})
    return cupy


def uninstall():
    """Put back what ``install()`` has replaced."""
    for name, module in _before.pop().items():
        if module is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = module
