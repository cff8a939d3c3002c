"""The page of a sweep, from its table: what nothing beats, what each choice allows, and what does not fit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isfinite, prod
from typing import Any, NamedTuple

from perfmodel.errors import RequestError
from perfmodel.frontier import frontier
from perfmodel.report.charts import Spot, pareto, ranked_bars
from perfmodel.report.figure import Card, Figure, Page, Tabled
from perfmodel.report.page import ROWS
from perfmodel.report.traces import COLOURS, thinned
from perfmodel.report.words import capital, factor, listed, many, share
from perfmodel.table import Table, shown
from perfmodel.units import show_rate, show_seconds


class Goal(NamedTuple):
    """A figure that rows are judged by."""

    column: str
    title: str
    show: Callable[[float], str]
    unit: str
    more: bool


GOALS = (
    Goal("ttft_s", "time to first token", show_seconds, "s", False),
    Goal("tpot_s", "time per token", show_seconds, "s", False),
    Goal("tokens_per_s_per_gpu", "tokens/s per GPU", show_rate, "", True),
    Goal("tokens_per_s", "tokens/s in all", show_rate, "", True),
    Goal("usd_per_million_tokens", "USD for a million tokens", show_rate, "", False),
)
FRONTS = (
    ("tpot_s", "tokens_per_s_per_gpu"),
    ("tpot_s", "tokens_per_s"),
    ("ttft_s", "usd_per_million_tokens"),
)
"""Pairs of figures whose front is drawn; of the first two the one that the table has."""
ANSWERS = re.compile(r"(ttft|tpot|e2e|tokens|prefill|decode|usd|joules|memory|kv_cache|speedup|fits|reason)(_.*)?")
"""Names of columns that are answers; all others are what was asked."""
WORKLOAD = ("prompt", "output")
"""Columns of what users send, which nobody chooses: rows are held against those of the same alone."""
MOST_FRONT, MOST_VALUES = 60, 12


def table_page(swept: Any, command: str = "") -> Page:
    """The page of a table, or of what has one; RequestError of one that is no sweep's, or has no row."""
    rows = rows_of(swept)
    best = [_best_table(rows)] if rows.fitting else []
    figures = _figures(rows) if rows.fitting else []
    return replace(first_screen(swept), figures=figures, tables=[*best, *_left_out(rows)], command=command)


def first_screen(swept: Any) -> Page:
    """What is best in what, and nothing else yet."""
    rows = rows_of(swept)
    return Page(
        f"Sweep of {many(rows.n, 'configuration')}",
        _headline(rows),
        _cards(rows),
        "Figures are expected ones; their 80 % intervals stand in the table of the sweep.",
        "" if rows.fitting else "Nothing fits",
        bool(rows.fitting),
    )


def rows_of(swept: Any) -> Rows:
    """The rows of a table, or of what has one, of a sweep; RequestError of another table."""
    table: Table = getattr(swept, "table", swept)
    if not len(table) or "fits" not in table.columns or "tpot_s" not in table.columns:
        raise RequestError("There is no page of this table: it needs rows, and the columns fits and tpot_s of a sweep.")
    return Rows(table)


class Rows:
    """A table's columns as arrays, which of its rows fit, and what differs between them."""

    def __init__(self, table: Table) -> None:
        import numpy as np

        self.columns = {name: np.asarray(column) for name, column in table.columns.items()}
        self.fitting: list[int] = np.flatnonzero(self.columns["fits"].astype(bool)).tolist()
        self.n = len(table)
        asked = [name for name in self.columns if not ANSWERS.fullmatch(name)]
        self.varied = {name: values for name in asked if len(values := _distinct(self.columns[name])) > 1}

    def goals(self) -> list[Goal]:
        """Figures that some row that fits has; a price, for one, need not be known."""
        return [goal for goal in GOALS if goal.column in self.columns and self.known(goal.column)]

    def known(self, *columns: str) -> list[int]:
        """Rows that fit and have a value in all of these columns."""
        import numpy as np

        finite = np.logical_and.reduce([np.isfinite(self.columns[name].astype(float)) for name in columns])
        return [i for i in self.fitting if finite[i]]

    def told(self, i: int) -> str:
        """What tells a row from others, in words."""
        return (
            ", ".join(f"{name.replace('_', ' ')} {_word(self.columns[name][i])}" for name in self.varied)
            or "the only one"
        )

    def workload(self, i: int) -> str:
        """What users send in a row, where that differs."""
        return ", ".join(f"{name} {_word(self.columns[name][i])}" for name in WORKLOAD if name in self.varied)

    def series(self, i: int) -> str:
        """What a row is drawn as: by the first choice that differs in few ways, else by its workload if that does."""
        choices = [name for name in self.varied if name not in WORKLOAD and len(self.varied[name]) <= COLOURS]
        if choices:
            return f"{choices[0].replace('_', ' ')} {_word(self.columns[choices[0]][i])}"
        workloads = prod(len(self.varied.get(name, [None])) for name in WORKLOAD)
        return self.workload(i) if 1 < workloads <= COLOURS else "configurations"

    def best(self, goal: Goal, among: Sequence[int] | None = None) -> int:
        """The row that is best by a goal, of those that fit."""
        import numpy as np

        some = np.asarray(self.known(goal.column) if among is None else among)
        values = self.columns[goal.column][some]
        return int(some[values.argmax() if goal.more else values.argmin()])


