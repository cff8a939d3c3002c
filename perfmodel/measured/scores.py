"""Measurements → errors by group: apart for those that a fit has seen, for the ops of a model, and the worst."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf, log
from typing import Any, NamedTuple

from perfmodel.errors import RequestError
from perfmodel.measured.measurements import Measurement, RunMeasurement
from perfmodel.measured.results import Results
from perfmodel.score import Score, quantile, scored_of
from perfmodel.spec import nearest

WORST = 10


class Point(NamedTuple):
    """One measurement, and the results that it is of."""

    of: Results
    one: Measurement

    @property
    def error(self) -> float:
        """(predicted − measured)/measured; only of one that was predicted."""
        assert self.one.error is not None
        return self.one.error

    def column(self, name: str) -> Any:
        """What it has in a column to group by; "" where it has none such."""
        return COLUMNS[name](self)


def points_of(results: Iterable[Results]) -> list[Point]:
    return [Point(held, one) for held in results for one in held.measurements]


def _own(name: str) -> Callable[[Point], Any]:
    def value(point: Point) -> Any:
        found = getattr(point.one, name, "")
        return "" if found is None else found

    return value


COLUMNS: dict[str, Callable[[Point], Any]] = {
    "device": lambda p: p.of.device.name,
    "gpu": lambda p: p.of.device.gpu or "",
    "driver": lambda p: p.of.device.driver or "",
    "torch": lambda p: p.of.software["torch"],
    "perfmodel": lambda p: p.of.software["perfmodel"],
    "date": lambda p: p.of.date,
    "kind": lambda p: p.of.kind,
    **{
        name: _own(name)
        for name in (
            "model", "group", "figure", "phase", "op", "layers", "weights", "kv", "way", "attention", "cache", "draft",
            "batch", "prompt", "output", "kernel", "format",
        )
    },
}  # fmt: skip
"""What measurements can be grouped by → how a point has it."""


def columns(by: str) -> tuple[str, ...]:
    """The columns that a comma list names; RequestError where there is no such one."""
    names = tuple(dict.fromkeys(name.strip() for name in by.split(",")))
    for name in names:
        if name not in COLUMNS:
            guess = nearest(name, COLUMNS)
            hint = f'did you mean "{guess}"?' if guess else f"known: {', '.join(COLUMNS)}."
            raise RequestError(f'--by: measurements have no column "{name[:40]}"; {hint}')
    return names


class Errors(NamedTuple):
    """The errors of a group: of measurements that no fit has used, and of those that one has."""

    unseen: Score
    fitted: Score


def score(points: Sequence[Point]) -> Score:
    """The errors of all these points, whether a fit has used them or not."""
    scored = [p for p in points if p.one.error is not None]
    return scored_of([p.error for p in scored], [p.one.covered for p in scored if p.one.ranged], len(points))


def errors(points: Sequence[Point]) -> Errors:
    return Errors(
        score([p for p in points if not p.one.used_in_fit]),
        score([p for p in points if p.one.used_in_fit]),
    )


def honest(points: Sequence[Point]) -> list[Point]:
    """Those that no fit has used; all of them where there are no others."""
    return [p for p in points if not p.one.used_in_fit] or list(points)


def grouped(points: Sequence[Point], by: Sequence[str]) -> list[tuple[tuple[Any, ...], Errors]]:
    """The errors of each combination of the columns `by`, in the order in which they come first."""
    groups: dict[tuple[Any, ...], list[Point]] = {}
    for point in points:
        groups.setdefault(tuple(point.column(name) for name in by), []).append(point)
    return [(key, errors(group)) for key, group in groups.items()]


def worst(points: Sequence[Point], count: int = WORST) -> list[Point]:
    """The points that are farthest off, as a factor up or down: half and double are as bad."""
    scored = [p for p in points if p.one.error is not None]
    return sorted(scored, key=lambda p: -abs(log(1 + p.error)) if p.error > -1 else -inf)[:count]


class OpErrors(NamedTuple):
    """How far off the time of one op is: signed median, and its share of what all ops of its runs took.

    n       measurements that were predicted
    share   mean over the runs that measured it of its part of the phase's measured time
    """

    phase: str
    op: str
    n: int
    bias: float
    p90: float
    share: float


def by_op(points: Sequence[Point]) -> list[OpErrors]:
    """Every op of each phase, prefill first, the largest share of time first."""
    taken: dict[Any, float] = {}
    groups: dict[tuple[str, str], list[tuple[Point, Any]]] = {}
    for point in points:
        one = point.one
        if isinstance(one, RunMeasurement) and one.op:
            run = (id(point.of), one.setting, one.phase)
            taken[run] = taken.get(run, 0.0) + one.value
            groups.setdefault((one.phase, one.op), []).append((point, run))
    found = []
    for (phase, op), group in groups.items():
        share = sum(p.one.value / taken[run] for p, run in group) / len(group)
        signed = [p.error for p, _ in group if p.one.error is not None]
        if signed:
            off = [abs(error) for error in signed]
            found.append(OpErrors(phase, op, len(signed), quantile(signed, 0.5), quantile(off, 0.9), share))
    return sorted(found, key=lambda e: (e.phase != "prefill", -e.share))


def shapes(points: Sequence[Point]) -> int:
    """How many runs and kernel shapes are measured, whichever their figures and devices."""
    return len({one.setting for _, one in points})
