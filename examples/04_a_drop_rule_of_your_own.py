"""A drop rule is one class: here, weak connections go first, but the young ones are spared."""

from dataclasses import dataclass

import numpy as np

import sparserbm as sr
from sparserbm.evolution import Drop
from sparserbm.registry import register


@register("drop", "weak_and_old")
@dataclass(frozen=True)
class WeakAndOld(Drop):
    """The smallest magnitudes among the connections that are at least `min_age` steps old."""

    min_age: int = 100

    def select(self, view, count, generator):
        strength = np.where(view.age >= self.min_age, np.abs(view.weight), np.inf)
        order = np.lexsort((generator.random(len(strength)), strength))  # ties at random
        mark = np.zeros(len(strength), dtype=bool)
        mark[order[:count]] = True
        return mark


digits = sr.load_dataset("digits")
for drop in ("set", "weak_and_old(min_age=150)"):
    rbm = sr.RBM(sr.Bernoulli(784), sr.Bernoulli(100), wiring=sr.ErdosRenyi(epsilon=11), seed=0)
    evolution = sr.Evolution(drop=drop, grow="random", birth="same", zeta=0.2, when="every(steps=50)")
    run = sr.train(rbm, digits, sr.CD(), epochs=15, batch_size=20, evolution=evolution)
    last = run.metrics[-1]
    print(f"{drop:26s} loss {last['validation_loss']:.4f}  age at death {last['mean_age_at_death']:.0f} steps")
