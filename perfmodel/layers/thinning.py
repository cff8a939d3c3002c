"""What a cache costs beside attention itself: choosing its tokens, widening packed ones, joining what is shared."""

from __future__ import annotations

from perfmodel.arithmetic import Number, minimum
from perfmodel.batch import Batch
from perfmodel.cache.policy import CachePolicy
from perfmodel.kernels.flash import SPLIT_FLOPS
from perfmodel.layers.layer import Context
from perfmodel.op import Heads, Op
from perfmodel.precision import Precision

QSERVE = "Lin et al. 2024 (QServe), §5.3"
HYDRAGEN = "Juravsky et al. 2024 (Hydragen), §3.1"
SCORE_BYTES = 4
"""Bytes of an accumulated attention score (FP32)."""
RESCORE_FLOPS = 3  # of a score that is computed again: subtract the row's maximum, exp, add to its key's sum


def around(context: Context, unpacked: Number, width: Number, mark: str) -> list[Op]:
    """What stands around an attention kernel: elements of the cache that it widens, and the joining of two results.

    Sequences with leading tokens in common read these once, in a pass of its own whose result, `width` elements a
    token, is joined with that of each sequence's other tokens (Hydragen; ChunkAttention: Ye et al. 2024).
    """
    ops = []
    if context.cache and not (isinstance(unpacked, int) and unpacked == 0):
        ops.append(Op(f"unpack{mark}", "fused", flops=unpacked, launches=0, source=QSERVE))
    if context.batch.spares:
        ops.append(context.elementwise(f"merge{mark}", width, SPLIT_FLOPS, reads=2, source=HYDRAGEN))
    return ops


def score_bytes(policy: CachePolicy | None, tokens: Number, kv_heads: Number) -> Number:
    """Bytes of the scores that H2O keeps beside `tokens` cached tokens: one for each KV head."""
    return tokens * kv_heads * SCORE_BYTES if policy is not None and policy.kind == "h2o" else 0


def thinning_ops(context: Context, batch: Batch, heads: tuple[Number, Number], size: Number) -> list[Op]:
    """What a layer of N query and K KV heads of `size` does to choose tokens, in a pass over `batch` (thinned).

    h2o     prefill: softmax rows are summed over queries, for which fused attention computes its scores once more,
            2·P·N·H + 3·P·N; decode: each weight of the step is added to its key's sum, N·(C + M) of them
    snapkv  prefill: the last w queries of each prompt against all its keys once more, 2·B·w·S·N·H; what they choose
            is copied together
    """
    policy = context.policy
    if policy is None or policy.kind == "streaming" or not context.cache:
        return []
    if policy.kind == "snapkv":
        return [] if batch.decodes else _observed(policy, context, batch, heads, size)
    N, K = heads
    if batch.decodes:
        seen = batch.cached() + batch.tokens
        moved = 2 * seen * (N * context.precision.stream.bytes + K * SCORE_BYTES)
        return [Op("heavy_hitters", "elementwise", flops=seen * N, activation_bytes=moved, source=policy.source)]
    P, first = batch.pairs(), batch.groups[0]
    kernel = Heads(batch.sequences, batch.tokens / batch.sequences, *(2 * (first.tokens + first.context,)), N, K, size)
    again = _kernel("heavy_hitters", P * N * (2 * size + RESCORE_FLOPS), context.precision, kernel, policy)
    return [again]


def _observed(
    policy: CachePolicy, context: Context, batch: Batch, heads: tuple[Number, Number], size: Number
) -> list[Op]:
    """Of each prompt that ends in this pass: attention of its last queries, and the copy of what it keeps."""
    (N, K), p = heads, context.precision
    keys = batch.groups[0].tokens + batch.groups[0].context
    window = minimum(policy.recent, batch.groups[0].tokens)
    ending = batch.head_rows
    kernel = Heads(ending, window, keys, keys, N, K, size)
    scored = _kernel("observation", ending * window * keys * N * (2 * size + RESCORE_FLOPS), p, kernel, policy)
    copied = ending * minimum(keys, policy.budget) * 2 * K * size * p.kv.bytes
    return [scored, Op("compression", "elementwise", activation_bytes=2 * copied, source=policy.source)]


def _kernel(name: str, flops: Number, p: Precision, kernel: Heads, policy: CachePolicy) -> Op:
    """Scores computed once more: queries and keys are read, a sum for each key is written."""
    rows, keys = kernel.sequences * kernel.tokens, kernel.sequences * kernel.context
    moved = (rows * kernel.query + keys * kernel.kv) * kernel.size * p.stream.bytes + keys * kernel.kv * SCORE_BYTES
    return Op(
        name,
        "attention",
        flops=flops,
        activation_bytes=moved,
        format=p.stream.name,
        storage=p.kv.name,
        heads=kernel,
        source=policy.source,
    )
