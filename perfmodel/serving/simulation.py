"""One engine serving many requests, pass by pass: who waits, who prefills, who decodes.

Passes that only decode are taken together until the next request ends or comes: a few events a request, however long
the outputs are. What each mean is made of is kept as passes with weights, so that it comes apart into compute,
bandwidth, link and overhead as every other time does.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

POLICIES = ("mixed", "prefill-first", "decode-first", "static")


class Request(NamedTuple):
    """Tokens to prefill, to write, when it is sent (at the earliest), and tokens before it that need no prefill."""

    prompt: int
    output: int
    sent: float = 0.0
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """How an engine makes passes of requests.

    policy      "mixed": every pass decodes all running sequences, and prompts fill the rest of the budget (chunked
                prefill; Agrawal et al. 2024, Sarathi-Serve); "prefill-first": waiting prompts go alone, decodes wait
                (Yu et al. 2022, Orca; vLLM V0); "decode-first": no prompt starts before all running sequences have
                ended; "static": the same, every prompt padded to the longest of its batch, and every sequence kept
                until the longest output ends
    budget      most new tokens of a pass
    sequences   most sequences that run at once
    kv_tokens   tokens that the KV cache holds
    reserves    whether a request is admitted only when its whole output has room too (TensorRT-LLM's no-evict); if
                not, the last to come is thrown out and computed again when the cache is full (vLLM)
    request_s   seconds of a request's way in and of its first token's way out: network, tokenizer
    gather_steps, gather_tokens  while sequences run, prompts wait for so many steps, or until so many prompt tokens
                wait (TensorRT-LLM's batch_wait_timeout_iters and batch_wait_max_tokens_ratio)
    poll_steps  the scheduler looks for new requests only every so many steps (SGLang's scheduler-recv-interval)
    lag         steps more until a token is seen: the next pass is under way when it comes out
    """

    policy: str = "mixed"
    budget: int = 8192
    sequences: float = 1024
    kv_tokens: float = float("inf")
    reserves: bool = False
    request_s: float = 0.0
    gather_steps: int = 0
    gather_tokens: float = 0.0
    poll_steps: int = 1
    lag: float = 0.0


class Pass(NamedTuple):
    """Passes alike, and how often each kind of time consists of one of them.

    tokens, decodes, context  prompt tokens, decoding sequences, and the mean context of these
    repeat   passes, one after another
    waiting  requests without a first token, times passes: what times to first token sum up to
    rates    Σ 1/(tokens after the first) of running requests, times passes: what times per token sum up to
    running  requests between their first and last token, times passes
    """

    tokens: float
    decodes: int
    context: float
    repeat: float = 0.0
    waiting: float = 0.0
    rates: float = 0.0
    running: float = 0.0


@dataclass(slots=True)
class Served:
    """What every request saw, in the order of the requests, and the passes that their means are made of.

    first, ended     seconds from when each was sent to its first and to its last token
    gaps             (seconds, weight): so many tokens came so long after the one before
    passes           what was run
    after            passes under way when a first token came out, each of which it waits for `lag` times
    seconds, busy    from the first request to the last token, and how much of that the engine ran
    """

    first: list[float]
    ended: list[float]
    seconds: float = 0.0
    busy: float = 0.0
    preempted: int = 0
    most_running: int = 0
    gaps: list[tuple[float, float]] = field(default_factory=list)
    passes: list[Pass] = field(default_factory=list)
    after: list[Pass] = field(default_factory=list)


def served(
    requests: list[Request], seconds: Callable[[float, float, float], float], rules: Rules, at_once: int | None = None
) -> Served:
    """Serve `requests`: each when it is sent; or, of a closed loop, `at_once` at first and one more whenever one ends.

    `seconds` tells what a pass takes (Steps.seconds).
    """
    run = _Run(requests, seconds, rules, at_once)
    while run.left:
        run.take_in()
        if run.prompts():
            continue
        if run.running:
            run.decode()
        else:
            run.now = max(run.now, run.coming[0][0])
    run.result.seconds = run.now
    return run.result


class _Run:
    """A simulation under way. `steps` counts passes in which running sequences wrote a token."""

    def __init__(
        self,
        requests: list[Request],
        seconds: Callable[[float, float, float], float],
        rules: Rules,
        at_once: int | None,
    ) -> None:
        self.requests, self.seconds, self.rules = requests, seconds, rules
        self.left = n = len(requests)
        self.now, self.steps = 0.0, 0
        self.reserves = rules.reserves or rules.policy == "static"  # a static batch never gives up a sequence
        self.sent = [r.sent for r in requests]
        first = n if at_once is None else min(at_once, n)
        self.coming = [(r.sent + rules.request_s, i) for i, r in enumerate(requests[:first])]
        heapq.heapify(self.coming)
        self.unsent = iter(range(first, n))
        self.queue: deque[int] = deque()
        self.part: tuple[int, int] | None = None  # a request whose prompt is cut, and the tokens that are left of it
        self.ends: list[tuple[int, int]] = []  # (step at which it ends, request) of what runs
        self.held: list[int] = []  # those of a static batch that have ended, and hold their place
        self.running, self.kept, self.whole_kept = 0, 0, 0
        self.unseen = 0  # requests in the queue that have no token yet
        self.rates = 0.0  # Σ 1/(tokens after the first) of what runs: what a second adds to their times per token
        self.started = [0] * n  # step at which the request began to run
        self.written = [0] * n  # tokens of it that were written before it was thrown out
        self.gathered = 0  # step at which the queue was last empty
        self.gathers = True  # whether a batch that runs to its end may still be joined
        self.last, self.last_s = Pass(0, 1, 0.0), 0.0  # the pass before, and its seconds
        self.pause = 0.0  # since running sequences wrote a token
        self.result = Served([-1.0] * n, [0.0] * n)

    # ── what comes ───────────────────────────────────────────────────────────────────────────────

    def take_in(self) -> None:
        """Requests that have come join the queue; they have waited for the rest of the pass that they came in."""
        if self.running and self.steps % self.rules.poll_steps:
            return
        while self.coming and self.coming[0][0] <= self.now:
            at, i = heapq.heappop(self.coming)
            self.gathered = self.gathered if self.queue else self.steps
            self.queue.append(i)
            self.unseen += 1
            if self.now > at and self.last_s:
                self.result.passes.append(self.last._replace(waiting=(self.now - at) / self.last_s))

    # ── passes with prompts ──────────────────────────────────────────────────────────────────────

    def prompts(self) -> bool:
        """Run a pass that holds prompts; False where none may start."""
        rules = self.rules
        self.gathers = self.gathers or not self.running
        if rules.policy in ("decode-first", "static") and not self.gathers:
            return False
        if self.gathering():
            return False
        whole, tokens = self.admitted(rules.budget - (self.running if rules.policy == "mixed" else 0))
        if not tokens:
            return False
        decodes = self.running if rules.policy == "mixed" else 0
        self.spend(tokens, decodes, self.kept / self.running if decodes else 0.0, 1)
        for i in whole:
            self.start(i)
        self.end()
        return True

    def gathering(self) -> bool:
        """Whether prompts wait for more of their kind."""
        rules = self.rules
        if not rules.gather_steps or not self.running or self.part is not None or not self.queue:
            return False
        if self.steps - self.gathered >= rules.gather_steps:
            return False
        return sum(self.requests[i].prompt for i in self.queue) < rules.gather_tokens

    def admitted(self, room: int) -> tuple[list[int], int]:
        """Requests whose prompts a pass of `room` tokens completes, and its prompt tokens."""
        whole: list[int] = []
        tokens = 0
        if self.part is not None:
            i, rest = self.part
            tokens = min(rest, max(room, 0))
            self.part = None if tokens == rest else (i, rest - tokens)
            if self.part is None:
                whole.append(i)
        while self.part is None and self.queue and self.running + len(whole) < self.rules.sequences:
            i = self.queue[0]
            if not self.has_room(i, whole):
                break
            need = self.requests[i].prompt + self.written[i]
            if self.rules.policy == "static":  # padded to the longest, all in one pass
                whole.append(self.queue.popleft())
                tokens = len(whole) * max(self.requests[j].prompt for j in whole)
                continue
            take = min(need, room - tokens)
            if take <= 0:
                break
            self.queue.popleft()
            tokens += take
            if take == need:
                whole.append(i)
            else:
                self.part = (i, need - take)
        return whole, tokens

    def has_room(self, i: int, others: list[int]) -> bool:
        """Whether the cache takes request `i` too; a lone one always starts."""
        if not self.running and not others:
            return True
        if self.reserves:
            return self.whole_kept + sum(map(self.length, (*others, i))) <= self.rules.kv_tokens
        next_step = self.running + len(others) + 1
        return self.kept + sum(map(self.kept_at_start, (*others, i))) + next_step <= self.rules.kv_tokens

    def length(self, i: int) -> int:
        r = self.requests[i]
        return r.cached + r.prompt + r.output

    def kept_at_start(self, i: int) -> int:
        r = self.requests[i]
        return r.cached + r.prompt + self.written[i] + 1

    def start(self, i: int) -> None:
        """Request `i` has its first token, or goes on after it was thrown out."""
        r = self.requests[i]
        self.running += 1
        self.started[i] = self.steps
        self.kept += self.kept_at_start(i)
        self.whole_kept += self.length(i)
        heapq.heappush(self.ends, (self.steps + r.output - 1 - self.written[i], i))
        self.result.most_running = max(self.result.most_running, self.running)
        if self.result.first[i] < 0:
            self.unseen -= 1
            self.rates += _rate(r)
            self.result.first[i] = self.now - self.sent[i] + self.delay(waits=True)

    def delay(self, waits: bool = False) -> float:
        """Seconds until what was written is seen."""
        running = max(self.running, 1)
        if waits:
            self.result.after.append(Pass(0, running, self.kept / running, waiting=1))
        return self.rules.lag * self.seconds(0.0, running, self.kept / running)

    # ── passes that only decode ──────────────────────────────────────────────────────────────────

    def decode(self) -> None:
        """Steps until a sequence ends, a request comes that may start, or the cache is full."""
        rules, n = self.rules, self.running
        count = max(self.ends[0][0] - self.steps, 1)
        if not self.reserves and self.kept + n * count > rules.kv_tokens and n > 1:
            if self.kept + n > rules.kv_tokens:
                return self.throw_out()
            count = max(int((rules.kv_tokens - self.kept) / n), 1)
        context = self.kept / n
        if self.coming and count > 1 and rules.policy in ("mixed", "prefill-first"):
            one = self.seconds(0.0, n, context + (count - 1) / 2)
            until = max(self.coming[0][0] - self.now, 0.0)
            if until < one * count:
                then = self.steps + max(ceil(until / one), 1)
                count = min(-(-then // rules.poll_steps) * rules.poll_steps - self.steps, count)
        if self.queue and self.gathering():
            count = min(count, rules.gather_steps - (self.steps - self.gathered))
        self.gathers = False
        self.spend(0.0, n, context + (count - 1) / 2, count)
        return self.end()

    def throw_out(self) -> None:
        """The last that started loses its place and its cache, and waits at the head of the queue."""
        at = max(range(len(self.ends)), key=lambda j: (self.started[self.ends[j][1]], self.ends[j][1]))
        i = self.ends.pop(at)[1]
        heapq.heapify(self.ends)
        self.running -= 1
        self.kept -= self.kept_at_start(i) + self.steps - self.started[i]
        self.whole_kept -= self.length(i)
        self.written[i] += self.steps - self.started[i]
        self.queue.appendleft(i)
        self.result.preempted += 1

    def spend(self, tokens: float, decodes: int, context: float, count: int) -> None:
        """`count` passes alike go by."""
        one = self.seconds(tokens, decodes, context)
        result, running = self.result, len(self.ends)
        rates = self.rates if self.rates > TINY else 0.0
        result.passes.append(Pass(tokens, decodes, context, count, self.unseen * count, rates * count, running * count))
        if decodes:
            result.gaps += [(one + self.pause, decodes), (one, decodes * (count - 1))]
            self.pause = 0.0
            self.steps += count
            self.kept += decodes * count
        elif self.running:
            self.pause += one
        self.now += one * count
        result.busy += one * count
        self.last, self.last_s = Pass(tokens, decodes, context), one

    def end(self) -> None:
        """Sequences that have all their tokens leave; of a static batch, when the last of them has."""
        static = self.rules.policy == "static"
        while self.ends and self.ends[0][0] <= self.steps:
            i = heapq.heappop(self.ends)[1]
            self.result.ended[i] = self.now - self.sent[i] + self.delay()
            self.rates -= _rate(self.requests[i])
            self.left -= 1
            self.held.append(i)
            if not static:
                self.leave(self.held.pop())
        while static and not self.ends and self.held:
            self.leave(self.held.pop(0))

    def leave(self, i: int) -> None:
        """Give back the place and the cache of a request; the client of a closed loop sends its next one."""
        delay = self.delay()
        self.kept -= self.kept_at_start(i) + self.steps - self.started[i]
        self.whole_kept -= self.length(i)
        self.running -= 1
        following = next(self.unsent, None)
        if following is not None:
            self.sent[following] = max(self.now + delay, self.requests[following].sent)
            heapq.heappush(self.coming, (self.sent[following] + self.rules.request_s, following))


TINY = 1e-15  # rounding of a sum of rates that all have been taken away again


def _rate(r: Request) -> float:
    return 1 / (r.output - 1) if r.output > 1 else 0.0
