"""`perfmodel validate published`: predictions held against measurements that others published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from perfmodel.cli import options as o

File = Annotated[str, typer.Argument(help="CSV file of measurements (docs/commands.md names its columns).")]
Mode = Annotated[
    str | None,
    typer.Option(help="Only these modes: fixed_batch, single_stream, concurrency, offline_throughput (comma list)."),
]
By = Annotated[str, typer.Option(help="Group by these columns together, such as gpu,metric.")]
Quality = Annotated[str, typer.Option(help="Only rows of these qualities: ok, suspect, queueing, or all (comma list).")]


def published(
    file: File,
    mode: Mode = None,
    by: By = "metric",
    quality: Quality = "ok",
    json: o.Json = False,
    html: o.Html = None,
    path: o.Folders = None,
) -> None:
    """Predict every row of a CSV file of published measurements: errors by group, the worst rows, what has none."""
    o.take_up(path)
    run = _run(file, mode, by, quality)
    if html is not None:
        _write_page(run, html)
    print(o.dumped(run.to_dict()) if json else comparison_screen(run))


def _run(file: str, mode: str | None, by: str, quality: str) -> Any:
    from perfmodel.published.comparison import compared

    return compared(file, mode, by, quality)


def _write_page(run: Any, html: Path) -> None:
    from perfmodel.files import write_whole
    from perfmodel.published.page import page

    write_whole(html, page(run, o.command()))


def comparison_screen(run: Any) -> str:
    from perfmodel.cli.screen import bold, narrowed, wrapped

    spare = tuple(name for name in SPARE if name not in run.by)
    parts = [bold(run.title()), *(wrapped("Left out", line) for line in run.left_out())]
    parts += [f"\n{bold(table.title)}\n{narrowed(table.columns, spare)}" for table in run.tables()]
    return "\n".join(parts)


SPARE = ("engine", "mean", "workload")
"""Columns that a narrow terminal goes without, the first named first."""
