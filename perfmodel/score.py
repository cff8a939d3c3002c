"""`Score`: how far off a group of predictions is, which way, and how often their interval holds."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, nan
from typing import NamedTuple


class Score(NamedTuple):
    """Errors of one group as fractions; None where nothing was scored.

    n             rows of the group
    scored        those that were predicted
    median_ape    median of |predicted − measured|/measured; `mean_ape`, `p90_ape` likewise
    bias          median of (predicted − measured)/measured
    coverage80    part of the rows predicted with an 80 % interval that it holds; None where none has one
    """

    n: int
    scored: int
    median_ape: float | None = None
    mean_ape: float | None = None
    p90_ape: float | None = None
    bias: float | None = None
    coverage80: float | None = None


def scored_of(signed: Sequence[float], inside: Sequence[bool], n: int) -> Score:
    """The score of `n` rows, of which those predicted have these signed errors; `inside` of those with an interval."""
    count = len(signed)
    if not count:
        return Score(n, 0)
    ape = [abs(error) for error in signed]
    return Score(
        n,
        count,
        quantile(ape, 0.5),
        fsum(ape) / count,
        quantile(ape, 0.9),
        quantile(signed, 0.5),
        sum(inside) / len(inside) if inside else None,
    )


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share of `values` lies, interpolated linearly between two; NaN of none."""
    if not values:
        return nan
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
