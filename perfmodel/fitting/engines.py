"""What engines cost beyond their kernels, and what devices sustain, fitted together to runs of whole models.

Each row is predicted by the production code with the constants replaced. An engine's time a layer and a pass, what it
makes of the kernels, and what an architecture (and, held close to it, a device) sustains are told apart by engines that
run on several architectures and architectures that run several engines; where nothing tells them apart, priors do.

`fitted(rows)` takes rows of any file of published measurements, those of silicon.py among them.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import numpy as np

from perfmodel.calibrated import Calibration, Fit, Kernel
from perfmodel.deployment import Deployment
from perfmodel.errors import RequestError
from perfmodel.fitting.fit import Errors
from perfmodel.fitting.joint import Free, Joint, Optimum
from perfmodel.fitting.runs import Group, expected, groups_of, phase, setting
from perfmodel.published.predictions import LOADED
from perfmodel.published.questions import Question
from perfmodel.published.rows import Row

MODERN = {"layer_s": 8e-6, "pass_s": 300e-6, "prompt_s": 1e-3, "sequence_s": 3e-6, "compute": 1.0, "memory": 1.0}
STATIC = {"layer_s": 28e-6, "pass_s": 110e-6, "prompt_s": 1.3e-3, "sequence_s": 3e-6, "compute": 1.0, "memory": 1.0}
STREAMS = {"layer_s": 60e-6, "compute": 1.0, "memory": 1.0, "fusion": 2.0}

# engine and generation → the overheads that runs tell, with what they are thought to be before any run;
# all others stay as engine.py has them
PRIORS: dict[str, dict[str, float]] = {
    "vllm 0.8+": MODERN,
    "vllm 0.3+": {**MODERN, "layer_s": 40e-6, "pass_s": 500e-6, "prompt_s": 10e-3},
    "vllm 0.1+": {"host_layer_s": 400e-6, "layer_s": 20e-6, "pass_s": 1e-3, "compute": 1.0, "memory": 1.0},
    "sglang": MODERN,
    "trtllm 1+": MODERN,
    "trtllm 0+": STATIC,
    "lmdeploy": STATIC,
    "llama.cpp": {**STREAMS, "prompt_s": 1e-3, "boundary_s": 200e-6, "overlap": 0.8, "vector_16": 4.7,
                  "vector_4": 18.0, "widened_bytes": 5.0},
    "llama.cpp metal": {**STREAMS, "vector_16": 18.0, "vector_4": 70.0},
}  # fmt: skip
OTHER = {"layer_s": 20e-6, "pass_s": 300e-6, "compute": 1.0, "memory": 1.0}

TIMES = 1.0
"""Spread of a time's logarithm: a factor of 2.7."""
SPREADS = {"compute": 0.25, "memory": 0.15, "overlap": 0.3, "fusion": 0.5, "vector_16": 0.5, "vector_4": 0.5,
           "widened_bytes": 0.5}  # fmt: skip
LIMITS = {"compute": (0.4, 1.3), "memory": (0.6, 1.12), "overlap": (0.01, 1.0), "fusion": (0.1, 4.0)}
ARCHITECTURE = {"compute 16": 0.2, "compute 8": 0.2, "compute 4": 0.2, "memory": 0.1, "layer": 0.4}
DEVICE = {"compute": 0.07, "memory": 0.05}
"""Spreads of what an architecture sustains around its kernels, and of a device around its architecture."""
SUSTAINED = {"compute": (0.4, 1.25), "memory": (0.6, 1.08), "layer": (0.2, 5.0)}
"""Ends of what an architecture sustains: kernels reach 0.8 to 0.95 of the bandwidth, and nothing passes it."""
WIDTHS = {"bf16": "16", "fp16": "16", "fp32": "16", "any": "16", "fp8": "8", "fp8-block": "8", "int8": "8", "fp4": "4"}

ALIKE = 10
"""Rows of one configuration and its neighbours err together: so many tell as much as one of its own."""
FIRST_UNDER_LOAD = 0.4
"""Weight of a time to first token under load, which is the arrivals' more than the engine's."""
FOLDS = 5

