"""The cheapest deployments that keep every goal: theory for all of them, the simulation for those that matter.

A structure is worth as many replicas as its reach asks for. Structures are looked at from the least that physics lets
them cost; one that cannot be on the front, even so, is passed over. The rest is sorted, and simulated from the
cheapest on until one keeps every goal there too. So the answer is that of trying all of them (tests/test_planning.py).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from statistics import NormalDist
from typing import NamedTuple

from perfmodel.deployment import Deployment
from perfmodel.planning.bounds import Least
from perfmodel.planning.demand import Demand
from perfmodel.planning.goals import Goal
from perfmodel.planning.prices import HOURS
from perfmodel.planning.space import Structure
from perfmodel.serving.load import Load

OBJECTIVES = ("cost", "gpus", "power")
FURTHER = 8
"""Replicas more than theory asks for that are tried in the simulation before a structure is given up."""
SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a plan may not exceed, and what it minimises.

    budget   USD a month
    power    watts of all devices at their full board power
    spare    replicas beyond those that carry the load: 1 for N+1
    """

    objective: str = "cost"
    spare: int = 0
    max_gpus: int | None = None
    budget: float | None = None
    power: float | None = None


class Point(NamedTuple):
    """What the front is about: USD a month (or what is minimised), mean E2E in seconds, load a device carries."""

    cost: float
    e2e_s: float
    per_gpu: float

    def beats(self, other: Point) -> bool:
        """As good in everything, and better in something."""
        as_good = self.cost <= other.cost and self.e2e_s <= other.e2e_s and self.per_gpu >= other.per_gpu
        return as_good and self != other


@dataclass(frozen=True)
class Option:
    """A structure with as many replicas as carry the load, and `spare` ones."""

    structure: Structure
    carrying: int
    constraints: Constraints

    @property
    def replicas(self) -> int:
        return self.carrying + self.constraints.spare

    @property
    def gpu_count(self) -> int:
        return self.replicas * self.structure.gpu_count

    @property
    def usd_per_month(self) -> float | None:
        price = self.structure.price
        return None if price is None else price * self.gpu_count * HOURS

    @property
    def watts(self) -> float | None:
        """Full board power of every device: an upper estimate."""
        power = self.structure.plan.gpu.power
        return None if power is None else power * self.gpu_count

    @property
    def worth(self) -> float:
        """What is minimised."""
        found = {"cost": self.usd_per_month, "gpus": float(self.gpu_count), "power": self.watts}[self.constraints.objective]
        return float("inf") if found is None else found

    @property
    def share(self) -> float:
        """Load of one replica while the spare ones are out of service."""
        return self.structure.demand.load / self.carrying

    @property
    def headroom(self) -> float:
        """By which factor the load may grow until a goal is missed; spare replicas idle."""
        return self.structure.most * self.carrying / self.structure.demand.load

    @property
    def need(self) -> float:
        """Devices that carry the load, as a real number."""
        return (self.gpu_count - self.constraints.spare * self.structure.gpu_count) / self.headroom

    def breaks(self) -> list[tuple[str, float]]:
        """(goal or FULL, factor by which the load may grow until then), the first to break first."""
        return [(name, end / self.share) for name, end in self.structure.reach.breaks(self.structure.best)]

    def likelihood(self) -> float:
        """The chance that every goal is kept.

        Times err by a common factor, lognormal with the interval's width: Φ(z), with z the standard deviations by which
        they may be slower until a goal is missed.
        """
        return likelihood(lambda sigmas: self.structure.surely(sigmas) >= self.share * (1 - SLACK))

    def moved(self, change: Callable[[Structure], Structure]) -> Option | None:
        """The cheapest of its kind after a change to its structure; None where that misses the goals."""
        return options_of(change(self.structure), self.constraints)

    @property
    def title(self) -> str:
        return label(self.structure)

    @cached_property
    def figures(self) -> dict[str, float]:
        """Seconds that requests see, by theory."""
        return self.structure.figures(self.structure.best, self.share)

    @property
    def hoped(self) -> Point:
        """A point at least as good as its own, and quickly told."""
        return self.point

    @cached_property
    def point(self) -> Point:
        one = self.structure
        return Point(self.worth, one.reach.at(one.best, self.share, [("e2e", 0)])[0], one.most / one.gpu_count)

    @cached_property
    def plan(self) -> Deployment:
        """One replica, with its limits."""
        return self.structure.variants[self.structure.best]

    @property
    def rate(self) -> float:
        """Requests a second of a replica."""
        return self.structure.reach.rate_at(self.structure.best, self.share)

    @cached_property
    def simulated(self) -> Load:
        """One replica under its share of the traffic, request by request."""
        return Load(self.plan, self.structure.demand.traffic(self.rate))

    @cached_property
    def seen(self) -> dict[str, float]:
        """Seconds that requests see in the simulation, by the names of `figures`."""
        load, found = self.simulated, {}
        for figure, spread in (("ttft", load.ttfts), ("tpot", load.tpots), ("e2e", load.e2es)):
            found |= {f"{figure}_{name}_s": getattr(spread, name) for name in ("mean", "p50", "p95", "p99")}
        return found

    @property
    def kept(self) -> bool:
        """Whether the simulation keeps every goal."""
        return all(self.seen[f"{goal.name}_s"] <= goal.limit_s for goal in self.structure.goals)

    @property
    def affordable(self) -> bool:
        """Whether it stays within every constraint."""
        c, cost, watts = self.constraints, self.usd_per_month, self.watts
        return (
            (c.max_gpus is None or self.gpu_count <= c.max_gpus)
            and (c.budget is None or (cost is not None and cost <= c.budget))
            and (c.power is None or (watts is not None and watts <= c.power))
        )

    def unlimited(self) -> Option:
        """The same where it may exceed every constraint."""
        free = Constraints(self.constraints.objective, self.constraints.spare)
        return replace(self, constraints=free)

    def more(self) -> Option:
        """The same with one replica more."""
        return replace(self, carrying=self.carrying + 1)

    def more_sure(self) -> Option:
        """The same with one replica more, whatever the simulation says."""
        return replace(self, carrying=self.carrying + 1)


