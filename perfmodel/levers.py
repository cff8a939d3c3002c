"""Levers of cache and attention as they were asked for, checked against the model and the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from perfmodel.arithmetic import Number
from perfmodel.cache.formats import CacheFormat
from perfmodel.deployment import Deployment
from perfmodel.engine import FLAVOURS, Engine
from perfmodel.engine import engine as engine_named
from perfmodel.errors import RequestError
from perfmodel.gpu import GPU
from perfmodel.kernels.flash import ATTENTIONS, VARIANTS, speed
from perfmodel.spec import nearest
from perfmodel.workload import Workload, whole_number

ROOMY = 70 * 2**30
"""Bytes of memory from which vLLM takes more sequences at once (arg_utils.py: 70 GiB, and not an A100)."""


def attention_named(name: str) -> str:
    """A way to compute attention that there is; RequestError otherwise."""
    if name not in ATTENTIONS:
        guess = nearest(str(name), ATTENTIONS) or "flash"
        listed = ", ".join(ATTENTIONS)
        raise RequestError(f'--attention must be one of {listed}; got "{name}" (did you mean {guess}?).')
    return name


def attention_on(gpu: GPU, name: str) -> str:
    """A way to compute attention that `gpu` has; RequestError otherwise."""
    if speed(attention_named(name), gpu.architecture) is None:
        runs = [other for other in VARIANTS if speed(other, gpu.architecture) is not None]
        raise RequestError(
            f"--attention {name}: nobody has published what it does on {gpu.name} ({gpu.architecture}) beside the "
            f"kernels that were measured; use flash{''.join(f', {other}' for other in runs)} or naive."
        )
    return name


def engine_on(gpu: GPU, name: str, share: object) -> Engine:
    """The engine as it runs on `gpu`; "vllm@0.7.3" is that version of it."""
    plain, _, version = name.partition("@")
    if "@" in name and not version[:1].isdigit():
        raise RequestError(f'--engine {name}: a version is a number, as in "{plain}@0.7.3".')
    found = engine_named(plain, version, FLAVOURS.get(gpu.vendor, ""))
    if share is None:
        return found
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise RequestError(f"--memory-share must be above 0 and at most 1, like 0.9; got {share!r}.")
    return replace(found, memory_share=share, asked=("memory_share",))


def limited(engine: Engine, gpu: GPU, block: object, sequences: object, tokens: object) -> Engine:
    """`engine` as it runs on `gpu`, with the limits that were asked for in place of its own."""
    small = engine.small_limit and (gpu.memory < ROOMY or gpu.name.startswith("a100"))
    changed: dict[str, Number] = {"sequences_limit": engine.small_limit} if small else {}
    flags = {
        "block": ("--kv-block", block),
        "sequences_limit": ("--max-num-seqs", sequences),
        "token_budget": ("--max-num-batched-tokens", tokens),
    }
    given = {name: _one(value, use) for name, (use, value) in flags.items() if value is not None}
    changed |= given
    return replace(engine, **changed, asked=(*engine.asked, *given)) if changed else engine


def limits_told(engine: Engine) -> str:
    """Memory share, blocks and limits of a pass, for an answer's assumptions: those asked for, and defaults."""
    told = {
        "memory_share": f"{engine.memory_share:.0%} of memory",
        "block": f"KV blocks of {engine.block}",
        "token_budget": f"passes of at most {engine.token_budget:,} tokens",
    }
    if "sequences_limit" in engine.asked:
        told["sequences_limit"] = f"at most {engine.sequences_limit:,} sequences at once"
    asked = ", ".join(text for name, text in told.items() if name in engine.asked)
    usual = ", ".join(text for name, text in told.items() if name not in engine.asked)
    if not asked:
        return f"{engine.name} defaults: {usual}"
    return f"{engine.name}, as asked: {asked}{f'; its defaults: {usual}' if usual else ''}"


def sharing(work: Workload, prefix: object, hit: object, samples: object, beams: object) -> Workload:
    """`work` with a shared prefix, and so many completions or beams of each prompt."""
    if isinstance(prefix, bool) or not isinstance(prefix, int) or prefix < 0:
        raise RequestError(f"--prefix must be a whole number of tokens, 0 for none; got {prefix!r}.")
    if isinstance(hit, bool) or not isinstance(hit, (int, float)) or not 0 <= hit <= 1:
        raise RequestError(f"--prefix-hit must be a share of requests from 0 to 1, like 0.8; got {hit!r}.")
    if prefix > (shortest := work.smallest_prompt):
        raise RequestError(
            f"--prefix {prefix} is longer than the prompt of {shortest} tokens that begins with it; "
            f"use --prefix {shortest} at most, or a longer --prompt."
        )
    n, b = _one(samples, "--samples"), _one(beams, "--beams")
    if n > 1 and b > 1:
        raise RequestError("--samples and --beams exclude each other: a prompt is sampled, or searched by beams.")
    return replace(work, prefix=prefix, prefix_hit=float(hit), samples=n, beams=b)


def _one(value: object, use: str) -> int:
    if not isinstance(value, int):
        raise RequestError(f"{use} must be a whole number of at least 1; got {value!r}.")
    return int(whole_number(value, use))


def checked(plan: Deployment, work: Workload) -> Deployment:
    """`plan`, or RequestError where levers contradict each other, the model or the workload."""
    complaint = next(_complaints(plan, work), None)
    if complaint:
        raise RequestError(complaint)
    return plan


