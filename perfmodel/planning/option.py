"""A deployment that carries the load: what it is, costs, and makes requests see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from statistics import NormalDist
from typing import NamedTuple

from perfmodel.deployment import Deployment
from perfmodel.planning.prices import HOURS
from perfmodel.planning.space import Structure
from perfmodel.serving.load import Load

OBJECTIVES = ("cost", "gpus", "power")
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
        found = {"cost": self.usd_per_month, "gpus": float(self.gpu_count), "power": self.watts}[
            self.constraints.objective
        ]
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

    def need_after(self, change: Callable[[Structure], Structure]) -> float:
        """`need` after a change to its structure; infinite where that misses the goals."""
        moved = options_of(change(self.structure), self.constraints)
        return float("inf") if moved is None else moved.need

    def moved(self, change: Callable[[Structure], Structure]) -> Option | None:
        """The cheapest of its kind after a change to its structure; None where that misses the goals."""
        return options_of(change(self.structure), self.constraints)

    @property
    def title(self) -> str:
        return label(self.structure)

    @property
    def told(self) -> str:
        """What it consists of, in words."""
        return f"{counted(self.replicas, 'replica')} of {split_told(self.structure.plan)}{self.spares_told}"

    @property
    def spares_told(self) -> str:
        spare = self.constraints.spare
        return f", {spare} of them spare" if spare else ""

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
        return self.structure.variant(self.structure.best)

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
        load = self.simulated
        found: dict[str, float] = {}
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
        return self.more()


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


def counted(n: int, what: str) -> str:
    """ "1 replica", "1,200 replicas"."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def split_told(plan: Deployment) -> str:
    """ "4 GPUs (TP 2 × PP 2)"."""
    parts = [f"{name.upper()} {n}" for name in ("tp", "pp", "dp", "ep") if (n := getattr(plan, name)) > 1]
    return counted(plan.gpu_count, "GPU") + (f" ({' × '.join(parts)})" if parts else "")


def label(one: Structure) -> str:
    """A structure in short: "b200 TP2, fp8"."""
    plan = one.plan
    parts = [f"{name.upper()}{n}" for name in ("tp", "pp", "dp", "ep") if (n := getattr(plan, name)) > 1]
    formats = [plan.precision.weights.name, *([f"KV {plan.precision.kv.name}"] if plan.precision.kv.bits < 16 else [])]
    guesses = ["speculation"] if plan.speculation is not None else []
    mixed = " mixing" if "policy" in plan.engine.asked else ""
    engine = [f"{plan.engine.name}{mixed}"] if plan.engine.name != "vllm" else []
    return ", ".join([" ".join([plan.gpu.name, *parts]), *formats, *guesses, *engine])