def _distinct(column: Any) -> list[Any]:
    return list(dict.fromkeys(column.tolist()))


def _word(value: Any) -> str:
    value = value.item() if hasattr(value, "item") else value
    return f"{value:,.0f}" if isinstance(value, float) and value.is_integer() else shown(value)


def _headline(rows: Rows) -> str:
    if not rows.fitting:
        return f"None of {many(rows.n, 'configuration')} fits."
    over = listed([f"{len(values):,} values of {name.replace('_', ' ')}" for name, values in rows.varied.items()])
    goals = rows.goals()
    cheap = next((goal for goal in goals if goal.column.startswith("usd")), None)
    goal = cheap or next(goal for goal in goals if goal.more)
    best = rows.best(goal)
    what = "The cheapest token" if cheap else f"The most {goal.title}"
    value = goal.show(float(rows.columns[goal.column][best])) + " USD a million" * bool(cheap)
    fit = f"{len(rows.fitting):,} of them fit" if len(rows.fitting) < rows.n else "all of them fit"
    start = f"{many(rows.n, 'configuration')} over {over or 'nothing'}; {fit}"
    return f"{start}. {what} ({value}) comes from {rows.told(best)}."


def _cards(rows: Rows) -> list[Card]:
    if not rows.fitting:
        return []
    found = []
    goals = [
        goal for goal in rows.goals() if goal.column != "tokens_per_s_per_gpu" or "tokens_per_s" not in rows.columns
    ]
    for goal in goals:
        i = rows.best(goal)
        value = goal.show(float(rows.columns[goal.column][i]))
        found.append(Card(f"Best {goal.title}", value, rows.told(i)))
    return found


def _figures(rows: Rows) -> list[Figure]:
    held = [pair for pair in FRONTS if all(name in rows.columns for name in pair) and rows.known(*pair)]
    first = [pair for pair in held if pair[0] == "tpot_s"][:1]
    found = [_front(rows, x, y, i) for i, (x, y) in enumerate([*first, *(p for p in held if p[0] == "ttft_s")])]
    return [*found, *([_choices(rows)] if set(rows.varied) - set(WORKLOAD) else [])]


def _goal(column: str) -> Goal:
    return next(goal for goal in GOALS if goal.column == column)


def fronts(rows: Rows, x: str, y: str) -> dict[str, list[int]]:
    """Of every workload, the rows that fit and that nothing beats in both figures."""
    sides = [-1.0 if _goal(name).more else 1.0 for name in (x, y)]
    a, b = (rows.columns[name] * side for name, side in zip((x, y), sides, strict=True))
    values = list(zip(a.tolist(), b.tolist(), strict=True))
    sizes = [rows.columns[name].tolist() for name in WORKLOAD if name in rows.varied]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i in rows.known(x, y):
        groups.setdefault(tuple(size[i] for size in sizes), []).append(i)
    return {
        rows.workload(some[0]) or "front": [some[k] for k in sorted(frontier([values[i] for i in some]))]
        for some in groups.values()
    }


