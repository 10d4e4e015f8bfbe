"""One training step on a GPU: forward, gradient, optimizer; ours against PyTorch dense and masked on the same device.

    python benchmarks/gpu_step.py                # --quick: without the largest networks

Random data that are on the device already, SGD with momentum, no evolution. Ours is the loop of `sr.train` (order,
batches, losses included), its steps recorded as CUDA graphs ("ours"), and with recording switched off ("ours, one by
one"); what a recording takes stands beside them, since an epoch makes one or two. PyTorch takes batches of the same
data; "PyTorch dense, recorded" is its step as a CUDA graph. The aim: with hidden layers of at least 4,000 units and a
density below 2 % not slower than PyTorch dense, the faster of the two. Writes results/gpu_step.json.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import gpu
import numpy as np
from gpu import Contestant, on_peers, torch
from timing import Timing, markdown, met, say

import sparserbm as sr
from sparserbm.backends import get_backend
from sparserbm.data.batches import Batch
from sparserbm.training import begin
from sparserbm.training.loop import _one_batch
from sparserbm.training.repeat import Repeated

LEARNING_RATE, MOMENTUM = 1e-4, 0.9  # speed does not depend on it, and nothing diverges in thousands of steps
BATCHES = 50  # on the device; a new order after so many
CHECKED, CHECKED_RATE = 8, 0.1  # samples and learning rate of the step that is compared with that of the CPU
CHECKED_UP_TO = 5_000_000  # connections: larger networks would take the CPU minutes
RECORDED_UP_TO = 100_000_000  # places of a dense peer that is recorded: beyond, launches are no part of its time
AIM = 1.0  # times ours
F = 4  # bytes of a float32


@dataclass(frozen=True)
class Net:
    """A network: units of its layers (two: an RBM), its wiring, and whether the aim is about it."""

    sizes: tuple[int, ...]
    wiring: Any
    what: str = ""
    aimed: bool = False

    @property
    def name(self) -> str:
        if self.is_rbm:
            return f"RBM {self.sizes[0]} x {self.sizes[1]}"
        density = self.wiring.density
        return f"MLP {'-'.join(map(str, self.sizes))}" + ("" if density is None else f", density {density:.1%}")

    @property
    def is_rbm(self) -> bool:
        return len(self.sizes) == 2

    @property
    def n_places(self) -> int:
        return sum(math.prod(pair) for pair in itertools.pairwise(self.sizes))

    def model(self, backend: Any) -> Any:
        if self.is_rbm:
            return sr.RBM(*map(sr.Bernoulli, self.sizes), wiring=self.wiring, backend=backend)
        first, *hidden, last = self.sizes
        return sr.MLP(first, *map(sr.ReLU, hidden), sr.Softmax(last), wiring=self.wiring, backend=backend)

    def algorithm(self) -> Any:
        return sr.CD(k=1) if self.is_rbm else sr.Backprop()

    def data(self, samples: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Random samples; speed does not depend on what they hold."""
        generator = np.random.default_rng(0)
        X = generator.random((samples, self.sizes[0]), dtype=np.float32)
        return X, None if self.is_rbm else generator.integers(0, self.sizes[-1], samples)


def wide(*sizes: int, density: float) -> Net:
    return Net(sizes, sr.ErdosRenyi(density=density), aimed=density < 0.02)


