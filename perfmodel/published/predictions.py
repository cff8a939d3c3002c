"""Questions → figures in the rows' units, a whole deployment's rows at a time as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from perfmodel.arithmetic import Number
from perfmodel.deployment import Deployment
from perfmodel.errors import PerfModelError
from perfmodel.latency import Time, end_to_end, mean_decode_time, prefill_time
from perfmodel.published.loaded import SATURATED, ClosedLoop, sequences_held
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
    groups: dict[tuple[int, bool], list[tuple[int, Question]]] = {}
    for i, row in enumerate(rows):
        try:
            asked = question(row, plans)
        except (Unscored, PerfModelError) as reason:
            found[i] = Prediction(row, reason=str(reason))
            continue
        groups.setdefault((id(asked.plan), asked.mode in LOADED), []).append((i, asked))
    for members in groups.values():
        answers = answered([asked for _, asked in members])
        found.update({i: answer for (i, _), answer in zip(members, answers, strict=True)})
    return [found[i] for i in range(len(rows))]


LOADED = ("concurrency", "offline_throughput")
"""Modes in which requests come and go; in the others a batch starts and ends together."""


def answered(asked: list[Question]) -> list[Prediction]:
    """The predictions of questions to one deployment in one kind of mode."""
    first = asked[0]
    try:
        work = Workload(
            np.array([float(q.prompt) for q in asked]),
            np.array([float(q.output) for q in asked]),
            batches(first.plan, asked),
        )
        times: _Times = ClosedLoop(first.plan, work) if first.mode in LOADED else Static(first.plan, work)
        ends = {name: FIGURES[name](first.plan, work, times) for name in {q.figure for q in asked}}
    except PerfModelError as error:
        return [Prediction(q.row, reason=str(error)) for q in asked]
    wide = {name: [np.broadcast_to(end, work.prompt.shape) for end in three] for name, three in ends.items()}
    return [_answer(q, *(float(end[i]) * q.scale for end in wide[q.figure])) for i, q in enumerate(asked)]


def _answer(q: Question, expected: float, low: float, high: float) -> Prediction:
    if not np.isfinite([expected, low, high]).all() or expected <= 0:
        return Prediction(q.row, reason="no finite prediction")
    return Prediction(q.row, expected, low, high)


def batches(plan: Deployment, asked: list[Question]) -> Any:
    """Sequences at once; what memory holds where a saturated server's batch is not stated."""
    batches = np.array([float(q.batch or 0) for q in asked])
    if batches.all():
        return batches
    lengths = Workload(np.array([float(q.prompt) for q in asked]), np.array([float(q.output) for q in asked]))
    most = np.array([float(q.most or SATURATED) for q in asked])
    held = np.maximum(np.minimum(sequences_held(plan, lengths), np.minimum(most, SATURATED)), 1)
    return np.where(batches > 0, batches, held)


class _Times(Protocol):
    """What a workload takes, whichever way its requests come."""

    @property
    def ttft(self) -> Time: ...
    @property
    def tpot(self) -> Time: ...
    @property
    def e2e(self) -> Time: ...


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


# ── figures: (expected, low, high) in SI ─────────────────────────────────────────────────────────

Ends = tuple[Number, Number, Number]


def _seconds(time: Time) -> Ends:
    return time.expected, time.low, time.high


def _rate(amount: Number, time: Time) -> Ends:
    return amount / time.expected, amount / time.high, amount / time.low


def _weight_bandwidth(plan: Deployment, work: Workload, times: _Times) -> Ends:
    """Bytes of weights that a token reads on one device, times tokens/s."""
    parts = plan.model.weight_bytes(plan.precision, plan.tp, dp=plan.dp, ep=plan.ep)
    tied = plan.model.tied_embeddings
    read = sum(size for name, size in parts.items() if tied or name != "embedding")
    return _rate(read * work.batch, times.tpot)


def _peak_memory(plan: Deployment, work: Workload, times: _Times) -> Ends:
    size = peak_bytes(plan, work)
    return size, size / SPREAD, size * SPREAD


FIGURES = {
    "ttft": lambda plan, work, times: _seconds(times.ttft),
    "tpot": lambda plan, work, times: _seconds(times.tpot),
    "e2e": lambda plan, work, times: _seconds(times.e2e),
    "output_rate": lambda plan, work, times: _rate(work.batch * work.output, times.e2e),
    "total_rate": lambda plan, work, times: _rate(work.batch * work.length, times.e2e),
    "request_rate": lambda plan, work, times: _rate(work.batch, times.e2e),
    "decode_rate": lambda plan, work, times: _rate(work.batch, times.tpot),
    "user_rate": lambda plan, work, times: _rate(1, times.tpot),
    "prefill_rate": lambda plan, work, times: _rate(work.batch * work.prompt, times.ttft),
    "peak_memory": _peak_memory,
    "weight_bandwidth": _weight_bandwidth,
}
