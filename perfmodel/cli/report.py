"""`perfmodel validate report`: what was measured on devices of our own, and how far off predictions were."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from perfmodel.cli import options as o

Files = Annotated[
    list[Path] | None, typer.Argument(help="Results files, or folders of them; those that ship with perfmodel.")
]
By = Annotated[str, typer.Option(help="Group by these columns together, such as device,figure.")]
Csv = Annotated[bool, typer.Option("--csv", help="Comma-separated rows, one a group.")]


def report(
    files: Files = None,
    by: By = "device,torch,date,model,group",
    json: o.Json = False,
    csv: Csv = False,
    html: o.Html = None,
    path: o.Folders = None,
) -> None:
    """Tell how far off predictions were of what `validate run` and `calibrate` measured, on every device on file."""
    o.take_up(path)
    found = _report(files or [], by)
    if html is not None:
        write_page(list(found.held.values()), html)
    print(o.dumped(found.to_dict()) if json else found.to_csv() if csv else _screen(found))


def write_page(results: list[Any], html: Path) -> None:
    """The page of these results as a file."""
    from perfmodel.files import write_whole
    from perfmodel.measured.page import page

    write_whole(html, page(results, o.command()))


def _report(files: list[Path], by: str) -> Any:
    from perfmodel.measured.report import reported

    return reported(files, by)


def _screen(found: Any) -> str:
    import textwrap

    from perfmodel.cli.screen import bold, narrowed, width, wrapped

    title = bold(textwrap.fill(found.title(), width()))
    parts = [title, *(wrapped("Note", line) for line in found.notes())]
    parts += [f"\n{bold(table.title)}\n{narrowed(table.columns, _spare(found, table))}" for table in found.tables()]
    return "\n".join(parts)


def _spare(found: Any, table: Any) -> tuple[str, ...]:
    """Columns that a narrow terminal goes without: what is grouped by stays, unless it is the same in every row."""
    same = {name for name in found.by if name in table.columns and len(set(table[name])) == 1}
    return tuple(name for name in SPARE if name not in found.by or name in same)


SPARE = ("mean", "predicted", "torch", "date", "device", "on", "measured", "shape")
"""Columns that a narrow terminal goes without, the first named first."""
