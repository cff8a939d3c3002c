"""A server in the steady state, by how many sequences it runs: the rate that it then serves, and what requests see.

The simulation plays one day; this is the theory of all of them, in closed form and for arrays, so that thousands of
servers are read off at once. Each number of running sequences b belongs to one rate (Little 1961):

    λ(b) = b/(T·t(b) + b·p(b))      a step of t seconds yields b tokens, a prompt adds p seconds

Percentiles add up the deviations of independent causes by their squares. How near that comes to the simulation is
measured in benchmarks/steady.py and kept by a test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log, pi
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from perfmodel.arithmetic import maximum, sqrt
from perfmodel.serving.lengths import Lengths
from perfmodel.serving.load import Load
from perfmodel.serving.steps import Steps
from perfmodel.serving.theory import middle, places, queued_s

POINTS = 64
"""Numbers of running sequences that are looked at, between nearly none and as many as memory and limits hold."""
EMPTIEST, FULLEST = 0.02, 0.995
"""Ends of that range, as sequences and as a share of the most."""
NEAR_THE_END = (1.0, 0.96, 0.88, 0.7)
"""Shares of a variant's most sequences that are looked at besides, for waits grow fast there."""
ROUNDS = 24
"""Times that prompts of a pass and rate, which follow from each other, are worked out in turn."""
LASTING = 2 / 3
"""Variance of a count of requests in flight, averaged over the time of one of them, of what it is at an instant: its
correlation falls linearly to none over that time (Cox & Miller 1965, §9.5: counts of a queue that none waits in)."""


