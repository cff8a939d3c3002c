"""What records of several tools tell alike: their figures, failed requests, how requests came, names of formats."""

from __future__ import annotations

from typing import Any

from perfmodel.benchmarked.fields import Fields
from perfmodel.benchmarked.run import Figure

BACKENDS = ("vllm", "sglang", "tensorrt-llm", "lmdeploy", "tgi", "llama.cpp")
"""Clients named after the engine they talk to; "openai" may be any."""
FAILED = 0.01
"""Share of failed requests beyond which a run is suspect."""
QUANTIZATION = {
    "modelopt": "fp8", "modelopt_fp8": "fp8", "modelopt_fp4": "nvfp4", "fp8": "fp8", "mxfp4": "mxfp4",
    "awq": "int4-awq", "awq_marlin": "int4-awq", "gptq": "int4-gptq", "gptq_marlin": "int4-gptq",
    "w8a8_int8": "w8a8", "w8a8_fp8": "w8a8-fp8",
}  # fmt: skip
"""How --quantization of SGLang and vLLM calls formats → how tables of measurements do."""


def measured(f: Fields, names: tuple[tuple[str, str, str, str], ...]) -> list[Figure]:
    """(metric, field, unit, field of its 99th percentile) → the figures that a record has."""
    found = []
    for metric, name, unit, tail in names:
        if (value := f.number(name)) is not None:
            high = f.number(tail) if tail else None
            found.append(Figure(metric, value, unit, f"99th percentile {high:.4g} {unit}" if high else ""))
    return found


def in_flight(f: Fields, output: float | None) -> float | None:
    """Requests in flight in the mean, by Little's law; None where times are missing."""
    rate, whole = f.number("request_throughput"), f.number("mean_e2el_ms", "mean_e2e_latency_ms")
    first, gap = f.number("mean_ttft_ms"), f.number("mean_tpot_ms", "mean_itl_ms")
    if whole is None and first and gap and output:
        whole = first + gap * (output - 1)
    return rate * whole / 1e3 if rate and whole else None


def doubted(failed: float, completed: float, more: bool = False) -> str:
    return "suspect" if more or failed > FAILED * (completed + failed) else "ok"


def arrivals(rate: float | None, limit: int | None, requests: int | None, in_flight: float | None) -> dict[str, Any]:
    """Mode, batch and notes of requests that come at `rate` a second (None: all at once), at most `limit` in flight.

    A limit that no request waits for is none. An open loop is taken as the closed loop of its mean number in flight,
    which is told; where that is not known either, the batch stays open.
    """
    if rate is None and (limit is None or limit >= (requests or limit + 1)):
        return {"mode": "offline_throughput", "batch": requests, "notes": (f"{requests} requests sent at once",)}
    if rate is None:
        return {"mode": "concurrency", "batch": min(limit or 1, requests or limit or 1)}
    told = f"open loop of {rate:g} requests/s"
    if in_flight is None:
        return {"mode": "concurrency", "notes": (told,), "inferred": True}
    known = min(in_flight, limit) if limit else in_flight
    note = f"{told}, whose mean of {known:.3g} in flight stands for a closed loop"
    return {"mode": "concurrency", "batch": max(round(known), 1), "notes": (note,), "inferred": True}
