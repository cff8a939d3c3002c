"""A start-up log held against `perfmodel.memory` of the same deployment: term by term, and which is farthest off."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from perfmodel.benchmarked.run import Given, Run, deployed
from perfmodel.benchmarked.startup import Startup
from perfmodel.deployment import Deployment
from perfmodel.errors import SpecError
from perfmodel.memory import memory
from perfmodel.table import Table, flush_right, percent
from perfmodel.workload import Workload

SEQUENCES = 256
"""Sequences that an engine's profiling pass holds where neither the log nor the engine's row says."""
LENGTH = 4096
"""Tokens of the sequence that tells bytes a token, where the log names no longest one."""
NEAR = 0.01
"""Share of the device within which no term is called wrong."""
NAMES = {"vllm": "vLLM", "sglang": "SGLang"}


@dataclass(frozen=True)
class Term:
    """Bytes (or tokens) of one device: as the log has them, and as we count them; `why` says what stands behind."""

    name: str
    measured: float
    ours: float
    unit: str = "bytes"
    why: str = ""

    @property
    def difference(self) -> float:
        """Ours less theirs."""
        return self.ours - self.measured

    def to_dict(self) -> dict[str, Any]:
        return {
            "term": self.name,
            "unit": self.unit,
            "measured": self.measured,
            "ours": self.ours,
            "difference": self.difference,
        }


@dataclass(frozen=True)
class Compared:
    """Every term that a log tells, beside ours."""

    startup: Startup
    plan: Deployment
    terms: tuple[Term, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract of docs/json.md."""
        worst = self.worst
        return {
            "file": self.startup.where,
            "engine": self.startup.engine,
            "engine_version": self.startup.engine_version,
            "model": self.plan.model.name,
            "gpu": self.plan.gpu.name,
            "tp": self.plan.tp,
            "pp": self.plan.pp,
            "terms": [term.to_dict() for term in self.terms],
            "worst": None if worst is None else worst.name,
            "verdict": self.verdict(),
        }

    @property
    def parts(self) -> list[Term]:
        """Terms that err by themselves: what is left for the cache errs by all of them."""
        return [term for term in self.terms if term.unit == "bytes" and term.name not in (ROOM, OUTSIDE)]

    @property
    def worst(self) -> Term | None:
        """The part that is farthest off, in bytes of the device; None where all are near."""
        off = [term for term in self.parts if abs(self._weight(term)) > NEAR * self.plan.gpu.memory]
        return max(off, key=lambda term: abs(self._weight(term)), default=None)

    def _weight(self, term: Term) -> float:
        """What a term's error moves on the device; a token's counts for all tokens of the cache."""
        return term.difference * (self.startup.kv_tokens or 1 if term.name == PER_TOKEN else 1)

    def verdict(self) -> str:
        """One sentence: which term is wrong, and by how much."""
        term, name = self.worst, NAMES[self.startup.engine]
        if term is None:
            most = max(self.parts, key=lambda term: abs(self._weight(term)), default=None)
            if most is None:
                return f"{self.startup.where} tells no term that can be held against ours."
            return (
                f"No term is off by more than {NEAR:.0%} of the device; the farthest is {most.name}, by "
                f"{_shown(abs(most.difference))}."
            )
        more = "more" if term.difference > 0 else "less"
        return (
            f"{term.name}: {name} measured {_shown(term.measured)}, we count {_shown(term.ours)}, "
            f"{_shown(abs(term.difference))} {more}{': ' + term.why if term.why else ''}."
        )

    def table(self) -> Table:
        """The terms, a line each."""
        cells = [
            [_shown(getattr(term, name), term.unit, sign) for term in self.terms]
            for name, sign in (("measured", ""), ("ours", ""), ("difference", "+"))
        ]
        off = [percent(t.difference / t.measured, "+") if t.measured else "" for t in self.terms]
        columns = {"term": [term.name for term in self.terms]}
        columns |= {n: flush_right(c) for n, c in zip(("measured", "ours", "difference"), cells, strict=True)}
        plan, by = self.plan, NAMES[self.startup.engine]
        title = f"{plan.model.title} on {plan.gpu_count} × {plan.gpu.title}: one device, as {by} started"
        return Table(columns | {"error": flush_right(off)}, title)


