"""Result files of SGLang's benchmarks, JSON lines all of them, one a run.

Follows python/sglang/bench_serving.py, bench_one_batch.py (bench_latency.py before v0.4), bench_one_batch_server.py and
bench_offline_throughput.py (v0.3 to v0.5). bench_serving tells milliseconds, the others seconds. Since v0.5
bench_serving writes what the server says of itself, `server_info`.
"""

from __future__ import annotations

from typing import Any

from perfmodel.benchmarked.alike import BACKENDS, QUANTIZATION, arrivals, in_flight, measured
from perfmodel.benchmarked.content import Content
from perfmodel.benchmarked.fields import Fields
from perfmodel.benchmarked.run import Figure, Run

SERVING, ONE_BATCH = "sglang bench_serving", "sglang bench_one_batch"
SERVER, OFFLINE = "sglang bench_one_batch_server", "sglang bench_offline_throughput"
TOOLS = (SERVING, ONE_BATCH, SERVER, OFFLINE)
CLIENTS = {"sglang-oai": "sglang", "sglang-oai-chat": "sglang", "sglang-native": "sglang", "trt": "tensorrt-llm",
           "vllm-chat": "vllm"}  # fmt: skip


def kind(record: dict[str, object]) -> str:
    """Which of the tools a record is of; "" for none."""
    if "total_output_tokens_retokenized" in record or ("mean_e2e_latency_ms" in record and "completed" in record):
        return SERVING
    if {"batch_size", "input_len", "output_len"} <= record.keys():
        return ONE_BATCH if "prefill_latency" in record else SERVER if "latency" in record else ""
    return OFFLINE if {"successful_requests", "total_latency", "total_output_tokens"} <= record.keys() else ""


def recognises(content: Content) -> bool:
    return content.is_json and any(kind(record) for record in content.records)


def runs(content: Content) -> list[Run]:
    """A run of each record."""
    readers = {SERVING: served, ONE_BATCH: one_batch, SERVER: one_batch_server, OFFLINE: offline}
    kinds = [(kind(record), record) for record in content.records]
    return [readers[name](Fields(record, content.shown)) for name, record in kinds if name]


def served(f: Fields) -> Run:
    """bench_serving."""
    completed = f.needed("completed")
    prompt, output = (_mean(f, name, completed) for name in ("total_input_tokens", "total_output_tokens"))
    rate = None if f.text("request_rate") in ("inf", "Infinity") else _rate(f)
    figures = measured(
        f,
        (
            ("ttft_ms", "mean_ttft_ms", "ms", "p99_ttft_ms"),
            ("tpot_ms", "mean_tpot_ms", "ms", "p99_tpot_ms"),
            ("itl_ms", "mean_itl_ms", "ms", "p99_itl_ms"),
            ("e2e_latency_ms", "mean_e2e_latency_ms", "ms", "p99_e2e_latency_ms"),
            ("output_tok_s_total", "output_throughput", "tok/s", ""),
            ("req_s", "request_throughput", "req/s", ""),
        ),
    )
    known = f.number("concurrency") or in_flight(f, output)
    came = arrivals(rate, f.whole("max_concurrency"), f.whole("completed"), known)
    notes = [*came.pop("notes", ()), *_lengths(f)]
    if f.part("server_info").data.get("enable_dp_attention") is True:
        notes.append("attention data parallel")  # how it splits experts besides is not told: rows without a prediction
    if (length := f.number("accept_length")) and length > 1:
        notes.append(f"speculative decoding, {length:.3g} tokens a pass")
    return Run(
        SERVING, f.where, tuple(figures), prompt=prompt, output=output, notes=tuple(notes), **_server(f), **came
    )  # fmt: skip


def _rate(f: Fields) -> float | None:
    """Requests a second; None for all at once, which Python's JSON writes as Infinity."""
    return None if f.data.get("request_rate") == float("inf") else f.number("request_rate")


def _mean(f: Fields, name: str, count: float) -> float | None:
    total = f.number(name)
    return None if total is None else total / count


def _lengths(f: Fields) -> list[str]:
    """Lengths of the random data set go from a part of the named ones to all of them."""
    if f.text("dataset_name") != "random" or "random_range_ratio" not in f:
        return []
    low = f.number("random_range_ratio") or 0.0
    return [f"lengths drawn from {low:.4g} to 1"] if low < 1 else []


def _server(f: Fields) -> dict[str, Any]:
    """What the client's kind and the server's own words tell."""
    backend, info = f.text("backend"), f.part("server_info")
    backend = CLIENTS.get(backend, backend)
    tp, pp, dp = (info.whole(name) for name in ("tp_size", "pp_size", "dp_size"))
    inside = info.data.get("enable_dp_attention") is True  # groups within tp; otherwise copies beside each other
    return {
        "engine": backend if backend in BACKENDS else "",
        "engine_version": info.text("version"),
        "model": info.text("model_path"),
        "gpu_count": tp * (pp or 1) * (1 if inside else dp or 1) if tp else None,
        "tp": tp,
        "pp": pp,
        "ep": info.whole("ep_size"),
        "weights": QUANTIZATION.get(info.text("quantization").lower(), ""),
        "kv": info.text("kv_cache_dtype"),
    }


def one_batch(f: Fields) -> Run:
    """bench_one_batch: a batch without a server; its step is the median, its throughputs are the times again."""
    figures = [Figure("ttft_s", f.needed("prefill_latency"), "s")]
    if (step := f.number("median_decode_latency")) is not None:
        figures.append(Figure("tpot_ms", step * 1e3, "ms", "median of the steps"))
    if (f.whole("output_len") or 1) > 1 and (whole := f.number("total_latency")) is not None:
        figures.append(Figure("e2e_latency_s", whole, "s"))
    return _batch(f, ONE_BATCH, figures)


def one_batch_server(f: Fields) -> Run:
    """bench_one_batch_server: a batch sent at once to a server; the last first token ends its prefill."""
    figures = [Figure("e2e_latency_s", f.needed("latency"), "s")]
    if (first := f.number("last_ttft", "ttft")) is not None:
        figures.append(Figure("ttft_s", first, "s"))
    return _batch(f, SERVER, figures)


def _batch(f: Fields, tool: str, figures: list[Figure]) -> Run:
    length = f.number("acc_length") if (f.data.get("acc_length") or 0) != -1.0 else None
    notes = (f"speculative decoding, {length:.3g} tokens a pass",) if length and length > 1 else ()
    return Run(
        tool, f.where, tuple(figures), "fixed_batch", engine="sglang", prompt=f.number("input_len"),
        output=f.number("output_len"), batch=f.whole("batch_size"), notes=notes,
    )  # fmt: skip


def offline(f: Fields) -> Run:
    """bench_offline_throughput: all requests sent at once to the engine itself."""
    count = f.whole("successful_requests")
    figures = measured(
        f,
        (
            ("output_tok_s_total", "output_throughput", "tok/s", ""),
            ("total_tok_s", "total_throughput", "tok/s", ""),
            ("req_s", "request_throughput", "req/s", ""),
        ),
    )
    lengths = (_mean(f, name, count or 1) for name in ("total_input_tokens", "total_output_tokens"))
    prompt, output = lengths
    return Run(
        OFFLINE, f.where, tuple(figures), "offline_throughput", engine="sglang", prompt=prompt, output=output,
        batch=count, notes=(f"{count} requests sent at once",),
    )  # fmt: skip
