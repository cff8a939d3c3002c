"""Latent attention: constants of the products that take queries to the latent space and back, from tables of both.

Each head has a matrix of 128 × 512 of its own; rows of all heads count as rows of one product in the form of
`kernels.gemm`. The weights of these tables are warm where L2 holds them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from perfmodel.catalog import load_gpu
from perfmodel.fitting.attention import FEWEST_HEADS, FREE, cleaned
from perfmodel.fitting.fit import SHARE, Case, Errors, Start, fitted, held_out, rests_on
from perfmodel.fitting.tables import DEVICES, LIBRARIES, table
from perfmodel.gpu import GPU
from perfmodel.kernels.gemm import Gemm, gemm_waits

FORM = "mla-product"
WIDE, NARROW = 512.0, 128.0  # of a head's matrix
START = {
    "launch_s": Start(5e-6),
    "compute": Start(0.6, SHARE, FREE),
    "memory": Start(0.8, SHARE, FREE),
    "step_s": Start(5e-8, pull=FREE),
}
QUANTIZE = {"quantize": Start(1.0, pull=FREE)}


@dataclass(frozen=True, slots=True)
class Rows:
    """Calls in one format on one device, as arrays."""

    gpu: GPU
    format: str
    depth: Any
    tokens: Any
    heads: Any
    seconds: Any

    def __len__(self) -> int:
        return len(self.seconds)

    def part(self, mask: Any) -> Rows:
        arrays = ("depth", "tokens", "heads", "seconds")
        return replace(self, **{name: getattr(self, name)[mask] for name in arrays})

    @property
    def held_out(self) -> Any:
        return held_out(list(zip(self.tokens, self.heads, strict=True)))

    @property
    def columns(self) -> Any:
        return WIDE + NARROW - self.depth

    @property
    def flops(self) -> Any:
        return 2 * self.tokens * self.heads * self.depth * self.columns

    @property
    def moved(self) -> Any:
        weights = self.heads * self.depth * self.columns * (1 if self.format == "fp8" else 2)
        return weights + 2 * self.tokens * self.heads * (self.depth + self.columns)

    @property
    def roofline_s(self) -> Any:
        return np.maximum(self.flops / self.gpu.peak(self.format), self.moved / self.gpu.memory_bandwidth)

    def predicted(self, constants: Mapping[str, Any]) -> Any:
        gpu = self.gpu
        sizes = (self.flops, self.moved, self.tokens * self.heads, self.columns, self.depth)
        return gemm_waits(
            *sizes, gpu.peak(self.format), gpu.memory_bandwidth, gpu.compute_units, Gemm(**constants)
        ).total


def rows(device: str) -> Iterator[tuple[str, str, Rows]]:
    """(library, version, rows) of every table and format of a device."""
    gpu = load_gpu(DEVICES[device])
    for library in LIBRARIES:
        measured = table(device, "mla_bmm", library, "mla_bmm_perf")
        if measured is None:
            continue
        version, frame = measured
        for computes, part in frame[frame["num_heads"] >= FEWEST_HEADS].groupby("bmm_dtype"):
            number_format = {"bfloat16": "bf16"}.get(str(computes), str(computes))
            if number_format in gpu.peak_flops:
                tokens, heads, seconds = (part[name].to_numpy(float) for name in ("num_tokens", "num_heads", "seconds"))
                depth = np.where(part["op_name"] == "mla_gen_pre", NARROW, WIDE)
                yield library, version, Rows(gpu, number_format, depth, tokens, heads, seconds)


def fits(device: str) -> dict[str, dict[str, dict[str, Any]]]:
    """library → "mla-product format" → constants of all rows, and their errors on sizes that a fit had not seen."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for library, version, whole in rows(device):
        start = START | (QUANTIZE if whole.format == "fp8" else {})
        kept = whole.held_out
        tested = whole.part(kept)
        trained = fitted(whole.predicted, whole.seconds, start, weights=~kept)
        errors = Errors.of(tested.predicted(trained), tested.seconds)
        constants = cleaned(fitted(whole.predicted, whole.seconds, start))
        found.setdefault(library, {})[f"{FORM} {whole.format}"] = constants | rests_on(version, len(whole), errors)
    return found


def cases(device: str) -> Iterator[Case]:
    """Every table of a device: the rows that `fits` tells its errors on."""
    for library, version, whole in rows(device):
        yield Case.of(library, FORM, whole.format, version, whole.part(whole.held_out))
