"""`perfmodel validate kernels`: the constants of hardware files held against the tables that they were fitted to."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perfmodel.cli import options as o
from perfmodel.errors import RequestError

By = Annotated[
    str | None, typer.Option(help="Group by these: device, library, kernel, format (comma list).", metavar="COLUMNS")
]
Kernel = Annotated[
    str | None, typer.Option("--kernel", help="Only these kernels, such as gemm,decode (comma list).", metavar="NAMES")
]
Device = Annotated[str | None, typer.Option("--device", help="Only these devices (comma list).", metavar="NAMES")]
Format = Annotated[
    str | None, typer.Option("--format", help="Only these formats, such as bf16,fp8 (comma list).", metavar="NAMES")
]
LeftOut = Annotated[
    bool, typer.Option("--left-out", help="Also what a device would get if nobody had measured it, or its family.")
]
Recorded = Annotated[
    bool, typer.Option("--recorded", help="Only what hardware files record of their fits; needs no tables.")
]


def kernels(
    by: By = None,
    kernel: Kernel = None,
    number_format: Format = None,
    device: Device = None,
    left_out: LeftOut = False,
    recorded: Recorded = False,
    json: o.Json = False,
    path: o.Folders = None,
) -> None:
    """Hold the constants of kernels against measured ones: errors by group, beside the naive roofline's."""
    o.take_up(path)
    if recorded and left_out:
        raise RequestError("--left-out needs the tables, which --recorded does without; give one of the two.")
    asked = (device, kernel, number_format, by)
    run = _recorded(*asked) if recorded else _compared(*asked, left_out)
    print(o.dumped(run.to_dict()) if json else _screen(run))


def _recorded(*asked: str | None) -> Any:
    from perfmodel.fitting.recorded import recorded

    return recorded(*asked)


def _compared(device: str | None, kernel: str | None, formats: str | None, by: str | None, left_out: bool) -> Any:
    from perfmodel.cli.progress import passed
    from perfmodel.fitting.comparison import SECONDS, compared, plan

    return compared(passed(plan(device, kernel, by), SECONDS), kernel, formats, by, left_out)


def _screen(run: Any) -> str:
    from perfmodel.cli.screen import bold, narrowed, wrapped

    table = run.table()
    lines = [wrapped(label, text) for label, text in run.legend()]
    return "\n".join([bold(table.title), *lines, "", narrowed(table.columns, SPARE)])


SPARE = ("mean", "bias", "version", "rows")
"""Columns that a narrow terminal goes without, the first named first."""
