"""``sparserbm info RUN|FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("path", type=click.Path())
def info(path: str) -> None:
    """What is in a run folder or a checkpoint file: model, wiring, data, settings, last figures.

    \b
    sparserbm info runs/a
    sparserbm info runs/a/best.npz
    """
    place = Path(path)
    if not place.exists():
        raise click.ClickException(f"there is no {path}; give a run folder or a checkpoint (.npz)")
    try:
        lines = _of_folder(place) if place.is_dir() else _of_file(place)
    except KeyError as error:
        raise click.ClickException(
            f"{path} is damaged (it says nothing of {error}); restore it or train again"
        ) from None
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        click.echo(f"{name:<{width}}  {text}")


def _of_folder(folder: Path) -> list[tuple[str, str]]:
    from sparserbm.runs import load_run, read_config
    from sparserbm.topology import WiringHistory

    config = read_config(folder)
    if config["model"]["kind"] == "stack":
        units = " - ".join(config["model"]["units"])
        return [("stack", units), ("layers", ", ".join(str(found) for found in sorted(folder.glob("layer[0-9]"))))]
    run = load_run(folder)
    lines = [("run", run.name), *_model_lines(config["model"])]
    if len(run.snapshots):
        last = run.snapshots[max(run.snapshots)]
        lines += [
            (
                f"layer {number}",
                _layer_text(len(layer.degree_pre), len(layer.degree_post), layer.degree_pre, layer.degree_post),
            )
            for number, layer in enumerate(last.layers)
        ]
    data, training = config["data"], config["training"]
    shape = data.get("image_shape")
    pixels = f" ({shape[0]} x {shape[1]} pixels)" if shape else ""
    lines.append(("data", f"{data['name']}, {data['n_samples']:,} samples, {data['n_features']} features{pixels}"))
    if config.get("zone"):
        lines.append(("active zone", f"{config['zone']['rule']}, {len(config['zone']['inputs'])} inputs"))
    lines += [(key.replace("_", " "), _text(value)) for key, value in training.items() if value not in (None, [])]
    lines.append(("seed", str(config.get("seed"))))
    if run.metrics:
        lines += _figure_lines(run.metrics[-1])
    files = sorted(file.name for file in folder.iterdir() if file.is_file())
    whole = sum(run.snapshots[epoch].layers[0].has_pattern for epoch in run.snapshots)
    if whole > 1 and run.metrics:
        lines.append(("places tried", _tried(WiringHistory.of_run(run))))
    lines.append(("files", f"{', '.join(files)}; {len(run.snapshots)} snapshots, {whole} of them with all connections"))
    lines.append(("made by", ", ".join(f"{name} {number}" for name, number in config["versions"].items())))
    return lines


def _of_file(path: Path) -> list[tuple[str, str]]:
    from sparserbm.training.checkpoint import load_checkpoint

    model, extra, state = load_checkpoint(path, "reference")
    lines = [("checkpoint", str(path)), *_model_lines(model.describe())]
    lines += [
        (f"layer {number}", _layer_text(layer.n_pre, layer.n_post, layer.pattern.fan_out(), layer.pattern.fan_in()))
        for number, layer in enumerate(model.connections)
    ]
    lines.append(("trained for", f"{model.epoch} epochs, {model.step:,} mini-batches"))
    slots = {name for layer in model.connections for name in layer.slots}
    lines.append(("slots", ", ".join(sorted(slots))))
    if state:
        lines.append(("trainer", ", ".join(f"{name} {array.shape}" for name, array in state.items())))
    lines += [(key.replace("_", " "), _text(value)) for key, value in extra.items() if isinstance(value, (str, bool))]
    return lines


def _model_lines(model: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [("model", f"{model['kind'].upper()}, {' - '.join(model['units'])}")]
    origin = {key: value for key, value in model.get("origin", {}).items() if value is not None}
    return [*lines, ("began as", ", ".join(f"{key} {_text(value)}" for key, value in origin.items()))]


def _layer_text(n_pre: int, n_post: int, out: Any, into: Any) -> str:
    n, dead = int(out.sum()), int((out == 0).sum())
    silent = int((into == 0).sum())
    unused = f"; {dead} inputs and {silent} outputs without any" if dead or silent else ""
    return f"{n_pre} x {n_post}, {n:,} connections, density {n / (n_pre * n_post):.2%}{unused}"


def _figure_lines(last: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [("after epoch", f"{last['epoch']} ({last['step']:,} mini-batches)")]
    for name in ("loss", "accuracy", "validation_loss", "validation_accuracy", "free_energy_gap", "pseudo_likelihood"):
        if last.get(name) is not None:
            form = ".2%" if name.endswith("accuracy") else ".5g"
            lines.append((name.replace("_", " "), format(last[name], form)))
    if last.get("learning_z") is not None:
        text = (
            f"{last['verdict']}: {last['centre_density']:.2f} connections an input in the active zone, "
            f"{last['margin_density']:.2f} in the margin (z = {last['learning_z']:+.1f})"
        )
        lines.append(("learning", text))
    return lines


def _tried(history: Any) -> str:
    """In-time over-parameterisation, with its upper bound where snapshots may have missed connections."""
    from sparserbm.topology import explored

    found = explored(history)
    seen, most = found.share[-1], None if found.at_most is None else found.at_most[-1]
    bound = f", at most {most:.1%} with those that no snapshot saw" if most is not None and most > seen else ""
    snapshots = "1 snapshot" if len(found.epochs) == 1 else f"{len(found.epochs)} snapshots"
    return f"{seen:.1%} of layer 0 seen in {snapshots}, {found.share[0]:.1%} in the first{bound}"


def _text(value: Any) -> str:
    return (
        f"{value:g}"
        if isinstance(value, float)
        else ", ".join(map(_text, value))
        if isinstance(value, list)
        else str(value)
    )
