"""The roofs of a device: FLOP/s against FLOP per byte (Williams et al. 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perfmodel.gpu import GPU
from perfmodel.report.traces import line, named
from perfmodel.report.words import listed
from perfmodel.roofline import ridge
from perfmodel.units import show_bytes_per_s, show_flops_per_s


def roofs(device: str, gpu: GPU, formats: Sequence[str], low: float, high: float) -> list[dict[str, Any]]:
    """A roof for each format, from one intensity (FLOP per byte) to another."""
    return [_roof(device, gpu, name, low, high) for name in formats]


def _roof(device: str, gpu: GPU, number_format: str, low: float, high: float) -> dict[str, Any]:
    peak, knee = gpu.peak(number_format), ridge(gpu, number_format)
    ends = sorted({low, min(max(knee, low), high), high})
    at = [(x, min(x * gpu.memory_bandwidth, peak)) for x in ends]
    trace = line(f"roof: {device}, {number_format}", at)
    labels = {"mode": "lines+text", "text": [""] * (len(at) - 1) + [named(number_format)], "textposition": "top left"}
    return trace | labels | {"hoverinfo": "name"}


def roofs_told(device: str, gpu: GPU, formats: Sequence[str]) -> str:
    """Their figures in words, by datasheet."""
    peaks = listed([f"{show_flops_per_s(gpu.peak(name))} in {name}" for name in formats])
    return f"{peaks} and {show_bytes_per_s(gpu.memory_bandwidth)} of {device}"
