"""What a training step consists of, on a GPU: products, draws, optimizers, and the moves of an evolution event.

    python benchmarks/gpu_products.py            # --quick: smaller layers, fewer rounds

Beside ours stand PyTorch's CSR products (`CSR @ dense`, `sampled_addmm`) and a dense `matmul` of the same shape where
it fits, in float32 without TF32, and once more with it. "ours" and the dense products are recorded as CUDA graphs, so
that what is timed are the kernels; "ours, launched" and PyTorch's CSR are launched from Python one by one.

Bytes are counted twice. *Gathered*: each connection reads the whole row of activities that it points to, beside
weights, indices, the rows of the other side (once) and results. *Compulsory*: every array once. Both over the measured
bandwidth of a copy; the first may pass 100 %, since caches serve it. The aim is half of that bound (gathered) for ten
million connections and batches of 512. Writes results/gpu_products.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import gpu
import numpy as np
from gpu import Contestant, on_peers, torch
from timing import Timing, markdown, met, say

from sparserbm.backends import SignedPair, get_backend
from sparserbm.network.connections import Connections, Pattern
from sparserbm.rng import DrawKey, distinct_ranks

# n_pre, n_post, connections
LAYERS = {
    "full": (
        (784, 500, 14_124),
        (784, 4000, 52_624),
        (3072, 4000, 141_440),
        (4000, 4000, 320_000),
        (22_360, 22_360, 9_999_392),
        (70_700, 70_700, 99_969_800),
    ),
    "quick": ((784, 500, 14_124), (3072, 4000, 141_440), (4000, 4000, 320_000), (22_360, 22_360, 9_999_392)),
    "tiny": ((30, 20, 90),),
}
BATCHES = {"full": (32, 128, 512), "quick": (128, 512), "tiny": (8,)}
AIM, AIM_UNITS, AIM_BATCH = 0.5, 22_360, 512  # share of the bandwidth bound; where it is aimed at
# FLOPs a connection and sample
PRODUCTS = {
    "spmm": 2,
    "spmm_t": 2,
    "sddmm": 2,
    "sddmm, two pairs": 4,
    "product, sigmoid, draw": 2,
    "sddmm and SGD, in parts": 2,  # as in training, part by part
}
OTHERS = ("SGD", "Adam", "merge", "transpose")
KEY = DrawKey(1, 2, 3, 4)
SGD = (1e-9, 0.9, False)  # so slow that the weights stay, whatever the number of updates
ADAM = (1e-3, 0.9, 0.999, 1e-8)
ZETA = 0.3
F = 4  # bytes of a float32

Calls = dict[tuple[str, str], Contestant]  # by (who, kernel)


def main() -> None:
    options = gpu.parser(__doc__).parse_args()
    gpu.begin(options)
    content: dict[str, Any] = {
        "what": "one kernel; ours and PyTorch dense: recorded as CUDA graphs; ours, launched, and PyTorch's others: "
        "launched from Python one by one; over_ours compares like with like",
        "aim": f"gathered bytes over the bandwidth of a copy: at least {AIM} for {AIM_UNITS} units, batch {AIM_BATCH}",
        "ceilings": gpu.ceilings(options),
        "left_out": {},
        "rows": [],
    }
    for n_pre, n_post, n_connections in LAYERS[options.size]:
        if not fits(n_pre, n_post, n_connections, max(BATCHES[options.size])):
            content["left_out"][f"{n_pre} x {n_post}"] = "the device has too little memory"
            continue
        say(f"{n_pre} x {n_post}, {n_connections:,} connections")
        measure(Layer(n_pre, n_post, n_connections), options, content)
    content["reached"] = [
        {
            "what": f"{row['kernel']}, {row['layer']}, batch {row['batch']}: share of the bandwidth bound",
            "reached": row["gathered_over_copy"],
            "target": row["target"],
            "met": row["met"],
        }
        for row in content["rows"]
        if row["target"] is not None
    ]
    gpu.publish("gpu_products", options, content, table(content))


def measure(layer: Layer, options: argparse.Namespace, content: dict[str, Any]) -> None:
    """Put the rows of a layer into `content`."""
    content["rows"] += without_batch(layer, options, content)
    peers = matrices(layer, options, content["left_out"])
    for batch in BATCHES[options.size]:
        say(f"  batch {batch}")
        content["rows"] += with_batch(layer, batch, peers, options, content)
        gpu.save("gpu_products", options, content)


def fits(n_pre: int, n_post: int, n_connections: int, batch: int) -> bool:
    """Whether ours fit, with their CSR twins: about 80 bytes a connection, and the activities of both sides."""
    return 80 * n_connections + 12 * F * batch * (n_pre + n_post) < 0.9 * gpu.free_memory()


class Layer:
    """A layer on the device, and a sample of its units and connections, at which results are checked."""

    def __init__(self, n_pre: int, n_post: int, n_connections: int):
        generator = np.random.default_rng(0)
        self.name = f"{n_pre} x {n_post}"
        self.n_pre, self.n_post = n_pre, n_post
        self.pattern = Pattern.from_keys(n_pre, n_post, distinct_ranks(generator, n_pre * n_post, n_connections))
        self.weight = generator.standard_normal(n_connections, dtype=np.float32)
        self.backend = get_backend("cupy", "float32")
        self.connections = Connections(self.backend, self.pattern, self.weight)
        self.posts = generator.choice(n_post, min(8, n_post), replace=False)
        self.pres = generator.choice(n_pre, min(4, n_pre), replace=False)
        self.edges = generator.integers(0, n_connections, 64)
        # Connections of the sampled units.
        indptr = self.pattern.indptr
        self.into = [np.arange(indptr[post], indptr[post + 1]) for post in self.posts]
        self.out_of = [np.flatnonzero(self.pattern.pre == pre) for pre in self.pres]

    def __len__(self) -> int:
        return len(self.pattern)

    def post_of(self, edges: np.ndarray) -> np.ndarray:
        return np.searchsorted(self.pattern.indptr, edges, side="right") - 1


class Batch:
    """Activities of a batch on the device: x, x2 of the pre units, y, y2 of the post units, and room for results."""

    def __init__(self, layer: Layer, n: int):
        generator, backend = np.random.default_rng(n), layer.backend
        self.n = n
        self.host = [generator.random((size, n), dtype=np.float32) for size in (layer.n_pre, layer.n_post) * 2]
        self.x, self.y, self.x2, self.y2 = map(backend.asarray, self.host)
        self.host_bias = generator.standard_normal(layer.n_post, dtype=np.float32)
        self.bias = backend.asarray(self.host_bias)
        self.out, self.mean, self.sample = (backend.empty((layer.n_post, n)) for _ in range(3))
        self.back, self.gradient = backend.empty((layer.n_pre, n)), backend.empty((len(layer),))
        self.velocity = backend.zeros(len(layer))


def expected(layer: Layer, batch: Batch) -> dict[str, np.ndarray]:
    """Every product at the sampled places, by NumPy in float64."""
    x, y, x2, y2 = batch.host
    weight, pre = layer.weight.astype(np.float64), layer.pattern.pre
    total = np.array([weight[edges] @ x[pre[edges]] for edges in layer.into])
    ends = pre[layer.edges], layer.post_of(layer.edges)
    one, two = ((a[ends[0]].astype(np.float64) * b[ends[1]]).sum(axis=1) for a, b in ((x, y), (x2, y2)))
    return {
        "spmm": total,
        "spmm_t": np.array([weight[edges] @ y[layer.post_of(edges)] for edges in layer.out_of]),
        "sddmm": one,
        "sddmm, two pairs": one - two,
        "product, sigmoid, draw": 1 / (1 + np.exp(-total - batch.host_bias[layer.posts, None])),
        "sddmm and SGD, in parts": one,
    }


# -- contestants ---------------------------------------------------------------------------------------------------


def ours(layer: Layer, batch: Batch) -> Calls:
    """Our kernels, launched one by one; they write into arrays that exist."""
    backend, links, weight = layer.backend, layer.connections, layer.connections.weight
    one = [SignedPair(1.0, batch.x, batch.y)]
    two = [*one, SignedPair(-1.0, batch.x2, batch.y2)]
    drawn = {"bias": batch.bias, "activation": "sigmoid", "sample": batch.sample, "key": KEY}

    def in_parts() -> Any:
        for part in links.parts:
            pairs, gradient = [SignedPair(1.0, batch.x, batch.y[part.units])], batch.gradient[part.connections]
            backend.sddmm(part, pairs, gradient)
            backend.sgd(weight[part.connections], batch.velocity[part.connections], gradient, *SGD)
        return batch.gradient

    calls: dict[str, Callable[[], Any]] = {
        "spmm": lambda: backend.spmm(links, weight, batch.x, batch.out),
        "spmm_t": lambda: backend.spmm_t(links, weight, batch.y, batch.back),
        "sddmm": lambda: backend.sddmm(links, one, batch.gradient),
        "sddmm, two pairs": lambda: backend.sddmm(links, two, batch.gradient),
        "product, sigmoid, draw": lambda: backend.spmm(links, weight, batch.x, batch.mean, **drawn),
        "sddmm and SGD, in parts": in_parts,
    }
    return {("ours, launched", kernel): Contestant(call) for kernel, call in calls.items()}


def matrices(layer: Layer, options: argparse.Namespace, left_out: dict[str, str]) -> dict[str, Any]:
    """PyTorch's matrices of a layer by the name of who uses them, where there is PyTorch and they fit."""
    where = gpu.peer_device(options)
    if where is None:
        return {}
    makers = {"PyTorch CSR": csr_matrices, "PyTorch dense": dense_matrix}
    found = {who: gpu.attempt(f"{who}, {layer.name}", left_out, make, layer, where) for who, make in makers.items()}
    return {who: matrix for who, matrix in found.items() if matrix is not None}


