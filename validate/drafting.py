"""Speculation measured: a draft that is a model of its own or the first layers of the target, and what it gains."""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median
from typing import Any, NamedTuple

import torch

from perfmodel.catalog import load_model
from perfmodel.deployment import Deployment
from perfmodel.errors import RequestError
from perfmodel.latency import mean_decode_time
from perfmodel.measured.measurements import Predicted
from perfmodel.model import Model
from perfmodel.scaling import scaled
from perfmodel.speculation.drafts import speculation_for
from perfmodel.workload import Workload

from .llama import Llama, build
from .measure import Run, Setting
from .speculate import Speculated, speculate
from .timing import Timing

SELF = "self:"
"""How a draft is asked for that is the target's own first layers."""
READINGS = 2
DAMPED = 0.05
NEW = 10
"""Passes' worth of tokens that are written at least: the last passes guess fewer, so that none is too many."""
ACCEPTING = 0.0
"""What accepting costs beside the passes, as a share of them: speculate.py compares a few numbers."""
WITHIN = 1.15
"""The factor up and down of a predicted speed-up at measured acceptance (perfmodel.interval)."""


class Draft(NamedTuple):
    """A draft that is ready to guess: its name as it was asked for, its spec, and the model."""

    name: str
    spec: Model
    llama: Llama
    guesses: int


def gained(ran: Run, plan: Deployment, s: Setting, draft: Draft) -> tuple[Timing, Timing, Predicted]:
    """(tokens a pass, speed-up over plain decoding, what is predicted of that from the tokens)."""
    target, other, guesses = ran.llama, draft.llama, draft.guesses
    s = s._replace(output=max(s.output, NEW * (guesses + 1)))
    for model in (target, other):
        model.allocate(1, s.length + 1)
    prompt = ran.tokens(s)
    plain, guessed, found = [], [], []
    for reading in range(READINGS + 1):  # in turn; the first of each is a warm-up
        first, _ = _timed(ran, lambda: target.prefill(prompt))
        drafts, _ = _timed(ran, lambda: other.prefill(prompt))
        alone, _ = _timed(ran, lambda: target.generate(prompt, s.output))
        ahead, told = _timed(ran, lambda: speculate(target, other, prompt, s.output, guesses))
        if reading:  # of decode alone: both begin with the prompt
            plain.append(max(alone - first, first / 100))
            guessed.append(max(ahead - first - drafts, first / 100))
            found.append(told)
    ratios = [a / b for a, b in zip(plain, guessed, strict=True)]
    tokens = found[0].tokens_per_pass
    gains = Timing.of(ratios)._replace(median=median(plain) / median(guessed))
    gains = gains._replace(low=min(gains.low, gains.median), high=max(gains.high, gains.median))
    return Timing(tokens, tokens, tokens, len(found)), gains, predicted(plan, s, draft.spec, guesses, found[0])


def predicted(plan: Deployment, s: Setting, draft: Model, guesses: int, told: Speculated) -> Predicted:
    """Plain decode over decode with as many tokens a pass as were measured, by perfmodel."""
    accepted = min(max(told.tokens_per_pass, 1.0), guesses + 1.0)
    guessing = speculation_for(
        plan.model, plan.gpu, plan.precision, True, None, draft, guesses, None, None, accepted, None, None
    )
    work = Workload(s.prompt, s.output, 1)
    alone = replace(plan.engine, accepting=ACCEPTING)
    both = [mean_decode_time(one, work).expected for one in (plan, replace(plan, engine=alone, speculation=guessing))]
    gain = float(both[0] / both[1])
    return Predicted(expected=gain, low=gain / WITHIN, high=gain * WITHIN)


def drafted(target: Llama, model: Model, draft: str, guesses: int, random: bool) -> Draft:
    """The first layers of the target, which share its weights, or another model, whose weights are random.

    Where the target's are `random`, the layers that a draft leaves out are damped, so that it is right now and then.
    """
    weight = target.embedding.weight
    dtype = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}[weight.dtype]
    if draft.startswith(SELF):
        layers = draft.removeprefix(SELF)
        if not layers.isdigit() or not 0 < int(layers) < target.shape.layers:
            raise RequestError(
                f'--draft {draft[:40]}: self: takes layers from 1 to {target.shape.layers - 1} of them, like "self:1".'
            )
        if random:
            damped(target, int(layers))
        return Draft(draft, scaled(model, layers=int(layers)), _first_layers(target, int(layers)), guesses)
    spec = load_model(draft)
    if spec.vocabulary != target.shape.vocabulary:
        raise RequestError(
            f"--draft {draft[:40]}: has {spec.vocabulary:,} words, {model.name} {target.shape.vocabulary:,}; they must "
            "share a vocabulary."
        )
    return Draft(draft, spec, build(spec, dtype=dtype, device=weight.device), guesses)


def _first_layers(target: Llama, layers: int) -> Llama:
    """A model of the target's first layers: the same weights, a cache of its own."""
    with torch.device("meta"):
        found = Llama(replace(target.shape, layers=layers), target.attention)
    held = {name: value for name, value in target.state_dict().items() if name in found.state_dict()}
    found.load_state_dict(held, assign=True)
    if found.shape.tied:
        found.head.weight = found.embedding.weight
    return found.requires_grad_(False).eval()


def damped(target: Llama, first: int) -> None:
    """Make what layers from `first` on add to the residual small; what they take stays the same."""
    with torch.no_grad():
        for layer in list(target.layers)[first:]:
            for part in (layer.attention.out, layer.ffn.down):
                if hasattr(part, "weight"):
                    part.weight.mul_(DAMPED)


def _timed(ran: Run, call: Any) -> tuple[float, Any]:
    ran.device.synchronize()
    begun = time.perf_counter()
    found = call()
    ran.device.synchronize()
    return time.perf_counter() - begun, found
