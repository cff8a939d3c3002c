"""Line charts as SVG, for the pictures of the handbook (docs/renew.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT, LEFT, TOP = 640, 360, 72, 40
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
"""Told apart by everybody (Okabe & Ito 2008)."""

Points = Sequence[tuple[float, float]]


def lines(title: str, x: str, y: str, series: Mapping[str, Points], log_x: bool = False, log_y: bool = False) -> str:
    """An SVG of lines through points, one a series; axes begin at 0 unless they are logarithmic."""
    xs, ys = ([point[i] for points in series.values() for point in points] for i in (0, 1))
    across, up = Axis(xs, log_x), Axis(ys, log_y)

    def place(px: float, py: float) -> str:
        return f"{LEFT + across.share(px) * WIDTH:.1f},{TOP + (1 - up.share(py)) * HEIGHT:.1f}"

    parts = [_text(LEFT, TOP - 18, title, "start", "bold")]
    for value in across.ticks():
        at = LEFT + across.share(value) * WIDTH
        parts.append(_rule(at, TOP, at, TOP + HEIGHT) + _text(at, TOP + HEIGHT + 18, _number(value)))
    for value in up.ticks():
        at = TOP + (1 - up.share(value)) * HEIGHT
        parts.append(_rule(LEFT, at, LEFT + WIDTH, at) + _text(LEFT - 8, at + 4, _number(value), "end"))
    parts.append(_text(LEFT + WIDTH / 2, TOP + HEIGHT + 40, x))
    parts.append(f'<g transform="rotate(-90)">{_text(-TOP - HEIGHT / 2, 16, y)}</g>')
    for i, (name, points) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(place(*point) for point in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        row = TOP + 18 + 18 * i
        parts.append(f'<rect x="{LEFT + WIDTH + 14}" y="{row - 9}" width="14" height="4" fill="{colour}"/>')
        parts.append(_text(LEFT + WIDTH + 34, row, name, "start"))
    wide = LEFT + WIDTH + 40 + 7 * max(map(len, series))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {TOP + HEIGHT + 52}" role="img"'
    style = ' font-family="system-ui, sans-serif" font-size="12"><rect width="100%" height="100%" fill="#ffffff"/>\n'
    return head + f' aria-label="{escape(title, quote=True)}"' + style + "\n".join(parts) + "\n</svg>\n"


class Axis:
    """Where values lie between an axis's ends, as shares of its length."""

    def __init__(self, values: Iterable[float], log: bool) -> None:
        values, self.log = list(values), log
        self.low = min(values) if log else min(0.0, min(values))
        self.high = max(values)

    def share(self, value: float) -> float:
        """Where `value` lies: 0 at the lower end, 1 at the upper."""
        if self.log:
            return (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values between the ends."""
        if self.log:
            decades = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
            found = [m * 10.0**n for n in decades for m in (1, 2, 5)]
        else:
            step = 10.0 ** floor(log10(self.high - self.low))
            step *= next(m for m in (0.1, 0.2, 0.5, 1, 2) if (self.high - self.low) / (step * m) <= 7)
            found = [step * i for i in range(floor(self.low / step), ceil(self.high / step) + 1)]
        return [value for value in found if -1e-9 <= self.share(value) <= 1 + 1e-9]


def _text(x: float, y: float, text: str, anchor: str = "middle", weight: str = "normal") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" fill="#333333"'
    return f"<text {place}>{escape(text)}</text>"


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#e5e5e5"/>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
