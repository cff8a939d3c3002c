"""`Study`: what a sweep asks, as plain data that a worker can be handed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

from perfmodel.errors import RequestError
from perfmodel.flags import kinds as kinds_of
from perfmodel.study.axes import NUMBERS, Axis, parameter_of
from perfmodel.study.columns import (
    HELD,
    NUMBER,
    PLACED,
    SIZES,
    TEXT,
    TRUTH,
    WHOLE,
    figures,
)
from perfmodel.study.filters import Condition

MOST_CASES = 10**12


@dataclass(frozen=True)
class Study:
    """The cases of a sweep, in order: what is looped over (`kinds`), then what arrays are made of (`numbers`).

    kinds      axes of everything but batch, prompt and output, in the order in which they were asked for
    numbers    axes of those three, in that order; the last varies fastest
    sample     so many cases, drawn with `seed`; None for all of them
    chosen     columns that are kept; none named means all
    where      conditions that a row must meet to be kept, and `fits_only`
    breakdown  whether phases and ops have columns too
    folders    of the user's own specs
    digest     of the specs that are named, so that a study whose GPU has changed since is another one
    """

    kinds: tuple[Axis, ...]
    numbers: tuple[Axis, ...]
    sample: int | None = None
    seed: int = 0
    chosen: tuple[str, ...] = ()
    where: tuple[Condition, ...] = ()
    fits_only: bool = False
    breakdown: bool = False
    folders: tuple[str, ...] = field(default=(), compare=False)
    digest: str = ""

    @cached_property
    def looped(self) -> tuple[Axis, ...]:
        """Kinds that have values, not ranges to draw from."""
        return tuple(axis for axis in self.kinds if axis.drawn is None)

    @property
    def drawn(self) -> tuple[Axis, ...]:
        """Axes that are drawn from a range, kinds first."""
        return tuple(axis for axis in (*self.kinds, *self.numbers) if axis.drawn is not None)

    @cached_property
    def structures(self) -> int:
        """Combinations of kinds."""
        return prod(len(axis.values) for axis in self.looped)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Values of each of the three numbers."""
        return tuple(len(axis.values) for axis in self.numbers)

    @property
    def cases(self) -> int:
        """Rows, before any is left out."""
        return self.structures * prod(self.shape) if self.sample is None else self.sample

    def settings(self, structure: int) -> dict[str, Any]:
        """The keywords of a combination of kinds; the last axis varies fastest."""
        found: dict[str, Any] = {}
        for axis in reversed(self.looped):
            structure, at = divmod(structure, len(axis.values))
            found[axis.name] = axis.values[at]
        return {axis.name: found[axis.name] for axis in self.looped}

    @property
    def largest(self) -> dict[str, int]:
        """The largest batch, prompt and output."""
        return {axis.name: axis.largest for axis in self.numbers}

    @cached_property
    def extras(self) -> dict[str, str]:
        """Columns of axes that not every table has, and their kinds."""
        own = (axis for axis in self.kinds if axis.swept and axis.name not in PLACED)
        return {axis.name: _kind(axis) for axis in own}

    @cached_property
    def columns(self) -> dict[str, str]:
        """Every column that this study has but those of a breakdown, in order, and their kinds."""
        named = {axis.name: axis for axis in self.kinds}
        speculated = any(
            value is not None for name in ("draft", "speculate") if name in named for value in named[name].values
        )
        return PLACED | self.extras | SIZES | HELD | figures(speculated)

    @property
    def kept(self) -> dict[str, str]:
        """Columns of the table, and their kinds."""
        return {name: self.columns[name] for name in self.chosen} if self.chosen else self.columns

    def to_dict(self) -> dict[str, Any]:
        """The study as JSON can hold it."""
        return {
            "axes": {axis.name: _told(axis) for axis in (*self.kinds, *self.numbers)},
            "cases": self.cases,
            "sample": self.sample,
            "seed": self.seed if self.sample is not None else None,
            "where": [condition.text for condition in self.where],
            "fits_only": self.fits_only,
            "columns": list(self.kept),
        }


def _told(axis: Axis) -> Any:
    if axis.drawn is not None:
        return str(axis.drawn)
    plain = [shown(value) if not isinstance(value, (int, float, bool, type(None))) else value for value in axis.values]
    return plain if axis.swept or axis.name in NUMBERS else plain[0]


def shown(value: Any) -> str:
    """A value of an axis as a word; "" for None."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ",".join(f"{name}={size}" for name, size in value.items())
    if isinstance(value, (tuple, list)):
        return ",".join(str(part) for part in value)
    return value if isinstance(value, str) else str(getattr(value, "name", value))


def _kind(axis: Axis) -> str:
    annotation = parameter_of(axis.name).annotation
    if annotation is bool:
        return TRUTH
    numeric = kinds_of(annotation)
    if not numeric or any(isinstance(value, (str, tuple, list, Mapping)) for value in axis.values):
        return TEXT
    return WHOLE if numeric == [int] else NUMBER


def ordered(axes: Mapping[str, Axis], usual: Mapping[str, int]) -> tuple[tuple[Axis, ...], tuple[Axis, ...]]:
    """Kinds and numbers in the order given; numbers that were not given come last, as they are by default."""
    numbers = [axis for name, axis in axes.items() if name in NUMBERS]
    numbers += [Axis(name, (usual[name],), swept=False) for name in NUMBERS if name not in axes]
    return tuple(axis for name, axis in axes.items() if name not in NUMBERS), tuple(numbers)


def sized(study: Study) -> Study:
    """`study`, or RequestError where it has too many cases, or its sample is none of it."""
    use = "--sample"
    if study.sample is None:
        if study.drawn:
            axis = study.drawn[0]
            raise RequestError(
                f"--{axis.name.replace('_', '-')}: {axis.drawn} is drawn from; say how many cases: --sample 10000."
            )
        if study.cases > MOST_CASES:
            raise RequestError(
                f"The axes have {study.cases:,} combinations; {MOST_CASES:,} at most, or draw some: --sample 100000."
            )
        return study
    sample = study.sample
    if isinstance(sample, bool) or not isinstance(sample, int) or not 1 <= sample <= 10**8:
        raise RequestError(f"{use} must be a whole number of cases of at least 1, like 10000; got {sample!r}.")
    grid = study.structures * prod(n for n in study.shape if n)
    if not study.drawn and sample > grid:
        raise RequestError(f"{use} {sample:,} is more than the {grid:,} cases that there are; leave it out for all.")
    if isinstance(study.seed, bool) or not isinstance(study.seed, int) or study.seed < 0:
        raise RequestError(f"--seed must be a whole number from 0, like 1; got {study.seed!r}.")
    return study
