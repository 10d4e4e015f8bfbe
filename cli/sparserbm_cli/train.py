"""``sparserbm train rbm|mlp|resume``."""

from __future__ import annotations

from typing import Any

import click

from sparserbm_cli.options import recipe_options, recipe_settings


@click.group()
def train() -> None:
    """Train one network, or continue a run.

    Settings that are rules are written as texts, name(argument, key=argument):

    \b
    --evolve "set(zeta=0.3)"            each epoch, replace the 30 % of connections nearest zero
    --l2 "linear(0, 1e-3, 5000)"        L2 that grows from 0 to 1e-3 over 5,000 mini-batches
    --optimizer "sgd(0.05, momentum=0.9)"

    The same settings can stand in a TOML file (--config); flags win over --set, --set over the file.
    """


def _command(model: str, text: str, example: str) -> click.Command:
    @recipe_options
    @click.option("--out", type=click.Path(), help="Run folder to write.")
    @click.option("--dry-run", is_flag=True, help="Only say how many connections, bytes and FLOPs it would take.")
    @click.option("--overwrite", is_flag=True, help="Replace an earlier run in that folder.")
    @click.option("--name", help="Name of the run in tables and pictures; the folder's by default.")
    @click.option("--quiet", is_flag=True, help="No progress.")
    def command(
        out: str | None,
        dry_run: bool,
        overwrite: bool,
        name: str | None,
        quiet: bool,
        preset: str | None,
        config: str | None,
        sets: tuple[str, ...],
        **flags: Any,
    ) -> None:
        from sparserbm.recipes import Recipe

        recipe = Recipe(model=model, **recipe_settings(model, preset, config, sets, flags))
        if dry_run:
            click.echo(recipe.estimate())
            return
        if out is None:
            raise click.ClickException("give the run folder to write with --out, or --dry-run")
        run = recipe.run(out, overwrite=overwrite, name=name, progress=not quiet)
        click.echo(outcome(run))

    command.__doc__ = f"{text}\n\n\b\n{example}"
    return click.command(model)(command)


train.add_command(
    _command(
        "rbm",
        "Train a sparse restricted Boltzmann machine by contrastive divergence.",
        'sparserbm train rbm --data digits --hidden 500 --evolve "set(zeta=0.3)" --epochs 50 --out runs/rbm',
    )
)
train.add_command(
    _command(
        "mlp",
        "Train a sparse multi-layer perceptron by backpropagation.",
        "sparserbm train mlp --data digits --scale standard --hidden 512,128 --l2 1e-3 --epochs 50 --out runs/mlp",
    )
)


@train.command()
@click.argument("folder", type=click.Path())
@click.option("--epochs", type=int, required=True, help="Epochs in all, those done included.")
@click.option("--backend", help="Another one than before: a run on a GPU can go on without one, and back.")
@click.option("--quiet", is_flag=True, help="No progress.")
def resume(folder: str, epochs: int, backend: str | None, quiet: bool) -> None:
    """Continue the run in FOLDER from its last checkpoint, with the settings and data that it began with.

    \b
    sparserbm train resume runs/rbm --epochs 100
    """
    from sparserbm.recipes import resume_recipe
    from sparserbm.runs import load_run

    done = max((line["epoch"] for line in load_run(folder).metrics), default=0)
    if epochs <= done:
        raise click.ClickException(f"run {folder} has {done} epochs already; give more than that with --epochs")
    click.echo(outcome(resume_recipe(folder, epochs, backend, progress=not quiet)))


def outcome(run: Any) -> str:
    """What a finished run has to say, as lines of text."""
    last = run.metrics[-1]
    lines = [
        f"{run.name}: {last['epoch']} epochs, {last['n_connections']:,} connections, density {last['density']:.2%}"
    ]
    shown = (
        *("loss", "accuracy", "validation_loss", "validation_accuracy"),
        *("core_validation_loss", "core_validation_accuracy", "free_energy_gap", "pseudo_likelihood"),
    )
    lines += [f"  {key.replace('_', ' '):26s}{last[key]:.4f}" for key in shown if key in last]
    if last.get("shrink_per_step"):
        event = f", {last['shrink_per_interval']:.1e} between events" if "shrink_per_interval" in last else ""
        lines.append(f"  {'shrink without gradient':26s}{last['shrink_per_step']:.1e} a step{event}")
    if "verdict" in last:
        found = "no preference" if last["verdict"] == "none" else f"{last['verdict']} learning"
        lines.append(
            f"  {found}: {last['centre_density']:.2f} connections an input in the active zone, "
            f"{last['margin_density']:.2f} in the margin (z {last['learning_z']:+.1f})"
        )
    if run.model is not None and run.model.epoch < last["epoch"]:
        lines.append(f"  stopped early: the model of epoch {run.model.epoch} is the best, in best.npz")
    if run.folder is not None:
        lines.append(f"  written to {run.folder}")
    return "\n".join(lines)
