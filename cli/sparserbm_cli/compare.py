"""``sparserbm compare RUN RUN ...``."""

from __future__ import annotations

import click


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--out", default="comparison.png", show_default=True, type=click.Path(), help="Figure to write.")
def compare(runs: tuple[str, ...], out: str) -> None:
    """Two or more runs side by side: the distance of their topologies, learning indices and metrics.

    Distances are NNSTD (0: the same up to the names of neurons, 1: nothing shared) between the newest topologies that
    the runs have kept whole, with that of random nets with as many connections in brackets.

    \b
    sparserbm compare runs/a runs/b -o comparison.png
    """
    from pathlib import Path

    from sparserbm import plotting
    from sparserbm.plotting import comparison

    if len(runs) < 2:
        raise click.UsageError("give two run folders or more")
    path = plotting.checked_path(Path(out))
    if path.suffix.lower() == ".gif":
        raise click.ClickException("a comparison does not move; save it as .png, .svg or .pdf")
    table = comparison.load(plotting.as_runs(list(runs)))
    rows = [("", list(table.names)), *table.rows()]
    first = max(len(name) for name, _ in rows)
    widths = [max(len(texts[place]) for _, texts in rows) for place in range(len(table.names))]
    for name, texts in rows:
        click.echo(f"{name:<{first}}  " + "  ".join(f"{text:>{width}}" for text, width in zip(texts, widths)))
    if table.why:
        click.echo(f"no distances: {table.why}")
    plotting.save(plotting.render(comparison, table), path)
    click.echo(f"written to {path}")
