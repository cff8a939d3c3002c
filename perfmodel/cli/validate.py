"""`perfmodel validate`: predictions held against the world."""

from __future__ import annotations

from typing import Annotated

import typer

from perfmodel.cli import options as o
from perfmodel.cli.battery import device
from perfmodel.cli.benchmarked import import_results
from perfmodel.cli.kernels import kernels
from perfmodel.cli.loaded import serving
from perfmodel.cli.published import published
from perfmodel.cli.report import report
from perfmodel.cli.running import run
from perfmodel.cli.scripts import script
from perfmodel.errors import RequestError

app = typer.Typer(help="Hold the model's figures against published ones.", rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def validate() -> None:
    """Hold the model's figures against published ones."""


app.command("published")(published)
app.command("kernels")(kernels)
app.command("serving")(serving)
app.command("run")(run)
app.command("device")(device)
app.command("report")(report)
app.command("import")(import_results)


@app.command("references")
def references(
    only: Annotated[str | None, typer.Option(help='Only this verdict, such as "contradicts itself".')] = None,
    json: o.Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated rows.")] = False,
) -> None:
    """Recompute every numeric claim of the documents that perfmodel grew from: claim, our figure, verdict, why."""
    from perfmodel.cli.screen import references_csv, references_dict, references_screen

    print(o.dumped(references_dict(only)) if json else references_csv(only) if csv else references_screen(only))


@app.command("families")
def families(
    names: Annotated[list[str] | None, typer.Argument(help="model_types; all of them by default.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table of docs/architectures.md.")] = False,
) -> None:
    """Hold every model_type against transformers and torch: parameters, FLOPs, cache. Needs perfmodel[validate]."""
    found = script("families")
    _known(names or [])
    raise typer.Exit(found.main([*(names or []), *(["--markdown"] if markdown else [])]))


def _known(names: list[str]) -> None:
    from perfmodel.huggingface.families import FAMILIES
    from perfmodel.spec import nearest

    for name in names:
        if name not in FAMILIES:
            guess = nearest(name, FAMILIES)
            hint = f'Did you mean "{guess}"?' if guess else '"perfmodel validate families" checks all.'
            raise RequestError(f'No family is called "{name[:40]}". {hint}')
