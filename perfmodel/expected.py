"""Op → expected seconds: the only place where efficiency is applied.

Each kernel costs its launch and what it waits for. The formulas stand in `perfmodel.kernels`, one module a kind of
kernel; here an `Op` is handed to the one of its kind, with the device's peaks and the constants that hold for it. Ops
that ride along in another's launch (K and V beside Q, up beside gate, values after scores) are timed as the one
kernel that they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from perfmodel.arithmetic import Number, maximum, minimum, norm
from perfmodel.calibration import Constants
from perfmodel.gpu import GPU
from perfmodel.kernels import Waits
from perfmodel.kernels.attention import Queries, decode_waits, prefill_waits
from perfmodel.kernels.collective import collective_waits
from perfmodel.kernels.flash import VARIANTS, speed, unsplit_s
from perfmodel.kernels.gemm import gemm_waits
from perfmodel.kernels.grouped import grouped_waits
from perfmodel.kernels.scan import scan_waits
from perfmodel.op import Op
from perfmodel.precision import STREAMS, WEIGHT_ONLY
from perfmodel.roofline import legs_of, peak_of

CLOCK = 1.5e9
"""Hz of a device whose clock is not known."""
L2_A_UNIT = 400e3
"""Bytes of L2 cache for each compute unit of a device whose cache is not known."""
MOST = 0.97
"""Share of the peak that no product passes, however much power there is."""
WIDENED_ROWS = 32
"""Rows from which engines widen weights before the product instead of inside it."""


class Launch(NamedTuple):
    """One kernel: all its work as one op, and the ops it consists of."""

    whole: Op
    parts: tuple[Op, ...]


def launches(ops: list[Op]) -> list[Launch]:
    """The kernels that `ops` are launched as, in order."""
    found: list[Launch] = []
    last: dict[str, int] = {}
    for op in ops:
        at = last.get(op.kind)
        if op.launches == 0 and op.kind in ("gemm", "attention") and at is not None:
            whole, parts = found[at]
            found[at] = Launch(_joined(whole, op), (*parts, op))
        else:
            last[op.kind] = len(found)
            found.append(Launch(op, (op,)))
    return found


def _joined(op: Op, rider: Op) -> Op:
    return op.changed(
        flops=op.flops + rider.flops,
        full_square_flops=op.square_flops + rider.square_flops,
        weight_bytes=op.weight_bytes + rider.weight_bytes,
        kv_read_bytes=op.kv_read_bytes + rider.kv_read_bytes,
        kv_write_bytes=op.kv_write_bytes + rider.kv_write_bytes,
        activation_bytes=op.activation_bytes + rider.activation_bytes,
        spilled_bytes=op.spilled_bytes + rider.spilled_bytes,
        columns=op.columns + rider.columns,
        products=op.products + rider.products,
        unpack_flops=op.unpack_flops + rider.unpack_flops,
    )


def seconds_by_name(ops: list[Op], c: Constants) -> dict[str, Number]:
    """Expected seconds of the ops of each name, repeats included; a kernel's go to its parts by their FLOPs."""
    found: dict[str, Number] = {}
    for whole, parts in launches(ops):
        seconds = expected_s(whole, c) * whole.repeat
        for op in parts:
            share = op.flops / whole.flops if len(parts) > 1 else 1
            found[op.name] = found.get(op.name, 0) + seconds * share
    return found


def expected_s(op: Op, c: Constants) -> Number:
    """Expected seconds of one repetition of a kernel."""
    return expected_waits(op, c).total


def expected_waits(op: Op, c: Constants) -> Waits:
    """What one repetition waits for in a running model: the kernel as it was measured, at what models sustain."""
    if op.kind == "fused":
        return Waits()
    if op.kind == "collective":
        return _collective(op, c)
    sustained, costs = c.of("sustained", op.format), c.costs
    waits = _KERNELS[op.kind](op, c)
    waits = waits.at(sustained.compute * costs.compute, sustained.memory * costs.memory, costs.launch)
    # what factors of engine and device make of a kernel stays within what the datasheet allows
    computing = maximum(waits.compute, op.executed_flops / peak_of(op, c.gpu, c.engine.half_sums))
    least = (op.compulsory_bytes - op.copied_bytes) / c.gpu.memory_bandwidth
    waits = waits._replace(compute=computing, bandwidth=maximum(waits.bandwidth, least))
    return _by_the_host(op, waits) if op.outliers else waits


def _product(op: Op, c: Constants) -> Waits:
    """A matrix product, and what its format of weights needs around it."""
    if op.outliers:
        return _in_two(op, c)
    if isinstance(op.widened, int) and op.widened == 0:
        return _multiplied(op, c)
    inside = _multiplied(replace(op, spilled_bytes=0), c)
    return inside.part(1 - op.widened).beside(_widened(op, c).part(op.widened))


