"""Named axes → a grid, in blocks that fit the cache → Table.

Kinds (model, GPU, precision, split) are looped over; numbers (batch, prompt, output) are broadcast, so that a
term costs only as much as the axes it depends on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from perfmodel.answer import Estimate, estimate, million_seconds_usd
from perfmodel.arithmetic import Number
from perfmodel.calibration import Constants
from perfmodel.expected import seconds_by_name
from perfmodel.latency import LEGS, Time, latency
from perfmodel.memory import memory
from perfmodel.speculation.speedup import speedup
from perfmodel.table import Table
from perfmodel.workload import BATCH, OUTPUT, PROMPT, whole_number

BLOCK = 16_384  # configurations at a time: a float64 column of a block is 128 KiB


def sweep(
    model: Any,
    gpu: Any,
    *,
    batch: Sequence[int] = (BATCH,),
    prompt: Sequence[int] = (PROMPT,),
    output: Sequence[int] = (OUTPUT,),
    breakdown: bool = False,
    **options: Any,
) -> Table:
    """Every combination of `batch` × `prompt` × `output` on one deployment, one row each.

    `options` are those of `estimate`. Without a split the fewest devices that hold the largest combination
    are taken. Points that do not fit have `fits` false and figures as if they did. With `breakdown`, also what
    each phase's time is spent on, its counts, and the expected seconds of every op.
    """
    parts = list(sweep_blocks(model, gpu, batch=batch, prompt=prompt, output=output, breakdown=breakdown, **options))
    return Table({name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns})


def sweep_blocks(
    model: Any,
    gpu: Any,
    *,
    batch: Sequence[int] = (BATCH,),
    prompt: Sequence[int] = (PROMPT,),
    output: Sequence[int] = (OUTPUT,),
    breakdown: bool = False,
    **options: Any,
) -> Iterator[Table]:
    """The rows of `sweep` block by block, so that a grid of any size needs the memory of one block."""
    sizes = {"batch": batch, "prompt": prompt, "output": output}
    axes = [_axis(values, f"--{name}") for name, values in sizes.items()]
    largest = {name: int(axis.max()) for name, axis in zip(sizes, axes, strict=True)}
    asked: dict[str, Any] = {**options, **largest, "must_fit": False}
    plan = estimate(model, gpu, **asked).plan
    split = {name: getattr(plan, name) for name in ("tp", "pp", "dp", "ep", "cp", "replicas")}
    fixed = {**options, **split, "gpu_count": None, "prune": None, "must_fit": False}
    for rows, columns in _blocks(len(axes[0]), len(axes[1]), len(axes[2])):
        answer = estimate(
            plan.model,
            plan.gpu,
            batch=axes[0][rows, None, None],
            prompt=axes[1][None, columns, None],
            output=axes[2][None, None, :],
            **fixed,
        )
        yield estimate_table(answer, breakdown)


def around(answer: Estimate, batch: Sequence[int], prompt: Sequence[int], output: Sequence[int]) -> Estimate:
    """The same deployment at every combination of these sizes, whose every figure is an array of three axes."""
    sizes = {"batch": batch, "prompt": prompt, "output": output}
    axes = [_axis(values, name) for name, values in sizes.items()]
    sides = {"batch": (-1, 1, 1), "prompt": (1, -1, 1), "output": (1, 1, -1)}
    work = replace(
        answer.work,
        **{name: axis.reshape(shape) for (name, shape), axis in zip(sides.items(), axes, strict=True)},
    )
    return replace(answer, work=work, memory=memory(answer.plan, work), latency=latency(answer.plan, work))


def _axis(values: Sequence[int], use: str) -> Any:
    """One axis as a vector of float64, checked as a whole."""
    return np.atleast_1d(np.asarray(whole_number(np.asarray(values), use), dtype=np.float64)).ravel()


def _blocks(batches: int, prompts: int, outputs: int) -> Iterator[tuple[slice, slice]]:
    """Slices of the first two axes, so that a block holds about BLOCK rows."""
    wide = max(1, min(prompts, BLOCK // outputs))
    high = max(1, BLOCK // (outputs * wide))
    for row in range(0, batches, high):
        for column in range(0, prompts, wide):
            yield slice(row, row + high), slice(column, column + wide)


def estimate_table(answer: Estimate, breakdown: bool = False) -> Table:
    """One row a configuration of an Estimate whose sizes are numbers or arrays."""
    figures = _totals(answer)
    if breakdown:
        figures |= _breakdown(answer)
    shape = np.broadcast_shapes(*(np.shape(value) for value in figures.values()))
    return Table({name: np.broadcast_to(value, shape).ravel() for name, value in figures.items()})


def _totals(answer: Estimate) -> dict[str, Number]:
    plan, work, held = answer.plan, answer.work, answer.memory
    figures: dict[str, Number] = {
        "model": plan.model.name,
        "gpu": plan.gpu.name,
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
    if plan.speculation is not None:
        figures["tokens_a_pass"] = plan.speculation.tokens_a_pass
        figures["speedup"] = speedup(plan, work)
    if answer.price_per_hour is not None:
        cost = million_seconds_usd(answer.price_per_hour, plan.gpu_count)
        figures["usd_per_million_tokens"] = cost / figures["tokens_per_s"]
    return figures


def _ends(name: str, time: Time) -> dict[str, Number]:
    return {name: time.expected, f"{name}_bound": time.bound, f"{name}_low": time.low, f"{name}_high": time.high}


def _breakdown(answer: Estimate) -> dict[str, Number]:
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