def csr_matrices(layer: Layer, where: str) -> tuple[Any, Any]:
    """The layer and its transpose, with 32-bit indices."""
    rows, columns, host = layer.connections.by_post, layer.connections.by_pre, layer.backend.to_numpy
    weights = layer.weight, layer.weight[host(columns.order)]
    shapes = (layer.n_post, layer.n_pre), (layer.n_pre, layer.n_post)
    first, second = (
        torch.sparse_csr_tensor(
            *(torch.from_numpy(host(array).astype(np.int32)).to(where) for array in (view.indptr, view.index)),
            torch.from_numpy(weight).to(where),
            size=shape,
            check_invariants=True,
        )
        for view, weight, shape in zip((rows, columns), weights, shapes)
    )
    return first, second


def dense_matrix(layer: Layer, where: str) -> Any:
    """Weights at all places, (n_post, n_pre)."""
    if where == "cuda" and 2 * F * layer.pattern.n_places > 0.8 * gpu.free_memory():
        raise MemoryError("weights and gradients at all places do not fit")
    weight = torch.zeros(layer.n_post, layer.n_pre, device=where)
    for units, part in layer.pattern.blocks():  # in parts, since the places of all connections take 8 bytes each
        places = torch.from_numpy(layer.pattern.keys_of(units) - units.start * layer.n_pre).to(where)
        weight[units].view(-1)[places] = torch.from_numpy(layer.weight[part]).to(where)
    return weight


