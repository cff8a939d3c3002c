"""Traffic and goals → a `Plan`: the cheapest deployments that keep them, how sure that is, and what would change it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from perfmodel.answer import million_seconds_usd
from perfmodel.launch.question import longest_request
from perfmodel.launch.server import WRITERS, Launch, launch, load_test
from perfmodel.launch.sheet import Command
from perfmodel.planning.demand import SIMULATED, Demand
from perfmodel.planning.goals import Goal
from perfmodel.planning.misses import Miss, misses, relaxations
from perfmodel.planning.option import Constraints, Option
from perfmodel.planning.pools import PairOption
from perfmodel.planning.prices import HOURS, Prices
from perfmodel.planning.reach import FULL
from perfmodel.planning.robust import SURE, Chance, Swing, chances, safe, swings
from perfmodel.planning.search import Searched, confirmed, front
from perfmodel.planning.space import Space
from perfmodel.units import show_seconds

OTHERS = 4
"""Further devices whose cheapest deployment is told beside the best."""
RIVALS = 4
"""Options that may take the place of the best when an input moves."""


@dataclass(frozen=True)
class Plan:
    """The answer: `best` is the cheapest deployment that keeps every goal, in the simulation too, if there is one."""

    demand: Demand
    goals: tuple[Goal, ...]
    constraints: Constraints
    space: Space
    prices: Prices
    searched: Searched
    confidence: float | None = None
    assumed: bool = False

    @property
    def best(self) -> Option | None:
        return self.searched.winner

    @property
    def met(self) -> bool:
        return self.best is not None

    @cached_property
    def others(self) -> tuple[Option, ...]:
        """The cheapest of each further device, as the simulation confirms them."""
        by_gpu: dict[str, list[Option]] = {}
        for option in self.searched.options:
            by_gpu.setdefault(option.structure.plan.gpu.name, []).append(option)
        if self.best is not None:
            by_gpu.pop(self.best.structure.plan.gpu.name, None)
        found = (next(confirmed(options[:12]), None) for options in list(by_gpu.values())[:OTHERS])
        return tuple(option for option in found if option is not None)

    @cached_property
    def front(self) -> tuple[Option, ...]:
        """Options that none beats in cost, end-to-end time and load per device, by theory, within the constraints."""
        return tuple(front([option for option in self.searched.options if option.affordable]))

    @cached_property
    def chances(self) -> tuple[Chance, ...]:
        """The chance to keep every goal, by how many devices."""
        return () if self.best is None else chances(self.best, self.confidence or SURE)

    @property
    def safe(self) -> Chance | None:
        """The fewest devices that keep every goal with 90 %, or the confidence that was asked for."""
        return safe(self.chances, self.confidence or SURE)

    @cached_property
    def breaks(self) -> list[tuple[str, float]]:
        """(goal or "throughput", factor by which the load may grow until then), the first to break first."""
        return [] if self.best is None else self.best.breaks()

    @cached_property
    def swings(self) -> tuple[Swing, ...]:
        """Which input moves the answer most."""
        return () if self.best is None else swings(self.best, list(_rivals(self.best, self.searched.options)))

    @cached_property
    def misses(self) -> tuple[Miss, ...]:
        """The nearest deployments, where none meets the goals."""
        return () if self.met else misses(self.searched, self.goals)

    @cached_property
    def relaxations(self) -> tuple[str, ...]:
        """What to relax, and by how much, where none meets the goals."""
        return () if self.met else relaxations(self.searched, self.goals, self.constraints)

    def ending(self, name: str) -> str:
        """What it means that `breaks` names, in words."""
        if name == FULL:
            return "the servers are full"
        goal = next(goal for goal in self.goals if goal.name == name)
        return f"{goal.title} passes {show_seconds(goal.limit_s)}"

    @property
    def assumptions(self) -> tuple[str, ...]:
        return tuple(_assumptions(self))

    @cached_property
    def launch(self) -> tuple[Launch, dict[str, Command]] | None:
        """What starts the best deployment, and load tests that verify it; None where no command is known for it."""
        best = self.best
        if best is None or best.plan.engine.name not in WRITERS:
            return None
        sent = self.demand.traffic(best.rate * (1 if isinstance(best, PairOption) else best.carrying))
        apart: dict[str, Any] = {"replicas": best.replicas}
        if isinstance(best, PairOption):
            spare = self.constraints.spare
            apart = {"prefill": best.pair.filler.plan, "workers": (best.fillers + spare, best.replicas)}
        told = launch(best.plan, context=longest_request(best.plan, sent), prefix=bool(self.demand.cached), **apart)
        wanted = {f"{goal.figure}_s": goal.limit_s for goal in self.goals}
        return told, load_test(told, sent, wanted)

    def usd_per_million_tokens(self, option: Option) -> float | None:
        """Cost of a million output tokens at today's mean traffic, all devices paid for all month."""
        price, rate = option.structure.price, self.demand.rate
        if price is None:
            return None
        if rate is None:
            rate = option.rate * option.carrying / self.demand.factor
        return float(million_seconds_usd(price, option.gpu_count) / (rate * self.demand.outputs.mean))

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract of docs/json.md."""
        from perfmodel.planning.contract import plan_dict

        return plan_dict(self)

    def to_table(self) -> Any:
        """A perfmodel Table: a row for the best, for each further device, and for the front."""
        from perfmodel.planning.contract import plan_table

        return plan_table(self)

    def _repr_html_(self) -> str:
        """As notebooks show it."""
        from perfmodel.report.notebook import notebook_html

        return str(notebook_html(self))

    def to_frame(self) -> Any:
        """A pandas DataFrame of the same."""
        return self.to_table().to_frame()


def _rivals(best: Option, options: Sequence[Option]) -> Iterator[Option]:
    """The cheapest of other kinds."""
    seen = {best.title}
    for option in options:
        if option.title not in seen:
            seen.add(option.title)
            yield option
        if len(seen) > RIVALS:
            return


def _assumptions(plan: Plan) -> Iterator[str]:
    d, space = plan.demand, plan.space
    if plan.assumed:
        yield "goals assumed, for none was given (--ttft, --tpot, --e2e, --goal)"
    yield f"prompts: {d.prompts}; outputs: {d.outputs}"
    if d.source:
        yield d.source
    yield f"requests come at random (Poisson); {SIMULATED:,} of them simulated for each deployment that is named"
    if d.cached:
        yield f"{d.hit:.0%} of the prompts find their first {d.cached:,} tokens in the cache"
    gpus = sorted({plan.prices.told(option.structure.plan.gpu) for option in plan.searched.options})
    if gpus:
        yield f"prices: {'; '.join(gpus)}; {HOURS} hours a month, all devices all the time"
    if space.weights == (None, "fp8"):
        yield "weights in 16 bits and in FP8, which changes what is written slightly (--weights auto rules it out)"
    if plan.confidence:
        yield f"times as slow as they may be, with {plan.confidence:.0%} confidence, as asked"
