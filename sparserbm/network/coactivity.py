"""Coactivity: the one thing a trainer hands over.

The gradient of both trainers is a signed sum of outer products of activities, ``g_ij = sum_s sign_s * mean_b
pre_s[i, b] * post_s[j, b]``: contrastive divergence gives (-, v0, h0) and (+, vk, hk), backpropagation (+, a,
delta). The sign is that of the loss that training makes smaller. The loop samples the sum at existing connections;
a grow rule may sample the same object at places where there is none yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparserbm.backends import Backend, Indexed, Rows, SignedPair
from sparserbm.network.connections import Pattern


@dataclass(frozen=True)
class Coactivity:
    """Signed pairs of activities of one matrix of connections, over one batch."""

    pairs: tuple[SignedPair, ...]

    def at_connections(self, backend: Backend, connections: Indexed, out: Any) -> Any:
        """The gradient at every existing connection; (n_connections,), written into `out`."""
        # Each phase is divided by its own length: persistent chains may be more than a small last batch has samples.
        means = [SignedPair(pair.sign / pair.pre.shape[1], pair.pre, pair.post) for pair in self.pairs]
        return backend.sddmm(connections, means, out)

    def at_places(self, backend: Backend, keys: np.ndarray) -> Any:
        """The gradient at places given by `keys` (increasing, any places of the layer); (n_keys,)."""
        pattern = Pattern.from_keys(self.pairs[0].pre.shape[0], self.pairs[0].post.shape[0], keys)
        return self.at_connections(backend, _Candidates(backend, pattern), backend.zeros(len(keys)))


class _Candidates:
    """A bare pattern, seen from the post side only."""

    def __init__(self, backend: Backend, pattern: Pattern):
        self._pattern, self._backend = pattern, backend

    @property
    def by_post(self) -> Any:
        return Rows(self._backend.asarray(self._pattern.indptr), self._backend.asarray(self._pattern.pre), None)

    @property
    def by_pre(self) -> Any:
        raise NotImplementedError("candidates are sampled, never multiplied")