def csr(batch: Batch, matrices: tuple[Any, Any]) -> Calls:
    """PyTorch's sparse products."""
    matrix, transposed = matrices
    x, y, x2, y2, bias = on_peer(batch, matrix.device)
    drawn = torch.empty_like(y)

    def one_pair() -> Any:
        return torch.sparse.sampled_addmm(matrix, y, x.t(), beta=0)

    def draw() -> Any:
        mean = torch.sparse.mm(matrix, x).add_(bias).sigmoid_()
        torch.lt(drawn.uniform_(), mean, out=drawn)
        return mean

    calls: dict[str, Callable[[], Any]] = {
        "spmm": lambda: torch.sparse.mm(matrix, x),
        "spmm_t": lambda: torch.sparse.mm(transposed, y),
        "sddmm": lambda: one_pair().values(),
        "sddmm, two pairs": lambda: torch.sparse.sampled_addmm(one_pair(), y2, x2.t(), alpha=-1.0).values(),
        "product, sigmoid, draw": draw,
    }
    return {("PyTorch CSR", kernel): Contestant(call, on_peers) for kernel, call in calls.items()}


def dense(batch: Batch, weight: Any) -> Calls:
    """PyTorch's dense products of the same shape, into arrays that exist; the gradient at all places."""
    x, y, x2, y2, bias = on_peer(batch, weight.device)
    out, drawn, back, gradient = (torch.empty_like(array) for array in (y, y, x, weight))

    def draw() -> Any:
        torch.addmm(bias, weight, x, out=out).sigmoid_()
        torch.lt(drawn.uniform_(), out, out=drawn)
        return out

    calls: dict[str, Callable[[], Any]] = {
        "spmm": lambda: torch.mm(weight, x, out=out),
        "spmm_t": lambda: torch.mm(weight.t(), y, out=back),
        "sddmm": lambda: torch.mm(y, x.t(), out=gradient),
        "sddmm, two pairs": lambda: torch.mm(y, x.t(), out=gradient).addmm_(y2, x2.t(), alpha=-1.0),
        "product, sigmoid, draw": draw,
    }
    return {("PyTorch dense", kernel): Contestant(call, on_peers) for kernel, call in calls.items()}


