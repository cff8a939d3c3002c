"""Which passes are run: a workload → batches."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from perfmodel.arithmetic import Number, ceil, maximum, minimum
from perfmodel.batch import Batch, Group
from perfmodel.deployment import Deployment
from perfmodel.workload import Workload


class Passes(NamedTuple):
    """`count` passes that each do `batch`, one after another through the pipeline."""

    count: Number
    batch: Batch


def whole_prefill(plan: Deployment, work: Workload) -> Batch:
    """All prompts in one pass: what the prefill must compute, however it is cut.

    A model that denoises passes prompt and output together.
    """
    if plan.model.bidirectional:
        return Batch.denoise(plan.share(work.batch), work.length)
    work = plan.part(work)
    if not work.shares:
        return Batch.prefill(work.batch, work.prompt)
    return Batch(tuple(Group(work.batch * n, new, found) for n, new, found in prompts_by_prefix(plan, work)))


def prompts_by_prefix(plan: Deployment, work: Workload) -> tuple[tuple[Number, Number, Number], ...]:
    """(share of the prompts, tokens of each to compute, tokens of each found in the cache).

    Whole blocks of the prefix are found, and at least a prompt's last token is computed, for its logits (vLLM:
    find_longest_cache_hit of at most prompt − 1 tokens).
    """
    block, h = plan.engine.block, work.prefix_hit
    found = minimum(work.prefix, work.prompt - 1) // block * block
    kinds = ((h, work.prompt - found, found), (1 - h, work.prompt, 0))
    return tuple(kind for kind in kinds if kind[0] > 0)


def first_step(plan: Deployment, work: Workload) -> Batch:
    """The first pass after the prefill: a token of each sequence; of a model that denoises, a block.

    With speculation it is the pass that verifies the first guesses.
    """
    if plan.model.bidirectional:
        return block_pass(plan, work)
    work = plan.part(work)
    return decode_pass(plan, work, work.sequences, work.prompt)


def decode_pass(plan: Deployment, work: Workload, sequences: Number, context: Number) -> Batch:
    """One step of so many sequences, each with `context` tokens before it; all of them again without a cache."""
    prompts = sequences / work.width if work.width > 1 else None
    if not plan.cache:
        return Batch((Group(sequences, context + 1, prompts=prompts),))
    step = Batch.decode(sequences, context)
    if plan.speculation is not None:
        step = Batch.verify(sequences, plan.speculation.verified, context)
    kept = plan.cache_policy.kept(work.prompt, context) if plan.cache_policy else None
    spared = spared_tokens(plan, work, sequences) if plan.shared_prefix_attention and work.shares else None
    return replace(step, groups=(step.groups[0]._replace(kept=kept, spared=spared, prompts=prompts),))


def spared_tokens(plan: Deployment, work: Workload, sequences: Number) -> Number:
    """Cached tokens that a sequence, on average, need not read because others of the pass read them too.

    prompt·(n − 1)/n of n sequences of one prompt, and found·(h·p − 1)/(p·n) of p prompts that share a prefix
    """
    n = work.width
    prompts = sequences / n
    found = minimum(work.prefix, work.prompt - 1) // plan.engine.block * plan.engine.block
    return work.prompt * (n - 1) / n + found * maximum(work.prefix_hit * prompts - 1, 0) / (prompts * n)


def block_pass(plan: Deployment, work: Workload) -> Batch:
    """A denoising pass over one block, keys and values of all other tokens kept; over everything without a cache."""
    sequences = plan.share(work.batch)
    if not plan.cache:
        return Batch.denoise(sequences, work.length)
    return Batch.denoise(sequences, work.block, work.length - work.block)


def denoising_counts(plan: Deployment, work: Workload) -> tuple[Number, Number]:
    """(passes over the whole sequence, passes over a block) of a generation by denoising.

    Without a cache every step passes the whole sequence (Nie et al. 2025, LLaDA, alg. 4). With one, the first step
    of each block does and keeps keys and values of both sides; the others pass the block alone (Wu et al. 2025,
    Fast-dLLM, §3.2, DualCache).
    """
    steps = maximum(work.steps, work.blocks)
    return (work.blocks, steps - work.blocks) if plan.cache else (steps, 0)


def prefill_passes(plan: Deployment, work: Workload) -> Passes:
    """The prefill of all prompts, cut so that no pass exceeds the engine's token budget.

    A prompt longer than the budget runs in k = ⌈S/budget⌉ chunks (Agrawal et al. 2023, SARATHI), each after
    S·(k − 1)/2k cached tokens on average; attention's pairs are linear in that, so the average chunk costs what
    the chunks cost on average. A pipeline is fed at least one pass a stage where there are enough prompts, or as many
    as are asked. Devices that share a sequence have a budget each.
    """
    work, budget = plan.part(work), plan.engine.token_budget
    budget = budget if plan.cp == 1 else budget * plan.cp
    if work.shares:
        return _shared_prefill(plan, work, budget)
    batch = work.batch
    chunks = ceil(work.prompt / budget) if plan.cache else 1
    total = batch * work.prompt
    count = maximum(ceil(total / budget) if plan.cache else 1, microbatches(plan, batch, chunks))
    tokens = work.prompt / chunks
    group = Group(batch * chunks / count, tokens, tokens * (chunks - 1) / 2)
    return Passes(count, Batch((group,), logits=batch / count))


def microbatches(plan: Deployment, batch: Number, chunks: Number = 1) -> Number:
    """Passes that `batch` sequences are cut into for a pipeline: as asked, or one a stage; at most one a sequence,
    or a chunk of its prompt."""
    if plan.microbatches is None or plan.pp == 1:
        return minimum(batch, plan.pp)
    return minimum(batch * chunks, plan.microbatches)


def _shared_prefill(plan: Deployment, work: Workload, budget: Number) -> Passes:
    """The same where prompts find a prefix in the cache: what each still computes comes after it."""
    kinds = prompts_by_prefix(plan, work)
    total = work.batch * sum(n * new for n, new, _ in kinds)
    count = maximum(ceil(total / budget) if plan.cache else 1, microbatches(plan, work.batch))
    groups = []
    for n, new, found in kinds:
        chunks = ceil(new / budget) if plan.cache else 1
        groups.append(Group(work.batch * n * chunks / count, new / chunks, found + new / chunks * (chunks - 1) / 2))
    return Passes(count, Batch(tuple(groups), logits=work.batch / count))


def decode_passes(plan: Deployment, work: Workload, context: Number) -> Passes:
    """One step of all sequences at `context` tokens: a pass a stage, so that every stage has work.

    Without a cache the pass is a prefill of the whole sequence so far.
    """
    work = plan.part(work)
    count = microbatches(plan, work.sequences)
    return Passes(count, decode_pass(plan, work, work.sequences / count, context))
