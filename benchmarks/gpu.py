"""What the GPU benchmarks share: a device, time by CUDA events, what the device can do at most, result files.

Work on a device is asynchronous: every time here lies between two events of the stream that the work was given to,
after calls that compile kernels, record graphs and reserve memory. CuPy and PyTorch both work on the default stream of
one device, so that contestants take turns without meeting. PyTorch is optional: without it, or where it finds no
device, there are no peers, and the result files say so.
"""

from __future__ import annotations

import argparse
import gc
import time
import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from machine import RESULTS, machine, write
from timing import WATCH, Timing, say

from sparserbm.backends import why_no_gpu

if why_no_gpu() is None:
    import cupy

try:
    import torch
except (ImportError, OSError):  # the second: a library of its own is missing
    torch = None  # type: ignore[assignment]
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")

SIZES = ("full", "quick", "tiny")
SECONDS = {"full": 0.05, "quick": 0.02, "tiny": 0.0}  # of one contestant in one round
MOST_CALLS = 10_000
GRAPH_SECONDS = 2e-3  # work of one graph: its own launch, about 0.01 ms, is then lost in it
MOST_IN_A_GRAPH = 50
COPIED = {"full": 2 << 30, "quick": 1 << 30, "tiny": 1 << 12}  # bytes of the array whose copy is timed
CHAINS, IN_A_CHAIN = 8, 16  # of `multiply_add`

MULTIPLY_ADD = """
extern "C" __global__ void multiply_add(float* out, long long repeats, double a, double b) {
    const float factor = a, addend = b;
    float x[CHAINS];
#pragma unroll
    for (int k = 0; k < CHAINS; k++) x[k] = threadIdx.x + k;
    for (long long repeat = 0; repeat < repeats; repeat++) {
#pragma unroll
        for (int step = 0; step < IN_A_CHAIN; step++)
#pragma unroll
            for (int k = 0; k < CHAINS; k++) x[k] = fmaf(x[k], factor, addend);
    }
    float total = 0;
#pragma unroll
    for (int k = 0; k < CHAINS; k++) total += x[k];
    out[blockIdx.x * (long long)blockDim.x + threadIdx.x] = total;
}
"""

Name = TypeVar("Name", bound=Hashable)
Result = TypeVar("Result")
Clock = Callable[[Callable[[], Any], int], float]


class Disagreement(Exception):
    """Two contestants compute different things: there is nothing to measure."""


# -- scripts -------------------------------------------------------------------------------------------------------


def require_gpu() -> None:
    """End the script, with the reason, where the cupy backend cannot run."""
    reason = why_no_gpu()
    if reason is not None:
        raise SystemExit(f"this benchmark needs a GPU: {reason}")


def parser(doc: str | None, rounds: int = 7) -> argparse.ArgumentParser:
    """The options that all scripts have."""
    found = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    found.add_argument("--rounds", type=int, help=f"measurements of each contestant, by default {rounds}, quick 3")
    found.add_argument("--out", type=Path, help="folder of the result file, by default benchmarks/results")
    size = found.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="smaller layers and fewer rounds")
    size.add_argument(
        "--tiny",
        action="store_true",
        help="only to see that the script works: no figure of it means anything; nothing is written without --out",
    )
    found.set_defaults(usual_rounds=rounds)
    return found


def begin(options: argparse.Namespace) -> None:
    """Look for a device and settle what follows from the options: `size`, `rounds` and `seconds`."""
    require_gpu()
    options.size = "tiny" if options.tiny else "quick" if options.quick else "full"
    usual = {"full": options.usual_rounds, "quick": 3, "tiny": 2}[options.size]
    options.rounds = options.rounds or usual
    options.seconds = SECONDS[options.size]
    if options.tiny and torch is not None:
        torch.set_num_threads(1)  # on the CPU its threads would wait for each other longer than they work
    say(f"{device()['name']}; peers: {peers(options)['what']}")


def save(name: str, options: argparse.Namespace, content: dict[str, Any], complete: bool = False) -> Path | None:
    """Write a result file; also with what there is so far, for a script may be stopped by a time limit."""
    folder = options.out or (None if options.tiny else RESULTS)
    if folder is None:
        return None
    head = {
        "machine": machine(),
        "device": device(),
        "peers": peers(options),
        "size": options.size,
        "complete": complete,
        "rounds": options.rounds,
        "dtype": "float32",
        "cores_busy_with_others": WATCH.busy_cores(),
    }
    return write(name, head | content, folder)


def publish(name: str, options: argparse.Namespace, content: dict[str, Any], table: Sequence[str]) -> None:
    """Print the table and write the complete result file."""
    print("\n".join(table))
    path = save(name, options, content, complete=True)
    say("--tiny: nothing written" if path is None else f"written to {path}")


