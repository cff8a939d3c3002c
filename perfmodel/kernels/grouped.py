"""Grouped products: every expert's rows through its own matrix, in one launch."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.arithmetic import Number
from perfmodel.kernels.waits import Waits


@dataclass(frozen=True, slots=True)
class Grouped:
    """What one library's mixture-of-experts kernels reach on one device, for one format of weights.

    launch_s   a product's launch, and its part of the routing, sorting and summing launched around it
    compute    share of the peak of the format that computes
    memory     share of the bandwidth at which the matrices stream
    padding    rows that every matrix touched computes beside its own: the unfilled part of its last tile
    around     how often the rows cross memory between the products (gathered, quantized, activated, scattered,
               summed), against the product's own reading and writing of them
    """

    launch_s: float
    compute: float
    memory: float
    padding: float = 0.0
    around: float = 0.0


def grouped_waits(
    rows: Number,
    matrices: Number,
    columns: Number,
    depth: Number,
    weight_bytes: Number,
    activation_bytes: Number,
    launches: Number,
    peak: Number,
    bandwidth: Number,
    c: Grouped,
) -> Waits:
    """launch + around + ‖2·(rows + padding·matrices)·columns·depth / (compute·peak), bytes / (memory·bandwidth)‖₂.

        rows      k·M: a token counts once for each expert that it chose (Gale et al. 2023, MegaBlocks, §5)
        matrices  experts with at least one row, whose weights are read: `weight_bytes`
        around    around·activation_bytes / (memory·bandwidth): the passes over the rows before and after the product,
                  the activation among them, so that it needs no time of its own

    Seconds of a fused mixture-of-experts operator are the sum over its products.
    """
    streaming = c.memory * bandwidth
    computing = 2 * (rows + c.padding * matrices) * columns * depth / (c.compute * peak)
    moving = (weight_bytes + activation_bytes) / streaming
    return Waits(computing, moving, overhead=launches * c.launch_s + c.around * activation_bytes / streaming)
