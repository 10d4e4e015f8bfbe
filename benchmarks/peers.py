"""What ours is measured against: the same networks written for PyTorch, as fast as we could make them.

Choices that made them faster, measured on two cores with PyTorch 2.13: `index_select` instead of indexing (3 times),
`uniform_` and a comparison instead of `torch.bernoulli` (2 times), the fused SGD (1.7 times), 32-bit indices in CSR,
`torch.sparse.mm(..., "sum")` instead of the product without "sum" (1.2 times at batches of about 100), `sampled_addmm`
with a transposed view as its second factor (2 times faster than with a copy).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

try:
    import torch
except ModuleNotFoundError:
    raise SystemExit("this benchmark compares with PyTorch: pip install torch==2.13.0") from None
from torch import nn
from torch.nn import functional

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")


def csr_tensor(matrix: csr_matrix, values: torch.Tensor | None = None) -> torch.Tensor:
    """A CSR tensor of (n_post, n_pre) with 32-bit indices; it shares the memory of `values`."""
    indptr, index = (torch.from_numpy(array.astype(np.int32)) for array in (matrix.indptr, matrix.indices))
    values = torch.from_numpy(matrix.data.copy()) if values is None else values
    return torch.sparse_csr_tensor(indptr, index, values, size=matrix.shape, check_invariants=True)


# -- MLPs ----------------------------------------------------------------------------------------------------------


class _SparseProduct(torch.autograd.Function):
    """``W @ x`` for a CSR matrix and unit-major activities; gradients at its connections only."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, x: torch.Tensor, layer: SparseLinear) -> torch.Tensor:
        ctx.layer = layer
        ctx.save_for_backward(x)
        return torch.sparse.mm(layer.matrix, x, "sum")

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x,), layer, gradient = ctx.saved_tensors, ctx.layer, gradients[0].contiguous()
        at_connections = torch.sparse.sampled_addmm(layer.matrix, gradient, x.t(), beta=0).values()
        back = None
        if ctx.needs_input_grad[1]:
            torch.index_select(layer.weight.detach(), 0, layer.permutation, out=layer.transposed_values)
            back = torch.sparse.mm(layer.transposed, gradient, "sum")
        return at_connections, back, None


