"""Tests between cells against SciPy's, the pairs that are compared, and Holm's correction by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sparserbm.studies.comparisons import COLUMNS, compare, effect, paired_p, significant, welch_p
from sparserbm.studies.outcome import Study
from sparserbm.topology import holm


def row(place, seed, status="finished", **metrics):
    cell = "-".join([place["model"], *(f"{key}={place[key]}" for key in sorted(place) if key != "model")])
    return place | {"seed": seed, "run": f"{cell}-seed={seed}", "status": status} | metrics


def rows(*places, seeds=3, metric="accuracy", shift=0.1):
    """Cells whose means lie `shift` apart, with the same noise for a seed in all cells, and a little of its own."""
    random = np.random.default_rng(0)
    common = random.normal(0, 1, seeds)
    own = random.normal(0, 0.01, (len(places), seeds))
    return [
        row(place, seed, **{metric: shift * number + common[seed] + own[number, seed]})
        for number, place in enumerate(places)
        for seed in range(seeds)
    ]


A, B, C = ({"model": "mlp", "zeta": zeta} for zeta in (0.1, 0.3, 0.5))


def test_p_and_effect_are_those_of_scipy():
    a, b = np.random.default_rng(1).normal([[0.0], [0.4]], 1.0, (2, 6))
    assert paired_p(b - a) == pytest.approx(stats.ttest_rel(b, a).pvalue)
    assert welch_p(a, b[:4]) == pytest.approx(stats.ttest_ind(a, b[:4], equal_var=False).pvalue)
    pooled = math.sqrt((5 * a.var(ddof=1) + 3 * b[:4].var(ddof=1)) / 8)
    assert effect(a, b[:4]) == pytest.approx((b[:4].mean() - a.mean()) / pooled)


def test_values_without_spread_have_no_p_that_looks_sure():
    # accuracies are multiples of 1 / samples: equal differences are no rarity
    same, other, varied = np.full(3, 0.9), np.full(3, 0.95), np.array([0.9, 0.91, 0.93])
    assert paired_p(np.zeros(3)) == welch_p(same, same) == 1.0
    assert math.isnan(paired_p(varied - (varied - 0.05)))
    assert math.isnan(welch_p(same, other))
    assert 0 < welch_p(same, varied) < 1
    assert math.isnan(effect(same, other))
    for few in (np.array([]), np.array([0.3])):
        assert math.isnan(paired_p(few))
        assert math.isnan(welch_p(few, varied))
    assert math.isnan(effect(same[:1], other[:1]))


def test_holm_by_hand():
    # 4 tests: 0.01 * 4, 0.02 * 3, 0.03 * 2 (not below the one before), 0.5 * 1
    assert holm([0.03, 0.5, 0.01, 0.02, math.nan])[:4] == pytest.approx([0.06, 0.5, 0.04, 0.06])
    assert math.isnan(holm([0.1, math.nan])[1])
    assert holm([]) == []
    assert holm([0.6, 0.7]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_never_lowers_a_p(p):
    found = holm(p)
    assert all(0 <= before <= after <= 1 for before, after in zip(p, found))
    assert [after for _, after in sorted(zip(p, found))] == sorted(found)
    assert all(after <= min(1.0, before * len(p)) + 1e-12 for before, after in zip(p, found))


def test_seeds_are_pairs():
    (found,) = compare(rows(A, B), ("model", "zeta"), "accuracy")
    assert list(found) == list(COLUMNS)
    assert (found["test"], found["pairs"], found["differs"]) == ("paired t", 3, "zeta")
    assert (found["a"], found["b"]) == ("mlp-zeta=0.1", "mlp-zeta=0.3")
    assert found["difference"] == pytest.approx(0.1, abs=0.02)
    assert found["p"] == found["p_paired"] == found["p_holm"] < 0.05
    assert found["p_welch"] > 0.5  # the seeds differ by far more than the cells
    assert significant([found]) == [found]


def test_runs_that_failed_leave_the_pairs_that_are_whole():
    table = rows(A, B, seeds=4)
    table[0]["status"] = "training diverged"
    table[5]["accuracy"] = float("nan")
    (found,) = compare(table, ("model", "zeta"), "accuracy")
    assert (found["runs_a"], found["runs_b"], found["pairs"], found["test"]) == (3, 3, 2, "paired t")
    table[6]["status"] = "training diverged"  # one common seed is left
    (found,) = compare(table, ("model", "zeta"), "accuracy")
    assert (found["pairs"], found["test"]) == (1, "Welch t")
    assert found["p"] == found["p_welch"]
    assert math.isnan(found["p_paired"])


def test_one_seed_allows_no_test():
    (found,) = compare(rows(A, B, seeds=1), ("model", "zeta"), "accuracy")
    assert found["test"] == "none"
    assert math.isnan(found["p"])
    assert math.isnan(found["p_holm"])
    assert found["difference"] == pytest.approx(0.1, abs=0.05)
    assert significant([found]) == []


def test_pairs_differ_in_one_key_or_hold_the_first_cell():
    places = [{"model": "mlp", "zeta": zeta, "l2": l2} for zeta in (0.1, 0.3, 0.5) for l2 in (0.0, 0.1)]
    found = compare(rows(*places), ("model", "zeta", "l2"), "accuracy")
    pairs = {(row["a"], row["b"]): row["differs"] for row in found}
    assert len(pairs) == len(found) == 3 + 2 * 3 + 2  # along l2, along zeta, and the first cell with two others
    assert pairs["mlp-l2=0.0-zeta=0.1", "mlp-l2=0.1-zeta=0.5"] == "zeta, l2"
    assert ("mlp-l2=0.1-zeta=0.1", "mlp-l2=0.0-zeta=0.3") not in pairs
    assert {row["differs"] for row in found if "l2=0.1-zeta=0.1" in row["a"]} == {"zeta"}
    assert [row["p_holm"] for row in found] == holm([row["p"] for row in found])


def test_models_are_compared_where_they_mean_the_same():
    places = [{"model": model, "l2": l2} for model in ("rbm", "mlp") for l2 in (0.0, 0.1, 0.2)]
    for metric, across in (("learning_z", 3), ("validation_loss", 0)):
        found = compare(rows(*places, metric=metric), ("model", "l2"), metric)
        assert sum(row["differs"] == "model" for row in found) == across
        assert sum(row["differs"] == "l2" for row in found) == 6
        assert len(found) == 6 + across
    lacking = rows(*places[:3], metric="learning_z") + rows(*places[3:])  # an RBM has no accuracy
    assert {row["a"][:3] for row in compare(lacking, ("model", "l2"), "accuracy")} == {"mlp"}


def test_a_study_compares_all_metrics_of_interest(tmp_path):
    table = [line | {"learning_z": 2 * line["accuracy"]} for line in rows(A, B, C, metric="accuracy")]
    table = [line | {"validation_accuracy": line.pop("accuracy")} for line in table]
    found = Study(table, [], tmp_path, ("model", "zeta"))
    assert [line["metric"] for line in found.comparisons()] == ["validation_accuracy"] * 3 + ["learning_z"] * 3
    assert found.comparisons()[:3] == found.compare()
    with pytest.raises(ValueError, match="no run has the metric 'zeta'; there are: learning_z, validation_accuracy"):
        found.compare("zeta")
    found.write_tables()
    assert (tmp_path / "comparisons.csv").read_text().startswith(",".join(COLUMNS))
