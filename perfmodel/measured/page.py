"""Results as one HTML file that needs nothing else: words, figures, tables, and where they are from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perfmodel.errors import RequestError
from perfmodel.measured.figures import Figure, figures
from perfmodel.measured.report import group_table, op_table, worst_table
from perfmodel.measured.results import Results
from perfmodel.measured.scores import by_op, honest, points_of, worst
from perfmodel.measured.summary import basis, cards, headline
from perfmodel.table import Table, shown
from perfmodel.units import show_bytes

BY = ("device", "torch", "date", "model", "group")


def page(results: Sequence[Results]) -> str:
    """The page; every text in it is escaped, and it asks nothing of a network."""
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    points = points_of(results)
    if not points:
        raise RequestError("There is nothing to draw a page of: these results hold no measurement.")
    drawn = figures(points)
    frame = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    frame.filters["unbroken"] = lambda text: text.replace(" %", "\u00a0%")
    template = frame.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    tables = [group_table(points, BY), op_table(by_op(honest(points))), worst_table(worst(honest(points)))]
    return template.render(
        headline=headline(points),
        basis=basis(points),
        partial=sum(not held.complete for held in results),
        cards=cards(points),
        figures=[_shown(figure) for figure in drawn],
        tables=[_cells(table) for table in (*tables, provenance(results)) if len(table)],
        plotly=get_plotlyjs() if any(figure.plots for figure in drawn) else "",
        data=_inline(
            {f"{figure.name}-{i}": plot_data(figure, i) for figure in drawn for i in range(len(figure.plots))}
        ),
    )


def plot_data(figure: Figure, i: int) -> dict[str, Any]:
    """One plot of a figure as plotly takes it."""
    return {"data": figure.plots[i].traces, "layout": figure.plots[i].layout}


def provenance(results: Sequence[Results]) -> Table:
    """Where each file's figures are from, so that they can be measured again."""
    return Table(
        {
            "device": [held.device.name for held in results],
            "driver": [held.device.driver or "–" for held in results],
            "memory": [show_bytes(held.device.memory_bytes) for held in results],
            "units": [held.device.compute_units for held in results],
            "clock": [f"{held.device.clock_hz / 1e6:,.0f} MHz" if held.device.clock_hz else "–" for held in results],
            "temperature": [_degrees(held) for held in results],
            "software": [", ".join(f"{name} {v}" for name, v in held.software.items()) for held in results],
            "date": [held.date for held in results],
            "command": [held.command for held in results],
            "measurements": [f"{len(held.measurements):,}" + ", not ended" * (not held.complete) for held in results],
        },
        "Where these figures are from",
    )


def _degrees(held: Results) -> str:
    return "–" if held.device.temperature_c is None else f"{held.device.temperature_c:.0f} °C"


def _shown(figure: Figure) -> dict[str, Any]:
    """What the template needs of a figure."""
    thinned = [plot for plot in figure.plots if plot.drawn < plot.of]
    note = f" {thinned[0].drawn:,} of {thinned[0].of:,} points are drawn, evenly chosen." if thinned else ""
    plots = [
        {"id": f"{figure.name}-{i}", "title": plot.title, "height": plot.layout["height"]}
        for i, plot in enumerate(figure.plots)
    ]
    return {"name": figure.name, "title": figure.title, "caption": figure.caption + note, "plots": plots}


def _cells(table: Table) -> dict[str, Any]:
    rows = [[shown(cell) for cell in row] for row in table.rows()]
    return {"title": table.title, "names": list(table.columns), "rows": rows}


def _inline(data: Any) -> str:
    """JSON that ends no script element, whatever it holds."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
