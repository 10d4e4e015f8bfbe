"""Features chosen by the connections that a sparse network keeps for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectorMixin
from sklearn.utils import get_tags
from sklearn.utils.validation import _num_samples, check_is_fitted

from sparserbm.backends import with_kind
from sparserbm.estimators._callbacks import CallbackSupport, with_callbacks
from sparserbm.estimators.autoencoder import SparseAutoencoder
from sparserbm.models.base import Model
from sparserbm.network.wiring import ErdosRenyi
from sparserbm.topology import strength, survival


class TopologySelector(SelectorMixin, MetaEstimatorMixin, CallbackSupport, BaseEstimator):
    """Select the features whose connections in a sparse network are strong, many, or old.

    A network whose connections evolve drops those that do not help it and tries others: in the end the features that
    it learns with have the connections.

    Parameters
    ----------
    estimator : SparseRBM, SparseAutoencoder, SparseMLPClassifier or SparseMLPRegressor, optional
        Trained as a clone. None is a denoising autoencoder like that of QuickSelection: sigmoid units, linear outputs,
        dropout 0.2, epsilon 13, zeta 0.2, a decay of 1e-5 a step, standardised features, 10 epochs. We differ: 200
        hidden units instead of 1,000; normal noise of 2.0 instead of 0.2; first weights of the inputs with a standard
        deviation of 0.01 instead of 0.1; 20 to 200 mini-batches an epoch.
    n_features_to_select : int, float in (0, 1], optional
        A number or a share of the features, as in scikit-learn's `RFE`; None is half of them.
    criterion : {"strength", "degree", "survival"}
        Of a feature: the sum of the absolute weights of its connections; their number; their mean age in training
        steps. A feature without connections scores 0. Among equals the stronger one is taken, then the first.
    prefit : bool
        Take `estimator` as it is, trained before. Its topology is read when `fit` is called.
    random_state : int, RandomState, Generator or None
        Goes to the estimator, in place of the one that it has; None leaves it that.

    Attributes
    ----------
    scores_ : (n_features,) float
    support_ : (n_features,) bool
        Which features were selected.
    estimator_ : the trained estimator
    n_features_ : int
        Features that were selected.
    n_features_in_, feature_names_in_ : as in scikit-learn

    Notes
    -----
    Source: Atashgahi et al. (2021), "Quick and Robust Feature Selection", whose measure is the strength of the inputs.
    Their code measures before the newborn of the last event have come; here there is no event after the last epoch,
    and all connections count. Strengths can be compared only where features have the same scale, and only with small
    first weights: connections of a feature that never varies learn nothing and keep the weights that they were given,
    so that with larger ones SET spares them and they look strong.

    Examples
    --------
    >>> import sparserbm as sr
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> network = sr.SparseAutoencoder(50, max_iter=5, random_state=0)
    >>> sr.TopologySelector(network, n_features_to_select=20).fit_transform(X / 16).shape
    (1797, 20)
    """

    estimator_: Any
    scores_: np.ndarray

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_features_to_select: Any = None,
        criterion: str = "strength",
        prefit: bool = False,
        random_state: Any = None,
    ):
        self.estimator = estimator
        self.n_features_to_select = n_features_to_select
        self.criterion = criterion
        self.prefit = prefit
        self.random_state = random_state

    @with_kind
    @with_callbacks
    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> Self:
        """Train the estimator on `X`, (n_samples, n_features), and `y`, and score the features.

        Parameters
        ----------
        **fit_params
            For the `fit` of the estimator.
        """
        if self.criterion not in CRITERIA:
            raise ValueError(f"unknown criterion {self.criterion!r}; known: {', '.join(CRITERIA)}")
        if self.prefit:
            self.estimator_ = self._trained_before()
        else:
            self.estimator_ = clone(self._untrained(_num_samples(X)))
            if self.random_state is not None:
                self.estimator_.set_params(random_state=self.random_state)
            self._train(X, y, fit_params)
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        model = _model_of(self.estimator_)
        self.scores_ = CRITERIA[self.criterion](model)
        self.n_features_ = self._count(len(self.scores_))
        order = np.lexsort((-_strength(model), -self.scores_))  # stable: the first of equals comes first
        self.support_ = np.zeros(len(order), dtype=bool)
        self.support_[order[: self.n_features_]] = True
        return self

    def _train(self, X: Any, y: Any, fit_params: dict[str, Any]) -> None:
        whole = self._init_callback_context(max_subtasks=1)
        whole.call_on_fit_task_begin(estimator=self, X=X, y=y)
        task = whole.subcontext(task_name="fit-estimator")
        with task.propagate_callback_context(self.estimator_):
            task.call_on_fit_task_begin(estimator=self, X=X, y=y)
            self.estimator_.fit(X, y, **fit_params)
            task.call_on_fit_task_end(estimator=self, X=X, y=y)
        whole.call_on_fit_task_end(estimator=self, X=X, y=y)

    def _untrained(self, n_samples: int = 2000) -> Any:
        if self.estimator is not None:
            return self.estimator
        return SparseAutoencoder(
            200,
            # With less, a network with room for every feature is strongest where nothing else predicts them.
            noise="gaussian(2.0)",
            dropout=0.2,
            # Connections need mini-batches to live and die in: an epoch has at least 20. With far more than 200 of
            # them the network comes to the features that are seldom other than their mean.
            batch_size=max(1, min(100, n_samples // 20), n_samples // 200),
            learning_rate_init=0.01,
            weights=("normal(0.01)", "normal(0.1)"),
            max_iter=10,
            n_iter_no_change=10,
            wiring=ErdosRenyi(epsilon=13, clip=True),
            zeta=0.2,
            regularization="set_decay(1e-5)",
            scale=True,
        )

    def _trained_before(self) -> Any:
        if self.estimator is None:
            raise ValueError("prefit=True needs an estimator that was trained before; give one")
        try:
            check_is_fitted(self.estimator)
        except NotFittedError as error:
            raise NotFittedError(
                "prefit=True needs an estimator that was trained before; call its fit first"
            ) from error
        return self.estimator

    def _count(self, n_features: int) -> int:
        """How many features are selected."""
        wanted = self.n_features_to_select
        if wanted is None:
            return max(n_features // 2, 1)
        known = (int, float, np.integer, np.floating)
        if isinstance(wanted, known) and not isinstance(wanted, bool):
            whole = isinstance(wanted, (int, np.integer))
            if whole and 1 <= wanted <= n_features:
                return int(wanted)
            if not whole and 0 < wanted <= 1:
                return max(int(n_features * wanted), 1)
        raise ValueError(
            f"n_features_to_select={wanted!r} is not possible; use an integer from 1 to the {n_features} features of "
            f"X, or a share above 0 and at most 1.0"
        )

    @with_kind
    def transform(self, X: Any) -> Any:
        """The selected features of `X`: (n_samples, n_features_)."""
        return super().transform(X)

    @with_kind
    def inverse_transform(self, X: Any) -> Any:
        """`X`, (n_samples, n_features_), with columns of zeros where features were not selected."""
        return super().inverse_transform(X)

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self)
        return self.support_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self._untrained())
        tags.input_tags.sparse = inner.input_tags.sparse
        tags.target_tags.required = inner.target_tags.required
        return tags


def _model_of(estimator: Any) -> Model:
    model = getattr(estimator, "model_", None)
    if not isinstance(model, Model):
        raise TypeError(
            f"{type(estimator).__name__} has no sparse network to look at; use SparseRBM, SparseAutoencoder, "
            f"SparseMLPClassifier or SparseMLPRegressor"
        )
    return model


def _strength(model: Model) -> np.ndarray:
    layer = model.connections[0]
    return strength(layer.pattern.pre, model.backend.to_numpy(layer.weight), layer.n_pre)


def _degree(model: Model) -> np.ndarray:
    return model.connections[0].pattern.fan_out().astype(float)


def _survival(model: Model) -> np.ndarray:
    layer = model.connections[0]
    age = model.step - model.backend.to_numpy(layer.born).astype(np.int64)
    return survival(layer.pattern.pre, age, layer.n_pre)


CRITERIA: dict[str, Callable[[Model], np.ndarray]] = {"strength": _strength, "degree": _degree, "survival": _survival}