class SparseLinear(nn.Module):
    """A truly sparse layer: one weight a connection, CSR for both directions; activities are unit-major."""

    def __init__(self, matrix: csr_matrix):
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(matrix.data.copy()))
        self.bias = nn.Parameter(torch.zeros(matrix.shape[0], 1))
        self.matrix = csr_tensor(matrix, self.weight.detach())
        numbers = csr_matrix((np.arange(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape).tocsc()
        self.permutation = torch.from_numpy(numbers.data.astype(np.int64))
        self.transposed_values = self.weight.detach()[self.permutation]
        transposed = csr_matrix((matrix.data, numbers.indices, numbers.indptr), shape=matrix.shape[::-1])
        self.transposed = csr_tensor(transposed, self.transposed_values)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _SparseProduct.apply(self.weight, x, self).add_(self.bias)


class MaskedLinear(nn.Module):
    """A dense layer whose weights are multiplied by a mask in the forward pass, which masks their gradient too."""

    mask: torch.Tensor

    def __init__(self, matrix: csr_matrix):
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(matrix.toarray()))
        self.bias = nn.Parameter(torch.zeros(matrix.shape[0]))
        places = csr_matrix((np.ones_like(matrix.data), matrix.indices, matrix.indptr), shape=matrix.shape)
        self.register_buffer("mask", torch.from_numpy(places.toarray()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weight * self.mask, self.bias)


class SparseMLP(nn.Module):
    """ReLU layers of `SparseLinear`, a dense output layer; takes and gives (n_samples, n_units)."""

    def __init__(self, matrices: Sequence[csr_matrix]):
        super().__init__()
        self.layers = nn.ModuleList([SparseLinear(matrix) for matrix in matrices[:-1]])
        self.output = dense_layer(matrices[-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.t().contiguous()
        for layer in self.layers:
            x = layer(x).relu_()
        return self.output(x.t())


def dense_layer(matrix: csr_matrix) -> nn.Linear:
    """A linear layer with the given weights; absent ones start at 0 and are trained."""
    layer = nn.Linear(matrix.shape[1], matrix.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(matrix.toarray()))
        layer.bias.zero_()
    return layer


def stacked(matrices: Sequence[csr_matrix], hidden: Callable[[csr_matrix], nn.Module]) -> nn.Sequential:
    """ReLU layers made by `hidden`, a dense output layer."""
    layers: list[nn.Module] = []
    for matrix in matrices[:-1]:
        layers += [hidden(matrix), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, dense_layer(matrices[-1]))


def mlps(matrices: Sequence[csr_matrix]) -> dict[str, nn.Module]:
    """The three ways to a sparse MLP in PyTorch, from the weights of ours, (n_post, n_pre) each."""
    return {
        "PyTorch dense": stacked(matrices, dense_layer),
        "PyTorch CSR": SparseMLP(matrices),
        "PyTorch masked": stacked(matrices, MaskedLinear),
    }


def train_mlp(
    model: nn.Module, X: np.ndarray, y: np.ndarray, batch_size: int, learning_rate: float, momentum: float
) -> Callable[[], float]:
    """A contestant that trains for one epoch at each call: its seconds."""
    samples, labels = torch.from_numpy(X), torch.from_numpy(y.astype(np.int64))
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=momentum, fused=True)

    def measure() -> float:
        begin = time.perf_counter()
        epoch_of_mlp(model, optimizer, samples, labels, batch_size)
        return time.perf_counter() - begin

    return measure


def epoch_of_mlp(
    model: nn.Module, optimizer: torch.optim.Optimizer, X: torch.Tensor, y: torch.Tensor, batch_size: int
) -> float:
    """One epoch with cross-entropy in a fresh order; the mean loss (ours counts the accuracy on top)."""
    total = torch.zeros(())
    for rows in torch.randperm(len(X)).split(batch_size):
        loss = step_of_mlp(model, optimizer, X.index_select(0, rows), y.index_select(0, rows))
        total += loss * len(rows)
    return float(total) / len(X)


def step_of_mlp(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """One step; its loss."""
    loss = functional.cross_entropy(model(x), y)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.detach()


# -- RBM -----------------------------------------------------------------------------------------------------------


class DenseRBM:
    """A dense RBM trained by CD-1, without autograd and with every large array made once.

    As ours by default: hidden samples, means for the reconstruction and all statistics, visible biases from the data.
    """

    def __init__(
        self,
        n_hidden: int,
        X: np.ndarray,
        batch_size: int,
        learning_rate: float,
        momentum: float,
        sigma: float = 0.05,
        device: str = "cpu",
    ):
        self.X, self.batch_size = torch.from_numpy(X).to(device), batch_size
        self.learning_rate, self.momentum = learning_rate, momentum
        n_visible = X.shape[1]
        mean = self.X.mean(dim=0).clamp(1e-3, 1 - 1e-3)
        self.weight = torch.randn(n_visible, n_hidden, device=device) * sigma
        self.visible_bias, self.hidden_bias = torch.logit(mean), torch.zeros(n_hidden, device=device)
        self.velocities = [torch.zeros_like(value) for value in (self.weight, self.visible_bias, self.hidden_bias)]
        self._visible = torch.empty(batch_size, n_visible, device=device)
        self._hidden = [torch.empty(batch_size, n_hidden, device=device) for _ in range(3)]

    def epoch(self, n_batches: int | None = None) -> float:
        """Train for an epoch, or for its first batches; the mean squared reconstruction error of a visible unit."""
        total, n_samples = torch.zeros(()), 0
        for rows in torch.randperm(len(self.X)).split(self.batch_size)[:n_batches]:
            total += self.step(self.X.index_select(0, rows))
            n_samples += len(rows)
        return float(total) / (n_samples * self.X.shape[1])

    def step(self, v0: torch.Tensor) -> torch.Tensor:
        """One step on a batch, which is overwritten; its squared error."""
        n = len(v0)
        v1, (h0, h1, drawn) = self._visible[:n], (array[:n] for array in self._hidden)
        torch.addmm(self.hidden_bias, v0, self.weight, out=h0).sigmoid_()
        torch.lt(drawn.uniform_(), h0, out=drawn)
        torch.addmm(self.visible_bias, drawn, self.weight.t(), out=v1).sigmoid_()
        torch.addmm(self.hidden_bias, v1, self.weight, out=h1).sigmoid_()
        weight, visible, hidden = self.velocities  # of the ascent
        weight.addmm_(v0.t(), h0, beta=self.momentum, alpha=1 / n).addmm_(v1.t(), h1, alpha=-1 / n)
        difference = v0.sub_(v1)
        visible.mul_(self.momentum).add_(difference.mean(dim=0))
        hidden.mul_(self.momentum).add_(h0.sub_(h1).mean(dim=0))
        for value, velocity in zip((self.weight, self.visible_bias, self.hidden_bias), self.velocities):
            value.add_(velocity, alpha=self.learning_rate)
        return difference.square_().sum()


def train_rbm(model: DenseRBM, n_batches: int | None = None) -> Callable[[], float]:
    """A contestant that trains for one epoch at each call; of the first `n_batches`, scaled up, if these are given."""
    per_epoch = -(-len(model.X) // model.batch_size)
    scale = 1.0 if n_batches is None else per_epoch / min(n_batches, per_epoch)

    def measure() -> float:
        begin = time.perf_counter()
        model.epoch(n_batches)
        return scale * (time.perf_counter() - begin)

    return measure


# -- evolution -----------------------------------------------------------------------------------------------------


class MaskedEvolution:
    """A SET event on a dense weight matrix with a mask: signed drop by two thresholds, uniform regrowth.

    Parameters
    ----------
    draw : {"topk", "again"}
        How absent places are drawn: the largest of random numbers at all places, as the codes with masks do it, or
        places at random again until enough are absent ones, which is faster.
    """

    def __init__(self, matrix: csr_matrix, zeta: float, draw: str, sigma: float = 0.05):
        self.weight = torch.from_numpy(matrix.toarray()).reshape(-1)
        self.mask = self.weight != 0
        self.zeta, self.sigma = zeta, sigma
        self.propose = {"topk": self._topk, "again": self._again}[draw]

    def event(self) -> None:
        """Drop the weights nearest zero, grow as many; dropped places may return."""
        places = self.mask.nonzero().squeeze(1)
        values = self.weight[places]
        positive, negative = values[values > 0], values[values < 0]
        above = torch.kthvalue(positive, max(1, int(self.zeta * len(positive)))).values
        below = -torch.kthvalue(-negative, max(1, int(self.zeta * len(negative)))).values
        dropped = places[(values <= above) & (values >= below)]
        self.mask[dropped] = False
        self.weight[dropped] = 0.0
        born = self.propose(len(dropped))
        self.mask[born] = True
        self.weight[born] = torch.randn(len(born)) * self.sigma

    def _topk(self, count: int) -> torch.Tensor:
        chances = torch.rand(len(self.mask)).masked_fill_(self.mask, -1.0)
        return torch.topk(chances, count, sorted=False).indices

    def _again(self, count: int) -> torch.Tensor:
        born = torch.empty(0, dtype=torch.int64)
        while len(born) < count:
            places = torch.randint(len(self.mask), (int(1.1 * (count - len(born))) + 16,))
            born = torch.unique(torch.cat([born, places[~self.mask[places]]]))
        return born[torch.randperm(len(born))[:count]]
