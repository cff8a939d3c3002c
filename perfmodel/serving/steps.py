"""What any pass of a deployment takes: a grid over prompt tokens, decoding sequences and their context.

A simulation runs thousands of passes that differ in three numbers. They are worked out once, as arrays, by the same
formulas as every other time, and read off in between by straight lines.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from perfmodel.arithmetic import Number
from perfmodel.batch import Batch, Group
from perfmodel.batching import Passes, decode_pass
from perfmodel.calibration import Constants
from perfmodel.deployment import Deployment
from perfmodel.latency import SECONDS, Time, decode_time, pipelined
from perfmodel.workload import Workload

PROMPT_TOKENS = (1, 64, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
CONTEXTS = 4
"""Contexts of the grid, evenly spread: a step is close to linear in its context."""
MOST = 1 << 20
"""Most prompt tokens of a pass that the grid has, whatever a budget allows."""


class Range(NamedTuple):
    """What passes a grid must hold.

    prompt     tokens of a prompt, as far as pairs of attention go: the mean of squares over the mean
    cached     tokens before it that need not be computed
    shortest, longest  contexts of decoding sequences
    most       sequences at once
    budget     new tokens of a pass
    """

    prompt: float
    cached: float
    shortest: float
    longest: float
    most: float
    budget: int

    @property
    def key(self) -> tuple[float, int]:
        """What ranges that may be joined have in common."""
        return self.prompt, self.budget

    def joined(self, other: Range) -> Range:
        """The least that holds the passes of both, of the same prompts."""
        ends = min(self.shortest, other.shortest), max(self.longest, other.longest)
        return self._replace(shortest=ends[0], longest=ends[1], most=max(self.most, other.most))


@dataclass(frozen=True)
class Steps:
    """Seconds of passes that hold `tokens` prompt tokens beside `decodes` decoding sequences of mean `context`, on each
    of the ranks that share the data (Deployment.dp).

    Of a prompt that is longer than the budget a pass takes a part, in the mean after half of the rest. Times are
    arrays over tokens × decodes × contexts; tokens 0 stands for passes without prompts, and decodes 0 for prompts
    alone.
    """

    tokens: tuple[float, ...]
    decodes: tuple[float, ...]
    contexts: tuple[float, ...]
    times: dict[str, Any]
    prefill_spread: Number
    decode_spread: Number

    @classmethod
    def of(cls, plan: Deployment, over: Range) -> Steps:
        """The grid of `plan` over the passes that it must hold."""
        tokens = _tokens(min(over.budget, MOST), over.prompt, over.most)
        decodes = _decodes(over.most)
        ends = over.shortest, max(over.longest, over.shortest + 1)
        contexts = tuple(np.linspace(*ends, CONTEXTS).tolist())
        c = Constants(plan.gpu, plan.engine)
        m, b, s = np.array(tokens[1:])[:, None, None], np.array(decodes[1:])[None, :, None], np.array(contexts)
        sequences = np.maximum(m / over.prompt, 1.0)
        group = Group(sequences, m / sequences, over.cached + max(over.prompt - over.budget, 0.0) / 2)
        alone = _pass(c, plan, Batch((group,)), "prefill", c.costs.prompt_s)
        unguessed = replace(plan, speculation=None)
        decoding = decode_pass(unguessed, Workload(over.prompt, 2), b, s)
        mixed = _pass(c, plan, Batch((group, *decoding.groups)), "prefill", c.costs.prompt_s)
        work = Workload(over.prompt, 2, b[0] * plan.dp * plan.replicas)
        step = decode_time(plan, work, s, c)
        if plan.speculation is not None:  # beside prompts too, a token takes what guessing leaves of a step
            mixed = mixed.plus(step).plus(decode_time(unguessed, work, s, c).times(-1))
        times = {}
        for name in SECONDS:
            times[name] = grid = np.zeros((len(tokens), len(decodes), len(contexts)))
            grid[1:, :1] = getattr(alone, name)
            grid[1:, 1:] = getattr(mixed, name)
            grid[0, 1:] = getattr(step, name)
        return cls(tokens, decodes, contexts, times, mixed.spread, step.spread)

    @cached_property
    def seconds(self) -> Callable[[float, float, float], float]:
        """(prompt tokens, decoding sequences, mean context) → expected seconds of that pass, quickly."""
        tokens, decodes, contexts = self.tokens, self.decodes, self.contexts
        grid = self.times["expected"].tolist()
        last_m, last_b, last_s = len(tokens) - 2, len(decodes) - 2, len(contexts) - 2
        start, per = contexts[0], 1 / (contexts[1] - contexts[0])

        def along(rows: list[list[float]], b: float, s: float) -> float:
            i = min(bisect_right(decodes, b) - 1, last_b)
            x = (s - start) * per
            k = min(max(int(x), 0), last_s)
            x -= k
            y = (b - decodes[i]) / (decodes[i + 1] - decodes[i])
            low, high = rows[i], rows[i + 1]
            here = low[k] + (low[k + 1] - low[k]) * x
            return here + (high[k] + (high[k + 1] - high[k]) * x - here) * y

        def seconds(m: float, b: float, s: float) -> float:
            if not m:
                return along(grid[0], b, s)
            j = max(min(bisect_right(tokens, m) - 1, last_m), 1)
            share = (m - tokens[j]) / (tokens[j + 1] - tokens[j])
            few = along(grid[j], b, s)
            return few + (along(grid[j + 1], b, s) - few) * share

        return seconds

    def many(self, m: Number, b: Number, s: Number) -> Any:
        """`seconds` of arrays that broadcast together, read off the same grid in the same way."""
        (j, share_m), (i, share_b), (k, share_s) = self._places(
            *np.broadcast_arrays(*(np.asarray(x, dtype=float) for x in (m, b, s)))
        )
        grid = self.times["expected"]

        def along(j: Any) -> Any:
            low = grid[j, i, k] + (grid[j, i, k + 1] - grid[j, i, k]) * share_s
            high = grid[j, i + 1, k] + (grid[j, i + 1, k + 1] - grid[j, i + 1, k]) * share_s
            return low + (high - low) * share_b

        few = along(j)
        return few + (along(np.minimum(j + 1, len(self.tokens) - 1)) - few) * share_m

    def slower(self, prompts: float, decodes: float) -> Steps:
        """The same where passes with prompts take `prompts` times as long, and others `decodes` times."""
        factors = np.where(np.arange(len(self.tokens)) == 0, decodes, prompts)[:, None, None]
        return replace(self, times={name: grid * factors for name, grid in self.times.items()})

    def _places(self, m: Any, b: Any, s: Any) -> tuple[tuple[Any, Any], ...]:
        """The cell of the grid that each pass lies in, and how far up it, by axis; those without prompts apart."""
        j, share = _between(self.tokens, m, first=1)
        along_m = np.where(m == 0, 0, j), np.where(m == 0, 0.0, share)
        return along_m, _between(self.decodes, b), _between(self.contexts, s)

    def weights(self, passes: Sequence[Sequence[float]]) -> Any:
        """How much each cell of the grid counts for `passes`: of (prompt tokens, decodes, context, weights …).

        Σ weights × times is what the passes take together, each as often as its weight says; one array of the grid's
        shape for each weight.
        """
        m, b, s, *counts = np.asarray(passes, dtype=float).T
        found = np.zeros((len(counts), len(self.tokens), len(self.decodes), len(self.contexts)))
        (j, share_m), (i, share_b), (k, share_s) = self._places(m, b, s)
        for up_m, wm in ((0, 1 - share_m), (1, share_m)):
            for up_b, wb in ((0, 1 - share_b), (1, share_b)):
                for up_s, ws in ((0, 1 - share_s), (1, share_s)):
                    for grid, count in zip(found, counts, strict=True):
                        np.add.at(grid, (j + up_m, i + up_b, k + up_s), count * wm * wb * ws)
        return found

    def time(self, weights: Any, spread: Number) -> Time:
        """The `Time` of passes of such weights."""
        return Time(**{name: float((weights * grid).sum()) for name, grid in self.times.items()}, spread=spread)


def _pass(c: Constants, plan: Deployment, batch: Batch, phase: str, prompt_s: float) -> Time:
    return pipelined(c, plan, Passes(1, batch), phase, prompt_s)


def _between(ends: tuple[float, ...], values: Any, first: int = 0) -> tuple[Any, Any]:
    """Which interval of `ends` each value lies in, and how far up it; those beyond the ends go on as straight lines."""
    places = np.asarray(ends)
    low = np.clip(np.searchsorted(places, values, side="right") - 1, first, len(places) - 2)
    return low, (values - places[low]) / (places[low + 1] - places[low])


def _tokens(budget: int, prompt: float, most: float) -> tuple[float, ...]:
    """Prompt tokens of the grid: round ones up to the budget, or to all prompts at once where that is less."""
    top = max(min(budget, prompt * most), 2.0)
    return 0.0, *(float(m) for m in PROMPT_TOKENS if m < top), float(top)


def _decodes(most: float) -> tuple[float, ...]:
    """Decoding sequences of the grid: every number up to 4, then two in each doubling."""
    found = [0.0, 1.0, 2.0, 3.0, 4.0]
    while found[-1] < most:
        found.append(found[-1] + 2.0 ** (int(np.log2(found[-1])) - 1))
    return tuple(found)
