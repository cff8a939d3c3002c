"""Which constants runs of whole models are to tell, what they are thought to be before any run, and where they apply.

Priors stand here and not with the engines, so that a second fit starts where the first did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

from perfmodel.calibrated import Calibration, Fit, Kernel
from perfmodel.calibration import HOSTS
from perfmodel.deployment import Deployment
from perfmodel.fitting.joint import Free
from perfmodel.fitting.runs import Group

MODERN = {"layer_s": 8e-6, "pass_s": 300e-6, "prompt_s": 1e-3, "sequence_s": 3e-6, "compute": 1.0, "memory": 1.0}
STATIC = {"layer_s": 28e-6, "pass_s": 110e-6, "prompt_s": 1.3e-3, "sequence_s": 3e-6, "compute": 1.0, "memory": 1.0}
STREAMS = {"layer_s": 60e-6, "compute": 1.0, "memory": 1.0, "fusion": 2.0, "spill": 3.0}
COMPILED = {"layer_s": 5e-6, "pass_s": 200e-6, "launch": 0.7, "compute": 1.0, "memory": 1.0}
HALVED = {"layer_s": 20e-6, "pass_s": 300e-6, "compute": 0.6, "memory": 1.0}
EAGER = {"host_layer_s": 400e-6, "layer_s": 20e-6, "compute": 1.0, "memory": 1.0}

# engine and generation → the overheads that runs tell, with what they are thought to be before any run;
# all others stay as engine.py has them
PRIORS: dict[str, dict[str, float]] = {
    "vllm 0.8+": MODERN,
    "vllm 0.3+": {**MODERN, "layer_s": 40e-6, "pass_s": 500e-6, "prompt_s": 10e-3},
    "vllm 0.1+": {**EAGER, "pass_s": 1e-3, "prompt_s": 2e-3, "sequence_s": 1e-4},
    "vllm rocm": {"layer_s": 10e-6, "pass_s": 300e-6, "sequence_s": 3e-6, "compute": 1.0, "memory": 1.0},
    "sglang": MODERN,
    "trtllm 1.1+": MODERN,
    "trtllm 1+": MODERN,
    "trtllm 0+": STATIC,
    "trtllm nim": STATIC,
    "lmdeploy": STATIC,
    "llama.cpp 0+": {**STREAMS, "prompt_s": 1e-3, "boundary_s": 200e-6, "overlap": 0.9, "vector_16": 4.7,
                     "vector_4": 18.0, "widened_bytes": 5.0},
    "llama.cpp 2024.7+": {"layer_s": 20e-6, "compute": 0.75, "memory": 1.0},
    "llama.cpp metal": {**STREAMS, "vector_16": 8.0, "vector_4": 9.0},
    "gpt-fast": COMPILED,
    "torch": EAGER,
    "exllama": HALVED,
    "tinychat": HALVED,
    "mlc": HALVED,
}  # fmt: skip
OTHER = {"layer_s": 20e-6, "pass_s": 300e-6, "compute": 1.0, "memory": 1.0}

TIMES = 1.0
"""Spread of a time's logarithm: a factor of 2.7."""
SPREADS = {"compute": 0.25, "memory": 0.15, "overlap": 0.3, "fusion": 0.5, "spill": 0.5, "launch": 0.4,
           "vector_16": 0.5, "vector_4": 0.5, "widened_bytes": 0.5}  # fmt: skip
LIMITS = {"compute": (0.4, 1.3), "memory": (0.6, 1.12), "overlap": (0.01, 1.0), "fusion": (0.1, 4.0),
          "spill": (0.5, 6.0), "launch": (0.1, 1.5)}  # fmt: skip
ARCHITECTURE = {"compute 16": 0.2, "compute 8": 0.2, "compute 4": 0.2, "memory": 0.1, "layer": 0.4, "host": 0.4}
DEVICE = {"compute": 0.07, "memory": 0.05}
"""Spreads of what an architecture sustains around its kernels, and of a device around its architecture."""
SUSTAINED = {"compute": (0.4, 1.25), "memory": (0.6, 1.08), "layer": (0.2, 5.0), "host": (0.4, 2.5)}
"""Ends of what an architecture sustains: kernels reach 0.8 to 0.95 of the bandwidth, and nothing passes it."""
WIDTHS = {"bf16": "16", "fp16": "16", "fp32": "16", "any": "16", "fp8": "8", "fp8-block": "8", "int8": "8", "fp4": "4"}

