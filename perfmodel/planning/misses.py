"""Why no deployment meets the goals, and what would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from perfmodel.planning.goals import Goal
from perfmodel.planning.option import Constraints, Option, label
from perfmodel.planning.search import Searched, confirmed, order
from perfmodel.planning.space import Structure
from perfmodel.units import show_seconds

NEAREST = 3


@dataclass(frozen=True, slots=True)
class Miss:
    """A deployment that misses: `title`, and for each goal its name, the seconds that it reaches, and the limit.

    `cost` is what it would cost where it meets the goals and breaks a constraint.
    """

    title: str
    reached: tuple[tuple[str, float, float], ...]
    cost: float | None = None

    @property
    def worst(self) -> float:
        """The largest ratio of what is reached to what is asked."""
        return max((seconds / limit for _, seconds, limit in self.reached), default=0.0)


def misses(found: Searched, goals: Sequence[Goal]) -> tuple[Miss, ...]:
    """The nearest ones, the nearest first."""
    if found.options:
        return tuple(_by_simulation(option, goals) for option in found.options[:NEAREST])
    missed = [Miss(label(one), _idle(one, goals)) for one in found.failed]
    return tuple(sorted(missed, key=lambda miss: miss.worst)[:NEAREST])


def _by_simulation(option: Option, goals: Sequence[Goal]) -> Miss:
    reached = tuple((goal.name, option.seen[f"{goal.name}_s"], goal.limit_s) for goal in goals)
    return Miss(option.title, reached, option.usd_per_month)


def _idle(one: Structure, goals: Sequence[Goal]) -> tuple[tuple[str, float, float], ...]:
    """What the best limits of a structure reach with next to no load."""
    idle = one.reach.idle
    ratios = [max(idle[i, v] / goal.limit_s for i, goal in enumerate(goals)) for v in range(idle.shape[1])]
    best = ratios.index(min(ratios))
    return tuple((goal.name, float(idle[i, best]), goal.limit_s) for i, goal in enumerate(goals))


def relaxations(found: Searched, goals: Sequence[Goal], constraints: Constraints) -> tuple[str, ...]:
    """Sentences, each a single thing to relax after which some deployment would do."""
    if found.options:
        return tuple(_afforded(found, goals, constraints))
    told = []
    for i, goal in enumerate(goals):
        least: tuple[float, Structure] | None = None
        for one in found.failed:
            idle = one.reach.idle
            others = [j for j in range(len(goals)) if j != i]
            for v in range(idle.shape[1]):
                kept = all(idle[j, v] <= goals[j].limit_s for j in others)
                if kept and idle[i, v] < (least[0] if least else float("inf")):
                    least = float(idle[i, v]), one
        if least is not None:
            told.append(
                f"{goal.title} of more than {show_seconds(least[0])}: {label(least[1])} reaches that without load"
            )
    if not told and found.failed:
        nearest = misses(found, goals)[0]
        all_of_them = ", ".join(
            f"{name.replace('_', ' ')} {show_seconds(seconds)}" for name, seconds, _ in nearest.reached
        )
        told.append(f"all goals together: {nearest.title} reaches {all_of_them} without load")
    return tuple(told)


def _afforded(found: Searched, goals: Sequence[Goal], constraints: Constraints) -> list[str]:
    """What the cheapest, smallest and most sparing deployments that meet the goals would take."""
    told = []
    free = [option.unlimited() for option in found.options]
    kinds: tuple[tuple[str, str, Callable[[Option], Any]], ...] = (
        ("budget", "--budget {:,.0f} (USD a month)", lambda option: option.usd_per_month),
        ("max_gpus", "--max-gpus {:,}", lambda option: option.gpu_count),
        ("power", "--max-power {:,.1f} (kW)", lambda option: None if option.watts is None else option.watts / 1e3),
    )
    for name, text, amount in kinds:
        if getattr(constraints, name) is None:
            continue
        ordered = sorted((o for o in free if amount(o) is not None), key=lambda o: (amount(o), order(o)))
        least = next(confirmed(ordered[:40]), None)
        if least is not None:
            told.append(
                f"{text.format(amount(least))}: {least.gpu_count} × {least.structure.plan.gpu.name}, {least.title}"
            )
    if told or any(getattr(constraints, name) is not None for name, _, _ in kinds):
        return told
    for option in found.options[:NEAREST]:
        late = [goal for goal in goals if option.seen[f"{goal.name}_s"] > goal.limit_s]
        if len(late) == 1:
            seen = option.seen[f"{late[0].name}_s"]
            told.append(f"{late[0].title} of {show_seconds(seen)}: {option.title} reaches that in the simulation")
    return told
