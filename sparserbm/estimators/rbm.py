"""The sparse RBM as a scikit-learn transformer."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.validation import check_array, check_is_fitted

from sparserbm.backends import on_host, with_kind
from sparserbm.data.batches import blocks
from sparserbm.data.sources import Samples, chunks
from sparserbm.data.weights import weighted
from sparserbm.estimators.sparse_estimator import FLOATS, SparseEstimator, check_epochs, fitted, float_type, scaled
from sparserbm.models.likelihood import Partition, log_likelihood, partition_function, pseudo_likelihood
from sparserbm.models.rbm import RBM
from sparserbm.network.units import Bernoulli, Units, units_from
from sparserbm.registry import resolve
from sparserbm.rng import Streams
from sparserbm.training import CD, SGD


class SparseRBM(ClassNamePrefixFeaturesOutMixin, TransformerMixin, SparseEstimator):
    """Restricted Boltzmann machine with sparse, evolving connections; of Bernoulli units unless others are asked for.

    The first parameters are those of scikit-learn's `BernoulliRBM`. Data are probabilities of [0, 1], or anything
    with ``scale=True``; float32 data are computed in float32, all others in float64.

    NaN in X is a missing value (``algorithm="cd(missing=5)"`` says how training draws it). Such rows stand at the means
    of mean field in `transform` and `reconstruct`, are scored by what is known of them, and filled by `fill_missing`.

    Parameters
    ----------
    n_components : int
        Hidden units.
    learning_rate : float, Schedule or text
    batch_size : int
    n_iter : int
        Epochs.
    verbose : bool or int
        Show progress on standard error.
    random_state : int, RandomState, Generator or None
        One integer is drawn from it at every `fit`; all randomness of the fitted model depends on that alone.
    epsilon : float, optional
        Erdos-Renyi parameter: ``epsilon * (n_features + n_components)`` connections. Without `epsilon`, `density`
        and `wiring` it is 11, or as much as there is room for.
    density : float in (0, 1], optional
        Connections over places instead; 1.0 is a dense RBM.
    zeta : float, Schedule or text, in [0, 1)
        Share of the connections that ``evolution="set"`` replaces after every epoch; no other value uses it.
    evolution : {"set", "none"}, Evolution, text such as "set(zeta=0.2)", or None
        How connections change; None and "none" keep the first wiring.
    cd_steps : int
        Gibbs sweeps of contrastive divergence.
    persistent : bool
        Chains go on from batch to batch (persistent contrastive divergence), and from call to call of `partial_fit`.
    algorithm : CD or text, optional
        All of contrastive divergence, in place of `cd_steps` and `persistent`: ``"cd(k=5, centred=True,
        sparsity=sparsity(0.05))"``.
    visible, hidden : text or Units
        Types of units: ``"bernoulli"``, ``"gaussian(sigma=0.5)"``, ``"gaussian(learned=True)"``, ``"potts(states=3)"``,
        or ``Mixed`` units with all features; hidden ones also ``"truncated_gaussian"``.
    l1, l2 : float, Schedule or text
        Strength of an L1 or L2 penalty on the weights, against the mean loss (not divided by the number of samples).
    momentum : float, Schedule or text, in [0, 1)
    regularization : Penalty, text or a sequence of them, optional
        Further penalties.
    wiring : Wiring or text, optional
        Another first pattern, in place of `epsilon` and `density`.
    scale : bool
        Scale every feature to [0, 1] first, by its range in the training data (for `partial_fit`: in the first
        batch); values beyond it are clipped. Results in feature space are scaled back.
    early_stopping : bool, EarlyStopping or text
        Hold out `validation_fraction` of the data of `fit` and end training when their pseudo-likelihood (their
        reconstruction error, where features are not Bernoulli units) has not become better by `tol` for
        `n_iter_no_change` epochs; the model becomes that of the best epoch. A rule may watch another metric of
        `history_`: ``EarlyStopping(5, "free_energy_gap", limit=2.0)``.
    validation_fraction : float in (0, 1)
    n_iter_no_change, tol : int, float
        Of ``early_stopping=True``.
    image_shape : (rows, columns), optional
        Where the features are pixels.
    zone : Zone, text, (n_features,) bool, "auto" or None
        The active zone that the learning index compares with the rest of the inputs.
    backend : {"auto", "numpy", "cupy", "reference"} or Backend
    callbacks : sequence of callables
        Each is called with (model, metrics) after every epoch; a true result ends training.

    Attributes
    ----------
    components_ : (n_components, n_features) float
        The weights, absent connections 0; made on demand.
    connections_ : scipy.sparse.csr_matrix (n_components, n_features)
        The weights of the connections; an explicit zero is a connection.
    intercept_hidden_, intercept_visible_ : (n_components,) and (n_features,) float
    topology_ : dict
        ``n_connections, density, fan_out`` (of every feature), ``fan_in`` (of every component), ``dead_inputs,
        dead_outputs``, and ``zone``, a `LearningIndex`, where there is a zone.
    history_ : dict of (n_iter_ + 1,) arrays
        Metrics, before training and after every epoch.
    n_iter_, n_features_in_, feature_names_in_ : as in scikit-learn
    scaler_ : MinMaxScaler or None
    model_ : RBM
    run_ : Run
        What `sparserbm.plotting` takes.

    Examples
    --------
    >>> import numpy as np, sparserbm as sr
    >>> X = np.array([[0, 0, 0, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    >>> sr.SparseRBM(n_components=3, random_state=0).fit(X).transform(X).shape
    (4, 3)
    """

    model_: RBM
    scaler_: MinMaxScaler | None
    _takes_missing: ClassVar[bool] = True

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: Any = 0.1,
        batch_size: int = 10,
        n_iter: int = 10,
        verbose: bool | int = 0,
        random_state: Any = None,
        epsilon: float | None = None,
        density: float | None = None,
        zeta: Any = 0.3,
        evolution: Any = "set",
        cd_steps: int = 1,
        persistent: bool = False,
        algorithm: Any = None,
        visible: Any = "bernoulli",
        hidden: Any = "bernoulli",
        l1: Any = 0.0,
        l2: Any = 0.0,
        momentum: Any = 0.0,
        regularization: Any = None,
        wiring: Any = None,
        scale: bool = False,
        early_stopping: Any = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        image_shape: tuple[int, int] | None = None,
        zone: Any = "auto",
        backend: Any = "auto",
        callbacks: Any = (),
    ):
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state
        self.epsilon = epsilon
        self.density = density
        self.zeta = zeta
        self.evolution = evolution
        self.cd_steps = cd_steps
        self.persistent = persistent
        self.algorithm = algorithm
        self.visible = visible
        self.hidden = hidden
        self.l1 = l1
        self.l2 = l2
        self.momentum = momentum
        self.regularization = regularization
        self.wiring = wiring
        self.scale = scale
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.image_shape = image_shape
        self.zone = zone
        self.backend = backend
        self.callbacks = callbacks

    # -- training ------------------------------------------------------------------------------------------------

    @with_kind
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train a new model on `X`, (n_samples, n_features), for `n_iter` epochs.

        Parameters
        ----------
        X : array, sparse matrix, memory map or BatchSource
            Of other data than arrays only one mini-batch at a time is dense.
        sample_weight : (n_samples,) float of at least 0, optional
            How much each sample counts, relative to the others of this call; samples of weight 0 are left out.

        Raises
        ------
        ValueError
            If values lie outside [0, 1] and `scale` is not set, or parameters contradict each other.
        """
        check_epochs("n_iter", self.n_iter)
        return self._learn(X, sample_weight, epochs=self.n_iter, fresh=True, may_stop=True)

    @with_kind
    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch on `X`, of any length; model and optimizer go on from the calls before.

        X and `sample_weight` are as in `fit`.

        Notes
        -----
        A call is an epoch: ``evolution="set"`` replaces connections between any two calls. With small batches,
        evolve after so many steps instead: ``evolution="set(when=every(steps=500))"``.
        """
        self._check_partial()
        return self._learn(X, sample_weight, epochs=1, fresh=not hasattr(self, "model_"))

    def _learn(self, X: Any, sample_weight: Any, epochs: int, fresh: bool, may_stop: bool = False) -> Self:
        X, _, weight = weighted(self._validated(X, reset=fresh), None, sample_weight)
        if fresh:
            scaler = fitted(MinMaxScaler(clip=True), X) if self.scale else None
            units, wiring = self._units(X.shape[1]), self._wiring()
            model = RBM(*units, wiring=wiring, seed=self._seed(), backend=self.backend, dtype=self._dtype(X))
            self._n_draws = 0
        else:
            scaler, model = self.scaler_, self.model_
        self.scaler_, stopping = scaler, {}
        watched = "pseudo_likelihood" if isinstance(model.visible, Bernoulli) else "validation_loss"
        rule = self._stopping(watched) if may_stop else None
        if rule is not None:
            (X, _, weight), (held, *others) = self._held_out(X, None, weight, model.seed)
            stopping = {"early_stopping": rule, "validation": (self._scaled(held), *others)}
        self._train(
            model,
            self._scaled(X),
            self._algorithm(),
            SGD(self.learning_rate, momentum=self.momentum),
            follows=None if fresh else self.run_,
            epochs=epochs,
            batch_size=self.batch_size,
            seen={"X": X, "y": None},
            sample_weight=weight,
            **stopping,
        )
        return self

    def _algorithm(self) -> CD:
        if self.algorithm is None:
            return CD(k=self.cd_steps, persistent=self.persistent)
        if self.cd_steps != 1 or self.persistent:
            raise ValueError(
                f"algorithm={self.algorithm!r} says k and persistent itself; leave cd_steps={self.cd_steps!r} and "
                f"persistent={self.persistent!r} at their defaults"
            )
        rule = resolve("algorithm", self.algorithm)
        if not isinstance(rule, CD):
            raise ValueError(f'algorithm={self.algorithm!r} does not train an RBM; give e.g. CD(k=5) or "cd(k=5)"')
        return rule

    def _units(self, n_features: int) -> tuple[Units, Units]:
        return units_of("visible", self.visible, n_features), units_of("hidden", self.hidden, self.n_components)

    # -- what the model says of data -----------------------------------------------------------------------------

    @with_kind
    def transform(self, X: Any) -> np.ndarray:
        """Probabilities ``P(h = 1 | v)``: (n_samples, n_components).

        Of rows with missing values those at the means that mean field finds for them: deterministic, and the same in
        every company.
        """
        X = self._visible(X)
        return self.model_.transform(X).astype(float_type(X), copy=False)

    @with_kind
    def reconstruct(self, X: Any) -> np.ndarray:
        """Means of the features given the hidden probabilities of `X`: (n_samples, n_features), deterministic."""
        X = self._visible(X)
        return self._features(self.model_.reconstruct(X).astype(float_type(X), copy=False))

    @with_kind
    def inverse_transform(self, H: Any) -> np.ndarray:
        """Means of the features given hidden activities of [0, 1], (n_samples, n_components)."""
        check_is_fitted(self)
        H = check_array(H, dtype=FLOATS, input_name="H")
        if H.shape[1] != self._n_features_out:
            raise ValueError(f"H has {H.shape[1]} columns, but there are {self._n_features_out} hidden units")
        model = self.model_
        V = np.empty((len(H), model.visible.n), dtype=H.dtype)
        for part, h in blocks(model.backend, H, model.widest):
            mean = model.visible_given(h, model.backend.empty((model.visible.n, h.shape[1])))
            V[part] = model.backend.to_numpy(mean).T
        return self._features(V)

    @with_kind
    def free_energy(self, X: Any) -> np.ndarray:
        """F(v) of every sample, (n_samples,) in nats: low where the model finds it probable.

        With missing values that of what is known, which needs a model of at most 20 Bernoulli components.
        """
        return self.model_.free_energy(self._visible(X))

    @with_kind
    def score_samples(self, X: Any) -> np.ndarray:
        """Stochastic log pseudo-likelihood of every sample, (n_samples,) in nats; higher is better.

        One random bit of each sample is flipped, as in `BernoulliRBM`. Which one depends on the seed of the model and
        on the sample, so that the same call gives the same scores. Of rows with missing values one known bit is
        flipped, and the sum goes over the known ones (`pseudo_likelihood`).
        """
        X = self._visible(X)
        return pseudo_likelihood(self.model_, X, seed=self.model_.seed)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log-likelihood of the samples, in nats a sample; higher is better, and comparable across models.

        Its log Z is exact where the features or the components are at most 20 (with 20 and 784 on the other side it
        takes seconds). Else it is an estimate by annealed importance sampling with 100 chains and 1,000 temperatures
        (`partition_function`: about 2,000 products of 100 samples with the connections), too low in the mean, so that
        the score is too high: compare scores by more than its standard error. It is computed once, and again after
        further training. With ``scale=True`` the samples are scaled first, as for training. Of features that are not
        binary the score of Bernoulli units is no log-likelihood, but ``-mean free energy - log Z``: see `binarise`.
        Of rows with missing values it is the log-likelihood of what is known, with at most 20 Bernoulli components.

        Parameters
        ----------
        X : (n_samples, n_features)
        y : ignored
        """
        X = self._visible(on_host(X))
        return float(log_likelihood(self.model_, X, self._partition()).mean())

    def _partition(self) -> Partition:
        """log Z of the model as it is."""
        model, step, found = getattr(self, "_log_z", (None, -1, None))
        if model is not self.model_ or step != self.model_.step or found is None:
            found = partition_function(self.model_, temperatures=1000, seed=self.model_.seed)
            self._log_z = self.model_, self.model_.step, found
        return found

    # -- draws ---------------------------------------------------------------------------------------------------

    @with_kind
    def gibbs(self, v: Any) -> np.ndarray:
        """One Gibbs sweep from `v`: hidden states are drawn, then features given them; (n_samples, n_features).

        Every call draws anew; the sequence of calls after a fit is reproducible from `random_state`.
        """
        v = self._visible(v)
        model, backend = self.model_, self.model_.backend
        out = np.empty(v.shape, dtype=float_type(v))
        draws = Streams(self._next_seed()).draws("gibbs", 0)
        for part, states in blocks(backend, v, model.widest):
            h, v_drawn = backend.empty((model.hidden.n, states.shape[1])), backend.empty(states.shape)
            model.hidden_given(states, backend.empty(h.shape), draws, h)
            model.visible_given(h, backend.empty(states.shape), draws, v_drawn)
            out[part] = backend.to_numpy(v_drawn).T
        return self._features(out)

    def sample(
        self,
        n_samples: int = 1,
        *,
        sweeps: int = 1000,
        random_state: int | None = None,
        clamp: Any = None,
        temperatures: Any = None,
    ) -> np.ndarray:
        """Features drawn from the model, by `sweeps` of Gibbs sampling from random states: (n_samples, n_features).

        Parameters
        ----------
        random_state : int, optional
            The same integer gives the same samples; without it every call draws anew.
        clamp : (n_features,) or (n_samples, n_features), optional
            Features that are held; NaN where one is free.
        temperatures : int or array, optional
            Parallel tempering with so many replicas, or at these inverse temperatures: for models with modes between
            which Gibbs sampling hardly ever goes. See `RBM.sample`.
        """
        check_is_fitted(self)
        seed = self._next_seed() if random_state is None else random_state
        held: Any = None if clamp is None else self._visible(np.atleast_2d(clamp))
        if held is not None and len(held) == 1:
            held = held[0]
        drawn = self.model_.sample(n_samples, sweeps=sweeps, seed=seed, clamp=held, temperatures=temperatures)
        return self._features(drawn)

    @with_kind
    def fill_missing(
        self, X: Any, *, sweeps: int = 200, mean: bool = True, random_state: int | None = None
    ) -> np.ndarray:
        """`X` with its missing values, NaN, filled in given the known ones: (n_samples, n_features).

        Parameters
        ----------
        X : (n_samples, n_features)
        sweeps : int
            Of Gibbs sampling with the known features held.
        mean : bool
            Fill in means, averaged over the second half of the sweeps; False: states, one joint draw.
        random_state : int, optional
            The seed of the fitted model by default, so that the same call gives the same values.
        """
        check_is_fitted(self)
        rows = self._validated(X, reset=False)
        filled = self.model_.fill(self._scaled(rows), sweeps=sweeps, mean=mean, seed=random_state)
        out = self._features(filled).astype(float_type(rows), copy=False)
        for part, known in chunks(rows):  # scaling there and back rounds
            np.copyto(out[part], known, where=~np.isnan(known))
        return out

    def _next_seed(self) -> int:
        """A seed that no call since `fit` has had; BernoulliRBM repeats its draws (scikit-learn issue 4227)."""
        self._n_draws += 1
        return seed_of_draw(self.model_, self._n_draws)

    def _visible(self, X: Any) -> Samples:
        check_is_fitted(self)
        return self._scaled(self._validated(X, reset=False))

    def _scaled(self, X: Samples) -> Samples:
        return scaled(self.scaler_, X)

    def _features(self, V: np.ndarray) -> np.ndarray:
        return V if self.scaler_ is None else self.scaler_.inverse_transform(V)

    @property
    def components_(self) -> np.ndarray:
        return self.model_.matrix.to_dense()

    @property
    def connections_(self) -> Any:
        return self.model_.matrix.to_scipy()

    @property
    def intercept_hidden_(self) -> np.ndarray:
        return self.model_.backend.to_numpy(self.model_.hidden_bias)

    @property
    def intercept_visible_(self) -> np.ndarray:
        return self.model_.backend.to_numpy(self.model_.visible_bias)

    @property
    def topology_(self) -> dict[str, Any]:
        return self._layer_topology(0)

    @property
    def _n_features_out(self) -> int:
        return self.model_.hidden.n

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def units_of(name: str, given: Units | str, n: int) -> Units:
    """`n` units from the parameter `name`, a text or the units themselves."""
    units = units_from(given, n) if isinstance(given, str) else given
    if not isinstance(units, Units) or units.n != n:
        raise ValueError(f"{name}={given!r} is not possible; give a text such as 'gaussian', or {n} units")
    return units


def seed_of_draw(model: RBM, number: int) -> int:
    """The seed of the draws that a fitted model is asked for as number `number`."""
    return int(np.random.SeedSequence([model.seed, number]).generate_state(1)[0])
