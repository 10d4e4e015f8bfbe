"""``sparserbm transform RUN``."""

from __future__ import annotations

import click

from sparserbm_cli.files import model_of, model_options, output_path, write_table


@click.command()
@click.argument("run", type=click.Path())
@click.option("--data", help="Other data than those of the run: a name or a file, as for sparserbm train.")
@click.option("--data-folder", "folder", help="Where to look first for the data.")
@click.option("--scale", help="unit, standard, binary, stochastic or none.  [default: that of the run]")
@click.option("--part", type=click.Choice(["train", "test"]), help="Of data with a test set.  [default: train]")
@click.option("-o", "--out", required=True, type=click.Path(), help="File to write: .npz, .npy or .csv.")
@model_options
def transform(
    run: str,
    data: str | None,
    folder: str | None,
    scale: str | None,
    part: str | None,
    out: str,
    overwrite: bool,
    best: bool,
    backend: str,
    threads: int | None,
    quiet: bool,
) -> None:
    """What the model in the folder RUN makes of data: a row for every sample, in their order.

    Of an RBM the means of its hidden units, of an MLP its output layer: probabilities of the classes.
    An .npz file has them as X, which sparserbm train can read again, and labels, if the data have any, as y.

    \b
    sparserbm transform runs/rbm --data digits -o features.npz
    sparserbm transform runs/mlp --part test -o probabilities.csv
    """
    from sparserbm.evaluation import load_data_of
    from sparserbm.models.rbm import RBM

    path = output_path(out, (".npz", ".npy", ".csv"), overwrite)
    model, _ = model_of(run, best, backend, threads)
    dataset = load_data_of(run, data, folder=folder, scale=scale)
    X, y = (dataset.X_test, dataset.y_test) if part == "test" else (dataset.X, dataset.y)
    if X is None:
        raise click.ClickException(f"{dataset.name} has no test set; leave --part out")
    if dataset.n_features != model.n_features:
        raise click.ClickException(
            f"{dataset.name} has {dataset.n_features} features, but the model of {run} has {model.n_features} inputs"
        )
    rows = model.transform(X) if isinstance(model, RBM) else model.predict(X)
    write_table(path, rows, y=y)
    if not quiet:
        what = "hidden means" if isinstance(model, RBM) else "outputs"
        click.echo(f"{rows.shape[1]} {what} of {len(rows):,} samples written to {path}")
