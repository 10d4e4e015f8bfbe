"""The sparse denoising autoencoder as a scikit-learn transformer."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils.validation import check_array, check_is_fitted

from sparserbm.backends import with_kind
from sparserbm.data.sources import Samples, chunks
from sparserbm.data.weights import weighted
from sparserbm.estimators.mlp import SparseMLP
from sparserbm.estimators.sparse_estimator import FLOATS, fitted, float_type, scaled
from sparserbm.network.units import Units, units_from
from sparserbm.network.wiring import ERK
from sparserbm.registry import resolve
from sparserbm.training import Backprop, Masking
from sparserbm.training.algorithm import Algorithm

OUTPUTS = {"identity": "linear", "logistic": "sigmoid", "sigmoid": "sigmoid"}


class SparseAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, SparseMLP):
    """Denoising autoencoder whose layers, the output included, have sparse, evolving connections.

    It learns to bring back its inputs after some of them were destroyed (Vincent et al. 2008); what the layer in the
    middle makes of a sample is its code. The loss is half the squared distance to the sample, summed over features, so
    that a learning rate means the same for any number of features. float32 data are computed in float32, all others in
    float64.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        An odd number of layers; that in the middle is the code: ``(200, 50, 200)``.
    activation : {"identity", "logistic", "tanh", "relu"} or text
        As in `SparseMLPClassifier`.
    noise : float in [0, 1), or Corruption or text
        Share of the inputs that are set to 0 in a training step, drawn anew for every sample of every step; 0 is a
        plain autoencoder. Other kinds: ``"gaussian(0.2)"`` adds normal noise of this standard deviation.
    dropout : float or sequence of float, in [0, 1)
        Share of the hidden units that are silent in a training step, for all hidden layers or for each.
    output : {"identity", "logistic"}
        Units of the output; ``"logistic"`` for features of [0, 1].
    learning_rate_init : float, Schedule or text, optional
        None is 0.02 for ``solver="sgd"`` and 0.005 for Adam.
    epsilon : float, optional
        Erdos-Renyi parameter of every layer: ``epsilon * (n_inputs + n_outputs)`` connections each. Without `epsilon`,
        `density` and `wiring` it is 11, or as much as there is room for.
    wiring : Wiring, text or a sequence of them, optional
        One for all layers, the output included, or one for each.
    weights : WeightScale, text or a sequence of them
        Distribution of the first weights, and of those of newborns: small enough that 30 % of the weights of a sigmoid
        layer can be new without hiding what the others have learnt.
    scale : bool
        Scale every feature first, by its values in the training data (for `partial_fit`: in the first batch): to mean
        0 and standard deviation 1, or to [0, 1] with ``output="logistic"``. Results in feature space are scaled back.
    early_stopping : bool, EarlyStopping or text
        Hold out `validation_fraction` of the data and judge by the loss of these, without noise, instead of by the
        training loss, which is that of corrupted inputs.
    solver, batch_size, max_iter, shuffle, random_state, tol, n_iter_no_change, verbose, momentum, nesterovs_momentum, \
