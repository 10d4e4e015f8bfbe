"""``sparserbm study``."""

from __future__ import annotations

from typing import Any

import click

from sparserbm_cli.options import Words, literal, read_sets, read_toml, split_strengths, split_values, switched_off

SHOWN = 10  # comparisons; the file has all of them


@click.command()
@click.option("--data", default="digits", show_default=True, help="digits, mnist, fashion-mnist, or a file.")
@click.option("--data-folder", "folder", help="Where to look first for the data.")
@click.option("--models", type=Words(), help="rbm, mlp or both.  [default: rbm,mlp]")
@click.option(
    "--grid",
    "grids",
    multiple=True,
    metavar="KEY=VALUE[,VALUE...]",
    help="Values of a setting or of a parameter of evolution; may be given several times.",
)
@click.option("--l2", help="Short for --grid l2=...  [default: 0,1e-3 if no --grid is given]")
@click.option("--seeds", type=int, help="Seeds 0, 1, ...  [default: 3]")
@click.option("--epochs", type=int, help="155 by default, 120 on digits.")
@click.option("--jobs", type=int, help="Runs at a time; by default one on each core or GPU.")
@click.option("--backend", default="auto", show_default=True, help="auto, numpy, cupy (GPUs) or reference.")
@click.option("--config", type=click.Path(), help="TOML file with a table of settings for each model, and one 'grid'.")
@click.option("--set", "sets", multiple=True, metavar="MODEL.KEY=VALUE", help="One setting, over the file.")
@click.option("--out", required=True, type=click.Path(), help="Folder for runs, tables, figures and report.")
@click.option("--overwrite", is_flag=True, help="Train again what is finished.")
def study(
    data: str,
    folder: str | None,
    models: tuple[str, ...] | None,
    grids: tuple[str, ...],
    l2: str | None,
    seeds: int | None,
    epochs: int | None,
    jobs: int | None,
    backend: str,
    config: str | None,
    sets: tuple[str, ...],
    out: str,
    overwrite: bool,
) -> None:
    """Where do connections gather, and which settings decide it?

    Trains each model for each combination of the values in --grid and each seed, and says for each combination
    whether connections became denser in the active zone of the input than in its margin (positive learning) or
    sparser (negative learning), and between which of them accuracy, loss or learning differ by more than by chance.
    Ends with tables, figures and report.html; runs that are finished are not trained again.

    A key of the grid is any setting of "sparserbm train" (--help there; l2, epsilon, optimizer, ...) or a parameter of
    evolution (zeta, drop, grow, birth, when, ...), which goes into the evolution rule.

    \b
    sparserbm study --out study
    sparserbm study --data mnist --l2 0,1e-3,1e-2 --seeds 3 --out study-mnist
    sparserbm study --models mlp --grid zeta=0.1,0.3 --grid "l2=0, linear(0, 1e-3, 5000)" --seeds 5 --out study-zeta
    """
    from sparserbm.studies import study as run_study

    settings, grid = _settings(config, sets)
    found = run_study(
        data,
        models=models,
        grid=grid | _grid(grids),
        l2=None if l2 is None else split_strengths(l2),
        seeds=seeds,
        epochs=epochs,
        out=out,
        folder=folder,
        backend=backend,
        settings=settings,
        n_jobs=jobs,
        overwrite=overwrite,
        progress=lambda line: click.echo(line, err=True),
    )
    click.echo(table(found.keys, found.summary()))
    click.echo("\ntest loss: cross-entropy (mlp), squared reconstruction error (rbm)\n")
    click.echo(comparisons(found.comparisons()))
    written = "tables, figures and report.html" if found.runs else "tables"
    click.echo(f"\n{written} are in {out}")
    failed = [row["run"] for row in found.rows if row["status"] != "finished"]
    if failed:
        raise click.ClickException(f"{len(failed)} of {len(found.rows)} runs did not finish: {', '.join(failed)}")


