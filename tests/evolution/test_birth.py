"""What newborns weigh."""

import numpy as np
import pytest
from problems import blobs, evidence_of, host, slopes_everywhere, stripes, tiny_mlp, tiny_rbm

from sparserbm import Evolution, Fresh, GradientSign, HeSparse, Normal, ReLU, Softmax, ZeroBirth
from sparserbm.evolution import Newborns

X, Y = blobs(25)
FAN_IN = np.array([1, 4, 4, 9])


def drawn(rule, first=HeSparse(), gradient=None):  # noqa: B008
    return rule.draw(np.random.default_rng(0), Newborns(FAN_IN, 10, first, gradient))


def test_newborns_weigh_what_their_rule_says():
    generator = np.random.default_rng
    assert np.array_equal(drawn(Fresh()), HeSparse().draw(generator(0), FAN_IN, 10))
    assert np.array_equal(drawn(Fresh("normal(0.5)")), Normal(0.5).draw(generator(0), FAN_IN, 10))
    assert drawn(ZeroBirth()).tolist() == [0, 0, 0, 0]
    with pytest.raises(ValueError, match=r'no weight scale to draw newborns from; use birth="same\(normal\(0.05\)\)"'):
        drawn(Fresh(), first=None)


def test_signs_are_against_the_gradient_and_sizes_as_drawn():
    plain, gradient = drawn(Fresh()), np.array([2.0, -1e-30, 0.0, 5.0])
    found = drawn(GradientSign(), gradient=gradient)
    assert np.sign(found).tolist() == [-1, 1, np.sign(plain[2]), -1]
    assert np.array_equal(np.abs(found), np.abs(plain))
    assert found[2] == plain[2]  # nothing is known there
    scaled = drawn(GradientSign("normal(0.5)"), first=None, gradient=gradient)
    assert np.array_equal(np.abs(scaled), np.abs(drawn(Fresh("normal(0.5)"))))


@pytest.mark.parametrize("grow", ["random", "gradient"])
def test_in_an_event_newborns_start_downhill(backend, grow):
    """By the slopes of the loss at their places, before the event."""
    mlp = tiny_mlp(backend, 6, ReLU(8), Softmax(3), density=0.4)
    slopes = [slopes_everywhere(mlp, number, X[20:], Y[20:]) for number in (0, 1)]
    Evolution(grow=grow, birth="gradient_sign(normal(1.0))", zeta=0.5).evolve(mlp, evidence_of(mlp, X, Y), 3)
    for layer, slope in zip(mlp.connections, slopes):
        newborn = host(layer.born) == 3
        weight, found = host(layer.weight)[newborn], slope[layer.pattern.keys[newborn]]
        clear = np.abs(found) > 1e-8
        assert clear.sum() >= 3
        assert np.array_equal(np.sign(weight[clear]), -np.sign(found[clear]))


def test_newborns_of_an_rbm_start_towards_the_data(backend):
    rbm = tiny_rbm(backend, 16, 9, density=0.4, scale=0.5)
    evidence = evidence_of(rbm, stripes(20))
    (coactivity,) = next(iter(evidence(1)))
    dense = sum(pair.sign * host(pair.post) @ host(pair.pre).T / pair.pre.shape[1] for pair in coactivity.pairs).ravel()
    Evolution(birth="gradient_sign", zeta=0.5).evolve(rbm, evidence, 3)
    newborn = host(rbm.matrix.born) == 3
    assert newborn.sum() == 29
    found = dense[rbm.matrix.pattern.keys[newborn]]
    assert np.array_equal(np.sign(host(rbm.matrix.weight)[newborn]), -np.sign(found))


def test_an_event_without_newborns_asks_for_no_weight(backend):
    mlp = tiny_mlp(backend, 6, ReLU(5), Softmax(3))
    report = Evolution(birth="gradient_sign", zeta=0.0).evolve(mlp, evidence_of(mlp, X, Y), 3)
    assert (report.dropped, report.grown) == (0, 0)


def test_signs_need_training():
    mlp = tiny_mlp("reference", 6, ReLU(5), Softmax(3))
    with pytest.raises(ValueError, match="this rule looks at mini-batches: it works in training only"):
        Evolution(birth="gradient_sign").evolve(mlp, None, 1)
