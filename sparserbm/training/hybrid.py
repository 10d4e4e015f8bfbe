"""Training an RBM over features and class for the class: the discriminative and the hybrid objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparserbm.backends import SignedPair, Workspace
from sparserbm.data.batches import Batch, blocks
from sparserbm.data.sources import Samples
from sparserbm.models.base import Model
from sparserbm.models.rbm import RBM
from sparserbm.network.coactivity import Coactivity
from sparserbm.network.units import Mixed, Potts
from sparserbm.registry import register, resolve, to_text
from sparserbm.rng import Draws
from sparserbm.schedules import Schedule
from sparserbm.training.algorithm import Algorithm, Signals, Trainer
from sparserbm.training.cd import CD

SMALLEST = 1e-30  # smaller probabilities of the true class count as this one in the loss


@register("algorithm", "hybrid")
@dataclass(frozen=True)
class Hybrid(Algorithm):
    """Minimise ``-log p(y | x) - generative * log p(x, y)`` (Larochelle and Bengio 2008; Larochelle et al. 2012).

    For an RBM whose last visible units are one group of Potts units, the classes; data have them as one-hot columns.
    The gradient of the first term is exact: hidden units are summed by formula for every class, and nothing is drawn.
    The second one is followed by contrastive divergence.

    Parameters
    ----------
    generative : float
        At least 0; 0 is the discriminative objective alone, under which the model knows nothing of the features by
        themselves and its samples mean nothing.
    cd : CD or text
        Of the generative term; not centred.

    Notes
    -----
    ``loss`` is the mean of ``-log p(y | x)``, and there is ``accuracy``. A step takes, beside contrastive divergence,
    two products with the connections and as many passes over the hidden units as there are classes.
    """

    generative: float = 0.1
    cd: Any = "cd"

    def __post_init__(self) -> None:
        share = self.generative
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share < np.inf:
            raise ValueError(f"generative={share!r} is not possible; use a number of at least 0")
        rule = resolve("algorithm", self.cd)
        if not isinstance(rule, CD):
            raise ValueError(f'cd={self.cd!r} is not possible; give CD(k=5) or "cd(k=5)"')
        if rule.centred:
            raise ValueError(
                "the centred gradient is not worked out for Hybrid; use centred=False, or CD(centred=True) by itself"
            )
        if isinstance(rule.k, Schedule):
            raise ValueError(f"cd={self.cd!r} is not possible: within Hybrid, k is a number of sweeps, and no schedule")
        object.__setattr__(self, "cd", rule)

    def check(self, model: Model, y: np.ndarray | None) -> np.ndarray | None:
        self.cd.check(model, y)
        assert isinstance(model, RBM)
        classes_of(model)
        if model.gate is not None or model.visible.own:
            raise ValueError("Hybrid is not worked out for gates and learned variances; use CD(), or leave them out")
        return None

    def multiply_adds(self, counts: Sequence[int]) -> int:
        return 3 * sum(counts) + (self.cd.multiply_adds(counts) if self.generative else 0)

    def activities(self, sizes: Sequence[int]) -> int:
        return 2 * sizes[0] + 3 * sizes[1] + (self.cd.activities(sizes) if self.generative else 0)

    def start(self, model: RBM, X: Samples, batch_size: int, weight: np.ndarray | None = None) -> HybridTrainer:
        return HybridTrainer(self, model, self.cd.start(model, X, batch_size, weight))


def classes_of(model: RBM) -> int:
    """Classes of an RBM over features and class.

    Raises
    ------
    ValueError
        If it is none.
    """
    parts = model.visible.parts if isinstance(model.visible, Mixed) else (model.visible,)
    if len(parts) < 2 or not isinstance(parts[-1], Potts) or parts[-1].groups != 1:
        raise ValueError(
            f"the last visible units must be one group of Potts units, the classes, as in Mixed((Bernoulli(784), "
            f"Potts(10))), and this model has {to_text(model.visible)}"
        )
    return parts[-1].n


class ClassProbabilities:
    """``p(y | x)`` of an RBM over features and class, exactly; in arrays that are used again and again.

    ``log p(y | x) = d_y + sum_j log_partition_j(c_j + sum_i w_ij x_i + u_jy)`` up to a number for each sample. What
    features bring to the hidden units is computed once for all classes.
    """

    def __init__(self, model: RBM):
        self.n_classes, self._arrays = classes_of(model), Workspace(model.backend)
        self.n_features = model.visible.n - self.n_classes
        self._one_of_each = model.backend.zeros((model.visible.n, self.n_classes))
        self._one_of_each[self.n_features :] = model.backend.asarray(np.eye(self.n_classes))

    @property
    def one_of_each(self) -> Any:
        """Visible states with one class each and no features: (n_visible, n_classes)."""
        return self._one_of_each

    def features(self, model: RBM, x: Any) -> Any:
        """What connections see of the features of `x`, (n_visible, n_samples); 0 at the classes."""
        seen = self._arrays.array("features", *x.shape)
        seen[...] = model.seen(0, x)
        seen[self.n_features :] = 0
        return seen

    def of(self, model: RBM, seen: Any) -> Any:
        """(n_classes, n_samples), from what connections see of the features."""
        backend, array = model.backend, self._arrays.array
        n = seen.shape[1]
        z, brought = array("z", model.hidden.n, n), array("brought", model.hidden.n, self.n_classes)
        backend.spmm(model.matrix, model.matrix.weight, seen, z, model.hidden_bias)
        backend.spmm(model.matrix, model.matrix.weight, self._one_of_each, brought)
        found, total = array("classes", self.n_classes, n), array("total", model.hidden.n, n)
        for number in range(self.n_classes):
            backend.xp.add(z, brought[:, number : number + 1], out=total)
            log_z = model.hidden.log_partition(backend, model.biases[1], total, array("log z", *total.shape))
            found[number] = log_z.sum(axis=0)
        found += model.visible_bias[self.n_features :, None]
        return backend.softmax(found)

    def believed(self, model: RBM, number: int, n: int) -> Any:
        """What connections see of the hidden units given the features of the last `of` and one class: (n_hidden, n)."""
        z, total = (self._arrays.array(name, model.hidden.n, n) for name in ("z", "total"))
        brought = self._arrays.array("brought", model.hidden.n, self.n_classes)
        model.backend.xp.add(z, brought[:, number : number + 1], out=total)
        model.hidden.conditional(model.backend, model.biases[1], total)
        return model.seen(1, total)


class HybridTrainer(Trainer):
    """`Hybrid` at work on one model."""

    def __init__(self, settings: Hybrid, model: RBM, generative: Any):
        self.settings, self.generative = settings, generative
        self._arrays, self._classes = Workspace(model.backend), ClassProbabilities(model)
        self._blocks = ClassProbabilities(model)  # evaluation has other batch sizes

    def signals(self, model: RBM, batch: Batch, draws: Draws) -> Signals:
        backend, n = model.backend, batch.x.shape[1]
        found, share = None, self.settings.generative
        if share:
            found = self.generative.signals(model, batch, draws)
        features, excess, sums = self._excess(model, batch)
        n_classes, array = self._classes.n_classes, self._arrays.array
        differing, by_class = array("differing", model.hidden.n, n), array("by class", model.hidden.n, n_classes)
        differing.fill(0)
        # d(-log p(y | x)): every class pulls with its probability, less the true one with 1.
        for number in range(n_classes):
            part = self._classes.believed(model, number, n)
            part *= excess[number]
            differing += part
            # A pair is a mean over its own columns, here one a class.
            by_class[:, number] = backend.row_sums([(n_classes / n, part)], array("column", 1, model.hidden.n)[0])
        pairs = [SignedPair(1.0, features, differing), SignedPair(1.0, self._classes.one_of_each, by_class)]
        visible = array("visible", *batch.x.shape)
        visible.fill(0)
        visible[self._classes.n_features :] = excess
        biases: list[list[tuple[float, Any]]] = [[(1.0, visible)], [(1.0, differing)]]
        seen, others = (batch.x, differing), []
        if found is not None:
            pairs += [SignedPair(share * sign, pre, post) for sign, pre, post in found.coactivity[0].pairs]
            for terms, more in zip(biases, found.biases):
                terms += [(share * sign, activity) for sign, activity in more]
            seen = found.coactivity[0].seen or seen
            others = [(number, name, share * gradient) for number, name, gradient in found.others]
        return Signals([Coactivity(tuple(pairs), seen)], biases, n, sums, others)

    def _excess(self, model: RBM, batch: Batch) -> tuple[Any, Any, dict[str, Any]]:
        """Features as connections see them, probability minus truth of every class, and the loss."""
        features = self._classes.features(model, batch.x)
        chances = self._classes.of(model, features)
        truth = batch.x[self._classes.n_features :]
        excess = self._arrays.array("excess", *chances.shape)
        sums = _sums(model, chances, truth, batch.weight, excess)
        if batch.weight is not None:
            excess *= batch.weight
        return features, excess, sums

    def evaluate(self, model: RBM, X: Any, y: np.ndarray | None, weight: np.ndarray | None = None) -> dict[str, float]:
        """Mean of ``-log p(y | x)``, and the share of the samples whose class is the most probable one."""
        totals = {"loss": 0.0, "accuracy": 0.0}
        for part, x in blocks(model.backend, X, model.widest):
            chances = self._blocks.of(model, self._blocks.features(model, x))
            weights = None if weight is None else model.backend.asarray(weight[part], np.float64)
            truth = x[self._blocks.n_features :]
            for name, value in _sums(model, chances, truth, weights, model.backend.empty(chances.shape)).items():
                totals[name] += float(value)
        return {name: total / len(X) for name, total in totals.items()}

    def state(self) -> dict[str, np.ndarray]:
        return self.generative.state()

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self.generative.restore(state)


def _sums(model: RBM, chances: Any, truth: Any, weight: Any, excess: Any) -> dict[str, Any]:
    """Loss and hits, summed over the samples; `excess` gets probability minus truth."""
    backend, xp = model.backend, model.backend.xp
    y = truth.argmax(axis=0)
    loss, hits = backend.class_error(chances, y, excess, SMALLEST)
    if weight is not None:  # every sample by itself
        own = xp.maximum((chances * truth).sum(axis=0, dtype=np.float64), SMALLEST)
        loss = -(xp.log(own) * weight).sum()
        hits = ((chances.argmax(axis=0) == y) * weight).sum()
    return {"loss": loss, "accuracy": hits}