OWN_ATTENTION = ("trtllm 0+", "vllm 0.1+")
"""Generations whose decode attention no table measured: kernels of 2024 that read keys once for each query head."""
DECODE = {
    "bf16": {"memory": 0.85, "compute": 0.05, "unit_s": 1.8e-6, "launch_s": 9e-6},
    "fp8-kv": {"memory": 0.86, "compute": 0.055, "unit_s": 1.5e-6, "launch_s": 9e-6},
}
ATTENTION = {"memory": 0.08, "compute": 0.7, "unit_s": 0.7, "launch_s": 0.3}
FIXED = {"chunk_s": 1e-6, "exposed": 0.0}

OWN_LINKS = {"vllm 0.1+": {"start_s": 20e-6, "share": 0.4}}
"""Generations whose all-reduce over NVLink no table measured: NCCL of 2023, outside of graphs."""

UNDER_LOAD = {"request_s": 20e-3, "lag": 1.0}
"""Of a server kept busy: what a first token takes beside passes. Batches that start together tell nothing of it."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """What is thought of a kind of link that differs with the host: its start, and its share by size of the group.

    `direct` is how long the starts of kernels take that reach into each other's memory, in one step and in two,
    against the ring's; none where devices cannot.
    """

    start_s: float
    shares: dict[int, float]
    direct: tuple[float, float] | None = None


LINKS = {
    "PCIe": Hosts(24e-6, {2: 0.44, 4: 0.55, 8: 0.5}),
    "xGMI": Hosts(20e-6, {8: 0.65}, (0.4, 0.6)),
}
STEP_S = 1.5e-6
OWN_LINK = "NVLink all-reduce 8"
DIRECT = {"one_group_s": 1e-6, "one_limit": 2.0**20, "two_group_s": 1e-6, "two_limit": 2.0**24}


def prior_of(engine: str) -> dict[str, float]:
    return PRIORS.get(engine, OTHER)


def free_constants(group: Group, usual: str) -> Iterator[tuple[str, Free]]:
    """The constants that a group's predictions depend on; `usual` is the architecture that has most rows."""
    engine, gpu = group.engine, group.plan.gpu
    for name, prior in prior_of(engine).items():
        low, high = LIMITS.get(name, (prior / 30, prior * 30))
        yield f"{engine}.{name}", Free(prior, SPREADS.get(name, TIMES), low, high)
    if group.loaded is not None:
        yield from ((f"{engine}.{name}", Free(prior, TIMES)) for name, prior in UNDER_LOAD.items())
    if engine in OWN_ATTENTION:
        cache = "bf16" if group.plan.precision.kv.bits >= 16 else "fp8-kv"
        for name, prior in DECODE[cache].items():
            high = 1.0 if name in ("memory", "compute") else prior * 20
            yield f"{engine} decode {cache}.{name}", Free(prior, ATTENTION[name], prior / 20, high)
    if engine in OWN_LINKS and _link(group.plan) == "NVLink":
        yield f"{engine} link.start_s", Free(OWN_LINKS[engine]["start_s"], 0.7)
        yield f"{engine} link.share", Free(OWN_LINKS[engine]["share"], 0.5, 0.02, 1.0)
    width = WIDTHS.get(group.plan.precision.compute, "16")
    for name, spread in ARCHITECTURE.items():
        kind, _, bits = name.partition(" ")
        if (bits and bits not in ("16", width)) or (kind in ("layer", "host") and gpu.architecture == usual):
            continue
        if kind == "host" and "host_layer_s" not in prior_of(engine):
            continue
        yield f"{gpu.architecture}.{name}", Free(1.0, spread, *SUSTAINED[kind])
    for name, spread in DEVICE.items():
        yield f"{gpu.name}.{name}", Free(1.0, spread, 0.75, 1.05 if name == "memory" else 1.25)
    if joined := _hosts(group.plan):
        kind, size = joined
        yield f"{kind}.start_s", Free(LINKS[kind].start_s, 0.5)
        yield f"{kind} {size}.share", Free(LINKS[kind].shares[size], 0.3, 0.05, 1.0)


