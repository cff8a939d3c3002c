"""What a measured point says of itself on a page."""

from __future__ import annotations

from typing import Any

from perfmodel.measured.scores import Point
from perfmodel.report.traces import said
from perfmodel.table import percent
from perfmodel.units import show_bytes, show_flops_per_s, show_seconds


def hover(point: Point) -> str:
    """Its shape, its values, where it was measured."""
    return said(_lines(point))


def rate_hover(point: Point) -> str:
    """The same, and what rate it reached."""
    assert point.one.flops
    return said([*_lines(point), show_flops_per_s(point.one.flops / point.one.value)])


def _lines(point: Point) -> list[str]:
    one, show = point.one, value_text(point)
    figure = point.column("figure") or "time"
    lines = [one.shape_text, f"{figure}: measured {show(one.value)}"]
    if one.predicted is not None:
        lines[1] += f", predicted {show(one.predicted.expected)} ({percent(point.error, '+')})"
    where = f"{point.of.device.name}, torch {point.of.software['torch']}"
    return [*lines, where + ", used in a fit" * one.used_in_fit]


def value_text(point: Point) -> Any:
    """How values of its figure are shown."""
    figure = point.column("figure")
    if not figure or figure.endswith("_s"):
        return show_seconds
    return show_bytes if figure.endswith("_bytes") else "{:.3g}".format
