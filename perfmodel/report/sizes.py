"""Which sizes a grid around an answer has: powers of two, the answer's own, and the largest that fits."""

from __future__ import annotations

from collections.abc import Iterable

from perfmodel.answer import Estimate
from perfmodel.memory import UNLIMITED

BATCHES, PROMPTS, OUTPUTS = (1, 4096), (128, 131_072), (32, 4096)
"""Ends of the sliders, as far as model, memory and the answer's own sizes allow."""


def ladder(least: int, most: int, including: Iterable[int] = ()) -> list[int]:
    """Powers of two from `least` to `most`, both ends, and what is to be among them."""
    found, size = {least, max(most, least), *including}, 1
    while size < most:
        found |= {size} if size > least else set()
        size *= 2
    return sorted(found)


def batches(answer: Estimate) -> list[int]:
    """From 1 beyond the largest batch that fits at this length, so that its end is seen."""
    own, room = int(answer.work.batch), answer.room[0]
    most = min(max(room, 1), BATCHES[1])
    beyond = {min(2 * most, BATCHES[1])} if room < BATCHES[1] else set()
    return ladder(BATCHES[0], max(most, own), {own, most, *beyond})


def prompts(answer: Estimate) -> list[int]:
    """To what the model takes; of prompts with images, from their tokens on."""
    work, own = answer.work, int(answer.work.prompt)
    least = min(max(PROMPTS[0], work.images * work.image_tokens + 1, answer.plan.cp), own)
    most = max(min(PROMPTS[1], model_limit(answer) - int(work.output)), own)
    return ladder(least, most, {own})


def outputs(answer: Estimate) -> list[int]:
    """To what the model takes; of a model that denoises in a given number of passes, this one alone."""
    own = int(answer.work.output)
    if answer.work.denoising_steps is not None:
        return [own]
    most = max(min(OUTPUTS[1], model_limit(answer) - int(answer.work.prompt)), own)
    return ladder(min(OUTPUTS[0], own), most, {own})


def model_limit(answer: Estimate) -> int:
    """Tokens of a sequence that the model takes."""
    return answer.plan.model.extended_context or answer.plan.model.max_context


def longest(answer: Estimate) -> int | None:
    """Longest sequence that fits at this batch; None where nothing limits it."""
    found = answer.room[1]
    return None if found >= UNLIMITED else found
