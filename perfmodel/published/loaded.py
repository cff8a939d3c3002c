"""Rows of servers kept busy: each is simulated, request by request, as its benchmark sent them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from perfmodel.deployment import Deployment, split_error
from perfmodel.latency import SECONDS, Time
from perfmodel.published.names import Unscored
from perfmodel.published.questions import Question
from perfmodel.serving.disaggregated import Disaggregated
from perfmodel.serving.lengths import Lengths
from perfmodel.serving.load import Load, tokens_held
from perfmodel.serving.steps import Range, Steps
from perfmodel.serving.traffic import Traffic

SENT = 1000
"""Requests of a saturated server, where nothing is stated."""
ROUNDS, MOST, FEWEST_ROUNDS = 10, 1280, 3
"""Requests of a closed loop for each in flight: 10, as InferenceX sends; 3 where that would be very many."""
_DRAWN = re.compile(r"lengths drawn from ([\d.]+) to 1")
_APART = "outputs end apart"
APART = 0.1
"""How far the lengths of outputs go up and down where requests that start together do not end together."""


def traffic_of(q: Question) -> Traffic:
    """The requests of a row: a closed loop, or all at once where the server is saturated."""
    drawn, apart = _DRAWN.search(q.row.note), _APART in q.row.note
    prompts, outputs = Lengths.fixed(q.prompt), Lengths.fixed(q.output)
    if drawn:  # rows hold the mean
        low = float(drawn[1])
        prompts, outputs = (_about(n, 2 * low / (1 + low), 2 / (1 + low)) for n in (q.prompt, q.output))
    elif apart:
        outputs = _about(q.output, 1 - APART, 1 + APART)
    if q.mode == "offline_throughput":
        return Traffic("burst", prompts, outputs, requests=q.batch or q.most or SENT)
    c = q.batch or 1
    many = ROUNDS * c if ROUNDS * c <= MOST else max(MOST, FEWEST_ROUNDS * c)
    return Traffic("closed", prompts, outputs, concurrency=c, requests=many)


def _about(mean: float, low: float, high: float) -> Lengths:
    """Alike between two factors of the mean."""
    return Lengths.uniform(max(round(low * mean), 1), max(round(high * mean), 1))


_HABITS = {
    "budget": re.compile(r"passes of at most (\d+) tokens"),
    "gather_steps": re.compile(r"prompts gather for (\d+) steps"),
    "gather_tokens": re.compile(r"prompts gather for \d+ steps or (\d+) tokens"),
    "poll_steps": re.compile(r"requests are taken in every (\d+) steps"),
    "sequences": re.compile(r"at most (\d+) sequences"),
}


def habits_of(q: Question) -> tuple[tuple[str, int], ...]:
    """What the server of a row does otherwise than its engine by default, as its note says."""
    found = ((name, pattern.search(q.row.note)) for name, pattern in _HABITS.items())
    return tuple((name, int(match[1])) for name, match in found if match)


class _Stacked(ABC):
    """Times of simulations as arrays, one value for each."""

    @property
    @abstractmethod
    def loads(self) -> tuple[Load | Disaggregated, ...]:
        """The simulation of each question; of the same traffic, the same one."""

    @property
    def ttft(self) -> Time:
        return stacked(load.ttft for load in self.loads)

    @property
    def tpot(self) -> Time:
        return stacked(load.tpot for load in self.loads)

    @property
    def e2e(self) -> Time:
        return stacked(load.e2e for load in self.loads)


@dataclass(frozen=True)
class Loaded(_Stacked):
    """Questions to one deployment under load; figures are arrays in their order."""

    plan: Deployment
    asked: tuple[Question, ...]

    @cached_property
    def traffics(self) -> tuple[Traffic, ...]:
        return tuple(traffic_of(q) for q in self.asked)

    @cached_property
    def held(self) -> dict[tuple[int, int], float]:
        """Tokens that the cache holds, by the means of prompts and outputs."""
        means = {_means(traffic): traffic for traffic in self.traffics}
        return {key: held(self.plan, traffic) for key, traffic in means.items()}

    @cached_property
    def keys(self) -> tuple[_Key, ...]:
        """What tells the simulation of each question from the others."""
        return tuple((t, habits_of(q)) for t, q in zip(self.traffics, self.asked, strict=True))

    @cached_property
    def bare(self) -> dict[_Key, Load]:
        """A simulation of each kind of traffic, with a grid of its own."""
        return {(t, habits): Load(self.plan, t, habits, self.held[_means(t)]) for t, habits in dict.fromkeys(self.keys)}

    @cached_property
    def ranges(self) -> dict[tuple[float, int], Range]:
        """One range for all questions about the same prompts and budget."""
        found: dict[tuple[float, int], Range] = {}
        for load in self.bare.values():
            key = load.range.key
            found[key] = found[key].joined(load.range) if key in found else load.range
        return found

    def grids(self, plan: Deployment) -> dict[tuple[float, int], Steps]:
        """What passes take on `plan`, by prompt and budget."""
        return {key: Steps.of(plan, over) for key, over in self.ranges.items()}

    @cached_property
    def loads(self) -> tuple[Load, ...]:
        grids = self.grids(self.plan)
        known = {key: replace(load, grid=grids[load.range.key]) for key, load in self.bare.items()}
        return tuple(known[key] for key in self.keys)

    @property
    def cycle(self) -> Time:
        """Seconds in which as many requests are served as are at hand: of a closed loop by Little's law, of all at
        once from the first to the last token."""
        return stacked(load.e2e if load.traffic.arrival == "closed" else load.busy for load in self.loads)

    @property
    def at_hand(self) -> Any:
        """Requests in flight, or all there are."""
        return np.array([float(t.concurrency or t.requests) for t in self.traffics])


_Key = tuple[Traffic, tuple[tuple[str, int], ...]]


_POOLS = re.compile(r"(\d+) prefill workers of tp (\d+) dp (\d+) ep (\d+), (\d+) prompts a pass, (\d+) decode workers")


@dataclass(frozen=True)
class Pooled(_Stacked):
    """Questions to workers that only decode, each beside others that only prefill; figures in their order."""

    plan: Deployment
    asked: tuple[Question, ...]

    @cached_property
    def loads(self) -> tuple[Disaggregated, ...]:
        known: dict[tuple[str, Traffic], Disaggregated] = {}
        keys = [(q.row.note, traffic_of(q)) for q in self.asked]
        for q, key in zip(self.asked, keys, strict=True):
            if key not in known:
                known[key] = _pools(q, key[1])
        return tuple(known[key] for key in keys)

    @property
    def cycle(self) -> Time:
        """As of `Loaded`, by Little's law."""
        return self.e2e

    @property
    def at_hand(self) -> Any:
        """Requests in flight."""
        return np.array([float(pool.traffic.concurrency or 1) for pool in self.loads])


