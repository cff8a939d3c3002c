"""Rows of a sweep → plotly figures: lines over one axis, and a Pareto front. Every text in them is escaped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from perfmodel.errors import RequestError
from perfmodel.study.columns import Column
from perfmodel.table import Table, shown

MOST_POINTS = 20_000
"""Points that one figure draws; of more, as many are drawn evenly, and the title says so."""
MOST_LINES = 400
"""Lines that one figure draws; beyond, points alone."""
COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7", "#a463f2", "#97bbf5", "#9c6b4e", "#9498a0")
"""Observable's ten (Mike Bostock 2023), told apart by most people who do not tell all colours apart."""
DASHES = ("solid", "dash", "dot", "dashdot")
WIDE = 8
"""Highest over lowest from which an axis of positive numbers is logarithmic."""


def lines(table: Table, x: Column, y: Column, colour: Column | None, varied: Sequence[str]) -> Any:
    """`y` over `x`: one line for each combination of the other axes, a colour for each value of `colour`."""
    import plotly.graph_objects as go

    figure = go.Figure()
    table, note = _thinned(table)
    others = [name for name in varied if name not in (x.name, *([colour.name] if colour else []))]
    groups = list(_groups(table, colour, others))
    joined = len(groups) <= MOST_LINES and _numeric(x.of(table.columns)) and x.name in varied
    named: dict[str, int] = {}
    for key, label, rows in groups:
        first = key not in named
        at = named.setdefault(key, len(named))
        rows = rows[_order(x.of(table.columns)[rows])] if joined else rows
        figure.add_trace(
            go.Scatter(
                x=_plain(x, table, rows),
                y=_plain(y, table, rows),
                mode="lines+markers" if joined else "markers",
                name=escape(key),
                legendgroup=escape(key),
                showlegend=first and colour is not None,
                marker={"color": COLOURS[at % len(COLOURS)], "size": 5},
                line={"width": 1.5, "dash": DASHES[at // len(COLOURS) % len(DASHES)]},
                text=[escape(label)] * len(rows) if label else _told(table, rows, varied),
                hovertemplate=f"%{{text}}<br>{_title(x)} %{{x}}<br>{_title(y)} %{{y}}<extra></extra>",
            )
        )
    return _laid_out(figure, table, x, y, colour, f"{_title(y)} over {_title(x)}{note}")


def fronted(table: Table, best: Table, x: Column, y: Column, colour: Column | None, varied: Sequence[str]) -> Any:
    """All rows as points, and the front of those that no other beats in both."""
    import numpy as np
    import plotly.graph_objects as go

    figure = go.Figure()
    some, note = _thinned(table)
    for at, (key, _, rows) in enumerate(_groups(some, colour, [])):
        figure.add_trace(
            go.Scatter(
                x=_plain(x, some, rows),
                y=_plain(y, some, rows),
                mode="markers",
                name=escape(key) or "cases that fit",
                marker={"color": COLOURS[at % len(COLOURS)], "size": 5, "opacity": 0.45},
                text=_told(some, rows, varied),
                hovertemplate=f"%{{text}}<br>{_title(x)} %{{x}}<br>{_title(y)} %{{y}}<extra></extra>",
            )
        )
    rows = np.arange(len(best))
    figure.add_trace(
        go.Scatter(
            x=_plain(x, best, rows),
            y=_plain(y, best, rows),
            mode="lines+markers",
            name="Pareto front",
            line={"color": "#c0392b", "width": 2, "shape": "hv"},
            marker={"color": "#c0392b", "size": 8, "symbol": "diamond"},
            text=_told(best, rows, varied),
            hovertemplate=f"%{{text}}<br>{_title(x)} %{{x}}<br>{_title(y)} %{{y}}<extra></extra>",
        )
    )
    return _laid_out(figure, table, x, y, colour, f"No case beats these {len(best)} in both{note}")


def _groups(table: Table, colour: Column | None, others: Sequence[str]) -> Iterator[tuple[str, str, Any]]:
    """(value of the colour, the other axes in words, rows) for each combination, in the order of the table."""
    import numpy as np

    names = [*([colour.name] if colour else []), *others]
    if not names:
        yield "", "", np.arange(len(table))
        return
    held: dict[tuple[Any, ...], list[int]] = {}
    columns = [table[name].tolist() for name in names]
    for row, key in enumerate(zip(*columns, strict=True)):
        held.setdefault(key, []).append(row)
    for key, rows in held.items():
        first = shown(key[0]) if colour else ""
        label = ", ".join(f"{name} {shown(value)}" for name, value in zip(names, key, strict=True))
        yield first, label, np.asarray(rows)


def _told(table: Table, rows: Any, names: Sequence[str]) -> list[str]:
    columns = [[f"{name} {escape(shown(value))}" for value in table[name][rows].tolist()] for name in names]
    return [", ".join(cells) for cells in zip(*columns, strict=True)] if columns else [""] * len(rows)


def _thinned(table: Table) -> tuple[Table, str]:
    import numpy as np

    if not len(table):
        raise RequestError("Nothing fits, so there is nothing to draw; fits_only=False draws it all the same.")
    if len(table) <= MOST_POINTS:
        return table, ""
    rows = np.linspace(0, len(table) - 1, MOST_POINTS).astype(np.int64)
    return Table({name: c[rows] for name, c in table.columns.items()}), f" ({MOST_POINTS:,} of {len(table):,} drawn)"


def _plain(column: Column, table: Table, rows: Any) -> list[Any]:
    values = column.of(table.columns)[rows].tolist()
    return [escape(v) if isinstance(v, str) else None if v != v else v for v in values]


def _numeric(values: Any) -> bool:
    return values.dtype.kind in "if"


def _order(values: Any) -> Any:
    import numpy as np

    return np.argsort(values, kind="stable")


def _title(column: Column) -> str:
    return escape(column.asked.replace("_", " "))


def _laid_out(figure: Any, table: Table, x: Column, y: Column, colour: Column | None, title: str) -> Any:
    figure.update_layout(
        title={"text": title, "font": {"size": 15}},
        template="plotly_white",
        legend={"title": {"text": _title(colour) if colour else ""}},
        margin={"l": 60, "r": 20, "t": 50, "b": 50},
        hovermode="closest",
    )
    for name, column in (("xaxis", x), ("yaxis", y)):
        values = column.of(table.columns)
        wide = _numeric(values) and (values > 0).all() and values.max() > WIDE * values.min()
        figure.update_layout({name: {"title": {"text": _title(column)}, "type": "log" if wide else None}})
    return figure
