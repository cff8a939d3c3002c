"""Traces: CSV files that say when requests came and how long they were."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from pathlib import Path

from perfmodel.errors import RequestError
from perfmodel.reading import text_within

MOST_BYTES = 256 * 10**6
TIMES = ("timestamp", "arrived_at", "arrival", "time", "arrival_s")
PROMPTS = ("contexttokens", "prompt_tokens", "num_prefill_tokens", "input_tokens", "request tokens", "input_length")
OUTPUTS = ("generatedtokens", "output_tokens", "num_decode_tokens", "completion_tokens", "response tokens",
           "output_length")  # fmt: skip
"""Names of columns, in lower case, of the traces that are published: Azure LLM inference 2023 and 2024 (Patel et al.
2024, Splitwise), BurstGPT (Wang et al. 2024), Mooncake (Qin et al. 2024), Vidur (Agrawal et al. 2024)."""


def table(path: str, use: str) -> dict[str, list[str]]:
    """Column → its cells, of a CSV file with a header."""
    text = text_within(Path(path), f"{use} {path}", "a CSV file", MOST_BYTES, ", too large a trace", ", so no CSV file")
    rows = csv.reader(io.StringIO(text))
    header = next(rows, None)
    if not header:
        raise RequestError(f"{use}: {path} is empty; it needs a header and a line a request.")
    cells: list[list[str]] = [[] for _ in header]
    for row in rows:
        if row and len(row) != len(header):
            raise RequestError(f"{use}: {path}, line {rows.line_num}: has {len(row)} cells; the header {len(header)}.")
        for column, cell in zip(cells, row, strict=False):
            column.append(cell.strip())
    if not cells[0]:
        raise RequestError(f"{use}: {path} has no line beneath its header.")
    return {name.strip(): column for name, column in zip(header, cells, strict=True)}


def trace(path: str, use: str = "--trace") -> list[tuple[float, int, int]]:
    """(seconds since the first request, prompt tokens, output tokens) of each request, in the order that they came."""
    columns = table(path, use)
    times, prompts, outputs = (_named(columns, names, path, use) for names in (TIMES, PROMPTS, OUTPUTS))
    found = []
    for line, (at, prompt, output) in enumerate(zip(times, prompts, outputs, strict=True), 2):
        asked, written = (int(cell) if cell.isdigit() else 0 for cell in (prompt, output))
        if min(asked, written) < 1:
            raise RequestError(f"{use}: {path}, line {line}: lengths must be whole numbers of at least 1.")
        found.append((_seconds(at, path, line, use), asked, written))
    found.sort()
    return [(at - found[0][0], prompt, output) for at, prompt, output in found]


def _named(columns: dict[str, list[str]], names: tuple[str, ...], path: str, use: str) -> list[str]:
    for name, cells in columns.items():
        if name.lower() in names:
            return cells
    raise RequestError(f"{use}: {path} needs a column called {' or '.join(names[:3])}; it has {', '.join(columns)}.")


def _seconds(cell: str, path: str, line: int, use: str) -> float:
    """A time as seconds: a number, or a date and time."""
    try:
        return float(cell)
    except ValueError:
        pass
    try:  # seven digits after the second (Azure) are one more than Python reads
        head, _, digits = cell.partition(".")
        return datetime.fromisoformat(f"{head}.{digits[:6]}" if digits else cell).timestamp()
    except ValueError:
        raise RequestError(
            f"{use}: {path}, line {line}: a time is seconds or a date and time; got {cell[:40]!r}."
        ) from None