def _hosts(plan: Deployment) -> tuple[str, int] | None:
    """The kind of link that joins the devices of a layer, and the group's size; None where hosts do not differ."""
    kind = _link(plan)
    sizes = [n for n in (LINKS[kind].shares if kind in LINKS else ()) if n >= plan.tp]
    return (kind, min(sizes)) if sizes else None


def _link(plan: Deployment) -> str:
    """The kind of link that joins the devices of a layer; "" for one device."""
    link = plan.gpu.link(plan.tp) if plan.tp > 1 else None
    return link.name.split()[0] if link else ""


def with_constants(plan: Deployment, constants: Mapping[str, float]) -> Deployment:
    """`plan` with its engine's overheads and its device's sustained factors replaced."""
    gpu, engine = plan.gpu, f"{plan.engine.name} {plan.engine.generation}".strip()
    of_engine = _of(constants, engine)
    kernels = {
        "sustained": {
            key: _entry(sustains(gpu.architecture, gpu.name, width, constants)) for key, width in WIDTHS.items()
        },
        "overheads": {"any": _entry(cast(Any, asdict(plan.engine.overheads)) | of_engine)},
    }
    caches = {cache: _of(constants, f"{engine} decode {cache}") for cache in DECODE}
    own = {cache: _entry(FIXED | found) for cache, found in caches.items() if found}
    kernels |= {"decode": own, "decode-mha": own} if own else {}
    if ring := _of(constants, f"{engine} link"):
        kernels["collective"] = {OWN_LINK: _entry({"step_s": STEP_S} | ring)}
    blocks = gpu.calibration | {plan.engine.runs: Calibration.model_construct(kernels=kernels)}
    if (joined := _hosts(plan)) and f"{joined[0]}.start_s" in constants:
        kind, size = joined
        key, entry = f"{kind} all-reduce {size}", _entry(link_constants(kind, size, constants))
        blocks |= {HOSTS: Calibration.model_construct(kernels={"collective": {key: entry}})}
    return replace(plan, gpu=gpu.model_copy(update={"calibration": blocks}))


def link_constants(kind: str, size: int, constants: Mapping[str, float]) -> dict[str, float]:
    """The form of a collective over links whose hosts differ."""
    start, share, direct = constants[f"{kind}.start_s"], constants[f"{kind} {size}.share"], LINKS[kind].direct
    ring = {"start_s": start, "step_s": STEP_S, "share": share}
    if direct is None:
        return ring
    starts = {"one_start_s": direct[0] * start, "two_start_s": direct[1] * start}
    return ring | starts | {"one_share": share, "two_share": share} | DIRECT


def sustains(architecture: str, device: str, width: str, constants: Mapping[str, float]) -> dict[str, float]:
    """What a device sustains in formats of a width: its architecture's factors times its own."""
    return {
        "compute": constants.get(f"{architecture}.compute {width}", 1.0) * constants.get(f"{device}.compute", 1.0),
        "memory": constants.get(f"{architecture}.memory", 1.0) * constants.get(f"{device}.memory", 1.0),
        "layer": constants.get(f"{architecture}.layer", 1.0),
        "host": constants.get(f"{architecture}.host", 1.0),
    }


def _of(constants: Mapping[str, float], owner: str) -> dict[str, float]:
    return {n.rpartition(".")[2]: v for n, v in constants.items() if n.rpartition(".")[0] == owner}


_NO_FIT: Any = cast(Any, Fit).model_construct(points=1, median=0.0, p90=0.0, devices={}, models={}, spreads={})


def _entry(constants: Mapping[str, float]) -> Kernel:
    return Kernel.model_construct(constants=dict(constants), fit=_NO_FIT)
