"""Callbacks by scikit-learn's protocol: its own machinery where it has one, ours before."""

from __future__ import annotations

import importlib.util
import io

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import sparserbm as sr
from sparserbm.estimators._callbacks import OwnCallbackSupport, OwnContext, own_with_callbacks

OFFICIAL = importlib.util.find_spec("sklearn.callback") is not None
SMALL = {"max_iter": 3, "random_state": 0}
X, Y = load_digits(return_X_y=True)
X, Y = X[:200] / 16, Y[:200]


def estimators():
    yield sr.SparseRBM(5, n_iter=3, random_state=0)
    yield sr.SparseRBM(5, n_iter=3, scale=True, random_state=0)
    yield sr.SparseMLPClassifier(5, **SMALL)
    yield sr.SparseMLPRegressor(5, **SMALL)
    yield sr.SparseAutoencoder(5, scale=True, **SMALL)


class Diary:
    """A callback by the protocol that writes down what it hears."""

    def __init__(self, stop_after=None):
        self.said, self.stop_after = [], stop_after

    def setup(self, estimator, context):
        self.said.append(("setup", context.task_name, context.max_subtasks))

    def on_fit_task_begin(self, estimator, context):
        self.said.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context):
        self.said.append(("end", context.task_name, context.task_id))
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after

    def teardown(self, estimator, context):
        self.said.append(("teardown", context.task_name, context.max_subtasks))


class Outermost(Diary):
    """One that meta-estimators hand on."""

    max_propagation_depth = None


class Asking(Diary):
    """One that wants all there is to have."""

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        if context.task_name == "epoch":
            self.said.append((X, y, metadata, fitted_estimator))


def whole(epochs, n_epochs=3):
    """What a diary of one fit says."""
    tasks = [(what, "epoch", number) for number in range(epochs) for what in ("begin", "end")]
    fit = [("begin", "fit", 0), *tasks, ("end", "fit", 0)]
    return [("setup", "fit", n_epochs), *fit, ("teardown", "fit", n_epochs)]


@pytest.mark.parametrize("estimator", list(estimators()), ids=lambda estimator: type(estimator).__name__)
def test_every_epoch_is_a_task(estimator):
    diary = Diary()
    assert estimator.set_callbacks(diary) is estimator
    estimator.fit(X, Y)
    assert diary.said == whole(3)
    estimator.set_callbacks().fit(X, Y)
    assert diary.said == whole(3)
    estimator.set_callbacks(diary)
    more = {"classes": np.arange(10)} if isinstance(estimator, sr.SparseMLPClassifier) else {}
    clone(estimator).partial_fit(X, Y, **more)
    assert diary.said[len(whole(3)) :] == whole(1, n_epochs=1)


@pytest.mark.parametrize("estimator", list(estimators()), ids=lambda estimator: type(estimator).__name__)
def test_a_callback_can_end_training(estimator):
    diary = Diary(stop_after=2)
    estimator.set_callbacks(diary).fit(X, Y)
    assert estimator.n_iter_ == 2
    assert diary.said == whole(2)


@pytest.mark.parametrize("estimator", list(estimators()), ids=lambda estimator: type(estimator).__name__)
def test_what_it_sees_is_what_training_would_have_given_so_far(estimator):
    asking = Asking()
    estimator.set_callbacks(asking).fit(X, Y)
    seen = [entry for entry in asking.said if len(entry) == 4]
    assert len(seen) == 3
    for epoch, (data, labels, metadata, fitted) in enumerate(seen, start=1):
        assert np.array_equal(data, X)
        assert metadata is None
        assert fitted is not estimator
        name = "n_iter" if isinstance(estimator, sr.SparseRBM) else "max_iter"
        alone = clone(estimator).set_callbacks().set_params(**{name: epoch}).fit(X, Y)
        method = "predict" if hasattr(estimator, "predict") else "transform"
        assert np.array_equal(getattr(fitted, method)(X), getattr(alone, method)(X))
        assert fitted.n_iter_ == epoch
        if method == "predict":
            assert np.array_equal(labels, Y)
            assert fitted.score(data, labels) == pytest.approx(alone.score(X, Y))
        else:
            assert labels is None


