"""What stands around the blocks: embedding, norms, residuals, LM head, sampling."""

from __future__ import annotations

from typing import Literal

from perfmodel.arithmetic import Number, ceil
from perfmodel.layers.layer import Context
from perfmodel.layers.sampling import sampling_ops
from perfmodel.op import Op
from perfmodel.precision import Stored, storage_of, stored_bytes

ZHANG = "Zhang & Sennrich 2019 (RMSNorm), eq. 4"
BA = "Ba et al. 2016 (LayerNorm), eq. 3"

Norm = Literal["rms", "layer", "layer-no-bias", "layer-no-weights", "rms-no-weights"]
# FLOPs an element: square, sum, scale, weight; LayerNorm also mean, subtract, bias
NORM_FLOPS = {"rms": 4, "layer": 7, "layer-no-bias": 6, "layer-no-weights": 5, "rms-no-weights": 3}
NORM_VECTORS = {"rms": 1, "layer": 2, "layer-no-bias": 1, "layer-no-weights": 0, "rms-no-weights": 0}
SAMPLING_FLOPS = 5  # an element: temperature, max, exp, sum, divide
LOGIT_BYTES = 4  # engines sample from FP32 logits


def norm_op(name: str, kind: Norm, context: Context, width: Number | None = None) -> Op:
    """A norm over D (or `width`): reads and writes the residual stream, and its weights."""
    D = context.width if width is None else width
    source = ZHANG if kind.startswith("rms") else BA
    return context.elementwise(name, D, NORM_FLOPS[kind], vectors=NORM_VECTORS[kind] * D, source=source)


def residual_op(name: str, context: Context, joined: int = 1) -> Op:
    """x + f(x): one add an element, for each of the `joined` results."""
    return context.elementwise(name, context.width, joined, reads=1 + joined, source="He et al. 2016, eq. 1")


def embedding_ops(vocabulary: Number, scaled: bool, context: Context, width: Number | None = None) -> list[Op]:
    """Look-up of M rows of the [V, D] table; each of tp devices holds V/tp rows, and a sum joins them."""
    D, M, p = context.width if width is None else width, context.batch.tokens, context.precision
    lookup = Op(
        "embedding",
        "gather",
        flops=M * D if scaled else 0,
        weight_bytes=M * D * p.exempt.bytes,
        activation_bytes=M * D * p.stream.bytes,
        inputs=(context.batch.rows, (vocabulary, D)),
        output=context.rows(D),
        source="Vaswani et al. 2017, §3.4",
    )
    return [lookup, *context.all_reduce("embedding_all_reduce")]


def position_ops(context: Context) -> list[Op]:
    """Look-up of M rows of the learned positions, added to the embedding."""
    D, M, p = context.width, context.batch.tokens, context.precision
    return [
        Op(
            "positions",
            "gather",
            flops=M * D,
            weight_bytes=M * D * p.exempt.bytes,
            activation_bytes=2 * M * D * p.stream.bytes,
            output=context.rows(D),
            source="Radford et al. 2019 (GPT-2), §2.3",
        )
    ]


def vocabulary_on(vocabulary: Number, tp: int) -> Number:
    """Rows of the table on one of `tp` devices; engines pad the vocabulary to a multiple of tp."""
    return vocabulary if tp == 1 else ceil(vocabulary / tp)


def head_ops(vocabulary: Number, context: Context, width: Number | None = None, bias: bool = False) -> list[Op]:
    """LM head on the positions that need logits, the steps of the sampler that are asked for, and the draw."""
    D, R, p = context.width if width is None else width, context.batch.head_rows, context.precision
    V = vocabulary_on(vocabulary, context.tp)
    stored, fed, compute = p.head or Stored(p.exempt, p.stream, p.stream.name)
    head = Op(
        "lm_head",
        "gemm",
        flops=2 * R * D * V,
        weight_bytes=stored_bytes(stored, V, D) + (V * p.exempt.bytes if bias else 0),
        activation_bytes=R * D * fed.bytes + R * V * LOGIT_BYTES,
        format=compute,
        rows=R,
        columns=V,
        depth=D,
        storage=storage_of(stored, fed),
        inputs=((R, D), (D, V)),
        output=(R, V),
        source="Vaswani et al. 2017, §3.4",
    )
    gathered = context.collective("logits_all_gather", "all-gather", R * vocabulary * p.stream.bytes)
    sampling = Op(
        "sampling",
        "elementwise",
        flops=SAMPLING_FLOPS * R * vocabulary,
        activation_bytes=4 * R * vocabulary * LOGIT_BYTES,  # logits and probabilities, each read and written
        inputs=((R, vocabulary),),
        output=(R,),
        source="Holtzman et al. 2020, §3",
    )
    return [head, *gathered, *sampling_ops(context, vocabulary, sampling)]
