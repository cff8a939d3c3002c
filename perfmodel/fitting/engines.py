"""What engines cost beyond their kernels, and what devices sustain, fitted together to runs of whole models.

Each row is predicted by the production code with the constants replaced. An engine's time a layer and a pass, what it
makes of the kernels, and what an architecture (and, held close to it, a device) sustains are told apart by engines that
run on several architectures and architectures that run several engines; where nothing tells them apart, priors do.

`fitted(rows)` takes rows of any file of published measurements, those of silicon.py among them.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from perfmodel.deployment import Deployment
from perfmodel.errors import RequestError
from perfmodel.fitting.fit import Errors
from perfmodel.fitting.free import (
    ARCHITECTURE,
    ATTENTION,
    DECODE,
    DEVICE,
    LINKS,
    OWN_LINKS,
    UNDER_LOAD,
    free_constants,
    prior_of,
    with_constants,
)
from perfmodel.fitting.joint import Free, Joint, Optimum
from perfmodel.fitting.runs import UNDER as UNDER
from perfmodel.fitting.runs import Group, expected, groups_of, phase, setting
from perfmodel.interval import size_of
from perfmodel.published.predictions import LOADED
from perfmodel.published.questions import Question
from perfmodel.published.rows import Row

ALIKE = 10
"""Rows of one configuration and its neighbours err together: so many tell as much as one of its own."""
FIRST_UNDER_LOAD = 0.4
"""Weight of a time to first token under load, which is the arrivals' more than the engine's."""
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Scored:
    """Errors of the rows of one engine and phase, none of which the fit had seen in the way that `unseen` tells.

    `spread` is the factor up and down that holds 80 % of them.
    """

    unseen: str
    engine: str
    phase: str
    errors: Errors
    spread: float


@dataclass(frozen=True, slots=True)
class EngineFit:
    """Constants, what they rest on, and how far off they are.

    engines    overheads by engine and generation
    attention  constants of decode attention, by engine, generation and format of the cache
    links      of links whose hosts differ, by kind and size of the group
    sustained  factors by architecture, and by device, as architecture × device
    """

    engines: dict[str, dict[str, float]]
    attention: dict[str, dict[str, float]]
    links: dict[str, dict[str, float]]
    sustained: dict[str, dict[str, float]]
    devices: dict[str, dict[str, float]]
    scores: list[Scored]
    rows: int
    counts: dict[str, int]
    devices_of: dict[str, dict[str, int]]
    models_of: dict[str, dict[str, int]]
    versions_of: dict[str, dict[str, int]]
    left_out: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """The constants and errors as lines of text."""
        return "\n".join(_lines(self))


def fitted(rows: Iterable[Row], jobs: int = 1) -> EngineFit:
    """The constants for which the rows of quality "ok" come out best, and their errors when left out of the fit."""
    groups, left_out = groups_of(rows)
    if not groups:
        raise RequestError("no row of quality ok can be predicted: there is nothing to fit")
    joint = problem(groups, jobs)
    best = joint.fitted()
    asked = [q for group in groups for q in group.asked]
    engines = [group.engine for group in groups for _ in group.asked]
    scores = [
        s
        for unseen, logs in _left_out(joint, best, asked, engines)
        for s in _scores(unseen, logs, joint, asked, engines)
    ]
    found = joint.values(best.x)
    return EngineFit(
        _sustained(found, set(engines), {n: None for e in engines for n in (*prior_of(e), *UNDER_LOAD)}),
        _sustained(found, {f"{e} decode {k}" for e in set(engines) for k in DECODE}, ATTENTION),
        _sustained(
            found,
            {f"{k} {n}" for k in LINKS for n in LINKS[k].shares} | set(LINKS) | {f"{e} link" for e in OWN_LINKS},
            ("start_s", "share"),
        ),
        _sustained(found, {g.plan.gpu.architecture for g in groups}, ARCHITECTURE),
        _sustained(found, {g.plan.gpu.name for g in groups}, DEVICE),
        scores,
        len(asked),
        dict(Counter(engines)),
        _counted(groups, lambda plan: plan.gpu.name),
        _counted(groups, lambda plan: size_of(plan.model)),
        _counted(groups, lambda plan: plan.engine.version),
        dict(left_out.most_common()),
    )


def _counted(groups: list[Group], name_of: Callable[[Deployment], str]) -> dict[str, dict[str, int]]:
    """Rows of each engine by something of their deployments."""
    found: dict[str, Counter[str]] = {}
    for group in groups:
        found.setdefault(group.engine, Counter())[name_of(group.plan)] += len(group.asked)
    return {engine: dict(counts.most_common()) for engine, counts in found.items()}


def problem(groups: list[Group], jobs: int) -> Joint:
    """The joint fit of groups: free constants with their priors, and which group depends on which."""
    free: dict[str, Free] = {}
    names = []
    usual = Counter(g.plan.gpu.architecture for g in groups for _ in g.asked).most_common(1)[0][0]
    for group in groups:
        used = dict(free_constants(group, usual))
        free |= used
        names.append(tuple(used))

    def predict(i: int, constants: Mapping[str, float]) -> Any:
        group = groups[i]
        return expected(group, with_constants(group.plan, constants))

    measured = [np.array([q.row.value for q in group.asked]) for group in groups]
    weights = np.array([_weight(q) / ALIKE for group in groups for q in group.asked])
    return Joint(free, predict, names, measured, weights, jobs)


def _weight(q: Question) -> float:
    return FIRST_UNDER_LOAD if q.figure == "ttft" and q.mode in LOADED else 1.0


# ── errors of rows that were left out ────────────────────────────────────────────────────────────


def _left_out(joint: Joint, best: Optimum, asked: list[Question], engines: list[str]) -> Iterator[tuple[str, Any]]:
    """(what is unseen, predicted logarithms when it is)."""
    yield "nothing", best.logs
    yield "setting", _folded(joint, best, [zlib.crc32(setting(q).encode()) % FOLDS for q in asked])
    yield "version", _folded(joint, best, [f"{q.row.engine} {q.row.engine_version}" for q in asked])
    yield "device", _folded(joint, best, [q.plan.gpu.name for q in asked])
    yield "model", _folded(joint, best, [q.plan.model.name for q in asked])
    yield "engine", _folded(joint, best, engines)


def _folded(joint: Joint, best: Optimum, labels: list[Any]) -> Any:
    found = np.full(len(labels), np.nan)
    for label in sorted(set(labels)):
        out = np.array([one == label for one in labels])
        if not out.all():
            found = np.where(out, joint.without(best, out), found)
    return found


def _scores(unseen: str, logs: Any, joint: Joint, asked: list[Question], engines: list[str]) -> Iterator[Scored]:
    phases, off = [phase(q) for q in asked], logs - joint.target
    for engine in ("all", *sorted(set(engines))):
        for kind in sorted(set(phases)):
            chosen = np.array([engine in ("all", e) and p == kind for e, p in zip(engines, phases, strict=True)])
            chosen &= np.isfinite(off)
            if chosen.any():
                errors = Errors.of(np.exp(logs[chosen]), np.exp(joint.target[chosen]))
                yield Scored(unseen, engine, kind, errors, float(np.exp(np.quantile(np.abs(off[chosen]), 0.8))))


def _sustained(found: Mapping[str, float], owners: set[str], names: Iterable[str]) -> dict[str, dict[str, float]]:
    tables = {o: {n: found[f"{o}.{n}"] for n in names if f"{o}.{n}" in found} for o in sorted(owners)}
    return {owner: constants for owner, constants in tables.items() if constants}


def _lines(fit: EngineFit) -> Iterator[str]:
    yield f"{fit.rows:,} rows fitted"
    yield from (f"  {n:6,} left out: {reason}" for reason, n in fit.left_out.items())
    for title, table in (
        ("Engines", fit.engines),
        ("Decode attention", fit.attention),
        ("Links", fit.links),
        ("Architectures", fit.sustained),
        ("Devices", fit.devices),
    ):
        yield f"\n{title}"
        for owner, constants in table.items():
            rows = f" ({fit.counts[owner]:,} rows)" if owner in fit.counts else ""
            yield f"  {owner}{rows}: " + ", ".join(f"{name} {value:.3g}" for name, value in constants.items())
    yield f"\n{'unseen':9} {'engine':18} {'phase':22} {'rows':>6} {'median':>7} {'90th':>7} {'bias':>7} {'80 %':>6}"
    for s in fit.scores:
        e = s.errors
        figures = f"{e.n:6,} {e.median:7.1%} {e.p90:7.1%} {e.bias:+7.1%} ×{s.spread:5.2f}"
        yield f"{s.unseen:9} {s.engine:18} {s.phase:22} {figures}"