@dataclass(frozen=True)
class Steady:
    """States of servers like `load` (whose traffic tells lengths alone), each from idle to full.

    `limits` are variants of it: (sequences at once, tokens of a pass, tokens that the cache holds), by default its own.
    Arrays have a row a variant, and a column for each number of sequences that decode at once on one of the ranks that
    share the data (`running`).
    """

    load: Load
    steps: Steps
    limits: tuple[tuple[float, float, float], ...] = ()

    @cached_property
    def _rows(self) -> Any:
        rules = self.load.rules
        rows = self.limits or ((rules.sequences, rules.budget, self.load.held),)
        return np.asarray(rows, dtype=float).T[:, :, None]

    @cached_property
    def _places(self) -> tuple[Any, Any]:
        """Sequences at once, as many as memory and as many as limits hold."""
        return places(self.load, *self._rows)

    @property
    def by_memory(self) -> Any:
        """Whether memory, and no limit of the engine, holds no more sequences."""
        held, limit = self._places
        return held < limit

    @property
    def most(self) -> Any:
        """Sequences at once of a rank, as many as memory and limits hold in the mean."""
        return np.maximum(np.minimum(*self._places), 1.0) / self.load.plan.dp

    @cached_property
    def running(self) -> Any:
        """Sequences that decode at once on a rank, few to many: the same for all variants, with the ends of each."""
        tops = np.maximum(np.unique(self.most) * FULLEST, 2 * EMPTIEST)
        even = EMPTIEST * (tops[-1] / EMPTIEST) ** np.linspace(0, 1, POINTS)
        return np.unique(np.concatenate([even, *(share * tops for share in NEAR_THE_END)]))

    @cached_property
    def valid(self) -> Any:
        """Which of these a variant may run."""
        return self.running <= np.maximum(self.most * FULLEST, 2 * EMPTIEST) * (1 + 1e-12)

    @cached_property
    def step_s(self) -> Any:
        """A step; with fewer than one sequence in the mean, of one."""
        return self.steps.many(0.0, np.maximum(self.running, 1.0), middle(self.load))

    @cached_property
    def _served(self) -> tuple[Any, ...]:
        """`_by_budget` of each variant's budget."""
        _, row = np.unique(self._rows[1, :, 0], return_inverse=True)
        return tuple(found[row] for found in self._by_budget)

    @cached_property
    def _by_budget(self) -> tuple[Any, Any, Any, Any]:
        """(requests a second, seconds that a prompt adds to the work, seconds of its own passes, its wait for others)

        A request finds λ·(w + p) prompts that came behind its own while it waited w; they are served before or beside
        its tokens, and those that come meanwhile too, as in a busy period (Kleinrock 1975, §5.8):

            decoding takes (T·t + λ·p·(w + p))/(1 − λ·p)

        Ranks that share the data pass together: a prompt on one of them holds up all, and as many as there are ranks
        go at once.
        """
        t, rules, b, step, dp = self.load.traffic, self.load.rules, self.running, self.step_s, self.load.plan.dp
        budget = np.unique(self._rows[1])[:, None]
        mixed = rules.policy == "mixed"
        beside = np.maximum(b, 1.0) if mixed else 0.0
        room = np.maximum(budget - beside * dp, 1.0)
        context = middle(self.load) if mixed else 0.0
        without = step if mixed else 0.0
        least = np.minimum(room, t.computed)
        tokens = least + np.zeros_like(b)
        rate, wait = np.zeros_like(tokens), np.zeros_like(tokens)
        for _ in range(ROUNDS):
            of_rank = np.maximum(tokens / dp, np.minimum(tokens, t.computed))
            whole = self.steps.many(of_rank, beside, context)
            more = np.maximum(whole - without, 0.0)
            prompt, own = more * t.computed / tokens, more * np.maximum(t.computed / of_rank, 1.0)
            behind = np.minimum(rate * prompt, 0.95) * (wait + prompt)
            found = b * dp / (t.outputs.mean * step + b * dp * prompt + behind)
            rate = found if not rate.any() else (rate + found) / 2
            wait = _waits(rate, prompt, t.prompts.squares / t.prompts.mean**2)
            # prompts that come while a pass runs share the next one
            come = rate * (whole + (0.0 if mixed else step)) * t.computed
            tokens = (tokens + np.clip(come, least, room)) / 2
        return rate, prompt, own, wait

    @property
    def prompt_s(self) -> Any:
        """Seconds that a prompt adds to the work of all ranks."""
        return self._served[1]

    @cached_property
    def rate(self) -> Any:
        """Requests a second of the server; rises with `running`."""
        return np.maximum.accumulate(np.where(self.valid, self._served[0], 0.0), axis=-1)

    @cached_property
    def busy(self) -> Any:
        """Share of the engine's time that prompts take."""
        return np.minimum(self._served[0] * self.prompt_s, 0.999)

    @cached_property
    def _behind_s(self) -> Any:
        """Seconds that prompts which came behind a request's own take of its decoding, shared by its tokens."""
        return self.busy / (1 - self.busy) * (self._queue_s + self.prompt_s) * self._fewer

    @property
    def _fewer(self) -> float:
        """E[1/T], which is (1 + cv²)/E[T] of a lognormal T."""
        outputs = self.load.traffic.outputs
        return min(outputs.squares / outputs.mean**3, 1.0)

    @cached_property
    def tpot_s(self) -> Any:
        """Mean over requests of the mean time between their tokens: t/(1 − λ·p), and what came behind."""
        return self.step_s / (1 - self.busy) + self._behind_s

    # ── percentiles ──────────────────────────────────────────────────────────────────────────────

    def seen(self, figure: str, percentile: int) -> Any:
        """Seconds of "ttft", "tpot" or "e2e" at `percentile` of the requests, in the mean for 0.

        Infinite where a variant may not run so many.
        """
        found = {"ttft": self._ttft_s, "tpot": self.tpot_s, "e2e": self._e2e_s}[figure]
        if percentile:
            spread = {"ttft": self._ttft_spread, "tpot": self._tpot_spread, "e2e": self._e2e_spread}[figure]
            found = found + joined(spread(percentile / 100))
        return np.where(self.valid, found, np.inf)

    @cached_property
    def _under_way(self) -> Any:
        """The longest wait for the pass that is under way when a request comes."""
        return np.minimum(self.running, 1.0) * self.step_s

    @property
    def _queue_s(self) -> Any:
        """Mean wait for prompts that came before."""
        return self._served[3]

    @cached_property
    def _place(self) -> tuple[Any, Any]:
        """(chance to wait for a place, mean of that wait): more requests came than run at once.

        1/(1 + β·Φ(β)/φ(β)) with β = (c − b)/√b, and D/(c − b) where it comes to that (Halfin & Whitt 1981, thm. 1).
        """
        t, b, c = self.load.traffic, self.running, self.most
        # what they hold varies with how many there are and with their lengths
        varied = (
            1
            + (t.prompts.squares - t.prompts.mean**2 + (t.outputs.squares - t.outputs.mean**2) / 4)
            / middle(self.load) ** 2
        )
        c = np.maximum(c, b / FULLEST)  # beyond, nothing is valid
        beta = (c - b) / np.sqrt(b * np.where(self.by_memory, varied, 1.0))
        chance = 1 / (1 + np.exp(np.interp(beta, *_HALFIN_WHITT)))
        return chance, t.outputs.mean * self.tpot_s / (c - b)

    @cached_property
    def _ttft_s(self) -> Any:
        rules, (chance, wait) = self.load.rules, self._place
        own = rules.request_s + rules.lag * self.step_s + self.step_s * (rules.policy == "mixed") + self._served[2]
        return own + self._under_way / 2 + self._queue_s + chance * wait

    @cached_property
    def _e2e_s(self) -> Any:
        return self._ttft_s + (self.load.traffic.outputs.mean - 1) * self.tpot_s

    def _ttft_spread(self, share: float) -> list[Any]:
        """By how much each cause of a first token's wait deviates from its mean."""
        prompts, (chance, wait) = self.load.traffic.prompts, self._place
        own = self._served[2] * (prompts.quantile(share) / prompts.mean - 1)
        queue, busy = self._queue_s, self.busy
        return [
            self._under_way * (share - 0.5),
            own,
            _tail(share, busy, queue / np.maximum(busy, 1e-9)) - queue,
            _tail(share, chance, wait) - chance * wait,
        ]

    def _tpot_spread(self, share: float) -> list[Any]:
        """Prompts that come in between, and how many others run meanwhile."""
        t, b, z = self.load.traffic, self.running, NormalDist().inv_cdf(share)
        squares = self.prompt_s**2 * t.prompts.squares / t.prompts.mean**2
        between = np.sqrt(self._served[0] * self.tpot_s * self._fewer * squares)
        slope = np.gradient(self.tpot_s, axis=-1) / np.gradient(b, axis=-1)
        behind = self._behind_s * (-log(1 - share) - 1)  # taken as exponential
        return [z * between, z * np.maximum(slope, 0.0) * np.sqrt(b * LASTING), behind]

    def _e2e_spread(self, share: float) -> list[Any]:
        t = self.load.traffic
        longer = t.outputs.quantile(share) - t.outputs.mean
        slower = [(t.outputs.mean - 1) * deviation for deviation in self._tpot_spread(share)]
        return [*self._ttft_spread(share), longer * self.tpot_s, *slower]


