"""Questions → figures in the rows' units, a whole deployment's rows at a time as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from perfmodel.arithmetic import Number
from perfmodel.deployment import Deployment
from perfmodel.errors import PerfModelError
from perfmodel.latency import Time, end_to_end, mean_decode_time, prefill_time
from perfmodel.published.loaded import Loaded, Pooled
from perfmodel.published.names import Unscored
from perfmodel.published.peak import SPREAD, peak_bytes
from perfmodel.published.questions import Plans, Question, question
from perfmodel.published.rows import Row
from perfmodel.workload import Workload


class Prediction(NamedTuple):
    """A row with what we expect, in its unit, and the ends of the 80 % interval; or with the reason why not."""

    row: Row
    expected: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    reason: str = ""

    @property
    def error(self) -> float:
        """(predicted − measured)/measured."""
        return (self.expected - self.row.value) / self.row.value

    @property
    def covered(self) -> bool:
        """Whether the interval holds the measurement."""
        return self.low <= self.row.value <= self.high


def predictions(rows: list[Row]) -> list[Prediction]:
    """A prediction of every row, in the order of the rows."""
    plans, found = Plans(), dict[int, Prediction]()
    groups: dict[tuple[int, str], list[tuple[int, Question]]] = {}
    for i, row in enumerate(rows):
        try:
            asked = question(row, plans)
        except (Unscored, PerfModelError) as reason:
            found[i] = Prediction(row, reason=str(reason))
            continue
        groups.setdefault((id(asked.plan), kind(asked.mode)), []).append((i, asked))
    for members in groups.values():
        answers = answered([asked for _, asked in members])
        found.update({i: answer for (i, _), answer in zip(members, answers, strict=True)})
    return [found[i] for i in range(len(rows))]


LOADED = ("concurrency", "offline_throughput")
"""Modes in which requests come and go; in the others a batch starts and ends together."""
APART = "disaggregated"
"""The mode in which they do so on workers that prefill and workers that decode."""


def kind(mode: str) -> str:
    """What rows of a mode are predicted by, and together with which others."""
    return "loaded" if mode in LOADED else APART if mode == APART else "batch"


def answered(asked: list[Question]) -> list[Prediction]:
    """The predictions of questions to one deployment in one kind of mode."""
    first = asked[0]
    try:
        work = work_of(asked)
        times: Times
        if kind(first.mode) != "batch":
            of = Pooled if first.mode == APART else Loaded
            times = of(first.plan, tuple(asked))
            work = replace(work, batch=times.at_hand)
        else:
            times = Static(first.plan, work)
        ends = list(figures(asked, first.plan, work, times))
    except (Unscored, PerfModelError) as error:
        if len(asked) > 1:  # what one question cannot have, another may
            return [answer for q in asked for answer in answered([q])]
        return [Prediction(first.row, reason=str(error))]
    return [_answer(q, *three) for q, three in zip(asked, ends, strict=True)]


def figures(asked: Sequence[Question], plan: Deployment, work: Workload, times: Times) -> Iterator[list[float]]:
    """(expected, low, high) of each question, in its row's unit."""
    shape = np.shape(work.prompt)
    found = {name: FIGURES[name](plan, work, times) for name in {q.figure for q in asked}}
    wide = {name: [np.broadcast_to(end, shape) for end in three] for name, three in found.items()}
    for i, q in enumerate(asked):
        yield [float(end[i]) * q.scale for end in wide[q.figure]]


def work_of(asked: Iterable[Question]) -> Workload:
    """The sizes of questions as arrays, in their order."""
    sizes = [[float(q.prompt), float(q.output), float(q.batch or 1)] for q in asked]
    return Workload(*np.array(sizes).T)


def _answer(q: Question, expected: float, low: float, high: float) -> Prediction:
    if not np.isfinite([expected, low, high]).all() or expected <= 0:
        return Prediction(q.row, reason="no finite prediction")
    return Prediction(q.row, expected, low, high)


class Times(Protocol):
    """What a workload takes, whichever way its requests come."""

    @property
    def ttft(self) -> Time: ...
    @property
    def tpot(self) -> Time: ...
    @property
    def e2e(self) -> Time: ...
    @property
    def cycle(self) -> Time: ...


@dataclass(frozen=True)
class Static:
    """A batch that starts and ends together."""

    plan: Deployment
    work: Workload

    @cached_property
    def ttft(self) -> Time:
        return prefill_time(self.plan, self.work)

    @cached_property
    def tpot(self) -> Time:
        return mean_decode_time(self.plan, self.work)

    @cached_property
    def e2e(self) -> Time:
        return end_to_end(self.plan, self.ttft, self.tpot, self.work)

    @property
    def cycle(self) -> Time:
        """Seconds in which the whole batch is served."""
        return self.e2e


# ── figures: (expected, low, high) in SI ─────────────────────────────────────────────────────────

Ends = tuple[Number, Number, Number]


def _seconds(time: Time) -> Ends:
    return time.expected, time.low, time.high


def _rate(amount: Number, time: Time) -> Ends:
    return amount / time.expected, amount / time.high, amount / time.low


def _weight_bandwidth(plan: Deployment, work: Workload, times: Times) -> Ends:
    """Bytes of weights that a token reads on one device, times tokens/s."""
    parts = plan.model.weight_bytes(plan.precision, plan.tp, dp=plan.dp, ep=plan.ep)
    tied = plan.model.tied_embeddings
    read = sum(size for name, size in parts.items() if tied or name != "embedding")
    return _rate(read * work.batch, times.tpot)


def _peak_memory(plan: Deployment, work: Workload, times: Times) -> Ends:
    size = peak_bytes(plan, work)
    return size, size / SPREAD, size * SPREAD


FIGURES = {
    "ttft": lambda plan, work, times: _seconds(times.ttft),
    "tpot": lambda plan, work, times: _seconds(times.tpot),
    "e2e": lambda plan, work, times: _seconds(times.e2e),
    "output_rate": lambda plan, work, times: _rate(work.batch * work.output, times.cycle),
    "total_rate": lambda plan, work, times: _rate(work.batch * work.length, times.cycle),
    "request_rate": lambda plan, work, times: _rate(work.batch, times.cycle),
    "decode_rate": lambda plan, work, times: _rate(work.batch, times.tpot),
    "user_rate": lambda plan, work, times: _rate(1, times.tpot),
    "prefill_rate": lambda plan, work, times: _rate(work.batch * work.prompt, times.ttft),
    "peak_memory": _peak_memory,
    "weight_bandwidth": _weight_bandwidth,
}
