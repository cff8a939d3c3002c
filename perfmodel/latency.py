"""Passes → TTFT, time per token, throughput of one deployment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from typing import Any

from perfmodel.arithmetic import Number, ceil, maximum, minimum, sqrt
from perfmodel.batch import Batch
from perfmodel.batching import (
    Passes,
    block_pass,
    decode_passes,
    denoising_counts,
    microbatches,
    prefill_passes,
    whole_prefill,
)
from perfmodel.block import Block
from perfmodel.cache.offload import REACHED
from perfmodel.calibration import Constants
from perfmodel.deployment import Deployment
from perfmodel.expected import expected_waits, launches
from perfmodel.forward import stage_passes
from perfmodel.frontend import request_s
from perfmodel.interval import spread
from perfmodel.kernels import Waits
from perfmodel.op import Op
from perfmodel.roofline import bound_s
from perfmodel.speculation.drafting import Round, draft_prefill, draft_rounds, host_s
from perfmodel.workload import Workload

LEGS = ("compute", "bandwidth", "link", "overhead")
SECONDS = ("bound", "expected", *LEGS)


@dataclass(frozen=True, slots=True)
class Time:
    """Seconds: `bound` by physics, `expected` by calibration, and what the expected time is spent on.

    compute + bandwidth + link + overhead = expected. `spread` is the factor up and down that holds 80 % of
    measurements.
    """

    bound: Number
    expected: Number
    compute: Number
    bandwidth: Number
    link: Number
    overhead: Number
    spread: Number = 1.0

    @property
    def bound_by(self) -> Any:
        """Which leg takes most of the expected time; an array of names when sizes are arrays."""
        legs = [getattr(self, name) for name in LEGS]
        if all(isinstance(leg, (int, float)) for leg in legs):
            return LEGS[legs.index(max(legs))]
        import numpy as np

        return np.asarray(LEGS)[np.argmax(np.stack(np.broadcast_arrays(*legs)), axis=0)]

    @property
    def low(self) -> Number:
        """The interval's lower end, never below the bound."""
        return maximum(self.bound, self.expected / self.spread)

    @property
    def high(self) -> Number:
        return self.expected * self.spread

    def times(self, n: Number) -> Time:
        """This, `n` times over."""
        return Time(**{name: getattr(self, name) * n for name in SECONDS}, spread=self.spread)

    def plus(self, other: Time) -> Time:
        """This, then `other`; their errors go the same way, so that the ends of the interval add up too."""
        both = {name: getattr(self, name) + getattr(other, name) for name in SECONDS}
        high = self.expected * self.spread + other.expected * other.spread
        return Time(**both, spread=high / both["expected"])


@dataclass(frozen=True, slots=True)
class Latency:
    """What a user of one deployment sees."""

    ttft: Time
    tpot: Time
    e2e: Time


def latency(plan: Deployment, work: Workload) -> Latency:
    """TTFT, mean time per output token over the growing context, and end-to-end time."""
    if plan.model.bidirectional:
        return denoising_latency(plan, work)
    ttft, tpot = prefill_time(plan, work), mean_decode_time(plan, work)
    if plan.server:
        ttft = ttft.plus(host_time(request_s(work.text)))
    return Latency(ttft, tpot, end_to_end(plan, ttft, tpot, work))


def host_time(seconds: Number) -> Time:
    """Time on the host alone, which no physics bounds."""
    return Time(bound=0, expected=seconds, compute=0, bandwidth=0, link=0, overhead=seconds)


def end_to_end(plan: Deployment, ttft: Time, tpot: Time, work: Workload) -> Time:
    """Seconds from a request to its last token: ttft + (T − 1)·tpot; T·tpot of a model that denoises."""
    if plan.model.bidirectional:
        return tpot.times(work.output)
    return ttft.plus(tpot.times(work.decode_steps))


def denoising_latency(plan: Deployment, work: Workload) -> Latency:
    """Of a model that denoises: time to the first finished block, mean time per output token, and all of it."""
    whole, part = (denoising_pass_time(plan, work, batch) for batch in (whole_prefill, block_pass))
    wholes, parts = denoising_counts(plan, work)
    total = whole.times(wholes).plus(part.times(parts))
    # every block has as many passes: one over everything where there is a cache, all of them where there is none
    first = whole.times(wholes / work.blocks).plus(part.times(parts / work.blocks))
    return Latency(first, total.times(1 / work.output), total)


