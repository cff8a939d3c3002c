"""Devices that share a sequence: what they tell each other in a layer of attention (context parallelism)."""

from __future__ import annotations

from perfmodel.arithmetic import Number
from perfmodel.layers.layer import Context
from perfmodel.op import Op


def gather_context(context: Context, elements: Number) -> tuple[Op, ...]:
    """Keys and values of a prompt, `elements` a token, from the devices that share it to all of them.

    Gathered before attention (Grattafiori et al. 2024, Llama 3, §3.3.2); a ring that passes them on while attention
    works (Liu et al. 2023, RingAttention) sends as many bytes. Earlier tokens come as the cache keeps them.
    """
    p, n = context.precision, context.cp
    prompts = [batch for decodes, batch in context.batch.phases() if not decodes]
    if n == 1 or not prompts:
        return ()
    size = (prompts[0].kept * p.stream.bytes + prompts[0].cached() * p.kv.bytes) * elements * n
    source = "Grattafiori et al. 2024 (Llama 3), §3.3.2"
    return context.across("context_all_gather", "all-gather", size, n, n * context.tp, source)


def merge_context(context: Context, elements: Number) -> tuple[Op, ...]:
    """Partial results of generated tokens, `elements` each, from the devices that share the cache to one sum.

    Weighted by their softmax denominators, which travel along (Dao et al. 2023, Flash-Decoding; Bhatia et al. 2025,
    Helix).
    """
    n = context.cp
    decodes = [batch for decodes, batch in context.batch.phases() if decodes]
    if n == 1 or not decodes:
        return ()
    size = decodes[0].tokens * elements * context.precision.stream.bytes
    source = "Bhatia et al. 2025 (Helix)"
    return context.across("context_all_reduce", "all-reduce", size, n, n * context.tp, source)
