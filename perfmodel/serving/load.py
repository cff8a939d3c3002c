"""A deployment under traffic: what its requests see, in the mean and at percentiles, and what binds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, exp, hypot, log
from typing import Any, NamedTuple

from perfmodel.arithmetic import Number
from perfmodel.calibration import Constants
from perfmodel.deployment import Deployment
from perfmodel.engine import Engine
from perfmodel.latency import Time
from perfmodel.memory import memory, most_sequences
from perfmodel.serving.seen import Distribution, Seen
from perfmodel.serving.simulation import Pass, Rules, Served, served
from perfmodel.serving.steps import Range, Steps
from perfmodel.serving.traffic import Traffic
from perfmodel.workload import Workload

FIRST_SPREAD, STEP_SPREAD, FULL_SPREAD = 1.15, 1.05, 1.2
"""Factors up and down for what arrivals add to the errors of passes: to a first token, to a token, and to a server that
is as full as it gets, whose limits are seldom stated. By the coverage of runs under load (docs/accuracy.md)."""


@dataclass(frozen=True)
class Load(Seen):
    """`traffic` on `plan`: every request simulated, pass by pass.

    Replicas are servers of their own, each with its part of the traffic; one is simulated. Ranks that share the data
    pass together: each takes its part of the sequences and prompts, and a prompt is not cut between them.

    `changes` are what this server does otherwise than its engine by default, by the names of `Rules`; `kv_tokens` is
    what the cache holds and `grid` what passes take, where that is known already.
    """

    plan: Deployment
    traffic: Traffic
    changes: tuple[tuple[str, Any], ...] = ()
    kv_tokens: float | None = None
    grid: Steps | None = None

    @cached_property
    def held(self) -> float:
        """Tokens that the KV cache holds."""
        if self.kv_tokens is not None:
            return self.kv_tokens
        return tokens_held(self.plan, self.traffic)

    @cached_property
    def rules(self) -> Rules:
        engine, costs = self.plan.engine, Constants(self.plan.gpu, self.plan.engine).costs
        usual = Rules(
            engine.policy,
            pass_tokens(engine) * self.plan.dp,
            (engine.sequences_limit or NO_LIMIT) * self.plan.dp,
            self.held,
            engine.reserves,
            costs.request_s,
            lag=costs.lag,
        )
        return replace(usual, **dict(self.changes))

    @cached_property
    def most(self) -> int:
        """Sequences that can run at once, as far as the traffic may bring them."""
        traffic, mean = self.part, self.traffic.prompts.mean + self.traffic.outputs.mean
        asked = traffic.concurrency or traffic.requests
        return max(int(min(asked, self.rules.sequences, 4 * self.held / mean + 1)), 1)

    @cached_property
    def range(self) -> Range:
        """What passes may come."""
        t = self.traffic
        shortest = 1.0 if t.prompts.kind == "lognormal" else t.prompts.low
        return Range(
            prompt=t.prompts.squares / t.prompts.mean * (t.computed / t.prompts.mean),
            cached=t.hit * min(t.cached, t.prompts.mean - 1),
            shortest=shortest,
            longest=t.prompts.high + t.outputs.high,
            most=ceil(self.most / self.plan.dp),
            budget=ceil(self.rules.budget / self.plan.dp),
        )

    @cached_property
    def steps(self) -> Steps:
        return self.grid or Steps.of(self.plan, self.range)

    @cached_property
    def part(self) -> Traffic:
        """The traffic of one replica."""
        return self.traffic.shared(self.plan.replicas)

    @cached_property
    def seconds(self) -> Callable[[float, float, float], float]:
        """What a pass of so many prompt tokens and decoding sequences takes, of all ranks together."""
        seconds, dp, prompt = self.steps.seconds, self.plan.dp, self.range.prompt
        if dp == 1:
            return seconds
        return lambda m, b, s: seconds(max(m / dp, min(m, prompt)), b / dp, s)

    def of_rank(self, passes: Sequence[Pass]) -> list[tuple[float, ...]]:
        """Passes as each rank sees them."""
        dp, prompt = self.plan.dp, self.range.prompt
        if dp == 1:
            return list(passes)
        return [(max(p.tokens / dp, min(p.tokens, prompt)), p.decodes / dp, *p[2:]) for p in passes]

    @cached_property
    def served(self) -> Served:
        return served(self.drawn, self.seconds, self.rules, self.part.at_once)

    # ── means, as times ──────────────────────────────────────────────────────────────────────────

    @cached_property
    def made_of(self) -> MadeOf:
        """What the means consist of, as weights of the cells of `steps`."""
        return MadeOf.of(self)

    @cached_property
    def ttft(self) -> Time:
        """Mean time to first token."""
        made, steps = self.made_of, self.steps
        spread = wider(steps.prefill_spread, FIRST_SPREAD)
        time = steps.time(made.waiting + self.rules.lag * made.after, spread)
        way = self.rules.request_s
        return replace(time, expected=time.expected + way, overhead=time.overhead + way)

    @cached_property
    def tpot(self) -> Time:
        """Mean over requests of the mean time between their tokens after the first."""
        return self.steps.time(self.made_of.rates, wider(self.steps.decode_spread, STEP_SPREAD))

    @cached_property
    def e2e(self) -> Time:
        """Mean time from sending a request to its last token."""
        return self.ttft.plus(self.steps.time(self.made_of.running, self.tpot.spread))

    @cached_property
    def busy(self) -> Time:
        """Time that the engine ran passes."""
        return self.steps.time(self.made_of.whole, wider(self.steps.decode_spread, FULL_SPREAD))

    # ── the whole distribution ───────────────────────────────────────────────────────────────────

    @cached_property
    def itls(self) -> Distribution:
        """Time between two tokens of a request."""
        return Distribution.weighted(self.served.gaps)

    @cached_property
    def running(self) -> float:
        """Mean of sequences that run at once, over the passes, on all replicas."""
        passes = sum(p.repeat for p in self.served.passes)
        return self.plan.replicas * sum(p.running for p in self.served.passes) / passes if passes else 0.0

    @property
    def most_running(self) -> int:
        """Most sequences that ran at once, on all replicas."""
        return self.served.most_running * self.plan.replicas

    @property
    def utilisations(self) -> tuple[float, ...]:
        """Part of the time from the first request to the last token in which passes ran."""
        return (self.served.busy / self.served.seconds,)

    @property
    def gpu_count(self) -> int:
        return self.plan.gpu_count

    @property
    def output_rate(self) -> float:
        """Output tokens per second, from the first request to the last token."""
        return self.plan.replicas * self.tokens_out / self.served.seconds

    @property
    def request_rate(self) -> float:
        """Requests per second."""
        return self.plan.replicas * self.part.requests / self.served.seconds


class MadeOf(NamedTuple):
    """Means of one simulation as weights of the cells of a grid of passes.

    waiting, after  of time to first token: passes waited for, and those under way when it came out
    rates           of time per token
    running         of the time from first to last token
    whole           of the whole run
    """

    waiting: Any
    after: Any
    rates: Any
    running: Any
    whole: Any

    @classmethod
    def of(cls, load: Load) -> MadeOf:
        steps = load.steps
        n, several = len(load.drawn), max(sum(1 for r in load.drawn if r.output > 1), 1)
        whole, waiting, rates, running = steps.weights(load.of_rank(load.served.passes))
        after = steps.weights(load.of_rank(load.served.after))[1]
        return cls(waiting / n, after / n, rates / several, running / n, whole)


NO_LIMIT = 1 << 20
"""Sequences at once of an engine that has no limit of its own."""
IN_FLIGHT = 8192
"""Tokens beyond which servers do not let a pass grow, whatever their engine would take of a batch at once."""


def pass_tokens(engine: Engine) -> int:
    """Most tokens of a pass of a server that batches in flight."""
    return min(engine.token_budget, IN_FLIGHT)


def wider(spread: Number, factor: float) -> Number:
    """A factor of an interval that an independent cause of error widens by `factor`."""
    return exp(hypot(log(spread), log(factor)))


def tokens_held(plan: Deployment, traffic: Traffic) -> float:
    """Tokens that the KV cache of a replica holds beside weights, activations and the engine's own."""
    plan = replace(plan, engine=replace(plan.engine, token_budget=pass_tokens(plan.engine)))
    prompt, output = (max(round(lengths.mean), 1) for lengths in (traffic.prompts, traffic.outputs))
    return float(most_sequences(plan, Workload(prompt, output)) // plan.replicas * (prompt + output))


def tokens_held_by(plan: Deployment, traffic: Traffic, budgets: Sequence[int]) -> list[float]:
    """`tokens_held` with each of several limits of a pass, worked out together."""
    import numpy as np

    prompt, output = (max(round(lengths.mean), 1) for lengths in (traffic.prompts, traffic.outputs))
    limits: Any = np.asarray(budgets, dtype=float)
    several = replace(plan, engine=replace(plan.engine, token_budget=limits))
    groups = plan.replicas * plan.dp
    most = np.full(len(budgets), float(groups))

    def fits(batch: Any) -> Any:
        return (batch <= 0) | memory(several, Workload(prompt, output, np.maximum(batch, groups))).fits

    for _ in range(2):  # the cache grows with the batch, and most of the rest does not
        held = memory(several, Workload(prompt, output, most))
        if not np.all(held.kv_cache > 0):
            break
        most = groups * np.maximum(np.floor((held.free + held.kv_cache) * most / groups // held.kv_cache), 1)
    for _ in range(CORRECTIONS):
        less, more = ~fits(most), fits(most + groups)
        if not (less | more).any():
            return [float(n) // plan.replicas * (prompt + output) for n in most]
        most = most + groups * np.where(less, -1, more)
    each = (replace(plan, engine=replace(plan.engine, token_budget=budget)) for budget in budgets)
    return [tokens_held(one, traffic) for one in each]


CORRECTIONS = 6
"""Steps from a guess of the most sequences to them, before they are looked for one by one."""
