"""What if: an answer at every combination of batch, prompt, output and price, computed beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perfmodel.answer import Estimate, Range, million_seconds_usd
from perfmodel.grid import around
from perfmodel.report.figure import Axis, Curve, Looked, WhatIf
from perfmodel.report.sizes import batches, outputs, prompts
from perfmodel.report.traces import si_axis, sizes_axis
from perfmodel.units import show_bytes, show_rate, show_seconds

PRICES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""Of the answer's price."""
MOST = 1200
"""Combinations of sizes at most, so that a page stays small."""


def what_if(answer: Estimate) -> WhatIf:
    """Sliders around `answer`, on its deployment."""
    sizes = _few(batches(answer), prompts(answer), outputs(answer), answer)
    grid = around(answer, *sizes)
    work = answer.work
    own = (int(work.batch), int(work.prompt), int(work.output))
    labels = (("batch", "Sequences at once"), ("prompt", "Tokens in"), ("output", "Tokens out"))
    axes = [
        Axis(name, label, [f"{n:,}" for n in values], values.index(size))
        for (name, label), values, size in zip(labels, sizes, own, strict=True)
    ]
    shape = tuple(map(len, sizes))
    numbers = [
        _looked("Time to first token", grid.ttft_s, show_seconds, shape),
        _looked("Time per token", grid.tpot_s, show_seconds, shape),
        _looked("Tokens/s in all", grid.tokens_per_s, show_rate, shape),
        _used(grid, shape),
    ]
    if answer.price_per_hour:
        found = [answer.price_per_hour * part for part in PRICES]
        axes.append(Axis("price", "USD per GPU and hour", [f"{p:.3g}" for p in found], PRICES.index(1.0)))
        numbers[-1] = _priced(grid, found, shape)
    fits = [bool(one) for one in _flat(grid.fits, shape)]
    return WhatIf(
        f"Precomputed: {len(fits):,} combinations on the same {answer.plan.gpu_count} × {answer.plan.gpu.title}; the "
        "sliders snap to them. By keyboard: Tab to a slider, then the arrow keys.",
        axes,
        numbers,
        Looked("", (0, 1, 2), _verdicts(grid, fits, shape), ()),
        fits,
        Curve(
            "Tokens/s in all over the batch, at these lengths",
            (0, 1, 2),
            sizes[0],
            [float(rate) for rate in _flat(grid.tokens_per_s.expected, shape)],
            fits,
            {"xaxis": sizes_axis("sequences at once", sizes[0]), "yaxis": si_axis("tokens/s in all"), "height": 320},
        ),
    )


def _few(batch: list[int], prompt: list[int], output: list[int], answer: Estimate) -> list[list[int]]:
    """The axes, every other size left out of the longest until there are few enough combinations."""
    axes, work = [batch, prompt, output], answer.work
    own = [int(work.batch), int(work.prompt), int(work.output)]
    while len(axes[0]) * len(axes[1]) * len(axes[2]) > MOST:
        i = max(range(3), key=lambda n: len(axes[n]))
        axes[i] = sorted({*axes[i][::2], own[i], axes[i][-1]})
    return axes


def _flat(values: Any, shape: tuple[int, ...]) -> list[Any]:
    import numpy as np

    found: list[Any] = np.broadcast_to(values, shape).ravel().tolist()
    return found


def _looked(label: str, figure: Range, show: Any, shape: tuple[int, ...]) -> Looked:
    low, high = _flat(figure.low, shape), _flat(figure.high, shape)
    notes = [f"80 %: {show(a)} – {show(b)}" for a, b in zip(low, high, strict=True)]
    return Looked(label, (0, 1, 2), [show(value) for value in _flat(figure.expected, shape)], notes)


def _used(grid: Estimate, shape: tuple[int, ...]) -> Looked:
    used, free = _flat(grid.memory.used, shape), _flat(grid.memory.free, shape)
    notes = [f"{show_bytes(size, 3)} a GPU free" if size >= 0 else "more than it has" for size in free]
    return Looked("Memory of a GPU", (0, 1, 2), [show_bytes(size, 3) for size in used], notes)


def _priced(grid: Estimate, prices: Sequence[float], shape: tuple[int, ...]) -> Looked:
    """Cost at every price: the same tokens/s, bought dearer or cheaper."""
    rate = grid.tokens_per_s
    dollars = [million_seconds_usd(price, grid.plan.gpu_count) for price in prices]
    ends = [_flat(end, shape) for end in (rate.expected, rate.high, rate.low)]
    figures, notes = [], []
    for expected, high, low in zip(*ends, strict=True):
        for million in dollars:
            figures.append(f"{show_rate(million / expected)} USD")
            notes.append(f"80 %: {show_rate(million / high)} – {show_rate(million / low)}")
    return Looked("Cost of a million tokens out", (0, 1, 2, 3), figures, notes)


def _verdicts(grid: Estimate, fits: Sequence[bool], shape: tuple[int, ...]) -> list[str]:
    capacity = show_bytes(grid.memory.capacity)
    return [
        f"Fits: {show_bytes(used)} of {capacity} a GPU."
        if good
        else f"Does not fit: needs {show_bytes(used)} a GPU, has {capacity}; the numbers are as if it did."
        for used, good in zip(_flat(grid.memory.used, shape), fits, strict=True)
    ]
