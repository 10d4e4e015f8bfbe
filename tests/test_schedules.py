"""Values at steps, worked out by hand, and what is due when."""

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2_contingency

from sparserbm import Chance, Constant, Cosine, Cubic, Every, Linear, Power, Steps, Window
from sparserbm.rng import Streams
from sparserbm.schedules import Trigger, resolve_schedule


def values(schedule, steps):
    return [schedule(step) for step in steps]


def test_ramps_at_known_steps():
    assert values(Linear(1.0, 3.0, steps=4), range(6)) == [1.0, 1.5, 2.0, 2.5, 3.0, 3.0]
    assert values(Linear(1.0, 0.0, steps=2, after=3), range(7)) == [1.0, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0]
    assert values(Cosine(0.4, 0.0, steps=4), (0, 2, 4, 9)) == pytest.approx([0.4, 0.2, 0.0, 0.0])
    assert Cosine(0.4, 0.0, steps=4)(1) == pytest.approx(0.2 * (1 + math.cos(math.pi / 4)))
    assert values(Cubic(0.0, 1.0, steps=2), (0, 1, 2)) == [0.0, 0.875, 1.0]
    assert values(Constant(2), (0, 10**9)) == [2.0, 2.0]


def test_a_power_is_flat_where_the_value_is_small():
    assert values(Power(0.0, 1.0, steps=4, exponent=2), range(6)) == [0.0, 1 / 16, 4 / 16, 9 / 16, 1.0, 1.0]
    assert values(Power(0.4, 0.0, steps=2, exponent=3, after=1), range(5)) == pytest.approx([0.4, 0.4, 0.05, 0, 0])
    assert Power(3.0, 1.0, steps=4, exponent=0.5)(3) == pytest.approx(1 + 2 * 0.5)
    assert resolve_schedule("power(0, 1e-3, 100, exponent=2)", "l2") == Power(0, 1e-3, 100, 2)
    assert values(Power(1.0, 3.0, 4, 1), range(6)) == values(Linear(1.0, 3.0, 4), range(6))
    for wrong in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"exponent={wrong} is not possible for Power; use a number above 0"):
            Power(0, 1, 5, wrong)


def test_steps_change_at_their_boundaries():
    assert values(Steps((0.1, 0.01, 0.0), (3, 5)), range(7)) == [0.1, 0.1, 0.1, 0.01, 0.01, 0.0, 0.0]
    for wrong in (((0.1,), (3,)), ((1, 2, 3), (5, 5)), ((1, 2, 3), (5, 4))):
        with pytest.raises(ValueError, match="increasing boundaries and one value more"):
            Steps(*wrong)


@given(
    st.sampled_from([Linear, Cosine, Cubic, *(functools.partial(Power, exponent=k) for k in (0.5, 2, 3.7))]),
    st.floats(-10, 10),
    st.floats(-10, 10),
    st.integers(1, 50),
    st.integers(0, 50),
)
def test_ramps_go_one_way_and_stay_within_their_extremes(kind, start, stop, steps, after):
    schedule = kind(start, stop, steps, after=after)
    taken = values(schedule, range(after + steps + 3))
    low, high = schedule.extremes()
    assert min(taken) >= low - 1e-9
    assert max(taken) <= high + 1e-9
    assert taken[: after + 1] == [start] * (after + 1)
    assert taken[-1] == pytest.approx(stop, abs=1e-12)
    sign = 1 if stop >= start else -1
    assert all(sign * (b - a) >= -1e-9 for a, b in zip(taken, taken[1:]))


def test_ramps_need_steps():
    with pytest.raises(ValueError, match="steps=0 is not possible for Linear; use steps >= 1"):
        Linear(0, 1, steps=0)
    with pytest.raises(ValueError, match="after=-1"):
        Cosine(0, 1, steps=5, after=-1)


def test_numbers_and_texts_become_schedules():
    assert resolve_schedule(0.3, "zeta") == Constant(0.3)
    assert resolve_schedule("linear(0, 1, 5)", "zeta") == Linear(0, 1, 5)
    assert resolve_schedule(0, "zeta", 0, 1)(7) == 0.0
    assert resolve_schedule("1e-3", "l2") == Constant(1e-3)
    assert resolve_schedule(np.float32(0.5), "zeta") == Constant(0.5)


@pytest.mark.parametrize(
    ("given_value", "shown"), [(1.2, "1.2"), (-0.1, "-0.1"), (float("nan"), "nan"), (Linear(0, 3, 5), "3")]
)
def test_values_out_of_range_are_named(given_value, shown):
    with pytest.raises(ValueError, match=rf"zeta={shown} is out of range; use a value in \[0, 1\)"):
        resolve_schedule(given_value, "zeta", 0.0, 1.0)


