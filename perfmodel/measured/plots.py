"""Points and lines → plots as plain data for plotly. Every text in them is escaped: plotly reads a little HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log2, log10
from typing import Any, NamedTuple

from perfmodel.measured.scores import Point
from perfmodel.table import percent
from perfmodel.units import show_bytes, show_flops_per_s, show_seconds

MOST = 700
"""Points that one plot draws at most, so that a page stays small."""
COLOURS = 8
"""Colours that the page has; further series take them again."""


class Plot(NamedTuple):
    """Traces and axes of one plot; `title` is also what a screen reader says."""

    title: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any]
    drawn: int = 0
    of: int = 0


def thinned(points: Sequence[Point], most: int = MOST) -> list[Point]:
    """At most that many of `points`, evenly chosen."""
    if len(points) <= most:
        return list(points)
    return [points[i * len(points) // most] for i in range(most)]


def markers(
    name: str, colour: int, at: Sequence[tuple[float, float]], texts: Sequence[str], symbol: str = "circle"
) -> dict[str, Any]:
    """A series of points."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escape(name[:60]),
        "meta": {"colour": colour % COLOURS},
        "x": [rounded(x) for x, _ in at],
        "y": [rounded(y) for _, y in at],
        "text": list(texts),
        "hoverinfo": "text",
        "marker": {"size": 7, "opacity": 0.7, "symbol": symbol},
    }


def line(
    name: str, at: Sequence[tuple[float, float]], colour: int | None = None, dash: str = "solid"
) -> dict[str, Any]:
    """A line that joins points; without a colour it is one to compare with, and has no entry in the legend."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": escape(name[:60]),
        "meta": {"colour": None if colour is None else colour % COLOURS},
        "x": [rounded(x) for x, _ in at],
        "y": [rounded(y) for _, y in at],
        "hoverinfo": "name" if colour is not None else "skip",
        "showlegend": colour is not None,
        "line": {"dash": dash, "width": 1.5},
    }


def bars(name: str, colour: int, names: Sequence[str], values: Sequence[float], texts: Sequence[str]) -> dict[str, Any]:
    """Bars to the right, one a name."""
    return {
        "type": "bar",
        "orientation": "h",
        "name": escape(name[:60]),
        "meta": {"colour": colour % COLOURS},
        "x": [rounded(value) for value in values],
        "y": [escape(one) for one in names],
        "text": list(texts),
        "textposition": "none",
        "hoverinfo": "text",
    }


def axis(title: str, suffix: str = "") -> dict[str, Any]:
    return {"title": {"text": title}, "ticksuffix": suffix, "automargin": True}


def log_axis(title: str, values: Sequence[float], suffix: str = "") -> dict[str, Any]:
    """A logarithmic axis with prefixes of units, as in 10 µs; ticks at 1, 2 and 5 where decades are few."""
    decades = log10(max(values) / min(values)) if values else 1
    kind = {"type": "log", "exponentformat": "SI", "minexponent": 0, "dtick": 1 if decades > 3 else "D2"}
    return axis(title, suffix) | kind


def sizes_axis(title: str, sizes: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis whose ticks are the sizes that were measured, as far as they have room."""
    shown = sorted({2.0 ** round(log2(size)) for size in sizes if size > 0})
    shown = shown[:: max(1, -(-len(shown) // 8))]
    return axis(title) | {
        "type": "log",
        "tickmode": "array",
        "tickvals": shown,
        "ticktext": [f"{size:,.0f}" if size < 10_000 else f"{size / 1024:,.0f}k" for size in shown],
    }


def equal_lines(values: Sequence[float]) -> list[dict[str, Any]]:
    """Predicted = measured, and a fifth off to either side."""
    low, high = min(values) / 1.5, max(values) * 1.5
    return [
        line("equal", [(low, low), (high, high)]),
        *(line("a fifth off", [(low, low * k), (high, high * k)], dash="dot") for k in (1 / 1.2, 1.2)),
    ]


def hover(point: Point) -> str:
    """What a point says of itself: its shape, its values, where it was measured."""
    one, show = point.one, value_text(point)
    figure = point.column("figure") or "time"
    lines = [one.shape_text, f"{figure}: measured {show(one.value)}"]
    if one.predicted is not None:
        lines[1] += f", predicted {show(one.predicted.expected)} ({percent(point.error, '+')})"
    lines.append(f"{point.of.device.name}, torch {point.of.software['torch']}" + ", used in a fit" * one.used_in_fit)
    return "<br>".join(escape(text[:120]) for text in lines)


def rate_hover(point: Point) -> str:
    """The same, and what rate it reached."""
    assert point.one.flops
    return f"{hover(point)}<br>{escape(show_flops_per_s(point.one.flops / point.one.value))}"


def value_text(point: Point) -> Any:
    """How values of its figure are shown."""
    figure = point.column("figure")
    if not figure or figure.endswith("_s"):
        return show_seconds
    return show_bytes if figure.endswith("_bytes") else "{:.3g}".format


def rounded(value: float) -> float:
    """Four digits, which no screen tells from more."""
    return float(f"{value:.4g}")
