"""Op → expected seconds: the only place where efficiency is applied.

Each kernel costs its launch and the 2-norm of what it waits for: √(compute² + memory² + …). The norm is the
smooth form of the roofline's max: equal to it far from the ridge, up to √2 longer on it, where real kernels
overlap imperfectly.
"""

from __future__ import annotations

from typing import NamedTuple

from perfmodel.arithmetic import Number, log2, minimum, norm
from perfmodel.calibration import Constants, link_constants
from perfmodel.collectives import sent_bytes
from perfmodel.gpu import GPU
from perfmodel.op import Op
from perfmodel.roofline import link_of

NARROW = ("fp8", "int8", "fp4")  # formats whose peak has its own share


class Waits(NamedTuple):
    """What one kernel waits for, in seconds, each as if it were alone."""

    compute: Number = 0
    bandwidth: Number = 0
    link: Number = 0
    overhead: Number = 0

    @property
    def total(self) -> Number:
        """Expected seconds: overhead, and the 2-norm of the rest."""
        return self.overhead + self.link + norm(self.compute, self.bandwidth)


def expected_waits(op: Op, gpu: GPU, c: Constants) -> Waits:
    """What one repetition of `op` waits for on `gpu`."""
    return _KERNELS[op.kind](op, gpu, c)


def expected_s(op: Op, gpu: GPU, c: Constants) -> Number:
    """Expected seconds of one repetition."""
    return expected_waits(op, gpu, c).total


def _gemm(op: Op, gpu: GPU, c: Constants) -> Waits:
    """launch, and ‖FLOPs/(share·peak), bytes/(share·bandwidth), serial steps along the inner dimension‖₂."""
    share = c.compute_8bit if op.format in NARROW else c.compute
    moving = op.bytes / (c.memory * gpu.memory_bandwidth)
    serial = op.depth / 64 * c.serial_s
    computing = op.executed_flops / (share * gpu.peak(op.format))
    return Waits(computing, norm(moving, serial), overhead=op.launches * c.launch_s)


def _attention(op: Op, gpu: GPU, c: Constants) -> Waits:
    """launch, and ‖FLOPs/(share·peak), bytes/(share·bandwidth)‖₂."""
    computing = op.executed_flops / (c.attention_compute * gpu.peak(op.format))
    moving = op.bytes / (c.attention_memory * gpu.memory_bandwidth)
    return Waits(computing, moving, overhead=op.launches * c.attention_launch_s)


def _fused(op: Op, gpu: GPU, c: Constants) -> Waits:
    return Waits()


def _elementwise(op: Op, gpu: GPU, c: Constants) -> Waits:
    """What fusion leaves of the traffic; launches are in the engine's time a layer."""
    moving = (op.compulsory_bytes + c.fusion * op.activation_bytes) / (c.memory * gpu.memory_bandwidth)
    return Waits(op.executed_flops / gpu.peak("vector"), moving)


def _collective(op: Op, gpu: GPU, c: Constants) -> Waits:
    """α–β: start + steps, and bytes sent over the share of the link.

    Where every pair has its own path, a small all-reduce takes one step in which each device sends all it has
    to every other: (n − 1)·size instead of 2(n − 1)/n·size, with a shorter start.
    """
    link = link_of(op, gpu)
    k, n = link_constants(link.name), op.ranks
    wire = k.share * link.bandwidth
    ring = k.start_s + k.rank_s * (n - 1) + sent_bytes(op.collective, op.wire_bytes, n) / wire
    if k.one_step_s is None or op.collective != "all-reduce":
        return Waits(link=ring)
    one_step = k.one_step_s * (1 + 0.1 * log2(n)) + (n - 1) * op.wire_bytes / wire
    return Waits(link=minimum(one_step, ring))


_KERNELS = {
    "gemm": _gemm,
    "attention": _attention,
    "scan": _attention,
    "fused": _fused,
    "elementwise": _elementwise,
    "gather": _elementwise,
    "collective": _collective,
}
