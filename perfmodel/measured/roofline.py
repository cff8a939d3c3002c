"""What was measured under the roofs of its device: FLOP/s against FLOPs per byte (Williams et al. 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perfmodel.catalog import load_gpu, names
from perfmodel.gpu import GPU
from perfmodel.measured.scores import Point
from perfmodel.measured.told import rate_hover
from perfmodel.report.figure import Plot
from perfmodel.report.roofs import roofs, roofs_told
from perfmodel.report.traces import SYMBOLS, log_axis, markers, thinned
from perfmodel.report.words import listed

MISSING = "No measurement says how many FLOPs and bytes it is of."


def roofline(points: Sequence[Point]) -> tuple[Plot | None, str]:
    """The plot and what to see in it; without a plot, why there is none."""
    found = [p for p in points if p.one.flops and p.one.bytes]
    if not found:
        return None, MISSING
    drawn = thinned(found)
    at = [(intensity(p), rate(p)) for p in drawn]
    traces: list[dict[str, Any]] = []
    devices, groups = (list(dict.fromkeys(p.column(name) for p in found)) for name in ("device", "group"))
    for mark, device in enumerate(devices):
        for colour, group in enumerate(groups):
            some = [i for i, p in enumerate(drawn) if (p.column("device"), p.column("group")) == (device, group)]
            if some:
                name = f"{group}, {device}" if len(devices) > 1 else group
                texts = [rate_hover(drawn[i]) for i in some]
                traces.append(markers(name, colour, [at[i] for i in some], texts, SYMBOLS[mark % len(SYMBOLS)]))
    low, high = min(x for x, _ in at) / 2, max(x for x, _ in at) * 2
    slopes, told = _roofs(found, low, high)
    axes = {"xaxis": log_axis("FLOP per byte", [low, high]), "yaxis": log_axis("FLOP/s", [y for _, y in at])}
    layout = axes | {"height": 480 + 18 * len(traces)}  # the legend has its own lines
    return Plot("Roofline with what was measured", slopes + traces, layout, len(drawn), len(found)), told


def intensity(point: Point) -> float:
    """FLOP per byte of a point that says both."""
    assert point.one.flops
    assert point.one.bytes
    return point.one.flops / point.one.bytes


def rate(point: Point) -> float:
    """FLOP/s that a point reached."""
    assert point.one.flops
    return point.one.flops / point.one.value


def _roofs(found: Sequence[Point], low: float, high: float) -> tuple[list[dict[str, Any]], str]:
    """The roofs of every device of the catalog, and a caption that names them, and devices without."""
    devices = {p.of.device.name: p.of.device.gpu for p in found}
    known = {name: gpu for name, gpu in ((name, _gpu(gpu)) for name, gpu in devices.items()) if gpu}
    traces, words = [], []
    for name, gpu in known.items():
        formats = _formats(gpu, [p for p in found if p.of.device.name == name])
        traces += roofs(name, gpu, formats, low, high)
        words.append(roofs_told(name, gpu, formats))
    caption = (
        "A point under the slope waits for memory, under the flat for arithmetic; how far it lies below is what "
        "a kernel loses. "
    )
    caption += f"Roofs, by datasheet: {listed(words)}. " if words else ""
    if bare := [name for name in devices if name not in known]:
        caption += f"The catalog has no roofs of {listed(bare)}. "
    return traces, caption + "A point above the slope had its bytes in a cache."


def _gpu(name: str | None) -> GPU | None:
    """A device of the catalog by its very name: results come from anywhere, and are not to lead to other files."""
    return load_gpu(name) if name and name in names("gpu") else None


def _formats(gpu: GPU, found: Sequence[Point]) -> list[str]:
    """Formats of the points that the device computes in; the first 16-bit one, or what there is, otherwise."""
    asked = dict.fromkeys(p.column("format") or p.column("weights") for p in found)
    known = [name for name in asked if name in gpu.peak_flops]
    return known or [next((f for f in ("bf16", "fp16", "fp32") if f in gpu.peak_flops), "vector")]
