"""Which passes are run: a workload → batches."""

from __future__ import annotations

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
    return Batch.prefill(plan.share(work.batch), work.prompt)


def first_step(plan: Deployment, work: Workload) -> Batch:
    """The first pass after the prefill: a token of each sequence; of a model that denoises, a block.

    With speculation it is the pass that verifies the first guesses.
    """
    if plan.model.bidirectional:
        return block_pass(plan, work)
    sequences = plan.share(work.batch)
    if plan.speculation is not None:
        return Batch.verify(sequences, plan.speculation.verified, work.prompt)
    if plan.cache:
        return Batch.decode(sequences, work.prompt)
    return Batch.prefill(sequences, work.prompt + 1)


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
    batch, budget = plan.share(work.batch), plan.engine.token_budget
    budget = budget if plan.cp == 1 else budget * plan.cp
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


def decode_passes(plan: Deployment, work: Workload, context: Number) -> Passes:
    """One step of all sequences at `context` tokens: a pass a stage, so that every stage has work.

    Without a cache the pass is a prefill of the whole sequence so far.
    """
    batch = plan.share(work.batch)
    count = microbatches(plan, batch)
    sequences = batch / count
    if plan.speculation is not None:
        return Passes(count, Batch.verify(sequences, plan.speculation.verified, context))
    if plan.cache:
        return Passes(count, Batch.decode(sequences, context))
    return Passes(count, Batch.prefill(sequences, context + 1))
