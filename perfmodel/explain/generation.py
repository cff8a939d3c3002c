"""FLOPs of a whole generation, with a cache and without: exact sums over every pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from perfmodel.answer import Estimate
from perfmodel.batch import Batch
from perfmodel.batching import block_pass, decode_pass, denoising_counts, whole_prefill
from perfmodel.explain.text import prose, table
from perfmodel.forward import forward
from perfmodel.op import totals
from perfmodel.units import show_flops


def generation_lines(answer: Estimate) -> list[str]:
    """The prompt's pass and all steps after it, by what a step computes."""
    if answer.plan.model.bidirectional:
        return denoising_lines(answer)
    work = answer.work
    kept = replace(answer.plan, cache=True)
    prompts = flops_of(answer, whole_prefill(kept, work))
    cached = prompts + over_steps(answer, lambda i: decode_pass(kept, work, work.sequences, work.prompt + i))
    again = prompts + over_steps(answer, lambda i: Batch.prefill(work.sequences, work.prompt + 1 + i))
    columns = {
        "": ["with the cache", "without it"],
        "a step computes": ["one token of each sequence", "the whole sequence so far"],
        "FLOPs in all": [show_flops(cached), show_flops(again)],
        "exactly": [f"{cached:,}", f"{again:,}"],
    }
    return [
        prose(
            f"The prefill gives the first output token of a sequence; {work.decode_steps:,} more "
            f"{'step gives' if work.decode_steps == 1 else 'steps give'} the others. Sums of every pass:"
        ),
        table(columns),
        f"  The cache saves a factor of {again / cached:.4g}.",
    ]


def denoising_lines(answer: Estimate) -> list[str]:
    """All passes of a generation by denoising, with the cache of a block and without."""
    work, rows = answer.work, {}
    for name, kept in (("with the cache", True), ("without it", False)):
        plan = replace(answer.plan.whole(), cache=kept)
        passes = denoising_counts(plan, work)
        batches = whole_prefill(plan, work), block_pass(plan, work)
        flops = sum(int(n) * int(totals(forward(plan, b)).flops) for n, b in zip(passes, batches, strict=True))
        rows[name] = (f"{passes[0]:,} + {passes[1]:,}", flops)
    columns = {
        "": list(rows),
        "passes over everything + over a block": [passes for passes, _ in rows.values()],
        "FLOPs in all": [show_flops(flops) for _, flops in rows.values()],
        "exactly": [f"{flops:,}" for _, flops in rows.values()],
    }
    told = f"{work.steps:,} denoising steps over {work.blocks:,} blocks of {work.block:,} tokens; at least one a block."
    saved = rows["without it"][1] / rows["with the cache"][1]
    return [prose(told), table(columns), f"  The cache saves a factor of {saved:.4g}."]


def flops_of(answer: Estimate, batch: Batch) -> int:
    """FLOPs of one pass over the whole deployment."""
    return int(totals(forward(answer.plan.whole(), batch)).flops)


def over_steps(answer: Estimate, batch: Callable[[int], Batch]) -> int:
    """Σ FLOPs of `batch(i)` over the decode steps i, exact: in pieces, where a window fills on the way."""
    steps, prompt = answer.work.decode_steps, answer.work.prompt
    filled = {edge - prompt for edge in answer.plan.edges if 0 < edge - prompt < steps}
    edges = [0, *sorted(filled), steps]
    return sum(
        quadratic_sum(lambda i, start=start: flops_of(answer, batch(start + i)), end - start)  # type: ignore[misc]
        for start, end in pairwise(edges)
    )


def quadratic_sum(term: Callable[[int], int], count: int) -> int:
    """Σ term(i) for i = 0 … count − 1 of a quadratic, from its first three (Newton's forward differences); exact."""
    if count <= 3:
        return sum(term(i) for i in range(count))
    a, b, c = (term(i) for i in range(3))
    pairs = count * (count - 1) // 2
    return count * a + pairs * (b - a) + pairs * (count - 2) // 3 * (c - 2 * b + a)
