"""Result files of vLLM's benchmarks: `vllm bench serve`, `latency` and `throughput`.

Follows vllm/benchmarks/serve.py, latency.py and throughput.py (v0.9 to late 2026) and, before them,
benchmarks/benchmark_serving.py, benchmark_latency.py and benchmark_throughput.py (v0.4 on), whose fields are the same.
Times are in milliseconds where their names say so and in seconds otherwise; `request_rate` is the text "inf" where all
requests are sent at once; lengths are totals, over completed requests.
"""

from __future__ import annotations

from perfmodel.benchmarked.alike import BACKENDS, arrivals, doubted, in_flight, measured
from perfmodel.benchmarked.content import Content
from perfmodel.benchmarked.fields import Fields
from perfmodel.benchmarked.run import Figure, Run

SERVE, LATENCY, THROUGHPUT = "vllm bench serve", "vllm bench latency", "vllm bench throughput"
TOOLS = (SERVE, LATENCY, THROUGHPUT)


def kind(record: dict[str, object]) -> str:
    """Which of the tools a record is of; "" for none."""
    if "total_token_throughput" in record and "total_output_tokens_retokenized" not in record:
        return SERVE
    if "model_id" in record and "request_throughput" in record:
        return SERVE
    if "avg_latency" in record and "percentiles" in record:
        return LATENCY
    return THROUGHPUT if {"elapsed_time", "num_requests", "total_num_tokens"} <= record.keys() else ""


def recognises(content: Content) -> bool:
    return content.is_json and any(kind(record) for record in content.records)


def runs(content: Content) -> list[Run]:
    """A run of each record."""
    readers = {SERVE: served, LATENCY: batch, THROUGHPUT: offline}
    kinds = [(kind(record), record) for record in content.records]
    return [readers[name](Fields(record, content.shown)) for name, record in kinds if name]


def served(f: Fields) -> Run:
    """`vllm bench serve`."""
    completed = f.needed("completed")
    prompt = _per(f.number("total_input_tokens"), completed)
    output = _per(f.number("total_output_tokens"), completed)
    rate = None if f.text("request_rate") == "inf" else f.number("request_rate")
    figures = tuple(_figures(f))
    failed = f.number("failed") or 0.0
    came = arrivals(rate, f.whole("max_concurrency"), f.whole("num_prompts", "completed"), in_flight(f, output))
    notes = [*came.pop("notes", ())]
    if "ramp_up_strategy" in f:
        notes.append("the rate ramps up")
    if length := f.number("spec_decode_acceptance_length"):
        notes.append(f"speculative decoding, {length:.3g} tokens a pass")
    return Run(
        SERVE, f.where, figures, engine=_engine(f), model=f.text("model_id"), prompt=prompt, output=output,
        notes=tuple(notes), quality=doubted(failed, completed, "ramp_up_strategy" in f), **came,
    )  # fmt: skip


def _engine(f: Fields) -> str:
    backend = f.text("backend", "endpoint_type")
    return backend if backend in BACKENDS else ""


def _figures(f: Fields) -> list[Figure]:
    names = (
        ("ttft_ms", "mean_ttft_ms", "ms", "p99_ttft_ms"),
        ("tpot_ms", "mean_tpot_ms", "ms", "p99_tpot_ms"),
        ("itl_ms", "mean_itl_ms", "ms", "p99_itl_ms"),
        ("e2e_latency_ms", "mean_e2el_ms", "ms", "p99_e2el_ms"),
        ("output_tok_s_total", "output_throughput", "tok/s", ""),
        ("total_tok_s", "total_token_throughput", "tok/s", ""),
        ("req_s", "request_throughput", "req/s", ""),
    )
    return measured(f, names)


def _per(total: float | None, count: float) -> float | None:
    return None if total is None else total / count


def batch(f: Fields) -> Run:
    """`vllm bench latency`: seconds of a whole batch, whose sizes the file does not hold."""
    return Run(LATENCY, f.where, (Figure("e2e_latency_s", f.needed("avg_latency"), "s"),), "fixed_batch", engine="vllm")


def offline(f: Fields) -> Run:
    """`vllm bench throughput`: requests all sent at once; of their lengths only the total is in the file."""
    count = f.whole("num_requests")
    figures = measured(
        f, (("req_s", "requests_per_second", "req/s", ""), ("total_tok_s", "tokens_per_second", "tok/s", ""))
    )
    if not figures:
        f.needed("requests_per_second")
    mean = f.needed("total_num_tokens") / (count or 1)
    notes = (f"{count} requests sent at once",)
    return Run(
        THROUGHPUT, f.where, tuple(figures), "offline_throughput", engine="vllm", total=mean, batch=count, notes=notes
    )
