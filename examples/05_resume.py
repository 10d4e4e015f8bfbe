"""Stop a run and continue it: the result is that of a run which was never stopped, to the last bit."""

import numpy as np

import sparserbm as sr

digits = sr.load_dataset("digits")


def train(epochs, out):
    rbm = sr.RBM(sr.Bernoulli(784), sr.Bernoulli(100), wiring=sr.ErdosRenyi(epsilon=11), seed=0)
    optimizer = sr.SGD(0.05, momentum=0.5)
    return sr.train(
        rbm, digits, sr.CD(), epochs=epochs, optimizer=optimizer, evolution=sr.SET(), out=out, overwrite=True
    )


train(4, "runs/stopped")
resumed = sr.resume("runs/stopped", digits, epochs=8)
whole = train(8, "runs/whole")

a, b = resumed.model.matrix, whole.model.matrix
print("same connections:", np.array_equal(a.pattern.keys, b.pattern.keys))
print("same weights, bit for bit:", np.array_equal(a.weight, b.weight))
