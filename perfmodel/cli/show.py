"""`perfmodel show`: one model, GPU or engine, every figure."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perfmodel.cli import options as o
from perfmodel.errors import RequestError


def show(
    name: Annotated[
        str, typer.Argument(help="Model, GPU or engine: name, alias, Hub id, or path (YAML, config.json).")
    ],
    assume: o.Assume = None,
    prune: o.Prune = None,
    path: o.Folders = None,
    json: o.Json = False,
) -> None:
    """One model, GPU or engine: every figure, and where it comes from."""
    o.take_up(path)
    if _is_engine(name, assume, prune):
        print(_engine(name, json))
    else:
        print(_spec(_either(name, assume, prune), json))


def _spec(spec: Any, json: bool) -> str:
    from perfmodel.cli.described import gpu_screen, model_screen
    from perfmodel.contract import gpu_dict, model_dict
    from perfmodel.model import Model

    if isinstance(spec, Model):
        return o.dumped(model_dict(spec)) if json else model_screen(spec)
    return o.dumped(gpu_dict(spec)) if json else gpu_screen(spec)


def _is_engine(name: str, assume: str | None, prune: str | None) -> bool:
    """Whether `name` is an engine's; RequestError where flags of models stand beside it."""
    from perfmodel.profiles import known_engine

    found = known_engine(name) is not None
    if found and (assume is not None or prune is not None):
        raise RequestError(f"--assume and --prune are for models; {name} is an engine.")
    return found


def _engine(name: str, json: bool) -> str:
    from perfmodel.cli.engines import engine_screen
    from perfmodel.profiles import engine_dict, known_engine

    data = engine_dict(*(known_engine(name) or ("", "")))
    return o.dumped(data) if json else engine_screen(data)


def _either(name: str, assume: str | None, prune: str | None) -> Any:
    from perfmodel.catalog import load_any
    from perfmodel.model import Model
    from perfmodel.scaling import pruned

    spec = load_any(name, assume)
    if isinstance(spec, Model):
        return pruned(spec, prune)
    if assume is not None or prune is not None:
        raise RequestError(f"--assume and --prune are for models; {spec.name} is a GPU.")
    return spec
