"""Rows of published measurements → groups predicted together, with what no constant changes worked out once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from perfmodel.calibration import Constants
from perfmodel.deployment import Deployment
from perfmodel.errors import PerfModelError
from perfmodel.fitting.silicon import unasked
from perfmodel.latency import Time
from perfmodel.layers.moe import MixtureOfExperts
from perfmodel.memory import memory
from perfmodel.published.loaded import Loaded, held, traffic_of
from perfmodel.published.names import Unscored, model_of
from perfmodel.published.predictions import LOADED, answered, figures, work_of
from perfmodel.published.questions import Plans, Question, question
from perfmodel.published.rows import Row
from perfmodel.workload import Workload

UNDER = " under load"


@dataclass(frozen=True)
class Group:
    """What is asked of one deployment in one kind of mode; `loaded` holds the simulations of a server kept busy.

    Schedules are simulated once, with the constants that stand before the fit: who waits for which passes changes far
    less with the constants than how long those take.
    """

    plan: Deployment
    asked: tuple[Question, ...]
    loaded: Loaded | None

    @classmethod
    def of(cls, asked: list[Question]) -> Group:
        plan = asked[0].plan
        return cls(plan, tuple(asked), Loaded(plan, tuple(asked)) if asked[0].mode in LOADED else None)

    @property
    def engine(self) -> str:
        return f"{self.plan.engine.name} {self.plan.engine.generation}".strip()


def groups_of(rows: Iterable[Row]) -> tuple[list[Group], Counter[str]]:
    """Rows by deployment and mode, and the reasons of those that cannot be used."""
    plans, found, left_out = Plans(), dict[tuple[int, bool], list[Question]](), Counter[str]()
    for row in rows:
        if reason := unasked(row) or (row.quality != "ok" and f"quality {row.quality}"):
            left_out[reason] += 1
            continue
        try:
            asked = question(row, plans)
            if asked.figure in ("peak_memory", "weight_bandwidth"):
                raise Unscored("not a time")
            if memory(asked.plan, Workload(1, 1, 1)).weights > asked.plan.gpu.memory:
                raise Unscored("the weights do not fit on the stated devices")
            if asked.mode in LOADED:
                held(asked.plan, traffic_of(asked))
        except (Unscored, PerfModelError) as reason:
            left_out[str(reason)] += 1
            continue
        found.setdefault((id(asked.plan), asked.mode in LOADED), []).append(asked)
    return [Group.of(members) for members in found.values()], left_out


def experts_of(row: Row) -> bool:
    """Whether a row is of a model with experts; no model that is not known has any."""
    try:
        model = model_of(row.model)
    except (Unscored, PerfModelError):
        return False
    return any(isinstance(block.feed_forward, MixtureOfExperts) for block in model.blocks)


def setting(q: Question) -> str:
    """What rows have in common that are kept or left out together: one deployment and workload."""
    p = q.plan
    formats = f"{p.precision.weights} {p.precision.kv}"
    return f"{p.model.name} {p.gpu.name} {p.gpu_count} {formats} {q.prompt} {q.output} {q.batch}"


def phase(q: Question) -> str:
    """What a figure tells of: prefill, decode, or both; and whether others ran meanwhile."""
    kinds = {
        "ttft": "prefill",
        "prefill_rate": "prefill",
        "tpot": "decode",
        "decode_rate": "decode",
        "user_rate": "decode",
    }
    return kinds.get(q.figure, "end to end") + UNDER * (q.mode in LOADED)


def expected(group: Group, plan: Deployment) -> Any:
    """What perfmodel expects of each question of a group, of `plan` in place of its own."""
    if group.loaded is None:
        return np.array([p.expected for p in answered([q._replace(plan=plan) for q in group.asked])])
    times = Rescheduled(group.loaded, plan)
    work = replace(work_of(group.asked), batch=group.loaded.at_hand)
    return np.array([expected for expected, _, _ in figures(group.asked, plan, work, times)])


@dataclass(frozen=True)
class Rescheduled:
    """Means of simulated servers whose passes take other times than those that they were simulated with."""

    loaded: Loaded
    plan: Deployment

    @cached_property
    def _costs(self) -> Any:
        return Constants(self.plan.gpu, self.plan.engine).costs

    @cached_property
    def _grids(self) -> Any:
        return {key: steps.times["expected"] for key, steps in self.loaded.grids(self.plan).items()}

    def _of(self, part: str) -> Any:
        loads = self.loaded.loads
        return np.array([(getattr(load.made_of, part) * self._grids[load.range.key]).sum() for load in loads])

    @cached_property
    def ttft(self) -> Time:
        return _only(self._costs.request_s + self._of("waiting") + self._costs.lag * self._of("after"))

    @cached_property
    def tpot(self) -> Time:
        return _only(self._of("rates"))

    @cached_property
    def e2e(self) -> Time:
        return _only(self.ttft.expected + self._of("running"))

    @cached_property
    def cycle(self) -> Time:
        closed = np.array([t.arrival == "closed" for t in self.loaded.traffics])
        return _only(np.where(closed, self.e2e.expected, self._of("whole")))


def _only(seconds: Any) -> Time:
    """Expected seconds of which nothing else is known."""
    return Time(0.0, seconds, 0.0, 0.0, 0.0, seconds)
