"""``sparserbm evaluate RUN``."""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("run", type=click.Path())
@click.option("--data", help="Other data than those of the run: a name or a file, as for sparserbm train.")
@click.option("--data-folder", "folder", help="Where to look first for the data.")
@click.option("--scale", help="unit, standard, binary, stochastic or none.  [default: that of the run]")
@click.option("--binarise", "binarised", type=click.IntRange(0), metavar="SEED", help="Draw states for grey values.")
@click.option("--best", is_flag=True, help="The model with the best validation figures, not the last.")
@click.option("--chains", default=100, show_default=True, help="Chains of annealed importance sampling.")
@click.option("--temperatures", default=14_500, show_default=True, help="Their steps from base model to model.")
@click.option("--reverse/--no-reverse", default=True, show_default=True, help="Also estimate log Z from above.")
@click.option("--sweeps", default=1000, show_default=True, help="Gibbs sweeps before chains start from above.")
@click.option("--seed", default=0, show_default=True, help="Of the chains.")
@click.option("--backend", default="auto", show_default=True, help="auto, numpy, cupy (a GPU) or reference.")
@click.option("--threads", type=int, help="Threads of the CPU kernels.")
@click.option("--json", "file", type=click.Path(), help="Also write everything to this file.")
@click.option("--quiet", is_flag=True, help="No progress.")
def evaluate(run: str, file: str | None, quiet: bool, **settings: Any) -> None:
    """What is the model in the folder RUN worth, on the test set of its own data or on other data?

    An RBM: log Z (exact where one side has at most 20 Bernoulli units, else between two estimates by annealed
    importance sampling), log-likelihood, pseudo-likelihood, free-energy gap and reconstruction error. An MLP: loss and
    accuracy. Likelihoods of MNIST that are published are those of binarised pixels: --binarise 0.

    \b
    sparserbm evaluate runs/rbm --binarise 0 --json figures.json
    sparserbm evaluate runs/rbm --temperatures 1000 --no-reverse
    """
    from sparserbm.evaluation import evaluate as run_evaluation

    if file is not None and not Path(file).absolute().parent.is_dir():
        raise click.ClickException(f"there is no folder {Path(file).parent} to write {file} to")
    with Bar(quiet) as bar, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        found = run_evaluation(run, progress=bar, **settings)
    said = list(dict.fromkeys(str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)))
    for text in said:
        click.echo(f"Warning: {text}", err=True)
    click.echo(str(found))
    if file is not None:
        Path(file).write_text(json.dumps(found.as_dict() | {"warnings": said}, indent=2) + "\n", encoding="utf-8")
        click.echo(f"written to {file}")


class Bar:
    """How far the chains are, on standard error: a bar on a terminal, else a line now and then."""

    def __init__(self, quiet: bool, every: float = 5.0):
        self._quiet, self._every = quiet, every
        self._bar: Any = None
        self._done, self._said = 0, time.monotonic()

    def __enter__(self) -> Bar:
        return self

    def __call__(self, done: int, total: int) -> None:
        if self._quiet:
            return
        if not sys.stderr.isatty():
            if time.monotonic() - self._said >= self._every:
                click.echo(f"log Z: {done / total:.0%}", err=True)
                self._said = time.monotonic()
            return
        if self._bar is None:
            self._bar = click.progressbar(length=total, label="log Z", file=sys.stderr)
            self._bar.__enter__()
        self._bar.update(done - self._done)
        self._done = done

    def __exit__(self, *error: Any) -> None:
        if self._bar is not None:
            self._bar.__exit__(*error)