def test_the_held_out_samples_are_not_shown():
    asking = Asking()
    stopping = {"early_stopping": True, "validation_fraction": 0.25}
    sr.SparseMLPClassifier(5, **SMALL, **stopping).set_callbacks(asking).fit(X, Y)
    assert all(len(entry[0]) == len(entry[1]) == 150 for entry in asking.said if len(entry) == 4)


def test_an_early_end_is_no_unfinished_epoch():
    diary = Diary()
    still = {"learning_rate_init": 1e-9, "evolution": None, "n_iter_no_change": 2, "max_iter": 9, "random_state": 0}
    sr.SparseMLPClassifier(5, **still).set_callbacks(diary).fit(X, Y)
    assert diary.said == whole(3, n_epochs=9)


def test_callbacks_are_torn_down_after_an_error():
    diary = Diary()
    rbm = sr.SparseRBM(5, n_iter=3, learning_rate=1e20, random_state=0).set_callbacks(diary)
    with pytest.raises(sr.DivergenceError):
        rbm.fit(X)
    assert diary.said[-1] == ("teardown", "fit", 3)


def test_clones_have_the_same_callbacks():
    diary = Diary()
    twin = clone(sr.SparseRBM(5, n_iter=3).set_callbacks(diary))
    twin.fit(X)
    assert diary.said == whole(3)


def test_functions_and_objects_go_together():
    epochs, diary = [], Diary()
    callbacks = [lambda model, metrics: epochs.append(metrics["epoch"])]
    sr.SparseRBM(5, n_iter=3, callbacks=callbacks).set_callbacks(diary).fit(X)
    assert epochs == [1, 2, 3]
    assert diary.said == whole(3)


@pytest.mark.parametrize("wrong", [print, Diary, "progress"])
def test_what_is_no_callback(wrong):
    with pytest.raises(TypeError, match=r"FitCallback protocol|is no callback object; it needs the methods setup"):
        sr.SparseRBM().set_callbacks(wrong)


# -- estimators in estimators -------------------------------------------------------------------------------------


def test_a_selector_hands_its_callbacks_on():
    inner, outer = Diary(), Outermost()
    network = sr.SparseAutoencoder(5, **SMALL).set_callbacks(inner)
    sr.TopologySelector(network).set_callbacks(outer).fit(X)
    assert [entry for entry in inner.said if entry[1] == "epoch"] == whole(3)[2:-2]
    said = [entry[:2] for entry in outer.said]
    assert said[:2] == [("setup", "fit"), ("begin", "fit")]
    assert said[-2:] == [("end", "fit"), ("teardown", "fit")]
    assert said.count(("begin", "epoch")) == said.count(("end", "epoch")) == 3
    assert [entry[0] for entry in outer.said].count("setup") == 1
    assert not hasattr(network, "_parent_callback_ctx")


@pytest.mark.skipif(not OFFICIAL, reason="needs scikit-learn 1.9")
def test_a_pipeline_hands_its_callbacks_on():
    outer = Outermost()
    pipeline = make_pipeline(sr.SparseRBM(5, n_iter=3, random_state=0), LogisticRegression(max_iter=500))
    pipeline.set_callbacks(outer).fit(X, Y)
    assert [entry for entry in outer.said if entry[1] == "epoch"] == whole(3)[2:-2]


@pytest.mark.skipif(not OFFICIAL, reason="needs scikit-learn 1.9")
def test_the_progress_bar_of_scikit_learn(capsys):
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar

    sr.SparseRBM(5, n_iter=3, random_state=0).set_callbacks(ProgressBar()).fit(X)
    assert "SparseRBM - fit" in capsys.readouterr().out
    selector = sr.TopologySelector(sr.SparseAutoencoder(5, **SMALL))
    selector.set_callbacks(ProgressBar(max_propagation_depth=1)).fit(X)
    out = capsys.readouterr().out
    assert "TopologySelector - fit" in out
    assert "SparseAutoencoder - fit" in out


