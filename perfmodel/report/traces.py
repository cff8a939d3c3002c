"""Points, lines and bars → traces and axes as plain data for plotly.

Every text in them is escaped here, once: plotly reads a little HTML. A trace names its colour by a number in `meta`,
which the page's script looks up in the theme.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from math import ceil, floor, log2, log10
from typing import Any, TypeVar

from perfmodel.report.words import shortened
from perfmodel.units import show_bytes, show_scaled, show_seconds

MOST = 700
"""Points that one plot draws at most, so that a page stays small."""
COLOURS = 8
"""Colours that the page has; further series take them again."""
SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "x")
One = TypeVar("One")
At = tuple[float, float]


def thinned(points: Sequence[One], most: int = MOST) -> list[One]:
    """At most that many of `points`, evenly chosen."""
    if len(points) <= most:
        return list(points)
    return [points[i * len(points) // most] for i in range(most)]


def said(lines: Iterable[str]) -> str:
    """Lines of a hover text."""
    return "<br>".join(escape(line[:120]) for line in lines)


def named(name: str) -> str:
    """A name as a legend or an axis has it."""
    return escape(shortened(name))


def markers(
    name: str,
    colour: int,
    at: Sequence[At],
    texts: Sequence[str],
    symbol: str = "circle",
    sizes: Sequence[float] | None = None,
) -> dict[str, Any]:
    """A series of points; `texts` are of `said`. Hollow ones have a line that dark paper shows too."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": named(name),
        "meta": {"colour": colour % COLOURS},
        "x": [rounded(x) for x, _ in at],
        "y": [rounded(y) for _, y in at],
        "text": list(texts),
        "hoverinfo": "text",
        "marker": {"size": 7 if sizes is None else list(sizes), "opacity": 0.75, "symbol": symbol}
        | ({"line": {"width": 1.5}, "opacity": 1} if symbol.endswith("-open") else {}),
    }


def line(name: str, at: Sequence[At], colour: int | None = None, dash: str = "solid") -> dict[str, Any]:
    """A line that joins points; without a colour it is one to compare with, and has no entry in the legend."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": named(name),
        "meta": {"colour": None if colour is None else colour % COLOURS},
        "x": [rounded(x) for x, _ in at],
        "y": [rounded(y) for _, y in at],
        "hoverinfo": "name" if colour is not None else "skip",
        "showlegend": colour is not None,
        "line": {"dash": dash, "width": 1.5},
    }


def dotted_line(name: str, at: Sequence[At], colour: int, texts: Sequence[str], dash: str = "solid") -> dict[str, Any]:
    """A line with a mark at each of its points, which say something."""
    found = line(name, at, colour, dash)
    return found | {
        "mode": "lines+markers",
        "text": list(texts),
        "hoverinfo": "text",
        "marker": {"size": 6, "symbol": "circle" if dash == "solid" else "circle-open"},
        "line": {"dash": dash, "width": 2},
    }


def equal_lines(values: Sequence[float]) -> list[dict[str, Any]]:
    """Predicted = measured, and a fifth off to either side."""
    least, most = min(values) / 1.5, max(values) * 1.5
    return [
        line("equal", [(least, least), (most, most)]),
        *(line("a fifth off", [(least, least * k), (most, most * k)], dash="dot") for k in (1 / 1.2, 1.2)),
    ]


def steps(name: str, at: Sequence[At], colour: int) -> dict[str, Any]:
    """A line that rises in steps, each held to the next point."""
    found = line(name, at, colour)
    return found | {"line": {"shape": "hv", "width": 2}, "hoverinfo": "x+y+name"}


def band(name: str, low: Sequence[At], high: Sequence[At], colour: int) -> dict[str, Any]:
    """The area between two lines."""
    around = [*low, *reversed(high)]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": named(name),
        "meta": {"colour": colour % COLOURS, "band": True},
        "x": [rounded(x) for x, _ in around],
        "y": [rounded(y) for _, y in around],
        "fill": "toself",
        "hoverinfo": "skip",
        "showlegend": False,
        "line": {"width": 0},
    }


def bars(
    name: str,
    colour: int,
    names: Sequence[str],
    values: Sequence[float],
    texts: Sequence[str],
    ends: Sequence[At] | None = None,
    colours: Sequence[int] | None = None,
    bases: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Bars to the right, one a name; `texts` are of `said`.

    ends     low and high of each, as an error bar
    colours  of each, in place of one for all
    bases    where each starts, in place of 0
    """
    found: dict[str, Any] = {
        "type": "bar",
        "orientation": "h",
        "name": named(name),
        "meta": {"colour": colour % COLOURS if colours is None else [c % COLOURS for c in colours]},
        "x": [rounded(value) for value in values],
        "y": [named(one) for one in names],
        "text": list(texts),
        "textposition": "none",
        "hoverinfo": "text",
        "marker": {},
    }
    if bases is not None:
        found["base"] = [rounded(base) for base in bases]
    if ends is not None:
        pairs = list(zip(ends, values, strict=True))
        up, down = ([rounded(abs(end[i] - value)) for end, value in pairs] for i in (1, 0))
        found["error_x"] = {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1.5}
    return found