def options_of(structure: Structure, constraints: Constraints) -> Option | None:
    """The fewest replicas that carry the load; None where a goal is missed even without it, or nothing fits."""
    if not structure.fits or structure.most <= 0:
        return None
    return Option(structure, max(ceil(structure.demand.load / structure.most - SLACK), 1), constraints)


WORST = 4.0
"""Standard deviations beyond which a chance counts as none, or as certain."""


def likelihood(keeps: Callable[[float], bool]) -> float:
    """Φ of the standard deviations of slowness up to which `keeps` holds."""
    low, high = -WORST, WORST
    if not keeps(low):
        return 0.0
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (middle, high) if keeps(middle) else (low, middle)
    return NormalDist().cdf(low)


def label(one: Structure) -> str:
    """A structure in short: "b200 TP2, fp8"."""
    plan = one.plan
    parts = [f"{name.upper()}{n}" for name in ("tp", "pp", "dp", "ep") if (n := getattr(plan, name)) > 1]
    formats = [plan.precision.weights.name, *([f"KV {plan.precision.kv.name}"] if plan.precision.kv.bits < 16 else [])]
    guesses = ["speculation"] if plan.speculation is not None else []
    engine = [plan.engine.name] if plan.engine.name != "vllm" else []
    return ", ".join([" ".join([plan.gpu.name, *parts]), *formats, *guesses, *engine])


