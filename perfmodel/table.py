"""Named columns → text, CSV, HTML or a DataFrame. Shows numbers, computes none."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

SHOWN_ROWS = 20


class Table:
    """Columns of equal length, by name; a column is a list or a NumPy array."""

    def __init__(self, columns: Mapping[str, Any], title: str = "") -> None:
        self.columns = dict(columns)
        self.title = title
        lengths = {len(column) for column in self.columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"columns of a Table have one length; got {sorted(lengths)}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, name: str) -> Any:
        return self.columns[name]

    def rows(self) -> Iterable[tuple[Any, ...]]:
        lists = [c.tolist() if hasattr(c, "tolist") else c for c in self.columns.values()]
        return zip(*lists, strict=True)

    def to_frame(self) -> Any:
        """A pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.columns)

    def to_csv(self) -> str:
        """RFC 4180 text with a header."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_csv_cell(cell) for cell in row] for row in self.rows())
        return text.getvalue()

    def to_html(self) -> str:
        """An HTML table, every cell escaped."""
        head = "".join(f"<th>{escape(str(name))}</th>" for name in self.columns)
        body = "".join("<tr>" + "".join(f"<td>{escape(shown(c))}</td>" for c in row) + "</tr>" for row in self.rows())
        caption = f"<caption>{escape(self.title)}</caption>" if self.title else ""
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _repr_html_(self) -> str:
        """As notebooks show it: the first rows, and how many there are."""
        if len(self) <= SHOWN_ROWS:
            return self.to_html()
        first = Table({name: column[:SHOWN_ROWS] for name, column in self.columns.items()}, self.title)
        return f"{first.to_html()}<p>{SHOWN_ROWS} of {len(self):,} rows; to_frame() has all.</p>"

    def to_text(self) -> str:
        """Aligned plain text: words to the left, numbers to the right."""
        cells = [[shown(cell) for cell in row] for row in self.rows()]
        right = [_numeric(column) for column in self.columns.values()]
        lines = [list(self.columns), *cells]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        text = "\n".join(_aligned(line, widths, right) for line in lines)
        return f"{self.title}\n{text}" if self.title else text


def shown(cell: object) -> str:
    """A cell as a person reads it: floats at four digits, the rest as it is."""
    if isinstance(cell, float):
        return f"{cell:.4g}" if abs(cell) < 1e5 else f"{cell:.3e}"
    return "" if cell is None else str(cell)


def percent(share: float | None, sign: str = "") -> str:
    """A fraction as "12.3 %"; "" for None."""
    return "" if share is None else f"{share * 100:{sign}.1f} %"


def flush_right(texts: list[str]) -> list[str]:
    """Texts that end in one column."""
    wide = max(map(len, texts), default=0)
    return [text.rjust(wide) for text in texts]


def _csv_cell(cell: object) -> object:
    # a spreadsheet would run a cell that begins so as a formula
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@") else cell


def _numeric(column: Any) -> bool:
    return all(cell is None or isinstance(cell, (int, float)) for cell in column[:50])


def _aligned(line: list[str], widths: list[int], right: list[bool]) -> str:
    parts = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True))
    return "  ".join(parts).rstrip()
