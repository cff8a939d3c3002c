"""The walk: tensor shapes, FLOPs and bytes of each step, in the order in which they run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from perfmodel.answer import Estimate
from perfmodel.batch import Batch
from perfmodel.batching import prefill_passes, whole_prefill
from perfmodel.collectives import sent_bytes
from perfmodel.deployment import Deployment
from perfmodel.explain.lettered import lettered, lettered_batch
from perfmodel.explain.text import prose, shape_lines, table
from perfmodel.forward import block_ops, context_of, forward
from perfmodel.op import Op, Totals, totals
from perfmodel.roofline import ridge
from perfmodel.units import show_bytes, show_flops


def batch_of(answer: Estimate, phase: str) -> Batch:
    """What the prefill, or the first decode step, is given."""
    return whole_prefill(answer.plan, answer.work) if phase == "prefill" else answer.first_step()


def lettered_ops(answer: Estimate, phase: str) -> list[Op]:
    """The ops of a phase on one device of each stage, every size a `Traced` number."""
    return forward(lettered(answer.plan), lettered_batch(batch_of(answer, phase)))


def steps(answer: Estimate, phase: str) -> list[tuple[Op, Op]]:
    """Each different op, in letters and plain; what several stages or blocks do alike is one, with all repeats."""
    plain = forward(answer.plan, batch_of(answer, phase))
    alike: dict[Op, tuple[Op, int]] = {}
    for named, op in zip(lettered_ops(answer, phase), plain, strict=True):
        key = replace(op, repeat=1)
        first, count = alike.get(key, (named, 0))
        alike[key] = (first, count + op.repeat)
    return [(named, replace(op, repeat=count)) for op, (named, count) in alike.items()]


def walk_lines(answer: Estimate, phase: str) -> list[str]:
    """Shapes of each step, then its work, then the sums of a layer and of the pass."""
    walked = steps(answer, phase)
    lines = [prose(_told(answer, phase)), "", "Shapes: what goes in → what comes out, in letters and in numbers."]
    for named, _ in walked:
        if named.inputs:
            lines += shape_lines(named.name, named.inputs, named.output)
    return [*lines, "", "Work of one repetition:", work_table([op for _, op in walked]), "", *sum_lines(answer, phase)]


def _told(answer: Estimate, phase: str) -> str:
    plan = answer.plan
    told = "All prompts at once: T new tokens of each of B sequences, and nothing in the cache yet."
    if plan.model.bidirectional:
        return _denoised(plan, phase)
    if phase == "prefill" and (count := prefill_passes(plan, answer.work).count) > 1:
        told += f" The engine cuts this into {count:,} passes; here they stand as one."
    if phase == "decode":
        told = "One new token of each of B sequences; keys and values of the S tokens before it are in the cache."
    if phase == "decode" and not plan.cache:
        told = "No cache is kept: the step computes the whole sequence again, T tokens of prompt and output so far."
    if phase == "decode" and plan.speculation is not None:
        told = (
            "The pass that verifies: T tokens of each of B sequences, all but the first guessed, after S in the cache."
        )
    if plan.tp > 1:
        told += (
            f" Shapes and figures are of one GPU, which has 1/tp of the heads and columns of a layer, tp = {plan.tp}."
        )
    if plan.pp > 1:
        told += f" The layers are spread over pp = {plan.pp} stages; × counts them all."
    return told


def _denoised(plan: Deployment, phase: str) -> str:
    if phase == "prefill" or not plan.cache:
        return "A denoising pass over prompt and output, T tokens of each of B sequences; every token sees every other."
    return "A denoising pass over one block of T tokens; keys and values of the S other tokens are kept."


def work_table(ops: list[Op]) -> str:
    """One row a step: what it computes, reads and writes."""
    columns: dict[str, list[Any]] = {
        "step": [op.name for op in ops],
        "FLOPs": [show_flops(op.flops) if op.flops else "" for op in ops],
        "weights": [_bytes(op.weight_bytes) for op in ops],
        "KV cache": [_cache(op) for op in ops],
        "activations": [_bytes(op.activation_bytes + op.spilled_bytes) for op in ops],
        "sends": [_bytes(_sent(op)) for op in ops],
        "FLOP/byte": [float(op.arithmetic_intensity) if op.bytes else None for op in ops],
        "×": [op.repeat for op in ops],
    }
    return table(columns)


def sum_lines(answer: Estimate, phase: str) -> list[str]:
    """Sums of a layer and of the pass, and on which side of the ridge the pass lies."""
    plan, batch = answer.plan, batch_of(answer, phase)
    counted = answer.prefill if phase == "prefill" else answer.decode
    context = context_of(plan, batch)
    kinds = list(dict.fromkeys(block.model_copy(update={"repeat": 1}) for block in plan.model.blocks))
    sums = {f"one layer{f', kind {i}' if len(kinds) > 1 else ''}": block_ops(plan.model, block, context)
            for i, block in enumerate(kinds, 1)}  # fmt: skip
    each = {name: totals(ops) for name, ops in sums.items()}
    if plan.gpu_count > 1:
        each["a GPU of each stage" if plan.pp > 1 else "the pass, one GPU"] = totals(forward(plan, batch))
        each["the pass, all GPUs"] = counted
    else:
        each["the pass"] = counted
    shared = "What every GPU repeats (norms, residuals) is counted once in the last row." if plan.tp > 1 else ""
    return ["Sums:", sum_table(each), *([shared] if shared else []), *intensity_lines(answer, phase, counted)]


def sum_table(sums: dict[str, Totals]) -> str:
    """One row a sum."""
    rows = list(sums.values())
    return table(
        {
            "": list(sums),
            "FLOPs": [show_flops(t.flops) for t in rows],
            "weights": [_bytes(t.weight_bytes) for t in rows],
            "cache read": [_bytes(t.kv_read_bytes) for t in rows],
            "written": [_bytes(t.kv_write_bytes) for t in rows],
            "activations": [_bytes(t.activation_bytes + t.spilled_bytes) for t in rows],
            "FLOP/byte": [float(t.arithmetic_intensity) if t.bytes else None for t in rows],
        }
    )


def intensity_lines(answer: Estimate, phase: str, counted: Totals) -> list[str]:
    """FLOPs to the last unit, intensity against the ridge, and what the expected time goes on."""
    knee = ridge(answer.plan.gpu, answer.plan.precision.compute)
    fused = counted.flops / counted.compulsory_bytes
    side = "compute" if fused > knee else "memory bandwidth"
    time = answer.latency.ttft if phase == "prefill" else answer.latency.tpot
    name = "TTFT" if phase == "prefill" else "TPOT"
    causal, square = counted.matmul_flops, counted.matmul_flops_full_square
    masked = f" causal, {square:,} with the masked half of attention (the full square)" if square > causal else ""
    must = "weights, cache, scores" if answer.plan.attention == "naive" else "weights, cache"
    return [
        prose(f"Matrix products of the pass: {causal:,} FLOP{masked}."),
        prose(
            f"Intensity: {counted.arithmetic_intensity:.4g} FLOP/byte if every tensor crosses memory, {fused:.4g} if "
            f"only what must does ({must}). The ridge is at {knee:.4g}: the pass as a whole is bound by {side}. "
            f"Most of the expected {name} goes on {time.bound_by}."
        ),
    ]


def _sent(op: Op) -> Any:
    return sent_bytes(op.collective, op.wire_bytes, op.ranks) if op.kind == "collective" else 0


def _bytes(size: Any) -> str:
    return show_bytes(size) if size else ""


def _cache(op: Op) -> str:
    read, written = _bytes(op.kv_read_bytes), _bytes(op.kv_write_bytes)
    return f"R {read}" if read else f"W {written}" if written else ""
