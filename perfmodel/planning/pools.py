"""Prefill and decode on workers of their own: the cheapest numbers of both that keep every goal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from math import ceil, inf
from typing import Any, NamedTuple

import numpy as np

from perfmodel.deployment import Deployment
from perfmodel.planning.goals import Goal
from perfmodel.planning.option import (
    SLACK,
    Constraints,
    Option,
    Point,
    counted,
    label,
    likelihood,
    split_told,
)
from perfmodel.planning.reach import FULL
from perfmodel.planning.space import Structure
from perfmodel.serving.disaggregated import Disaggregated
from perfmodel.serving.steady import Decoding, Filling, joined

MOST_FILLERS = 4096


@dataclass(frozen=True)
class Pair:
    """Workers like `filler` that only prefill, and like `decoder` that only decode, of one device and precision.

    They carry what is to be planned for, times `factor`.
    """

    filler: Structure
    decoder: Structure
    factor: float = 1.0

    @property
    def load(self) -> float:
        """Requests a second: those to plan for, times a factor."""
        return self.decoder.demand.load * self.factor

    @cached_property
    def moving_s(self) -> float:
        """Seconds to send the cache of a mean prompt."""
        traffic = self.decoder.demand.traffic(1.0)
        return Disaggregated(self.decoder.plan, self.filler.plan, traffic, 1, 1).moving_s * traffic.prompts.mean

    def slower(self, sigmas: float) -> Pair:
        """It where times are `sigmas` standard deviations slower."""
        filler, decoder = (one.under(one.demand, sigmas) for one in (self.filler, self.decoder))
        return Pair(filler, decoder, self.factor)

    def seen(self, figure: str, percentile: int, fillers: int, decoders: int) -> float:
        """Seconds of a figure with so many workers of both kinds; infinite where they do not carry the load."""
        filling = filled(self.filler, fillers, self.load)
        decoding = decoded(self.decoder, decoders, self.load)
        if filling is None or decoding is None:
            return inf
        tpot, later = decoding.tpot_s, self.decoder.demand.outputs.mean - 1
        first = self.decoder.load.rules.request_s + filling.mean_s + self.moving_s + decoding.first_s
        mean = {"ttft": first, "tpot": tpot, "e2e": first + later * tpot}[figure]
        if not percentile:
            return mean
        if figure == "tpot":
            return mean + decoding.tpot_spread(percentile)
        spread = [*filling.spread(percentile / 100), *decoding.first_spread(percentile)]
        if figure == "e2e":
            longer = self.decoder.demand.outputs.quantile(percentile / 100) - later - 1
            spread += [longer * tpot, later * decoding.tpot_spread(percentile)]
        return mean + float(joined(spread))

    def keeps(self, goals: Sequence[Goal], fillers: int, decoders: int) -> bool:
        return all(self.seen(goal.figure, goal.percentile, fillers, decoders) <= goal.limit_s for goal in goals)

    def cheapest(self, constraints: Constraints) -> PairOption | None:
        """The cheapest numbers of workers that keep every goal; None where none do.

        Prefill workers are counted up for ever more decode workers, as long as these alone may still be cheaper.
        """
        one, best = self.decoder, None
        goals, load = one.goals, self.load
        carried = one.decoding_most
        if carried <= 0:
            return None
        least = fewest_fillers(self.filler, load)
        if least is None:
            return None
        for decoders in count(max(ceil(load / carried - SLACK), 1)):
            if best is not None and PairOption(one, decoders, constraints, self, least).worth >= best.worth:
                return best
            fillers = self._fillers(goals, decoders, least)
            if fillers is None:
                if best is None and decoders > 2 * ceil(load / carried) + 4:
                    return None
                continue
            found = PairOption(one, decoders, constraints, self, fillers)
            if best is None or found.worth < best.worth:
                best = found
        return best

    def _fillers(self, goals: Sequence[Goal], decoders: int, least: int) -> int | None:
        """Fewest prefill workers with which every goal is kept; None where no number of them is enough."""
        if not self.keeps(goals, MOST_FILLERS, decoders):
            return None
        low, high = least - 1, next(n for n in _doubling(max(least, 1)) if self.keeps(goals, n, decoders))
        while low + 1 < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.keeps(goals, middle, decoders) else (middle, high)
        return high


def _doubling(start: int = 1) -> Iterator[int]:
    while start < MOST_FILLERS:
        yield start
        start *= 2
    yield MOST_FILLERS


class Decoded(NamedTuple):
    """What one of so many decode workers makes requests see: means, and deviations by percentile, read when asked."""

    states: Decoding
    rate: float
    tpot_s: float
    first_s: float
    kept: dict[tuple[str, int], list[float]]

    def tpot_spread(self, percentile: int) -> float:
        key = "tpot", percentile
        if key not in self.kept:
            self.kept[key] = [_at(self.states, self.rate, self.states.seen("tpot", percentile)) - self.tpot_s]
        return self.kept[key][0]

    def first_spread(self, percentile: int) -> list[float]:
        key = "first", percentile
        if key not in self.kept:
            spreads = self.states.first_spread(percentile / 100)
            self.kept[key] = [_at(self.states, self.rate, spread) for spread in spreads]
        return self.kept[key]


def decoded(one: Structure, workers: int, load: float) -> Decoded | None:
    """`workers` like `one` that decode so many requests a second; None where they do not carry them."""
    key = "decoded", workers, load
    if key not in one.worked_out:
        states, rate = one.decoding, load / workers
        carried = rate <= states.rate[0, -1]
        means = [_at(states, rate, x) for x in (states.tpot_s, states.seen("ttft", 0))] if carried else []
        one.worked_out[key] = Decoded(states, rate, means[0], means[1], {}) if carried else None
    found: Decoded | None = one.worked_out[key]
    return found


def filled(one: Structure, workers: int, load: float) -> Filling | None:
    """`workers` like `one` that prefill so many requests a second; None where they do not carry them."""
    key = "filled", workers, load
    if key not in one.worked_out:
        one.worked_out[key] = Filling.of(one.load, one.slower(), workers, load)
    found: Filling | None = one.worked_out[key]
    return found


def fewest_fillers(one: Structure, load: float) -> int | None:
    """Fewest workers like `one` that are not overrun by prompts; None where very many are."""
    key = "fewest", 0, load
    if key not in one.worked_out:
        low, high = 0, next((n for n in _doubling() if filled(one, n, load) is not None), 0)
        while low + 1 < high:
            middle = (low + high) // 2
            low, high = (middle, high) if filled(one, middle, load) is None else (low, middle)
        one.worked_out[key] = high or None
    found: int | None = one.worked_out[key]
    return found


def _at(states: Decoding, rate: float, values: Any) -> float:
    """What is read off the states at a rate."""
    return float(np.interp(rate, states.rate[0], np.broadcast_to(values, states.rate.shape)[0]))


@dataclass(frozen=True)
class PairOption(Option):
    """`carrying` decode workers like the structure, and `fillers` prefill workers; a spare one of each for N+1."""

    pair: Pair
    fillers: int

    @property
    def gpu_count(self) -> int:
        spare = self.constraints.spare
        return self.replicas * self.structure.gpu_count + (self.fillers + spare) * self.pair.filler.gpu_count

    @cached_property
    def headroom(self) -> float:
        """By which factor the load may grow until a goal is missed; below 1 where one is missed already."""
        low, high = (1.0, 2.0) if self._keeps(1.0) else (1 / 64, 1.0)
        while 1 < high < 64 and self._keeps(high):
            low, high = high, high * 2
        for _ in range(20):
            middle = (low + high) / 2
            low, high = (middle, high) if self._keeps(middle) else (low, middle)
        return low

    def _keeps(self, factor: float) -> bool:
        return self._grown(factor).keeps(self.structure.goals, self.fillers, self.carrying)

    def _grown(self, factor: float) -> Pair:
        return replace(self.pair, factor=factor)

    @cached_property
    def figures(self) -> dict[str, float]:
        """Seconds that requests see, by theory."""
        return {
            f"{figure}_{f'p{p}' if p else 'mean'}_s": self.pair.seen(figure, p, self.fillers, self.carrying)
            for figure in ("ttft", "tpot", "e2e")
            for p in (0, 50, 95, 99)
        }

    @property
    def hoped(self) -> Point:
        """As if the decode workers alone decided how far the load may grow."""
        per_gpu = self.structure.decoding_most * self.carrying / self.gpu_count
        return Point(self.worth, self.pair.seen("e2e", 0, self.fillers, self.carrying), per_gpu)

    @cached_property
    def point(self) -> Point:
        return self.hoped._replace(per_gpu=self.structure.demand.load * self.headroom / self.gpu_count)

    @property
    def plan(self) -> Deployment:
        return self.structure.plan

    @property
    def rate(self) -> float:
        return self.structure.demand.load

    @cached_property
    def simulated(self) -> Disaggregated:  # type: ignore[override]
        traffic = self.structure.demand.traffic(self.rate)
        return Disaggregated(self.structure.plan, self.pair.filler.plan, traffic, self.fillers, self.carrying)

    def more(self) -> PairOption:
        """One worker more of the kind whose goal is missed."""
        late = any(self.seen[f"{g.name}_s"] > g.limit_s for g in self.structure.goals if g.figure == "ttft")
        if late:
            return replace(self, fillers=self.fillers + 1)
        return replace(self, carrying=self.carrying + 1)

    def more_sure(self) -> PairOption:
        """One worker more of the kind that then makes it surer."""
        more = replace(self, fillers=self.fillers + 1), replace(self, carrying=self.carrying + 1)
        return max(more, key=lambda one: (one.likelihood(), -one.worth))

    def likelihood(self) -> float:
        def keeps(sigmas: float) -> bool:
            pair = self.pair.slower(sigmas)
            return pair.keeps(self.structure.goals, self.fillers, self.carrying)

        return likelihood(keeps)

    def need_after(self, change: Callable[[Structure], Structure]) -> float:
        """With as many workers of both kinds: how much of them the load then takes."""
        both = Pair(change(self.pair.filler), change(self.pair.decoder))
        if not (both.filler.fits and both.decoder.fits):
            return inf
        return replace(self, structure=both.decoder, pair=both).need

    def moved(self, change: Callable[[Structure], Structure]) -> PairOption | None:
        both = Pair(change(self.pair.filler), change(self.pair.decoder))
        return both.cheapest(self.constraints) if both.filler.fits and both.decoder.fits else None

    @property
    def need(self) -> float:
        spare = self.constraints.spare * (self.structure.gpu_count + self.pair.filler.gpu_count)
        return (self.gpu_count - spare) / self.headroom

    @property
    def title(self) -> str:
        decoder, filler = label(self.pair.decoder), label(self.pair.filler).split(",")[0].split(" ", 1)
        return f"{decoder}, prefill apart ({' '.join(filler[1:]) or 'TP1'})"

    @property
    def told(self) -> str:
        fill, spare = self.pair.filler.plan, self.constraints.spare
        fillers = f"{counted(self.fillers + spare, 'prefill worker')} of {split_told(fill)}{self.spares_told}"
        decoders = f"{counted(self.replicas, 'decode worker')} of {split_told(self.structure.plan)}{self.spares_told}"
        return f"{fillers}, and {decoders}; prefill and decode apart"

    def breaks(self) -> list[tuple[str, float]]:
        """(what ends it, factor by which the load may grow), the first to break first."""
        found = []
        for goal in self.structure.goals:
            low, high = 1.0, 64.0
            for _ in range(24):
                middle = (low + high) / 2
                kept = self._grown(middle).keeps([goal], self.fillers, self.carrying)
                low, high = (middle, high) if kept else (low, middle)
            found.append((goal.name, low))
        return sorted(found or [(FULL, self.headroom)], key=lambda entry: entry[1])


def pairs(
    fillers: Iterable[Structure], decoders: Iterable[Structure], constraints: Constraints
) -> Iterator[PairOption]:
    """The cheapest numbers of workers of every pair of one device, engine and precision."""
    alike: dict[tuple[object, ...], list[Structure]] = {}
    for one in fillers:
        if "policy" not in one.plan.engine.asked:  # how passes are mixed is nothing to workers that do not mix any
            alike.setdefault(one.goes_with, []).append(one)
    for decoder in (one for one in decoders if "policy" not in one.plan.engine.asked):
        for filler in alike.get(decoder.goes_with, ()):
            option = Pair(filler, decoder).cheapest(constraints)
            if option is not None:
                yield option