def _widened(op: Op, c: Constants) -> Waits:
    """A pass that writes the weights out in 16 bits, and then a 16-bit product of that copy."""
    copy = WORD * op.matrices * op.columns * op.depth
    product = _multiplied(replace(op, weight_bytes=copy, spilled_bytes=0, storage="bf16"), c)
    pass_s = (op.weight_bytes + copy) / (STREAMED * c.gpu.memory_bandwidth)
    launch_s = c.of("gemm", "bf16").launch_s
    return product._replace(alone=pass_s, overhead=product.overhead + op.products * launch_s)


def _in_two(op: Op, c: Constants) -> Waits:
    """LLM.int8() (Dettmers et al. 2022, §3.2): an INT8 product, one in 16 bits of the outliers, and passes around them.

    Inputs are read for the largest of each row, read again and written in 8 bits; sums are written in 32 bits, read
    and written in 16; those of the outliers are read and added (bitsandbytes, MatMul8bitLt).
    """
    inner, stream = op.outliers, next(name for name in STREAMS if name in c.gpu.peak_flops)
    elements = op.matrices * op.columns * op.depth
    main = _multiplied(replace(op, flops=op.flops * (1 - inner)), c)
    wide = replace(op, flops=op.flops * inner, depth=op.depth * inner, weight_bytes=WORD * elements * inner)
    side = _multiplied(replace(wide, format=stream, storage="bf16"), c)
    passed = op.rows * (INPUT_PASSES * op.depth + OUTPUT_PASSES * op.columns)
    side = Waits(alone=passed / (STREAMED * c.gpu.memory_bandwidth), overhead=side.total)
    return main.beside(side)


INPUT_PASSES = 2 + 2 + 1
OUTPUT_PASSES = 4 + 4 + 2 + 2 + 2
"""Bytes that LLM.int8() moves for each input and each output of a product, beside the product's own."""
OUTLIERS_S = 0.5e-3
"""Seconds for which the host holds up each product of LLM.int8(), which columns have outliers being read back to it.

Five rates of transformers and bitsandbytes on RTX 4090D and A800 give 0.45 to 0.59 ms a product, all of a step over its
products (bitsandbytes issue 1867, 2026); reports of 2023 give 0.7, of 2022 1.0.
"""


def _by_the_host(op: Op, waits: Waits) -> Waits:
    """With what the host adds to each product, which no engine's way of launching changes."""
    return waits._replace(overhead=waits.overhead + op.products * OUTLIERS_S)


def _multiplied(op: Op, c: Constants) -> Waits:
    """A matrix product, by one matrix or by one of many for each group of rows."""
    gpu = c.gpu
    peak = peak_of(op, gpu, c.engine.half_sums)
    if op.form != "grouped":
        k = c.of(op.form or "gemm", op.storage)
        start = c.of("gemm", "bf16").launch_s if op.storage in WEIGHT_ONLY else k.launch_s
        k = replace(k, launch_s=start, compute=minimum(k.compute * c.power, MOST))
        waits = gemm_waits(
            op.flops, op.bytes, op.rows, op.columns, op.depth, peak, gpu.memory_bandwidth, gpu.compute_units,
            k, op.dynamic, op.activation_bytes, l2_bytes(gpu),
        )  # fmt: skip
    else:
        waits = grouped_waits(
            op.rows, op.matrices, op.columns, op.depth, op.weight_bytes, op.activation_bytes + op.kv_bytes,
            op.launches, peak, gpu.memory_bandwidth, c.of("grouped", op.storage),
        )  # fmt: skip
    return _habits(op, waits, c)


def l2_bytes(gpu: GPU) -> Number:
    """The L2 cache, or a usual one where it is not known."""
    return gpu.l2_cache or L2_A_UNIT * gpu.compute_units


def _habits(op: Op, waits: Waits, c: Constants) -> Waits:
    """What an engine's own products cost beyond those that were measured.

    Where one row meets a matrix, compute units take only so many weights a clock; before the product of many rows,
    some engines write quantized weights out in 16 bits.
    """
    costs, gpu = c.costs, c.gpu
    elements = op.matrices * op.columns * op.depth
    rate = costs.vector_4 if op.storage in WEIGHT_ONLY else costs.vector_16
    if rate:
        clocks = elements / (rate * gpu.compute_units)
        waits = waits._replace(bandwidth=norm(waits.bandwidth, clocks / (gpu.boost_clock or CLOCK)))
    if costs.widened_bytes and op.storage in WEIGHT_ONLY:
        widened = minimum(1, (op.rows - 1) / WIDENED_ROWS) * elements * costs.widened_bytes
        waits = waits._replace(bandwidth=waits.bandwidth + widened / gpu.memory_bandwidth)
    return waits


