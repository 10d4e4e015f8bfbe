"""One training step of a large MLP, 3072-4000-1000-4000-10 with epsilon 20: ours against three ways in PyTorch.

    python benchmarks/training_step.py

Random data (speed does not depend on what they hold), batch 100, SGD with momentum 0.9, no evolution. A round is an
epoch of 20 batches, order and batches included; the figure is that epoch over 20. Writes results/training_step.json and
prints the table. Needs torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from timing import markdown, met, parser, publish, set_threads, take_turns, training

import sparserbm as sr
from sparserbm.backends import get_backend

SIZES = (3072, 4000, 1000, 4000, 10)
EPSILON, BATCH, BATCHES = 20, 100, 20
LEARNING_RATE, MOMENTUM = 0.01, 0.9
TARGET = 20.0  # times as fast as dense


def main() -> None:
    options = parser(__doc__, rounds=7).parse_args()
    sizes, batches = SIZES, BATCHES
    if options.quick:
        sizes, batches, options.rounds = (300, 200, 100, 200, 10), 3, 2
    from peers import mlps, train_mlp

    set_threads(options.threads)
    generator = np.random.default_rng(0)
    X = generator.standard_normal((batches * BATCH, sizes[0]), dtype=np.float32)
    y = generator.integers(0, sizes[-1], len(X))
    model = sr.MLP(
        sizes[0],
        *(sr.ReLU(n) for n in sizes[1:-1]),
        sr.Softmax(sizes[-1]),
        wiring=sr.ErdosRenyi(epsilon=EPSILON),
        backend=get_backend("numpy", "float32", options.threads),
    )
    optimizer = sr.SGD(LEARNING_RATE, momentum=MOMENTUM)
    matrices = [layer.to_scipy() for layer in model.connections]
    contestants = {"ours": training(model, X, sr.Backprop(), y=y, batch_size=BATCH, optimizer=optimizer)}
    for name, peer in mlps(matrices).items():
        contestants[name] = train_mlp(peer, X, y, BATCH, LEARNING_RATE, MOMENTUM)
    timings = take_turns(contestants, options.rounds)
    ours = timings["ours"].median
    rows = [
        {
            "who": name,
            "milliseconds_a_step": timing.record(1e3 / batches),
            "over_ours": round(timing.median / ours, 2),
            "target": TARGET if name == "PyTorch dense" else None,
        }
        for name, timing in timings.items()
    ]
    content = {
        "what": "an epoch over its number of batches; PyTorch: SGD(fused=True), no data loader, no accuracy",
        "layers": sizes,
        "connections": [len(layer) for layer in model.connections],
        "batch": BATCH,
        "batches_an_epoch": batches,
        "rows": rows,
    }
    publish("training_step", options, content, table(rows))


def table(rows: list[dict[str, Any]]) -> list[str]:
    head = ("one step", "ms (median)", "quartiles", "times ours", "target", "met")
    lines = []
    for row in rows:
        milliseconds, target = row["milliseconds_a_step"], row["target"]
        low, high = milliseconds["quartiles"]
        times = f"{row['over_ours']:.1f}"
        verdict = met(row["over_ours"], target)
        shown = "-" if target is None else f"{target:g}"
        lines.append((row["who"], f"{milliseconds['median']:.2f}", f"{low:.2f} to {high:.2f}", times, shown, verdict))
    return markdown(head, lines)


if __name__ == "__main__":
    main()
