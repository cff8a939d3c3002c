"""`Sweep`: the table of a study, computed when it is first asked for, and what can be made of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from perfmodel.frontier import front
from perfmodel.study.columns import Column, column
from perfmodel.study.encoded import table_of
from perfmodel.study.parts import parts
from perfmodel.study.rows import Columns, together
from perfmodel.study.running import Wanted, jobs_checked, results
from perfmodel.study.streamed import written
from perfmodel.study.study import Study
from perfmodel.study.summary import Summary
from perfmodel.table import Table

SHOWN_ROWS = 20
"""Rows that a notebook shows."""
SHOWN = (
    "model",
    "gpu",
    "gpu_count",
    "tp",
    "pp",
    "batch",
    "prompt",
    "output",
    "fits",
    "ttft_s",
    "tpot_s",
    "tokens_per_s",
)


class Sweep:
    """The cases of a study, one row each, units in the names of the columns.

    `sweep["ttft_ms"]` is a column, in another unit where its name says so; `len` counts the rows of the table.
    """

    def __init__(self, study: Study, jobs: int = 1, scheduler: str | None = None) -> None:
        self.study = study
        self._jobs, self._scheduler = jobs_checked(jobs), scheduler

    def __repr__(self) -> str:
        return f"<Sweep of {self.study.cases:,} cases>"

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, name: str) -> Any:
        found = self.column(name)
        return found.of(self.columns)

    @cached_property
    def table(self) -> Table:
        """All rows, in memory."""
        return table_of(self._columns, self.study.columns)

    @cached_property
    def _columns(self) -> Columns:
        found = results(self.study, parts(self.study), Wanted(), self._jobs, self._scheduler)
        return together((part.data for part in found), self.study)

    @property
    def columns(self) -> dict[str, Any]:
        """Every column by its name."""
        return self.table.columns

    @property
    def fitting(self) -> Table:
        """The rows of what fits."""
        fits = self.columns.get("fits")
        return self.table if fits is None else picked(self.table, fits)

    def column(self, name: str) -> Column:
        """The column that a name means, in its own unit or another; RequestError where there is none."""
        return column(name, self.columns, "sweep")

    def to_frame(self) -> Any:
        """A pandas DataFrame, one row a case."""
        return self.table.to_frame()

    def to_csv(self) -> str:
        """RFC 4180 text with a header; what no figure is known of is empty."""
        from perfmodel.study.encoded import encoded, header

        kinds = {name: self.study.columns.get(name, "") for name in self._columns}
        return (header(kinds, "csv") + encoded(self._columns, kinds, "csv")).decode()

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract of docs/json.md, with every row."""
        from perfmodel.study.contract import sweep_dict

        return sweep_dict(self.study, self.columns, len(self.table), len(self.fitting))

    def write(
        self, file: str | Path, resume: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> Summary:
        """Write every row to FILE.csv, FILE.jsonl or FILE.parquet part by part, in the memory of a few parts.

        Parts lie in FILE.parts until the file is whole, so that an interrupted sweep goes on with `resume`; the file is
        the same byte for byte. Returns how many rows there are, how many fit, and why others do not.
        """
        return written(self.study, Path(file), resume, self._jobs, self._scheduler, progress)

    def pareto_table(self, x: str, y: str) -> Table:
        """The rows that fit and that no other beats in both figures, from the best x on."""
        rows = self.fitting
        a, b = self.column(x), self.column(y)
        return picked(rows, front(a.of(rows.columns), b.of(rows.columns), a.more_is_better, b.more_is_better))

    def plot(self, x: str, y: str, color: str | None = None, fits_only: bool = True) -> Any:
        """A plotly figure of figure `y` over `x`, a colour for each value of `color`."""
        from perfmodel.study.figures import lines

        return lines(
            self.fitting if fits_only else self.table,
            self.column(x),
            self.column(y),
            self._colour(color),
            self._varied(),
        )

    def pareto(self, x: str, y: str, color: str | None = None) -> Any:
        """A plotly figure of all rows that fit, and of the front of those that no other beats in both figures."""
        from perfmodel.study.figures import fronted

        return fronted(
            self.fitting, self.pareto_table(x, y), self.column(x), self.column(y), self._colour(color), self._varied()
        )

    def _colour(self, name: str | None) -> Column | None:
        return None if name is None else self.column(name)

    def _varied(self) -> list[str]:
        """Columns of the axes that have several values."""
        axes = (*self.study.kinds, *self.study.numbers)
        return [a.name for a in axes if (a.drawn is not None or len(a.values) > 1) and a.name in self.columns]

    def _repr_html_(self) -> str:
        names = [name for name in (*self._varied(), *SHOWN) if name in self.columns]
        head = Table({name: self.table[name][:SHOWN_ROWS] for name in dict.fromkeys(names)}, self._title())
        return head.to_html()

    def _title(self) -> str:
        fits = self.columns.get("fits")
        told = f"{len(self):,} cases" + (f", {int(fits.sum()):,} of them fit" if fits is not None else "")
        return f"{told}; the first {SHOWN_ROWS}" if len(self) > SHOWN_ROWS else told


def picked(table: Table, rows: Any) -> Table:
    """Some rows of a table, by truths or places."""
    return Table({name: values[rows] for name, values in table.columns.items()}, table.title)
