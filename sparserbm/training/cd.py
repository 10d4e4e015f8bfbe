"""Contrastive divergence for RBMs: CD-k and persistent CD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparserbm.backends import SignedPair, Workspace
from sparserbm.data.batches import Batch, blocks
from sparserbm.models.base import Model
from sparserbm.models.likelihood import pseudo_likelihood
from sparserbm.models.rbm import RBM
from sparserbm.network.coactivity import Coactivity
from sparserbm.network.units import Bernoulli
from sparserbm.registry import register
from sparserbm.rng import Draws
from sparserbm.training.algorithm import Algorithm, Signals, Trainer

STATISTICS = ("mean", "sample")
COMPARED = 1000  # samples on each side of the free-energy gap; more would cost as much as an epoch of training


@register("algorithm", "cd")
@dataclass(frozen=True)
class CD(Algorithm):
    """Contrastive divergence with k Gibbs sweeps (Hinton 2002; persistent: Tieleman 2008).

    Parameters
    ----------
    k : int
        Sweeps from the data (or from the chains) to the negative phase.
    persistent : bool
        Chains go on from batch to batch instead of starting at the data.
    positive : {"mean", "sample"}
        Hidden statistics of the positive phase; the mean has less noise.
    negative : {"mean", "sample"}
        The same for the negative phase. With the mean, the visible side of the last sweep is a mean too (Hinton 2012,
        section 3.2), except for persistent chains, which must be samples: less noise, but not the exact gradient
        even for large k; ``"sample"`` approaches that.
    chain : {"sample", "mean"}
        Visible states between sweeps. ``"mean"`` is mean-field, as in the SET-RBM code:
        ``CD(positive="sample", negative="sample", chain="mean")`` is its algorithm.
    visible_bias : {"data", "zero"}
        Where the visible biases of an untrained model start: so that the model's means are those of the data (Hinton
        2012, section 8.1), or at 0 as in the SET code.
    """

    k: int = 1
    persistent: bool = False
    positive: str = "mean"
    negative: str = "mean"
    chain: str = "sample"
    visible_bias: str = "data"

    def __post_init__(self) -> None:
        if isinstance(self.k, bool) or not isinstance(self.k, (int, np.integer)) or self.k < 1:
            raise ValueError(f"k={self.k!r} is not possible; use an integer of at least 1")
        object.__setattr__(self, "k", int(self.k))
        for name, known in (("positive", STATISTICS), ("negative", STATISTICS), ("chain", STATISTICS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}={getattr(self, name)!r} is not possible; use one of {', '.join(known)}")
        if self.visible_bias not in ("data", "zero"):
            raise ValueError(f"visible_bias={self.visible_bias!r} is not possible; use data or zero")
        if self.persistent and self.chain == "mean":
            raise ValueError('persistent chains must be samples; use chain="sample" or persistent=False')

    def check(self, model: Model, y: np.ndarray | None) -> np.ndarray | None:
        if not isinstance(model, RBM):
            raise TypeError(f"CD trains an RBM, not a {type(model).__name__}; for an MLP use Backprop()")
        return None  # labels are not used

    def multiply_adds(self, counts: Sequence[int]) -> int:
        # Positive phase, two products a sweep, one gradient for each phase; persistent chains reconstruct apart.
        return (1 + 2 * self.k + 2 + self.persistent) * sum(counts)

    def activities(self, sizes: Sequence[int]) -> int:
        n_visible, n_hidden = sizes  # means and samples of both phases
        return (3 + self.persistent) * n_visible + (4 + self.persistent) * n_hidden

    def start(self, model: RBM, X: np.ndarray, batch_size: int) -> ContrastiveDivergence:
        if model.step == 0 and self.visible_bias == "data":
            model.biases[0]["bias"] = model.visible.bias_for(X.mean(axis=0, dtype=np.float64))
        return ContrastiveDivergence(self, model)


class ContrastiveDivergence(Trainer):
    """`CD` at work on one model."""

    def __init__(self, settings: CD, model: RBM):
        self.settings = settings
        self._arrays = Workspace(model.backend)
        self._blocks = Workspace(model.backend)  # evaluation has other batch sizes
        self._chains: Any = None  # hidden states of the persistent chains

    def signals(self, model: RBM, batch: Batch, draws: Draws) -> Signals:
        settings, n = self.settings, batch.x.shape[1]
        h0_mean, h0 = self._pair("h0", model.hidden.n, n)
        model.hidden_given(batch.x, h0_mean, draws, h0, self._total(model, "h0", n))
        if settings.persistent and self._chains is None:
            self._chains = h0.copy()
        start = self._chains if settings.persistent else h0
        v, h, error = self._negative_phase(model, batch.x, start, draws)
        positive = h0 if settings.positive == "sample" else h0_mean
        seen0, seen = model.visible.statistic(batch.x), model.visible.statistic(v)
        believed0, believed = model.hidden.statistic(positive), model.hidden.statistic(h)
        pairs = SignedPair(-1.0, seen0, model.gated(believed0)), SignedPair(1.0, seen, model.gated(believed))
        return Signals(
            [Coactivity(pairs, (batch.x, h0_mean))],
            [[(-1.0, seen0), (1.0, seen)], [(-1.0, believed0), (1.0, believed)]],
            n,
            {} if error is None else {"loss": error / model.visible.n},
            self._gate_gradient(model, {"h0": (-1.0, believed0), "h": (1.0, believed)}),
        )

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

    def _negative_phase(self, model: RBM, data: Any, h: Any, draws: Draws) -> tuple[Any, Any, Any]:
        """Visible states and hidden statistics after k sweeps, and the squared error of the first reconstruction."""
        settings, n = self.settings, h.shape[1]
        v_mean, v_sample = self._pair("v", model.visible.n, n)
        h_mean, h_sample = self._pair("h", model.hidden.n, n)
        error = None
        for sweep in range(1, settings.k + 1):
            last = sweep == settings.k
            by_mean = settings.chain == "mean" or (last and settings.negative == "mean" and not settings.persistent)
            model.visible_given(h, v_mean, draws, None if by_mean else v_sample)
            if sweep == 1 and not settings.persistent:
                error = model.backend.squared_error(data, v_mean)
            v = v_mean if by_mean else v_sample
            drawn = not last or settings.negative == "sample" or settings.persistent
            model.hidden_given(v, h_mean, draws, h_sample if drawn else None, self._total(model, "h", n))
            h = h_sample
        if settings.persistent:
            self._chains[...] = h_sample
            error = self._reconstruction_error(model, data)
        return v, h_sample if settings.negative == "sample" else h_mean, error

    def _reconstruction_error(self, model: RBM, data: Any) -> Any:
        n = data.shape[1]
        mean = self._arrays.array("reconstruction", model.visible.n, n)
        model.visible_given(self._arrays.array("h0 sample", model.hidden.n, n), mean)
        return model.backend.squared_error(data, mean)

    def _total(self, model: RBM, name: str, n_samples: int) -> Any:
        """Where `RBM.hidden_given` leaves what the gates are trained with."""
        return None if model.gate is None else self._arrays.array(name + " total", model.hidden.n, n_samples)

    def _pair(self, name: str, n_units: int, n_samples: int) -> tuple[Any, Any]:
        array = self._arrays.array
        return array(name + " mean", n_units, n_samples), array(name + " sample", n_units, n_samples)

    def evaluate(self, model: RBM, X: Any, y: np.ndarray | None) -> dict[str, float]:
        """Mean squared error of one reconstruction, from drawn hidden states as during training."""
        total = 0.0
        for number, (_, v) in enumerate(blocks(model.backend, X, model.widest)):
            draws = model.streams.draws(f"evaluation {number}", model.step)
            h_mean, h = (self._blocks.array(name, model.hidden.n, v.shape[1]) for name in ("mean", "sample"))
            model.hidden_given(v, h_mean, draws, h)
            v_mean = model.visible_given(h, self._blocks.array("visible", *v.shape))
            total += float(model.backend.squared_error(v, v_mean))
        return {"loss": total / X.size}

    def compare(self, model: RBM, X: np.ndarray, validation: np.ndarray) -> dict[str, float]:
        """Free-energy gap (validation minus training, in nats) and pseudo-likelihood, at most 1,000 samples each."""
        seen, unseen = (_spread(data) for data in (X, validation))
        gap = model.free_energy(unseen).mean(dtype=np.float64) - model.free_energy(seen).mean(dtype=np.float64)
        metrics = {"free_energy_gap": float(gap)}
        if isinstance(model.visible, Bernoulli):
            metrics["pseudo_likelihood"] = float(pseudo_likelihood(model, unseen, seed=model.seed).mean())
        return metrics

    def state(self) -> dict[str, np.ndarray]:
        return {} if self._chains is None else {"chains": self._arrays.backend.to_numpy(self._chains)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        if "chains" in state:
            self._chains = self._arrays.backend.asarray(state["chains"])


def _spread(X: np.ndarray) -> np.ndarray:
    """At most `COMPARED` rows, evenly spaced: data may be sorted by class."""
    return X[np.linspace(0, len(X) - 1, min(len(X), COMPARED)).astype(int)]
