"""Low-rank adapters beside the products of a layer, each sequence with its own."""

from __future__ import annotations

from collections.abc import Iterable

from perfmodel.arithmetic import Number
from perfmodel.layers.layer import Context, Tensors
from perfmodel.lora import Lora
from perfmodel.op import Op
from perfmodel.precision import Precision

CHEN = "Chen et al. 2023 (Punica), §4; Hu et al. 2021 (LoRA), §4.1"
PARTIAL_BYTES = 4
"""Of an element between the two products, which kernels keep in FP32 (vLLM, lora_shrink; Punica)."""


def with_adapters(ops: list[Op], context: Context) -> list[Op]:
    """`ops` of a layer, and beside each kernel of products that have adapters its two small ones.

    y += x·A·B with A [d_in, r] and B [r, d_out], of every sequence its own adapter's (Punica's SGMV; S-LoRA's MBGMV):

        shrink   2·M·d_in·r FLOPs, reads touched·d_in·r weights
        expand   2·M·r·d_out FLOPs, reads touched·r·d_out weights, adds to what the product wrote

    Products that are launched together (Q, K and V; gate and up) have their adapters launched together, as vLLM's
    slices are. Over tp devices A is whole where columns are split and split where rows are, B the other way round
    (vLLM): each device's parts are as wide as its own product, and the sum after a row-split product joins the
    adapters' parts too.
    """
    if context.lora is None:
        return ops
    found: list[Op] = []
    for kernel in _kernels(ops):
        found += kernel
        targets = [op for op in kernel if _adapted(op, context.lora)]
        if targets:
            found += _beside(targets, context, context.lora)
    return found


def _kernels(ops: list[Op]) -> list[list[Op]]:
    """Ops that are launched together: a product with those that ride along, or one op alone."""
    kernels: list[list[Op]] = []
    for op in ops:
        rides = op.kind == "gemm" and op.launches == 0 and kernels and kernels[-1][0].kind == "gemm"
        if rides:
            kernels[-1].append(op)
        else:
            kernels.append([op])
    return kernels


def _adapted(op: Op, lora: Lora) -> bool:
    return op.kind == "gemm" and bool(op.part) and not op.form and lora.touches(op.part)


def _beside(targets: list[Op], context: Context, lora: Lora) -> list[Op]:
    """The two kernels beside the `targets` of one launch, which read the same rows."""
    first, r, A = targets[0], lora.rank, lora.touched(context.batch.prompts)
    M, d_in = first.rows, first.depth
    n, width = len(targets), _sum(op.columns for op in targets)
    p = context.precision.stream
    partial = n * M * r * PARTIAL_BYTES
    shrink = Op(
        f"{first.name}_lora_shrink",
        "gemm",
        flops=2 * n * M * d_in * r,
        weight_bytes=A * n * d_in * r * p.bytes,
        activation_bytes=M * d_in * p.bytes + partial,
        format=p.name,
        rows=M,
        columns=n * r,
        depth=d_in,
        matrices=A,
        storage=p.name,
        inputs=(context.rows(d_in), (d_in, n * r)),
        output=context.rows(n * r),
        source=CHEN,
    )
    expand = Op(
        f"{first.name}_lora_expand",
        "gemm",
        flops=2 * M * r * width,
        weight_bytes=A * r * width * p.bytes,
        activation_bytes=partial + 2 * M * width * p.bytes,
        format=p.name,
        rows=M,
        columns=width,
        depth=r,
        matrices=A,
        storage=p.name,
        inputs=(context.rows(n * r), (r, width)),
        output=context.rows(width),
        source=CHEN,
    )
    return [shrink, expand]


def adapter_elements(lora: Lora, tensors: Tensors, label: str) -> Number:
    """Elements of one adapter beside a layer's matrices: r·(d_in + d_out) of each that it targets."""
    return _sum(
        lora.rank * (t.rows + t.columns) * t.count
        for name, t in tensors.items()
        if t.columns != 1 and lora.touches(f"{label}.{name}")
    )


def adapter_bytes(lora: Lora, elements: Number, precision: Precision) -> Number:
    """All loaded adapters of so many elements each, kept as wide as the stream between kernels."""
    return lora.adapters * elements * precision.stream.bytes


def _sum(parts: Iterable[Number]) -> Number:
    total: Number = 0
    for part in parts:
        total = total + part
    return total