def on_peer(batch: Batch, where: Any) -> list[Any]:
    """x, y, x2, y2 and the bias as a column, for PyTorch."""
    return [torch.from_numpy(array).to(where) for array in (*batch.host, batch.host_bias[:, None])]


def of_peers(
    layer: Layer,
    batch: Batch,
    peers: dict[str, Any],
    wanted: dict[str, np.ndarray],
    options: argparse.Namespace,
    left_out: dict[str, str],
) -> Calls:
    """What PyTorch can do here, checked: CSR as it is, dense as graphs, without and with TF32."""
    makers = {"PyTorch CSR": csr, "PyTorch dense": dense}
    found: Calls = {}
    for who, matrix in peers.items():
        where = f"{layer.name}, batch {batch.n}"
        calls = gpu.attempt(f"{who}, {where}", left_out, makers[who], batch, matrix) or {}
        for (_, kernel), one in calls.items():
            name = f"{who}, {kernel}, {where}"
            good = gpu.attempt(name, left_out, check, layer, {(who, kernel): one}, wanted) or {}
            if who == "PyTorch dense" and good:
                good = dense_recorded(kernel, one, name, options, left_out)
            found |= good
    return found


def dense_recorded(
    kernel: str, one: Contestant, name: str, options: argparse.Namespace, left_out: dict[str, str]
) -> Calls:
    """A dense product as graphs, without and with TF32."""
    found: Calls = {}
    for who, call in (("PyTorch dense", one.call), ("PyTorch dense, TF32", gpu.with_tf32(one.call))):
        graph = gpu.attempt(f"{name}, recorded", left_out, gpu.recorded_by_torch, call, options)
        found |= {} if graph is None else {(who, kernel): graph}
    return found


# -- checks --------------------------------------------------------------------------------------------------------


def check(layer: Layer, calls: Calls, wanted: dict[str, np.ndarray]) -> Calls:
    """The same calls, if all give what NumPy gives at the sampled places."""
    for (who, kernel), one in calls.items():
        found = sampled(layer, kernel, one.call())
        if not np.allclose(found, wanted[kernel], rtol=1e-3, atol=1e-3):
            raise gpu.Disagreement(f"{who} gives another {kernel} for {layer.name} than NumPy")
    return calls