SERVING = {
    "interrupted": Free(0.85, 0.2, 0.05, 2.0),
    "alone": Free(1.2, 0.2, 0.8, 3.0),
    "shared": Free(0.15, 0.8, 0.005, 1.5),
    "power": Free(0.85, 0.1, 0.3, 1.2),
    "steps": Free(0.5, 0.7, 0.01, 30.0),
    "start_s": Free(10e-3, 1.0, 1e-4, 0.5),
}
"""Of a server kept busy: φ, the terms of its time to first token (loaded.py), and that of a request's way in."""


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
    serving    of a closed loop, by engine, generation and arrivals
    sustained  factors by architecture, and by device, as architecture × device
    """

    engines: dict[str, dict[str, float]]
    serving: dict[str, dict[str, float]]
    sustained: dict[str, dict[str, float]]
    devices: dict[str, dict[str, float]]
    scores: list[Scored]
    rows: int
    counts: dict[str, int]
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
        {e: {n: found[f"{e}.{n}"] for n in PRIORS.get(e, OTHER)} for e in sorted(set(engines))},
        _sustained(found, {g.loop for g in groups if g.arrivals}, SERVING),
        _sustained(found, {g.plan.gpu.architecture for g in groups}, ARCHITECTURE),
        _sustained(found, {g.plan.gpu.name for g in groups}, DEVICE),
        scores,
        len(asked),
        dict(Counter(engines)),
        dict(left_out.most_common()),
    )


def problem(groups: list[Group], jobs: int) -> Joint:
    """The joint fit of groups: free constants with their priors, and which group depends on which."""
    free: dict[str, Free] = {}
    names = []
    usual = Counter(g.plan.gpu.architecture for g in groups for _ in g.asked).most_common(1)[0][0]
    for group in groups:
        used = dict(_free(group, usual))
        free |= used
        names.append(tuple(used))

    def predict(i: int, constants: Mapping[str, float]) -> Any:
        group = groups[i]
        serving = {n: constants[f"{group.loop}.{n}"] for n in SERVING} if group.arrivals else {}
        return expected(group, with_constants(group.plan, group.engine, constants), serving)

    measured = [np.array([q.row.value for q in group.asked]) for group in groups]
    weights = np.array([_weight(q) / ALIKE for group in groups for q in group.asked])
    return Joint(free, predict, names, measured, weights, jobs)


def _weight(q: Question) -> float:
    return FIRST_UNDER_LOAD if q.figure == "ttft" and q.mode in LOADED else 1.0


def _free(group: Group, usual: str) -> Iterator[tuple[str, Free]]:
    """The constants that a group's predictions depend on."""
    for name, prior in PRIORS.get(group.engine, OTHER).items():
        low, high = LIMITS.get(name, (prior / 30, prior * 30))
        yield f"{group.engine}.{name}", Free(prior, SPREADS.get(name, TIMES), low, high)
    if group.arrivals:
        yield from ((f"{group.loop}.{name}", free) for name, free in SERVING.items())
    gpu, width = group.plan.gpu, WIDTHS.get(group.plan.precision.compute, "16")
    for name, spread in ARCHITECTURE.items():
        kind, _, bits = name.partition(" ")
        if (bits and bits not in ("16", width)) or (kind == "layer" and gpu.architecture == usual):
            continue
        yield f"{gpu.architecture}.{name}", Free(1.0, spread, *SUSTAINED[kind])
    for name, spread in DEVICE.items():
        yield f"{gpu.name}.{name}", Free(1.0, spread, 0.75, 1.05 if name == "memory" else 1.25)


def with_constants(plan: Deployment, engine: str, constants: Mapping[str, float]) -> Deployment:
    """`plan` with its engine's overheads and its device's sustained factors replaced."""
    of_engine = {n.rpartition(".")[2]: v for n, v in constants.items() if n.rpartition(".")[0] == engine}
    gpu = plan.gpu
    kernels = {
        key: Kernel.model_construct(constants=_sustains(gpu.architecture, gpu.name, width, constants), fit=_NO_FIT)
        for key, width in WIDTHS.items()
    }
    own = gpu.calibration.get(plan.engine.runs)
    both = {**(own.kernels if own else {}), "sustained": kernels}
    calibration = {**gpu.calibration, plan.engine.runs: Calibration.model_construct(kernels=both)}
    return replace(
        plan,
        engine=replace(plan.engine, overheads=replace(plan.engine.overheads, **cast(Any, of_engine))),
        gpu=gpu.model_copy(update={"calibration": calibration}),
    )


def _sustains(architecture: str, device: str, width: str, constants: Mapping[str, float]) -> dict[str, float]:
    return {
        "compute": constants.get(f"{architecture}.compute {width}", 1.0) * constants.get(f"{device}.compute", 1.0),
        "memory": constants.get(f"{architecture}.memory", 1.0) * constants.get(f"{device}.memory", 1.0),
        "layer": constants.get(f"{architecture}.layer", 1.0),
    }


_NO_FIT: Any = cast(Any, Fit).model_construct()


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
    return {o: {n: found[f"{o}.{n}"] for n in names if f"{o}.{n}" in found} for o in sorted(owners)}


def _lines(fit: EngineFit) -> Iterator[str]:
    yield f"{fit.rows:,} rows fitted"
    yield from (f"  {n:6,} left out: {reason}" for reason, n in fit.left_out.items())
    for title, table in (
        ("Engines", fit.engines),
        ("Closed loops", fit.serving),
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