# -- devices -------------------------------------------------------------------------------------------------------


def device() -> dict[str, Any]:
    """The device that CuPy works on, and the CUDA versions."""
    found = cupy.cuda.Device()
    properties, runtime = cupy.cuda.runtime.getDeviceProperties(found.id), cupy.cuda.runtime
    return {
        "name": properties["name"].decode(),
        "memory_bytes": int(found.mem_info[1]),
        "multiprocessors": properties["multiProcessorCount"],
        "l2_bytes": properties.get("l2CacheSize"),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "cuda_of_the_driver": _version(runtime.driverGetVersion()),
        "cuda_runtime": _version(runtime.runtimeGetVersion()),
        "cuda_of_pytorch": None if torch is None else torch.version.cuda,
    }


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def peer_device(options: argparse.Namespace) -> str | None:
    """Where PyTorch computes; the CPU is good enough only to see that a script works."""
    if torch is None:
        return None
    return "cuda" if torch.cuda.is_available() else "cpu" if options.tiny else None


def peers(options: argparse.Namespace) -> dict[str, Any]:
    """Where the peers compute, in words too."""
    where = peer_device(options)
    if where is not None:
        return {"device": where, "what": f"PyTorch {torch.__version__} on {where}"}
    reason = "PyTorch is not installed" if torch is None else "PyTorch finds no CUDA device"
    return {"device": None, "what": f"none ({reason})"}


def free_memory() -> int:
    """Bytes of the device that nobody holds, once both allocators have given back what they keep."""
    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    return int(cupy.cuda.Device().mem_info[0])


def held_by_cupy() -> int:
    """Bytes that CuPy's pool holds: all arrays, and what it keeps of those that are gone."""
    return cupy.get_default_memory_pool().total_bytes()


# -- time ----------------------------------------------------------------------------------------------------------


def on_device(call: Callable[[], Any], calls: int) -> float:
    """Seconds of so many calls of work given to CuPy's current stream."""
    first, last = cupy.cuda.Event(), cupy.cuda.Event()
    cupy.cuda.Device().synchronize()
    first.record()
    for _ in range(calls):
        call()
    last.record()
    last.synchronize()
    return cupy.cuda.get_elapsed_time(first, last) / 1e3


def on_peers(call: Callable[[], Any], calls: int) -> float:
    """The same for PyTorch."""
    if not torch.cuda.is_available():
        return _on_host(call, calls)
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    first.record()
    for _ in range(calls):
        call()
    last.record()
    last.synchronize()
    return first.elapsed_time(last) / 1e3