# ── axes ─────────────────────────────────────────────────────────────────────────────────────────


def axis(title: str, suffix: str = "") -> dict[str, Any]:
    return {"title": {"text": escape(title)}, "ticksuffix": suffix, "automargin": True}


def si_axis(title: str, suffix: str = "") -> dict[str, Any]:
    """A linear axis from 0 with prefixes of units, as in 10 ms."""
    prefixes = {"exponentformat": "SI", "minexponent": 0, "rangemode": "tozero", "nticks": 5, "tickangle": 0}
    return axis(title, suffix) | prefixes


SHOWS: dict[str, Callable[[float], str]] = {"s": show_seconds, "B": show_bytes, "": show_scaled}
"""Units of a logarithmic axis → how its ticks are written."""
MOST_TICKS = 7
LADDERS = ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0))
"""Where ticks stand in a decade: the finest that leaves few enough."""


def log_axis(title: str, values: Sequence[float], unit: str = "") -> dict[str, Any]:
    """A logarithmic axis whose ticks carry their unit, as in 10 µs."""
    ticks = _ticks(min(values), max(values)) if values else []
    return axis(title) | {
        "type": "log",
        "tickmode": "array",
        "tickvals": ticks,
        "ticktext": [SHOWS[unit](tick).strip() for tick in ticks],
        "tickangle": 0,
    }


def _ticks(low: float, high: float) -> list[float]:
    decades = range(floor(log10(low)) - 1, ceil(log10(high)) + 2)
    found: list[float] = []
    for ladder in LADDERS:
        finer = [float(f"{step}e{n}") for n in decades for step in ladder]
        finer = [tick for tick in finer if low / 1.3 <= tick <= high * 1.3]
        if found and len(finer) > MOST_TICKS:
            break
        found = finer
    return found[:: -(-len(found) // MOST_TICKS) or 1]


def sizes_axis(title: str, sizes: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis of whole sizes, whose ticks are the powers of two among them, as far as they have room."""
    shown = sorted({2.0 ** round(log2(size)) for size in sizes if size > 0})
    shown = shown[:: max(1, -(-len(shown) // 7))]
    return axis(title) | {
        "type": "log",
        "tickmode": "array",
        "tickvals": shown,
        "ticktext": [f"{size:,.0f}" if size < 1024 else f"{size / 1024:,.0f}k" for size in shown],
        "tickangle": 0,
    }


def names_axis(names: Sequence[str]) -> dict[str, Any]:
    """An axis of names, the first of them at the top."""
    return axis("") | {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": [named(name) for name in reversed(list(dict.fromkeys(names)))],
        "dtick": 1,
    }


def rounded(value: float) -> float:
    """Four digits, which no screen tells from more."""
    return float(f"{value:.4g}")
