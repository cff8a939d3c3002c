"""Rows of published measurements → groups predicted together, with what no constant changes worked out once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from perfmodel.deployment import Deployment
from perfmodel.errors import PerfModelError
from perfmodel.fitting.silicon import unasked
from perfmodel.memory import memory
from perfmodel.published.loaded import ClosedLoop, Serving, sequences_held
from perfmodel.published.names import Unscored
from perfmodel.published.predictions import FIGURES, LOADED, answered, batches
from perfmodel.published.questions import Plans, Question, question
from perfmodel.published.rows import Row
from perfmodel.workload import Workload


@dataclass(frozen=True, slots=True)
class Group:
    """What is asked of one deployment in one kind of mode, and how many sequences its memory holds then.

    `arrivals` tells closed loops apart, "" where there is none: of fixed lengths, requests that start together end
    together; of drawn lengths they spread.
    """

    plan: Deployment
    asked: tuple[Question, ...]
    arrivals: str
    work: Workload
    held: Any

    @classmethod
    def of(cls, asked: list[Question]) -> Group:
        plan, loaded = asked[0].plan, asked[0].mode in LOADED
        prompts, outputs = (np.array([float(getattr(q, name)) for q in asked]) for name in ("prompt", "output"))
        work = Workload(prompts, outputs, batches(plan, asked))
        return cls(plan, tuple(asked), arrivals(asked[0]), work, sequences_held(plan, work) if loaded else None)

    @property
    def engine(self) -> str:
        return f"{self.plan.engine.name} {self.plan.engine.generation}".strip()

    @property
    def loop(self) -> str:
        return f"{self.engine} {self.arrivals}"


def groups_of(rows: Iterable[Row]) -> tuple[list[Group], Counter[str]]:
    """Rows by deployment and mode, and the reasons of those that cannot be used."""
    plans, found, left_out = Plans(), dict[tuple[int, str], list[Question]](), Counter[str]()
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
        except (Unscored, PerfModelError) as reason:
            left_out[str(reason)] += 1
            continue
        found.setdefault((id(asked.plan), arrivals(asked)), []).append(asked)
    return [Group.of(members) for members in found.values()], left_out


def arrivals(q: Question) -> str:
    """How requests come: "" for a batch that starts and ends together."""
    if q.mode not in LOADED:
        return ""
    return "drawn" if "lengths drawn" in q.row.note else "fixed"


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
    return kinds.get(q.figure, "end to end") + " under load" * (q.mode in LOADED)


def expected(group: Group, plan: Deployment, serving: Mapping[str, float]) -> Any:
    """What perfmodel expects of each question of a group, of `plan` in place of its own."""
    if not group.arrivals:
        return np.array([p.expected for p in answered([q._replace(plan=plan) for q in group.asked])])
    loop = ClosedLoop(plan, group.work, group.held, Serving(**serving))
    figures = {q.figure for q in group.asked}
    found = {f: np.broadcast_to(FIGURES[f](plan, group.work, loop)[0], group.work.prompt.shape) for f in figures}
    return np.array([found[q.figure][i] * q.scale for i, q in enumerate(group.asked)])