@pytest.mark.parametrize("wrong", [True, None, [0.1], Every(steps=1)])
def test_other_things_are_no_schedules(wrong):
    with pytest.raises(TypeError, match="zeta must be a number, a schedule or its text"):
        resolve_schedule(wrong, "zeta")


def test_every_counts_from_one_and_is_never_due_at_zero():
    every = Every(steps=3)
    assert [step for step in range(10) if every.after_step(step)] == [3, 6, 9]
    assert not any(every.after_epoch(epoch) for epoch in range(10))
    assert [epoch for epoch in range(6) if Every(epochs=2).after_epoch(epoch)] == [2, 4]
    assert not any(Every(epochs=1).after_step(step) for step in range(10))


@pytest.mark.parametrize("wrong", [{}, {"steps": 1, "epochs": 1}, {"steps": -1}, {"steps": -2, "epochs": 3}])
def test_every_needs_exactly_one_of_steps_and_epochs(wrong):
    with pytest.raises(ValueError, match=r"give one of the two, at least 1, e.g. every\(epochs=1\)"):
        Every(**wrong)


def test_a_window_includes_both_ends():
    window = Window("every(epochs=2)", start=4, stop=8)
    assert [epoch for epoch in range(20) if window.after_epoch(epoch)] == [4, 6, 8]
    assert [step for step in range(20) if Window(Every(steps=5), start=7).after_step(step)] == [10, 15]
    with pytest.raises(ValueError, match="a window from 5 to 4 is empty; use stop >= start"):
        Window("every(epochs=1)", 5, 4)
    with pytest.raises(TypeError, match=r"3 is no trigger; give e.g. every\(epochs=1\)"):
        Window(3)


def test_steps_from_one_time_to_the_next():
    assert Every(steps=50).interval(469) == 50
    assert Every(epochs=2).interval(469) == 938
    assert Window("every(epochs=1)", start=5).interval(469) == 469
    assert Chance(0.05).interval(469) == pytest.approx(20)  # on average

    class Once(Trigger):
        def after_step(self, step):
            return step == 7

        def after_epoch(self, epoch):
            return False

    assert Once().interval(469) is None


# -- by chance -------------------------------------------------------------------------------------------------------


def taken(trigger, layer, steps, seed=0):
    """Whether a layer takes part, at each of the steps 1, 2, ..."""
    streams = Streams(seed)
    return [
        trigger.after_step(step) and trigger.takes(lambda step=step: streams.uniform("trigger", step, layer))
        for step in range(1, steps + 1)
    ]


@pytest.mark.parametrize("p", [0.02, 0.3, 0.9])
def test_every_layer_is_taken_with_the_probability_of_the_trigger(p):
    for layer in range(3):
        hits = sum(taken(Chance(p), layer, 5000))
        assert binomtest(hits, 5000, p).pvalue > 1e-3


def test_layers_and_steps_are_taken_independently():
    first, second = (np.array(taken(Chance(0.3), layer, 5000)) for layer in (0, 1))
    for one, other in ((first, second), (first[1:], first[:-1])):
        table = [[np.sum(one & other), np.sum(one & ~other)], [np.sum(~one & other), np.sum(~one & ~other)]]
        assert chi2_contingency(table).pvalue > 1e-3


def test_a_seed_decides_what_chance_does():
    assert taken(Chance(0.3), 0, 3000) == taken(Chance(0.3), 0, 3000)
    assert taken(Chance(0.3), 0, 3000) != taken(Chance(0.3), 0, 3000, seed=1)
    assert all(taken(Chance(1.0), 0, 3000))


def test_chance_is_never_due_at_zero_nor_by_epochs():
    assert not Chance(1.0).after_step(0)
    assert not any(Chance(1.0).after_epoch(epoch) for epoch in range(10))


def test_a_window_around_chance_counts_steps():
    window = Window(Chance(0.3), start=100, stop=200)
    whole, part = taken(Chance(0.3), 0, 300), taken(window, 0, 300)
    assert part == [False] * 99 + whole[99:200] + [False] * 100
    assert window.interval(50) == pytest.approx(1 / 0.3)
    assert Window("chance(0.3)", 100, 200) == window


@pytest.mark.parametrize("p", [0, -0.1, 1.1, float("nan")])
def test_chances_that_cannot_be(p):
    with pytest.raises(ValueError, match=f"p={p} is not possible for Chance; use a probability above 0, at most 1"):
        Chance(p)
