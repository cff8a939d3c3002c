"""What a page consists of, as plain data: cards, figures of plots, tables, sliders, lists and commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from perfmodel.table import Table


class Card(NamedTuple):
    """A number to read first, and what it is of."""

    label: str
    figure: str
    note: str


class Plot(NamedTuple):
    """Traces and axes of one plot; `title` is also what a screen reader says. Of `of` points `drawn` are drawn."""

    title: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any]
    drawn: int = 0
    of: int = 0


class Figure(NamedTuple):
    """Plots under one title; without plots the caption says what is missing.

    caption  what to see in it, in words that follow from its numbers
    table    the same as numbers; read off the plots where there is none
    """

    name: str
    title: str
    caption: str
    plots: Sequence[Plot]
    table: Table | None = None


class Listed(NamedTuple):
    """Sentences under a title."""

    name: str
    title: str
    items: Sequence[str]


class Tabled(NamedTuple):
    """A table with an anchor, and a word on what it is."""

    name: str
    table: Table
    caption: str = ""


class Command(NamedTuple):
    """Something to copy and run."""

    title: str
    text: str


class Axis(NamedTuple):
    """One slider: the values that it snaps to, as they are shown, and at which of them it starts."""

    name: str
    label: str
    values: Sequence[str]
    start: int


class Looked(NamedTuple):
    """Texts at every combination of some axes, the last of them fastest."""

    label: str
    axes: Sequence[int]
    figures: Sequence[str]
    notes: Sequence[str]


class Curve(NamedTuple):
    """A line along the first axis of sliders, at every combination of `axes`; `ok` says which of its points hold."""

    title: str
    axes: Sequence[int]
    x: Sequence[float]
    y: Sequence[float]
    ok: Sequence[bool]
    layout: dict[str, Any]


class WhatIf(NamedTuple):
    """Sliders over a grid that was computed beforehand: numbers, a verdict and perhaps a curve that follow them.

    good  at every combination of the verdict's axes, whether the answer is yes
    """

    caption: str
    axes: Sequence[Axis]
    numbers: Sequence[Looked]
    verdict: Looked
    good: Sequence[bool]
    curve: Curve | None = None


@dataclass(frozen=True)
class Page:
    """Everything that one page says, in its order.

    title     what it is of
    headline  the answer in a sentence or two
    cards     the numbers to read first; four of them fit a row
    basis     what these rest on
    verdict   a word or two in front of it, such as "fits"; `good` says whether it is a yes
    notices   what to beware of, or what would work
    commands  what to run next; `command` is what made this page, "" where no command did
    """

    title: str
    headline: str
    cards: Sequence[Card]
    basis: str = ""
    verdict: str = ""
    good: bool = True
    notices: Sequence[str] = ()
    notices_title: str = "Beware"
    commands: Sequence[Command] = ()
    what_if: WhatIf | None = None
    figures: Sequence[Figure] = ()
    tables: Sequence[Tabled] = ()
    lists: Sequence[Listed] = ()
    command: str = ""
