"""Callbacks by the protocol of scikit-learn 1.9 (`sklearn.callback`, experimental), also on versions before it.

A callback has the methods ``setup(estimator, context)``, ``on_fit_task_begin(estimator, context)``,
``on_fit_task_end(estimator, context)`` and ``teardown(estimator, context)``. The two hooks in the middle may ask, by
keyword-only parameters, for ``X``, ``y``, ``metadata`` and ``fitted_estimator``; a true result of ``on_fit_task_end``
ends training. An estimator has one task for `fit`, and in it one for every epoch.

`CallbackSupport` and `with_callbacks` are scikit-learn's own where it has them, else `OwnCallbackSupport` and
`own_with_callbacks`, which do as much of the same as our estimators need.
"""

from __future__ import annotations

import copy
import functools
import inspect
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from sparserbm.models.base import Model
from sparserbm.runs import Run

HOOKS = ("setup", "on_fit_task_begin", "on_fit_task_end", "teardown")
ASKED_FOR = ("X", "y", "metadata", "fitted_estimator")


class OwnContext:
    """One task of a fit, and where it stands among the others; attributes as in `sklearn.callback.CallbackContext`.

    Attributes
    ----------
    task_name, estimator_name : str
    task_id : int
        Its number among the tasks of the same parent.
    max_subtasks : int or None
        0 where it has none, None where nobody knows.
    parent : OwnContext or None
    root_uuid : UUID
        The same in all tasks of an outermost fit.
    """

    root_uuid: uuid.UUID
    _n_subtasks: int
    _depth: int

    def __init__(self, estimator: Any, task_name: str, max_subtasks: int | None, parent: OwnContext | None = None):
        self.task_name, self.estimator_name = task_name, type(estimator).__name__
        self.max_subtasks, self.sequential_subtasks = max_subtasks, True
        self.parent = parent
        self.task_id = 0 if parent is None else parent._n_subtasks
        self.root_uuid = uuid.uuid4() if parent is None else parent.root_uuid
        self.source_estimator_name: str | None = None
        self.source_task_name: str | None = None
        self._estimator, self._callbacks, self._n_subtasks = estimator, getattr(estimator, "_skl_callbacks", []), 0
        self._depth = 0 if parent is None else parent._depth
        self._handed_on: list[Any] = []
        if parent is not None:
            parent._n_subtasks += 1

    @classmethod
    def of_fit(cls, estimator: Any, task_name: str, max_subtasks: int | None) -> OwnContext:
        """The task of a whole fit: that of a meta-estimator which fits this estimator, if there is one."""
        context, outer = cls(estimator, task_name, max_subtasks), getattr(estimator, "_parent_callback_ctx", None)
        if outer is not None:
            context.parent, context.task_id, context.root_uuid = outer.parent, outer.task_id, outer.root_uuid
            context.source_estimator_name, context.source_task_name = outer.estimator_name, outer.task_name
            context._depth = outer._depth + 1
        return context

    def subcontext(self, task_name: str = "", max_subtasks: int | None = 0) -> OwnContext:
        """The next task within this one."""
        return type(self)(self._estimator, task_name, max_subtasks, self)

    def call_on_fit_task_begin(self, *, estimator: Any, **given: Any) -> OwnContext:
        """Tell the callbacks that this task begins."""
        self._call("on_fit_task_begin", estimator, given)
        return self

    def call_on_fit_task_end(self, *, estimator: Any, **given: Any) -> bool:
        """Tell the callbacks that this task ends; True if one of them wants no further task of this level."""
        return self._call("on_fit_task_end", estimator, given)

    def _call(self, hook: str, estimator: Any, given: dict[str, Any]) -> bool:
        stop = False
        for callback in self._callbacks:
            if callback in self._handed_on:
                continue  # the inner estimator's fit is this very task
            method = getattr(callback, hook)
            parameters = inspect.signature(method).parameters.values()
            names = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
            unknown = sorted(set(names) - set(ASKED_FOR))
            if unknown:
                raise TypeError(f"{hook} of {callback!r} asks for {unknown}; it can ask for {', '.join(ASKED_FOR)}")
            named = {name: _asked_for(name, estimator, given) for name in names}
            stop |= bool(method(estimator, self, **named))
        return stop

    @contextmanager
    def propagate_callback_context(self, sub_estimator: Any) -> Iterator[None]:
        """Let `sub_estimator` fit as this task; callbacks with `max_propagation_depth` go along as far as that says."""
        sub_estimator._parent_callback_ctx = self
        own = list(getattr(sub_estimator, "_skl_callbacks", []))
        self._handed_on = [callback for callback in self._callbacks if self._goes_on(callback)]
        if self._handed_on:
            sub_estimator.set_callbacks(*own, *self._handed_on)
        try:
            yield
        finally:
            if self._handed_on:
                sub_estimator.set_callbacks(*own)
            del sub_estimator._parent_callback_ctx

    def _goes_on(self, callback: Any) -> bool:
        if not hasattr(callback, "max_propagation_depth"):
            return False
        return callback.max_propagation_depth is None or self._depth < callback.max_propagation_depth


