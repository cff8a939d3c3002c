"""AIPerf's profile_export_aiperf.json, and genai-perf's profile_export_genai_perf.json, which it is modelled on.

Follows src/aiperf/common/models/export_models.py, JsonExportData (ai-dynamo/aiperf, schema 1.0 to 1.3), and the JSON
exporter of genai-perf of 2024 and 2025: metrics at the top, each with its `unit` and `avg`; `input_config` is
the user's and differs between versions, so that what it does not tell is asked for.
"""

from __future__ import annotations

from typing import Any

from perfmodel.benchmarked.alike import arrivals, doubted
from perfmodel.benchmarked.content import Content
from perfmodel.benchmarked.fields import Fields
from perfmodel.benchmarked.run import Figure, Run
from perfmodel.errors import SpecError

TOOL = "aiperf"
TOOLS = (TOOL,)
MS = {"ms": 1.0, "s": 1e3, "sec": 1e3, "seconds": 1e3, "us": 1e-3, "ns": 1e-6}
"""Units of times → milliseconds."""
TIMES = (
    ("ttft_ms", "time_to_first_token"),
    ("itl_ms", "inter_token_latency"),
    ("e2e_latency_ms", "request_latency"),
)
RATES = (("output_tok_s_total", "output_token_throughput", "tok/s"), ("req_s", "request_throughput", "req/s"))


def recognises(content: Content) -> bool:
    return content.is_json and any(_is(record) for record in content.records)


def _is(record: dict[str, Any]) -> bool:
    throughput = record.get("request_throughput")
    return isinstance(throughput, dict) and "request_latency" in record and "avg" in throughput


def runs(content: Content) -> list[Run]:
    """A run of each export."""
    return [_run(Fields(record, content.shown)) for record in content.records if _is(record)]


def _run(f: Fields) -> Run:
    config, figures = f.part("input_config"), list(_figures(f))
    requests = f.part("request_count").number("avg")
    failed = f.part("error_request_count").number("avg") or 0.0
    asked = _setting(config, "request_rate")
    limit = _setting(config, "concurrency")
    whole = next((figure.value / 1e3 for figure in figures if figure.metric == "e2e_latency_ms"), None)
    rate = f.part("request_throughput").number("avg")
    came = _came(asked, limit, whole * rate if whole and rate else None)
    cancelled = f.data.get("was_cancelled") is True
    return Run(
        TOOL,
        f.where,
        tuple(figures),
        model=_model(config),
        gpu=_gpu(f),
        prompt=f.part("input_sequence_length").number("avg") or _over(f, "total_isl", requests),
        output=f.part("output_sequence_length").number("avg") or _over(f, "total_osl", requests),
        quality=doubted(failed, requests or 1.0, cancelled),
        **came,
    )


def _figures(f: Fields) -> list[Figure]:
    found = []
    for metric, name in TIMES:
        if (value := f.part(name).number("avg")) is not None:
            scale, high = _ms(f, name), f.part(name).number("p99")
            note = f"99th percentile {high * scale:.4g} ms" if high else ""
            found.append(Figure(metric, value * scale, "ms", note))
    for metric, name, unit in RATES:
        if (value := f.part(name).number("avg")) is not None:
            found.append(Figure(metric, value, unit))
    return found


def _ms(f: Fields, name: str) -> float:
    unit = f.part(name).text("unit") or "ms"
    if unit not in MS:
        raise SpecError(f"{f.at(name)}.unit: needs a unit of time, like ms; got {unit[:20]!r}.")
    return MS[unit]


def _over(f: Fields, name: str, count: float | None) -> float | None:
    total = f.part(name).number("avg")
    return total / count if total and count else None


def _setting(config: Fields, name: str) -> float | None:
    """Concurrency or rate: of AIPerf under `loadgen`, of genai-perf under perf_analyzer.stimulus or at the top."""
    for place in (config.part("loadgen"), config.part("perf_analyzer").part("stimulus"), config):
        held = place.data.get(name)
        if isinstance(held, list) and len(held) == 1:  # genai-perf has lists of one
            return Fields({name: held[0]}, place.where, place.path).number(name)
        if held is not None:
            return place.number(name)
    return None


def _came(rate: float | None, limit: float | None, running: float | None) -> dict[str, Any]:
    if rate is None and limit is None:  # neither is told: what ran is
        batch = None if running is None else max(round(running), 1)
        note = () if running is None else (f"a mean of {running:.3g} in flight, taken as a closed loop",)
        return {"mode": "concurrency", "batch": batch, "inferred": True, "notes": note}
    return arrivals(rate, None if limit is None else int(limit), None, running)


def _model(config: Fields) -> str:
    for place, name in ((config.part("endpoint"), "model_names"), (config, "model_names"), (config, "model")):
        held = place.data.get(name)
        if isinstance(held, list) and len(held) == 1:
            return Fields({name: held[0]}, place.where).text(name)
        if isinstance(held, str):
            return place.text(name)
    items = config.part("models").items("items")
    return items[0].text("name") if len(items) == 1 else ""


def _gpu(f: Fields) -> str:
    """The device that telemetry saw, where all were of one kind; a machine may have more than served."""
    endpoints = f.part("telemetry_data").part("endpoints")
    names = {
        endpoints.part(host).part("gpus").part(gpu).text("gpu_name")
        for host in endpoints.data
        for gpu in endpoints.part(host).part("gpus").data
    }
    return names.pop() if len(names) == 1 else ""
