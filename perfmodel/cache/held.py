"""What the cache of all sequences takes on one device: what each keeps, less what they have in common."""

from __future__ import annotations

from collections.abc import Callable

from perfmodel.arithmetic import Number, ceil, maximum, minimum
from perfmodel.block import Block
from perfmodel.deployment import Deployment
from perfmodel.layers.attention import GroupedQueryAttention
from perfmodel.layers.thinning import score_bytes
from perfmodel.workload import Workload

BEAM_SHARE = 0.7
"""Part of their output that beams have in common: between 0.55 and 0.83 by Kwon et al. 2023, §6.3 (OPT-13B)."""


def cache_bytes(plan: Deployment, work: Workload, blocks: tuple[Block, ...]) -> tuple[Number, Number]:
    """(bytes set aside, of these bytes filled): blocks of a sequence are whole (Kwon et al. 2023, §4.1)."""
    if not plan.cache:
        return 0, 0
    more = verified_ahead(plan)
    kept = _held(plan, work, blocks, lambda n: paged_tokens(plan, n + more))
    return kept, _held(plan, work, blocks, lambda n: n)


def cached_length(plan: Deployment, work: Workload) -> Number:
    """Tokens of a sequence that the cache must hold: with speculation, those being verified too."""
    return work.length + verified_ahead(plan)


def verified_ahead(plan: Deployment) -> Number:
    """Tokens in the cache beyond those that a sequence has: guesses of a pass that verifies them."""
    return 0 if plan.speculation is None else plan.speculation.verified - 1


def paged_tokens(plan: Deployment, tokens: Number) -> Number:
    """`tokens` rounded up to whole KV blocks (Kwon et al. 2023, PagedAttention, §4.1), as many on each device that
    shares a sequence."""
    block = plan.engine.block if plan.cp == 1 else plan.engine.block * plan.cp
    return ceil(tokens / block) * block


def mean_waste_tokens(block: Number) -> Number:
    """Tokens of a sequence's last block that stay empty, on average over lengths of every rest: (block − 1)/2."""
    return (block - 1) / 2


def _held(plan: Deployment, work: Workload, blocks: tuple[Block, ...], size: Callable[[Number], Number]) -> Number:
    """sequences · a sequence − Σ copies · what they share (+ prompts that a policy has not thinned yet)."""
    one = _sequence_bytes(plan, work, blocks, size, 0)
    held = work.sequences * one
    for copies, leading, same_prompt in shared_parts(plan, work):
        held = held - copies * (one - _sequence_bytes(plan, work, blocks, size, leading, same_prompt))
    return held if plan.cache_policy is None else held + _unthinned(plan, work, blocks, size)


def _sequence_bytes(
    plan: Deployment,
    work: Workload,
    blocks: tuple[Block, ...],
    size: Callable[[Number], Number],
    leading: Number,
    same_prompt: bool = True,
) -> Number:
    """Bytes of one sequence at its full length, without the `leading` tokens that it shares."""
    length, policy = work.length, plan.cache_policy
    if policy is None:
        return plan.model.kv_bytes(size(length) - leading, plan.precision, plan.tp, blocks)
    shared = policy.common(work.prompt, length, leading, same_prompt) if hasattr(leading, "shape") or leading else 0
    plain = size(policy.kept(work.prompt, length)) - shared
    scores = sum(
        block.repeat * score_bytes(policy, plain, mixer.heads_on(plan.tp)[1])
        for block in blocks
        for mixer in block.mixers
        if isinstance(mixer, GroupedQueryAttention) and mixer.plain
    )
    return plan.model.kv_bytes(size(length) - leading, plan.precision, plan.tp, blocks, plain) + scores


def shared_parts(plan: Deployment, work: Workload) -> list[tuple[Number, Number, bool]]:
    """(copies that are not needed, leading tokens of which, whether prompts are the same): in whole blocks.

    The n sequences of a prompt share it, and beams part of what they write; the h·B prompts that find a prefix share
    that. A block that is shared in part is copied once a sequence writes to it (copy-on-write: Kwon et al. 2023, §4.4).
    """
    if not work.shares:
        return []
    block, parts = plan.engine.block, []
    if work.width > 1:
        common = work.prompt + (BEAM_SHARE * work.output if work.beams > 1 else 0)
        parts.append((work.batch * (work.width - 1), common // block * block, True))
    found = minimum(work.prefix, work.prompt - 1) // block * block
    return [*parts, (maximum(work.prefix_hit * work.batch - 1, 0), found, False)]


def _unthinned(plan: Deployment, work: Workload, blocks: tuple[Block, ...], size: Callable[[Number], Number]) -> Number:
    """What a prompt that runs in several passes still holds of itself before the policy thins it.

    A prompt of one pass is thinned layer by layer, as each has attended; of one in chunks every layer keeps all
    until the last chunk. Prompts run one after another, so that one of them does.
    """
    policy = plan.cache_policy
    if policy is None or policy.windowed:
        return 0
    more = maximum(work.prompt - policy.kept(work.prompt, work.length), 0)
    parts = minimum(ceil(work.prompt / plan.engine.token_budget) - 1, 1)
    full, thin = (
        plan.model.kv_bytes(size(work.prompt), plan.precision, plan.tp, blocks, size(work.prompt - less))
        for less in (0, more)
    )
    return parts * (full - thin)
