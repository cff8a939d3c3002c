"""What one device must hold, and how much room is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from perfmodel.arithmetic import Number, maximum, minimum
from perfmodel.block import Block
from perfmodel.cache.held import cache_bytes, cached_length, paged_tokens
from perfmodel.deployment import Deployment, most_devices, precision_for, splits
from perfmodel.gpu import GPU
from perfmodel.layers.adapters import adapter_bytes, adapter_elements
from perfmodel.layers.embedding import LOGIT_BYTES, vocabulary_on
from perfmodel.layers.layer import Spread
from perfmodel.layers.sampling import sampling_bytes
from perfmodel.model import Model
from perfmodel.speculation.drafting import draft_kv_bytes, draft_weight_bytes
from perfmodel.workload import BATCH, OUTPUT, PROMPT, Workload


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on the fullest device.

    `kv_waste` is the part of `kv_cache` that stays empty in last blocks; `weights_by` splits the weights by component;
    `offloaded` is what waits for this device in memory of the host or on a drive, and counts in none of the others.
    """

    weights: Number
    kv_cache: Number
    activations: Number
    reserve: Number
    capacity: Number
    kv_waste: Number
    weights_by: dict[str, Number]
    offloaded: Number = 0

    @property
    def used(self) -> Number:
        return self.weights + self.kv_cache + self.activations + self.reserve

    @property
    def free(self) -> Number:
        """Bytes left over; negative when it does not fit."""
        return self.capacity - self.used

    @property
    def fits(self) -> Number:
        return self.used <= self.capacity


def memory(plan: Deployment, work: Workload) -> Memory:
    """Memory of the fullest stage of the pipeline."""
    stages = [_stage_memory(plan, work, blocks, ends) for blocks, ends in plan.stages()]
    fullest = stages[0]
    for stage in stages[1:]:
        fullest = _fuller(fullest, stage)
    return fullest


def _fuller(a: Memory, b: Memory) -> Memory:
    # sizes that vary (arrays) differ between stages by the cache alone, in proportion to their layers: one
    # stage is fullest at every size where it is at the largest
    def last(size: Number) -> float:
        return float(size.max()) if hasattr(size, "max") else size

    return a if last(a.used) >= last(b.used) else b


def _stage_memory(plan: Deployment, work: Workload, blocks: tuple[Block, ...], ends: str) -> Memory:
    weights = plan.model.weight_bytes(plan.precision, plan.tp, blocks, ends, plan.dp, plan.ep)
    weights = weights | adapters_by(plan, blocks)
    own = plan.part(work)
    kept, filled = cache_bytes(plan, own, blocks)
    if plan.speculation is not None:  # every device of the target holds its part of the draft
        weights = weights | {"draft": draft_weight_bytes(plan)}
        kept, filled = (
            size + own.sequences * draft_kv_bytes(plan, tokens)
            for size, tokens in ((kept, paged_tokens(plan, cached_length(plan, work))), (filled, work.length))
        )
    if plan.cp > 1:
        kept, filled = kept / plan.cp, filled / plan.cp
    away: Number = 0
    if plan.offload.streams:
        weights, kept, filled, away = _split_off(plan, weights, kept, filled, blocks)
    return Memory(
        weights=sum(weights.values()),
        kv_cache=kept,
        activations=activation_bytes(plan, work, blocks, ends in ("both", "last")),
        reserve=reserve_bytes(plan),
        capacity=plan.gpu.memory,
        kv_waste=kept - filled,
        weights_by=weights,
        offloaded=away,
    )


def adapters_by(plan: Deployment, blocks: tuple[Block, ...]) -> dict[str, Number]:
    """Bytes of all loaded adapters on one device, as a component of the weights; nothing without adapters."""
    if plan.lora is None:
        return {}
    spread = Spread(plan.tp, plan.dp, plan.ep)
    elements = sum(
        block.repeat * adapter_elements(plan.lora, layer.tensors_on(plan.model.hidden_size, spread), layer.label)
        for block in blocks
        if not block.idle
        for layer in block.layers
    )
    return {"adapters": adapter_bytes(plan.lora, elements, plan.precision)}


def _split_off(
    plan: Deployment, weights: dict[str, Number], kept: Number, filled: Number, blocks: tuple[Block, ...]
) -> tuple[dict[str, Number], Number, Number, Number]:
    """(weights and cache that stay on the device, the part of the cache that is filled, bytes that wait elsewhere)."""
    off, layers = plan.offload, sum(block.repeat for block in blocks if not block.inner)
    away = off.weights * weights["layers"] + off.kv * kept
    here = off.resident(off.kv, layers)
    left = weights | {"layers": weights["layers"] * off.resident(off.weights, layers)}
    return left, kept * here, filled * here, away