def _pools(q: Question, traffic: Traffic) -> Disaggregated:
    match = _POOLS.search(q.row.note)
    if match is None or q.batch is None:
        raise Unscored("how many workers prefill and decode is not recorded")
    x, tp, dp, ep, together, y = map(int, match.groups())
    plan = q.plan
    if complaint := split_error(plan.model, plan.gpu, tp, 1, dp, ep):
        raise Unscored(complaint)
    filler = plan.split(tp, 1, dp, ep)
    found = Disaggregated(plan, filler, traffic, x, y, together)
    held(plan, traffic)
    held(filler, replace(traffic, outputs=Lengths.fixed(1)))
    return found


def held(plan: Deployment, traffic: Traffic) -> float:
    """Tokens that the cache holds; Unscored where that is not even one request."""
    if tokens := tokens_held(plan, traffic):
        return tokens
    raise Unscored("weights and one request do not fit on the stated devices, by our count")


def _means(traffic: Traffic) -> tuple[int, int]:
    return round(traffic.prompts.mean), round(traffic.outputs.mean)


def stacked(times: Iterable[Time]) -> Time:
    """Times as one `Time` of arrays."""
    found = list(times)
    columns = {name: np.array([getattr(time, name) for time in found], dtype=float) for name in SECONDS}
    return Time(**columns, spread=np.array([time.spread for time in found], dtype=float))
