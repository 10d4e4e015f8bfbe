"""A table of 100 columns, of which 90 are noise: do the connections of a sparse MLP leave them?"""

import numpy as np
from sklearn.datasets import make_classification
from sklearn.preprocessing import StandardScaler

import sparserbm as sr

X, y = make_classification(
    2000, 100, n_informative=10, n_redundant=0, n_clusters_per_class=4, shuffle=False, random_state=0
)
X = StandardScaler().fit_transform(X)
groups = {"informative": np.arange(10), "noise": np.arange(10, 100)}

mlp = sr.MLP(100, sr.ReLU(100), sr.Softmax(2), wiring=sr.ErdosRenyi(epsilon=3, clip=True), seed=0)
run = sr.train(
    mlp,
    X,
    sr.Backprop(),
    y=y,
    epochs=100,
    batch_size=32,
    optimizer=sr.SGD(0.05, momentum=0.9),
    evolution=sr.SET(zeta=0.3),
    zone=sr.Columns(tuple(groups["informative"])),
)

first_layer = mlp.connections[0].pattern
for row in sr.topology.group_densities(first_layer.fan_out(), groups, first_layer.n_places):
    print(
        f"{row.name}: {row.density:.1f} connections a column, {row.others:.1f} elsewhere: {row.verdict} (p {row.p:.1g})"
    )
before, after = (run.metrics[epoch]["learning_z"] for epoch in (0, -1))
print(f"z of the informative columns: {before:+.1f} at first, {after:+.1f} at last")