EPSILON_11, EPSILON_20 = sr.ErdosRenyi(epsilon=11), sr.ErdosRenyi(epsilon=20)
SMALL = (
    Net((784, 512, 128, 10), EPSILON_11),
    Net((784, 500), EPSILON_11),
    Net((784, 4000), EPSILON_11),
    Net((3072, 4000, 1000, 4000, 10), EPSILON_20),
)
TENFOLD = (
    Net((784, 12_000), EPSILON_11, "ten times the connections of 784 x 500"),
    Net((3072, 46_800, 11_700, 46_800, 10), EPSILON_20, "ten times 3072-4000-1000-4000-10", aimed=True),
)
HUNDREDFOLD = (
    Net((784, 127_600), EPSILON_11, "a hundred times the connections of 784 x 500"),
    Net((3072, 476_000, 119_000, 476_000, 10), EPSILON_20, "a hundred times 3072-4000-1000-4000-10", aimed=True),
)
WIDE = tuple(
    wide(*sizes, density=density)
    for sizes in ((4000, 4000, 4000, 10), (8000, 8000, 10))
    for density in (0.005, 0.01, 0.02)
)
NETS = {
    "full": (*WIDE, *SMALL, *TENFOLD, *HUNDREDFOLD),
    "quick": (*(net for net in WIDE if net.wiring.density == 0.01), *SMALL),
    "tiny": (Net((20, 16, 12, 4), sr.ErdosRenyi(epsilon=3)), Net((20, 12), sr.ErdosRenyi(epsilon=3))),
}
COUNTED = {"full": SMALL, "quick": SMALL[:2], "tiny": NETS["tiny"]}
BATCH_SIZES = {"full": (128, 512), "quick": (128, 512), "tiny": (8,)}


def main() -> None:
    options = gpu.parser(__doc__, rounds=5).parse_args()
    gpu.begin(options)
    content: dict[str, Any] = {
        "what": f"one step, SGD with momentum {MOMENTUM}; ours: sparserbm's loop, recorded steps; PyTorch: fused SGD, "
        "true float32 but where TF32 is named; memory: of data, model and step in the allocator of each, in bytes",
        "aim": "PyTorch dense (the faster of launched and recorded) over ours: at least 1 for hidden layers of at "
        "least 4,000 units below a density of 2 %",
        "left_out": {},
        "rows": [],
    }
    for net in NETS[options.size]:
        measure(net, options, content)
    content["reached"] = [
        {
            "what": f"{row['net']}, batch {row['batch']}: PyTorch dense over ours",
            "reached": row["dense_over_ours"],
            "target": row["target"],
            "met": row["met"],
        }
        for row in content["rows"]
        if row["target"] is not None
    ]
    content["activities_a_step"] = counted(options, content["left_out"])
    gpu.publish("gpu_step", options, content, table(content["rows"]))


def measure(net: Net, options: argparse.Namespace, content: dict[str, Any]) -> None:
    """Put the rows of a network into `content`."""
    left_out = content["left_out"]
    checked = check(net)
    gpu.free_memory()
    held = gpu.held_by_cupy()
    model = gpu.attempt(f"ours, {net.name}", left_out, net.model, get_backend("cupy", "float32"))
    for batch in BATCH_SIZES[options.size] if model is not None else ():
        say(f"{net.name}, batch {batch}")
        X, y = net.data(BATCHES * batch)
        gpu.free_memory()
        ours = gpu.attempt(f"ours, {net.name}, batch {batch}", left_out, warm, net, model, X, y, batch)
        if ours is None:
            continue
        memory = {"ours": gpu.held_by_cupy() - held}
        calls = {"ours": Contestant(ours.step), "ours, one by one": Contestant(ours.step_one_by_one)}
        calls |= of_peers(net, ours, X, y, options, left_out, memory)
        recording, kernels = ours.recording(options.rounds), ours.kernels()
        timings = gpu.interleave(calls, options)
        model.check_finite()
        found = row(net, batch, model, timings)
        found |= {"recording_milliseconds": recording.record(1e3), "kernels_a_step": kernels}
        content["rows"].append(found | {"memory_bytes": memory, "compared_with_numpy": checked})
        gpu.save("gpu_step", options, content)


# -- ours ----------------------------------------------------------------------------------------------------------


