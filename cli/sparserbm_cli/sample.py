"""``sparserbm sample RUN``."""

from __future__ import annotations

from typing import Any

import click

from sparserbm_cli.files import model_of, model_options, output_path, read_table, write_table


@click.command()
@click.argument("run", type=click.Path())
@click.option("-n", "--samples", "n", type=click.IntRange(1), default=100, show_default=True, help="How many.")
@click.option("--sweeps", type=click.IntRange(1), default=1000, show_default=True, help="Gibbs sweeps before them.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the chains.")
@click.option("--temperatures", type=click.IntRange(2), help="Replicas of parallel tempering; none by default.")
@click.option("--clamp", type=click.Path(), help="File of values to hold; empty or nan: free.")
@click.option("-o", "--out", required=True, type=click.Path(), help="File to write: .npz, .npy, .csv or .png.")
@model_options
def sample(
    run: str,
    n: int,
    sweeps: int,
    seed: int,
    temperatures: int | None,
    clamp: str | None,
    out: str,
    overwrite: bool,
    best: bool,
    backend: str,
    threads: int | None,
    quiet: bool,
) -> None:
    """Draw visible states from the RBM in the folder RUN, by Gibbs sampling from random states.

    --clamp names a table (.npy, .npz or .csv) with a value for every visible unit that is to be held and nan (in a .csv
    file nothing will do) for those that are drawn: one row for all samples, or a row for each, and then -n is their
    number. A .png file is a sheet of pictures, where the run knows the shape of its images: means of the pixels after
    the last sweep.

    \b
    sparserbm sample runs/rbm -n 100 --sweeps 1000 --seed 0 -o samples.npz
    sparserbm sample runs/rbm -n 64 -o samples.png
    sparserbm sample runs/rbm --clamp upper_halves.npy -o completed.npy
    """
    import numpy as np

    path = output_path(out, (".npz", ".npy", ".csv", ".png"), overwrite)
    model, config = model_of(run, best, backend, threads)
    from sparserbm.models.rbm import RBM

    if not isinstance(model, RBM):
        raise click.ClickException(
            f"{run} holds an MLP, which has no distribution to draw from; give the run of an RBM"
        )
    rows: Any = None
    if clamp is not None:
        rows = np.atleast_2d(read_table(clamp))
        given = click.get_current_context().get_parameter_source("n")
        if len(rows) > 1 and len(rows) != n:
            if given is not None and given.name != "DEFAULT":
                raise click.ClickException(f"{clamp} has {len(rows)} rows, and -n asks for {n} samples; leave -n out")
            n = len(rows)
        rows = rows[0] if len(rows) == 1 else rows
    shape = config["data"]["image_shape"]
    if path.suffix.lower() == ".png" and shape is None:
        raise click.ClickException(
            f"run {run} does not know the shape of its images; write samples as .npz, .npy or .csv"
        )
    drawn = model.sample(n, sweeps=sweeps, seed=seed, clamp=rows, temperatures=temperatures)
    if path.suffix.lower() == ".png":
        from sparserbm.plotting import contact_sheet

        means = model.reconstruct(drawn)
        if rows is not None:
            means = np.where(np.isnan(rows), means, drawn)
        contact_sheet(means[:, : shape[0] * shape[1]], shape, path)
    else:
        write_table(path, drawn)
    if not quiet:
        click.echo(f"{len(drawn)} samples written to {path}")
