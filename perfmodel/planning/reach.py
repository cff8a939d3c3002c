"""What one replica carries before a goal is missed, for every variant of its engine's limits at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from perfmodel.planning.demand import Demand
from perfmodel.planning.goals import Goal
from perfmodel.serving.steady import Steady

FULL = "throughput"
"""What ends a replica's reach where no goal is missed before it is full."""


@dataclass(frozen=True)
class Reach:
    """`goals` against the states of `steady`, each with the load (requests/s, or users) that it carries.

    Between two states everything runs straight. A load is carried where every state up to it keeps every goal.
    """

    steady: Steady
    demand: Demand
    goals: tuple[Goal, ...]

    @cached_property
    def carried(self) -> Any:
        """Requests a second, or users at once (rate·(thinking + e2e): the interactive law, Little 1961)."""
        rate = self.steady.rate
        if not self.demand.interactive:
            return rate
        users = rate * (self.demand.think_s + self.steady.seen("e2e", 0))
        return np.maximum.accumulate(np.where(self.steady.valid, users, 0.0), axis=-1)

    def seen(self, goal: Goal) -> Any:
        """Seconds of the goal's figure, at every state; more load is never faster."""
        found = self.steady.seen(goal.figure, goal.percentile)
        return np.maximum.accumulate(found, axis=-1)

    @cached_property
    def idle(self) -> Any:
        """Seconds of every goal's figure (rows) with next to no load."""
        return np.array([self.seen(goal)[:, 0] for goal in self.goals]).reshape(len(self.goals), -1)

    @cached_property
    def ends(self) -> Any:
        """The load at which each variant (columns) misses each goal (rows), and in the last row is full.

        0 where even a server with next to no load misses a goal, infinite where a full one keeps it.
        """
        load, width = self.carried, self.carried.shape[1]
        rows = []
        for goal in self.goals:
            seen = self.seen(goal)
            within = (seen <= goal.limit_s).sum(axis=1)  # they come first, since what is seen never falls
            at = np.clip(within, 1, width - 1)[:, None]
            low, high = np.take_along_axis(seen, at - 1, 1)[:, 0], np.take_along_axis(seen, at, 1)[:, 0]
            x, y = np.take_along_axis(load, at - 1, 1)[:, 0], np.take_along_axis(load, at, 1)[:, 0]
            share = np.clip((goal.limit_s - low) / np.maximum(high - low, 1e-30), 0, 1)
            rows.append(
                np.where(
                    within == 0, 0.0, np.where((within == width) | ~np.isfinite(high), np.inf, x + (y - x) * share)
                )
            )
        return np.array([*rows, load[:, -1]])

    @property
    def most(self) -> Any:
        """The load that each variant carries within all goals; 0 where an empty server already misses one."""
        return self.ends.min(axis=0)

    def breaks(self, variant: int) -> list[tuple[str, float]]:
        """(goal or FULL, load at which it ends) of a variant, the first to break first; without those that never do."""
        named = zip([*(goal.name for goal in self.goals), FULL], self.ends[:, variant].tolist(), strict=True)
        return sorted(((name, end) for name, end in named if end != float("inf")), key=lambda found: found[1])

    def at(self, variant: int, load: float, figures: Sequence[tuple[str, int]]) -> list[float]:
        """Seconds of figures, (name, percentile) each, with so much load on a replica."""
        valid = self.steady.valid[variant]
        x = self.carried[variant][valid]
        return [float(np.interp(load, x, self.steady.seen(*figure)[variant][valid])) for figure in figures]

    def rate_at(self, variant: int, load: float) -> float:
        """Requests a second that a replica with so much load gets."""
        valid = self.steady.valid[variant]
        return float(np.interp(load, self.carried[variant][valid], self.steady.rate[variant][valid]))
