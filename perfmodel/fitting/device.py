"""One's own device: kernels measured on it → the constants of its file, and a spec of it where the catalog has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from perfmodel.fitting import attention, gemm
from perfmodel.fitting.fit import SHARE, Errors, Start, fitted, four_digits, held_out
from perfmodel.fitting.write import Fitted
from perfmodel.gpu import GPU
from perfmodel.kernels.attention import Decode, Prefill, Queries
from perfmodel.kernels.collective import Collective, ring_s
from perfmodel.kernels.gemm import Gemm
from perfmodel.measured.measurements import KernelMeasurement, Predicted

LIBRARY = "torch"
"""Whose kernels they are, in `calibration:` blocks."""
FEWEST = 12
"""Measurements that a kernel's constants need at least."""
KEPT = {name: gemm.FORMATS[name] for name in ("bf16", "fp8", "w8", "w4")} | {
    "fp16": gemm.Kept("float16", 2, "fp16", quantizes=False),
    "fp32": gemm.Kept("float32", 4, "fp32", quantizes=False, stream=4),
}
"""Formats of products → bytes of a weight, and what computes."""
PACKING = {"packing": Start(0.1, pull=15)}
PREFILL = {
    "launch_s": Start(1e-5, pull=15),
    "compute": Start(0.5, SHARE, 15),
    "tile_s": Start(1e-6, pull=15),
    "tail": Start(0.3, SHARE, 15),
    "memory": Start(0.7, SHARE, 15),
    "softmax": Start(30.0, pull=5),
}
DECODE = {
    "launch_s": Start(1e-5, pull=15),
    "chunk_s": Start(5e-7, pull=15),
    "memory": Start(0.7, SHARE, 15),
    "compute": Start(0.3, SHARE, 15),
    "unit_s": Start(2e-6, pull=15),
    "exposed": Start(0.2, SHARE, 15),
}


RING = {
    "start_s": Start(1e-5, pull=15),
    "step_s": Start(1e-6, pull=15),
    "share": Start(0.7, SHARE, 15),
    "fill_s": Start(2e-5, pull=5),
}


def kernel_fits(found: Sequence[KernelMeasurement], gpu: GPU, data: str, version: str) -> Iterator[Fitted]:
    """The constants of every kernel and format that was measured often enough, with errors on shapes not fitted."""
    for kernel, kind in FITS.items():
        for number_format in dict.fromkeys(one.format for one in found if one.kernel == kernel):
            mine = [one for one in found if (one.kernel, one.format) == (kernel, number_format)]
            if len(mine) >= kind.fewest and kind.runs_on(gpu):
                constants, errors = kind.fit(gpu, number_format, mine)
                key = kind.key(gpu, number_format, mine)
                yield Fitted(
                    gpu.name, LIBRARY, kernel, key, constants, data, version, len(mine), errors.median, errors.p90
                )


def products(gpu: GPU, number_format: str, found: Sequence[KernelMeasurement]) -> tuple[dict[str, float], Errors]:
    """Constants of matrix products, and their errors on matrices that a fit had not seen."""
    whole = gemm_rows(gpu, number_format, found)
    start = gemm.START | (gemm.QUANTIZE if whole.kept.quantizes else {})
    start |= PACKING if gpu.architecture == "CPU" else gemm.THROTTLE

    def constants_of(rows: gemm.Rows) -> dict[str, float]:
        return fitted(rows.predicted, rows.seconds, start)

    errors = _errors(whole, held_out(whole.keys), constants_of)
    return four_digits(Gemm, asdict(Gemm(**constants_of(whole)))), errors


def gemm_rows(gpu: GPU, number_format: str, found: Sequence[KernelMeasurement]) -> gemm.Rows:
    m, n, k = (np.array([one.shape[name] for one in found]) for name in ("rows", "columns", "depth"))
    seconds = np.array([one.value for one in found])
    return gemm.Rows(gpu, KEPT[number_format], m, n, k, np.full(len(m), np.inf), seconds, np.zeros(len(m)))


def prompts(gpu: GPU, number_format: str, found: Sequence[KernelMeasurement]) -> tuple[dict[str, float], Errors]:
    """Constants of attention over whole prompts; the tile is the one that serves best."""
    whole = attention_rows("prefill", gpu, number_format, found)

    def constants_of(rows: attention.Rows) -> dict[str, float]:
        tried = [_at_tile(rows, tile) for tile in attention.TILES]
        return min(tried, key=lambda c: float(np.abs(np.log(rows.predicted(c) / rows.seconds)).mean()))

    errors = _errors(whole, held_out(whole.keys), constants_of)
    return four_digits(Prefill, asdict(Prefill(**constants_of(whole)))), errors


