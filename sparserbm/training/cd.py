"""Contrastive divergence for RBMs: CD-k and persistent CD."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from sparserbm.backends import Backend, SignedPair, Workspace
from sparserbm.data.batches import Batch, blocks
from sparserbm.data.sources import Samples, has_missing, means, take, variances
from sparserbm.models.base import Model
from sparserbm.models.likelihood import pseudo_likelihood
from sparserbm.models.missing import Observed, settled
from sparserbm.models.rbm import RBM
from sparserbm.network.coactivity import Coactivity
from sparserbm.network.connections import Pattern
from sparserbm.network.units import Bernoulli
from sparserbm.registry import register, resolve, to_text
from sparserbm.rng import Draws
from sparserbm.schedules import Rounded, Schedule, resolve_schedule
from sparserbm.training.algorithm import Algorithm, Signals, Trainer

STATISTICS = ("mean", "sample")
COMPARED = 1000  # samples on each side of the free-energy gap; more would cost as much as an epoch of training


@register("sparsity", "sparsity")
@dataclass(frozen=True)
class Sparsity:
    """A mean activity that hidden units are drawn to (Lee, Ekanadham and Ng 2008; in the form of Hinton 2012, sec. 11).

    Every unit has a running mean q of its activity given the data. The gradient of its bias gets
    ``cost * (q - target)``, that of the cross-entropy between target and q for its total input.

    Parameters
    ----------
    target : float
        Above 0; below 1 for Bernoulli units. Typically 0.01 to 0.1.
    cost : float
        Strength, at least 0. Hinton's sparsity-cost.
    decay : float in [0, 1)
        Of the running mean, each mini-batch: 0.9 to 0.99. It begins at the first one.
    weights : bool
        Act on the weights of a unit's connections too, by the mean of what they see, and not on its bias alone.
    """

    target: float = 0.1
    cost: float = 1.0
    decay: float = 0.9
    weights: bool = False

    def __post_init__(self) -> None:
        for name, what, possible in (
            ("target", "a number above 0", lambda value: 0 < value < np.inf),
            ("cost", "a number of at least 0", lambda value: 0 <= value < np.inf),
            ("decay", "a number of [0, 1)", lambda value: 0 <= value < 1),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Real) or not possible(value):
                raise ValueError(f"sparsity {name}={value!r} is not possible; use {what}")


@register("algorithm", "cd")
@dataclass(frozen=True)
class CD(Algorithm):
    """Contrastive divergence with k Gibbs sweeps (Hinton 2002; persistent: Tieleman 2008).

    Parameters
    ----------
    k : int, Schedule or text
        Sweeps from the data (or from the chains) to the negative phase; a schedule is rounded:
        ``"steps((1, 5, 10), (1000, 5000))"``.
    persistent : bool
        Chains go on from batch to batch instead of starting at the data. They begin at hidden states drawn from the
        first mini-batch, and go on when connections change: the first step after that takes twice as many sweeps.
    positive : {"mean", "sample"}
        Hidden statistics of the positive phase; the mean has less noise.
    negative : {"mean", "sample"}
        The same for the negative phase. With the mean, the visible side of the last sweep is a mean too (Hinton 2012,
        section 3.2), except for persistent chains and for units with a learned variance, which need samples: less
        noise, but not the exact gradient even for large k; ``"sample"`` approaches that.
    chain : {"sample", "mean"}
        Visible states between sweeps. ``"mean"`` is mean-field, as in the SET-RBM code:
        ``CD(positive="sample", negative="sample", chain="mean")`` is its algorithm.
    data : {"mean", "sample"}
        What values of the data between 0 and 1 are: ``"sample"`` takes them as probabilities and draws states of
        Bernoulli visible units afresh each time a sample is seen, as Salakhutdinov and Murray (2008) did with the grey
        values of MNIST. ``"mean"`` shows them as they are.
    visible_bias : {"data", "zero"}
        Where the visible biases of an untrained model start: so that the model's means are those of the data (Hinton
        2012, section 8.1), and learned variances likewise, or at 0 as in the SET code. Biases that are not all 0 stay.
    centred : bool
        Follow the centred gradient (Melchior, Fischer and Wiskott 2016, algorithm 1 with data means for both sides;
        earlier Cho, Raiko and Ilin 2011): that of a model whose connections see ``v - offset`` and ``h - offset``. The
        model stays as it is, its gradient is turned: ``C = <(v - m)(h - l)>`` in place of ``<v h>``, and biases also
        get what keeps the centred ones in place, ``- C l`` and ``- C' m``. It makes training independent of
        whether a pixel is coded as 0 or as 1, and often faster. Needs one more number a connection.
    offset_rate : float in (0, 1]
        Share of a mini-batch in the running means that are the offsets (0.01 in that paper); the first one sets them.
    sparsity : Sparsity or text, optional
        A mean activity that hidden units are drawn to: ``"sparsity(0.05, cost=0.1)"``.
    chains : int, optional
        Number of persistent chains, the batch size by default; more of them give less noise. Both phases are means,
        each over its own number, so that neither this nor a small last mini-batch changes what is expected.
    missing : int
        Gibbs sweeps that draw the missing values of a mini-batch, NaN in X, given the known ones, before the positive
        phase. The more, the closer the gradient to that of the marginal log-likelihood of the known values. Data
        without missing values are trained on as if this were not there.
    """

    takes_missing: ClassVar[bool] = True

    k: Any = 1
    persistent: bool = False
    positive: str = "mean"
    negative: str = "mean"
    chain: str = "sample"
    data: str = "mean"
    visible_bias: str = "data"
    centred: bool = False
    offset_rate: float = 0.01
    sparsity: Any = None
    chains: int | None = None
    missing: int = 5

    def __post_init__(self) -> None:
        if isinstance(self.k, (str, Schedule)):
            schedule = resolve_schedule(self.k, "k", 1.0)
            object.__setattr__(self, "k", schedule if isinstance(schedule, Rounded) else Rounded(schedule))
        else:
            object.__setattr__(self, "k", _count("k", self.k))
        if self.chains is not None:
            object.__setattr__(self, "chains", _count("chains", self.chains))
        object.__setattr__(self, "missing", _count("missing", self.missing))
        for name, known in (
            *((name, STATISTICS) for name in ("positive", "negative", "chain", "data")),
            ("visible_bias", ("data", "zero")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} is not possible; use one of {', '.join(known)}")
        if self.persistent and self.chain == "mean":
            raise ValueError('persistent chains must be samples; use chain="sample" or persistent=False')
        if self.chains is not None and not self.persistent:
            raise ValueError(f"chains={self.chains} is for persistent chains; use persistent=True, or leave it out")
        if not 0 < self.offset_rate <= 1:
            raise ValueError(f"offset_rate={self.offset_rate!r} is not possible; use a number above 0, at most 1")
        object.__setattr__(self, "sparsity", resolve("sparsity", self.sparsity))
        if not isinstance(self.sparsity, (Sparsity, type(None))):
            raise TypeError(f'sparsity={self.sparsity!r} is not possible; give e.g. Sparsity(0.05) or "sparsity(0.05)"')

    def sweeps(self, step: int) -> int:
        """k at `step`."""
        return int(self.k(step)) if isinstance(self.k, Schedule) else self.k

    def check(self, model: Model, y: np.ndarray | None) -> np.ndarray | None:
        if not isinstance(model, RBM):
            raise TypeError(f"CD trains an RBM, not a {type(model).__name__}; for an MLP use Backprop()")
        if self.data == "sample" and not isinstance(model.visible, Bernoulli):
            raise ValueError(
                f'data="sample" draws Bernoulli visible units; of {to_text(model.visible)} use data="mean"'
            )
        if self.centred and model.gate is not None:
            raise ValueError("the centred gradient is not worked out for gates; use centred=False, or gates=False")
        if self.chain == "mean" and model.visible.own:
            raise ValueError('a learned variance needs visible samples; use chain="sample"')
        if self.sparsity is not None and isinstance(model.hidden, Bernoulli) and self.sparsity.target >= 1:
            raise ValueError(
                f"sparsity target={self.sparsity.target} is not possible for Bernoulli units; use less than 1"
            )
        return None  # labels are not used

    def multiply_adds(self, counts: Sequence[int]) -> int:
        # Positive phase, two products a sweep, one gradient for each phase; persistent chains reconstruct apart.
        most = int(self.k.extremes()[1]) if isinstance(self.k, Schedule) else self.k
        return (1 + 2 * most + 2 + self.persistent) * sum(counts)

    def activities(self, sizes: Sequence[int]) -> int:
        n_visible, n_hidden = sizes  # means and samples of both phases
        drawn = self.data == "sample"
        return (3 + self.persistent + drawn) * n_visible + (4 + self.persistent) * n_hidden

    def start(self, model: RBM, X: Samples, batch_size: int, weight: np.ndarray | None = None) -> ContrastiveDivergence:
        # Biases that are there already, e.g. those of a transpose in a stack, stay.
        if model.step == 0 and self.visible_bias == "data" and not bool(model.visible_bias.any()):
            mean = means(X, weight)
            variance = variances(X, mean, weight) if model.visible.own else None
            unseen = np.isnan(mean)  # features without a value keep the slots that they have
            if unseen.any():
                mean = np.where(unseen, 0.5, mean)
                variance = variance if variance is None else np.where(unseen, np.nanmean(variance), variance)
            for name, values in model.visible.slots_for(mean, variance).items():
                own = model.backend.to_numpy(model.biases[0][name])
                model.biases[0][name] = np.where(unseen, own, values) if unseen.any() else values
        return ContrastiveDivergence(self, model, batch_size, has_missing(X))


class ContrastiveDivergence(Trainer):
    """`CD` at work on one model."""

    def __init__(self, settings: CD, model: RBM, batch_size: int, missing: bool = False):
        self.settings = settings
        self._missing = missing
        self._masks: dict[int, Any] = {}  # by the number of samples
        self._known: Observed | None = None  # of the mini-batch at work
        self._asked: tuple[Any, bool] = None, False  # whether the data of the last evaluation have gaps
        self._arrays = Workspace(model.backend)
        self._blocks = Workspace(model.backend)  # evaluation has other batch sizes
        self._n_chains = settings.chains or batch_size
        self._pattern = model.matrix.pattern
        # What a later step depends on: hidden states of the persistent chains; the offsets of both sides and the mean
        # activity of the hidden units, (n_units,) each.
        self._state: dict[str, Any] = {}

    def signals(self, model: RBM, batch: Batch, draws: Draws) -> Signals:
        settings, n = self.settings, batch.x.shape[1]
        if self._missing:
            batch = replace(batch, x=self._completed(model, batch.x, draws))
        if settings.data == "sample":
            states = self._arrays.array("data", *batch.x.shape)
            batch = replace(batch, x=model.backend.bernoulli(draws.next(), batch.x, states))
        h0_mean, h0 = self._pair("h0", model.hidden.n, n)
        model.visible.bound(model.backend, model.biases[0])
        model.hidden_given(batch.x, h0_mean, draws, h0, self._total(model, "h0", n))
        if settings.persistent and "chains" not in self._state:
            self._state["chains"] = self._first_chains(model, batch.x, h0, draws)
        start = self._state["chains"] if settings.persistent else h0
        v, h, error = self._negative_phase(model, batch, start, draws)
        positive = h0 if settings.positive == "sample" else h0_mean
        seen0, seen = model.seen(0, batch.x), model.seen(0, v)
        believed0, believed = model.seen(1, positive), model.seen(1, h)
        # A sample counts by its weight in both phases; persistent chains belong to no sample.
        w0, w = batch.weight, None if settings.persistent else batch.weight
        visible0, visible = self._weighted("visible 0", seen0, w0), self._weighted("visible", seen, w)
        hidden0, hidden = self._weighted("hidden 0", believed0, w0), self._weighted("hidden", believed, w)
        pairs = [SignedPair(-1.0, seen0, model.gated(hidden0)), SignedPair(1.0, seen, model.gated(hidden))]
        biases = [[(-1.0, visible0), (1.0, visible)], [(-1.0, hidden0), (1.0, hidden)]]
        if settings.centred:
            self._centre(model, pairs, biases)
        if settings.sparsity is not None:
            self._draw_to_target(model, self._weighted("activity 0", h0_mean, w0), visible0, pairs, biases)
        sampled = self._correct_biases(model, pairs, biases) if settings.centred else None
        others = self._gate_gradient(model, {"h0": (-1.0, hidden0), "h": (1.0, hidden)})
        if model.visible.own:
            others += self._visible_gradients(model, ((1.0, batch.x, believed0, w0), (-1.0, v, believed, w)))
        return Signals(
            [Coactivity(tuple(pairs), (batch.x, h0_mean), sampled)],
            biases,
            n,
            {} if error is None else {"loss": error / self._values_a_sample(model, batch)},
            others,
        )

    # -- missing values ------------------------------------------------------------------------------------------

    def _completed(self, model: RBM, x: Any, draws: Draws) -> Any:
        """The mini-batch with states in the place of its missing values, drawn given the known ones."""
        n = x.shape[1]
        if n not in self._masks:
            self._masks[n] = model.backend.xp.empty(x.shape, dtype=bool)
        self._known = Observed(model.backend, x, self._masks[n])
        v, (v_mean, _) = self._arrays.array("drawn", *x.shape), self._pair("v", model.visible.n, n)
        h_mean, h = self._pair("h", model.hidden.n, n)
        model.visible.bound(model.backend, model.biases[0])
        self._known.begin(model, v)
        for _ in range(self.settings.missing):
            self._known.sweep(model, v, v_mean, h_mean, h, draws)
        return v

    def _values_a_sample(self, model: RBM, batch: Batch) -> Any:
        """How many values a sample has that the reconstruction error is a mean over: the visible units.

        With missing values, the known ones of the mini-batch over its samples, on the device.
        """
        if self._known is None:
            return model.visible.n
        return _known_count(self._known, batch.weight) / batch.x.shape[1]

    # -- the centred gradient ------------------------------------------------------------------------------------

    def _centre(self, model: RBM, pairs: list[SignedPair], biases: list[list[tuple[float, Any]]]) -> None:
        """Move the offsets on, and turn ``<v h>`` into ``<(v - m)(h - l)>`` by two products of single columns."""
        backend, differences = model.backend, []
        for side, ((_, given), (_, made)) in zip(("visible", "hidden"), biases):
            mean = self._column(f"mean {side}", backend, [(1 / given.shape[1], given)])
            self._follow(f"offset_{side}", backend, mean, self.settings.offset_rate)
            terms = [(-1 / given.shape[1], given), (1 / made.shape[1], made)]
            differences.append(self._column(f"difference {side}", backend, terms)[:, None])
        visible, hidden = (self._state[f"offset_{side}"][:, None] for side in ("visible", "hidden"))
        pairs += [SignedPair(-1.0, visible, differences[1]), SignedPair(-1.0, differences[0], hidden)]

    def _correct_biases(self, model: RBM, pairs: list[SignedPair], biases: list[list[tuple[float, Any]]]) -> Any:
        """The gradient at all connections, (n_connections,); biases get what keeps those of a centred model in place.

        Those are ``a + W l`` and ``b + W' m``, of which descent changes a and b by their own gradients alone.
        """
        backend, matrix = model.backend, model.matrix
        gradient = self._arrays.array("gradient", 1, len(matrix))[0]
        coactivity = Coactivity(tuple(pairs))
        for part in matrix.parts:
            coactivity.at_connections(backend, part, gradient[part.connections])
        moved = [self._arrays.array(f"moved {side}", units.n, 1) for side, units in enumerate(model.units)]
        backend.spmm_t(matrix, gradient, self._state["offset_hidden"][:, None], moved[0])
        backend.spmm(matrix, gradient, self._state["offset_visible"][:, None], moved[1])
        for terms, values in zip(biases, moved):
            terms.append((-1.0, values))
        return gradient

    # -- a mean activity as target -------------------------------------------------------------------------------

    def _draw_to_target(
        self, model: RBM, mean: Any, seen: Any, pairs: list[SignedPair], biases: list[list[tuple[float, Any]]]
    ) -> None:
        backend, rule = model.backend, self.settings.sparsity
        now = self._column("activity", backend, [(1 / mean.shape[1], mean)])
        self._follow("activity", backend, now, 1 - rule.decay)
        excess = self._arrays.array("excess", model.hidden.n, 1)
        backend.xp.subtract(self._state["activity"][:, None], backend.dtype.type(rule.target), out=excess)
        biases[1].append((float(rule.cost), excess))
        if rule.weights:
            inputs = self._column("inputs", backend, [(1 / seen.shape[1], seen)])[:, None]
            if self.settings.centred:
                inputs -= self._state["offset_visible"][:, None]
            pairs.append(SignedPair(float(rule.cost), inputs, model.gated(excess)))

    def _column(self, name: str, backend: Backend, terms: list[tuple[float, Any]]) -> Any:
        """Signed sums over the samples, (n_units,)."""
        return backend.row_sums(terms, self._arrays.array(name, 1, terms[0][1].shape[0])[0])

    def _follow(self, name: str, backend: Backend, mean: Any, share: float) -> None:
        """Move the running mean `name` on by a `share` of `mean`; the first one sets it."""
        if name not in self._state:
            self._state[name] = mean.copy()
        running = self._state[name]
        running *= backend.dtype.type(1 - share)
        backend.add_scaled(running, share, mean)

    # -- further slots -------------------------------------------------------------------------------------------

    def _visible_gradients(
        self, model: RBM, phases: Sequence[tuple[float, Any, Any, Any]]
    ) -> list[tuple[int, str, Any]]:
        """Where visible units have slots of their own: (weighted) means of the derivatives of the energy."""
        backend = model.backend
        terms: dict[str, list[tuple[float, Any]]] = {name: [] for name in model.visible.own}
        for sign, states, believed, weight in phases:
            field = self._arrays.array(f"field {sign}", *states.shape)
            backend.spmm_t(model.matrix, model.matrix.weight, model.gated(believed), field)
            slopes = model.visible.slopes(backend, model.biases[0], states, field)
            for name, slope in slopes.items():
                terms[name].append((sign / states.shape[1], self._weighted(f"{name} {sign}", slope, weight)))
        return [(0, name, self._column(f"of {name}", backend, both)) for name, both in terms.items()]

    def _gate_gradient(self, model: RBM, phases: dict[str, tuple[float, Any]]) -> list[tuple[int, str, Any]]:
        """Where the model has gates: the mean of what a hidden unit believes times what its connections bring it."""
        if model.gate is None:
            return []
        terms = []
        for name, (sign, believed) in phases.items():
            total = self._total(model, name, believed.shape[1])
            total *= believed
            terms.append((sign / total.shape[1], total))
        return [(1, "gate", model.backend.row_sums(terms, model.backend.empty((model.hidden.n,))))]

    # -- chains --------------------------------------------------------------------------------------------------

    def _first_chains(self, model: RBM, data: Any, h0: Any, draws: Draws) -> Any:
        """Hidden states that the persistent chains begin with: drawn given the data, again and again if need be."""
        count, n = self._n_chains, data.shape[1]
        if count <= n:
            return h0[:, :count].copy()
        states = model.backend.empty((model.hidden.n, count))
        v = model.backend.asarray(data[:, model.backend.xp.arange(count) % n])
        model.hidden_given(v, model.backend.empty(states.shape), draws, states)
        return states

    def _sweeps(self, model: RBM, step: int) -> int:
        """Of this step; persistent chains take as many again to find into a model whose connections have changed."""
        before, self._pattern = self._pattern, model.matrix.pattern
        changed = self.settings.persistent and not _same(before, self._pattern)
        return self.settings.sweeps(step) * (2 if changed else 1)

    def _negative_phase(self, model: RBM, batch: Batch, h: Any, draws: Draws) -> tuple[Any, Any, Any]:
        """Visible states and hidden statistics after all sweeps, and the squared error of the first reconstruction."""
        settings, n, data = self.settings, h.shape[1], batch.x
        v_mean, v_sample = self._pair("v", model.visible.n, n)
        h_mean, h_sample = self._pair("h", model.hidden.n, n)
        error, sweeps = None, self._sweeps(model, batch.step)
        samples = settings.persistent or settings.negative == "sample" or bool(model.visible.own)
        for sweep in range(1, sweeps + 1):
            last = sweep == sweeps
            by_mean = settings.chain == "mean" or (last and not samples)
            model.visible_given(h, v_mean, draws, None if by_mean else v_sample)
            if sweep == 1 and not settings.persistent:
                error = _squared_error(model, data, v_mean, batch.weight, self._arrays, self._known)
            v = v_mean if by_mean else v_sample
            drawn = not last or settings.negative == "sample" or settings.persistent
            model.hidden_given(v, h_mean, draws, h_sample if drawn else None, self._total(model, "h", n))
            h = h_sample
        if settings.persistent:
            self._state["chains"][...] = h_sample
            error = self._reconstruction_error(model, batch)
        return v, h_sample if settings.negative == "sample" else h_mean, error

    def _reconstruction_error(self, model: RBM, batch: Batch) -> Any:
        n = batch.x.shape[1]
        mean = self._arrays.array("reconstruction", model.visible.n, n)
        model.visible_given(self._arrays.array("h0 sample", model.hidden.n, n), mean)
        return _squared_error(model, batch.x, mean, batch.weight, self._arrays, self._known)

    def _weighted(self, name: str, activity: Any, weight: Any) -> Any:
        """(n_units, n_samples) times weights of the samples, if there are any."""
        if weight is None:
            return activity
        out = self._arrays.array("weighted " + name, *activity.shape)
        return self._arrays.backend.xp.multiply(activity, weight, out=out)

    def _total(self, model: RBM, name: str, n_samples: int) -> Any:
        """Where `RBM.hidden_given` leaves what the gates are trained with."""
        return None if model.gate is None else self._arrays.array(name + " total", model.hidden.n, n_samples)

    def _pair(self, name: str, n_units: int, n_samples: int) -> tuple[Any, Any]:
        array = self._arrays.array
        return array(name + " mean", n_units, n_samples), array(name + " sample", n_units, n_samples)

    def evaluate(self, model: RBM, X: Any, y: np.ndarray | None, weight: np.ndarray | None = None) -> dict[str, float]:
        """Mean squared error of one reconstruction, from drawn hidden states as during training; of known values."""
        total, count = 0.0, 0.0 if self._has_missing(X) else float(X.size)
        known, gaps = None, not count
        for number, (part, v) in enumerate(blocks(model.backend, X, model.widest)):
            draws = model.streams.draws(f"evaluation {number}", model.step)
            if gaps:
                known = Observed(model.backend, v)
                v = settled(model, v)
            h_mean, h = (self._blocks.array(name, model.hidden.n, v.shape[1]) for name in ("mean", "sample"))
            model.hidden_given(v, h_mean, draws, h)
            v_mean = model.visible_given(h, self._blocks.array("visible", *v.shape))
            weights = None if weight is None else model.backend.asarray(weight[part], np.float64)
            total += float(_squared_error(model, v, v_mean, weights, self._blocks, known))
            count += 0.0 if known is None else float(_known_count(known, weights))
        return {"loss": total / count}

    def _has_missing(self, X: Any) -> bool:
        """`has_missing`, asked once for the validation data of a run."""
        if self._asked[0] is not X:
            self._asked = X, has_missing(X)
        return self._asked[1]

    def compare(self, model: RBM, X: Samples, validation: Samples) -> dict[str, float]:
        """Free-energy gap (validation minus training, in nats) and pseudo-likelihood, at most 1,000 samples each.

        No gap where values are missing: free energies of what is known need all states of the hidden units.
        """
        seen, unseen = (_spread(data) for data in (X, validation))
        metrics = {}
        if not has_missing(seen) and not has_missing(unseen):
            gap = model.free_energy(unseen).mean(dtype=np.float64) - model.free_energy(seen).mean(dtype=np.float64)
            metrics["free_energy_gap"] = float(gap)
        if isinstance(model.visible, Bernoulli):
            metrics["pseudo_likelihood"] = float(pseudo_likelihood(model, unseen, seed=model.seed).mean())
        return metrics

    def state(self) -> dict[str, np.ndarray]:
        return {name: self._arrays.backend.to_numpy(array) for name, array in self._state.items()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self._state = {name: self._arrays.backend.asarray(array) for name, array in state.items()}


def _squared_error(model: RBM, a: Any, b: Any, weight: Any, arrays: Workspace, known: Observed | None = None) -> Any:
    """Squared differences, summed over all units and over the samples with their weights, if there are any.

    With `known` those of the known entries only.
    """
    if known is not None:  # elsewhere there is no difference
        a = arrays.array("known", *b.shape)
        a[...] = b
        known.put(a)
    if weight is None:
        return model.backend.squared_error(a, b)
    squares = model.backend.xp.subtract(a, b, out=arrays.array("squares", *a.shape))
    squares *= squares
    squares *= weight
    return squares.sum(dtype=np.float64)


def _known_count(known: Observed, weight: Any) -> Any:
    """Known entries, each with the weight of its sample, as a scalar on the device; at least 1."""
    xp = known.xp
    counts = known.mask.sum(axis=0, dtype=np.float64)
    return xp.maximum((counts if weight is None else counts * weight).sum(), 1.0)


def _spread(X: Samples) -> Samples:
    """At most `COMPARED` rows, evenly spaced: data may be sorted by class."""
    return take(X, np.linspace(0, len(X) - 1, min(len(X), COMPARED)).astype(int))


def _same(first: Pattern, second: Pattern) -> bool:
    """Whether both have the same connections; an event may leave things as they were."""
    if first is second:
        return True
    return np.array_equal(first.indptr, second.indptr) and np.array_equal(first.pre, second.pre)


def _count(name: str, given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 1:
        raise ValueError(f"{name}={given!r} is not possible; use an integer of at least 1")
    return int(given)