def _complaints(plan: Deployment, work: Workload) -> Iterator[str]:
    policy, off, model = plan.cache_policy, plan.offload, plan.model
    asked = {
        "--kv-policy": policy is not None,
        "--prefix": work.prefix != 0,
        "--shared-prefix-attention": plan.shared_prefix_attention,
        "--offload-kv": off.kv > 0,
    }
    used = [use for use, given in asked.items() if given]
    if used and not plan.cache:
        yield f"{used[0]} is about the KV cache, which --no-kv-cache does without; give one of them."
    wide = [use for use, n in (("--samples", work.samples), ("--beams", work.beams)) if n > 1]
    if model.bidirectional and (used or wide):
        yield f"{(used + wide)[0]} is for models that write token by token; {model.name} writes by denoising."
    mixers = [mixer for block in model.blocks for mixer in block.mixers]
    if policy is not None and not any(mixer.plain for mixer in mixers):
        yield f"--kv-policy: {model.name} has no layer with ordinary attention: {_why(mixers)}."
    if policy is not None and plan.shared_prefix_attention:
        yield "--shared-prefix-attention reads one cache for all, --kv-policy keeps other tokens of each; give one."
    kv, others = plan.precision.kv, [mixer for mixer in mixers if mixer.kind in ("latent", "compressed")]
    if isinstance(kv, CacheFormat) and kv.residual and others:
        yield (
            f"--kv {kv.name} packs keys and values of heads, by channel and by token; {model.name} keeps "
            f"{_why(others)}; --kv fp8 would work."
        )
    if off.prefix and work.prefix == 0:
        yield f"--prefix-from {off.prefix} needs a prefix that waits there, like --prefix 1000."
    if plan.shared_prefix_attention and not work.shares:
        yield "--shared-prefix-attention needs something in common: --prefix, --samples or --beams."


def _why(mixers: Sequence[object]) -> str:
    """What stands in place of ordinary attention."""
    kinds = {
        "attention": "windows, which have a budget of their own",
        "latent": "one latent vector that serves all heads",
        "compressed": "a window and a compressed past",
    }
    found = dict.fromkeys(kinds.get(getattr(mixer, "kind", ""), "a state that does not grow") for mixer in mixers)
    return " and ".join(found) or "nothing is cached"


def sentences(plan: Deployment, work: Workload, offloaded: Number) -> Iterator[str]:
    """What the levers that are on mean, for an answer's assumptions."""
    policy, off = plan.cache_policy, plan.offload
    if plan.attention in VARIANTS:
        yield f"attention by {VARIANTS[plan.attention].told}, relative to the kernels that were measured"
    if policy is not None:
        blocks = plan.model.blocks
        layers = sum(block.repeat for block in blocks if any(mixer.plain for mixer in block.mixers))
        where = "" if layers == plan.model.layers else f" in the {layers} layers with ordinary attention"
        prefill = "the prefill sees sinks and window alone" if policy.windowed else "the prefill attends to everything"
        kept = "of the prompt, and all of the output" if policy.kind == "snapkv" else "of each sequence"
        yield f"{policy.source.split(',')[0]}: {policy.budget:,} cached tokens kept {kept}{where}; {prefill}"
    kv = plan.precision.kv
    if isinstance(kv, CacheFormat) and kv.residual:
        yield f"{kv.name}: the last {kv.residual} tokens of a sequence in {plan.precision.stream.name}"
    yield from _shared(plan, work)
    if off.streams:
        place = "memory of the host" if off.to == "host" else "a drive for each GPU"
        shares = ((off.weights, "layers' weights"), (off.kv, "KV cache"))
        told = [f"{share:.0%} of the {what}" for share, what in shares if share]
        size = "" if hasattr(offloaded, "shape") else f", {float(offloaded) * plan.gpu_count / 1e9:,.4g} GB in all"
        rate = off.bytes_per_s(plan.gpu, off.to) / 1e9
        yield (
            f"{' and '.join(told)} in {place}{size}, sent in every pass over {rate:,.4g} GB/s while the GPU computes; "
            "80 % of that rate is expected"
        )


def _shared(plan: Deployment, work: Workload) -> Iterator[str]:
    if work.samples > 1:
        yield f"{work.samples:,} completions of each prompt, which is computed and kept once; all count as output"
    if work.beams > 1:
        yield f"{work.beams:,} beams of each prompt, which share it and 70 % of what they write; one of them is output"
    if work.prefix and work.prefix_hit:
        where = {"": "", "host": ", brought from the host", "nvme": ", brought from a drive"}[plan.offload.prefix]
        yield (
            f"{work.prefix_hit:.0%} of the prompts find their first {work.prefix:,} tokens in the cache{where}, in "
            f"whole blocks of {plan.engine.block}; they are kept once"
        )
    if plan.shared_prefix_attention:
        yield "what sequences have in common is read once a step for all of them (cascade attention)"


def limit_warning(plan: Deployment, work: Workload) -> Iterator[str]:
    """That the engine would not run so many sequences at once."""
    limit, most = plan.engine.sequences_limit, work.largest().sequences
    if limit and most > limit:
        yield (
            f"{most:,} sequences are more than the {limit:,} that {plan.engine.name} runs at once (max_num_seqs); the "
            f"figures are of all at once: raise --max-num-seqs to {most}, or see lower --batch."
        )
