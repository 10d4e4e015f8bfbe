"""What may watch a run: early stopping, progress, and functions of the user's own."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

from sparserbm.registry import register

# A callback gets the model and the metrics of the epoch; a true result ends training after this epoch.
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
    """

    patience: int = 10
    metric: str = "validation_loss"
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise ValueError(f"patience={self.patience} is not possible; use at least 1 epoch")

    def is_due(self, metrics: list[dict[str, Any]]) -> bool:
        """Whether training should end, judged from the metrics of all epochs so far."""
        return best_epoch(metrics, self.metric, self.min_delta) <= metrics[-1]["epoch"] - self.patience


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
