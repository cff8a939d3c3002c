"""An `Estimate` whose sizes are numbers or arrays → named columns, one row a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from perfmodel.answer import Estimate, million_seconds_usd
from perfmodel.arithmetic import Number
from perfmodel.calibration import Constants
from perfmodel.expected import seconds_by_name
from perfmodel.latency import LEGS, Time, latency
from perfmodel.memory import memory
from perfmodel.speculation.speedup import speedup
from perfmodel.table import Table


def estimate_table(answer: Estimate, breakdown: bool = False) -> Table:
    """One row a configuration of an Estimate whose sizes are numbers or arrays."""
    figures = totals_of(answer)
    if breakdown:
        figures |= breakdown_of(answer)
    shape = np.broadcast_shapes(*(np.shape(value) for value in figures.values()))
    return Table({name: np.broadcast_to(value, shape).ravel() for name, value in figures.items()})


def around(answer: Estimate, batch: Sequence[int], prompt: Sequence[int], output: Sequence[int]) -> Estimate:
    """The same deployment at every combination of these sizes, whose every figure is an array of three axes."""
    shapes = {"batch": (-1, 1, 1), "prompt": (1, -1, 1), "output": (1, 1, -1)}
    axes = zip(shapes.items(), (batch, prompt, output), strict=True)
    sizes: dict[str, Any] = {
        name: np.asarray(values, dtype=np.float64).reshape(shape) for (name, shape), values in axes
    }
    work = replace(answer.work, **sizes)
    return replace(answer, work=work, memory=memory(answer.plan, work), latency=latency(answer.plan, work))


def totals_of(answer: Estimate) -> dict[str, Number]:
    """What is deployed, memory, times, rates and cost, each a number or an array that broadcasts with the sizes."""
    plan, work, held = answer.plan, answer.work, answer.memory
    figures: dict[str, Number] = {
        "model": plan.model.name,
        "gpu": plan.gpu.name,
        "gpu_count": plan.gpu_count,
        "tp": plan.tp,
        "pp": plan.pp,
        "dp": plan.dp,
        "ep": plan.ep,
        "cp": plan.cp,
        "replicas": plan.replicas,
        "batch": work.batch,
        "prompt": work.prompt,
        "output": work.output,
        "fits": held.fits,
        "memory_bytes": held.used,
        "kv_cache_bytes": held.kv_cache,
    }
    for name, time in (("ttft_s", answer.latency.ttft), ("tpot_s", answer.latency.tpot), ("e2e_s", answer.latency.e2e)):
        figures |= _ends(name, time)
    figures["tokens_per_s"] = work.output_tokens / answer.latency.e2e.expected
    figures["tokens_per_s_per_user"] = 1 / answer.latency.tpot.expected
    figures["tokens_per_s_per_gpu"] = figures["tokens_per_s"] / plan.gpu_count
    if plan.speculation is not None:
        figures["tokens_a_pass"] = plan.speculation.tokens_a_pass
        figures["speedup"] = speedup(plan, work)
    if answer.price_per_hour is not None:
        cost = million_seconds_usd(answer.price_per_hour, plan.gpu_count)
        figures["usd_per_million_tokens"] = cost / figures["tokens_per_s"]
    if plan.gpu.power is not None:
        figures["joules_per_token"] = plan.gpu.power * plan.gpu_count / figures["tokens_per_s"]
    return figures


def _ends(name: str, time: Time) -> dict[str, Number]:
    return {name: time.expected, f"{name}_bound": time.bound, f"{name}_low": time.low, f"{name}_high": time.high}


def breakdown_of(answer: Estimate) -> dict[str, Number]:
    """What each phase's time is spent on, its counts, and the expected seconds of every op."""
    figures: dict[str, Number] = {}
    phases = (
        ("prefill", answer.latency.ttft, answer.prefill, answer.prefill_ops(answer.plan)),
        ("decode", answer.latency.tpot, answer.decode, answer.decode_ops(answer.plan)),
    )
    c = Constants(answer.plan.gpu, answer.plan.engine)
    for phase, time, counted, ops in phases:
        figures |= {f"{phase}_{leg}_s": getattr(time, leg) for leg in LEGS}
        figures[f"{phase}_bound_by"] = time.bound_by
        figures |= {f"{phase}_{name}": getattr(counted, name) for name in ("flops", "matmul_flops", "bytes")}
        figures |= {f"{phase}_{name}_s": seconds for name, seconds in seconds_by_name(ops, c).items()}
    return figures
