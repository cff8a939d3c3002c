"""`perfmodel validate serving`: predictions of servers under load held against runs that were measured."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perfmodel.cli import options as o

Source = Annotated[str, typer.Option("--from", help="Whose runs: aiconfigurator (needs perfmodel[calibrate]).")]
By = Annotated[str, typer.Option(help="Group by these columns together, such as engine,metric.")]
Models = Annotated[str | None, typer.Option(help="Only dense models, or only those with experts.")]
Quality = Annotated[str, typer.Option(help="Only rows of these qualities: ok, suspect, queueing, or all (comma list).")]
LeftOut = Annotated[
    bool, typer.Option("--left-out", help="By constants fitted without each setting, model and device (minutes).")
]


def serving(
    source: Source = "aiconfigurator",
    by: By = "mode,engine,metric",
    models: Models = None,
    quality: Quality = "ok",
    left_out: LeftOut = False,
    json: o.Json = False,
) -> None:
    """TTFT and TPOT of servers under load against measured runs: errors by group, the worst, what has none."""
    if left_out:
        return _left_out(source, models, json)
    run = _run(source, by, models, quality)
    print(o.dumped(run.to_dict()) if json else _screen(run))
    return None


def _run(source: str, by: str, models: str | None, quality: str) -> Any:
    from perfmodel.fitting.loaded import compared

    return compared(source, by, models, quality)


def _screen(run: Any) -> str:
    from perfmodel.cli.published import comparison_screen

    return comparison_screen(run)


def _left_out(source: str, models: str | None, json: bool) -> None:
    import os

    from perfmodel.cli.screen import bold
    from perfmodel.fitting.loaded import left_out

    table = left_out(source, models, os.cpu_count() or 1)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows()]
    print(o.dumped(rows) if json else f"{bold(table.title)}\n{table.to_text()}")