validation_fraction, beta_1, beta_2, density, zeta, evolution, l1, l2, regularization, image_shape, zone, \
backend, callbacks
        As in `SparseMLPClassifier`.

    Attributes
    ----------
    coefs_, intercepts_, connections_, topology_ : lists with one entry for each layer
    history_, loss_, n_iter_, n_features_in_, feature_names_in_, model_, run_
        As in `SparseMLPClassifier`.
    scaler_ : StandardScaler, MinMaxScaler or None

    Examples
    --------
    >>> import sparserbm as sr
    >>> from sklearn.datasets import load_digits
    >>> X = load_digits().data / 16
    >>> autoencoder = sr.SparseAutoencoder(30, max_iter=5, random_state=0).fit(X)
    >>> autoencoder.transform(X).shape, autoencoder.reconstruct(X).shape
    ((1797, 30), (1797, 64))
    """

    loss = "sse"
    _watched = "validation_loss"
    _rates: ClassVar[dict[str, float]] = {"sgd": 0.02, "adam": 0.005}
    scaler_: Any

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "logistic",
        *,
        noise: Any = 0.2,
        dropout: Any = 0.0,
        output: str = "identity",
        solver: str = "sgd",
        batch_size: int | str = "auto",
        learning_rate_init: Any = None,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        n_iter_no_change: int = 10,
        verbose: bool | int = False,
        momentum: Any = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: Any = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = None,
        density: float | None = None,
        zeta: Any = 0.3,
        evolution: Any = "set",
        l1: Any = 0.0,
        l2: Any = 0.0,
        regularization: Any = None,
        wiring: Any = None,
        weights: Any = "normal(0.1)",
        scale: bool = False,
        image_shape: tuple[int, int] | None = None,
        zone: Any = "auto",
        backend: Any = "auto",
        callbacks: Any = (),
    ):
        super().__init__(
            hidden_layer_sizes,
            activation,
            solver=solver,
            batch_size=batch_size,
            learning_rate_init=learning_rate_init,
            max_iter=max_iter,
            shuffle=shuffle,
            random_state=random_state,
            tol=tol,
            n_iter_no_change=n_iter_no_change,
            verbose=verbose,
            momentum=momentum,
            nesterovs_momentum=nesterovs_momentum,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            density=density,
            zeta=zeta,
            evolution=evolution,
            l1=l1,
            l2=l2,
            regularization=regularization,
            wiring=wiring,
            weights=weights,
            image_shape=image_shape,
            zone=zone,
            backend=backend,
            callbacks=callbacks,
        )
        self.noise = noise
        self.dropout = dropout
        self.output = output
        self.scale = scale

    # -- training ------------------------------------------------------------------------------------------------

    @with_kind
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train a new model on `X`, (n_samples, n_features); `y` is not looked at.

        X and `sample_weight` are as in `SparseMLPClassifier.fit`.
        """
        X, _, weight = weighted(self._validated(X), None, sample_weight)
        self._check(X, fresh=True)
        return self._fit(X, None, weight)

    @with_kind
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch on `X`; model and optimizer go on from the calls before.

        A call is an epoch: see `SparseRBM.partial_fit` for what that means for the evolution.
        """
        self._check_partial()
        fresh = not hasattr(self, "model_")
        X, _, weight = weighted(self._validated(X, reset=fresh), None, sample_weight)
        self._check(X, fresh)
        model, follows = (self._new_model(X), None) if fresh else (self.model_, self.run_)
        return self._learn(model, X, None, weight, epochs=1, follows=follows)

    def _check(self, X: Samples, fresh: bool) -> None:
        """The layers have a middle, the data fit the output; new scaling where a new model begins."""
        if self.output not in OUTPUTS:
            raise ValueError(f"output={self.output!r} is not possible; use one of {', '.join(OUTPUTS)}")
        if len(self._sizes) % 2 == 0:
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r} has no layer in the middle to be the code; use an odd "
                f"number of layers, e.g. (200, 50, 200)"
            )
        bounded = OUTPUTS[self.output] == "sigmoid"
        if fresh:
            scaler = MinMaxScaler(clip=True) if bounded else StandardScaler()
            self.scaler_ = fitted(scaler, X) if self.scale else None
        if bounded and self.scaler_ is None and (X.min() < 0 or X.max() > 1):
            raise ValueError(
                f"output={self.output!r} gives values in [0, 1], but X has values from {X.min():.6g} to {X.max():.6g}; "
                f'use scale=True or output="identity"'
            )

    def _inputs(self, X: Samples) -> Samples:
        return scaled(self.scaler_, X)

    def _targets(self, y: Any) -> None:
        return None

    def _output(self) -> Units:
        return units_from(OUTPUTS[self.output], self.n_features_in_)

    def _wiring(self) -> Any:
        wiring = super()._wiring()
        # MLP would make the output dense, where it is given one wiring that knows nothing of the whole network.
        return wiring if isinstance(wiring, (list, tuple, ERK)) else [wiring] * (len(self._sizes) + 1)

    def _algorithm(self) -> Algorithm:
        number = isinstance(self.noise, (int, float, np.number)) and not isinstance(self.noise, bool)
        corruption = Masking(float(self.noise)) if number else resolve("corruption", self.noise)
        if number and self.noise == 0:
            corruption = None
        return Backprop(self.loss, dropout=self.dropout, corruption=corruption, reconstruct=True)

    # -- the trained model ---------------------------------------------------------------------------------------

    @with_kind
    def transform(self, X: Any) -> np.ndarray:
        """Codes of the samples: (n_samples, n_code)."""
        check_is_fitted(self)
        return self._encode(self._validated(X, reset=False))

    @with_kind
    def inverse_transform(self, H: Any) -> np.ndarray:
        """Features of the codes `H`, (n_samples, n_code): (n_samples, n_features)."""
        check_is_fitted(self)
        H = check_array(H, dtype=FLOATS, input_name="H")
        if H.shape[1] != self._n_features_out:
            raise ValueError(f"H has {H.shape[1]} columns, but a code has {self._n_features_out} units")
        return self._decode(H)

    @with_kind
    def reconstruct(self, X: Any) -> np.ndarray:
        """What the network makes of samples without noise: (n_samples, n_features)."""
        check_is_fitted(self)
        return self._decode(self._encode(self._validated(X, reset=False)))

    @with_kind
    def score(self, X: Any, y: Any = None) -> float:
        """Minus the mean squared error of the reconstruction, over samples and features; higher is better."""
        check_is_fitted(self)
        X, total = self._validated(X, reset=False), 0.0
        for _, block in chunks(X):
            total += float(np.sum((self._decode(self._encode(block)) - block) ** 2, dtype=np.float64))
        return -total / X.size

    def _encode(self, X: Any) -> np.ndarray:
        model, inputs = self.model_, self._inputs(X)
        codes = model.activity(model.check_data(inputs), self._code)  # type: ignore[arg-type]
        return codes.astype(float_type(X), copy=False)

    def _decode(self, H: np.ndarray) -> np.ndarray:
        model = self.model_
        V = model.activity(H, len(model.connections), given=self._code).astype(H.dtype, copy=False)
        return V if self.scaler_ is None else self.scaler_.inverse_transform(V)

    @property
    def _code(self) -> int:
        """Place of the code among the layers of the model."""
        return len(self.model_.connections) // 2

    @property
    def _n_features_out(self) -> int:
        return self.model_.units[self._code].n

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
