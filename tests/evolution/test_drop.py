"""Drop rules against tables worked out by hand, and what holds for any weights."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from problems import (
    arrays_of,
    blobs,
    blocks_of,
    dense_loss,
    even,
    evidence_of,
    finite_differences,
    host,
    tiny_mlp,
    tiny_rbm,
    wired,
)

from sparserbm import (
    Evolution,
    Largest,
    Magnitude,
    PublishedSET,
    RandomDrop,
    ReLU,
    SignedMagnitude,
    Softmax,
    Sparing,
    Taylor,
    Threshold,
    core_view,
)
from sparserbm.backends import SignedPair, get_backend
from sparserbm.evolution.drop import ConnectionsView, mark_nearest_zero
from sparserbm.network.coactivity import Coactivity
from sparserbm.network.connections import Connections, Pattern
from sparserbm.registry import parse, to_text

# Three weights of zero, four positive, three negative.
WEIGHTS = np.array([0.4, 0.0, -0.1, 0.9, -0.0, 0.05, -0.7, 0.2, -0.3, 0.0])


def view(weight, gradient=None, dtype="float64"):
    """One unit with a connection of each of these weights, and of these gradients."""
    pattern = Pattern.from_keys(max(len(weight), 1), 1, np.arange(len(weight)))
    layer = Connections(get_backend("reference", dtype), pattern, weight)
    if gradient is None:
        return ConnectionsView(layer, step=0)
    one_sample = Coactivity((SignedPair(1.0, np.asarray(gradient)[:, None], np.ones((1, 1))),))
    return ConnectionsView(layer, 0, 0, lambda count: iter([[one_sample]]))


def dropped(weight, count, seed=0, rule=SignedMagnitude(), gradient=None):  # noqa: B008
    return np.flatnonzero(rule.select(view(weight, gradient), count, np.random.default_rng(seed)))


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, []),
        (3, [1, 4, 9]),  # zeros, of either sign, go first
        (4, [1, 4, 5, 9]),  # 1 more: 4/7 of it is positive
        (5, [1, 2, 4, 5, 9]),  # 2 more: 8/7 positive
        (6, [1, 2, 4, 5, 7, 9]),  # 3 more: 12/7 positive
        (7, [1, 2, 4, 5, 7, 8, 9]),  # 4 more: 16/7 positive
        (8, [0, 1, 2, 4, 5, 7, 8, 9]),  # 5 more: 20/7 positive
        (9, [0, 1, 2, 4, 5, 6, 7, 8, 9]),  # 6 more: 24/7 positive
        (10, list(range(10))),
    ],
)
def test_a_table_worked_out_by_hand(count, expected):
    assert dropped(WEIGHTS, count).tolist() == expected


def test_signs_with_different_scales_are_judged_apart():
    """Plain magnitude would take all of the small negatives."""
    random = np.random.default_rng(0)
    weight = np.concatenate([random.normal(1.0, 0.1, 900), -np.abs(random.normal(0.01, 0.001, 100))])
    index = dropped(weight, 300)
    assert (index < 900).sum() == 270
    assert (index >= 900).sum() == 30


@pytest.mark.parametrize("sign", [1, -1])
def test_one_sign_alone(sign):
    weight = sign * np.array([3.0, 1.0, 2.0, 5.0])
    assert dropped(weight, 2).tolist() == [1, 2]
    assert dropped(weight, 4).tolist() == [0, 1, 2, 3]


@given(st.lists(st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5]), max_size=40), st.data())
def test_the_count_is_exact_and_the_kept_are_larger(values, data):
    weight = np.array(values)
    count = data.draw(st.integers(0, len(weight)))
    mark = SignedMagnitude().select(view(weight), count, np.random.default_rng(0))
    assert mark.dtype == bool
    assert mark.sum() == count
    if count < (weight == 0).sum():
        assert not np.any(mark & (weight != 0))
    else:
        assert mark[weight == 0].all()
        positive, negative = mark & (weight > 0), mark & (weight < 0)
        share = (count - (weight == 0).sum()) * (weight > 0).sum() / max((weight != 0).sum(), 1)
        assert abs(positive.sum() - share) <= 0.5
        for going, sign in ((positive, weight > 0), (negative, weight < 0)):
            staying = sign & ~mark
            if going.any() and staying.any():
                assert np.abs(weight[going]).max() <= np.abs(weight[staying]).min()


@pytest.mark.parametrize("value", [0.0, 0.5, -0.5])
def test_ties_are_broken_by_chance_not_by_place(value):
    shown, random = view(np.full(20, value)), np.random.default_rng(0)
    counts = sum(SignedMagnitude().select(shown, 6, random).astype(int) for _ in range(1000))
    assert 1e-3 < even(counts, 1000 * 0.3 * 0.7 * 20 / 19) < 1 - 1e-3


def test_the_same_generator_breaks_ties_alike():
    weight = np.full(20, 0.5)
    assert dropped(weight, 6, seed=3).tolist() == dropped(weight, 6, seed=3).tolist()
    assert dropped(weight, 6, seed=3).tolist() != dropped(weight, 6, seed=4).tolist()


def test_the_order_of_the_connections_does_not_matter():
    """Without ties the same weights go, whatever their places."""
    weight = np.random.default_rng(1).normal(size=50)
    order = np.random.default_rng(2).permutation(50)
    assert set(weight[dropped(weight, 15)]) == set(weight[order][dropped(weight[order], 15)])


@given(st.lists(st.integers(-5, 5), max_size=30), st.integers(0, 35), st.sampled_from([1.0, -1.0]))
def test_the_nearest_to_zero_are_those_of_a_sort(values, count, sign):
    """Of one sign; marks that were set before, here on the zeros, stay."""
    values = np.array(values, dtype=float)
    before, mark, sizes = values.copy(), values == 0, sign * values
    mark_nearest_zero(mark, values, sign, count, np.random.default_rng(0))
    assert mark[values == 0].all()
    assert not mark[sizes < 0].any()
    among = sizes[sizes > 0]
    chosen = sizes[mark & (sizes > 0)]
    assert len(chosen) == min(count, len(among))
    assert sorted(chosen) == sorted(among)[:count]
    assert np.array_equal(values, before)


# -- rules that rank all connections alike ---------------------------------------------------------------------------

RANKED = {  # rule: what it takes the smallest of
    Magnitude(): lambda weight, gradient: np.abs(weight),
    Largest(): lambda weight, gradient: -np.abs(weight),
    Taylor(): lambda weight, gradient: (weight * gradient) ** 2,
    RandomDrop(): lambda weight, gradient: np.zeros(len(weight)),
}
SOME = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5])


@given(st.sampled_from(list(RANKED)), st.lists(st.tuples(SOME, SOME), max_size=40), st.data())
def test_the_smallest_scores_go_as_many_as_asked_for(rule, values, data):
    weight, gradient = np.array(values).reshape(-1, 2).T
    count = data.draw(st.integers(0, len(weight)))
    mark = rule.select(view(weight, gradient), count, np.random.default_rng(0))
    assert (mark.dtype, mark.shape, mark.sum()) == (bool, weight.shape, count)
    score = RANKED[rule](weight, gradient)
    if 0 < count < len(weight):
        assert score[mark].max() <= score[~mark].min()


@pytest.mark.parametrize("rule", RANKED, ids=str)
def test_equal_scores_go_by_chance_not_by_place(rule):
    weight, gradient = np.append(np.full(20, 0.5), 9.0), np.append(np.full(20, 0.1), 9.0)
    if rule == Largest():
        weight[-1] = 0.0  # the one connection with another score stays
    elif rule == RandomDrop():
        weight, gradient = weight[:-1], gradient[:-1]
    shown, random = view(weight, gradient), np.random.default_rng(0)
    counts = sum(rule.select(shown, 6, random).astype(int) for _ in range(1000))
    assert not counts[20:].any()
    assert 1e-3 < even(counts[:20], 1000 * 0.3 * 0.7 * 20 / 19) < 1 - 1e-3


def test_signs_do_not_matter_to_magnitude():
    assert dropped(WEIGHTS, 6, rule=Magnitude()).tolist() == [1, 2, 4, 5, 7, 9]
    assert dropped(WEIGHTS, 3, rule=Largest()).tolist() == [0, 3, 6]
    assert dropped(WEIGHTS, 4, rule=Taylor(), gradient=1 / np.where(WEIGHTS == 0, 1, WEIGHTS) ** 2).tolist() == [
        1,
        3,
        4,
        9,
    ]


# -- thresholds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Threshold(0.1), [1, 2, 4, 5, 9]),  # the limit itself goes
        (Threshold(0.0), [1, 4, 9]),
        (Threshold(0.2, at_most=0.3), [1, 4, 9]),
        (Threshold(10.0), [1, 2, 4, 5, 9]),  # half of them at most
        (Threshold(10.0, at_most=1.0), list(range(10))),
        (Threshold(0.0, at_least=0.6, at_most=0.9), [1, 2, 4, 5, 7, 9]),
        (Threshold(0.0, at_least=0.29, at_most=0.49), [1, 4, 9]),
    ],
    ids=str,
)
@pytest.mark.parametrize("count", [0, 7])
def test_a_threshold_has_a_number_of_its_own(rule, expected, count):
    assert dropped(WEIGHTS, count, rule=rule).tolist() == expected


def test_bounds_of_a_threshold_are_shares_not_their_rounding_errors():
    assert len(dropped(np.ones(100), 0, rule=Threshold(0.0, at_least=0.29, at_most=1.0))) == 29
    assert len(dropped(np.ones(100), 0, rule=Threshold(2.0, at_most=0.57))) == 57


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"limit": -1}, "limit=-1 is not possible for Threshold; use a number of at least 0"),
        ({"limit": float("nan")}, "limit=nan is not possible"),
        ({"limit": 1, "at_least": 0.6}, "at_least=0.6, at_most=0.5 are not possible for Threshold; use shares"),
        ({"limit": 1, "at_most": 1.1}, "at_most=1.1 are not possible"),
        ({"limit": 1, "at_least": -0.1}, "at_least=-0.1"),
    ],
)
def test_thresholds_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        Threshold(**arguments)


# -- the published code ----------------------------------------------------------------------------------------------


def published(weight, zeta):
    """What goes, written out as the published code does it, element by element."""
    values = sorted(weight.tolist())
    n = len(values)
    first = min(range(n), key=lambda k: abs(values[k]))
    last = n - min(range(n), key=lambda k: abs(values[n - 1 - k]))
    low = values[int((1 - zeta) * first)]
    high = values[int(min(n - 1, last + zeta * (n - last)))]
    return [not (w < low or w > high) for w in weight.tolist()]


SIGNED = st.floats(-3, 3, width=32)
KINDS = {
    "any": SIGNED,
    "positive": SIGNED.map(lambda w: abs(w) + 0.125),
    "negative": SIGNED.map(lambda w: -abs(w) - 0.125),
    "tied": st.sampled_from([-1.0, -0.5, 0.5]),
    "zeros": st.one_of(st.just(0.0), st.just(-0.0), SIGNED),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_the_published_rule_is_that_of_the_code_comparison_for_comparison(kind, data):
    weight = np.array(data.draw(st.lists(KINDS[kind], min_size=1, max_size=60)))
    zeta = data.draw(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.99]))
    for dtype in ("float64", "float32"):
        mark = PublishedSET(zeta).select(view(weight, dtype=dtype), 0, None)
        assert mark.tolist() == published(weight.astype(dtype), zeta)


@pytest.mark.parametrize("sign", ["both", "positive", "negative"])
def test_what_the_published_rule_is_known_to_do(sign):
    """It drops one or two more than asked for, and all of a small or even layer."""
    rule = PublishedSET(0.3)
    weight = np.random.default_rng(0).normal(size=10_000)
    weight = {"both": weight, "positive": np.abs(weight), "negative": -np.abs(weight)}[sign]
    index = dropped(weight, 0, rule=rule)
    assert 3000 < len(index) <= 3002
    for half in (weight > 0, weight < 0):
        mark = np.zeros(len(weight), bool)
        mark[index] = True
        assert abs((mark & half).sum() - 0.3 * half.sum()) <= 2
    tied = np.full(50, weight[0])
    assert len(dropped(tied, 0, rule=rule)) == 50
    assert len(dropped(weight[:1], 0, rule=rule)) == 1
    assert len(dropped(weight[:2], 0, rule=rule)) == 2
    assert len(dropped(weight[:0], 0, rule=rule)) == 0


def test_the_published_rule_takes_exact_zeros_on_top():
    weight = np.random.default_rng(0).normal(size=10_000)
    weight[::5] = 0.0
    assert len(dropped(weight, 0, rule=PublishedSET(0.3))) == pytest.approx(4400, abs=3)
    with pytest.raises(ValueError, match=r"zeta=1.0 is out of range; use a value in \[0, 1\)"):
        PublishedSET(1.0)


# -- gradients -------------------------------------------------------------------------------------------------------

X, Y = blobs(20)


@pytest.mark.parametrize("block", [4, 1000])
def test_taylor_sees_the_slope_of_the_loss(backend, block):
    """And drops what changes the loss least, to first order; also of a layer in many parts."""
    with blocks_of(block):
        mlp = tiny_mlp(backend, 6, ReLU(5), Softmax(3))
        evidence = evidence_of(mlp, X, Y, batch_size=20)
        for number, layer in enumerate(mlp.connections):
            slopes = finite_differences(layer.weight, lambda: dense_loss(mlp, X, Y, "cross_entropy"))
            found = ConnectionsView(layer, 5, number, evidence)
            np.testing.assert_allclose(found.gradient, slopes, rtol=1e-6, atol=1e-9)
            mark = Taylor().select(found, 3, np.random.default_rng(0))
            smallest = np.argsort((host(layer.weight) * slopes) ** 2)[:3]
            assert np.flatnonzero(mark).tolist() == sorted(smallest.tolist())
            with pytest.raises(ValueError, match="read-only"):
                found.gradient[0] = 1


def test_taylor_needs_training():
    mlp = tiny_mlp("reference", 6, ReLU(5), Softmax(3))
    for judge in (lambda: Evolution(drop="taylor").evolve(mlp, None, 1), lambda: core_view(mlp, 0.3, "taylor")):
        with pytest.raises(ValueError, match="this rule looks at gradients: it works in training only"):
            judge()


def test_gradients_that_are_not_finite_stop_an_event():
    mlp = tiny_mlp("reference", 6, ReLU(5), Softmax(3))
    broken = X.copy()
    broken[-1, 2] = np.inf
    evidence = evidence_of(mlp, broken, Y)
    before = arrays_of(mlp)
    with np.errstate(invalid="ignore"):
        for rules in (
            {"drop": "taylor"},
            {"grow": "gradient"},
            {"grow": "cosine"},
            {"birth": "gradient_sign(normal(1.0))"},
        ):
            with pytest.raises(FloatingPointError, match="gradients or activities are NaN or infinite"):
                Evolution(**rules).evolve(mlp, evidence, 1)
    assert all(np.array_equal(before[name], array) for name, array in arrays_of(mlp).items())


# -- in an event -----------------------------------------------------------------------------------------------------

EVERY = ["set", "reference_set(0.3)", "magnitude", "threshold(0.3)", "taylor", "random", "largest"]


@pytest.mark.parametrize("drop", EVERY)
def test_weights_that_are_not_finite_stop_every_rule(backend, drop):
    """One NaN among the weights would make the published rule drop the largest of them."""
    for wrong in (np.nan, np.inf):
        rbm = tiny_rbm(backend, 6, 5, density=0.5)
        evidence = evidence_of(rbm, np.zeros((4, 6)))
        rbm.matrix.weight[3] = wrong
        with pytest.raises(FloatingPointError, match="weights are NaN"):
            Evolution(drop=drop).evolve(rbm, evidence, 1)


@pytest.mark.parametrize("drop", EVERY)
def test_an_event_restores_what_any_rule_dropped(backend, drop):
    rbm = tiny_rbm(backend, 8, 7, density=0.5)
    evidence = evidence_of(rbm, np.random.default_rng(0).random((10, 8)).round())
    report = Evolution(drop=drop, zeta=0.3).evolve(rbm, evidence, 5)
    assert len(rbm.matrix) == 28
    assert report.dropped == report.grown == np.sum(host(rbm.matrix.born) == 5)
    if drop not in ("reference_set(0.3)", "threshold(0.3)"):
        assert report.dropped == 8
    else:
        assert 0 < report.dropped != 8


def test_a_view_of_some_shows_all_of_them_alike(backend):
    layer = wired(backend, 6, 4, 12)
    layer.slots["velocity"] = np.arange(12.0)
    layer.slots["born"] = np.arange(12)
    some = np.arange(12) % 3 == 1
    pre, post = np.random.default_rng(0).normal(size=(2, 6, 3))
    coactivity = Coactivity((SignedPair(1.0, layer.backend.asarray(pre), layer.backend.asarray(post[:4])),))
    whole = ConnectionsView(layer, 20, 0, lambda count: iter([[coactivity]]))
    part = whole.among(some)
    for name in ("weight", "pre", "post", "age", "gradient"):
        assert np.array_equal(getattr(part, name), getattr(whole, name)[some]), name
        with pytest.raises(ValueError, match="read-only"):
            getattr(part, name)[0] = 1
    assert part.slots["velocity"].tolist() == [1, 4, 7, 10]
    assert part.age.tolist() == [19, 16, 13, 10]
    assert whole.gradient == pytest.approx((pre @ post[:4].T / 3)[whole.pre, whole.post])


def test_sparing_takes_its_share_of_what_may_go():
    layer = wired("reference", 10, 8, 60, seed=3)
    view = ConnectionsView(layer, 0)
    mark = Sparing(6, "magnitude").select(view, 20, np.random.default_rng(0))
    free = layer.pattern.pre < 6
    assert not mark[~free].any()
    assert mark.sum() == int(20 / 60 * free.sum())
    assert np.abs(layer.weight[mark]).max() <= np.abs(layer.weight[free & ~mark]).min()


def test_sparing_within_a_view_of_some():
    layer = wired("reference", 10, 8, 60, seed=3)
    some = np.arange(60) % 2 == 0
    mark = Sparing(6, "random").select(ConnectionsView(layer, 0).among(some), 15, np.random.default_rng(0))
    assert mark.shape == (30,)
    assert not mark[layer.pattern.pre[some] >= 6].any()
    assert mark.sum() == int(15 / 30 * (layer.pattern.pre[some] < 6).sum())


def test_sparing_all_but_nothing():
    layer = wired("reference", 3, 8, 10, seed=3)
    with pytest.raises(ValueError, match="first=0 is not possible for Sparing"):
        Sparing(0)
    with pytest.raises(ValueError, match="unknown drop"):
        Sparing(2, "weak")
    only = ConnectionsView(layer, 0).among(layer.pattern.pre >= 2)
    assert not Sparing(2).select(only, 1, np.random.default_rng(0)).any()
    assert parse("drop", to_text(Sparing(4, "magnitude"))) == Sparing(4, "magnitude")