@pytest.mark.skipif(not OFFICIAL, reason="needs scikit-learn 1.9")
def test_the_scores_of_every_epoch():
    from sklearn.callback import ScoringMonitor

    monitor = ScoringMonitor(scoring="accuracy")
    classifier = sr.SparseMLPClassifier(20, max_iter=5, random_state=0).set_callbacks(monitor).fit(X, Y)
    scores = [line["accuracy"] for line in monitor.get_logs().data if line["task_name"] == "epoch"]
    assert scores == pytest.approx(classifier.history_["accuracy"][1:], abs=0.2)
    assert scores[-1] == classifier.score(X, Y)


# -- before scikit-learn 1.9 --------------------------------------------------------------------------------------


class Plain(OwnCallbackSupport):
    """An estimator with `n_tasks` that do nothing, by our own machinery on every version."""

    def __init__(self, n_tasks, inner=None):
        self.n_tasks, self.inner = n_tasks, inner

    @own_with_callbacks
    def fit(self):
        context = self._init_callback_context(max_subtasks=self.n_tasks)
        context.call_on_fit_task_begin(estimator=self, X=1)
        for number in range(self.n_tasks):
            task = context.subcontext(task_name="epoch")
            if self.inner is not None:
                with task.propagate_callback_context(self.inner):
                    self.inner.fit()
            else:
                task.call_on_fit_task_begin(estimator=self, X=1)
            given = {"X": 1, "y": lambda: 2, "reconstruction_attributes": {"done_": number}}
            if task.call_on_fit_task_end(estimator=self, **given):
                break
        context.call_on_fit_task_end(estimator=self, X=1)


def test_our_own_machinery_calls_the_same_hooks():
    diary, asking = Diary(stop_after=2), Asking()
    plain = Plain(3).set_callbacks(diary, asking)
    plain.fit()
    assert diary.said == whole(2)
    answers = [entry for entry in asking.said if len(entry) == 4]
    assert [entry[:3] for entry in answers] == [(1, 2, None)] * 2
    assert [fitted.done_ for *_, fitted in answers] == [0, 1]
    assert not hasattr(plain, "done_")
    assert not hasattr(plain, "_callback_fit_ctx")


@pytest.mark.parametrize(("depth", "heard"), [(None, 6), (1, 6), (0, 0)])
def test_our_own_machinery_hands_callbacks_on(depth, heard):
    outer, own = Outermost(), Diary()
    outer.max_propagation_depth = depth
    inner = Plain(3).set_callbacks(own)
    Plain(2, inner).set_callbacks(outer).fit()
    begun = [entry for entry in outer.said if entry[:2] == ("begin", "epoch")]
    assert len(begun) == heard
    assert own.said[: len(whole(3))] == whole(3)
    assert [entry[:2] for entry in own.said] == [entry[:2] for entry in whole(3)] * 2
    assert outer.said.count(("setup", "fit", 2)) == outer.said.count(("teardown", "fit", 2)) == 1
    assert inner._skl_callbacks == [own]


def test_a_task_knows_its_place():
    outer, seen = Outermost(), []
    outer.on_fit_task_begin = lambda estimator, context: seen.append(context)
    Plain(1, Plain(2)).set_callbacks(outer).fit()
    root, fit, first, second = seen
    assert [context.max_subtasks for context in seen] == [1, 2, 0, 0]
    assert fit.parent is root
    assert first.parent is second.parent is fit
    assert (first.task_id, second.task_id) == (0, 1)
    assert (fit.source_estimator_name, fit.source_task_name) == ("Plain", "epoch")
    assert len({context.root_uuid for context in seen}) == 1
    assert isinstance(root, OwnContext)


def test_our_own_machinery_refuses_other_questions():
    class Curious(Diary):
        def on_fit_task_end(self, estimator, context, *, weights=None):
            pass

    with pytest.raises(TypeError, match=r"asks for \['weights'\]; it can ask for X, y, metadata, fitted_estimator"):
        Plain(1).set_callbacks(Curious()).fit()
    with pytest.raises(TypeError, match="is no callback object; it needs the methods setup, on_fit_task_begin"):
        Plain(1).set_callbacks(io.StringIO())