class Ours:
    """The loop of `sr.train`, step by step, on data that are on the device."""

    def __init__(self, net: Net, model: Any, X: np.ndarray, y: np.ndarray | None, batch: int):
        self.model, self.batch = model, batch
        settings = {"batch_size": batch, "optimizer": sr.SGD(LEARNING_RATE, momentum=MOMENTUM), "zone": None}
        with mock.patch.object(begin, "run", lambda training, last_epoch: training):  # all but the epochs themselves
            self.training: Any = sr.train(model, X, net.algorithm(), y=y, **settings)
        self._batches: Iterator[Batch] = iter(())
        self._repeated = Repeated(model.backend, self.training.rules)
        unrecorded = get_backend("cupy", "float32")
        unrecorded.record = lambda work: None  # type: ignore[method-assign]
        self._one_by_one = Repeated(unrecorded, self.training.rules)

    def step(self) -> None:
        self._step(self._repeated)

    def step_one_by_one(self) -> None:
        self._step(self._one_by_one)

    def _step(self, repeated: Repeated) -> None:
        """What `sparserbm.training.loop` does with a batch, the order of the samples included."""
        batch = next(self._batches, None)
        if batch is None:
            self._batches = self.training.batches.epoch(self.model.streams, self.model.step)
            batch = next(self._batches)
        repeated.do(batch, functools.partial(_one_batch, self.training, batch))
        self.training.recorder.counted(batch)
        self.model.step += 1

    def recording(self, rounds: int) -> Timing:
        """What it takes to record a step, without doing it."""
        batch, seconds = next(self.training.batches.epoch(self.model.streams, self.model.step)), []
        self._batches = iter(())
        for _ in range(rounds):
            gpu.cupy.cuda.Device().synchronize()
            start = time.perf_counter()
            self.model.backend.record(functools.partial(_one_batch, self.training, batch))
            gpu.cupy.cuda.Device().synchronize()
            seconds.append(time.perf_counter() - start)
        return Timing(tuple(seconds))

    def kernels(self) -> int:
        """Launches of our own kernels in a step that is not recorded, the gathering of its batch included."""
        names, backend = [], self.model.backend
        launch = backend._launch

        def counted(name: str, *arguments: Any, **more: Any) -> None:
            names.append(name)
            launch(name, *arguments, **more)

        backend._launch = counted
        try:
            self.step_one_by_one()
        finally:
            del backend._launch
        return len(names)


def warm(net: Net, model: Any, X: np.ndarray, y: np.ndarray | None, batch: int) -> Ours:
    """The loop after a step that was launched, one that was recorded, and a replay."""
    ours = Ours(net, model, X, y, batch)
    for _ in range(3):
        ours.step()
    return ours


def check(net: Net) -> bool:
    """Whether a step on the device was compared with one of the numpy backend, from the same weights and draws."""
    X, y = net.data(CHECKED)
    models = [net.model(get_backend("cupy", "float32"))]
    if models[0].n_connections > CHECKED_UP_TO:
        return False
    models.append(net.model(get_backend("numpy", "float32")))
    for model in models:
        optimizer = sr.SGD(CHECKED_RATE, momentum=MOMENTUM)
        sr.train(model, X, net.algorithm(), y=y, epochs=1, batch_size=CHECKED, optimizer=optimizer, zone=None)
    for ours, numpys in zip(*(model.connections for model in models)):
        difference = np.abs(ours.backend.to_numpy(ours.weight) - numpys.backend.to_numpy(numpys.weight))
        # A draw whose mean lies within rounding of it may fall differently, and changes the weights of one unit.
        if np.quantile(difference, 0.99) > 1e-5:
            raise gpu.Disagreement(f"a step of {net.name} differs from that of the numpy backend")
    return True


# -- peers ---------------------------------------------------------------------------------------------------------


class Feed:
    """Batches of PyTorch tensors on the device, in a new order after each pass."""

    def __init__(self, X: np.ndarray, y: np.ndarray | None, batch: int, where: str):
        arrays = [X] if y is None else [X, y.astype(np.int64)]
        self.tensors = [torch.from_numpy(array).to(where) for array in arrays]
        self.first = [tensor[:batch].clone() for tensor in self.tensors]
        self.nbytes = sum(tensor.nbytes for tensor in self.tensors)
        self._batch, self._where, self._orders = batch, where, iter(())

    def rows(self) -> Any:
        rows = next(self._orders, None)
        if rows is None:
            self._orders = iter(torch.randperm(len(self.tensors[0]), device=self._where).split(self._batch))
            rows = next(self._orders)
        return rows

    def batch(self) -> list[Any]:
        rows = self.rows()
        return [tensor.index_select(0, rows) for tensor in self.tensors]

    def fill(self, places: list[Any]) -> None:
        """Put a batch where a recorded step reads it."""
        rows = self.rows()
        for tensor, place in zip(self.tensors, places):
            torch.index_select(tensor, 0, rows, out=place)


