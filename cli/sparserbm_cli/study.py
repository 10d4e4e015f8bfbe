"""``sparserbm study``."""

from __future__ import annotations

from typing import Any

import click

from sparserbm_cli.options import Words, read_sets, read_toml, split_strengths, switched_off


@click.command()
@click.option("--data", default="digits", show_default=True, help="digits, mnist, fashion-mnist, or a file.")
@click.option("--data-folder", "folder", help="Where to look first for the data.")
@click.option("--models", type=Words(), default="rbm,mlp", show_default=True, help="rbm, mlp or both.")
@click.option("--l2", default="0,1e-3", show_default=True, help="L2 strengths: numbers or schedules.")
@click.option("--seeds", type=int, default=3, show_default=True, help="Seeds 0, 1, ...")
@click.option("--epochs", type=int, help="155 by default, 120 on digits.")
@click.option("--jobs", type=int, help="Runs at a time; by default one on each core or GPU.")
@click.option("--backend", default="auto", show_default=True, help="auto, numpy, cupy (GPUs) or reference.")
@click.option("--config", type=click.Path(), help="TOML file with a table of settings for each model.")
@click.option("--set", "sets", multiple=True, metavar="MODEL.KEY=VALUE", help="One setting, over the file.")
@click.option("--out", required=True, type=click.Path(), help="Folder for runs, tables, figures and report.")
@click.option("--overwrite", is_flag=True, help="Train again what is finished.")
def study(
    data: str,
    folder: str | None,
    models: tuple[str, ...],
    l2: str,
    seeds: int,
    epochs: int | None,
    jobs: int | None,
    backend: str,
    config: str | None,
    sets: tuple[str, ...],
    out: str,
    overwrite: bool,
) -> None:
    """Where do connections gather, and how does regularization decide it?

    Trains each model for each strength of L2 and each seed, and says for each whether connections became denser in
    the active zone of the input than in its margin (positive learning) or sparser (negative learning). Ends with a
    table, figures and report.html; runs that are finished are not trained again.

    \b
    sparserbm study --out study
    sparserbm study --data mnist --l2 0,1e-3,1e-2 --seeds 3 --out study-mnist
    """
    from sparserbm.studies import study as run_study

    settings = _settings(config, sets)
    found = run_study(
        data,
        models=models,
        l2=split_strengths(l2),
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
    click.echo(table(found.summary()))
    written = "tables, figures and report.html" if found.runs else "tables"
    click.echo(f"\ntest loss: cross-entropy (mlp), squared reconstruction error (rbm)\n{written} are in {out}")
    failed = [row["run"] for row in found.rows if row["status"] != "finished"]
    if failed:
        raise click.ClickException(f"{len(failed)} of {len(found.rows)} runs did not finish: {', '.join(failed)}")


def _settings(config: str | None, sets: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    from sparserbm.recipes import MODELS, Recipe

    settings: dict[str, dict[str, Any]] = {model: {} for model in MODELS}
    for source in (read_toml(config), read_sets(sets)):
        for model, own in source.items():
            if model not in settings or not isinstance(own, dict):
                raise click.UsageError(f"{model!r} is no model; a study takes settings like mlp.hidden or rbm.epsilon")
            for key, value in own.items():
                if key not in Recipe.options():
                    raise click.UsageError(f"unknown setting {key!r}; known: {', '.join(sorted(Recipe.options()))}")
                settings[model][key] = value
    return {model: switched_off(own) for model, own in settings.items()}


def table(summary: list[dict[str, Any]]) -> str:
    """The summary of a study as aligned text: mean and standard deviation over seeds."""
    head = ["model", "l2", "seeds", "test loss", "test accuracy", "active zone", "margin", "z", "verdict"]
    lines = [head]
    for cell in summary:
        verdicts = [f"{cell[name]} {name}" for name in ("positive", "negative", "none") if cell[name]]
        lines.append(
            [
                cell["model"],
                str(cell["l2"]),
                str(cell["seeds"]),
                _number(cell, "validation_loss", "{:.4f}"),
                _number(cell, "validation_accuracy", "{:.4f}"),
                _number(cell, "centre_density", "{:.2f}"),
                _number(cell, "margin_density", "{:.2f}"),
                _number(cell, "learning_z", "{:+.1f}"),
                ", ".join(verdicts) or "-",
            ]
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in lines)


def _number(cell: dict[str, Any], key: str, form: str) -> str:
    if key not in cell:
        return "-"
    spread = cell[f"{key}_sd"]
    return form.format(cell[key]) + ("" if spread != spread else " ± " + form.replace("+", "").format(spread))