class Decoding(Steady):
    """States of servers whose prompts all come with their cache: nothing but steps (Zhong et al. 2024, DistServe).

    Their time to first token is counted from the cache's arrival.
    """

    @cached_property
    def _served(self) -> tuple[Any, ...]:
        each = self.running * self.load.plan.dp / (self.load.traffic.outputs.mean * self.step_s)
        rate = np.broadcast_to(each, self.valid.shape)
        nothing = np.zeros_like(rate)
        return rate, nothing, nothing, nothing

    @cached_property
    def _ttft_s(self) -> Any:
        chance, wait = self._place
        return self._under_way / 2 + (1 + self.load.rules.lag) * self.step_s + chance * wait

    def first_spread(self, share: float) -> list[Any]:
        """By how much each cause of the wait between the cache's arrival and a token deviates from its mean."""
        return self._ttft_spread(share)


class Filling(NamedTuple):
    """`workers` that take prompts off one queue, at `rate` requests a second in all.

    busy     of them, in the mean
    own_s    seconds of a prompt's own passes
    chance, wait_s  of waiting, and how long those who wait do so in the mean
    """

    busy: float
    own_s: float
    chance: float
    wait_s: float
    prompts: Lengths

    @classmethod
    def of(cls, load: Load, steps: Steps, workers: int, rate: float) -> Filling | None:
        """M/G/c with the wait of M/M/c times (1 + cv²)/2 (Lee & Longton 1959); None where workers are too few."""
        t, budget, dp = load.traffic, load.rules.budget, load.plan.dp
        prompt = max(t.computed, 1.0)
        tokens = least = min(prompt, budget)
        for _ in range(ROUNDS):  # prompts that come while a pass runs share the next one
            of_rank = max(tokens / dp, min(tokens, prompt))
            whole = steps.seconds(of_rank, 0.0, 0.0)
            tokens = (tokens + min(max(rate / workers * whole * prompt, least), budget)) / 2
        each, own = whole * prompt / tokens, whole * max(prompt / of_rank, 1.0)
        busy = rate * each
        if busy >= workers * FULLEST:
            return None
        chance = _erlang_c(workers, busy)
        wait = each * t.prompts.squares / t.prompts.mean**2 / 2 / (workers - busy)
        return cls(busy, own, chance, wait, t.prompts)

    @property
    def mean_s(self) -> float:
        return self.own_s + self.chance * self.wait_s

    def spread(self, share: float) -> list[float]:
        """By how much its parts deviate from their means."""
        own = self.own_s * (self.prompts.quantile(share) / self.prompts.mean - 1)
        wait = max(self.wait_s * log(max(self.chance, 1e-12) / (1 - share)), 0.0)
        return [own, wait - self.chance * self.wait_s]


def _erlang_c(servers: int, busy: float) -> float:
    """The chance to wait in M/M/c, by Erlang's B for ever more servers (Erlang 1917)."""
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = busy * blocked / (n + busy * blocked)
    return servers * blocked / (servers - busy * (1 - blocked))


def joined(deviations: Sequence[Any]) -> Any:
    """Deviations of independent causes together: the root of their squares, each with its sign; numbers or arrays."""
    squares = sum(d * abs(d) for d in deviations)
    return sqrt(maximum(squares, 0.0)) - sqrt(maximum(-squares, 0.0))


def _halfin_whitt() -> tuple[Any, Any]:
    """ln(β·Φ(β)/φ(β)) over β, which is close to straight between the points."""
    normal, places = NormalDist(), np.concatenate([np.geomspace(1e-6, 1, 60), np.linspace(1.02, 30, 600)])
    told = [log(x * normal.cdf(x)) + x * x / 2 + log(2 * pi) / 2 for x in places]
    return places, np.asarray(told)


_HALFIN_WHITT = _halfin_whitt()


def _waits(rate: Any, service_s: Any, varied: float) -> Any:
    """Mean wait for those who came before (queued_s), up to nearly all of the time busy."""
    return queued_s(np.minimum(rate * service_s, 0.98), service_s * varied / 2)


def _tail(share: float, chance: Any, mean: Any) -> Any:
    """Quantile of a wait that is none but with `chance`, and then exponential with `mean`."""
    return np.maximum(mean * np.log(np.maximum(chance, 1e-12) / (1 - share)), 0.0)
