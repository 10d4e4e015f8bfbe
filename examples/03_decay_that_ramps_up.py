"""L2 as a schedule, and for each layer: is decay that grows better than constant decay? (Not on these data.)"""

import sparserbm as sr

digits = sr.load_dataset("digits", scale="standard")
steps = 30 * 45  # epochs x mini-batches


def test_loss(penalty):
    mlp = sr.MLP(784, sr.ReLU(256), sr.ReLU(64), sr.Softmax(10), wiring=sr.ErdosRenyi(epsilon=11), seed=0)
    run = sr.train(
        mlp,
        digits,
        sr.Backprop(),
        epochs=30,
        batch_size=32,
        optimizer=sr.SGD(0.02, momentum=0.9),
        regularization=penalty,
        evolution=sr.SET(zeta=0.3),
    )
    return run.history["validation_loss"][-1], run.history["learning_z"][-1]


for name, penalty in (
    ("no decay", None),
    ("constant 3e-3", sr.L2(3e-3)),
    ("0 to 3e-3", sr.L2(sr.Linear(0.0, 3e-3, steps=steps))),
    ("0 to 3e-3, first layer only", sr.L2((sr.Linear(0.0, 3e-3, steps=steps), 0.0, 0.0))),
):
    loss, z = test_loss(penalty)
    print(f"{name:28s} test loss {loss:.4f}   z {z:+.1f}")
