"""Which formats the matrix units of a device take, and what becomes of the others."""

from __future__ import annotations

from typing import NamedTuple

from perfmodel.deployment import precision_for
from perfmodel.errors import RequestError
from perfmodel.gpu import GPU

ASKED: tuple[tuple[str, str | None], ...] = (
    ("fp32", None),
    ("bf16", None),
    ("fp16", None),
    ("fp8", None),
    ("int8", "int8"),
    ("int8", None),
    ("int4", None),
    ("nf4", None),
    ("q4_k_m", None),
    ("mxfp4", None),
    ("nvfp4", None),
)
"""(weights, activations) that are told of every device."""


class Way(NamedTuple):
    """How products of one format of weights run on one device.

    weights, activations   the formats
    way     "native": the matrix units take weights and inputs as they are stored; "widened": weights become 16 bits
            inside the product; "on request": the same, where `--activations` asks for it; "refused": not at all
    compute the peak used, by name; "" where refused
    flops   that peak, FLOP/s; 0 where refused
    """

    weights: str
    activations: str
    way: str
    compute: str
    flops: float


def ways(gpu: GPU) -> list[Way]:
    """How every common format runs on `gpu`."""
    return [way(gpu, weights, activations) for weights, activations in ASKED]


def way(gpu: GPU, weights: str, activations: str | None = None) -> Way:
    """How weights of that format run on `gpu`, fed what they are usually fed."""
    stream = next(name for name in ("bf16", "fp16", "fp32") if name in gpu.peak_flops)
    for asked, told in ((activations, ""), (stream, "on request")):
        try:
            p = precision_for(gpu, weights, activations=asked)
        except RequestError:
            continue
        if weights in ("fp32", "bf16", "fp16") and p.stream.name != weights:
            continue
        if activations and p.activations.name != activations:
            continue
        native = p.weights.computes == p.compute
        return Way(
            weights, p.activations.name, told or ("native" if native else "widened"), p.compute, gpu.peak(p.compute)
        )
    return Way(weights, activations or "", "refused", "", 0.0)
