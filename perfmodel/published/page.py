"""A comparison as one HTML file that needs nothing else: predicted against measured, and the tables."""

from __future__ import annotations

from math import ceil, floor, log10
from pathlib import Path
from typing import Any

from perfmodel.published.comparison import Comparison
from perfmodel.published.predictions import Prediction

SIDE, MARGIN = 560, 56
"""Pixels of the plot's square, and of the space around it for labels."""
COLOURS = 8
"""Colours that the page has (Okabe & Ito 2008); further metrics take them again."""


def page(run: Comparison) -> str:
    """The page; every text in it is escaped."""
    from jinja2 import Environment, StrictUndefined

    frame = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = frame.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    tables = [{"title": t.title, "names": list(t.columns), "rows": list(t.rows())} for t in run.tables()]
    return template.render(title=run.title(), left_out=run.left_out(), tables=tables, plot=plot(run.predictions))


def plot(found: list[Prediction]) -> dict[str, Any] | None:
    """A square of decades with the points of each metric; None where nothing was predicted."""
    scored = [p for p in found if not p.reason]
    if not scored:
        return None
    values = [value for p in scored for value in (p.row.value, p.expected)]
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    high = max(high, low + 1)

    def place(value: float) -> float:
        return (log10(value) - low) / (high - low) * SIDE

    series: dict[str, list[str]] = {}
    for p in scored:
        mark = f"M{MARGIN + place(p.row.value):.1f} {MARGIN + SIDE - place(p.expected):.1f}h0"
        series.setdefault(p.row.metric, []).append(mark)
    ordered = sorted(series.items(), key=lambda item: -len(item[1]))
    return {
        "side": SIDE,
        "margin": MARGIN,
        "ticks": [{"at": place(10.0**n), "label": _power(n)} for n in range(low, high + 1)],
        "series": [
            {"metric": metric, "n": len(marks), "colour": i % COLOURS, "path": "".join(marks)}
            for i, (metric, marks) in enumerate(ordered)
        ],
    }


def _power(n: int) -> str:
    """10ⁿ as a label."""
    return f"{10.0**n:,.0f}" if 0 <= n <= 4 else f"{10.0**n:g}" if -4 < n < 0 else f"1e{n}"