def denoising_pass_time(plan: Deployment, work: Workload, batch_of: Callable[[Deployment, Workload], Batch]) -> Time:
    """Seconds of one denoising pass of all sequences, shared among the stages of a pipeline."""
    count = microbatches(plan, plan.share(work.batch))
    part = replace(work, batch=work.batch / count) if plan.pp > 1 else work
    return pipelined(Constants(plan.gpu, plan.engine), plan, Passes(count, batch_of(plan, part)), "prefill")


def prefill_time(plan: Deployment, work: Workload) -> Time:
    """Seconds until every prompt of the batch has its first token; a draft passes them too, after the target."""
    c = Constants(plan.gpu, plan.engine)
    time = pipelined(c, plan, prefill_passes(plan, work), "prefill", c.costs.prompt_s)
    if plan.offload.prefix and work.shares:
        found = minimum(work.prefix, work.prompt - 1) // plan.engine.block * plan.engine.block
        time = time.plus(replace(loading_time(plan, found), spread=time.spread))
    return time if plan.speculation is None else _then(time, _rounds_time(c, draft_prefill(plan, work)))


def loading_time(plan: Deployment, tokens: Number, place: str = "") -> Time:
    """Seconds to bring the cache of `tokens` of one sequence back to the devices, each stage its own part at once."""
    rate = plan.offload.bytes_per_s(plan.gpu, place or plan.offload.prefix or plan.offload.to)
    sizes = [plan.model.kv_bytes(tokens, plan.precision, plan.tp, blocks) for blocks, _ in plan.stages()]
    seconds = reduce(maximum, sizes) / rate
    return Time(seconds, seconds / REACHED, 0, 0, seconds / REACHED, 0)


def fed(plan: Deployment, time: Time, ops: list[Op], blocks: tuple[Block, ...]) -> Time:
    """The time of a stage that waits for what is offloaded of it.

        max(computing, bytes/link): the next layer is sent while one computes (Sheng et al. 2023, FlexGen, §4.3)

    Weights are sent whole in every pass, all experts too: they are under way before it is known who is chosen.
    """
    if not plan.offload.streams:
        return time
    weights = plan.model.weight_bytes(plan.precision, plan.tp, blocks, "none")["layers"]
    read, written = (added([getattr(op, n) * op.repeat for op in ops]) for n in ("kv_read_bytes", "kv_write_bytes"))
    seconds = plan.offload.pass_bytes(weights, read, written) / plan.offload.bytes_per_s(plan.gpu, plan.offload.to)
    waiting = maximum(seconds / REACHED - time.expected, 0)
    expected = time.expected + waiting
    return replace(time, bound=maximum(time.bound, seconds), expected=expected, link=time.link + waiting)


def decode_time(plan: Deployment, work: Workload, context: Number, constants: Constants | None = None) -> Time:
    """Seconds of a decode step for each token that it yields, with `context` tokens of each sequence before it.

    Without speculation that is the step; with it, the step over its expected tokens:
    (draft + verify)/E (Leviathan et al. 2023, thm. 3.8, with times in place of their c).
    """
    step = step_time(plan, work, context, constants)
    return step if plan.speculation is None else step.times(1 / plan.speculation.tokens_a_pass)


def step_time(plan: Deployment, work: Workload, context: Number, constants: Constants | None = None) -> Time:
    """Seconds of one decode step: what is guessed, then the pass, and what accepting costs; of one denoising pass."""
    if plan.model.bidirectional:
        return denoising_pass_time(plan, work, block_pass)
    c = constants or Constants(plan.gpu, plan.engine)
    time = pipelined(c, plan, decode_passes(plan, work, context), "decode" if plan.cache else "prefill")
    if plan.speculation is None:
        return time
    step = _then(time, draft_time(plan, work, context, c))
    more = plan.engine.accepting * step.expected
    return replace(step, expected=step.expected + more, overhead=step.overhead + more)