def _grid(grids: tuple[str, ...]) -> dict[str, Any]:
    """``("zeta=0.1,0.3", "l2=0,linear(0, 1e-3, 50)")`` as keys with their values."""
    found: dict[str, Any] = {}
    for item in grids:
        key, equals, text = (part.strip() for part in item.partition("="))
        if not equals:
            raise click.UsageError(f"--grid {item!r} is no KEY=VALUE,VALUE, e.g. --grid zeta=0.1,0.3")
        if key in found:
            raise click.UsageError(f"--grid {key} is given twice; write all its values in one: --grid {key}=A,B")
        found[key] = [_value(key, part) for part in split_values(text)]
    return found


def _value(key: str, text: str) -> Any:
    """The value that a text means; "none" is a value of some settings, and switches others off."""
    from sparserbm.studies import default_of, grid_key

    if text == "none" and default_of(grid_key(key)) is None:
        return None
    return switched_off({key: literal(text)})[key]


def _settings(config: str | None, sets: tuple[str, ...]) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Settings by model, and the grid of the file."""
    of_file = read_toml(config)
    grid = {
        key: [_value(key, value) if isinstance(value, str) else value for value in _listed(values)]
        for key, values in _table("grid", of_file.pop("grid", {})).items()
    }
    settings: dict[str, dict[str, Any]] = {}
    for source in (of_file, read_sets(sets)):
        for model, own in source.items():
            settings.setdefault(model, {}).update(_table(model, own))
    return {model: switched_off(own) for model, own in settings.items()}, grid


def _table(name: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise click.UsageError(f"{name!r} is no table; a study takes settings like mlp.hidden or rbm.epsilon")
    return given


def _listed(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def table(keys: tuple[str, ...], summary: list[dict[str, Any]]) -> str:
    """The summary of a study as aligned text: mean and standard deviation over seeds."""
    from sparserbm.studies import value_text

    head = [*keys, "seeds", "test loss", "test accuracy", "active zone", "margin", "z", "verdict"]
    lines = [head]
    for cell in summary:
        verdicts = [f"{cell[name]} {name}" for name in ("positive", "negative", "none") if cell[name]]
        lines.append(
            [
                *(value_text(cell[key]) for key in keys),
                str(cell["seeds"]),
                _number(cell, "validation_loss", "{:.4f}"),
                _number(cell, "validation_accuracy", "{:.4f}"),
                _number(cell, "centre_density", "{:.2f}"),
                _number(cell, "margin_density", "{:.2f}"),
                _number(cell, "learning_z", "{:+.1f}"),
                ", ".join(verdicts) or "-",
            ]
        )
    return _aligned(lines)


def comparisons(rows: list[dict[str, Any]]) -> str:
    """Which cells differ, in a few lines of text."""
    from sparserbm.studies import significant

    if not rows:
        return "one cell: there is nothing to compare"
    tested = [row for row in rows if row["p"] == row["p"]]
    if not tested:
        return "no test between cells is possible: it takes at least two finished runs in each (--seeds 2; better 5)"
    sure = significant(rows)
    kinds = " and ".join(dict.fromkeys(f"{row['test']}-tests" for row in tested))
    head = (
        f"{len(sure)} of {len(tested)} differences between cells are significant "
        f"(p < 0.05; {kinds}, seeds as pairs; Holm-corrected for each metric)"
    )
    lines = [
        [
            f"  {row['metric']}",
            f"{row['a']} -> {row['b']}",
            f"{row['difference']:+.4g}",
            f"{row['effect']:+.1f} sd",
            f"p {row['p_holm']:.2g}",
        ]
        for row in sure[:SHOWN]
    ]
    more = [f"  and {len(sure) - SHOWN} more in comparisons.csv"] if len(sure) > SHOWN else []
    return "\n".join([head, *([_aligned(lines)] if lines else []), *more])


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in lines)


def _number(cell: dict[str, Any], key: str, form: str) -> str:
    if key not in cell:
        return "-"
    spread = cell[f"{key}_sd"]
    return form.format(cell[key]) + ("" if spread != spread else " ± " + form.replace("+", "").format(spread))