def _front(rows: Rows, x: str, y: str, place: int) -> Figure:
    across, up = _goal(x), _goal(y)
    found = fronts(rows, x, y)
    front = {i: name for name, some in found.items() for i in some}
    ordered = sorted(front, key=lambda i: (front[i], float(rows.columns[x][i])))
    known = rows.known(x, y)
    drawn = [*thinned(ordered), *thinned([i for i in known if i not in front])]
    spots = [
        Spot(
            float(rows.columns[x][i]),
            float(rows.columns[y][i]),
            rows.series(i),
            [
                rows.told(i),
                *(f"{goal.title} {goal.show(float(rows.columns[goal.column][i]))}" for goal in (across, up)),
            ],
            front.get(i, ""),
        )
        for i in drawn
    ]
    title = f"{capital(up.title)} against {across.title}"
    own = next(iter(found.values()))
    ends = sorted(own, key=lambda i: float(rows.columns[x][i]))
    apart = " of the same lengths, which have a front each" if len(found) > 1 else ""
    beaten = "is beaten in both by none" if len(front) == 1 else "are beaten in both by none"
    told = f"{many(len(front), 'configuration')} of {len(rows.fitting):,} that fit {beaten}{apart}"
    if len(ends) > 1:
        told += f"; {'the first goes' if apart else 'they go'} from {rows.told(ends[0])} to {rows.told(ends[-1])}"
    better = "Up" if up.more else "Down"
    plot = pareto(title, spots, across.title, up.title, (across.unit, up.unit))
    plot = plot._replace(drawn=len(drawn), of=len(known))
    table = _rows_table(rows, thinned(ordered, ROWS))
    return Figure(f"front-{place}", title, f"{better} and to the left is better. {told}.", [plot], table)


def _rows_table(rows: Rows, some: Sequence[int]) -> Table:
    columns: dict[str, list[Any]] = {
        name.replace("_", " "): [_word(rows.columns[name][i]) for i in some] for name in rows.varied
    }
    for goal in rows.goals():
        values = [float(rows.columns[goal.column][i]) for i in some]
        columns[goal.title] = [goal.show(value) if isfinite(value) else "–" for value in values]
    return Table(columns)


def _best_table(rows: Rows) -> Tabled:
    pair = next(pair for pair in FRONTS if all(name in rows.columns for name in pair))
    found = fronts(rows, *pair)
    some = [i for name in found for i in sorted(found[name], key=lambda i: float(rows.columns[pair[0]][i]))]
    table = _rows_table(rows, some[:MOST_FRONT])
    table.title = "What nothing beats"
    less = f" The first {MOST_FRONT} of {len(some):,}." if len(some) > MOST_FRONT else ""
    return Tabled("best", table, f"By {_goal(pair[0]).title} and {_goal(pair[1]).title}, the fastest first.{less}")


def _choices(rows: Rows) -> Figure:
    """For every value of everything that differs, the best that it allows."""
    goal = next(goal for goal in rows.goals() if goal.more)
    plots, moved = [], {}
    for name, values in rows.varied.items():
        if name in WORKLOAD:
            continue
        fitting: dict[Any, list[int]] = {}
        column = rows.columns[name].tolist()
        for i in rows.fitting:
            fitting.setdefault(column[i], []).append(i)
        best = {
            value: float(rows.columns[goal.column][rows.best(goal, fitting[value])])
            for value in values
            if value in fitting
        }
        some = dict(list(best.items())[:MOST_VALUES]) if len(best) > MOST_VALUES else best
        plots.append(
            ranked_bars(
                f"Best by {name.replace('_', ' ')}",
                [_word(value) for value in some],
                list(some.values()),
                goal.show,
                goal.unit,
            )
        )
        if len(best) > 1:
            moved[name] = max(best.values()) / min(best.values())
    told = "Nothing that differs has more than one value that fits."
    if moved:
        most = max(moved, key=lambda name: moved[name])
        least = min(moved, key=lambda name: moved[name])
        told = f"The choice of {most.replace('_', ' ')} matters most: its best value allows {factor(moved[most])} "
        told += "as much as its worst"
        told += f", that of {least.replace('_', ' ')} least ({factor(moved[least])})." if least != most else "."
    return Figure(
        "choices",
        f"What each choice allows, in {goal.title}",
        f"Each bar is the best of all that have this value. {told}",
        plots,
    )


def _left_out(rows: Rows) -> list[Tabled]:
    """What does not fit, by its reason, or by what was asked of it."""
    out = sorted(set(range(rows.n)) - set(rows.fitting))
    if not out:
        return []
    if "reason" in rows.columns:
        why = Counter(str(rows.columns["reason"][i]) or "does not fit" for i in out)
        columns: dict[str, list[Any]] = {"configurations": list(why.values()), "why": list(why)}
        told = Table({name: cells[:MOST_FRONT] for name, cells in columns.items()}, "What does not fit")
        return [Tabled("left-out", told, f"{share(len(out) / rows.n)} of all.")]
    counts = [
        (name, _word(value), n)
        for name in rows.varied
        for value, n in Counter(rows.columns[name][out].tolist()).items()
    ]
    table = Table(
        {"of": [c[0] for c in counts], "value": [c[1] for c in counts], "do not fit": [c[2] for c in counts]},
        "What does not fit",
    )
    return [Tabled("left-out", table, f"{len(out):,} of {rows.n:,} configurations, by what was asked.")]