@dataclass(frozen=True)
class Searched:
    """What a search found.

    options   of every structure that can keep the goals, by theory, cheapest first
    failed    structures that fit, and miss a goal even without load
    passed    structures that physics ruled out, with the least that they could be worth
    refused   sentences for what cannot be
    unfit     how many structures do not hold the model
    tried     deployments that were looked at or ruled out: structures times limits
    """

    options: tuple[Option, ...]
    failed: tuple[Structure, ...]
    passed: tuple[tuple[Structure, float], ...]
    refused: tuple[str, ...]
    unfit: int
    tried: int

    @cached_property
    def front(self) -> tuple[Option, ...]:
        """Options that none beats in cost, end-to-end time and load per device."""
        return tuple(front(self.options))

    @cached_property
    def winner(self) -> Option | None:
        """The cheapest that the simulation confirms within the constraints; None where there is none."""
        return next(confirmed(self.options), None)


def searched(
    structures: Iterable[Structure | str],
    constraints: Constraints,
    progress: Callable[[int, int], None] | None = None,
    prune: bool = True,
    paired: Callable[[Sequence[Structure], Constraints], Iterable[Option]] | None = None,
) -> Searched:
    """Every structure against its goals; `progress` is told how many of how many are done.

    `paired` makes further options of structures together (planning.pools.pairs); then none is passed over, for one
    that is nothing by itself may be good at half of the work.
    """
    known: dict[int, Least] = {}
    found, refused, unfit = [], [], 0
    for one in structures:
        if isinstance(one, str):
            refused.append(one)
        elif not one.fits:
            unfit += 1
        else:
            found.append((_least(one, constraints, known), len(found), one))
    found.sort(key=lambda entry: entry[:2])
    options: list[Option] = []
    failed: list[Structure] = []
    passed: list[tuple[Structure, float]] = []
    best: list[Point] = []
    for done, (point, _, one) in enumerate(found):
        if progress is not None:
            progress(done, len(found))
        if prune and paired is None and any(other.beats(point) for other in best):
            passed.append((one, point.cost))
            continue
        option = options_of(one, constraints)
        if option is None:
            failed.append(one)
            continue
        options.append(option)
        if not any(other.beats(option.point) for other in best):
            best = [other for other in best if not option.point.beats(other)] + [option.point]
    tried = sum(len(one.variants) for _, _, one in found)
    if paired is not None:
        together = list(paired([one for _, _, one in found], constraints))
        tried += len(together)
        options += together
    options.sort(key=order)
    return Searched(tuple(options), tuple(failed), tuple(passed), tuple(dict.fromkeys(refused)), unfit, tried)


def order(option: Option) -> tuple[float, int, float]:
    """Cheapest first; of equals the fewest devices, then the most headroom."""
    return option.worth, option.gpu_count, -option.headroom


def _least(one: Structure, constraints: Constraints, known: dict[int, Least]) -> Point:
    """The best point that physics allows a structure."""
    whole = one.plan.whole()
    key = hash((whole.gpu.name, whole.precision, whole.engine.runs, whole.speculation, id(one.asked)))
    least = known.get(key)
    if least is None:
        known[key] = least = Least.of(one.plan, one.demand)
    n = one.gpu_count
    worth = Option(one, least.replicas(n), constraints).worth
    return Point(worth, least.e2e_s(n), 1 / least.request_s(n) if not one.demand.interactive else float("inf"))


def front(options: Sequence[Option]) -> Iterator[Option]:
    """Options that no other beats, cheapest first; of equals the first."""
    kept: list[Point] = []
    for option in sorted(options, key=order):
        if any(other.beats(option.hoped) for other in kept):
            continue
        point = option.point
        if point not in kept and not any(other.beats(point) for other in kept):
            kept.append(point)
            yield option


def confirmed(options: Sequence[Option]) -> Iterator[Option]:
    """Options that the simulation confirms within the constraints, cheapest first.

    One that it does not is tried with ever one replica more, where that is still cheaper than what comes next.
    """
    queue = [(order(option), i, option) for i, option in enumerate(options)]
    heapq.heapify(queue)
    first = {i: option.carrying for i, option in enumerate(options)}
    while queue:
        _, i, option = heapq.heappop(queue)
        if not option.affordable:
            continue
        if option.kept:
            yield option
        elif option.carrying < first[i] + FURTHER:
            following = option.more()
            heapq.heappush(queue, (order(following), i, following))
