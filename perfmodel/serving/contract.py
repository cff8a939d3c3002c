"""Answers about servers as plain data (docs/json.md)."""

from __future__ import annotations

from typing import Any

from perfmodel.latency import LEGS, Time
from perfmodel.serving.disaggregated import Disaggregated
from perfmodel.serving.load import Load
from perfmodel.serving.question import Serving
from perfmodel.table import Table


def serving_dict(answer: Serving) -> dict[str, Any]:
    """A `Serving` as plain data."""
    from perfmodel import __version__

    load, plan = answer.load, answer.estimate.plan
    means = {"ttft_s": load.ttft, "tpot_s": load.tpot, "e2e_s": load.e2e}
    spread = {name: found._asdict() for name, found in answer.distributions.items()}
    for name, time in means.items():
        spread[name] |= {"low": time.low, "high": time.high, "bound": time.bound, "spent_s": _legs(time)}
    return {
        "version": __version__,
        "model": plan.model.name,
        "gpu": plan.gpu.name,
        "gpu_count": load.gpu_count,
        "tp": plan.tp,
        "pp": plan.pp,
        "engine": plan.engine.name,
        "traffic": _traffic(answer),
        "rules": {
            "policy": load.rules.policy,
            "token_budget": load.rules.budget,
            "sequences_limit": load.rules.sequences,
            "kv_cache_tokens": load.held,
        },
        **spread,
        "requests_per_s": load.request_rate,
        "tokens_per_s": load.output_rate,
        "running": load.running,
        **_workers(load),
        "saturation": answer.saturation._asdict(),
        "usd_per_million_tokens": answer.usd_per_million_tokens,
        "assumptions": list(answer.assumptions),
        "warnings": list(answer.estimate.warnings),
    }


def _workers(load: Load | Disaggregated) -> dict[str, Any]:
    """What the workers do: those that prefill and decode, or those of both kinds."""
    if isinstance(load, Load):
        return {
            "most_running": load.most_running,
            "preemptions": load.served.preempted,
            "utilisation": load.utilisations[0],
        }
    x, y = load.workers
    prefill, decode = load.utilisations
    return {
        "prefill_workers": x,
        "decode_workers": y,
        "prefill_tp": load.filler.tp,
        "prefill_utilisation": prefill,
        "decode_utilisation": decode,
        "kv_transfer_s": load.moving_s * load.traffic.prompts.mean,
    }


def _legs(time: Time) -> dict[str, float]:
    return {leg: getattr(time, leg) for leg in LEGS}


def _traffic(answer: Serving) -> dict[str, Any]:
    t = answer.traffic
    return {
        "arrival": t.arrival,
        "concurrency": t.concurrency,
        "rate": t.rate,
        "requests": t.requests,
        "prompt_mean": t.prompts.mean,
        "prompt_spread": t.prompts.spread,
        "output_mean": t.outputs.mean,
        "output_spread": t.outputs.spread,
        "seed": t.seed,
    }


def requests_table(answer: Serving) -> Table:
    """One row a request, in the order that they were drawn."""
    load = answer.load
    drawn = load.drawn
    served = load.served
    return Table(
        {
            "prompt": [r.prompt for r in drawn],
            "output": [r.output for r in drawn],
            "ttft_s": served.first,
            "e2e_s": served.ended,
        }
    )
