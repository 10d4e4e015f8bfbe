"""``sparserbm plot FIGURE RUN...``."""

from __future__ import annotations

import difflib
import importlib.util
from pathlib import Path

import click


def _figures() -> list[str]:
    """Names of the figures by their files: importing them would load Matplotlib just for --help."""
    spec = importlib.util.find_spec("sparserbm.plotting")
    assert spec is not None
    folders = spec.submodule_search_locations or []
    names = {path.stem for folder in folders for path in Path(folder).glob("[a-z]*.py")}
    return sorted(name.replace("_", "-") for name in names)


@click.command(
    help=f"""Draw a figure of one or several run folders.

    \b
    sparserbm plot zone-density runs/a runs/b -o density.png
    sparserbm plot report runs/* -o report.html

    FIGURE is one of: {", ".join(_figures())}. The suffix of -o says how it is written: .png, .svg or .pdf, and
    .gif for a connection-map that moves; a report is one .html file."""
)
@click.argument("figure")
@click.argument("runs", nargs=-1, required=True, type=click.Path())
@click.option("-o", "--out", type=click.Path(), help="File to write; FIGURE.png (report.html) by default.")
def plot(figure: str, runs: tuple[str, ...], out: str | None) -> None:
    if figure.replace("_", "-") not in _figures():
        close = difflib.get_close_matches(figure, _figures(), n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise click.UsageError(f"unknown figure {figure!r}{hint}; known: {', '.join(_figures())}")
    from sparserbm import plotting

    if figure == "report":
        out = out or "report.html"
        plotting.report(runs, out)
    else:
        out = out or f"{figure}.png"
        plotting.plot(figure, list(runs), out)
    click.echo(f"written to {out}")
