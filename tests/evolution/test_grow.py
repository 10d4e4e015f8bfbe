"""Where newborns come: the scores of places against dense arithmetic, children near their parents, and what always holds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from problems import blobs, even, evidence_of, host, slopes_everywhere, stripes, tiny_mlp, tiny_rbm, wired
from scipy.stats import chisquare

from sparserbm import CosineGrow, Evolution, GradientGrow, MomentumGrow, ParentalGrow, RandomGrow, ReLU, Softmax
from sparserbm.backends import SignedPair, get_backend
from sparserbm.evolution.grow import TRIES, GrowRequest
from sparserbm.network.coactivity import Coactivity
from sparserbm.network.connections import Connections, Pattern
from sparserbm.rng import distinct_ranks

X, Y = blobs(25)


def layer_at(keys, n_pre=10, n_post=8, weight=None, backend="reference"):
    """A layer with connections at these places."""
    pattern = Pattern.from_keys(n_pre, n_post, np.asarray(keys, np.int64))
    weight = np.ones(len(pattern)) if weight is None else weight
    return Connections(get_backend(backend, "float64"), pattern, weight)


def request_of(layer, count, evidence=None, number=0, keep=None, occupied=None):
    keep = np.ones(len(layer), bool) if keep is None else keep
    parents = layer.pattern.keeping(keep)
    return GrowRequest(number, layer, keep, parents, occupied or parents, count, evidence)


def seen(layer, *batches):
    """Evidence of one layer: for each of the batches, the newest first, activities (n_units, n_samples) of both sides."""
    backend, asked = layer.backend, []

    def evidence(count):
        asked.append(count)
        for pre, post in batches[:count]:
            pre, post = backend.asarray(pre), backend.asarray(post)
            yield [Coactivity((SignedPair(1.0, pre, post),), (pre, post))]

    evidence.asked = asked
    return evidence


def batch_of(layer, n=7, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(layer.n_pre, n)), random.normal(size=(layer.n_post, n))


def everywhere(pre, post):
    """The mean of ``pre_i * post_j`` at every place, by key."""
    return (post @ pre.T / pre.shape[1]).ravel()


def best(scores, layer, count):
    """Keys of the absent places with the largest scores."""
    absent = np.setdiff1d(np.arange(layer.pattern.n_places), layer.pattern.keys)
    return np.sort(absent[np.argsort(-scores[absent])[:count]]).tolist()


def grown(rule, request, seed=0):
    return rule.propose(request, np.random.default_rng(seed)).tolist()


# -- anywhere --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [RandomGrow(), ParentalGrow(share=0.0), GradientGrow(1)], ids=str)
def test_random_growth_favours_no_absent_place(rule):
    """Nor do a parental rule without children, and the best of as many candidates as there are newborns."""
    layer = layer_at(np.arange(0, 80, 3))
    request = request_of(layer, 15, seen(layer, batch_of(layer)))
    counts = sum(np.bincount(grown(rule, request, seed), minlength=80) for seed in range(400))
    assert counts[layer.pattern.keys].sum() == 0
    absent = np.setdiff1d(np.arange(80), layer.pattern.keys)
    share = 15 / len(absent)
    variance = 400 * share * (1 - share) * len(absent) / (len(absent) - 1)
    assert 1e-3 < even(counts[absent], variance) < 1 - 1e-3
    assert grown(rule, request, 5) == grown(RandomGrow(), request, 5)
    assert request.fell_back == 0


RULES = [
    RandomGrow(),
    GradientGrow(),
    GradientGrow(None),
    GradientGrow(1.5, batches=2),
    MomentumGrow(),
    CosineGrow(),
    CosineGrow(None, centred=True),
    ParentalGrow(),
    ParentalGrow(child="sibling", share=1.0),
    ParentalGrow((5, 2), share=0.7, radius=2, power=0.0),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_growth_into_the_last_places(rule):
    for missing in ([41], [3, 41], []):
        layer = layer_at(np.delete(np.arange(80), missing))
        evidence = seen(layer, batch_of(layer), batch_of(layer, seed=1))
        assert grown(rule, request_of(layer, len(missing), evidence)) == missing


@given(st.sampled_from(RULES), st.integers(0, 2**32 - 1), st.data())
def test_as_many_distinct_absent_places_as_asked_for(rule, seed, data):
    random = np.random.default_rng(seed)
    n_connections = data.draw(st.integers(0, 30))
    layer = wired("reference", 10, 3, n_connections, seed)
    layer.slots["weight"] = random.normal(size=n_connections) * (random.random(n_connections) < 0.7)
    keep = random.random(n_connections) < 0.6
    occupied = layer.pattern if data.draw(st.booleans()) else layer.pattern.keeping(keep)
    count = data.draw(st.integers(0, 30 - len(occupied)))
    pre, post = batch_of(layer, seed=seed)
    pre[::2] = 0  # dead units
    request = request_of(layer, count, seen(layer, (pre, post)), keep=keep, occupied=occupied)
    keys = rule.propose(request, random)
    assert keys.dtype == np.int64
    assert len(keys) == count
    assert np.all(np.diff(keys) > 0)
    assert not np.isin(keys, occupied.keys).any()
    assert count == 0 or (keys[0] >= 0 and keys[-1] < 30)
    assert 0 <= request.fell_back <= (round(rule.share * count) if isinstance(rule, ParentalGrow) else 0)


# -- by the gradient -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1])
def test_all_places_scored_are_dense_rigl(backend, number):
    """The places where a connection of weight 0 would change the loss fastest, by its slope there."""
    mlp = tiny_mlp(backend, 6, ReLU(8), Softmax(3), density=0.4)
    layer = mlp.connections[number]
    slopes = slopes_everywhere(mlp, number, X[20:], Y[20:])
    request = request_of(layer, 5, evidence_of(mlp, X, Y), number)
    assert_allclose(request.gradient(np.arange(layer.pattern.n_places)), slopes, rtol=1e-6, atol=1e-9)
    expected = best(np.abs(slopes), layer, 5)
    for candidates in (None, 1e9, float("inf")):
        assert grown(GradientGrow(candidates), request) == expected


def test_all_places_scored_are_the_statistics_of_an_rbm(backend):
    """Data and model phase, each by its own number of samples."""
    rbm = tiny_rbm(backend, 16, 9, density=0.4, scale=0.5)
    evidence = evidence_of(rbm, stripes(20))
    (coactivity,) = next(iter(evidence(1)))
    dense = sum(pair.sign * everywhere(host(pair.pre), host(pair.post)) for pair in coactivity.pairs)
    expected = best(np.abs(dense), rbm.matrix, 6)
    for candidates in (None, 1000):
        assert grown(GradientGrow(candidates), request_of(rbm.matrix, 6, evidence)) == expected


def test_in_an_event_newborns_come_where_the_gradient_is_largest(backend):
    """Of the network as it is before the event, in all layers."""
    mlp = tiny_mlp(backend, 6, ReLU(8), Softmax(3), density=0.4)
    slopes = [slopes_everywhere(mlp, number, X[20:], Y[20:]) for number in (0, 1)]
    before = [layer.pattern.keys for layer in mlp.connections]
    Evolution("magnitude", "gradient(None)", "zero", zeta=0.4).evolve(mlp, evidence_of(mlp, X, Y), 9)
    for layer, score, keys in zip(mlp.connections, slopes, before):
        newborn = layer.pattern.keys[host(layer.born) == 9]
        kept = layer.pattern.keys[host(layer.born) != 9]
        assert len(newborn) == int(0.4 * len(keys))
        rest = np.setdiff1d(np.arange(layer.pattern.n_places), layer.pattern.keys)
        assert np.abs(score)[newborn].min() >= np.abs(score)[rest].max()
        assert np.isin(kept, keys).all()


def test_candidates_are_a_uniform_sample_and_the_best_of_them_grow(backend):
    layer = wired(backend, 20, 15, 60)
    pre, post = batch_of(layer)
    request = request_of(layer, 10, seen(layer, (pre, post)))
    for seed in range(5):
        sample = layer.pattern.absent_keys(distinct_ranks(np.random.default_rng(seed), 240, 40))
        score = np.abs(everywhere(pre, post)[sample])
        assert grown(GradientGrow(4), request, seed) == np.sort(sample[np.argsort(-score)[:10]]).tolist()


@pytest.mark.parametrize("rule", [GradientGrow(None), MomentumGrow(None, 3), CosineGrow(None, 3, True)], ids=str)
@pytest.mark.parametrize("streamed", [4, 100])
def test_blocks_of_places_give_what_all_at_once_give(backend, rule, streamed, monkeypatch):
    """Also where most scores are equal."""
    layer = wired(backend, 9, 7, 20)
    batches = [batch_of(layer, seed=seed) for seed in range(3)]
    for pre, post in batches:
        pre[2:], post[3:] = 0, 0
    request = request_of(layer, 15, seen(layer, *batches))
    expected = grown(rule, request)
    monkeypatch.setattr("sparserbm.evolution.grow.STREAMED", streamed)
    assert grown(rule, request) == expected


def test_equal_scores_grow_by_chance_not_by_place(monkeypatch):
    """In whatever block a place is; one place has a gradient and always grows."""
    monkeypatch.setattr("sparserbm.evolution.grow.STREAMED", 7)
    layer = layer_at([0, 5, 11], 5, 5)
    pre, post = np.zeros((5, 1)), np.zeros((5, 1))
    pre[3], post[4] = 1, 1
    request, random = request_of(layer, 6, seen(layer, (pre, post))), np.random.default_rng(0)
    counts = sum(np.bincount(GradientGrow(None).propose(request, random), minlength=25) for _ in range(400))
    assert counts[23] == 400
    others = np.delete(counts, [0, 5, 11, 23])
    share = 5 / 21
    assert 1e-3 < even(others, 400 * share * (1 - share) * 21 / 20) < 1 - 1e-3


def test_batches_are_summed_with_their_signs_and_fade(backend):
    """``|g0 + g1 / 2 + g2 / 4|`` over the newest three."""
    layer = wired(backend, 9, 7, 20)
    batches = [batch_of(layer, n, seed) for seed, n in enumerate((6, 4, 8, 5))]
    g = [everywhere(*batch) for batch in batches]
    evidence = seen(layer, *batches)
    request, keys = request_of(layer, 8, evidence), np.arange(63)
    assert_allclose(GradientGrow(None, 3, 0.5).score(request, keys), np.abs(g[0] + g[1] / 2 + g[2] / 4), rtol=1e-9)
    assert_allclose(GradientGrow(None, 1, 0.5).score(request, keys), np.abs(g[0]), rtol=1e-9)
    assert_allclose(GradientGrow(None, 2, 0.0).score(request, keys), np.abs(g[0]), rtol=1e-9)
    assert_allclose(GradientGrow(None, 9, 1.0).score(request, keys), np.abs(sum(g)), rtol=1e-9, atol=1e-12)
    assert evidence.asked == [3, 1, 2, 9]
    assert grown(GradientGrow(None, 3, 0.5), request) == best(np.abs(g[0] + g[1] / 2 + g[2] / 4), layer, 8)


def test_momentum_is_the_gradient_of_many_batches():
    assert MomentumGrow() == GradientGrow(8, batches=10, decay=0.9)
    assert MomentumGrow(None, 5, 0.5) == GradientGrow(None, 5, 0.5)


# -- by activities ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cosine_and_correlation_are_those_of_dense_arrays(backend, dtype):
    """Over all samples of the batches, small ones included."""
    layer = wired(backend, 8, 6, 20, dtype=dtype)
    batches = [batch_of(layer, n, seed) for seed, n in enumerate((9, 3, 6))]
    batches = [(np.maximum(pre, 0) + 0.5, post - 1.0) for pre, post in batches]
    request, keys = request_of(layer, 5, seen(layer, *batches)), np.arange(48)
    pre, post = (np.concatenate(side, axis=1) for side in zip(*batches))
    cosine = post @ pre.T / np.outer(np.linalg.norm(post, axis=1), np.linalg.norm(pre, axis=1))
    accuracy = {"rtol": 1e-9} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-6}
    assert_allclose(CosineGrow(None).score(request, keys), np.abs(cosine).ravel(), **accuracy)
    correlation = np.corrcoef(post, pre)[:6, 6:]
    assert_allclose(CosineGrow(None, centred=True).score(request, keys), np.abs(correlation).ravel(), **accuracy)
    assert grown(CosineGrow(None), request) == best(np.abs(cosine).ravel(), layer, 5)
    assert grown(CosineGrow(None, centred=True), request) == best(np.abs(correlation).ravel(), layer, 5)


def test_cosines_know_no_sign_and_no_scale():
    layer = layer_at([0], 3, 2)
    pre = np.array([[1.0, 2.0, -1.0], [-100.0, -200.0, 100.0], [2.0, -1.0, 0.0]])
    post = np.array([[1e-3, 2e-3, -1e-3], [0.0, 0.0, 5.0]])
    score = CosineGrow(None).score(request_of(layer, 1, seen(layer, (pre, post))), np.arange(6))
    assert score == pytest.approx([1, 1, 0, 1 / np.sqrt(6), 1 / np.sqrt(6), 0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_units_that_never_change_are_like_no_other(backend, dtype):
    """Of value 0: no cosine. Of another value, as the margin of scaled images: no correlation, also not by rounding."""
    layer = wired(backend, 20, 18, 20, dtype=dtype)
    batches = [batch_of(layer, n, seed) for seed, n in enumerate((37, 11))]
    for pre, post in batches:
        pre[:15] = np.array([0.0, -0.4242, *np.linspace(0.1, 3, 13)])[:, None]
        post[:12] = np.array([0.0, 0.7, *np.linspace(-2, 2, 10)])[:, None]
    request, keys = request_of(layer, 5, seen(layer, *batches)), np.arange(360)
    cosine = CosineGrow(None).score(request, keys).reshape(18, 20)
    assert not cosine[:, 0].any()
    assert not cosine[0].any()
    assert cosine[1:12, 1:15] == pytest.approx(np.ones((11, 14)), rel=1e-5)
    correlation = CosineGrow(None, centred=True).score(request, keys).reshape(18, 20)
    assert not correlation[:, :15].any()
    assert not correlation[:12].any()
    assert (correlation[12:, 15:] > 0).all()


# -- near parents ----------------------------------------------------------------------------------------------------


def relatives(pattern, child, shape=None, radius=1):
    """Keys of all places where a child of these parents may be."""
    connected = np.zeros((pattern.n_post, pattern.n_pre), bool)
    connected[pattern.post, pattern.pre] = True
    if child == "neighbour":
        image, near = connected.reshape(-1, *shape), np.zeros((pattern.n_post, *shape), bool)
        for j, row, column in np.argwhere(image):
            rows, columns = (slice(max(at - radius, 0), at + radius + 1) for at in (row, column))
            near[j, rows, columns] = True
        return np.flatnonzero(near)
    if child == "sibling":
        share_input = (connected.astype(int) @ connected.T) > 0
        return np.flatnonzero(share_input.astype(int) @ connected)
    return np.flatnonzero(np.outer(connected.any(axis=1), connected.any(axis=0)))


def is_related(keys, pattern, rule):
    return np.isin(keys, relatives(pattern, rule.child, rule.shape, rule.radius))


@pytest.mark.parametrize(
    "rule",
    [
        ParentalGrow((6, 5), share=1.0),
        ParentalGrow((6, 5), share=1.0, radius=2, power=2.0),
        ParentalGrow(share=1.0, child="sibling"),
        ParentalGrow((6, 5), share=1.0, child="sibling"),
        ParentalGrow(share=1.0),
        ParentalGrow((6, 5), share=1.0, child="crossover"),
    ],
    ids=str,
)
def test_children_are_where_their_kind_may_be(backend, rule):
    for seed in range(10):
        random = np.random.default_rng(seed)
        keys = [30 * (k // 15) + k % 15 for k in np.sort(random.choice(150, 45, replace=False))]
        layer = layer_at(keys, 30, 20, random.normal(size=45), backend)  # a corner of it is connected
        keep = random.random(45) < 0.7  # those that go have no children
        request = request_of(layer, 12, keep=keep)
        keys = np.array(grown(rule, request, seed))
        related = is_related(keys, layer.pattern.keeping(keep), rule)
        assert len(keys) == 12
        assert related.sum() >= 12 - request.fell_back
        assert request.fell_back <= 4
        assert not is_related(np.arange(600), layer.pattern.keeping(keep), rule).all()


def test_images_do_not_wrap_around():
    """The pixel at the right end of a row is no neighbour of the one below it at the left end."""
    layer = layer_at([3 * 12 + 7], 12, 5)  # unit 3, pixel (1, 3) of 3 x 4
    rule = ParentalGrow((3, 4), share=1.0)
    seeds = [grown(rule, request_of(layer, 1), seed)[0] for seed in range(200)]
    assert sorted(set(seeds)) == [3 * 12 + pixel for pixel in (2, 3, 6, 10, 11)]


@pytest.mark.parametrize(("share", "children"), [(0.0, 0), (0.25, 10), (0.5, 20), (1.0, 40)])
def test_a_share_of_the_newborns_are_children(share, children):
    """The others come anywhere: hardly ever among the few places of the children."""
    layer = layer_at([17 * 900 + 30 * row + column for row in range(2, 28, 3) for column in range(2, 28, 3)], 900, 400)
    request = request_of(layer, 40)
    keys = grown(ParentalGrow((30, 30), share=share), request)
    assert sum(key // 900 == 17 for key in keys) == children
    assert request.fell_back == 0


@pytest.mark.parametrize(("power", "expected"), [(0.0, [1, 1, 1, 1]), (1.0, [1, 2, 3, 6]), (2.0, [1, 4, 9, 36])])
def test_parents_are_drawn_by_a_power_of_their_strength(power, expected):
    """Each parent here has a unit of its own, so a child tells whose it is; with power 0 strength does not matter."""
    layer = layer_at([j * 25 + 12 for j in range(4)], 25, 4, weight=np.array([0.5, -1.0, 1.5, -3.0]))
    rule, random = ParentalGrow((5, 5), share=1.0, power=power), np.random.default_rng(0)
    request = request_of(layer, 1)
    counts = np.bincount([rule.propose(request, random)[0] // 25 for _ in range(1200)], minlength=4)
    expected = np.array(expected) / sum(expected) * 1200
    assert 1e-3 < chisquare(counts, expected).pvalue < 1 - 1e-3


def test_weights_of_any_size_make_parents():
    layer = layer_at([j * 25 + 12 for j in range(4)], 25, 4, weight=np.array([0.0, 1e-30, 1e30, 0.0]))
    for power in (1.0, 50.0):
        request = request_of(layer, 5)
        keys = np.array(grown(ParentalGrow((5, 5), share=1.0, power=power), request))
        assert set(keys // 25) == {2}
        assert request.fell_back == 0
    request = request_of(layer, 5)
    keys = np.array(grown(ParentalGrow((5, 5), share=1.0, power=0.0), request))
    assert len(set(keys // 25)) > 1


def test_where_no_child_fits_it_comes_anywhere_and_is_counted():
    """Nearly full, without weights, without parents: it never tries for ever."""
    lonely = layer_at([0], 30, 20)
    for rule in (ParentalGrow(share=1.0, child="sibling"), ParentalGrow(share=1.0)):  # the only relative is itself
        request = request_of(lonely, 9)
        assert len(grown(rule, request)) == 9
        assert request.fell_back == 9
    full = layer_at(np.delete(np.arange(600), [5, 77, 301]), 30, 20)
    request = request_of(full, 3)
    assert grown(ParentalGrow((6, 5), share=1.0), request) == [5, 77, 301]
    assert request.fell_back > 0
    silent = layer_at(np.arange(10), 30, 20, weight=np.zeros(10))
    for layer, keep in ((silent, None), (lonely, np.zeros(1, bool))):
        request = request_of(layer, 8, keep=keep)
        assert len(grown(ParentalGrow((6, 5), share=0.5), request)) == 8
        assert request.fell_back == 4


def test_children_are_tried_so_many_times(monkeypatch):
    rule, tries = ParentalGrow(share=1.0), []
    children = ParentalGrow._children
    monkeypatch.setattr(ParentalGrow, "_children", lambda *given: tries.append(given[3]) or children(*given))
    rule.propose(request_of(layer_at([0]), 4), np.random.default_rng(0))
    assert tries == [4] * TRIES


def test_layers_of_another_size_than_the_image_grow_by_crossover(backend):
    """Only the first layer sees pixels."""
    mlp = tiny_mlp(backend, 30, ReLU(25), Softmax(20), density=0.05)
    rule = ParentalGrow((6, 5), share=1.0)
    crossover = ParentalGrow(share=1.0)
    for number, kind in ((0, rule), (1, crossover)):
        layer = mlp.connections[number]
        request = request_of(layer, 10)
        keys = np.array(grown(rule, request, number))
        assert is_related(keys, layer.pattern, kind).sum() >= 10 - request.fell_back >= 8
    assert grown(rule, request, 3) == grown(crossover, request, 3)


def test_an_event_counts_those_that_fell_back(backend):
    mlp = tiny_mlp(backend, 6, ReLU(5), Softmax(4), density=0.5)
    for layer in mlp.connections:
        layer.weight[:] = 0
    report = Evolution(grow="parental(share=0.5)", zeta=0.4).evolve(mlp, None, 1)
    assert (report.grown, report.fell_back) == (6 + 4, 3 + 2)
    assert (report + report).fell_back == 10


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "arguments", "message"),
    [
        (GradientGrow, {"candidates": 0.5}, "candidates=0.5 is not possible; use at least 1 for each connection"),
        (CosineGrow, {"candidates": float("nan")}, "candidates=nan is not possible"),
        (GradientGrow, {"batches": 0}, "batches=0 is not possible; use an integer of at least 1"),
        (CosineGrow, {"batches": 1.5}, "batches=1.5 is not possible"),
        (MomentumGrow, {"decay": 1.1}, r"decay=1.1 is not possible; use a number of \[0, 1\]"),
        (ParentalGrow, {"shape": (28,)}, r"shape=\(28,\) is not possible; use \(rows, columns\)"),
        (ParentalGrow, {"shape": (0, 4)}, r"shape=\(0, 4\) is not possible"),
        (ParentalGrow, {"child": "twin"}, "child='twin' is not possible; use neighbour, sibling or crossover"),
        (ParentalGrow, {"child": "neighbour"}, r"needs the shape of the images, e.g. parental\(shape=\(28, 28\)\)"),
        (ParentalGrow, {"share": 1.5}, "share=1.5, radius=1, power=1.0 are not possible"),
        (ParentalGrow, {"radius": 0}, "radius=0"),
        (ParentalGrow, {"power": -1}, "power=-1"),
        (ParentalGrow, {"power": float("nan")}, "power=nan"),
    ],
)
def test_rules_that_cannot_be(rule, arguments, message):
    with pytest.raises(ValueError, match=message):
        rule(**arguments)


@pytest.mark.parametrize("grow", ["gradient", "momentum", "cosine"])
def test_rules_that_look_at_batches_need_training(grow):
    mlp = tiny_mlp("reference", 6, ReLU(5), Softmax(3))
    rule = Evolution(grow=grow)
    assert rule.needs_batches
    with pytest.raises(ValueError, match="this rule looks at mini-batches: it works in training only"):
        rule.evolve(mlp, None, 1)