def of_peers(
    net: Net,
    ours: Ours,
    X: np.ndarray,
    y: np.ndarray | None,
    options: argparse.Namespace,
    left_out: dict[str, str],
    memory: dict[str, int],
) -> dict[str, Contestant]:
    """PyTorch's contestants as far as they fit, with the memory that each takes."""
    where = gpu.peer_device(options)
    if where is None:
        return {}
    feed, found = Feed(X, y, ours.batch, where), {}
    for who, copies in (("PyTorch dense", 3), ("PyTorch masked", 5), ("PyTorch dense, recorded", 3)):
        if (net.is_rbm and "masked" in who) or ("recorded" in who and net.n_places > RECORDED_UP_TO):
            continue
        name = f"{who}, {net.name}, batch {ours.batch}"
        if where == "cuda" and copies * F * net.n_places > 0.8 * gpu.free_memory():
            left_out[name] = f"does not fit: {net.n_places:,} places"
            continue
        before = begin_of_memory(where)
        make = recorded_step if "recorded" in who and where == "cuda" else launched_step
        step = gpu.attempt(name, left_out, step_of_peer, net, ours, X, who, where)
        made = None if step is None else gpu.attempt(name, left_out, make, step, feed, options)
        if made is None:
            continue
        found[who] = made
        memory[who] = peak_of_memory(where, before) + feed.nbytes
        if who == "PyTorch dense":
            found["PyTorch dense, TF32"] = Contestant(gpu.with_tf32(made.call), on_peers)
    return found


def step_of_peer(net: Net, ours: Ours, X: np.ndarray, who: str, where: str) -> Callable[..., Any]:
    """A step that takes a batch; the models are those of peers.py, with the weights of ours."""
    from peers import MaskedLinear, dense_layer, stacked, step_of_mlp

    if net.is_rbm:
        return step_of_rbm(net, ours, X, where)
    with torch.device(where):
        layers = [layer.to_scipy() for layer in ours.model.connections]
        model = stacked(layers, MaskedLinear if "masked" in who else dense_layer).to(where)
    samples, _ = net.data(CHECKED)
    with torch.no_grad():
        biased = [layer for layer in model if hasattr(layer, "bias")]
        for layer, slots in zip(biased, ours.model.biases):
            layer.bias.copy_(torch.from_numpy(ours.model.backend.to_numpy(slots["bias"])))
        given = torch.softmax(model(torch.from_numpy(samples).to(where)), dim=1).cpu().numpy()
    if not np.allclose(given, ours.model.predict(samples), rtol=1e-3, atol=1e-4):
        raise gpu.Disagreement(f"{who} is another network than ours")
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, fused=True)
    return functools.partial(step_of_mlp, model, optimizer)


def step_of_rbm(net: Net, ours: Ours, X: np.ndarray, where: str) -> Callable[..., Any]:
    from peers import DenseRBM

    sample, backend = X[: ours.batch], ours.model.backend
    peer = DenseRBM(net.sizes[1], sample, ours.batch, LEARNING_RATE, MOMENTUM, device=where)
    visible, hidden = (torch.from_numpy(backend.to_numpy(slots["bias"])) for slots in ours.model.biases)
    peer.weight.copy_(torch.from_numpy(ours.model.connections[0].to_dense().T))
    peer.visible_bias.copy_(visible)
    peer.hidden_bias.copy_(hidden)
    error = float(peer.step(torch.from_numpy(sample.copy()).to(where))) / sample.size
    expected = ours.training.trainer.evaluate(ours.model, sample, None)["loss"]
    if abs(error - expected) > 0.2 * expected:  # both drew the hidden units
        raise gpu.Disagreement(f"PyTorch's RBM reconstructs with an error of {error:.3g}, ours with {expected:.3g}")
    return peer.step


