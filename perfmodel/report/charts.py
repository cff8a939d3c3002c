"""Plots that several pages have: stacked bars, points and their front, a tornado, steps of a probability."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from perfmodel.report.figure import Plot
from perfmodel.report.traces import (
    SYMBOLS,
    axis,
    bars,
    line,
    log_axis,
    markers,
    names_axis,
    said,
    si_axis,
    steps,
    thinned,
)

Show = Callable[[float], str]
REST = "free"
"""A part of a bar that nothing takes."""


def stacked_bars(
    title: str,
    names: Sequence[str],
    parts: Mapping[str, Sequence[float]],
    show: Show,
    unit: str = "",
    mark: tuple[str, float] | None = None,
) -> Plot:
    """One bar a name, of parts beside each other (`REST` is left over); `mark` is a line across them, and its name."""
    traces = []
    for colour, (part, sizes) in enumerate(parts.items()):
        if any(sizes):
            texts = [said([name, f"{part}: {show(size)}"]) for name, size in pairs(names, sizes)]
            trace = bars(part, colour, names, sizes, texts)
            traces.append(trace | {"meta": {"colour": None}, "opacity": 0.35} if part == REST else trace)
    layout: dict[str, Any] = {
        "barmode": "stack",
        "xaxis": si_axis("", unit),
        "yaxis": names_axis(names) | ({"visible": False} if len(names) == 1 else {}),
        "height": 130 + 34 * len(names),
        "legend": {"traceorder": "normal"},
    }
    if mark is not None:
        layout["shapes"] = [
            {"type": "line", "x0": mark[1], "x1": mark[1], "y0": 0, "y1": 1, "yref": "paper", "line": {"dash": "dot"}}
        ]
        layout["annotations"] = [
            {"x": mark[1], "y": 1, "yref": "paper", "text": said([mark[0]]), "showarrow": False, "yanchor": "bottom"}
        ]
        layout["legend"] |= {"y": -0.4, "yanchor": "top"}
        layout["margin"] = {"l": 8, "r": 40, "t": 26, "b": 8}
    return Plot(title, traces, layout)


def pairs(names: Sequence[str], sizes: Sequence[float]) -> list[tuple[str, float]]:
    """Names beside sizes; as many of both."""
    return list(zip(names, sizes, strict=True))


class Spot(NamedTuple):
    """A point of a front: where, of which series, what it says, and on which front it is; "" on none."""

    x: float
    y: float
    series: str
    told: Sequence[str]
    front: str = ""


MOST_FRONTS = 8
"""Lines of fronts that a plot has room for."""


def pareto(title: str, spots: Sequence[Spot], x: str, y: str, units: tuple[str, str] = ("", "")) -> Plot:
    """Points by series, and each front as a line through those that nothing beats; both axes logarithmic."""
    held = [spot for spot in spots if spot.x > 0 and spot.y > 0]
    others = thinned([spot for spot in held if not spot.front])
    best = thinned([spot for spot in held if spot.front])
    names = list(dict.fromkeys(spot.front for spot in best))
    traces = []
    for name in names if len(names) <= MOST_FRONTS else ():
        along = sorted((spot.x, spot.y) for spot in best if spot.front == name)
        if len(along) > 1:
            traces.append(line(name, along))
    series_names = list(dict.fromkeys(spot.series for spot in (*best, *others)))
    for i, series in enumerate(series_names):
        symbol = SYMBOLS[i % len(SYMBOLS)]
        for name, some, mark, size in (
            (series, others, f"{symbol}-open", 6),
            (f"{series}, on the front", best, symbol, 10),
        ):
            mine = [spot for spot in some if spot.series == series]
            if mine:
                at, texts = [(spot.x, spot.y) for spot in mine], [said(spot.told) for spot in mine]
                traces.append(markers(name, i, at, texts, mark, [size] * len(mine)))
    layout = {
        "xaxis": log_axis(x, [spot.x for spot in held], units[0]),
        "yaxis": log_axis(y, [spot.y for spot in held], units[1]),
        "height": 440 + 10 * len(traces),
    }
    return Plot(title, traces, layout, len(others) + len(best), len(held))


NOTICED = 0.002
"""Part of an answer that an input must move for it to have a bar."""


class Swing(NamedTuple):
    """An input, and the answer with less and with more of it."""

    name: str
    low: float
    high: float
    told: tuple[str, str]


def tornado(title: str, swings: Sequence[Swing], answer: float, x: str, unit: str = "") -> Plot:
    """Bars from the answer to what each input makes of it, the longest first; those that move nothing are left out."""
    ordered = sorted(swings, key=lambda swing: -abs(swing.high - swing.low))
    ordered = [swing for swing in ordered if abs(swing.high - swing.low) > NOTICED * abs(answer)] or ordered[:1]
    names = [swing.name for swing in ordered]
    ends = (("less of it", [swing.low for swing in ordered], 0), ("more of it", [swing.high for swing in ordered], 1))
    traces = [
        bars(
            word,
            side,
            names,
            [value - answer for value in values],
            [said([swing.told[side]]) for swing in ordered],
            bases=[answer] * len(ordered),
        )
        for word, values, side in ends
    ]
    layout = {
        "barmode": "overlay",
        "xaxis": si_axis(x, unit) | {"rangemode": "normal"},
        "yaxis": names_axis(names),
        "height": 130 + 34 * len(names),
        "shapes": [{"type": "line", "x0": answer, "x1": answer, "y0": 0, "y1": 1, "yref": "paper"}],
    }
    return Plot(title, traces, layout)


def probability_steps(title: str, chances: Mapping[str, Mapping[int, float]], x: str, y: str) -> Plot:
    """For each series, the probability (0 to 1) that so many of a thing are enough; drawn in percent."""
    traces = [
        steps(name, [(float(n), 100 * chance) for n, chance in sorted(found.items())], i) | {"mode": "lines+markers"}
        for i, (name, found) in enumerate(chances.items())
    ]
    counts = sorted({n for found in chances.values() for n in found})
    layout = {
        "xaxis": axis(x) | {"tickmode": "array", "tickvals": counts[:: max(1, len(counts) // 12)]},
        "yaxis": axis(y, " %") | {"range": [0, 105]},
        "height": 340,
    }
    return Plot(title, traces, layout)


def ranked_bars(
    title: str,
    names: Sequence[str],
    values: Sequence[float],
    show: Show,
    unit: str = "",
    ends: Sequence[tuple[float, float]] | None = None,
    colours: Sequence[int] | None = None,
) -> Plot:
    """One bar a name, in the order given; `ends` are drawn as error bars."""
    texts = [said([f"{name}: {show(value)}"]) for name, value in pairs(names, values)]
    if ends is not None:
        texts = [f"{text}{said([f', 80 %: {show(a)} – {show(b)}'])}" for text, (a, b) in zip(texts, ends, strict=True)]
    trace = bars(title, 0, names, values, texts, ends, colours)
    layout = {
        "xaxis": si_axis("", unit),
        "yaxis": names_axis(names),
        "height": 90 + 30 * len(names),
        "showlegend": False,
    }
    return Plot(title, [trace], layout)
