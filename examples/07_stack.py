"""Pretrain a stack of sparse RBMs without labels, then fine-tune it with the few labels that there are."""

import numpy as np

import sparserbm as sr

digits = sr.load_dataset("digits")
stack = sr.Stack(sr.Bernoulli(784), sr.Bernoulli(300), sr.Bernoulli(200), seed=0)
pretraining = sr.train_stack(
    stack, digits, sr.CD(), epochs=20, batch_size=20, optimizer=sr.SGD(0.05, momentum=0.9), evolution=sr.SET(zeta=0.3)
)
for run, layer in zip(pretraining.layers, stack):
    print(f"{layer}: reconstruction error {run.metrics[-1]['loss']:.4f}")

choice = np.random.default_rng(0)  # ten of each digit have a label
few = np.concatenate([choice.permutation(np.flatnonzero(digits.y == digit))[:10] for digit in range(10)])
pretrained = stack.to_mlp(sr.Softmax(10))
wiring = [sr.ErdosRenyi(epsilon=11), sr.ErdosRenyi(epsilon=11), "dense"]
scratch = sr.MLP(784, sr.Sigmoid(300), sr.Sigmoid(200), sr.Softmax(10), wiring=wiring, seed=0)
relu = sr.MLP(784, sr.ReLU(300), sr.ReLU(200), sr.Softmax(10), wiring=wiring, seed=0)
for name, mlp in (("pretrained", pretrained), ("from scratch", scratch), ("from scratch, ReLU", relu)):
    run = sr.train(
        mlp,
        digits.X[few],
        sr.Backprop(),
        y=digits.y[few],
        validation=(digits.X_test, digits.y_test),
        epochs=60,
        batch_size=10,
        optimizer=sr.SGD(0.05, momentum=0.9),
        evolution=sr.SET(zeta=0.1, when="every(epochs=10)"),
    )
    accuracy = run.metrics[-1]["validation_accuracy"]
    print(f"{name}: {mlp.n_connections:,} connections, test accuracy {accuracy:.3f} with 100 labels")