def _on_host(call: Callable[[], Any], calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - begin


@dataclass(frozen=True)
class Contestant:
    """What is timed.

    Attributes
    ----------
    call : callable
    clock : on_device or on_peers
    times : int
        How often one call does the work.
    """

    call: Callable[[], Any]
    clock: Clock = on_device
    times: int = 1


def interleave(contestants: dict[Name, Contestant], options: argparse.Namespace) -> dict[Name, Timing]:
    """Seconds for doing the work of every contestant once; in every round another one begins."""
    names = list(contestants)
    calls = {name: enough_calls(contestant, options.seconds) for name, contestant in contestants.items()}
    found: dict[Name, list[float]] = {name: [] for name in names}
    for number in range(options.rounds):
        gc.collect()
        first = number % len(names)
        for name in names[first:] + names[:first]:
            one, count = contestants[name], calls[name]
            if count > 1:
                one.clock(one.call, 1)  # the caches hold what it needs, the device's clock is up
            found[name].append(one.clock(one.call, count) / (count * one.times))
    return {name: Timing(tuple(seconds)) for name, seconds in found.items()}


def enough_calls(contestant: Contestant, seconds: float) -> int:
    """Calls that take about so many seconds, after those that compile, record and reserve memory."""
    contestant.clock(contestant.call, 1)
    once = contestant.clock(contestant.call, 1)
    if once >= seconds:
        return 1
    once = min(contestant.clock(contestant.call, 1) for _ in range(3))
    return max(1, min(MOST_CALLS, round(seconds / max(once, 1e-7))))


def recorded(call: Callable[[], Any], options: argparse.Namespace) -> Contestant:
    """`call`, some times over, as one CUDA graph: the time of its kernels without that of launching them from Python.

    The call must allocate nothing and read nothing back; whoever asks keeps its arrays alive.
    """
    times = in_a_graph(Contestant(call), options)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        for _ in range(times):
            call()
        graph = stream.end_capture()
    return Contestant(graph.launch, on_device, times)


def recorded_by_torch(call: Callable[[], Any], options: argparse.Namespace, times: int | None = None) -> Contestant:
    """The same for PyTorch; on the CPU the call itself."""
    if not torch.cuda.is_available():
        return Contestant(call, on_peers)
    times = times or in_a_graph(Contestant(call, on_peers), options)
    side = torch.cuda.Stream()  # as PyTorch asks for: what a first call allocates must not belong to the graph
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(times):
            call()
    return Contestant(graph.replay, on_peers, times)


def in_a_graph(contestant: Contestant, options: argparse.Namespace) -> int:
    """How often a graph should do the work, after first calls that make what the work needs."""
    contestant.clock(contestant.call, 2)
    if options.tiny:
        return 2
    return max(1, min(MOST_IN_A_GRAPH, round(GRAPH_SECONDS / max(contestant.clock(contestant.call, 1), 1e-7))))


def with_tf32(call: Callable[[], Any]) -> Callable[[], Any]:
    """`call` where PyTorch may round the inputs of dense products to TF32; everything else is true float32."""

    def allowed() -> Any:
        torch.set_float32_matmul_precision("high")
        try:
            return call()
        finally:
            torch.set_float32_matmul_precision("highest")

    return allowed


def attempt(who: str, left_out: dict[str, str], make: Callable[..., Result], *arguments: Any) -> Result | None:
    """What `make(*arguments)` gives; None, and the reason in `left_out`, if a peer cannot do it here."""
    try:
        return make(*arguments)
    except Disagreement:
        raise
    except Exception as error:  # out of memory, a product that PyTorch lacks, a capture that it refuses
        left_out[who] = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        say(f"{who} is left out: {left_out[who]}")
        return None


def activities(call: Callable[[], Any]) -> int | None:
    """Kernels, copies and fills on the device during `call`, as PyTorch's profiler sees them; None where it cannot."""
    if torch is None or not torch.cuda.is_available():
        return None
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            call()
            torch.cuda.synchronize()
        cuda = torch.autograd.DeviceType.CUDA
        return sum(event.device_type == cuda for event in profile.events()) or None
    except Exception as error:  # a profiler needs rights that not everybody has
        say(f"activities cannot be counted: {str(error).splitlines()[0]}")
        return None


# -- what the device can do at most --------------------------------------------------------------------------------


def ceilings(options: argparse.Namespace) -> dict[str, Any]:
    """Float32 arithmetic by multiply-adds in registers, and memory by a copy (read and write counted)."""
    fma, flops = multiply_adds(options)
    copy, moved = copying(options)
    timings = interleave({"fma": fma, "copy": copy}, options)
    return {
        "gflops": round(flops / timings["fma"].median / 1e9, 1),
        "copy_gb_per_s": round(moved / timings["copy"].median / 1e9, 1),
        "how": "gflops: a kernel of float32 multiply-adds in registers; copy_gb_per_s: cupy.copyto from device to "
        f"device, {moved // 2 >> 20} MiB, read and write counted; median of the rounds",
    }


def multiply_adds(options: argparse.Namespace) -> tuple[Contestant, float]:
    """The kernel, and its FLOPs."""
    constants = f"#define CHAINS {CHAINS}\n#define IN_A_CHAIN {IN_A_CHAIN}\n"
    kernel = cupy.RawModule(code=constants + MULTIPLY_ADD).get_function("multiply_add")
    threads, repeats = 256, 1 if options.tiny else 4000
    properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    blocks = 2 if options.tiny else 16 * properties["multiProcessorCount"]
    out = cupy.empty(blocks * threads, dtype=cupy.float32)
    arguments = (out, repeats, 0.999, 0.001)
    kernel((1,), (1,), (out, 1, 2.0, 1.0))
    # By hand: each chain takes k to 2 k + 1, IN_A_CHAIN times.
    expected = sum((k + 1) * 2**IN_A_CHAIN - 1 for k in range(CHAINS))
    if float(out[0]) != expected:
        raise Disagreement(f"the kernel of multiply-adds gives {float(out[0])}, not {expected}")
    flops = 2.0 * CHAINS * IN_A_CHAIN * repeats * blocks * threads
    return Contestant(lambda: kernel((blocks,), (threads,), arguments)), flops


def copying(options: argparse.Namespace) -> tuple[Contestant, int]:
    """A copy, and the bytes that it reads and writes."""
    size = min(COPIED[options.size], free_memory() // 4)
    source = cupy.arange(size // 4, dtype=cupy.float32)
    target = cupy.zeros_like(source)
    cupy.copyto(target, source)
    if float(target[-1]) != float(source[-1]) or float(target[1]) != 1.0:
        raise Disagreement("the copy is not one")
    return Contestant(lambda: cupy.copyto(target, source)), 2 * source.nbytes