def draft_time(plan: Deployment, work: Workload, context: Number, constants: Constants | None = None) -> Time:
    """Seconds that guessing takes of a step, for all sequences at once; each of its passes is one of the engine."""
    c = constants or Constants(plan.gpu, plan.engine)
    part = plan.part(work)
    time = _rounds_time(c, draft_rounds(plan, part.sequences, context))
    host = host_s(plan, part.sequences)
    return replace(time, expected=time.expected + host, overhead=time.overhead + host)


def _rounds_time(c: Constants, rounds: list[Round]) -> Time:
    total = Time(0, 0, 0, 0, 0, 0)
    for count, ops, layers in rounds:
        each = stage_time(c, ops, layers)
        spent = c.costs.pass_s
        each = replace(each, expected=each.expected + spent, overhead=each.overhead + spent)
        total = _then(each.times(count), total)
    return total


def _then(time: Time, more: Time) -> Time:
    """`time` and `more`, as wide as `time`: what drafts add is within its interval."""
    return Time(**{name: getattr(time, name) + getattr(more, name) for name in SECONDS}, spread=time.spread)


# Gauss–Legendre nodes and weights on [0, 1] (Abramowitz & Stegun 1964, table 25.4, n = 4)
_NODES = (0.06943184420297371, 0.33000947820757187, 0.6699905217924281, 0.9305681557970262)
_WEIGHTS = (0.17392742256872693, 0.32607257743127307, 0.32607257743127307, 0.17392742256872693)


def mean_decode_time(plan: Deployment, work: Workload) -> Time:
    """The mean of the n = T − 1 decode steps, at contexts S, S + 1, …, S + n − 1, by a weighted few of them."""
    n = maximum(work.decode_steps, 1)
    c = Constants(plan.gpu, plan.engine)
    places = _smooth_places(plan, work.prompt, n) if plan.cache else _stepped_places(work.prompt, n)
    return reduce(_then, (decode_time(plan, work, x, c).times(w) for x, w in places))  # all as wide as one step


def _smooth_places(plan: Deployment, first: Number, n: Number) -> list[tuple[Number, float]]:
    """(context, weight) where a step's time is smooth in its context, but for changes of slope.

    The mean over the steps is that over an interval of width √(n² − 1) about their middle, which has the same
    variance: exact for one step, and where a step is quadratic in its context. Four nodes are exact to the seventh
    power. Where a term changes slope on the way (a window fills) the way is cut into panels, which leaves less
    than 10⁻³.
    """
    panels = 8 if plan.edges else 1
    middle, wide = first + (n - 1) / 2, sqrt(n * n - 1)
    places = [((i + x) / panels, w / panels) for i in range(panels) for x, w in zip(_NODES, _WEIGHTS, strict=True)]
    return [(middle + (x - 0.5) * wide, w) for x, w in places]


PANELS, TILE = 24, 64
"""Parts of a generation without a cache, and the queries that the smallest tile of prefill attention takes."""


def _stepped_places(first: Number, n: Number) -> list[tuple[Number, Number]]:
    """(context, weight) without a cache: a step is a prefill, whose time jumps with every further tile of queries.

    The n steps are cut into panels of whole steps, which end where a tile does if one ends near. Of a panel of c steps
    two nodes stand for all, √((c² − 1)/12) about its middle: the same mean and variance, exact for one and two steps
    and to the third power for more, and within the panel, so that no node sees a tile that none of its steps has.
    """
    ends: list[Number] = [0]
    for i in range(1, PANELS):
        end = ceil(n * i / PANELS - 0.5)
        tile = minimum(maximum(ceil((first + end) / TILE - 0.5) * TILE - first, 0), n)
        end = end + (tile - end) * (abs(tile - end) <= n / PANELS / 2 + 0.5)
        ends.append(end)
    places: list[tuple[Number, Number]] = []
    for start, end in pairwise([*ends, n]):
        middle, apart = first + (start + end - 1) / 2, sqrt(maximum((end - start) ** 2 - 1, 0) / 12)
        places += [(middle + side, (end - start) / n / 2) for side in (-apart, apart)]
    return places


