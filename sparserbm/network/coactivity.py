"""Coactivity: the one thing a trainer hands over.

The gradient of both trainers is a signed sum of outer products of activities, ``g_ij = sum_s sign_s * mean_b
pre_s[i, b] * post_s[j, b]``: contrastive divergence gives (-, v0, h0) and (+, vk, hk), backpropagation (+, a,
delta). The sign is that of the loss that training makes smaller. The loop samples the sum at existing connections;
a grow rule may sample the same object at places where there is none yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparserbm.backends import Backend, Rows, SignedPair
from sparserbm.network.connections import Part, Pattern


@dataclass(frozen=True)
class Coactivity:
    """Signed pairs of activities of one matrix of connections, over one batch.

    Attributes
    ----------
    pairs : tuple of SignedPair
    seen : (pre, post) or None
        Activities of both sides while the data were shown, (n_units, n_samples) each: what the units have to do with
        each other, apart from any gradient.
    sampled : (n_connections,), optional
        The gradient at all connections, where the trainer needed it itself.
    """

    pairs: tuple[SignedPair, ...]
    seen: tuple[Any, Any] | None = None
    sampled: Any = None

    def at_connections(self, backend: Backend, part: Part, out: Any) -> Any:
        """The gradient at the existing connections of some rows, written into `out`."""
        if self.sampled is not None:
            out[...] = self.sampled[part.connections]
            return out
        return self._sample(backend, part, out)

    def _sample(self, backend: Backend, part: Part, out: Any) -> Any:
        # Each phase is divided by its own length: persistent chains may be more than a small last batch has samples.
        means = [SignedPair(pair.sign / pair.pre.shape[1], pair.pre, pair.post[part.units]) for pair in self.pairs]
        return backend.sddmm(part, means, out)

    def at_places(self, backend: Backend, keys: np.ndarray) -> Any:
        """The gradient at places given by `keys` (increasing, any places of the layer); (n_keys,)."""
        pattern = Pattern.from_keys(self.pairs[0].pre.shape[0], self.pairs[0].post.shape[0], keys)
        rows = Rows(backend.asarray(pattern.indptr), backend.asarray(pattern.pre), None)
        whole = Part(slice(0, pattern.n_post), slice(0, len(keys)), rows)
        return self._sample(backend, whole, backend.zeros(len(keys)))


# Coactivity of every matrix of connections for the last mini-batches, the newest first, with the weights that the model
# has now; arrays are valid until the next one is asked for.
Evidence = Callable[[int], Iterator[Sequence[Coactivity]]]
