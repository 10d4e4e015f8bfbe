"""What a run will take, known before anything is made: connections, memory, floating-point operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sparserbm.backends import Backend
from sparserbm.data.batches import block_size
from sparserbm.network.wiring import Wiring
from sparserbm.training.algorithm import Algorithm
from sparserbm.training.errors import OutOfMemoryError
from sparserbm.training.optimizers import Optimizer

INDEX = 4  # bytes of one index
PATTERN = INDEX
TRANSPOSED = 2 * INDEX  # post unit and place of the weight, in the order by pre unit
BORN = 2, 4  # bytes of the step of birth: below 65,536 steps, and beyond
INDPTR = 8


@dataclass(frozen=True)
class Estimate:
    """Prediction for one run.

    Attributes
    ----------
    connections : tuple of int
        Of every matrix.
    connection_bytes : int
        Pattern, transposed index, weight, optimizer and step of birth of all connections.
    unit_bytes : int
        Biases and row pointers of all units.
    activity_bytes : int
        Activities of a mini-batch and of a block of validation data.
    data_bytes : int
        The data, as far as they are held: all of an array, the entries of a sparse matrix, nothing of a file.
    flops : int
        Floating-point operations of one mini-batch, two for each multiply-add.
    """

    connections: tuple[int, ...]
    connection_bytes: int
    unit_bytes: int
    activity_bytes: int
    data_bytes: int
    flops: int

    @property
    def bytes(self) -> int:
        """All memory of the run, beyond Python and its packages."""
        return self.connection_bytes + self.unit_bytes + self.activity_bytes + self.data_bytes

    def __str__(self) -> str:
        total = sum(self.connections)
        each = self.connection_bytes / max(total, 1)
        matrices = " + ".join(f"{count:,}" for count in self.connections)
        parts = f" = {matrices}" if len(self.connections) > 1 else ""
        return "\n".join(
            [
                f"connections     {total:,}{parts}",
                f"memory          {_size(self.bytes)}",
                f"  connections   {_size(self.connection_bytes)}, {each:.0f} bytes each",
                f"  units         {_size(self.unit_bytes)}",
                f"  activities    {_size(self.activity_bytes)}",
                f"  data          {_size(self.data_bytes)}",
                f"a mini-batch    {self.flops / 1e6:,.1f} MFLOP",
            ]
        )


def estimate(
    sizes: Sequence[int],
    wirings: Sequence[Wiring | int],
    algorithm: Algorithm,
    optimizer: Optimizer,
    *,
    batch_size: int,
    n_samples: int,
    epochs: int,
    n_validation: int = 0,
    data_bytes: int = 0,
    itemsize: int = 4,
) -> Estimate:
    """Predict connections, memory and work of a run without making any of it.

    Parameters
    ----------
    sizes : sequence of int
        Units of all layers, the input included.
    wirings : sequence of Wiring or int
        For every matrix of connections its wiring, or how many there are.
    algorithm, optimizer
        As in `train`.
    batch_size, n_samples, epochs : int
        As in `train`; together they say how many steps there are.
    n_validation : int
        Samples that are measured at the end of every epoch.
    data_bytes : int
        Of the training and validation data that are held.
    itemsize : {4, 8}
        Bytes of a number: float32 or float64.
    """
    pairs = list(zip(sizes, sizes[1:]))
    counts = tuple(given if isinstance(given, int) else given.count(*pair) for given, pair in zip(wirings, pairs))
    batch_size = min(batch_size, n_samples)
    steps = epochs * -(-n_samples // batch_size)
    born = BORN[steps > 2**16]
    per_connection = PATTERN + TRANSPOSED + born + itemsize * (1 + optimizer.n_slots)
    validated = min(block_size(max(sizes)), n_validation)
    pointers = sum(n_pre + n_post for n_pre, n_post in pairs)
    return Estimate(
        connections=counts,
        connection_bytes=per_connection * sum(counts),
        unit_bytes=INDPTR * pointers + itemsize * (1 + optimizer.n_slots) * sum(sizes),
        activity_bytes=itemsize * (algorithm.activities(sizes) * batch_size + 2 * sum(sizes) * validated),
        data_bytes=data_bytes,
        flops=2 * algorithm.multiply_adds(counts) * batch_size,
    )


@contextmanager
def memory_explained(need: Callable[[], Estimate], backend: Backend | None, folder: Path | None) -> Iterator[None]:
    """Turn an allocation that fails into an error that says what is needed, what there is, and what to change.

    Parameters
    ----------
    need : callable
        Gives the estimate; asked only if it is needed.
    backend : Backend or None
        None while there is none yet.
    folder : Path or None
        Of the run.

    Raises
    ------
    OutOfMemoryError
    """
    try:
        yield
    except OutOfMemoryError:
        raise
    except MemoryError as error:
        predicted = need()
        parts = (
            f"{_size(predicted.connection_bytes)} for connections, {_size(predicted.activity_bytes)} for activities, "
            f"{_size(predicted.data_bytes)} for data"
        )
        there = None if backend is None else backend.free_memory()
        free = "" if there is None else f" and {_size(there)} are free"
        saved = folder is not None and (folder / "checkpoint.npz").is_file()
        kept = f"; {folder} keeps its last checkpoint: resume it once there is room" if saved else ""
        raise OutOfMemoryError(
            f"out of memory ({' '.join(str(error).split()) or 'no reason given'}): this run needs about "
            f"{_size(predicted.bytes)} ({parts}){free}; use fewer connections or units, a smaller batch_size, less "
            f"data or another device{kept}"
        ) from error


def _size(n_bytes: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:,.4g} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:,.4g} GiB"
