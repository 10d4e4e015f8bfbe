"""Settings of the published codes, by name: ``preset("set_rbm")`` is a recipe that can be changed and run.

Each function says where its settings come from, and where we differ and why. For all of them: an event drops
exactly the number that zeta asks for, by the rule of the paper; newborn connections have velocity 0; dense output
layers do not evolve; the output of a classifier is softmax with cross-entropy. Where a published code does
otherwise by mistake, the mistake is not repeated.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from sparserbm.recipes import Recipe
from sparserbm.registry import known, parse, register, rule_class


def preset(name: str, **changes: Any) -> Recipe:
    """The settings called `name`, as a `Recipe`.

    Parameters
    ----------
    name : {"dense", "evolnet", "fixprob", "rigl", "set_mlp", "set_rbm", "synapses"}
    **changes
        Settings of the recipe that should be others: ``preset("set_mlp", data="digits", epochs=50)``.

    Raises
    ------
    ValueError
        If there is no such preset, or a setting does not exist or fit.

    Examples
    --------
    >>> import sparserbm as sr
    >>> sr.preset("set_rbm", data="digits", epochs=2).optimizer
    'sgd(0.1)'
    """
    unknown = sorted(set(changes) - set(Recipe.options()))
    if unknown:
        raise ValueError(f"unknown setting {unknown[0]!r}; known: {', '.join(sorted(Recipe.options()))}")
    return dataclasses.replace(parse("preset", name), **changes)


def known_presets() -> dict[str, str]:
    """Names of all presets, each with what it says of itself."""
    return {name: (rule_class("preset", name).__doc__ or "").strip() for name in known("preset")}


@register("preset", "set_rbm")
def set_rbm() -> Recipe:
    """The RBM of the SET paper's code (Mocanu et al. 2018), as it runs on COIL-20.

    200 hidden units, epsilon 10, weights N(0, 0.05**2), biases 0, one mean-field reconstruction with sampled hidden
    states in both phases (``lengthMarkovChain=2`` there is CD-1), learning rate 0.1 without momentum, batches of
    10, decay 2e-7 outside the learning rate on weights and biases, zeta 0.3 after every epoch, only a drop after
    the last.

    We differ: the number of connections is exact (drawn with repetition there: 2.9 % fewer on COIL-20), and the last,
    smaller batch of an epoch is trained too.
    """
    return Recipe(
        model="rbm",
        data="digits",
        hidden=(200,),
        epsilon=10,
        weights="set_rbm",
        algorithm='cd(positive="sample", negative="sample", chain="mean", visible_bias="zero")',
        optimizer="sgd(0.1)",
        evolution='set(zeta=0.3, last="drop")',
        regularization="set_decay(2e-7, biases=True)",
        epochs=1000,
        batch_size=10,
    )


@register("preset", "set_mlp")
def set_mlp() -> Recipe:
    """The MLP of the SET authors' tutorial on Fashion-MNIST (IJCAI 2019), on data of [0, 1].

    Three layers of 1,000 ReLU units, epsilon 13, weights N(0, 0.1**2), biases 0, learning rate 0.05, momentum 0.9,
    decay 2e-4 outside the learning rate on weights and biases, dropout 0.2, batches of 40, zeta 0.3 after every
    epoch but the last, 400 epochs (of 2,000 samples there).

    We differ: softmax and cross-entropy instead of sigmoid and squared error, whose derivative the code takes at
    the activation and not at the total input, so that it acts like a scaled cross-entropy; dropout scales in
    training and not at the test, and is part of the gradient; the output layer is dense (there 73 % full, by draws
    with repetition)."""
    return Recipe(
        model="mlp",
        hidden=(1000, 1000, 1000),
        epsilon=13,
        weights="set",
        algorithm="backprop(dropout=0.2)",
        optimizer="sgd(0.05, momentum=0.9)",
        evolution="set(zeta=0.3)",
        regularization="set_decay(2e-4, biases=True)",
        epochs=400,
        batch_size=40,
    )


@register("preset", "synapses")
def synapses() -> Recipe:
    """The demo of synapses (Klear 2018, a SET layer for PyTorch) on MNIST.

    784-512-128-10, epsilon 11, weights and biases N(0, 2 / n_pre) although the layers are sparse, data standardised
    by one mean and deviation, SGD with learning rate 0.01, momentum 0.9 and weight decay 2e-4 on everything,
    batches of 512, zeta 0.3 after every epoch, no place refilled by the event that empties it.

    We differ: weights of exactly 0 can be dropped (there they stay for ever, since it asks for > 0 and < 0), and
    absent places are drawn uniformly (there a third of them is never drawn)."""
    return dataclasses.replace(
        evolnet(),
        optimizer="sgd(0.01, momentum=0.9)",
        evolution="set(zeta=0.3, allow_return=False)",
        l2=2e-4,
        batch_size=512,
    )


@register("preset", "evolnet")
def evolnet() -> Recipe:
    """The EvolNet of the regularization study (2019): every layer evolves after a step with probability 0.025.

    784-512-128-10, epsilon 11, weights and biases N(0, 2 / n_pre), the output layer as PyTorch's default, data
    standardised by one mean and deviation, SGD with learning rate 0.01 and momentum 0.5, batches of 128, zeta 0.3, no
    place refilled by the event that empties it; 48 epochs. The study adds ``l2=1e-3``, on biases too.

    We differ: newborn connections have no velocity (there they inherit that of the connection whose place in memory
    they take)."""
    return Recipe(
        model="mlp",
        scale="standard",
        hidden=(512, 128),
        epsilon=11,
        weights=("he_dense", "he_dense", "uniform_dense"),
        biases=("he_dense", "he_dense", "uniform_dense"),
        optimizer="sgd(0.01, momentum=0.5)",
        evolution="set(zeta=0.3, when=chance(0.025), allow_return=False)",
        penalise_biases=True,
        epochs=48,
        batch_size=128,
    )


@register("preset", "rigl")
def rigl() -> Recipe:
    """RigL on MNIST (Evci et al. 2020), as their script runs it.

    784-300-100-10 with densities 0.02, 0.118 and 1, learning rate 0.2 divided by 3 after 75 and 95 epochs (of 600
    steps), Nesterov momentum 0.9, L2 of 1e-4 on weights, batches of 100, 200 epochs. Every 100 steps up to step
    50,000 the share zeta, falling from 0.3 by a cosine, goes by magnitude and comes back where the gradient is
    largest, with weight 0.

    We differ: weights start as He et al. with the real number of inputs (there Glorot with that of a dense layer),
    and the step of an event is not skipped. All absent places are scored, as there, without a dense array."""
    return Recipe(
        model="mlp",
        hidden=(300, 100),
        wiring=("erdos_renyi(density=0.02)", "erdos_renyi(density=0.118)", "dense"),
        weights="he_sparse",
        optimizer="sgd(steps((0.2, 0.0667, 0.0222), (45000, 57000)), momentum=0.9, nesterov=True)",
        evolution="evolution(drop=magnitude, grow=gradient(candidates=None), birth=zero, zeta=cosine(0.3, 0, 50000), "
        "when=window(every(steps=100), 0, 50000))",
        l2=1e-4,
        epochs=200,
        batch_size=100,
    )


@register("preset", "fixprob")
def fixprob() -> Recipe:
    """The regularization study's network whose wiring stays as it was drawn: the control of all that evolves.

    As `evolnet`, without evolution. Any other preset becomes its own control by ``evolution=None``: wiring and first
    weights depend on the seed alone.
    """
    return dataclasses.replace(evolnet(), evolution=None)


@register("preset", "dense")
def dense() -> Recipe:
    """The regularization study's network with all connections: the other control.

    Weights N(0, 2 / n_pre), which are right for full layers; everything else as `fixprob`.
    """
    return dataclasses.replace(fixprob(), epsilon=None, wiring="dense")
