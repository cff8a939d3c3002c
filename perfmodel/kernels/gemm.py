"""Matrix products: rows × depth activations times a depth × columns matrix of weights."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.arithmetic import Number, minimum, norm
from perfmodel.kernels.waits import Waits

STEP = 64  # of the inner dimension: what one block of threads takes in at a time
TILE = 128 * 256  # outputs that a compute unit works on at a time, in large products
OUTPUT_BYTES = 2  # of one output, as kernels write it
QUANTIZED_BYTES = 3  # of one input that is quantized first: two read, one written
QUANTIZED_ROW = 500  # elements whose time each row of such a pass takes on top
HELD = 0.5  # of the L2 cache: what is still in it of inputs that the kernel before wrote, and of outputs
BRIEF_S = 1e-3  # seconds of full load after which power begins to bind


@dataclass(frozen=True, slots=True)
class Gemm:
    """How one library's kernels for products in one format do on one device.

    launch_s    seconds to start, of the product and of the kernel that quantizes its inputs, where there is one
    compute     share of the peak of the matrix units, in large products
    memory      share of the bandwidth
    step_s      seconds that a block takes for one step along the inner dimension, however few rows there are
    tail        how much longer outputs take that fill no whole round of tiles: last rounds, padding
    throttle    how much longer the matrix units take where power binds; one for all formats of a device
    epilogue    how often over outputs are written while nothing else goes on
    quantize    how often over inputs are read in 16 bits and written in 8, to quantize them
    scale_s     seconds more to start the kernels that look for the inputs' scales, where those are dynamic and
                `launch_s` does not have them
    scale       the same of `quantize`
    packing     how often over weights are moved besides, to be laid out for more rows than one (libraries for CPUs)
    """

    launch_s: float
    compute: float
    memory: float
    step_s: float
    tail: float = 0.0
    throttle: float = 0.0
    epilogue: float = 0.0
    quantize: float = 0.0
    scale_s: float = 0.0
    scale: float = 0.0
    packing: float = 0.0


def gemm_waits(
    flops: Number,
    moved_bytes: Number,
    rows: Number,
    columns: Number,
    depth: Number,
    peak: Number,
    bandwidth: Number,
    compute_units: Number,
    c: Gemm,
    dynamic: Number = 0,
    activation_bytes: Number = 0,
    l2_bytes: Number = 0,
) -> Waits:
    """launch + ‖computing, ‖moving, walking‖₂‖₂ + writing + quantizing.

        computing   t·(1 + throttle·t/(t + 1 ms)), t = FLOPs/(compute·peak)·(1 + tail/(1 + outputs/round)): half-empty
                    rounds of tiles weigh less the more rounds there are (tile and wave quantization: NVIDIA, Matrix
                    Multiplication Background), and power binds the more the longer it lasts
        round       a tile of 128 × 256 outputs on every compute unit
        moving      weights and scales, inputs and outputs, once, at memory·bandwidth; of y bytes of inputs and
                    outputs only y²/(y + L2/2), for the L2 cache holds what is small; weights packing times more, where
                    there is more than one row
        walking     step_s·depth/64: a block goes along the inner dimension step by step, each waiting for memory
        writing     epilogue·outputs·2 bytes/bandwidth: nothing hides the end of the last tiles
        quantizing  quantize·rows·(depth + 500)·3 bytes/bandwidth, before the product

    One kernel is one call: columns of products that are launched together (Q, K and V; gate and up) add up.
    `moved_bytes` is all that is moved, `activation_bytes` what of it are inputs and outputs. `dynamic` is 1 where the
    scales of inputs are found in every pass and 0 where they come with the checkpoint. Seconds; fitted to operator
    tables of aiconfigurator-core 0.12.0.
    """
    outputs = rows * columns
    brief = flops / (c.compute * peak) * (1 + c.tail / (1 + outputs / (TILE * compute_units)))
    computing = brief * (1 + c.throttle * brief / (brief + BRIEF_S))
    walking = c.step_s * depth / STEP
    held_bytes = activation_bytes * HELD * l2_bytes / (activation_bytes + HELD * l2_bytes + 1)  # 1: never 0/0
    if c.packing:
        moved_bytes = moved_bytes + c.packing * (moved_bytes - activation_bytes) * minimum(rows - 1, 1)
    moving = norm((moved_bytes - held_bytes) / (c.memory * bandwidth), walking)
    writing = c.epilogue * outputs * OUTPUT_BYTES / bandwidth
    passes = (c.quantize + c.scale * dynamic) * QUANTIZED_BYTES / bandwidth
    quantizing = passes * rows * (depth + QUANTIZED_ROW)
    return Waits(computing, moving, overhead=c.launch_s + c.scale_s * dynamic + writing + quantizing)