def pipelined(c: Constants, plan: Deployment, passes: Passes, phase: str, prompt_s: float = 0.0) -> Time:
    """`passes` through the stages: one fills the pipeline, each further one waits for the slowest stage.

        Σ stages + (count − 1)·slowest stage             (Huang et al. 2019, GPipe, §2.3)
        slowest + (Σ others)/v + (count − 1)·slowest     v pieces of the model a stage (Narayanan et al. 2021, §2.2)
        max(Σ stages, count·slowest)                     a step of a decode: the pipeline is never emptied, and a
                                                         sequence's next token follows its last through it

    To that comes the engine's time of each pass and of its sequences, and `prompt_s` once.
    """
    costs = c.costs
    stages: list[Time] = []
    known: dict[int, Time] = {}  # alike stages have one list of ops
    for ops, (blocks, _) in zip(stage_passes(plan, passes.batch), plan.stages(), strict=True):
        if id(ops) not in known:
            time = stage_time(c, ops, sum(b.repeat for b in blocks if not b.inner), plan.overlap)
            known[id(ops)] = fed(plan, time, ops, blocks)
        stages.append(known[id(ops)])
    through, slowest = reduce(Time.plus, stages), reduce(_slower, stages)
    total = through.times(passes.count)
    if plan.pp > 1:
        v, fills = plan.interleave, ceil(passes.count / costs.in_flight) if costs.in_flight else 1
        fill = through if v == 1 else through.times(1 / v).plus(slowest.times(1 - 1 / v))
        streamed = fill.times(fills).plus(slowest.times(passes.count - fills))
        if phase == "decode":
            streamed = _slower(through, slowest.times(passes.count))
        total = total.times(1 - costs.overlap).plus(streamed.times(costs.overlap))
    boundaries = costs.boundary_s * (plan.pp - 1)
    engine = (costs.pass_s + costs.sequence_s * passes.batch.sequences + boundaries) * passes.count + prompt_s
    overhead = total.overhead + engine
    return replace(total, expected=total.expected + engine, overhead=overhead, spread=spread(c, plan, phase))


def _slower(a: Time, b: Time) -> Time:
    bound, expected, *legs = (maximum(getattr(a, name), getattr(b, name)) for name in SECONDS)
    # legs of two stages need not add up to the slower one's time: scale them to it
    scale = expected / added(legs)
    return Time(bound, expected, *(leg * scale for leg in legs))


def stage_time(c: Constants, ops: list[Op], layers: Number, overlap: float = 0.0) -> Time:
    """One pass of one stage of so many layers: its kernels one after another, and the engine's time a layer.

    Where the host launches each kernel by itself, a pass takes no less than the host needs for that. Of communication
    and all other work, an `overlap` of the shorter hides behind the longer (Gond et al. 2025, TokenWeave).
    """
    columns: list[list[Number]] = [[], [], [], [], []]
    for kernel in launches(ops):
        for column, value in zip(
            columns,
            (bound_s(kernel.whole, c.gpu, c.engine.half_sums), *legs_of(expected_waits(kernel.whole, c))),
            strict=True,
        ):
            column.append(value * kernel.whole.repeat)
    costs = c.costs
    sustained = c.of("sustained", "bf16")
    columns[4].append(layers * costs.layer_s * sustained.layer)
    bound, *legs = (added(column) for column in columns)
    if overlap:
        talk = added([bound_s(op, c.gpu) * op.repeat for op in ops if op.kind == "collective"])
        bound = bound - overlap * minimum(talk, bound - talk)
        legs[2] = legs[2] - overlap * minimum(legs[2], legs[0] + legs[1] + legs[3])
    if costs.host_layer_s:
        legs[3] = legs[3] + maximum(layers * costs.host_layer_s * sustained.host - added(legs), 0)
    return Time(bound, added(legs), *legs)


def legs_of(waits: Waits) -> tuple[Number, Number, Number, Number]:
    """Expected seconds on each leg: √(a² + b²) is a²/√(a² + b²) of a and the rest of b."""
    if isinstance(waits.compute, (int, float)) and waits.compute == 0:
        return 0, waits.bandwidth + waits.alone, waits.link, waits.overhead
    together = waits.total - waits.overhead - waits.link - waits.alone
    computing = waits.compute * waits.compute / together
    return computing, together - computing + waits.alone, waits.link, waits.overhead


def added(parts: list[Number]) -> Number:
    """The sum, small arrays first, so that a sweep broadcasts as late as it can."""
    total: Number = 0
    for part in sorted(parts, key=lambda part: getattr(part, "size", 1)):
        total = total + part
    return total
