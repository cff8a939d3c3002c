"""Op → bound: the least time that physics allows (Williams et al. 2009)."""

from __future__ import annotations

from functools import reduce

from perfmodel.arithmetic import Number, maximum
from perfmodel.collectives import Leg, by_node, least_sent_bytes
from perfmodel.errors import RequestError
from perfmodel.gpu import GPU, Link, Network
from perfmodel.op import Op


def peak_of(op: Op, gpu: GPU, half_sums: bool = False) -> float:
    """The dense peak that an op's arithmetic has; with `half_sums` 16-bit products are summed in 16 bits."""
    if half_sums and op.is_matmul and op.format in ("fp16", "bf16"):
        return gpu.half_sum_peak
    return gpu.peak(op.format)


def bound_s(op: Op, gpu: GPU, half_sums: bool = False) -> Number:
    """Seconds of one repetition at datasheet peaks: the longer of computing and moving bytes.

        max(FLOPs / peak, bytes / bandwidth), or bytes sent / link bandwidth, inside nodes or between them

    Only bytes that must cross device memory count: weights, KV cache, and scores that naive attention spills.
    Other activations may stay on the chip, so that no fused kernel can beat the bound.
    """
    if op.kind == "fused":
        return 0
    if op.kind == "collective":
        times = (least_sent_bytes(op.collective, *leg) / link.bandwidth for link, leg in legs_of(op, gpu))
        return reduce(maximum, times)
    return maximum(op.executed_flops / peak_of(op, gpu, half_sums), op.compulsory_bytes / gpu.memory_bandwidth)


def legs_of(op: Op, gpu: GPU) -> list[tuple[Link | Network, Leg]]:
    """A collective's parts, each with its link: one, or that inside nodes and that between them."""
    link = link_of(op, gpu)
    if isinstance(link, Link) or op.collective == "send":
        return [(link, Leg(op.wire_bytes, op.ranks))]
    inside = max(op.ranks * gpu.domain // op.span, 1)
    near = gpu.link(gpu.domain)
    within, between = by_node(op.collective, op.wire_bytes, op.ranks, inside)
    return [(link, between)] if inside == 1 or near is None else [(near, within), (link, between)]


def link_of(op: Op, gpu: GPU) -> Link | Network:
    """The network a collective must use; RequestError when the device has none that reaches so far."""
    link = gpu.link(op.span)
    if link is None:
        raise RequestError(f"{gpu.name} has no link that joins {op.span} devices.")
    return link


def ridge(gpu: GPU, number_format: str) -> float:
    """FLOP per byte above which a kernel is bound by compute."""
    return gpu.peak(number_format) / gpu.memory_bandwidth
