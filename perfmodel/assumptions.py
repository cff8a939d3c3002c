"""What an answer rests on, and what to beware of: sentences that stand beside the figures."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite

from perfmodel.arithmetic import Number
from perfmodel.batching import first_step
from perfmodel.breakeven import MOST, break_even, weight_only
from perfmodel.calibration import Constants
from perfmodel.deployment import Deployment
from perfmodel.errors import RequestError
from perfmodel.exempt import whole_of
from perfmodel.expected import OUTLIERS_S
from perfmodel.interval import basis, spread
from perfmodel.layers.moe import MixtureOfExperts
from perfmodel.levers import limit_warning, limits_told, sentences
from perfmodel.precision import ALWAYS, number_format
from perfmodel.speculation.drafting import draft_tp
from perfmodel.speculation.method import METHODS, WINDOW, Speculation
from perfmodel.workload import Workload

STEEPEST = 10.0  # of a routing skew: the first expert then takes all that a token may give it


def skew_checked(skew: object) -> float:
    """An exponent of the experts' popularity, from 0; RequestError in one sentence for anything else."""
    if isinstance(skew, bool) or not isinstance(skew, (int, float)) or not isfinite(skew) or not 0 <= skew <= STEEPEST:
        raise RequestError(
            f"--routing-skew must be a number from 0 (all experts alike) to {STEEPEST:g}, like 0.8; got {skew!r}."
        )
    return float(skew)


def assumptions(
    plan: Deployment, work: Workload, chosen: str, price: float | None, offloaded: Number = 0
) -> Iterator[str]:
    """What the figures rest on; `chosen` says who chose the split, `offloaded` is in bytes of one device."""
    p = plan.precision
    stored = f"{p.weights.name} weights{_as_declared(plan)}"
    stored += _in_other_formats(plan)
    if p.exempt != p.weights:
        wide = f"{'' if p.table else 'embedding, '}norms{_and_exempt(plan)}"
        table = f", embedding {p.table.name}" if p.table else ""
        head = f" {p.exempt.name}, LM head {p.head.weights.name}" if p.head else f" and LM head {p.exempt.name}"
        stored += f" ({wide}{head}{table})"
    kept_in = f"{p.kv.name} KV cache" if plan.cache else "no KV cache"
    yield chosen
    yield from plan.model.notes
    yield f"{stored}, {kept_in}, {p.activations.name} activations; matrix products at the {p.compute} peak"
    yield from _products(plan, work)
    yield limits_told(plan.engine)
    recomputed = "" if plan.cache else ", no KV cache: every step recomputes all"
    yield f"static batch, {plan.attention} attention{recomputed}"
    yield from sentences(plan, work, offloaded)
    if plan.model.bidirectional:
        yield _denoising(plan, work)
    if plan.speculation is not None:
        yield _speculating(plan, plan.speculation)
    if plan.lora:
        yield f"{plan.lora.told()}, a sequence each, not merged into the weights; all of them in device memory"
    if plan.sampling:
        yield f"sampler: {', '.join(plan.sampling)}, each step a kernel of its own over FP32 logits"
    if work.images:
        several = f"{work.images:,} images of" if work.images > 1 else "one image of"
        yield f"{several} {work.image_tokens:,} tokens in each prompt; their encoder is not modelled"
    if plan.server:
        yield "TTFT holds a request's HTTP and tokenization, some of which the engine's overheads may hold already"
    yield from _shared(plan, work)
    yield from _routing(plan, first_step(plan, work).tokens)
    c = Constants(plan.gpu, plan.engine)
    prefill, decode = (spread(c, plan, phase) - 1 for phase in ("prefill", "decode"))
    yield f"expected error: TTFT ±{prefill:.0%}, TPOT ±{decode:.0%} in 80 % of cases ({basis(plan)})"
    if price is None and plan.gpu.price:
        yield f"list price {plan.gpu.price.per_hour:g} USD per GPU-hour, seen {plan.gpu.price.date}"


def _as_declared(plan: Deployment) -> str:
    """That the formats are the checkpoint's own, and where the device widens them."""
    declared, p = plan.model.quantization, plan.precision
    if declared is None or declared.weights != p.weights.name:
        return ""
    if declared.activations in (None, p.activations.name):
        return " as the checkpoint declares"
    if (number_format(declared.activations, "").computes or "") in plan.gpu.peak_flops:
        return " as the checkpoint declares"  # and the user asked for other activations
    widened = f"widened as they are read, for {plan.gpu.name} does not compute in {declared.activations}"
    return f" as the checkpoint declares, {widened}"


