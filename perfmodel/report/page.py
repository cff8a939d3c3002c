"""`Page` → one HTML file that needs nothing else: everything escaped, nothing asked of a network."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Any

from perfmodel.report.figure import Curve, Figure, Looked, Page, Plot, WhatIf
from perfmodel.report.traces import rounded, thinned
from perfmodel.table import Table, shown

HERE = Path(__file__).parent
ROWS = 200
"""Most rows of a table that stands behind a figure; all of them are drawn."""


def html(page: Page) -> str:
    """The page. Names, captions and tables are escaped by the template, texts of plots where they were made."""
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    from perfmodel import __version__

    frame = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    frame.filters["unbroken"] = unbroken
    template = frame.from_string(_file("page.html"))
    drawn = any(figure.plots for figure in page.figures) or (
        page.what_if is not None and page.what_if.curve is not None
    )
    scripts = [get_plotlyjs(), _file("script.js")] if drawn else [_file("script.js")]
    return template.render(
        page=page,
        style=_file("style.css"),
        scripts=scripts,
        hashes=[b64encode(sha256(text.encode()).digest()).decode() for text in scripts],
        figures=[_shown(figure) for figure in page.figures],
        tables=[{"name": t.name, "caption": t.caption} | cells(t.table) for t in page.tables],
        data=inline(_data(page)),
        version=__version__,
    )


UNITS = re.compile(r"(?<=\d) (?=(?:%|USD|GPUs?|(?:[µmnkMGTPE]i?)?(?:s|B|W|Hz|FLOP)(?:/s)?)(?![\w-]))")


def unbroken(text: str) -> str:
    """Numbers that stay in one line with their units."""
    return UNITS.sub("\u00a0", text)


def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _data(page: Page) -> dict[str, Any]:
    """What the page's script draws."""
    plots = {f"{figure.name}-{i}": plot_data(plot) for figure in page.figures for i, plot in enumerate(figure.plots)}
    return {"plots": plots, "what_if": page.what_if and what_if_data(page.what_if)}


def plot_data(plot: Plot) -> dict[str, Any]:
    """One plot as plotly takes it."""
    return {"data": plot.traces, "layout": plot.layout}


def what_if_data(what_if: WhatIf) -> dict[str, Any]:
    """A grid as the script looks it up: texts and points by the flat index over their axes."""
    return {
        "axes": [{"values": list(axis.values), "start": axis.start} for axis in what_if.axes],
        "numbers": [_looked(number) for number in what_if.numbers],
        "verdict": _looked(what_if.verdict) | {"good": [int(good) for good in what_if.good]},
        "curve": what_if.curve and _curve(what_if.curve),
    }


def _curve(curve: Curve) -> dict[str, Any]:
    return {
        "axes": list(curve.axes),
        "x": [rounded(x) for x in curve.x],
        "y": [rounded(y) for y in curve.y],
        "ok": [int(ok) for ok in curve.ok],
        "layout": curve.layout,
    }


def _looked(number: Looked) -> dict[str, Any]:
    return {"axes": list(number.axes), "figures": list(number.figures), "notes": list(number.notes)}


def _shown(figure: Figure) -> dict[str, Any]:
    """What the template needs of a figure."""
    fewer = [plot for plot in figure.plots if plot.drawn < plot.of]
    note = f" {fewer[0].drawn:,} of {fewer[0].of:,} points are drawn, evenly chosen." if fewer else ""
    plots = [
        {"id": f"{figure.name}-{i}", "title": plot.title, "height": plot.layout["height"]}
        for i, plot in enumerate(figure.plots)
    ]
    table = figure.table or (traced(figure.plots) if figure.plots else None)
    rows = None if table is None else cells(table)
    return {
        "name": figure.name,
        "title": figure.title,
        "caption": figure.caption + note,
        "plots": plots,
        "table": rows,
    }


def traced(plots: Sequence[Plot]) -> Table:
    """What plots draw, as numbers: a row a point. Bands and lines to compare with are left out."""
    rows = [
        (plot.title, plain(trace["name"]), x, plain(y) if isinstance(y, str) else y)
        for plot in plots
        for trace in plot.traces
        if not trace["meta"].get("band") and trace.get("hoverinfo") != "skip"
        for x, y in zip(trace["x"], trace["y"], strict=True)
    ]
    titles = [_axis_title(plots[0], "xaxis", "value"), _axis_title(plots[0], "yaxis", "name")]
    heads = ["plot", "series", "x", "y"] if len(plots) > 1 else ["plot", "series", *titles]
    kept = [i for i in range(4) if i > 0 or len(plots) > 1]
    return Table({heads[i]: [row[i] for row in rows] for i in kept})


def _axis_title(plot: Plot, name: str, otherwise: str) -> str:
    return plain(plot.layout.get(name, {}).get("title", {}).get("text", "")) or otherwise


def plain(text: str) -> str:
    """A text of a plot as it was before it was escaped."""
    return unescape(text.replace("<br>", ", "))


def cells(table: Table) -> dict[str, Any]:
    """A table as texts, with which of its columns are numbers; of long ones some rows, evenly chosen."""
    rows = thinned(list(table.rows()), ROWS)
    left_out = len(table) - len(rows)
    numeric = [
        bool(rows) and all(isinstance(row[i], (int, float, type(None))) for row in rows)
        for i in range(len(table.columns))
    ]
    return {
        "title": table.title,
        "names": list(table.columns),
        "numeric": numeric,
        "rows": [[cell_text(cell) for cell in row] for row in rows],
        "more": f"{len(rows):,} of {len(table):,} rows, evenly chosen." if left_out else "",
    }


def cell_text(cell: object) -> str:
    """A cell as a person reads it: whole numbers with their thousands."""
    if isinstance(cell, bool) or cell is None or not isinstance(cell, int):
        return {True: "yes", False: "no"}[cell] if isinstance(cell, bool) else shown(cell).strip()
    return f"{cell:,}"


def inline(data: Any) -> str:
    """JSON that ends no script element, whatever it holds."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
