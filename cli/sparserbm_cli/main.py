"""Entry point: ``sparserbm train``, ``evaluate``, ``sample``, ``transform``, ``info``, ``compare``..."""

from __future__ import annotations

import importlib
import sys

import click

from sparserbm import __version__

COMMANDS = {
    "train": "Train one network, or continue a run.",
    "evaluate": "Likelihood and other figures of a run's model, on data that it has not seen.",
    "sample": "Draw from a run's RBM, freely or with some values held.",
    "transform": "What a run's model makes of data: hidden means, or probabilities of classes.",
    "info": "What is in a run folder or a checkpoint.",
    "compare": "Distance of topologies, learning indices and metrics of several runs.",
    "plot": "Draw a figure of one or several run folders.",
    "study": "Where do connections gather, and which settings decide it?",
}


class LazyGroup(click.Group):
    """Imports a command when it is used: ``sparserbm --help`` should not wait for the library."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            ctx.fail(f"unknown command {name!r}; known: {', '.join(COMMANDS)}")
        return getattr(importlib.import_module(f"sparserbm_cli.{name}"), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sparserbm")
def cli() -> None:
    """Sparse RBMs and MLPs whose connections evolve while they train.

    \b
    sparserbm study --out study                      the main question, on the digits that come with the package
    sparserbm train rbm --data digits --out runs/a   one network
    sparserbm plot zone-density runs/a -o zone.png   where its connections gathered
    """


def main() -> None:
    """Run the command line; a known error is one line on standard error and a non-zero exit code."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        _fail("interrupted; a run folder keeps its last checkpoint (sparserbm train resume)", 130)
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            click.echo(error.ctx.get_usage(), err=True)
        _fail(error.format_message(), error.exit_code)
    except (ValueError, TypeError, OSError, FloatingPointError, MemoryError, ImportError) as error:
        _fail(" ".join(str(error).split()) or type(error).__name__, 1)


def _fail(message: str, code: int) -> None:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)