def _attention(op: Op, c: Constants) -> Waits:
    """Queries against keys and values: many new tokens of a sequence, or one."""
    gpu, heads = c.gpu, op.heads
    assert heads is not None
    peak = peak_of(op, gpu, c.engine.half_sums)
    narrow = "fp32" if op.storage == "fp32" else "bf16" if op.storage in STREAMS else "fp8-kv"
    if c.engine.attention == "naive" or op.computes_masked:  # each step a kernel of its own
        k = c.of("prefill", narrow)
        moving = (op.bytes + (c.costs.spill - 1) * op.spilled_bytes) / (k.memory * gpu.memory_bandwidth)
        share = minimum(k.compute * c.power, MOST)
        return Waits(op.executed_flops / (share * peak), moving, overhead=op.launches * k.launch_s)
    queries = Queries(*heads[:7])
    if heads.latent and op.storage.startswith("fp8") and "fp8" in gpu.peak_flops:
        peak = gpu.peak("fp8")  # the latent vector is computed with as it is kept
    if op.decodes:
        form = "mla-decode" if heads.latent else "decode-mha" if heads.query == heads.kv else "decode"
        read, other = op.kv_read_bytes, op.bytes - op.kv_read_bytes
        k = c.of(form, narrow)
        waits = decode_waits(op.flops, read, other, queries, peak, gpu.memory_bandwidth, gpu.compute_units, k)
        return _varied(op, _unpacked(op, waits, gpu), gpu)
    form = "mla-prefill" if heads.latent else "prefill"
    keys = 2 * heads.kv * heads.size * WORD  # bytes of a token's keys and values between kernels
    written = heads.sequences * heads.tokens * keys
    read = op.kv_read_bytes + written
    k = c.of(form, narrow)
    k = replace(k, compute=minimum(k.compute * c.power, MOST))
    waits = prefill_waits(
        op.flops, op.activation_bytes - written, read, written, queries, peak, gpu.memory_bandwidth, gpu.compute_units,
        l2_bytes(gpu), k,
    )  # fmt: skip
    return _varied(op, _unpacked(op, waits, gpu), gpu)


def _unpacked(op: Op, waits: Waits, gpu: GPU) -> Waits:
    """With what the kernel takes to widen cached elements of few bits, on the vector units."""
    if isinstance(op.unpack_flops, int) and op.unpack_flops == 0:
        return waits
    return waits._replace(compute=waits.compute + op.unpack_flops / gpu.peak("vector"))


def _varied(op: Op, waits: Waits, gpu: GPU) -> Waits:
    """What another attention kernel than the measured one makes of it (perfmodel.kernels.flash)."""
    if not op.variant:
        return waits
    kind, heads = VARIANTS[op.variant], op.heads
    assert heads is not None
    units = heads.sequences * heads.query
    if op.decodes:
        waits = Waits(*(leg * kind.decode for leg in waits))
        if kind.splits:
            return waits
        each = op.kv_read_bytes / (heads.sequences * heads.kv * heads.reach)
        alone = unsplit_s(heads.reach, units, each, gpu.compute_units, gpu.memory_bandwidth)
        return waits._replace(bandwidth=maximum(waits.bandwidth, alone))
    slower = 1 / (speed(op.variant, gpu.architecture) or 1)
    moved = op.spilled_bytes / gpu.memory_bandwidth
    return waits._replace(compute=waits.compute * slower, bandwidth=waits.bandwidth + moved)


WORD = 2
"""Bytes of an element of queries, keys and values between kernels."""


def _scan(op: Op, c: Constants) -> Waits:
    """A recurrence, of a kind that was measured or of the nearest that was."""
    gpu, heads = c.gpu, op.heads
    assert heads is not None
    state = op.compulsory_bytes
    k = c.of("scan", f"{op.storage} {'decode' if op.decodes else 'prefill'}")
    return scan_waits(heads.tokens, op.flops, state, op.activation_bytes, gpu.peak(op.format), gpu.memory_bandwidth, k)


def _elementwise(op: Op, c: Constants) -> Waits:
    """What fusion leaves of the traffic; launches are in the engine's time a layer, but for steps of the sampler."""
    gpu, costs = c.gpu, c.costs
    if op.form == "sampler":
        start = op.launches * c.of("gemm", "bf16").launch_s
        return Waits(op.flops / gpu.peak("vector"), op.bytes / (STREAMED * gpu.memory_bandwidth), overhead=start)
    spilled = (costs.spill - 1) * op.spilled_bytes
    moving = (op.compulsory_bytes + spilled + costs.fusion * op.activation_bytes) / (STREAMED * gpu.memory_bandwidth)
    return Waits(op.flops / gpu.peak("vector"), moving)


STREAMED = 0.8
"""Share of the bandwidth of kernels that only stream."""


def _collective(op: Op, c: Constants) -> Waits:
    """The constants of the link, for the smallest group that was measured and holds the ranks.

    Between nodes and inside them one after the other.
    """
    legs = legs_of(op, c.gpu)
    waits = []
    for link, leg in legs:
        k = c.of_link(link.name, op.collective, op.span if len(legs) == 1 else leg.ranks)
        waits.append(collective_waits(op.collective, leg.size, leg.ranks, link.bandwidth, k))
    return waits[0] if len(waits) == 1 else Waits(link=waits[0].link + waits[1].link)


_KERNELS = {
    "gemm": _product,
    "attention": _attention,
    "scan": _scan,
    "elementwise": _elementwise,
    "gather": _elementwise,
}