def _at_tile(rows: attention.Rows, tile: float) -> dict[str, float]:
    return fitted(lambda c: rows.predicted({**c, "tile": tile}), rows.seconds, PREFILL) | {"tile": tile}


def steps(gpu: GPU, number_format: str, found: Sequence[KernelMeasurement]) -> tuple[dict[str, float], Errors]:
    """Constants of attention of one new token a sequence."""
    whole = attention_rows("decode", gpu, number_format, found)

    def constants_of(rows: attention.Rows) -> dict[str, float]:
        return fitted(rows.predicted, rows.seconds, DECODE)

    errors = _errors(whole, held_out(whole.keys), constants_of)
    return four_digits(Decode, asdict(Decode(**constants_of(whole)))), errors


def talks(gpu: GPU, operation: str, found: Sequence[KernelMeasurement]) -> tuple[dict[str, float], Errors]:
    """Constants of a collective among all devices of this host."""
    size, ranks = (np.array([one.shape[name] for one in found]) for name in ("bytes", "ranks"))
    whole = Talks(gpu, operation, size, ranks, np.array([one.value for one in found]))

    def constants_of(rows: Talks) -> dict[str, float]:
        return fitted(rows.predicted, rows.seconds, RING)

    errors = _errors(whole, held_out(whole.size.tolist()), constants_of)
    return four_digits(Collective, asdict(Collective(**constants_of(whole)))), errors


@dataclass(frozen=True)
class Talks:
    """Calls of one collective, as arrays: bytes of the whole tensor, ranks, seconds."""

    gpu: GPU
    operation: str
    size: Any
    ranks: Any
    seconds: Any

    def part(self, mask: Any) -> Talks:
        return replace(self, size=self.size[mask], ranks=self.ranks[mask], seconds=self.seconds[mask])

    def predicted(self, constants: Mapping[str, float]) -> Any:
        link = self.gpu.link(int(self.ranks[0]))
        assert link is not None
        c = Collective(**constants)
        calls = zip(self.size, self.ranks, strict=True)
        return np.array([ring_s(self.operation, size, int(n), link.bandwidth, c) for size, n in calls], dtype=float)


def _talk(gpu: GPU, operation: str, found: Sequence[KernelMeasurement]) -> str:
    """The key under which constants of a collective stand: its kind of link, its name, its devices."""
    ranks = int(found[0].shape["ranks"])
    link = gpu.link(ranks)
    return f"{link.name.split()[0] if link else 'any'} {operation} {ranks}"


def attention_rows(kernel: str, gpu: GPU, number_format: str, found: Sequence[KernelMeasurement]) -> attention.Rows:
    names = ("sequences", "tokens", "context", "heads", "kv_heads", "head_size")
    b, t, s, n, k, h = (np.array([one.shape.get(name, np.nan) for one in found]) for name in names)
    t, s = (t, t) if kernel == "prefill" else (np.ones_like(s), s)
    seconds = np.array([one.value for one in found])
    return attention.Rows(gpu, kernel, number_format, Queries(b, t, s, s, n, k, h), seconds)


def _errors(whole: Any, kept: Any, constants_of: Any) -> Errors:
    """Of the rows that are `kept` from a fit to all others; of all where there are too few to keep any."""
    if not kept.any() or kept.all():
        return Errors.of(whole.predicted(constants_of(whole)), whole.seconds)
    tested = whole.part(kept)
    return Errors.of(tested.predicted(constants_of(whole.part(~kept))), tested.seconds)


def _by_format(gpu: GPU, number_format: str, found: Sequence[KernelMeasurement]) -> str:
    return number_format


def _by_width(gpu: GPU, number_format: str, found: Sequence[KernelMeasurement]) -> str:
    """Attention's constants are told apart by the width of what it reads alone."""
    return number_format if number_format == "fp32" else "bf16"


