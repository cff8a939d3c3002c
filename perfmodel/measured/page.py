"""Results as a page: how far off predictions are, in words, figures and tables, and where they are from."""

from __future__ import annotations

from collections.abc import Sequence

from perfmodel.errors import RequestError
from perfmodel.measured.figures import figures
from perfmodel.measured.report import fitted_table, group_table, unpredicted, worst_table
from perfmodel.measured.results import Results
from perfmodel.measured.scores import Point, honest, points_of, worst
from perfmodel.measured.summary import basis, cards, headline
from perfmodel.report.figure import Page, Tabled
from perfmodel.report.page import html
from perfmodel.report.words import many
from perfmodel.table import Table
from perfmodel.units import show_bytes

BY = ("device", "torch", "date", "model", "group")


def page(results: Sequence[Results], command: str = "") -> str:
    """The page as the text of a file."""
    return html(results_page(results, command))


def results_page(results: Sequence[Results], command: str = "") -> Page:
    """The page; RequestError where these results hold no measurement."""
    points = points_of(results)
    if not points:
        raise RequestError("There is nothing to draw a page of: these results hold no measurement.")
    partial = sum(not held.complete for held in results)
    note = f" {partial} of these runs {'has' if partial == 1 else 'have'} not ended." if partial else ""
    return Page(
        "Measured against predicted",
        headline(points),
        cards(points),
        basis(points) + note,
        figures=figures(points),
        tables=[*_errors(points), Tabled("sources", provenance(results))],
        command=command,
    )


def _errors(points: Sequence[Point]) -> list[Tabled]:
    """Errors by group, of what no fit has used and of what one has, and the farthest off, as far as there are such."""
    none = unpredicted(points, BY)
    left_out = f" {many(none, 'group')} of which nothing was predicted {'is' if none == 1 else 'are'} left out." * (
        none > 0
    )
    found = [
        Tabled("groups", group_table(points, BY), f"Of measurements that no fit has used.{left_out}"),
        Tabled("fitted", fitted_table(points, BY), "How well constants fit, which is not how well they predict."),
        Tabled("worst", worst_table(worst(honest(points))), "Those whose prediction is off by the largest factor."),
    ]
    return [table for table in found if len(table.table)]


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
