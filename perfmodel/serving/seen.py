"""What the requests of a run saw: times to first token, per token and to the end, each as a distribution."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple, Protocol

from perfmodel.serving.simulation import Request
from perfmodel.serving.traffic import Traffic

PERCENTILES = (50, 95, 99)


class Distribution(NamedTuple):
    """Seconds: the mean, and percentiles by PERCENTILES."""

    mean: float
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Distribution:
        """Of values that count alike; percentiles by linear interpolation, as NumPy's."""
        ordered = sorted(values)
        if not ordered:
            return cls(0.0, 0.0, 0.0, 0.0)
        return cls(sum(ordered) / len(ordered), *(_percentile(ordered, p) for p in PERCENTILES))

    @classmethod
    def weighted(cls, values: Sequence[tuple[float, float]]) -> Distribution:
        """Of (value, weight)."""
        ordered = sorted((v, w) for v, w in values if w > 0)
        total = sum(w for _, w in ordered)
        if not ordered:
            return cls(0.0, 0.0, 0.0, 0.0)
        found, seen, at = [], 0.0, 0
        for p in PERCENTILES:
            while at < len(ordered) - 1 and seen + ordered[at][1] < p / 100 * total:
                seen += ordered[at][1]
                at += 1
            found.append(ordered[at][0])
        return cls(sum(v * w for v, w in ordered) / total, *found)


def _percentile(ordered: Sequence[float], p: float) -> float:
    place = (len(ordered) - 1) * p / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


class Run(Protocol):
    """Seconds from sending each request to its first and to its last token, in the order of the requests."""

    first: list[float]
    ended: list[float]


class Seen(ABC):
    """Distributions of what `served` says of the requests of `part`."""

    @property
    @abstractmethod
    def part(self) -> Traffic:
        """The traffic that is simulated."""

    @property
    @abstractmethod
    def served(self) -> Run:
        """What every request saw."""

    @cached_property
    def drawn(self) -> list[Request]:
        """The requests that are simulated."""
        return self.part.drawn()

    @cached_property
    def ttfts(self) -> Distribution:
        return Distribution.of(self.served.first)

    @cached_property
    def tpots(self) -> Distribution:
        """Of each request, the mean time between its tokens after the first."""
        each = zip(self.served.first, self.served.ended, self.drawn, strict=True)
        return Distribution.of([(ended - first) / (r.output - 1) for first, ended, r in each if r.output > 1])

    @cached_property
    def e2es(self) -> Distribution:
        return Distribution.of(self.served.ended)

    @cached_property
    def tokens_out(self) -> int:
        """Output tokens of the requests that are simulated."""
        return sum(r.output for r in self.drawn)