def launched_step(step: Callable[..., Any], feed: Feed, options: argparse.Namespace) -> Contestant:
    def call() -> None:
        step(*feed.batch())

    call()
    return Contestant(call, on_peers)


def recorded_step(step: Callable[..., Any], feed: Feed, options: argparse.Namespace) -> Contestant:
    """The step as a CUDA graph that reads its batch from one place."""
    places = feed.first
    graph = gpu.recorded_by_torch(lambda: step(*places), options, times=1)

    def call() -> None:
        feed.fill(places)
        graph.call()

    return Contestant(call, on_peers)


# -- memory and launches -------------------------------------------------------------------------------------------


def begin_of_memory(where: str) -> int:
    if where == "cpu":
        return 0
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def peak_of_memory(where: str, before: int) -> int:
    """The most that tensors took since then; 0 on the CPU, which does not count."""
    if where == "cpu":
        return 0
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def counted(options: argparse.Namespace, left_out: dict[str, str]) -> dict[str, dict[str, int]]:
    """What PyTorch's profiler counts on the device in a step; last of all, since it may slow down what comes after."""
    found = {}
    for net in COUNTED[options.size]:
        batch = BATCH_SIZES[options.size][0]
        X, y = net.data(BATCHES * batch)
        ours = warm(net, net.model(get_backend("cupy", "float32")), X, y, batch)
        calls = {"ours": Contestant(ours.step), "ours, one by one": Contestant(ours.step_one_by_one)}
        calls |= of_peers(net, ours, X, y, options, left_out, {})
        counts = {who: gpu.activities(one.call) for who, one in calls.items() if "TF32" not in who}
        found[net.name] = {who: count for who, count in counts.items() if count is not None}
    return found


# -- figures -------------------------------------------------------------------------------------------------------


def row(net: Net, batch: int, model: Any, timings: dict[str, Timing]) -> dict[str, Any]:
    ours = timings["ours"].median
    dense = [timings[who].median for who in ("PyTorch dense", "PyTorch dense, recorded") if who in timings]
    ratio = round(min(dense) / ours, 3) if dense else None
    target = AIM if net.aimed else None
    return {
        "net": net.name,
        "note": net.what,
        "connections": [len(layer) for layer in model.connections],
        "density": float(f"{model.density:.4g}"),
        "batch": batch,
        "milliseconds": {who: timing.record(1e3) for who, timing in timings.items()},
        "over_ours": {who: round(timing.median / ours, 3) for who, timing in timings.items() if who != "ours"},
        "dense_over_ours": ratio,
        "target": target,
        "met": met(ratio, target),
    }


def table(rows: list[dict[str, Any]]) -> list[str]:
    peers = ["PyTorch dense", "PyTorch dense, recorded", "PyTorch dense, TF32", "PyTorch masked"]
    head = ["one step", "batch", "connections", "ours (ms)", "one by one", "recording", "kernels"]
    head += [*peers, "dense / ours", "aim", "met", "memory (MB): ours", "dense"]
    lines = []
    for found in rows:
        times = {who: f"{given['median']:.4g}" for who, given in found["milliseconds"].items()}
        megabytes = {who: f"{count / 1e6:,.0f}" for who, count in found["memory_bytes"].items()}
        ratio, target = (
            ("-" if value is None else f"{value:.2f}") for value in (found["dense_over_ours"], found["target"])
        )
        lines.append(
            [found["net"], found["batch"], f"{sum(found['connections']):,}", times["ours"], times["ours, one by one"]]
            + [f"{found['recording_milliseconds']['median']:.3g}", found["kernels_a_step"]]
            + [times.get(who, "-") for who in peers]
            + [ratio, target, found["met"], megabytes["ours"], megabytes.get("PyTorch dense", "-")]
        )
    return markdown(head, lines)


if __name__ == "__main__":
    main()
