"""How an answer about a server looks in a terminal. Formats numbers, computes none."""

from __future__ import annotations

from collections.abc import Iterator

from perfmodel.cli.screen import bold, narrowed, size, spent, wrapped
from perfmodel.latency import Time
from perfmodel.serving.disaggregated import Disaggregated
from perfmodel.serving.load import Load
from perfmodel.serving.question import Serving
from perfmodel.serving.simulation import Rules
from perfmodel.serving.traffic import Traffic
from perfmodel.units import show_count, show_rate, show_seconds

POLICY = {
    "mixed": "prompts share passes with decodes",
    "prefill-first": "prompts go first, alone",
    "decode-first": "a batch runs to its end before prompts start",
    "static": "padded batches that start and end together",
}


def serving_screen(answer: Serving) -> str:
    """The whole answer on one screen."""
    plan, load = answer.estimate.plan, answer.load
    lines = answer.assumptions
    parts = [
        bold(f"{plan.model.title} on {load.gpu_count} × {plan.gpu.title}, under load"),
        wrapped("Model", size(plan.model)),
        wrapped("Deployment", lines[0]),
        wrapped("Traffic", _traffic(load.traffic)),
        wrapped("Engine", _rules(answer, load.rules)),
        "",
        _times(answer),
        "",
        *(wrapped(name, text) for name, text in _throughput(answer)),
        "",
        *(wrapped("Assumes" if i == 0 else "", f"- {line}") for i, line in enumerate(lines[1:])),
        *(wrapped("Warning", line) for line in answer.estimate.warnings),
    ]
    return "\n".join(parts)


def _traffic(t: Traffic) -> str:
    how = {
        "closed": f"closed loop: {t.concurrency or 0:,} in flight, the first all at once, {t.requests:,} in all",
        "open": f"open loop: {t.rate or 0:g} a second at random (Poisson), {t.requests:,} in all",
        "burst": f"burst: {t.requests:,} at once",
        "trace": f"trace: {t.requests:,} requests as they came",
    }
    return f"{how[t.arrival]}; prompts {t.prompts}, outputs {t.outputs}"


def _rules(answer: Serving, rules: Rules) -> str:
    mean = answer.traffic.prompts.mean + answer.traffic.outputs.mean
    return (
        f"{answer.estimate.plan.engine.title or answer.estimate.plan.engine.name}: {_how(answer)}, at most "
        f"{rules.budget:,} tokens a pass and {rules.sequences:,} sequences; the cache holds "
        f"{show_count(answer.load.held)} tokens, {answer.load.held / mean:,.0f} such requests"
    )


def _how(answer: Serving) -> str:
    return POLICY[answer.load.rules.policy] if isinstance(answer.load, Load) else "prefill and decode apart"


def _times(answer: Serving) -> str:
    load = answer.load
    means: dict[str, Time | None] = {"ttft_s": load.ttft, "itl_s": None, "tpot_s": load.tpot, "e2e_s": load.e2e}
    names = {
        "ttft_s": "TTFT",
        "itl_s": "Between tokens (ITL)",
        "tpot_s": "Per request (TPOT)",
        "e2e_s": "End to end",
    }
    found = answer.distributions
    columns: dict[str, list[str]] = {"": [names[key] for key in found]}
    for name in ("mean", "p50", "p95", "p99"):
        columns[name] = [show_seconds(getattr(d, name)) for d in found.values()]
    columns["80 % of means"] = [
        f"{show_seconds(t.low)} – {show_seconds(t.high)}" if t else "" for t in (means[key] for key in found)
    ]
    columns["mean spent on"] = [spent(t) if t else "" for t in (means[key] for key in found)]
    return narrowed(columns, ("mean spent on", "80 % of means"))


def _throughput(answer: Serving) -> Iterator[tuple[str, str]]:
    load, full = answer.load, answer.saturation
    rates = f"{show_rate(load.output_rate)} output tokens/s, {show_rate(load.request_rate)} requests/s"
    yield "Throughput", f"{rates}, busy {' and '.join(f'{share:.0%}' for share in load.utilisations)} of the time"
    yield "Batch", _batch(load)
    why = BINDS.get(full.binds, f"for its {full.binds}")
    yield (
        "Full at",
        f"{show_rate(full.requests_per_s)} requests/s ({show_rate(full.tokens_per_s)} tokens/s), with "
        f"{full.batch:,.0f} sequences at once, {why}, {show_seconds(full.tpot_s)} a token",
    )
    cost = answer.usd_per_million_tokens
    yield "Cost", f"{cost:.3g} USD per million output tokens at this load" if cost else "no price on file"


BINDS = {"memory": "as memory holds", "limit": "as the engine allows"}


def _batch(load: Load | Disaggregated) -> str:
    mean = f"{load.running:.3g} sequences at once in the mean"
    if isinstance(load, Disaggregated):
        x, y = load.workers
        moved = show_seconds(load.moving_s * load.traffic.prompts.mean)
        workers = f"{x} prefill and {y} decode worker{'s' * (y > 1)} ({x}P{y}D)"
        return f"{mean} of a decode worker; {workers}, a cache moves in {moved}"
    thrown = f", {load.served.preempted:,} thrown out and recomputed" * (load.served.preempted > 0)
    clients = load.traffic.concurrency or 0
    waits = f"; of {clients:,} in flight the others wait for a place" * (clients > load.most_running)
    return f"{mean}, {load.most_running:,} at most{thrown}{waits}"
