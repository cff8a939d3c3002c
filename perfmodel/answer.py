"""A question in names and numbers → an `Estimate`: memory, times, cost, and what they rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from perfmodel.arithmetic import Number, ceil
from perfmodel.asking import price_asked, workload_asked
from perfmodel.assumptions import assumptions, skew_checked, warnings
from perfmodel.batch import Batch
from perfmodel.batching import first_step, whole_prefill
from perfmodel.cache.offload import offload
from perfmodel.cache.policy import CachePolicy, cache_policy
from perfmodel.catalog import load_gpu, load_model
from perfmodel.deployment import Deployment, lora_for, precision_for
from perfmodel.errors import DoesNotFitError
from perfmodel.exempt import recipe, sparing
from perfmodel.forward import forward
from perfmodel.gpu import GPU
from perfmodel.images import with_images
from perfmodel.latency import Latency, denoising_pass_time, latency, step_time
from perfmodel.layers.sampling import sampling_of
from perfmodel.levers import attention_on, checked, engine_on, limited, sharing
from perfmodel.lora import Lora
from perfmodel.memory import Memory, longest_context, memory, most_sequences
from perfmodel.model import Model
from perfmodel.op import Op, Totals, totals
from perfmodel.placement import Asked, placed, schedule, too_big
from perfmodel.remedies import ways_out
from perfmodel.scaling import pruned
from perfmodel.speculation.drafts import Rates, speculation_for
from perfmodel.speculation.speedup import Gain, drafted_bytes, gain
from perfmodel.workload import BATCH, OUTPUT, PROMPT, Workload

MILLION, HOUR = 1_000_000, 3600


@dataclass(frozen=True)
class Range:
    """One figure as a bound by physics, the expected value, and an 80 % interval."""

    bound: Number
    expected: Number
    low: Number
    high: Number

    def to_dict(self) -> dict[str, Any]:
        return {name: plain(getattr(self, name)) for name in ("bound", "expected", "low", "high")}


@dataclass(frozen=True)
class Estimate:
    """The answer for one deployment and workload; sizes given as arrays make every figure an array."""

    plan: Deployment
    work: Workload
    memory: Memory
    latency: Latency
    price_per_hour: float | None
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def fits(self) -> Number:
        return self.memory.fits

    @property
    def ttft_s(self) -> Range:
        return _range(self.latency.ttft)

    @property
    def tpot_s(self) -> Range:
        """Mean time between output tokens after the first."""
        return _range(self.latency.tpot)

    @property
    def e2e_s(self) -> Range:
        return _range(self.latency.e2e)

    @property
    def tokens_per_s(self) -> Range:
        """Output tokens of all sequences over end-to-end time: B·T / e2e."""
        return _rate(self.work.output_tokens, self.latency.e2e)

    @property
    def tokens_per_s_per_user(self) -> Range:
        """How fast one user sees text appear: 1 / tpot."""
        return _rate(1, self.latency.tpot)

    @property
    def prefill(self) -> Totals:
        """What the prefill of all prompts computes and moves, counted once over the deployment."""
        return totals(self.prefill_ops())

    @property
    def decode(self) -> Totals:
        """The same of the first decode step after the prompt; with speculation, of the pass that verifies."""
        return totals(self.decode_ops())

    def prefill_ops(self, plan: Deployment | None = None) -> list[Op]:
        return forward(plan := plan or self.plan.whole(), whole_prefill(plan, self.work))

    def decode_ops(self, plan: Deployment | None = None) -> list[Op]:
        return forward(plan := plan or self.plan.whole(), first_step(plan, self.work))

    def first_step(self) -> Batch:
        """The first pass after the prefill, as one data-parallel group has it."""
        return first_step(self.plan, self.work)

    @property
    def mfu(self) -> Number:
        """Model-FLOPs utilisation of the prefill (Chowdhery et al. 2022, App. B)."""
        peak = self.plan.gpu.peak(self.plan.precision.compute) * self.plan.gpu_count
        time = self.latency.ttft
        if self.plan.model.bidirectional:  # the first block takes several passes
            time = denoising_pass_time(self.plan, self.work, whole_prefill)
        return utilisation(self.prefill.matmul_flops, time.expected, peak)

    @property
    def mbu(self) -> Number:
        """Model-bandwidth utilisation of the first decode step: weights and cache over time and peak bandwidth.

        Of replicas, of one: each reads weights of its own.
        """
        peak = self.plan.gpu.memory_bandwidth * self.plan.joined
        step = step_time(self.plan, self.work, self.work.prompt).expected
        return utilisation(self.step_bytes, step, peak)

    @property
    def step_bytes(self) -> Number:
        """What the first decode step of one copy must move; with speculation, the pass and what guesses for it."""
        part, whole = self.work, self.plan.whole()
        if self.plan.copies > 1:
            part = replace(self.work, batch=ceil(self.work.batch / self.plan.copies))
        counted = totals(forward(whole, first_step(whole, part)))
        return counted.compulsory_bytes + drafted_bytes(self.plan, part)

    @property
    def gain(self) -> Gain | None:
        """What speculation brings; None without it, and where sizes are arrays."""
        return gain(self.plan, self.work)

    @property
    def usd_per_million_tokens(self) -> Range | None:
        """Cost of a million output tokens; None where no price is known."""
        if self.price_per_hour is None:
            return None
        return _scale(self.tokens_per_s, million_seconds_usd(self.price_per_hour, self.plan.gpu_count))

    @property
    def joules_per_token(self) -> Range | None:
        """Energy of an output token with every device at its full board power: an upper estimate."""
        power = self.plan.gpu.power
        return None if power is None else _scale(self.tokens_per_s, power * self.plan.gpu_count)

    @property
    def room(self) -> tuple[int, int]:
        """Most sequences at this length, and longest context at this batch."""
        return most_sequences(self.plan, self.work), longest_context(self.plan, self.work)

    def to_dict(self, breakdown: bool = False) -> dict[str, Any]:
        """The JSON contract of docs/json.md."""
        from perfmodel.contract import estimate_dict

        return estimate_dict(self, breakdown)

    def to_frame(self) -> Any:
        """A pandas DataFrame, one row a configuration."""
        return self.to_table().to_frame()

    def to_table(self, breakdown: bool = False) -> Any:
        """A perfmodel Table, one row a configuration; with `breakdown`, each op's seconds too."""
        from perfmodel.grid import estimate_table

        return estimate_table(self, breakdown)

    def explain(self) -> str:
        """Every equation with its numbers and its source, and the walk of shapes through both phases."""
        from perfmodel.explain import explanation

        text: str = explanation(self)
        return text

    def _repr_html_(self) -> str:
        """As notebooks show it: of one size in words and numbers, of arrays as a table."""
        if hasattr(self.fits, "shape"):
            return str(self.to_table()._repr_html_())
        from perfmodel.report.notebook import notebook_html

        return str(notebook_html(self))


