"""Imported rows → the CSV text that `validate published` reads, alone or after those that a file holds."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from perfmodel.errors import SpecError
from perfmodel.published.rows import COLUMNS, Row, rows_of


def csv_of(rows: Iterable[Row], header: bool = True) -> str:
    """RFC 4180 text; no cell of text begins as a formula would, which a spreadsheet would run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(COLUMNS)
    writer.writerows([_cell(getattr(row, name)) for name in COLUMNS] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str):
        return value.lstrip("=+-@\t\r '")
    return "" if value is None else repr(value) if isinstance(value, float) else value


def appended(file: Path, rows: list[Row]) -> tuple[str, int]:
    """(what `file` is to hold, how many rows of it are new); what is there stays, and no row stands twice."""
    if not file.exists():
        return csv_of(rows), len(rows)
    held = {replace(row, line=0) for row in rows_of(file)}
    text = file.read_text(encoding="utf-8").removeprefix("\ufeff")
    header = next(csv.reader(io.StringIO(text)), [])
    if [name.strip() for name in header] != list(COLUMNS):
        raise SpecError(f"{file}: line 1: names other columns than imported rows have; give another file to --out.")
    new = [row for row in rows if replace(row, line=0) not in held]
    text += "" if text.endswith("\n") else "\n"
    return text + csv_of(new, header=False), len(new)
