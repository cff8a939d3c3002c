"""GuideLLM's report (benchmarks.json): one benchmark a rate or number of streams.

Follows src/guidellm/benchmark/benchmark.py (v0.2, v0.3: `args.strategy`, `worker`) and
src/guidellm/benchmark/schemas/generative/ (v0.4 on: `config.strategy`, `config.backend`). Means over the successful
requests; `request_latency` is in seconds, what ends in _ms in milliseconds. Its time per output token counts the first
token too (or divides by one token more, before v0.4), so that the time between tokens is taken instead.
"""

from __future__ import annotations

from typing import Any

from perfmodel.benchmarked.alike import doubted
from perfmodel.benchmarked.content import Content
from perfmodel.benchmarked.fields import Fields
from perfmodel.benchmarked.run import Figure, Run

TOOL = "guidellm"
TOOLS = (TOOL,)
METRICS = (
    ("ttft_ms", "time_to_first_token_ms", "ms"),
    ("itl_ms", "inter_token_latency_ms", "ms"),
    ("e2e_latency_s", "request_latency", "s"),
    ("output_tok_s_total", "output_tokens_per_second", "tok/s"),
    ("req_s", "requests_per_second", "req/s"),
)


def recognises(content: Content) -> bool:
    return content.is_json and any(_benchmarks(Fields(r, "")) for r in content.records)


def _benchmarks(f: Fields) -> list[Fields]:
    return [one for one in f.items("benchmarks") if "metrics" in one and ("config" in one or "args" in one)]


def runs(content: Content) -> list[Run]:
    """A run of each benchmark of each report."""
    reports = [Fields(record, content.shown) for record in content.records]
    return [_run(one, report) for report in reports for one in _benchmarks(report)]


def _run(f: Fields, report: Fields) -> Run:
    metrics = f.part("metrics")
    figures = [Figure(ours, value, unit) for ours, name, unit in METRICS if (value := _mean(metrics, name)) is not None]
    totals = metrics.part("request_totals") if "request_totals" in metrics else f.part("request_totals")
    done, failed = totals.number("successful") or 1.0, totals.number("errored") or 0.0
    return Run(
        TOOL,
        f.where,
        tuple(figures),
        model=_model(f, report),
        prompt=_mean(metrics, "prompt_token_count"),
        output=_mean(metrics, "output_token_count"),
        quality=doubted(failed, done),
        **_arrivals(f.part("config", "args").part("strategy"), metrics),
    )


def _mean(metrics: Fields, name: str) -> float | None:
    return metrics.part(name).part("successful").number("mean")


def _model(f: Fields, report: Fields) -> str:
    named = f.part("config").part("backend").text("model") or f.part("worker").text("backend_model")
    return named or report.part("args").text("model")


def _arrivals(strategy: Fields, metrics: Fields) -> dict[str, Any]:
    """Mode and batch of a strategy: so many streams, or a rate, whose mean in flight is told."""
    name = strategy.text("type_", "kind", "type")
    if name == "synchronous":
        return {"mode": "concurrency", "batch": 1}
    if name == "concurrent" and (streams := strategy.whole("streams", "max_concurrency")):
        return {"mode": "concurrency", "batch": streams}
    running = _mean(metrics, "request_concurrency")
    batch = None if running is None else max(round(running), 1)
    rate = strategy.number("rate", "initial_rate")
    told = f"open loop of {rate:g} requests/s" if rate else "as many requests as the client can send"
    mean = "" if running is None else f", whose mean of {running:.3g} in flight stands for a closed loop"
    return {"mode": "concurrency", "batch": batch, "inferred": True, "notes": (told + mean,)}
