"""The cases of a study in parts, each of which can be computed by itself, anywhere, and always comes out the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from math import prod
from random import Random
from typing import Any

from perfmodel.errors import RequestError
from perfmodel.study.study import Study

BLOCK = 32_768
"""Rows that are computed at once: a float64 column of a block is 256 KiB."""
PART_ROWS = 262_144
PART_BLOCKS = 16
"""Most rows and blocks of a part: a second's work, or less."""
PART_POINTS = 512
"""Drawn cases of a part; each may be a structure of its own."""


@dataclass(frozen=True)
class Block:
    """Rows of one combination of kinds: `sizes` are vectors, one an axis (a product of them), or one a row."""

    settings: dict[str, Any]
    sizes: dict[str, tuple[int, ...]]
    product: bool

    @property
    def rows(self) -> int:
        lengths = [len(values) for values in self.sizes.values()]
        return prod(lengths) if self.product else lengths[0]


@dataclass(frozen=True)
class Part:
    """A part of a study by number: blocks from `first` up to `last`, or `points` that were drawn."""

    number: int
    first: int = 0
    last: int = 0
    rows: int = 0
    points: tuple[Any, ...] = ()


Point = tuple[int, tuple[Any, ...], tuple[int, ...]]
"""A drawn case: combination of kinds, drawn kinds, and batch, prompt and output in the order of the study."""


def cuts(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Values of each number in a block, so that it holds at most BLOCK rows and rows stay in order."""
    left, found = BLOCK, []
    for count in reversed(shape):
        found.append(min(count, left))
        left = max(left // count, 1) if count <= left else 1
    return tuple(reversed(found))


def _blocks(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Blocks along each number."""
    return tuple(-(-count // cut) for count, cut in zip(shape, cuts(shape), strict=True))


def part_count(study: Study) -> int:
    """How many parts a study has."""
    if study.sample is not None:
        return -(-study.sample // PART_POINTS)
    return -(-study.structures * prod(_blocks(study.shape)) // _together(study))


def _together(study: Study) -> int:
    """Blocks of a part."""
    return max(1, min(PART_BLOCKS, PART_ROWS // prod(cuts(study.shape))))


def parts(study: Study) -> Iterator[Part]:
    """Every part, in the order of the rows."""
    if study.sample is not None:
        drawn = points(study)
        for number, start in enumerate(range(0, len(drawn), PART_POINTS)):
            own = tuple(drawn[start : start + PART_POINTS])
            yield Part(number, rows=len(own), points=own)
        return
    total, together = study.structures * prod(_blocks(study.shape)), _together(study)
    for number, first in enumerate(range(0, total, together)):
        last = min(first + together, total)
        yield Part(number, first, last, _rows_before(study, last) - _rows_before(study, first))


def _rows_before(study: Study, block: int) -> int:
    """Rows of all blocks before one: blocks lie in order, so that it is where the block's first row stands."""
    counts, cut = _blocks(study.shape), cuts(study.shape)
    rows, inside = divmod(block, prod(counts))
    for axis, (length, wide) in enumerate(zip(study.shape, cut, strict=True)):
        at, inside = divmod(inside, prod(counts[axis + 1 :]))
        rows = rows * length + at * wide
    return rows


def blocks(study: Study, part: Part) -> Iterator[Block]:
    """The blocks of a part, in the order of the rows."""
    if study.sample is not None:
        yield from _drawn_blocks(study, part.points)
        return
    counts, cut = _blocks(study.shape), cuts(study.shape)
    for block in range(part.first, part.last):
        structure, inside = divmod(block, prod(counts))
        sizes: dict[str, tuple[int, ...]] = {}
        for axis, count, wide in reversed(list(zip(study.numbers, counts, cut, strict=True))):
            inside, at = divmod(inside, count)
            sizes[axis.name] = axis.values[at * wide : (at + 1) * wide]
        yield Block(study.settings(structure), {axis.name: sizes[axis.name] for axis in study.numbers}, True)


def _drawn_blocks(study: Study, drawn: tuple[Point, ...]) -> Iterator[Block]:
    ranged = [axis.name for axis in study.kinds if axis.drawn is not None]
    for (structure, values), own in groupby(drawn, key=lambda point: point[:2]):
        settings = study.settings(structure) | dict(zip(ranged, values, strict=True))
        sizes = zip(*(point[2] for point in own), strict=True)
        yield Block(settings, {a.name: tuple(s) for a, s in zip(study.numbers, sizes, strict=True)}, False)


def points(study: Study) -> list[Point]:
    """The drawn cases in the order of the table: no case twice, each as likely as any other; a seed gives the same."""
    assert study.sample is not None
    random = Random(study.seed)
    if not study.drawn:
        inner = prod(study.shape)
        found = sorted(random.sample(range(study.structures * inner), study.sample))
        return [(index // inner, (), _sizes(study, index % inner)) for index in found]
    # a set by what was drawn, and in the order of the axes
    held: dict[tuple[Any, ...], Point] = {}
    for _ in range(20 * study.sample + 1000):
        structure = random.randrange(study.structures)
        values = tuple(axis.drawn.draw(random) for axis in study.kinds if axis.drawn is not None)
        places, sizes = [], []
        for axis in study.numbers:
            place = axis.drawn.draw(random) if axis.drawn is not None else random.randrange(len(axis.values))
            places.append(place)
            sizes.append(int(place) if axis.drawn is not None else axis.values[int(place)])
        held[(structure, values, tuple(places))] = (structure, values, tuple(sizes))
        if len(held) == study.sample:
            return [held[key] for key in sorted(held)]
    raise RequestError(f"--sample {study.sample:,} is more cases than the ranges hold apart; {len(held):,} were found.")


def _sizes(study: Study, index: int) -> tuple[int, ...]:
    found = []
    for axis in reversed(study.numbers):
        index, at = divmod(index, len(axis.values))
        found.append(axis.values[at])
    return tuple(reversed(found))