class Kind(NamedTuple):
    """How constants of a kind of kernel are fitted.

    fit      (device, format, measurements) → constants and errors
    key      under what they stand in a `calibration:` block
    fewest   measurements that they need at least
    runs_on  whether a device has such kernels
    rows     measurements as arrays that predict themselves; None where they are not told beside their constants
    """

    fit: Callable[[GPU, str, Sequence[KernelMeasurement]], tuple[dict[str, float], Errors]]
    key: Callable[[GPU, str, Sequence[KernelMeasurement]], str] = _by_width
    fewest: int = FEWEST
    runs_on: Callable[[GPU], bool] = lambda gpu: True
    rows: Callable[[GPU, str, Sequence[KernelMeasurement]], Any] | None = None


FITS = {
    "gemm": Kind(products, _by_format, rows=gemm_rows),
    "prefill": Kind(prompts, rows=partial(attention_rows, "prefill")),
    "decode": Kind(steps, rows=partial(attention_rows, "decode")),
    "decode-mha": Kind(steps, rows=partial(attention_rows, "decode-mha")),
    "collective": Kind(talks, _talk, fewest=6, runs_on=lambda gpu: gpu.domain > 1),
}


def fitted_to(found: Sequence[KernelMeasurement], gpu: GPU) -> list[KernelMeasurement]:
    """Measurements of one kernel and format, each with what the constants of `gpu`'s own file say of it."""
    kernel, number_format = found[0].kernel, found[0].format
    block = gpu.calibration.get(LIBRARY)
    entry = block.kernels.get(kernel, {}).get(number_format) if block is not None else None
    rows_of = FITS[kernel].rows if kernel in FITS else None
    if entry is None or rows_of is None:
        return list(found)
    rows = rows_of(gpu, number_format, found)
    wide = 1 + entry.fit.p90
    told = [Predicted(expected=t, low=t / wide, high=t * wide) for t in rows.predicted(entry.constants).tolist()]
    return [one.model_copy(update={"predicted": p}) for one, p in zip(found, told, strict=True)]


# ── a device that the catalog does not know ──────────────────────────────────────────────────────

ABOVE = 1.05
"""Peaks over the best that was measured: the very best is seldom among so many shapes."""
STREAMING = ("read", "copy")
FILLED = 2
"""Caches that a stretch must fill for its rate to be that of memory."""


def peaks(found: Sequence[KernelMeasurement], cache_bytes: float) -> tuple[dict[str, float], float]:
    """FLOP/s by format, and bytes/s of memory: the best that was measured, and a little more."""
    flops: dict[str, float] = {}
    rates = [0.0]
    for one in found:
        s = one.shape
        if one.kernel == "gemm":
            work, kept = 2 * s["rows"] * s["columns"] * s["depth"], KEPT[one.format]
            flops[kept.computes] = max(flops.get(kept.computes, 0.0), work / one.low)
            weights = s["columns"] * s["depth"] * kept.weight
            rates += [weights / one.low] if weights > FILLED * cache_bytes else []
        elif one.kernel in STREAMING and s["bytes"] > FILLED * cache_bytes:
            rates.append(s["bytes"] * (2 if one.kernel == "copy" else 1) / one.low)
    return {name: ABOVE * value for name, value in flops.items()}, ABOVE * max(rates)


def spec_text(name: str, facts: Mapping[str, Any], flops: Mapping[str, float], bandwidth: float, told: str) -> str:
    """The YAML of a new device: what its driver says, and peaks as measured."""
    import json

    memory = int(facts["memory_bytes"])
    lines = [
        f"title: {json.dumps(str(facts['name']), ensure_ascii=False)}",
        f"vendor: {json.dumps(str(facts['name']).split()[0], ensure_ascii=False)}",
        f"architecture: {facts['architecture']}",
        f"memory: {memory / 2**20:.2f} MiB",
        f"memory_sold: {memory / 2**20:.2f} MiB",
        f"memory_bandwidth: {bandwidth / 1e9:.4g} GB/s",
        "peak_flops:",
        *(f"  {number_format}: {value / 1e12:.4g} TFLOP/s" for number_format, value in flops.items()),
        f"compute_units: {facts['compute_units']}",
        *([f"boost_clock: {facts['clock_hz'] / 1e6:.0f} MHz"] if facts.get("clock_hz") else []),
        *([f"l2_cache: {facts['cache_bytes'] / 2**20:.2f} MiB"] if facts.get("cache_bytes") else []),
        "notes:",
        "  - Peaks and bandwidth are the best that was measured here, and 5 % more; no datasheet was asked.",
        "sources:",
        f"  - title: {json.dumps(told, ensure_ascii=False)}",
        "    figures: [memory, memory_bandwidth, peak_flops, compute_units]",
    ]
    return "\n".join(lines) + "\n"