def activation_bytes(plan: Deployment, work: Workload, blocks: tuple[Block, ...], head: bool) -> Number:
    """Peak of the tensors alive during the largest pass: a layer's, or the logits and their probabilities.

    A pass has at most the engine's token budget of new tokens, and all of B·S when there is no cache to come back
    to. Naive attention keeps two score matrices, of N heads for each new token against up to S keys. Devices that share
    a sequence hold the keys and values of all of it, of one layer, that they gathered.
    """
    p, tp, batch = plan.precision, plan.tp, plan.share(work.batch)
    spread = Spread(tp, plan.dp, plan.ep)
    # a pass over everything, where nothing is kept to come back to, or where every token sees every other
    whole = not plan.cache or plan.model.bidirectional
    keys = work.length if whole else work.prompt
    own = batch * keys if plan.cp == 1 else batch * keys / plan.cp
    tokens = own if whole else minimum(own, plan.engine.token_budget)
    layers = [layer for block in blocks for layer in block.layers]
    live = tokens * max(layer.live_on(plan.model.hidden_size, spread) for layer in layers) * p.stream.bytes
    if plan.attention == "naive":
        live = (
            live
            + 2
            * tokens
            * keys
            * max(mixer.score_heads(tp) for block in blocks for mixer in block.mixers)
            * p.stream.bytes
        )
    if plan.cp > 1:
        together = maximum(tokens * plan.cp, minimum(batch, 1) * work.prompt)
        mixers = [mixer for block in blocks for mixer in block.mixers]
        live = live + max(mixer.kv_bytes(1, plan.precision, tp) for mixer in mixers) * together
    rows = tokens if plan.model.bidirectional else plan.part(work).sequences
    if plan.speculation is not None:
        rows = rows * plan.speculation.verified
    logits = rows * vocabulary_on(plan.model.vocabulary, tp) * 2 * LOGIT_BYTES if head else 0
    if head and plan.sampling:  # steps of the sampler work on whole rows, on every device
        logits = logits + rows * plan.model.vocabulary * sampling_bytes(plan.sampling)
    return maximum(live, logits)


def reserve_bytes(plan: Deployment) -> Number:
    """Memory the engine leaves alone or takes for itself: outside its share, context, buffers, graphs."""
    engine = plan.engine
    outside = plan.gpu.memory * (1 - engine.memory_share)
    together = engine.comm_bytes if plan.joined > 1 else 0
    return round(maximum(outside, engine.graph_bytes) + engine.framework_bytes + together)


def most_sequences(plan: Deployment, work: Workload) -> int:
    """The largest batch that fits at the workload's lengths; 0 when not even one does."""
    groups = plan.replicas * plan.dp
    guess = groups
    for _ in range(2):  # the cache grows with the batch, and most of the rest does not
        held = memory(plan, replace(work, batch=guess))
        if held.kv_cache <= 0:
            return _largest(lambda batch: memory(plan, replace(work, batch=batch)).fits)
        guess = max(groups * int((held.free + held.kv_cache) * (guess // groups) // held.kv_cache), groups)
    return _largest(lambda batch: memory(plan, replace(work, batch=batch)).fits, guess)


def longest_context(plan: Deployment, work: Workload) -> int:
    """The longest prompt + output that fits at the workload's batch; 0 when none does, UNLIMITED when all do."""
    return _largest(lambda length: memory(plan, replace(work, prompt=length, output=0)).fits)


UNLIMITED = 2**40
"""Tokens of a context that no memory limits: where a state or windows hold what is kept."""


def _largest(fits: Callable[[int], Any], guess: int = 0) -> int:
    """The largest n up to UNLIMITED that `fits`, which is true up to some n and false after it; `guess` is near it."""
    low, high, step, at = 0, UNLIMITED + 1, 1, min(max(guess, 1), UNLIMITED)
    while low + 1 < high:
        low, high = (at, high) if fits(at) else (low, at)
        if high > UNLIMITED or not low:  # all or none fit so far: further from the guess, twice as far each time
            at = min(low + step, UNLIMITED) if low else max(high - step, 1)
            step *= 2
        else:
            at = (low + high) // 2
    return low


def fewest_gpus(plan: Deployment, work: Workload) -> Deployment | None:
    """The deployment on the fewest devices that hold model and workload; None when no split does.

    Of equal counts the widest tensor parallelism wins, for its latency.
    """
    plan, work = plan.whole(), work.largest()
    most = most_devices(plan.model, plan.gpu)
    alone = memory(plan, work)
    room = plan.gpu.memory - reserve_bytes(plan)
    least = max(1, int(alone.weights / room)) if room > 0 else most + 1
    for count in range(least, most + 1):
        for tp, pp in splits(plan.model, plan.gpu, count):
            if memory(candidate := plan.split(tp, pp), work).fits:
                return candidate
    return None


def held_by_one(model: Model, gpu: GPU) -> bool:
    """Whether one device holds `model` and the default workload, served as it is by default."""
    single = Deployment(model, gpu, precision_for(gpu, declared=model.quantization))
    return bool(memory(single, Workload(PROMPT, OUTPUT, BATCH)).fits)