def utilisation(amount: Number, seconds: Number, peak: Number) -> Number:
    """Share of a peak rate that `amount` in `seconds` is."""
    return amount / (seconds * peak)


def million_seconds_usd(per_hour: Number, devices: Number) -> Number:
    """USD of `devices` for a million seconds: divided by tokens/s, the price of a million tokens."""
    return per_hour * devices / HOUR * MILLION


def _range(time: Any) -> Range:
    return Range(time.bound, time.expected, time.low, time.high)


def _rate(amount: Number, time: Any) -> Range:
    return Range(amount / time.bound, amount / time.expected, amount / time.high, amount / time.low)


def _scale(rate: Range, per_second: float) -> Range:
    return Range(per_second / rate.bound, per_second / rate.expected, per_second / rate.high, per_second / rate.low)


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: whole floats of counts as they are, arrays as lists."""
    return value.tolist() if hasattr(value, "tolist") else value


def estimate(
    model: str | Model,
    gpu: str | GPU,
    *,
    gpu_count: int | None = None,
    tp: int | None = None,
    pp: int | None = None,
    dp: int | None = None,
    ep: int | None = None,
    cp: int | None = None,
    replicas: int | None = None,
    microbatches: int | None = None,
    interleave: int = 1,
    overlap: float = 0.0,
    exchange: str = "auto",
    balanced_experts: bool = False,
    batch: Any = BATCH,
    prompt: Any = PROMPT,
    output: Any = OUTPUT,
    weights: str | None = None,
    kv: str | None = None,
    activations: str | None = None,
    exempt: str | None = None,
    dequantize: str | int | None = None,
    attention: str = "flash",
    kv_cache: bool = True,
    engine: str = "vllm",
    memory_share: float | None = None,
    price: float | None = None,
    assume: str | None = None,
    prune: str | Mapping[str, int] | None = None,
    routing_skew: float = 0.0,
    denoising_steps: Any = None,
    block_length: Any = None,
    draft: str | Model | None = None,
    speculate: str | None = None,
    draft_tokens: int | None = None,
    draft_tree: int | None = None,
    acceptance: Rates = None,
    accepted_length: float | None = None,
    draft_tp: int | None = None,
    draft_weights: str | None = None,
    lora: str | Lora | None = None,
    sampling: str | tuple[str, ...] | None = None,
    images: int | None = None,
    image_size: str | None = None,
    image_tokens: int | None = None,
    server: bool = False,
    kv_policy: str | CachePolicy | None = None,
    kv_block: int | None = None,
    max_num_seqs: int | None = None,
    max_num_batched_tokens: int | None = None,
    offload_weights: float = 0.0,
    offload_kv: float = 0.0,
    offload_to: str = "host",
    offload_bandwidth: str | None = None,
    prefix: int = 0,
    prefix_hit: float = 1.0,
    prefix_from: str | None = None,
    shared_prefix_attention: bool = False,
    samples: int = 1,
    beams: int = 1,
    must_fit: bool = True,
) -> Estimate:
    """The `Estimate` of serving `model` on `gpu`.

    `model` and `gpu` are names, aliases, Hub ids, paths, or specs. `batch`, `prompt` and `output` (tokens) may be
    arrays that broadcast together. Without `gpu_count`, `tp` or `pp` the fewest devices that hold model and workload
    are taken. `dp` groups of tp devices share experts, which are in `ep` parts; `cp` devices share each sequence;
    `replicas` share nothing; `batch` is over all of them. `microbatches` and `interleave` shape a pipeline, `overlap`
    (0 to 1) hides communication, `exchange` says how tokens reach experts, and `balanced_experts` that they are placed
    by their load. `exempt` names what of quantized weights stays in 16 bits (perfmodel.exempt), `dequantize` where
    weights that no matrix unit takes are widened (perfmodel.deployment.rows_fused). `price` is USD per device and hour.
    `assume` is the family to read a config.json of unknown model_type as; `prune` gives the model other sizes
    (perfmodel.scaling), as a mapping or as "layers=32,hidden=4096"; `routing_skew` is the exponent α of the experts'
    popularity i^−α. Models that write by denoising take `denoising_steps` passes (one a token) over blocks of
    `block_length` tokens. `draft` (a model) or `speculate` (a method of perfmodel.speculation.method) guesses
    `draft_tokens` ahead, a chain or a tree of `draft_tree` tokens, right at rates of `acceptance` or with
    `accepted_length` tokens a pass. `lora` is "rank,targets,adapters" (perfmodel.lora); `sampling` names steps of the
    sampler beyond softmax and draw, like "top-p,penalties". `images` stand in each prompt besides `prompt` tokens of
    text, of `image_size` pixels or `image_tokens` tokens each (perfmodel.images); `server` counts a request's time on
    the host (perfmodel.frontend). `kv_policy` is a budget of cached tokens (perfmodel.cache.policy); `kv_block`,
    `max_num_seqs`, `max_num_batched_tokens` are limits of the engine; `offload_…` shares kept on the host
    (perfmodel.cache.offload); `prefix` to `beams` what sequences share (perfmodel.workload). Raises RequestError,
    UnknownNameError or SpecError when the question is wrong, DoesNotFitError when the answer is no (unless `must_fit`
    is False or sizes are arrays, where `fits` tells).
    """
    model = pruned(load_model(model, assume) if isinstance(model, str) else model, prune)
    gpu = load_gpu(gpu) if isinstance(gpu, str) else gpu
    weights, exempt = recipe(weights, exempt)
    precision = precision_for(gpu, weights, kv, activations, model.quantization, dequantize)
    model, precision = sparing(model, precision, exempt)
    work = workload_asked(model, prompt, output, batch, denoising_steps, block_length)
    guessing = speculation_for(
        model, gpu, precision, kv_cache, speculate, load_model(draft, assume) if isinstance(draft, str) else draft,
        draft_tokens, draft_tree, acceptance, accepted_length, draft_tp, draft_weights,
    )  # fmt: skip
    work = with_images(model, work, images, image_size, image_tokens)
    work = sharing(work, prefix, prefix_hit, samples, beams)
    single = Deployment(
        model,
        gpu,
        precision,
        limited(engine_on(gpu, engine, memory_share), gpu, kv_block, max_num_seqs, max_num_batched_tokens),
        attention=attention_on(gpu, attention),
        cache=kv_cache,
        routing_skew=skew_checked(routing_skew),
        speculation=guessing,
        lora=lora_for(model, lora),
        sampling=sampling_of(sampling),
        server=bool(server),
        cache_policy=cache_policy(kv_policy),
        shared_prefix_attention=shared_prefix_attention,
        offload=offload(offload_weights, offload_kv, offload_to, offload_bandwidth, prefix_from, gpu),
        **schedule(microbatches, interleave, overlap, exchange, balanced_experts),
    )
    plan, chosen = placed(checked(single, work), work, Asked(gpu_count, tp, pp, dp, ep, cp, replicas))
    held = memory(plan, work)
    if must_fit and held.fits is False:
        raise DoesNotFitError(too_big(plan, held), ways_out(plan, work))
    return Estimate(
        plan,
        work,
        held,
        latency(plan, work),
        price_asked(gpu, price),
        tuple(assumptions(plan, work, chosen, price, held.offloaded)),
        tuple(warnings(plan, work)),
    )
