"""Disaggregated serving: some workers only prefill, others only decode, and keys and values travel between them.

Zhong et al. 2024 (DistServe), Patel et al. 2024 (Splitwise). A request waits for a prefill worker, takes its pass, has
its cache sent to the decode worker that has fewest sequences, and decodes there among others that no prompt interrupts.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

from perfmodel.serving.simulation import Request

Seconds = Callable[[float, float, float], float]


class Pools(NamedTuple):
    """What prefills and what decodes.

    prefills, decodes  workers of each kind
    filling, stepping  what a pass of one takes (Steps.seconds)
    budget             most prompt tokens of a prefill pass
    together           most prompts of one
    sequences          most sequences of a decode worker
    kv_tokens          tokens that its cache holds
    moving_s           seconds to send the cache of one prompt token
    request_s, lag     as in Rules
    """

    prefills: int
    decodes: int
    filling: Seconds
    stepping: Seconds
    budget: int
    together: int = 1 << 20
    sequences: float = 1024
    kv_tokens: float = float("inf")
    moving_s: float = 0.0
    request_s: float = 0.0
    lag: float = 0.0


@dataclass(slots=True)
class Handed:
    """What every request saw, in the order of the requests: seconds from sending it.

    `filled` to the end of its prefill, `moved` to when its cache had arrived, `first` to its first token, `ended` to
    its last; and how long prefill and decode workers ran, summed over them.
    """

    filled: list[float]
    moved: list[float]
    first: list[float]
    ended: list[float]
    seconds: float = 0.0
    filling_s: float = 0.0
    decoding_s: float = 0.0
    running: float = 0.0


def handed(requests: list[Request], pools: Pools, at_once: int | None = None) -> Handed:
    """Serve `requests` by `pools`: each when it is sent; or, of a closed loop, `at_once` and one more as one ends."""
    run = _Run(requests, pools, at_once)
    while run.left:
        run.next_event()
    return run.result


@dataclass(slots=True)
class _Worker:
    """A decode worker; `version` tells its latest forecast of an end from those before."""

    now: float = 0.0
    steps: int = 0
    kept: int = 0
    ends: list[tuple[int, int]] = field(default_factory=list)
    waiting: deque[int] = field(default_factory=deque)
    version: int = 0


class _Run:
    def __init__(self, requests: list[Request], pools: Pools, at_once: int | None) -> None:
        n = len(requests)
        self.requests, self.pools, self.left = requests, pools, n
        self.sent = [r.sent for r in requests]
        self.result = Handed([0.0] * n, [0.0] * n, [0.0] * n, [0.0] * n)
        self.free = pools.prefills
        self.queue: deque[int] = deque()
        self.workers = [_Worker() for _ in range(pools.decodes)]
        self.events: list[tuple[float, int, str, tuple[int, ...]]] = []
        self.order = 0
        first = n if at_once is None else min(at_once, n)
        for i in range(first):
            self.plan(self.sent[i] + pools.request_s, "come", (i,))
        self.unsent = iter(range(first, n))

    def plan(self, at: float, what: str, of: tuple[int, ...]) -> None:
        self.order += 1
        heapq.heappush(self.events, (at, self.order, what, of))

    def next_event(self) -> None:
        at, _, what, of = heapq.heappop(self.events)
        if what == "come":
            self.queue.append(of[0])
        elif what == "filled":
            self.free += 1
            for i in of:
                self.result.filled[i] = at - self.sent[i]
                r = self.requests[i]
                self.plan(at + self.pools.moving_s * (r.prompt + r.cached), "moved", (i,))
        elif what == "moved":
            self.join(of[0], at)
        elif self.workers[of[0]].version == of[1]:
            self.decode(of[0], at)
        while self.free and self.queue:
            self.fill(at)

    def fill(self, at: float) -> None:
        """A free prefill worker takes as many prompts as a pass holds, at least one."""
        taken: list[int] = []
        tokens = 0
        while self.queue and len(taken) < self.pools.together:
            need = self.requests[self.queue[0]].prompt
            if taken and tokens + need > self.pools.budget:
                break
            tokens += need
            taken.append(self.queue.popleft())
        whole, rest = divmod(tokens, self.pools.budget)
        spent = whole * self.pools.filling(self.pools.budget, 0, 0.0) if whole else 0.0
        spent += self.pools.filling(rest, 0, 0.0) if rest else 0.0
        self.free -= 1
        self.result.filling_s += spent
        self.plan(at + spent, "filled", tuple(taken))

    def join(self, i: int, at: float) -> None:
        """The cache of request `i` has arrived: the emptiest decode worker takes it in after its step."""
        self.result.moved[i] = at - self.sent[i]
        w = min(range(len(self.workers)), key=lambda j: len(self.workers[j].ends) + len(self.workers[j].waiting))
        self.workers[w].waiting.append(i)
        self.decode(w, at)

    def decode(self, w: int, at: float) -> None:
        """Bring a worker to the end of the step under way at `at`, let go who has ended, take in who waits."""
        worker, pools = self.workers[w], self.pools
        while worker.ends and worker.now < at - 1e-12:
            n = len(worker.ends)
            count = max(worker.ends[0][0] - worker.steps, 1)
            context = worker.kept / n
            one = pools.stepping(0.0, n, context + (count - 1) / 2)
            count = min(count, max(ceil((at - worker.now) / one - 1e-9), 1))
            one = pools.stepping(0.0, n, context + (count - 1) / 2)
            worker.now += one * count
            worker.steps += count
            worker.kept += n * count
            self.result.decoding_s += one * count
            self.result.running += n * one * count
            self.let_go(worker)
        worker.now = max(worker.now, at)
        while worker.waiting and len(worker.ends) < pools.sequences and self.has_room(worker):
            self.start(worker, worker.waiting.popleft())
        self.let_go(worker)
        self.forecast(w)

    def has_room(self, worker: _Worker) -> bool:
        r = self.requests[worker.waiting[0]]
        whole = sum(self.requests[i].output for _, i in worker.ends)
        return not worker.ends or worker.kept + whole + r.cached + r.prompt + r.output <= self.pools.kv_tokens

    def start(self, worker: _Worker, i: int) -> None:
        """The first token came out of the prefill; it is seen with the first step of the decode worker."""
        r = self.requests[i]
        worker.kept += r.cached + r.prompt + 1
        heapq.heappush(worker.ends, (worker.steps + r.output - 1, i))
        n = len(worker.ends)
        late = self.pools.lag * self.pools.stepping(0.0, n, worker.kept / n)
        self.result.first[i] = worker.now + late - self.sent[i]

    def let_go(self, worker: _Worker) -> None:
        while worker.ends and worker.ends[0][0] <= worker.steps:
            i = heapq.heappop(worker.ends)[1]
            r = self.requests[i]
            worker.kept -= r.cached + r.prompt + r.output
            n = max(len(worker.ends), 1)
            late = self.pools.lag * self.pools.stepping(0.0, n, worker.kept / n)
            self.result.ended[i] = worker.now + late - self.sent[i]
            self.result.seconds = max(self.result.seconds, worker.now + late)
            self.left -= 1
            following = next(self.unsent, None)
            if following is not None:
                self.sent[following] = max(worker.now + late, self.requests[following].sent)
                self.plan(self.sent[following] + self.pools.request_s, "come", (following,))

    def forecast(self, w: int) -> None:
        """When the next sequence of a worker ends, if nobody joins before."""
        worker = self.workers[w]
        worker.version += 1
        if worker.ends:
            n, count = len(worker.ends), max(worker.ends[0][0] - worker.steps, 1)
            one = self.pools.stepping(0.0, n, worker.kept / n + (count - 1) / 2)
            self.plan(worker.now + one * count, "end", (w, worker.version))


def matched(prefill_rate: float, decode_rate: float, most: int = 64) -> tuple[int, int]:
    """The fewest (prefill, decode) workers of which neither waits for the other by more than a tenth.

    `prefill_rate` and `decode_rate` are the requests a second that one worker of each kind serves at best; where no
    pair of at most `most` workers in all balances so well, the one that balances best.
    """
    pairs = sorted((x + y, x, y) for x in range(1, most) for y in range(1, most - x + 1))

    def idle(x: int, y: int) -> float:
        rates = x * prefill_rate, y * decode_rate
        return 1 - min(rates) / max(rates)

    good = next(((x, y) for _, x, y in pairs if idle(x, y) <= 0.1), None)
    return good or min(((x, y) for _, x, y in pairs), key=lambda pair: idle(*pair))