def _in_other_formats(plan: Deployment) -> str:
    """The parts that the checkpoint keeps in other formats than most, where these hold."""
    parts: dict[str, set[str]] = {}
    held = {other.weights.name for other in plan.precision.others}
    for kept in (kept for block in plan.model.blocks for kept in block.formats if kept.format in held):
        parts.setdefault(kept.format, set()).update(kept.tensors)
    return "".join(f", {', '.join(sorted(names))} {name}" for name, names in sorted(parts.items()))


def _and_exempt(plan: Deployment) -> str:
    """The parts that the checkpoint leaves in 16 bits."""
    blocks = plan.model.blocks
    whole = [block for block in blocks if set(whole_of(block)) <= set(block.exempt)]
    layers = sum(block.repeat for block in whole if not block.inner)
    if layers == plan.model.layers:
        whole, layers = [], 0
    names = sorted({name for block in blocks if block not in whole for name in block.exempt})
    names += [f"{layers} whole layer{'s' * (layers != 1)}"] if layers else []
    return f", {', '.join(names)}" if names else ""


def _products(plan: Deployment, work: Workload) -> Iterator[str]:
    """What becomes of quantized weights in a product, and to which batch that pays."""
    p = plan.precision
    if p.weights.outliers and p.compute == p.weights.computes:
        yield (
            f"LLM.int8(): {p.weights.outliers:.1%} of the inputs in a second product of {p.stream.name}, weights and "
            f"inputs of the first in int8; the host reads back which, for {OUTLIERS_S * 1e3:g} ms a product"
        )
    if not weight_only(p):
        return
    most = p.weights.fused if p.fused is None else p.fused
    where = f"inside the products, which run at the {p.compute} peak"
    if most is not None and most < ALWAYS:
        apart = "written out in memory before the product"
        where = f"{where}, up to {most:,} row{'s' * (most != 1)}, and {apart} beyond" if most else apart
    yield f"{p.weights.name} weights are widened to {p.stream.name} {where}"
    sizes = (work.batch, work.prompt, work.output)
    if plan.cache and not plan.model.bidirectional and not any(hasattr(size, "shape") for size in sizes):
        yield _paying(plan, work)


def _paying(plan: Deployment, work: Workload) -> str:
    """To which batch weights that are narrow, while their products are not, decode faster than wide ones."""
    p = plan.precision
    batch = break_even(plan, work)
    told = f"{p.weights.name} weights decode no slower than {p.stream.name} ones"
    if batch == 0:
        return f"{told} at no batch here, and only save memory"
    return f"{told} up to batch {batch:,} here" if batch else f"{told} at any batch up to {MOST:,} here"


def _denoising(plan: Deployment, work: Workload) -> str:
    """How many passes write the output, and what each passes."""
    kept = (
        "the first of each passes everything, the others the block alone, with keys and values of the rest kept "
        "(Fast-dLLM's dual cache)"
        if plan.cache
        else "each passes prompt and output whole (LLaDA's own sampler)"
    )
    if any(hasattr(size, "shape") for size in (work.steps, work.blocks)):
        return f"writes by denoising, in blocks; {kept}"
    return f"writes by denoising: {work.steps:,} steps over {work.blocks:,} blocks of {work.block:,} tokens; {kept}"


def _speculating(plan: Deployment, s: Speculation) -> str:
    """What guesses, how many tokens, how often right, and what that rests on."""
    by = METHODS[s.method].title
    if s.draft is not None:
        kept = s.precision.weights.name if s.precision else ""
        model = f", {s.draft.name} in {kept}" if s.method == "draft" else f" in {kept}"
        by += f"{model} on {f'{tp} GPUs together' if (tp := draft_tp(plan, s)) > 1 else 'every GPU'}"
    ahead = f"{s.guesses} token{'s' * (s.guesses > 1)} ahead"
    shape = f"a tree of {s.nodes}, {s.guesses} deep" if s.nodes else ahead
    if s.method == "lookahead":
        shape = f"up to {s.guesses} tokens ahead by windows of {WINDOW}"
    rates = ", ".join(f"{rate:.3g}" for rate in s.rates)
    source = "as given" if s.stated else f"typical ({METHODS[s.method].source})"
    return (
        f"speculation by {by}: guesses {shape}, verifies {s.verified} tokens of each sequence a pass; acceptance "
        f"{rates}, {source}: {s.tokens_a_pass:.3g} tokens a pass; accepting takes {plan.engine.accepting:.1%} of a step"
    )


