"""`perfmodel import`: a config.json as a YAML file of models/."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from perfmodel.cli import options as o
from perfmodel.errors import RequestError


def import_model(
    config: Annotated[str, typer.Argument(help="Model: config.json, its folder, Hub id, or name.")],
    assume: o.Assume = None,
    name: Annotated[str | None, typer.Option("--name", help="Title of the model; else what the config says.")] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="File to write; else the terminal.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file if it is there.")] = False,
) -> None:
    """A model's config.json as a YAML file that models/ takes."""
    from perfmodel.written import model_yaml

    model = _model(config, assume)
    text = model_yaml(model.model_copy(update={"title": name}) if name else model)
    if output is None:
        print(text, end="")
    else:
        _write(Path(output), text, force)


def _model(config: str, assume: str | None) -> Any:
    from perfmodel.catalog import load_model

    return load_model(config, assume)


def _write(file: Path, text: str, force: bool) -> None:
    """All of the file or nothing; what is there already stays unless `force`d."""
    from os.path import lexists

    from perfmodel.files import write_whole

    if not force and lexists(file):
        raise RequestError(f"{file} is there already; --force overwrites it, or name another file.")
    write_whole(file, text)