def _shown(size: float, unit: str = "bytes", sign: str = "") -> str:
    if unit == "tokens":
        return f"{size:{sign},.0f} tokens"
    if abs(size) < 2**24:
        return f"{size / 1024:{sign}.1f} KiB"
    return f"{size / 2**30:{sign}.2f} GiB"


WEIGHTS, ACTIVATIONS, OTHER, GRAPHS, DEVICE = "weights", "activations", "context and buffers", "CUDA graphs", "device"
ROOM, TOKENS, PER_TOKEN, OUTSIDE = "KV cache", "KV cache in tokens", "KV cache a token", "left outside the cache"


def compared(startup: Startup, given: Given) -> Compared:
    """A log beside ours; RequestError where a flag must say what the log does not, SpecError where it tells no term."""
    plan = _plan(startup, given)
    terms = tuple(_terms(startup, plan))
    if not terms:
        raise SpecError(
            f"{startup.where}: tells no size of weights or cache; give a log from the engine's first line on."
        )
    return Compared(startup, plan, terms)


def _plan(log: Startup, given: Given) -> Deployment:
    """The deployment of a log, with what it changes of the engine's defaults."""
    run = Run(
        log.engine, log.where, (), "fixed_batch", engine=log.engine, engine_version=log.engine_version, model=log.model,
        tp=log.tp, pp=log.pp, dp=log.dp, ep=log.ep, weights=log.weights_format, kv=log.kv_format, needs=(),
    )  # fmt: skip
    if given.tp is None and log.tp is None and given.gpu_count is None:
        run = replace(run, tp=1)  # both engines' default
    plan = deployed(run, given)
    changed: dict[str, Any] = {
        name: value
        for name, value in (
            ("memory_share", log.memory_share),
            ("token_budget", log.token_budget),
            ("sequences_limit", log.sequences_limit),
        )
        if value is not None
    }
    return replace(plan, engine=replace(plan.engine, **changed)) if changed else plan


def _terms(log: Startup, plan: Deployment) -> list[Term]:
    engine = plan.engine
    sequences = engine.sequences_limit or SEQUENCES
    if not log.sequences_limit and engine.small_limit and plan.gpu.memory < 70 * 2**30:
        sequences = engine.small_limit
    prompt = max(-(-engine.token_budget // sequences), 1)
    full = memory(plan, Workload(prompt, 0, sequences))
    length = log.max_length or LENGTH
    a_token = float(memory(plan, Workload(length, 0, 1)).kv_cache) / length
    held = engine.framework_bytes + (engine.comm_bytes if plan.joined > 1 else 0)
    room = plan.gpu.memory - float(full.used) + float(full.kv_cache)
    outside = plan.gpu.memory - float(full.weights) - room
    budget = f"a pass of {engine.token_budget:,} tokens of {sequences:,} sequences"
    told = [
        (DEVICE, log.device, plan.gpu.memory, "the driver keeps a part that no process sees"),
        (WEIGHTS, log.weights, full.weights, f"stored as {plan.precision.weights}, over tp {plan.tp} × pp {plan.pp}"),
        (ACTIVATIONS, log.activations, full.activations, f"the largest tensors of {budget}"),
        (OTHER, log.other, held, "context, allocator and collective buffers are an assumption of the engine's row"),
        (GRAPHS, log.graphs, engine.graph_bytes, "an assumption of the engine's row"),
        (ROOM, log.kv_cache, room, "what the other terms leave"),
        (OUTSIDE, log.outside, outside, "activations, graphs and what is beyond the memory share"),
    ]
    terms = [Term(name, size, float(ours), why=why) for name, size, ours, why in told if size is not None]
    if log.kv_tokens:
        terms.append(Term(TOKENS, float(log.kv_tokens), max(room, 0.0) / a_token if a_token else 0.0, "tokens"))
        if log.kv_cache and a_token:
            cached = f"a sequence of {length:,} tokens, cached as {plan.precision.kv}"
            terms.append(Term(PER_TOKEN, log.kv_cache / log.kv_tokens, a_token, why=cached))
    return terms