def sampled(layer: Layer, kernel: str, result: Any) -> np.ndarray:
    """The sampled places of a result, on the host; a gradient at all places is (n_post, n_pre)."""
    places: tuple[np.ndarray, ...] = (layer.pres if kernel == "spmm_t" else layer.posts,)
    if kernel.startswith("sddmm"):
        at_all = layer.post_of(layer.edges), layer.pattern.pre[layer.edges].astype(np.int64)
        places = (layer.edges,) if result.ndim == 1 else at_all
    if torch is not None and isinstance(result, torch.Tensor):
        return result[tuple(torch.from_numpy(place).to(result.device) for place in places)].cpu().numpy()
    return layer.backend.to_numpy(result[tuple(layer.backend.asarray(place) for place in places)])


def check_recorded(layer: Layer, batch: Batch, recorded: Calls, wanted: dict[str, np.ndarray]) -> None:
    """Recorded kernels write everything that launched ones wrote, and draws are those of the means."""
    outputs = {"spmm": batch.out, "spmm_t": batch.back, "product, sigmoid, draw": batch.mean}
    batch.sample.fill(np.nan)
    for (who, kernel), one in recorded.items():
        out = outputs.get(kernel, batch.gradient)
        out.fill(np.nan)
        one.call()
        check(layer, {(who, kernel): Contestant(lambda out=out: out)}, wanted)
    drawn = layer.backend.bernoulli(KEY, batch.mean, layer.backend.empty(batch.mean.shape))
    if not bool((drawn == batch.sample).all()):
        raise gpu.Disagreement(f"the draws of the fused product for {layer.name} are not those of its means")


def check_optimizers(backend: Any) -> None:
    """One update of each against its formula."""
    generator = np.random.default_rng(2)
    value, slot, other, gradient = (generator.random(1000, dtype=np.float32) for _ in range(4))
    born = generator.integers(0, 100, 1000).astype(np.uint16)
    arrays = [backend.asarray(array) for array in (value, slot, gradient)]
    backend.sgd(*arrays, 0.1, 0.9, False)
    close(backend.to_numpy(arrays[0]), value - 0.1 * (0.9 * slot + gradient), "SGD")
    arrays = [backend.asarray(array) for array in (value, slot, other, gradient, born)]
    backend.adam(*arrays, 100, 0, *ADAM)
    rate, beta1, beta2, eps = ADAM
    age = 101.0 - born
    mean = (beta1 * slot + (1 - beta1) * gradient) / (1 - beta1**age)
    spread = (beta2 * other + (1 - beta2) * gradient**2) / (1 - beta2**age)
    close(backend.to_numpy(arrays[0]), value - rate * mean / (np.sqrt(spread) + eps), "Adam")


def check_moves(layer: Layer, keep: np.ndarray) -> None:
    """The merge of the first connections against `numpy.insert`, the transpose at the sampled units."""
    backend, keep = layer.backend, keep[:10_000]
    old, before = layer.weight[: len(keep)], np.arange(0, int(keep.sum()), 3, dtype=np.int32)
    close(
        backend.to_numpy(backend.merged(backend.asarray(old), keep, before)), np.insert(old[keep], before, 0), "merge"
    )
    columns = layer.connections.by_pre
    ends = backend.to_numpy(columns.indptr)
    for pre, edges in zip(layer.pres, layer.out_of):
        part = slice(int(ends[pre]), int(ends[pre + 1]))
        close(backend.to_numpy(columns.order[part]), edges, "transpose")
        close(backend.to_numpy(columns.index[part]), layer.post_of(edges), "transpose")


def close(found: np.ndarray, wanted: np.ndarray, what: str) -> None:
    if found.shape != wanted.shape or not np.allclose(found, wanted, rtol=1e-4, atol=1e-5):
        raise gpu.Disagreement(f"{what} on the device gives something else than NumPy")


