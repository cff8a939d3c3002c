"""What speculation brings: how much faster, up to which batch, from which acceptance, and with how many guesses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from perfmodel.arithmetic import Number
from perfmodel.deployment import Deployment
from perfmodel.latency import draft_time, mean_decode_time, step_time
from perfmodel.op import Totals, totals
from perfmodel.speculation.acceptance import rate_that_yields
from perfmodel.speculation.drafting import draft_rounds
from perfmodel.speculation.method import Speculation
from perfmodel.workload import Workload

MOST_GUESSES = 16
"""Guesses up to which the best number is sought."""
MOST_SEQUENCES = 1024
"""Sequences up to which speculation's end is sought."""


def speedup(plan: Deployment, work: Workload) -> Number:
    """Time per token without speculation over that with it; above 1 it pays."""
    return mean_decode_time(plan.plain(), work).expected / mean_decode_time(plan, work).expected


@dataclass(frozen=True)
class Gain:
    """What the speculation of a deployment brings to a workload of whole numbers."""

    plan: Deployment
    work: Workload

    @property
    def tokens_a_pass(self) -> float:
        """Expected tokens that a verification yields."""
        return float(self.guessed.tokens_a_pass)

    @cached_property
    def speedup(self) -> float:
        return float(speedup(self.plan, self.work))

    @cached_property
    def by_guesses(self) -> list[float]:
        """The speed-up with 1, 2, … guesses: every one of them, so that the best is exact."""
        return speedups_by_guesses(self.plan, self.work)

    @property
    def best_guesses(self) -> int:
        """The number of guesses with the largest speed-up."""
        return max(range(len(self.by_guesses)), key=lambda i: self.by_guesses[i]) + 1

    @cached_property
    def stops_at(self) -> int | None:
        """The smallest batch from which on it no longer pays (1 when it never does); None beyond MOST_SEQUENCES."""
        return batch_without_gain(self.plan, self.work)

    @cached_property
    def needs(self) -> float | None:
        """The acceptance rate, alike at every place, from which on it pays; None when none is enough."""
        return least_acceptance(self.plan, self.work)

    @cached_property
    def draft_s(self) -> float:
        """Seconds of the first step that guessing takes."""
        return float(draft_time(self.plan, self.work, self.work.prompt).expected)

    @cached_property
    def step_s(self) -> float:
        """Seconds of the first step: guessing, and the pass that verifies."""
        return float(step_time(self.plan, self.work, self.work.prompt).expected)

    @cached_property
    def drafted(self) -> Totals:
        """What guessing computes and moves in the first step, counted once over the deployment."""
        return draft_totals(self.plan, self.work)

    @property
    def guessed(self) -> Speculation:
        """What guesses."""
        assert self.plan.speculation is not None
        return self.plan.speculation


def speedups_by_guesses(plan: Deployment, work: Workload, most: int = MOST_GUESSES) -> list[float]:
    """The speed-up with 1 to `most` guesses; a chain's all at once, a tree's one by one."""
    s = plan.speculation
    assert s is not None
    if s.nodes is None:
        import numpy as np

        counts = np.arange(1.0, most + 1)
        return [float(gain) for gain in speedup(replace(plan, speculation=s.guessing(counts)), work)]
    deepest = min(most, s.nodes)
    return [float(speedup(replace(plan, speculation=s.guessing(k)), work)) for k in range(1, deepest + 1)]


def batch_without_gain(plan: Deployment, work: Workload, most: int = MOST_SEQUENCES) -> int | None:
    """The smallest batch from which on (to `most`) speculation does not pay; None when it still does at `most`."""
    import numpy as np

    sequences = np.arange(1.0, most + 1)
    pays = np.flatnonzero(speedup(plan, replace(work, batch=sequences)) > 1)
    if not pays.size:
        return 1
    return None if pays[-1] == most - 1 else int(pays[-1]) + 2


def least_acceptance(plan: Deployment, work: Workload) -> float | None:
    """The rate at which (draft + verify)/E is a plain step; None when even 1 is not enough."""
    s = plan.speculation
    assert s is not None
    # tokens a pass that would pay for the step: TPOT is in proportion to 1/E
    needed = float(s.tokens_a_pass) / float(speedup(plan, work))
    if needed >= float(s.accepting(1.0).tokens_a_pass):
        return None
    return rate_that_yields(lambda rate: float(s.accepting(rate).tokens_a_pass), needed)


def gain(plan: Deployment, work: Workload) -> Gain | None:
    """What speculation brings; None without it, and where sizes are arrays."""
    arrays = any(hasattr(size, "shape") for size in (work.batch, work.prompt, work.output))
    return None if plan.speculation is None or arrays else Gain(plan, work)


def drafted_bytes(plan: Deployment, work: Workload) -> Number:
    """What the guesses of the first step must move; 0 without any."""
    return 0 if plan.speculation is None else draft_totals(plan, work).compulsory_bytes


def draft_totals(plan: Deployment, work: Workload) -> Totals:
    """What the guesses of the first step compute and move, repeats included, counted once over the deployment."""
    parts = [
        replace(op, repeat=op.repeat * count)
        for count, ops, _ in draft_rounds(plan.whole(), work.sequences, work.prompt)
        for op in ops
    ]
    return totals(parts)