def _shared(plan: Deployment, work: Workload) -> Iterator[str]:
    """What devices do together beside tensor parallelism, and how."""
    groups = plan.dp * plan.replicas
    batch = work.largest().batch
    if groups > 1:
        shared = plan.dp > 1 and plan.model.has_experts
        what = "groups that repeat attention and dense layers and share experts" if shared else "replicas"
        yield f"the batch is over {groups} {what}: {plan.share(batch):,} sequences at most in each"
    if plan.exchanged == "all-gather":
        yield "tokens reach experts by an all-gather in 16 bits and come back by a reduce-scatter"
    if plan.exchanged in ("all-to-all", "deepep"):
        fed, by = plan.precision.main.activations.name, "DeepEP" if plan.exchanged == "deepep" else "an all-to-all"
        yield f"tokens reach experts by {by} in {fed}, once a device, and come back in 16 bits"
    if plan.cp > 1:
        yield "prompts in zig-zag parts, keys and values gathered in each layer; each decode step repeats all products"
    if plan.pp > 1 and (plan.microbatches or plan.interleave > 1):
        cut = f"{plan.microbatches} micro-batches" if plan.microbatches else "a micro-batch a stage"
        yield f"pipeline of {cut}" + (f", {plan.interleave} pieces on each stage" if plan.interleave > 1 else "")
    if plan.overlap:
        yield f"{plan.overlap:.0%} of communication, or of what it hides behind, overlaps"


def _routing(plan: Deployment, tokens: Number) -> Iterator[str]:
    """How tokens choose experts, and how many of them a decode step reaches."""
    parts = [block.feed_forward for block in plan.model.blocks]
    kinds = {(e.experts, e.chosen): e for e in parts if isinstance(e, MixtureOfExperts)}
    if not kinds:
        return
    skew = plan.routing_skew
    tokens = tokens if plan.dp == 1 else tokens * plan.dp
    how = f"popularity i^−{skew:g} of expert i" if skew else "all experts alike"
    each = (f"{e.touched(tokens, skew):.4g} of {e.experts:,} experts" for e in kinds.values())
    if hasattr(tokens, "shape"):
        yield f"routing: {how}"
    else:
        step = f"a decode step of {tokens:,} token{'s' * (tokens != 1)} reaches"
        yield f"routing: {how}; {step} {' and '.join(each)} in a layer{_unevenly(plan, tokens, list(kinds.values()))}"


def _unevenly(plan: Deployment, tokens: Number, kinds: list[MixtureOfExperts]) -> str:
    """How much more the busiest part of the experts has to do than the mean."""
    if plan.ep == 1:
        return ""
    over = max(e.busiest(tokens, plan.ep, plan.routing_skew, plan.balanced) for e in kinds)
    return f", and the busiest of {plan.ep} parts has {over:.3g} times the mean of rows"


def _without_effect(plan: Deployment) -> Iterator[str]:
    """Levers that were given and move nothing here."""
    if plan.pp == 1 and (plan.microbatches or plan.interleave > 1):
        yield "--microbatches and --interleave change nothing without pipeline stages (--pp)."
    if plan.exchange != "auto" and plan.exchanged == "none":
        yield f"--exchange {plan.exchange} changes nothing: every group of GPUs holds all experts; give --dp or --ep."
    if plan.balanced and plan.ep == 1:
        yield "--balanced-experts changes nothing: the experts are in one part; give --ep."


def warnings(plan: Deployment, work: Workload) -> Iterator[str]:
    """What may make the answer another one than was asked for."""
    model, length = plan.model, work.largest().length
    limit = model.extended_context or model.max_context
    if length > limit:
        yield f"prompt + output is {length:,} tokens; {model.name} takes at most {limit:,}."
    if plan.routing_skew and not any(isinstance(b.feed_forward, MixtureOfExperts) for b in model.blocks):
        yield f"--routing-skew changes nothing: {model.name} has no experts."
    if plan.speculation is not None and not plan.speculation.stated:
        yield (
            "acceptance depends on the text, the draft and the sampling, and a typical one was taken: give yours by "
            "--acceptance or --accepted-length."
        )
    yield from _without_effect(plan)
    if plan.tp > plan.gpu.domain:
        network = plan.gpu.scale_out.name if plan.gpu.scale_out else "the network"
        yield (
            f"tensor parallelism reaches over nodes of {plan.gpu.domain}: every layer sums over {network}; a pipeline "
            "stage on each node talks less."
        )
    yield from limit_warning(plan, work)
    if plan.gpu.price is None:
        yield f"no public price of {plan.gpu.name} is on file; give --price USD_PER_HOUR for costs."