# -- measurements --------------------------------------------------------------------------------------------------


def with_batch(
    layer: Layer, n: int, peers: dict[str, Any], options: argparse.Namespace, content: dict[str, Any]
) -> list[dict[str, Any]]:
    """Rows of all products for one batch."""
    gpu.free_memory()
    batch = Batch(layer, n)
    wanted = expected(layer, batch)
    calls = ours(layer, batch)
    check(layer, calls, wanted)
    recorded = {("ours", kernel): gpu.recorded(one.call, options) for (_, kernel), one in calls.items()}
    check_recorded(layer, batch, recorded, wanted)
    calls |= recorded
    calls |= of_peers(layer, batch, peers, wanted, options, content["left_out"])
    timings = gpu.interleave(calls, options)
    return [row(layer, n, kernel, timings, content["ceilings"]) for kernel in PRODUCTS]


def without_batch(layer: Layer, options: argparse.Namespace, content: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of what does not depend on the batch: optimizers, and the moves of an evolution event."""
    gpu.free_memory()
    backend, count = layer.backend, len(layer)
    generator = np.random.default_rng(1)
    value, velocity, gradient, first, second = (
        backend.asarray(generator.random(count, dtype=np.float32)) for _ in range(5)
    )
    keep = generator.random(count) >= ZETA
    before = np.sort(generator.integers(0, int(keep.sum()) + 1, count - int(keep.sum())).astype(np.int32))
    check_optimizers(backend)
    check_moves(layer, keep)
    born, rows = layer.connections.born, layer.connections.by_post
    launched: dict[str, Callable[[], Any]] = {
        "SGD": lambda: backend.sgd(value, velocity, gradient, *SGD),
        "Adam": lambda: backend.adam(value, first, second, gradient, born, 100, 0, *ADAM),
    }
    calls: Calls = {("ours", kernel): gpu.recorded(call, options) for kernel, call in launched.items()}
    device_keep, device_before = backend.asarray(keep), backend.asarray(before)
    launched |= {
        "merge": lambda: backend.merged(value, device_keep, device_before),
        "transpose": lambda: backend.transposed(rows, layer.n_pre),
    }
    calls |= {("ours, launched", kernel): Contestant(call) for kernel, call in launched.items()}
    if (where := gpu.peer_device(options)) is not None:
        for kernel in ("SGD", "Adam"):
            name = f"PyTorch, {kernel}, {layer.name}"
            peer = gpu.attempt(name, content["left_out"], optimizer_of_torch, kernel, count, where)
            calls |= {} if peer is None else {("PyTorch", kernel): peer}
    timings = gpu.interleave(calls, options)
    return [row(layer, None, kernel, timings, content["ceilings"]) for kernel in OTHERS]


def optimizer_of_torch(kernel: str, count: int, where: str) -> Contestant:
    """PyTorch's fused update of so many values."""
    value = torch.rand(count, device=where).requires_grad_()
    value.grad = torch.rand(count, device=where)
    if kernel == "SGD":
        return Contestant(torch.optim.SGD([value], lr=SGD[0], momentum=SGD[1], fused=True).step, on_peers)
    return Contestant(torch.optim.Adam([value], lr=ADAM[0], fused=True).step, on_peers)


# -- figures -------------------------------------------------------------------------------------------------------


def moved(kernel: str, layer: Layer, n: int) -> tuple[int | None, int]:
    """Bytes: gathered (None where no connection reads a row of activities), and compulsory."""
    count, sample = len(layer), F * n  # connections; bytes of a unit's activities
    pre, post = 8 * layer.n_pre, 8 * layer.n_post  # of the ends of columns and rows
    without = {
        "SGD": 5 * F * count,
        "Adam": (7 * F + 2) * count,  # the last: steps of birth
        "merge": (1 + 2 * F) * count + int(4 * ZETA * count),
        "transpose": 12 * count + pre + post,
    }
    if kernel in without:
        return None, without[kernel]
    indices_and_values = (4 + F) * count + (pre if kernel == "spmm_t" else post)
    if kernel.startswith("sddmm"):
        pairs = 2 if kernel == "sddmm, two pairs" else 1
        rest = indices_and_values + pairs * sample * layer.n_post
        rest += 5 * F * count if "SGD" in kernel else 0
        return rest + pairs * sample * count, rest + pairs * sample * layer.n_pre
    read, written = (layer.n_post, layer.n_pre) if kernel == "spmm_t" else (layer.n_pre, layer.n_post)
    rest = indices_and_values + sample * written
    rest += 4 * count if kernel == "spmm_t" else 0  # the order that leads to the weights
    rest += (F + sample) * written if kernel == "product, sigmoid, draw" else 0
    return rest + sample * count, rest + sample * read


def row(
    layer: Layer, n: int | None, kernel: str, timings: dict[tuple[str, str], Timing], ceilings: dict[str, Any]
) -> dict[str, Any]:
    """Everything about one kernel."""
    mine = {who: timing for (who, what), timing in timings.items() if what == kernel}
    launched = mine["ours, launched"].median
    seconds = mine["ours"].median if "ours" in mine else launched
    gathered, compulsory = moved(kernel, layer, n or 0)
    flops = PRODUCTS[kernel] * len(layer) * n if n else None
    share = None if gathered is None else rounded(gathered / seconds / 1e9 / ceilings["copy_gb_per_s"])
    target = AIM if n == AIM_BATCH and layer.n_pre == AIM_UNITS else None
    return {
        "layer": layer.name,
        "connections": len(layer),
        "density": rounded(layer.pattern.density),
        "batch": n,
        "kernel": kernel,
        "milliseconds": {who: timing.record(1e3) for who, timing in mine.items()},
        "gflops": flops and rounded(flops / seconds / 1e9),
        "share_of_peak": flops and rounded(flops / seconds / 1e9 / ceilings["gflops"]),
        "gathered_bytes": gathered,
        "compulsory_bytes": compulsory,
        "gathered_over_copy": share,
        "compulsory_over_copy": rounded(compulsory / seconds / 1e9 / ceilings["copy_gb_per_s"]),
        "over_ours": {
            who: rounded(timing.median / (seconds if "dense" in who else launched))
            for who, timing in mine.items()
            if who.startswith("PyTorch")
        }
        or None,
        "target": target,
        "met": met(share, target),
    }


def rounded(number: float) -> float:
    return float(f"{number:.4g}")


def table(content: dict[str, Any]) -> list[str]:
    head = ["layer", "batch", "kernel", "ours (ms)", "launched", "GFLOP/s", "of peak", "gathered", "compulsory", "aim"]
    head += ["met", "PyTorch sparse (ms)", "dense", "dense, TF32", "times ours"]
    lines = []
    for found in content["rows"]:
        times = {who: f"{given['median']:.4g}" for who, given in found["milliseconds"].items()}
        shares = [found["share_of_peak"], found["gathered_over_copy"], found["compulsory_over_copy"], found["target"]]
        lines.append(
            [found["layer"], found["batch"] or "-", found["kernel"], times.get("ours", "-"), times["ours, launched"]]
            + [f"{found['gflops']:.0f}" if found["gflops"] else "-"]
            + ["-" if share is None else f"{share:.0%}" for share in shares]
            + [found["met"], times.get("PyTorch CSR", times.get("PyTorch", "-"))]
            + [times.get(who, "-") for who in ("PyTorch dense", "PyTorch dense, TF32")]
            + [" / ".join(f"{ratio:.1f}" for ratio in (found["over_ours"] or {}).values()) or "-"]
        )
    peak = content["ceilings"]
    return [
        f"This device: {peak['gflops']:,.0f} GFLOP/s, a copy moves {peak['copy_gb_per_s']:,.0f} GB/s. Medians.",
        "",
        *markdown(head, lines),
    ]


if __name__ == "__main__":
    main()
