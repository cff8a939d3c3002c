"""Every op of prefill and decode under the roofs of its device."""

from __future__ import annotations

from collections.abc import Sequence

from perfmodel.achieved import Achieved
from perfmodel.answer import Estimate
from perfmodel.report.figure import Figure, Plot
from perfmodel.report.roofs import roofs, roofs_told
from perfmodel.report.traces import log_axis, markers, said
from perfmodel.report.words import capital, listed, share
from perfmodel.roofline import ridge
from perfmodel.table import Table
from perfmodel.units import show_bytes, show_flops, show_flops_per_s, show_seconds

PHASES = {"prefill": ("circle", 0), "decode": ("diamond", 1)}
SMALLEST, LARGEST = 6, 26
"""Pixels of a mark whose op takes no time, and of one that takes all of its phase."""


def roofline(answer: Estimate, phases: dict[str, list[Achieved]]) -> Figure:
    """The figure; `phases` are the ops of each (perfmodel.achieved)."""
    gpu = answer.plan.gpu
    drawn = {phase: [op for op in ops if op.flops and op.bytes and op.seconds] for phase, ops in phases.items()}
    points = [op for ops in drawn.values() for op in ops]
    formats = list(dict.fromkeys(op.format for op in points if op.format in gpu.peak_flops))
    low, high = min(op.intensity for op in points) / 2, max(op.intensity for op in points) * 2
    traces = roofs(gpu.title, gpu, formats, low, high)
    for phase, ops in drawn.items():
        symbol, colour = PHASES[phase]
        total = sum(op.seconds for op in phases[phase])
        parts = [op.seconds / total for op in ops]
        sizes = [round(SMALLEST + (LARGEST - SMALLEST) * part**0.5, 1) for part in parts]
        texts = [said(told(phase, op, part)) for op, part in zip(ops, parts, strict=True)]
        traces.append(markers(phase, colour, [(op.intensity, op.rate) for op in ops], texts, symbol, sizes))
    rates = [op.rate for op in points] + [gpu.peak(name) for name in formats]
    layout = {"xaxis": log_axis("FLOP per byte", [low, high]), "yaxis": log_axis("FLOP/s", rates), "height": 520}
    plot = Plot("Roofline of every op", traces, layout)
    return Figure(
        "roofline", "Roofline: every op of prefill and decode", _caption(answer, phases), [plot], table(phases)
    )


def told(phase: str, op: Achieved, part: float) -> list[str]:
    """What a point says of itself."""
    return [
        f"{op.name} ({phase}, × {op.repeat})",
        f"{show_flops(op.flops)}, {show_bytes(op.bytes)}: {op.intensity:.4g} FLOP per byte",
        f"{show_seconds(op.seconds)}, {share(part)} of the phase's ops; bound {show_seconds(op.bound_s)}",
        f"{show_flops_per_s(op.rate)} while it runs",
    ]


def _caption(answer: Estimate, phases: dict[str, list[Achieved]]) -> str:
    gpu, compute = answer.plan.gpu, answer.plan.precision.compute
    knee = ridge(gpu, compute)
    said_of = [_weight(phase, ops, knee) for phase, ops in phases.items()]
    formats = list(dict.fromkeys(op.format for ops in phases.values() for op in ops if op.format in gpu.peak_flops))
    told = roofs_told(gpu.title, gpu, formats)
    return (
        f"{capital(listed(said_of))}. Left of the ridge at {knee:.0f} FLOP per byte an op waits for memory, right of "
        "it for arithmetic; how far it lies below its roof is what a kernel loses, and its size is its share of the "
        f"time. Roofs, by datasheet: {told}. An op above the slope keeps inputs on the chip."
    )


def _weight(phase: str, ops: Sequence[Achieved], knee: float) -> str:
    """ "96 % of the time of decode's ops lies left of the ridge"."""
    timed = [op for op in ops if op.flops and op.bytes]
    total = sum(op.seconds for op in timed) or 1
    left = sum(op.seconds for op in timed if op.intensity < knee) / total
    side, part = ("left", left) if left >= 0.5 else ("right", 1 - left)
    return f"{share(part)} of the time of {phase}'s ops lies {side} of the ridge"


def table(phases: dict[str, list[Achieved]]) -> Table:
    """Every op with its counts and times."""
    rows = [(phase, op) for phase, ops in phases.items() for op in ops]
    totals = {phase: sum(op.seconds for op in ops) or 1 for phase, ops in phases.items()}
    return Table(
        {
            "phase": [phase for phase, _ in rows],
            "op": [op.name for _, op in rows],
            "times": [op.repeat for _, op in rows],
            "FLOPs of a GPU": [show_flops(op.flops) if op.flops else "" for _, op in rows],
            "bytes": [show_bytes(op.bytes) if op.bytes else "" for _, op in rows],
            "FLOP per byte": [op.intensity if op.bytes else None for _, op in rows],
            "sent": [show_bytes(op.wire_bytes) if op.wire_bytes else "" for _, op in rows],
            "bound": [show_seconds(op.bound_s) if op.bound_s else "" for _, op in rows],
            "expected": [show_seconds(op.seconds) if op.seconds else "" for _, op in rows],
            "share": [share(op.seconds / totals[phase]) for phase, op in rows],
        }
    )
