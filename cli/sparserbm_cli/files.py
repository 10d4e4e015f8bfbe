"""Tables of numbers in files, and the models of run folders: what `sample` and `transform` share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


def output_path(name: str, suffixes: tuple[str, ...], overwrite: bool) -> Path:
    """The path of a file to write; asked before any work is done."""
    path = Path(name)
    if path.suffix.lower() not in suffixes:
        raise click.ClickException(f"cannot write {path.name}; use a name that ends in one of {', '.join(suffixes)}")
    if not path.absolute().parent.is_dir():
        raise click.ClickException(f"there is no folder {path.parent} to write {path.name} to")
    if path.is_dir() or (path.exists() and not overwrite):
        raise click.ClickException(f"{path} exists; give another name, or --overwrite")
    return path


def write_table(path: Path, rows: Any, **more: Any) -> None:
    """Write (n_samples, n_columns): .npz as the array ``X`` with `more` arrays beside it, .npy, or .csv."""
    import numpy as np

    from sparserbm.runs import write_atomically

    def content(stream: Any) -> None:
        suffix = path.suffix.lower()
        if suffix == ".npz":
            np.savez_compressed(stream, X=rows, **{name: array for name, array in more.items() if array is not None})
        elif suffix == ".npy":
            np.save(stream, rows)
        else:
            np.savetxt(stream, rows, delimiter=",", fmt="%.9g")

    write_atomically(path, content)


def read_table(name: str) -> Any:
    """A table of numbers, (n, n_columns), that may have NaN: .npy, .npz (its array ``X``, or its only one) or .csv.

    Empty fields of a .csv file are NaN.
    """
    import numpy as np

    path = Path(name)
    try:
        if path.suffix.lower() == ".csv":
            rows = np.genfromtxt(path, delimiter=",", dtype=float)
        else:
            found = np.load(path, allow_pickle=False)
            if isinstance(found, np.ndarray):
                rows = found
            else:
                with found:
                    key = "X" if "X" in found.files or len(found.files) != 1 else found.files[0]
                    rows = found[key]
    except FileNotFoundError:
        raise click.ClickException(f"there is no file {name}") from None
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise click.ClickException(
            f"cannot read {name} ({' '.join(str(error).split())}); give a table of numbers as .npy, .npz or .csv"
        ) from None
    return rows


def model_of(run: str, best: bool, backend: str, threads: int | None) -> tuple[Any, dict[str, Any]]:
    """The model of a run folder, and the folder's config."""
    from sparserbm.backends import get_backend
    from sparserbm.runs import read_config
    from sparserbm.training import load_model

    config = read_config(Path(run))
    if config["model"]["kind"] == "stack":
        raise click.ClickException(f"{run} holds a stack; give one of its layers: {Path(run) / 'layer0'} and so on")
    which = "best" if best else "checkpoint"
    if not (Path(run) / f"{which}.npz").is_file():
        raise click.ClickException(
            f"run {run} has no {which}.npz"
            + (
                ": only training with validation data keeps the best model"
                if best
                else "; it ended before its first epoch"
            )
        )
    return load_model(run, get_backend(backend, config["model"]["dtype"], threads), which), config


def model_options(command: Any) -> Any:
    """Options of every command that loads the model of a run."""
    for option in (
        click.option("--quiet", is_flag=True, help="Say nothing."),
        click.option("--threads", type=int, help="Threads of the CPU kernels."),
        click.option("--backend", default="auto", show_default=True, help="auto, numpy, cupy (a GPU) or reference."),
        click.option("--best", is_flag=True, help="The model with the best validation figures, not the last."),
        click.option("--overwrite", is_flag=True, help="Replace the file if it exists."),
    ):
        command = option(command)
    return command
