"""Reports of TensorRT-LLM's `trtllm-bench throughput` and `latency` (--report_json).

Follows tensorrt_llm/bench/dataclasses/reporting.py, ReportUtility.get_statistics_dict (v0.17 to 1.x): milliseconds,
tokens a second; `streaming_metrics` only where --streaming was asked, `machine` since 0.21.
"""

from __future__ import annotations

from typing import Any

from perfmodel.benchmarked.alike import measured
from perfmodel.benchmarked.content import Content
from perfmodel.benchmarked.fields import Fields
from perfmodel.benchmarked.run import Run

TOOL = "trtllm-bench"
TOOLS = (TOOL,)
QUANTIZATION = {
    "fp8": "fp8", "fp8_block_scales": "fp8-block", "fp8_per_channel_per_token": "fp8", "nvfp4": "nvfp4",
    "w4a16_awq": "int4-awq", "w4a16_gptq": "int4-gptq", "w4a8_awq": "w4a8-fp8", "w4a16": "w4a16", "w8a16": "w8a16",
    "w4a16_mxfp4": "mxfp4", "w8a8_sq_per_channel": "w8a8", "int8": "int8",
}  # fmt: skip
ALL_AT_ONCE = 0.3
"""Mean in flight over requests from which all were sent at once: a queue that empties evenly holds half in the mean."""


def recognises(content: Content) -> bool:
    return content.is_json and any({"engine", "world_info", "performance"} <= r.keys() for r in content.records)


def runs(content: Content) -> list[Run]:
    """A run of each report."""
    return [_run(Fields(record, content.shown)) for record in content.records if "performance" in record]


def _run(f: Fields) -> Run:
    engine, world, asked = f.part("engine"), f.part("world_info"), f.part("request_info")
    backend = " (pytorch backend)" if engine.text("backend").lower() == "pytorch" else ""
    figures = measured(
        f.part("streaming_metrics"), (("ttft_ms", "avg_ttft_ms", "ms", ""), ("tpot_ms", "avg_tpot_ms", "ms", ""))
    ) + measured(
        f.part("performance"),
        (
            ("e2e_latency_ms", "avg_request_latency_ms", "ms", ""),
            ("output_tok_s_total", "system_output_throughput_tok_s", "tok/s", ""),
            ("total_tok_s", "system_total_throughput_tok_s", "tok/s", ""),
            ("req_s", "request_throughput_req_s", "req/s", ""),
        ),
    )
    quantization = engine.text("quantization").lower()
    return Run(
        TOOL,
        f.where,
        tuple(figures),
        engine=f"tensorrt-llm{backend}",
        engine_version=engine.text("version"),
        model=engine.text("model"),
        gpu=f.part("machine").text("name"),
        gpu_count=world.whole("world_size"),
        tp=world.whole("tp_size"),
        pp=world.whole("pp_size"),
        ep=world.whole("ep_size"),
        weights=QUANTIZATION.get(quantization, quantization) or engine.text("dtype"),
        kv=engine.text("kv_cache_dtype"),
        prompt=asked.needed("avg_input_length"),
        output=asked.needed("avg_output_length"),
        **_arrivals(asked.needed("num_requests"), asked.needed("avg_num_concurrent_requests")),
    )


def _arrivals(requests: float, running: float) -> dict[str, Any]:
    """Mode and batch. The report tells the mean in flight, not whether --concurrency held it."""
    if running < 1.05:
        return {"mode": "single_stream", "batch": 1}
    if running > ALL_AT_ONCE * requests:
        note = f"{requests:.0f} requests sent at once"
        return {"mode": "offline_throughput", "batch": int(requests), "inferred": True, "notes": (note,)}
    return {"mode": "concurrency", "batch": round(running), "inferred": True}