def _asked_for(name: str, estimator: Any, given: dict[str, Any]) -> Any:
    if name != "fitted_estimator":
        value = given.get(name)
        return value() if callable(value) else value
    attributes = given.get("reconstruction_attributes")
    if attributes is None:
        return None
    fitted = copy.copy(estimator)
    fitted.__dict__.update(attributes() if callable(attributes) else attributes)
    return fitted


class OwnCallbackSupport:
    """What `sklearn.callback.CallbackSupportMixin` gives an estimator."""

    def set_callbacks(self, *callbacks: Any) -> Self:
        """Set what watches a fit, in place of what was set before; without arguments nothing does.

        Parameters
        ----------
        *callbacks : objects
            With the methods ``setup, on_fit_task_begin, on_fit_task_end, teardown``, as scikit-learn 1.9 wants them.
        """
        for callback in callbacks:
            missing = [name for name in HOOKS if not hasattr(callback, name)]
            if isinstance(callback, type) or missing:
                raise TypeError(
                    f"{callback!r} is no callback object; it needs the methods {', '.join(HOOKS)} (functions of "
                    f"(model, metrics) go into the parameter callbacks)"
                )
        self.__dict__.pop("_skl_callbacks", None)
        if callbacks:
            self._skl_callbacks = list(callbacks)
        return self

    def _init_callback_context(self, task_name: str = "fit", max_subtasks: int | None = 0) -> OwnContext:
        self._callback_fit_ctx = context = OwnContext.of_fit(self, task_name, max_subtasks)
        self._skl_callbacks_to_teardown: list[Any] = []
        for callback in getattr(self, "_skl_callbacks", []):
            handed_on = hasattr(callback, "max_propagation_depth") and hasattr(self, "_parent_callback_ctx")
            if not handed_on:  # one that was is set up by the outermost estimator
                self._skl_callbacks_to_teardown.append(callback)
                callback.setup(estimator=self, context=context)
        return context

    def __sklearn_clone__(self) -> Any:
        twin = super().__sklearn_clone__()  # type: ignore[misc]
        if hasattr(self, "_skl_callbacks"):
            twin._skl_callbacks = self._skl_callbacks
        return twin


def own_with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let callbacks that `method` has set up be torn down when it ends, be it in an error."""

    @functools.wraps(method)
    def call(estimator: Any, *given: Any, **named: Any) -> Any:
        try:
            return method(estimator, *given, **named)
        finally:
            context = estimator.__dict__.pop("_callback_fit_ctx", None)
            for callback in estimator.__dict__.pop("_skl_callbacks_to_teardown", []):
                callback.teardown(estimator=estimator, context=context)

    return call


try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupport
    from sklearn.callback import with_callbacks
except ImportError:  # before 1.9
    CallbackSupport, with_callbacks = OwnCallbackSupport, own_with_callbacks


class EachEpoch:
    """A callback of the training loop that tells those of an estimator of every epoch.

    Parameters
    ----------
    estimator : SparseEstimator
    context : CallbackContext
        Of the fit.
    data : dict
        ``X`` and ``y`` that it trains with.
    """

    def __init__(self, estimator: Any, context: Any, data: dict[str, Any]):
        self._estimator, self._context, self._data = estimator, context, data
        self._lines: list[dict[str, Any]] = []

    def begin_epoch(self, model: Model) -> None:
        self._task = self._context.subcontext(task_name="epoch")
        self._task.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def __call__(self, model: Model, metrics: dict[str, Any]) -> bool:
        self._lines.append(metrics)

        def attributes() -> dict[str, Any]:
            run = Run({}, metrics=list(self._lines), model=model.copy())
            return {"model_": run.model, "run_": run, "n_iter_": len(run.metrics)}

        return self._task.call_on_fit_task_end(
            estimator=self._estimator, **self._data, reconstruction_attributes=attributes
        )
