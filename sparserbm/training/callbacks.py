"""What may watch a run: early stopping, progress, and functions of the user's own."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

from sparserbm.registry import register

# A callback gets the model and the metrics of the epoch; a true result ends training after this epoch. Two methods are
# called where it has them: `begin_epoch(model)` before every epoch, `close()` when training ends, be it in an error.
Callback = Callable[[Any, dict[str, Any]], Any]

HIGHER_IS_BETTER = ("accuracy", "pseudo_likelihood")


@register("early_stopping", "early_stopping")
@dataclass(frozen=True)
class EarlyStopping:
    """End training when a metric has not become better for `patience` epochs; the best model is returned.

    Parameters
    ----------
    patience : int
        Epochs without a new best value.
    metric : str
        A key of the metrics; ``..._accuracy`` and ``pseudo_likelihood`` are better when higher, all others when lower.
    min_delta : float
        By how much a value must be better to count.
    limit : float, optional
        Judge by this value instead: training ends when the metric has been beyond it for `patience` epochs, and the
        model becomes that of the last epoch within it (of the first epoch, where none was). The free-energy gap needs
        a limit, in nats: it is smallest before an RBM has learnt anything, so that the epoch with the smallest gap is
        none to keep.

    Examples
    --------
    >>> EarlyStopping(5, "free_energy_gap", limit=2.0)
    EarlyStopping(patience=5, metric='free_energy_gap', min_delta=0.0, limit=2.0)
    """

    patience: int = 10
    metric: str = "validation_loss"
    min_delta: float = 0.0
    limit: float | None = None

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(f"patience={self.patience} is not possible; use at least 1 epoch")
        if self.metric == "free_energy_gap" and self.limit is None:
            raise ValueError(
                "the free-energy gap is smallest before an RBM has learnt anything: give a limit in nats, e.g. "
                "EarlyStopping(5, 'free_energy_gap', limit=2.0)"
            )

    def is_due(self, metrics: list[dict[str, Any]]) -> bool:
        """Whether training should end, judged from the metrics of all epochs so far."""
        if self.limit is None:
            best = best_epoch(metrics, self.metric, self.min_delta)
        else:
            best = last_epoch_within(metrics, self.metric, self.limit)
        return best <= metrics[-1]["epoch"] - self.patience

    def epoch_to_keep(self, metrics: list[dict[str, Any]]) -> int:
        """The epoch, of all so far, whose model would be returned."""
        if self.limit is None:
            return best_epoch(metrics, self.metric)
        found = last_epoch_within(metrics, self.metric, self.limit)
        return max(found, metrics[0]["epoch"] + 1)


def best_epoch(metrics: list[dict[str, Any]], metric: str, min_delta: float = 0.0) -> int:
    """Epoch with the best value of `metric`; a later one must be better by more than `min_delta`.

    The first line is from before training and does not count (its epoch is not 0 where a trained model goes on).

    Raises
    ------
    ValueError
        If no epoch has this metric.
    """
    sign = -1.0 if metric.endswith(HIGHER_IS_BETTER) else 1.0
    best, found = 0, float("inf")
    trained = [line for line in metrics if line["epoch"] > metrics[0]["epoch"]]
    for line in trained:
        if metric in line and sign * line[metric] < found - min_delta:
            best, found = line["epoch"], sign * line[metric]
    if best == 0:
        known = sorted({key for line in trained for key in line})
        raise ValueError(f"no epoch has the metric {metric!r}; this run has: {', '.join(known)}")
    return best


def last_epoch_within(metrics: list[dict[str, Any]], metric: str, limit: float) -> int:
    """The last epoch whose `metric` is as good as `limit` or better; that of the first line where there is none."""
    sign = -1.0 if metric.endswith(HIGHER_IS_BETTER) else 1.0
    within = [line["epoch"] for line in metrics[1:] if metric in line and sign * line[metric] <= sign * limit]
    return within[-1] if within else metrics[0]["epoch"]


SHOWN = (
    ("loss", "loss {:.4f}"),
    ("accuracy", "acc {:.4f}"),
    ("validation_loss", "val {:.4f}"),
    ("validation_accuracy", "val acc {:.4f}"),
    ("learning_index", "index {:+.3f}"),
    ("learning_z", "z {:+.1f}"),
)


class Progress:
    """Says how far training is: a bar on a terminal, plain lines otherwise, both on standard error.

    With the package rich installed (extra ``progress``) the bar also shows the time that is left.

    Parameters
    ----------
    epochs : int
        At which epoch training ends.
    stream : text stream, optional
    every : float
        On anything but a terminal, at most one line in so many seconds (the first and last epoch always show).
    """

    def __init__(self, epochs: int, stream: TextIO | None = None, every: float = 2.0):
        self._epochs, self._every = epochs, every
        self._stream = sys.stderr if stream is None else stream
        self._shown = float("-inf")
        self._open = False  # an unfinished line stands on the terminal
        self._bar = _rich_bar(epochs, self._stream) if self._stream.isatty() else None

    def __call__(self, model: Any, metrics: dict[str, Any]) -> None:
        epoch = metrics["epoch"]
        text = "  ".join(form.format(metrics[key]) for key, form in SHOWN if key in metrics)
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=epoch, text=text)
            return
        text = f"epoch {epoch}/{self._epochs}  {text}"
        if self._stream.isatty():
            filled = round(20 * min(epoch / self._epochs, 1.0))
            line = f"{'█' * filled}{'░' * (20 - filled)} {text}"
            # a line that wraps could not be written over
            self._stream.write("\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1])
            self._open = True
        elif epoch >= self._epochs or epoch == 1 or time.monotonic() - self._shown >= self._every:
            self._stream.write(text + "\n")
            self._shown = time.monotonic()
        self._stream.flush()

    def close(self) -> None:
        """End the bar, also where training ended before its last epoch."""
        if self._bar is not None:
            self._bar.stop()
        elif self._open:
            self._stream.write("\n")
            self._stream.flush()


def _rich_bar(epochs: int, stream: TextIO) -> Any:
    """A started bar of the package rich, or None where it is not installed."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar
    except ImportError:
        return None
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[text]}"))
    bar = Bar(*columns, console=Console(file=stream))
    bar.add_task("epochs", total=epochs, text="")
    bar.start()
    return bar
