"""The JSON contract (docs/json.md): what scripts may rely on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perfmodel.answer import Estimate, Range, plain
from perfmodel.arithmetic import Number
from perfmodel.breakeven import weight_only
from perfmodel.calibrated import FACTORS, Calibration
from perfmodel.calibration import Constants
from perfmodel.catalog import ALL, load_architecture
from perfmodel.computes import ways
from perfmodel.expected import seconds_by_name
from perfmodel.gpu import GPU
from perfmodel.latency import LEGS, Time
from perfmodel.model import Model
from perfmodel.op import Op, Totals, totals
from perfmodel.precision import ALWAYS, Precision
from perfmodel.roofline import bound_s, ridge
from perfmodel.speculation.drafting import draft_kv_bytes, draft_weight_bytes
from perfmodel.speculation.speedup import Gain


def estimate_dict(answer: Estimate, breakdown: bool = False) -> dict[str, Any]:
    """An Estimate as plain data."""
    from perfmodel import __version__

    plan, held = answer.plan, answer.memory
    return {
        "version": __version__,
        "model": plan.model.name,
        "total_parameters": plan.model.total_parameters,
        "active_parameters": plan.model.active_parameters,
        "gpu": plan.gpu.name,
        "gpu_count": plan.gpu_count,
        "tp": plan.tp,
        "pp": plan.pp,
        "dp": plan.dp,
        "ep": plan.ep,
        "cp": plan.cp,
        "replicas": plan.replicas,
        "microbatches": plan.microbatches,
        "interleave": plan.interleave,
        "overlap": plan.overlap,
        "exchange": plan.exchanged,
        "balanced_experts": plan.balanced,
        "batch": plain(answer.work.batch),
        "prompt": plain(answer.work.prompt),
        "output": plain(answer.work.output),
        "images": answer.work.images,
        "image_tokens": answer.work.image_tokens,
        "precision": _precision(plan.precision),
        "attention": plan.attention,
        "kv_cache": plan.cache,
        "routing_skew": plan.routing_skew,
        "lora": plan.lora
        and {"rank": plan.lora.rank, "targets": list(plan.lora.targets), "adapters": plan.lora.adapters},
        "kv_policy": plan.cache_policy and str(plan.cache_policy),
        "shared_prefix_attention": plan.shared_prefix_attention,
        "offload": {
            "weights": plan.offload.weights,
            "kv": plan.offload.kv,
            "to": plan.offload.to,
            "prefix": plan.offload.prefix or None,
        },
        "prefix": plain(answer.work.prefix),
        "prefix_hit": answer.work.prefix_hit,
        "samples": answer.work.samples,
        "beams": answer.work.beams,
        "limits": {
            "kv_block": plan.engine.block,
            "max_num_seqs": plan.engine.sequences_limit or None,
            "max_num_batched_tokens": plan.engine.token_budget,
        },
        "engine": plan.engine.name,
        "sampling": list(plan.sampling),
        "server": plan.server,
        "fits": plain(held.fits),
        "ttft_s": answer.ttft_s.to_dict(),
        "tpot_s": answer.tpot_s.to_dict(),
        "e2e_s": answer.e2e_s.to_dict(),
        "tokens_per_s": answer.tokens_per_s.to_dict(),
        "tokens_per_s_per_user": answer.tokens_per_s_per_user.to_dict(),
        "usd_per_million_tokens": _maybe(answer.usd_per_million_tokens),
        "joules_per_token": _maybe(answer.joules_per_token),
        "mfu": plain(answer.mfu),
        "mbu": plain(answer.mbu),
        "ridge_flop_per_byte": ridge(plan.gpu, plan.precision.compute),
        "memory": {
            "weights_bytes": _count(held.weights),
            "kv_cache_bytes": _count(held.kv_cache),
            "kv_cache_waste_bytes": _count(held.kv_waste),
            "activations_bytes": _count(held.activations),
            "reserve_bytes": _count(held.reserve),
            "capacity_bytes": _count(held.capacity),
            "free_bytes": _count(held.free),
            "offloaded_bytes": _count(held.offloaded),
            "weights_by_component": {name: _count(size) for name, size in held.weights_by.items()},
        },
        "speculation": None if answer.gain is None else _speculation(answer.gain),
        "prefill": _phase(answer, answer.prefill, answer.latency.ttft, answer.prefill_ops, breakdown),
        "decode": _phase(answer, answer.decode, answer.latency.tpot, answer.decode_ops, breakdown),
        "assumptions": list(answer.assumptions),
        "warnings": list(answer.warnings),
    }


def _speculation(gain: Gain) -> dict[str, Any]:
    """What guesses ahead, what it costs a step, and what it brings."""
    s, drafted = gain.guessed, gain.drafted
    return {
        "method": s.method,
        "draft": s.draft.name if s.draft else None,
        "draft_tokens": s.guesses,
        "tree_tokens": s.nodes,
        "verified_tokens": s.verified,
        "acceptance": list(s.rates),
        "acceptance_given": s.stated,
        "tokens_a_pass": gain.tokens_a_pass,
        "speedup": gain.speedup,
        "best_draft_tokens": gain.best_guesses,
        "stops_paying_at_batch": gain.stops_at,
        "least_acceptance": gain.needs,
        "draft_s": gain.draft_s,
        "step_s": gain.step_s,
        "draft_flops": _count(drafted.flops),
        "draft_bytes": _count(drafted.bytes),
        "draft_weights_bytes": _count(draft_weight_bytes(gain.plan)),
        "draft_cache_bytes": _count(gain.plan.share(gain.work.batch) * draft_kv_bytes(gain.plan, gain.work.length)),
    }


def model_dict(model: Model) -> dict[str, Any]:
    """A model as plain data: what follows from its spec, and the spec."""
    stored = model.quantization
    return model_figures(model) | {
        "parameters_by_component": model.parameters(),
        "multi_token_parameters": model.multi_token_parameters,
        "quantization": stored.model_dump() if stored else None,
        "order": model.order,
        "notes": list(model.notes),
        "spec": model.model_dump(mode="json", exclude_none=True),
    }


def model_figures(model: Model) -> dict[str, Any]:
    """The main figures of a model; cache and state of one sequence in BF16."""
    plain16 = Precision.plain("bf16")
    state = model.kv_bytes(0, plain16)
    return {
        "name": model.name,
        "title": model.title,
        "family": model.family,
        "total_parameters": model.total_parameters,
        "active_parameters": model.active_parameters,
        "layers": model.layers,
        "kv_cache_bytes_per_token": _count(model.kv_bytes(1, plain16) - state),
        "state_bytes": _count(state),
        "max_context": model.max_context,
        "extended_context": model.extended_context,
        "released": model.released.isoformat() if model.released else None,
    }


def gpu_dict(gpu: GPU) -> dict[str, Any]:
    """A GPU as plain data: every figure in SI units, with its source."""
    return {
        "name": gpu.name,
        "title": gpu.title,
        "vendor": gpu.vendor,
        "architecture": gpu.architecture,
        "aliases": list(gpu.aliases),
        "figures": gpu_figures(gpu),
        "ridge_flop_per_byte": {name: gpu.peak(name) / gpu.memory_bandwidth for name in gpu.peak_flops},
        "weight_formats": [way._asdict() for way in ways(gpu)],
        "notes": list(gpu.notes),
        "calibration": {
            library: block.model_dump(mode="json", exclude_defaults=True)["kernels"]
            for library, block in gpu.calibration.items()
        },
        "inherits": inherited(gpu),
    }


def inherited(gpu: GPU) -> list[str]:
    """Whose constants hold for kernels that were not measured on a GPU: its architecture's, if any were measured on
    another device of it, then those of all devices."""
    found = {name: load_architecture(name) for name in (gpu.architecture, ALL)}
    return [name for name, shared in found.items() if shared and any(map(holds_kernels, shared.calibration.values()))]


def holds_kernels(block: Calibration) -> bool:
    """Whether constants of kernels are among what a library has, and not only factors on them."""
    return any(name not in FACTORS for name in block.kernels)


def gpu_main_figures(gpu: GPU) -> dict[str, Any]:
    """The main figures of a GPU."""
    return {
        "name": gpu.name,
        "title": gpu.title,
        "memory_bytes": gpu.memory,
        "memory_bandwidth_bytes_per_s": gpu.memory_bandwidth,
        "peak_16_bit_flop_per_s": max(gpu.peak_flops.get(name, 0) for name in ("bf16", "fp16", "fp32")),
        "usd_per_hour": gpu.price.per_hour if gpu.price else None,
    }


def gpu_figures(gpu: GPU) -> dict[str, dict[str, Any]]:
    """Figure → value, unit and source, in reading order; figures that are not known are left out."""
    rows: dict[str, tuple[Any, str]] = {
        "memory": (gpu.memory, "bytes"),
        "memory_sold": (gpu.memory_sold, "bytes"),
        "memory_bandwidth": (gpu.memory_bandwidth, "bytes/s"),
    }
    rows |= {f"peak_flops.{name}": (peak, "FLOP/s") for name, peak in gpu.peak_flops.items()}
    rows["compute_units"] = (gpu.compute_units, "")
    rows["boost_clock"] = (gpu.boost_clock, "Hz")
    rows["l2_cache"] = (gpu.l2_cache, "bytes")
    for i, link in enumerate(gpu.scale_up):
        rows[f"scale_up.{i}.name"] = (link.name, "")
        rows[f"scale_up.{i}.bandwidth"] = (link.bandwidth, "bytes/s")
        rows[f"scale_up.{i}.domain"] = (link.domain, "devices")
    if gpu.scale_out:
        rows["scale_out.name"] = (gpu.scale_out.name, "")
        rows["scale_out.bandwidth"] = (gpu.scale_out.bandwidth, "bytes/s")
    if gpu.host_link:
        rows["host_link.name"] = (gpu.host_link.name, "")
        rows["host_link.bandwidth"] = (gpu.host_link.bandwidth, "bytes/s")
    rows["power"] = (gpu.power, "W")
    if gpu.price:
        rows["price.per_hour"] = (gpu.price.per_hour, "USD/h")
        rows["price.date"] = (gpu.price.date.isoformat(), "")
    rows["compute_capability"] = (gpu.compute_capability, "")
    rows["year"] = (gpu.year, "")
    return {
        name: {"value": value, "unit": unit, "source": _source(gpu, name)}
        for name, (value, unit) in rows.items()
        if value is not None
    }


def _source(gpu: GPU, figure: str) -> str | None:
    source = gpu.source_of(figure)
    if source is None:
        return None
    parts = [source.title, source.url, source.date and source.date.isoformat()]
    return ", ".join(part for part in parts if part)


def _precision(p: Precision) -> dict[str, Any]:
    return {
        "weights": p.weights.name,
        "kv": p.kv.name,
        "activations": p.activations.name,
        "exempt": p.exempt.name,
        "compute": p.compute,
        "dequantize": _dequantize(p),
    }


def _dequantize(p: Precision) -> str | int | None:
    """Where weights that no matrix unit takes are widened: "fused", "unfused", or fused up to so many rows."""
    most = p.weights.fused if p.fused is None else p.fused
    if not weight_only(p):
        return None
    return "fused" if most is None or most >= ALWAYS else most or "unfused"


def _phase(answer: Estimate, counted: Totals, time: Time, ops_of: Any, breakdown: bool) -> dict[str, Any]:
    phase = {
        "flops": _count(counted.flops),
        "matmul_flops": _count(counted.matmul_flops),
        "matmul_flops_full_square": _count(counted.matmul_flops_full_square),
        "bytes": _count(counted.bytes),
        "weight_bytes": _count(counted.weight_bytes),
        "kv_read_bytes": _count(counted.kv_read_bytes),
        "kv_write_bytes": _count(counted.kv_write_bytes),
        "activation_bytes": _count(counted.activation_bytes + counted.spilled_bytes),
        "arithmetic_intensity": plain(counted.arithmetic_intensity),
        "bound_by": plain(time.bound_by),
        "spent_s": {leg: plain(getattr(time, leg)) for leg in LEGS},
    }
    return phase | ({"ops": op_rows(answer, ops_of)} if breakdown else {})


def op_rows(answer: Estimate, ops_of: Callable[..., list[Op]]) -> list[dict[str, Any]]:
    """The ops of a phase by name: counts of the whole deployment, which add up to the phase's, and the time that
    each takes, all its repetitions and stages together, on one GPU."""
    whole, shares = _by_name(ops_of()), _by_name(ops_of(answer.plan))
    seconds = seconds_by_name(ops_of(answer.plan), Constants(answer.plan.gpu, answer.plan.engine))
    return [_op_row(answer, whole.get(name, []), share, seconds[name]) for name, share in shares.items()]


def _by_name(ops: list[Op]) -> dict[str, list[Op]]:
    found: dict[str, list[Op]] = {}
    for op in ops:
        found.setdefault(op.name, []).append(op)
    return found


def _op_row(answer: Estimate, whole: list[Op], share: list[Op], seconds: Number) -> dict[str, Any]:
    gpu, counted, first = answer.plan.gpu, totals(whole), (whole or share)[0]
    intensity = None if first.kind in ("collective", "fused") else plain(counted.arithmetic_intensity)
    return {
        "name": first.name,
        "kind": first.kind,
        "repeat": sum(op.repeat for op in whole or share),
        "flops": _count(counted.flops),
        "full_square_flops": _count(sum(op.square_flops * op.repeat for op in whole)),
        "weight_bytes": _count(counted.weight_bytes),
        "kv_read_bytes": _count(counted.kv_read_bytes),
        "kv_write_bytes": _count(counted.kv_write_bytes),
        "activation_bytes": _count(counted.activation_bytes + counted.spilled_bytes),
        "wire_bytes": _count(sum(op.wire_bytes * op.repeat for op in share)),
        "arithmetic_intensity": intensity,
        "inputs": [[plain(size) for size in shape] for shape in first.inputs],
        "output": [plain(size) for size in first.output],
        "bound_s": plain(sum(bound_s(op, gpu, answer.plan.engine.half_sums) * op.repeat for op in share)),
        "expected_s": plain(seconds),
        "source": first.source,
    }


def _maybe(figure: Range | None) -> dict[str, Any] | None:
    return None if figure is None else figure.to_dict()


def _count(value: Number) -> Any:
    """A count as an int where it is whole, so that scripts can compare it exactly."""
    value = plain(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value
