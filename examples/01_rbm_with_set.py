"""Train a sparse RBM whose connections evolve, and see where they gather."""

import sparserbm as sr

digits = sr.load_dataset("digits")  # 20 x 20 pixels of ink, in the middle of 28 x 28
rbm = sr.RBM(sr.Bernoulli(784), sr.Bernoulli(200), wiring=sr.ErdosRenyi(epsilon=11), seed=0)
run = sr.train(
    rbm,
    digits,
    sr.CD(k=1),
    epochs=20,
    batch_size=20,
    optimizer=sr.SGD(0.05, momentum=0.5),
    evolution=sr.SET(zeta=0.3),  # each epoch: drop the 30 % nearest zero, grow as many elsewhere
)

first, last = run.metrics[0], run.metrics[-1]
print(f"{rbm.n_connections:,} connections all the time, {last['density']:.1%} of the places")
for when, line in (("before", first), ("after", last)):
    print(
        f"{when}: {line['centre_density']:.1f} an input in the active zone, {line['margin_density']:.1f} in the margin"
    )
print(f"{last['verdict']} learning, z = {last['learning_z']:+.1f}")
sr.plotting.plot("connection-map", run, "connection_map.png")
