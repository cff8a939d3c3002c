"""`validate import`: every tool's file, in its own fields and units, becomes the rows that it means."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given as over
from hypothesis import settings
from hypothesis import strategies as st

from perfmodel.benchmarked.content import Content
from perfmodel.benchmarked.run import Given
from perfmodel.benchmarked.tools import READERS, TOOLS, is_log, measured_rows
from perfmodel.benchmarked.written import appended, csv_of
from perfmodel.errors import PerfModelError, SpecError
from perfmodel.published.predictions import predictions
from perfmodel.published.questions import METRICS
from perfmodel.published.rows import MODES, Row, rows_of

ONE = Given(gpu="h100", gpu_count=1)
SERVE: dict[str, Any] = {
    "date": "20260101-000000", "endpoint_type": "vllm", "backend": "vllm", "label": "vllm",
    "model_id": "meta-llama/Llama-3.1-8B-Instruct", "tokenizer_id": "t", "num_prompts": 100, "request_rate": "inf",
    "burstiness": 1.0, "max_concurrency": 16, "duration": 50.0, "completed": 100, "failed": 0,
    "total_input_tokens": 102400, "total_output_tokens": 12800, "request_throughput": 2.0, "request_goodput": None,
    "output_throughput": 256.0, "total_token_throughput": 2304.0, "mean_ttft_ms": 100.0, "median_ttft_ms": 90.0,
    "std_ttft_ms": 9.0, "p99_ttft_ms": 250.0, "mean_tpot_ms": 10.0, "p99_tpot_ms": 12.0, "mean_itl_ms": 10.5,
    "p99_itl_ms": 40.0, "mean_e2el_ms": 1370.0, "p99_e2el_ms": 2000.0,
}  # fmt: skip
SGLANG: dict[str, Any] = {
    "tag": None, "backend": "sglang", "dataset_name": "random", "request_rate": float("inf"), "max_concurrency": 8,
    "sharegpt_output_len": None, "random_input_len": 1024, "random_output_len": 256, "random_range_ratio": 0.5,
    "server_info": {"model_path": "Qwen/Qwen3-8B", "tp_size": 2, "pp_size": 1, "quantization": "fp8",
                    "kv_cache_dtype": "auto", "version": "0.5.3"},
    "duration": 30.0, "completed": 64, "total_input_tokens": 49152, "total_output_tokens": 12288,
    "total_output_tokens_retokenized": 12290, "request_throughput": 2.1, "input_throughput": 1638.4,
    "output_throughput": 409.6, "mean_e2e_latency_ms": 3700.0, "median_e2e_latency_ms": 3600.0, "mean_ttft_ms": 80.0,
    "p99_ttft_ms": 200.0, "mean_tpot_ms": 18.0, "p99_tpot_ms": 30.0, "mean_itl_ms": 18.5, "p99_itl_ms": 60.0,
    "concurrency": 7.8, "accept_length": None,
}  # fmt: skip
BATCH = {
    "run_name": "default", "batch_size": 4, "input_len": 1024, "output_len": 128, "prefill_latency": 0.25,
    "prefill_throughput": 16384.0, "median_decode_latency": 0.008, "median_decode_throughput": 500.0,
    "total_latency": 1.27, "overall_throughput": 3628.0,
}  # fmt: skip
BATCH_SERVER = {
    "run_name": "default", "batch_size": 32, "input_len": 512, "output_len": 64, "latency": 1.5,
    "input_throughput": 40000.0, "output_throughput": 1800.0, "overall_throughput": 12288.0, "last_ttft": 0.41,
    "last_gen_throughput": 1900.0, "acc_length": -1.0, "cache_hit_rate": None,
}  # fmt: skip
OFFLINE = {
    "backend": "engine", "successful_requests": 200, "total_latency": 20.0, "total_input_tokens": 200000,
    "total_output_tokens": 50000, "request_throughput": 10.0, "input_throughput": 10000.0, "output_throughput": 2500.0,
    "total_throughput": 12500.0,
}  # fmt: skip
TRTLLM: dict[str, Any] = {
    "engine": {"model": "meta-llama/Llama-3.1-70B", "model_path": "None", "engine_dir": "None", "version": "1.0.0",
               "backend": "Pytorch", "dtype": "bfloat16", "kv_cache_dtype": "FP8", "quantization": "FP8"},
    "machine": {"name": "NVIDIA H100 80GB HBM3", "memory.total": 79.6, "clocks.mem": 2.6},
    "world_info": {"tp_size": 2, "pp_size": 1, "ep_size": 1, "world_size": 2, "max_batch_size": 2048,
                   "max_num_tokens": 8192, "scheduling_policy": "GUARANTEED_NO_EVICT", "kv_cache_percentage": 0.9,
                   "issue_rate": 1e4},
    "request_info": {"num_requests": 1000, "avg_num_concurrent_requests": 63.7, "avg_input_length": 1024.0,
                     "avg_output_length": 256.0},
    "performance": {"total_latency_ms": 60000.0, "avg_request_latency_ms": 3800.0, "request_throughput_req_s": 16.7,
                    "system_output_throughput_tok_s": 4267.0, "system_total_throughput_tok_s": 21333.0,
                    "output_throughput_per_user_tok_s": 67.0, "output_throughput_per_gpu_tok_s": 2133.0},
    "streaming_metrics": {"token_output_speed_tok_s": 72.0, "avg_ttft_ms": 260.0, "avg_tpot_ms": 13.9},
}  # fmt: skip


def spread(mean: float) -> dict[str, Any]:
    return {"successful": {"mean": mean, "median": mean, "percentiles": {"p99": 2 * mean}}, "total": {"mean": 1.0}}


GUIDE_METRICS = {
    "requests_per_second": spread(3.0), "request_concurrency": spread(11.7), "request_latency": spread(3.9),
    "prompt_token_count": spread(512.0), "output_token_count": spread(256.0), "time_to_first_token_ms": spread(120.0),
    "time_per_output_token_ms": spread(15.2), "inter_token_latency_ms": spread(14.8),
    "output_tokens_per_second": spread(768.0), "tokens_per_second": spread(2304.0),
    "request_totals": {"successful": 90, "incomplete": 2, "errored": 0, "total": 92},
}  # fmt: skip
GUIDELLM: dict[str, Any] = {
    "metadata": {"version": 1},
    "args": {"target": "http://localhost:8000"},
    "benchmarks": [
        {"type_": "generative_benchmark", "metrics": GUIDE_METRICS,
         "config": {"strategy": {"type_": "concurrent", "streams": 12}, "backend": {"model": "Qwen/Qwen3-8B"}}},
        {"type_": "generative_benchmark", "metrics": GUIDE_METRICS,
         "config": {"strategy": {"type_": "constant", "rate": 3.0}, "backend": {"model": "Qwen/Qwen3-8B"}}},
    ],
}  # fmt: skip
GUIDELLM_OLD: dict[str, Any] = {
    "benchmarks": [
        {"metrics": {k: v for k, v in GUIDE_METRICS.items() if k != "request_totals"},
         "request_totals": GUIDE_METRICS["request_totals"], "args": {"strategy": {"type_": "synchronous"}},
         "worker": {"backend_model": "meta-llama/Llama-3.1-8B"}},
    ],
}  # fmt: skip


def metric(avg: float, unit: str) -> dict[str, Any]:
    return {"unit": unit, "avg": avg, "p50": avg, "p99": 2 * avg, "min": avg, "max": avg, "std": 0.0}


AIPERF: dict[str, Any] = {
    "schema_version": "1.0", "aiperf_version": "0.3.0", "request_throughput": metric(5.0, "requests/sec"),
    "request_latency": metric(3000.0, "ms"), "request_count": metric(200.0, "requests"),
    "time_to_first_token": metric(150.0, "ms"), "inter_token_latency": metric(11.0, "ms"),
    "output_token_throughput": metric(1280.0, "tokens/sec"), "output_sequence_length": metric(256.0, "tokens"),
    "input_sequence_length": metric(2000.0, "tokens"),
    "telemetry_data": {"endpoints": {"localhost:9400": {"gpus": {
        "gpu_0": {"gpu_index": 0, "gpu_name": "NVIDIA H100 80GB HBM3"},
        "gpu_1": {"gpu_index": 1, "gpu_name": "NVIDIA H100 80GB HBM3"}}}}},
    "input_config": {"endpoint": {"model_names": ["Qwen/Qwen3-8B"], "streaming": True},
                     "loadgen": {"concurrency": 15, "request_rate_mode": "concurrency_burst"}},
    "was_cancelled": False, "error_summary": [],
}  # fmt: skip
LLAMA: dict[str, Any] = {
    "build_commit": "abc1234", "build_number": 6500, "cpu_info": "some CPU", "gpu_info": "NVIDIA GeForce RTX 4090",
    "backends": "CUDA", "model_filename": "models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf",
    "model_type": "llama 8B Q4_K - Medium", "model_size": 4912898304, "model_n_params": 8030261312, "n_batch": 2048,
    "n_ubatch": 512, "type_k": "f16", "type_v": "f16", "n_gpu_layers": 99, "n_cpu_moe": 0, "split_mode": "layer",
    "no_kv_offload": False, "flash_attn": True, "n_prompt": 512, "n_gen": 0, "n_depth": 0,
    "test_time": "2026-01-01T00:00:00Z", "avg_ns": 45000000, "stddev_ns": 100000, "avg_ts": 11300.5, "stddev_ts": 20.0,
    "samples_ns": [45000000], "samples_ts": [11300.5],
}  # fmt: skip
MARKDOWN = """| model                  |     size |  params | backend | ngl |          test |             t/s |
| ---------------------- | -------: | ------: | ------- | --: | ------------: | --------------: |
| llama 8B Q4_K - Medium | 4.58 GiB |  8.03 B | CUDA    |  99 |         pp512 | 11300.50 ± 20.0 |
| llama 8B Q4_K - Medium | 4.58 GiB |  8.03 B | CUDA    |  99 | tg128 @ d4096 |    130.25 ± 0.5 |
| llama 8B Q4_K - Medium | 4.58 GiB |  8.03 B | CUDA    |  99 |   pp512+tg128 |    580.00 ± 1.0 |

build: abc1234 (6500)
"""


def content(data: Any) -> Content:
    return Content("made.json", data if isinstance(data, str) else json.dumps(data))


def read(data: Any, given: Given = ONE) -> list[Row]:
    return measured_rows(content(data), given)


def values(rows: list[Row]) -> dict[str, float]:
    return {row.metric: row.value for row in rows}


def llama_csv(*changes: dict[str, Any]) -> str:
    text = io.StringIO()
    names = [name for name in LLAMA if not name.startswith("samples")]
    writer = csv.DictWriter(text, names, extrasaction="ignore", quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    writer.writerows(LLAMA | change for change in changes)
    return text.getvalue()


# ── each tool ────────────────────────────────────────────────────────────────────────────────────

FILES: dict[str, tuple[Any, Given]] = {
    "vllm bench serve": (SERVE, ONE),
    "vllm bench latency": (
        {"avg_latency": 1.4, "std_latency": 0.01, "latencies": [1.4], "percentiles": {"50": 1.4}},
        replace(ONE, model="llama3-8b", prompt=512, output=128, batch=8),
    ),
    "vllm bench throughput": (
        {"elapsed_time": 10.0, "num_requests": 100, "total_num_tokens": 64000, "requests_per_second": 10.0,
         "tokens_per_second": 6400.0},
        replace(ONE, model="llama3-8b", prompt=512),
    ),
    "sglang bench_serving": (SGLANG, Given(gpu="h100")),
    "sglang bench_one_batch": (BATCH, replace(ONE, model="llama3-8b")),
    "sglang bench_one_batch_server": (BATCH_SERVER, replace(ONE, model="llama3-8b")),
    "sglang bench_offline_throughput": (OFFLINE, replace(ONE, model="llama3-8b")),
    "trtllm-bench": (TRTLLM, Given()),
    "guidellm": (GUIDELLM, replace(ONE, engine="vllm@0.10.2")),
    "aiperf": (AIPERF, Given(gpu_count=1, engine="vllm")),
    "llama-bench": ([LLAMA], Given()),
}  # fmt: skip


def test_every_tool_has_a_file_here() -> None:
    assert set(FILES) == set(TOOLS)


@pytest.mark.parametrize("tool", FILES)
def test_rows_can_be_predicted_and_come_back_from_csv(tool: str, tmp_path: Path) -> None:
    rows = read(*FILES[tool])
    assert rows
    for row in rows:
        assert row.source_id == tool
        assert row.mode in MODES
        assert row.unit in METRICS[row.metric][2]
    assert [p.reason for p in predictions(rows) if p.reason] == []
    file = tmp_path / "rows.csv"
    file.write_text(csv_of(rows), encoding="utf-8")
    assert [replace(row, line=0) for row in rows_of(file)] == rows


@pytest.mark.parametrize("tool", FILES)
def test_one_reader_alone_recognises_a_file_first(tool: str) -> None:
    data, _ = FILES[tool]
    first = next(reader for reader in READERS if reader.recognises(content(data)))
    assert tool in first.tools
    assert not is_log(content(data))


def test_vllm_serve_tells_milliseconds_and_totals() -> None:
    rows = read(SERVE)
    assert values(rows) == {
        "ttft_ms": 100.0, "tpot_ms": 10.0, "itl_ms": 10.5, "e2e_latency_ms": 1370.0, "output_tok_s_total": 256.0,
        "total_tok_s": 2304.0, "req_s": 2.0,
    }  # fmt: skip
    first = rows[0]
    assert (first.model, first.gpu, first.engine, first.n_gpus) == ("llama3.1-8b", "h100", "vllm", 1)
    assert (first.prompt_tokens, first.output_tokens, first.batch_or_concurrency) == (1024, 128, 16)
    assert (first.mode, first.quality, first.note) == ("concurrency", "ok", "99th percentile 250 ms")
    assert first.source == "made.json"


def test_how_requests_came() -> None:
    at_once = read(SERVE | {"max_concurrency": None})[0]
    assert (at_once.mode, at_once.batch_or_concurrency) == ("offline_throughput", 100)
    assert "100 requests sent at once" in at_once.note
    assert read(SERVE | {"max_concurrency": 500})[0].mode == "offline_throughput", "a limit that nobody waits for"
    open_loop = read(SERVE | {"max_concurrency": None, "request_rate": 2.0})[0]
    assert (open_loop.mode, open_loop.batch_or_concurrency) == ("concurrency", 3)  # 2/s × 1.37 s
    assert "open loop of 2 requests/s" in open_loop.note
    without = {k: v for k, v in SERVE.items() if "e2el" not in k} | {"max_concurrency": None, "request_rate": 2.0}
    assert read(without)[0].batch_or_concurrency == 3  # by TTFT + 127 steps
    assert read(SERVE | {"max_concurrency": None, "request_rate": 2.0}, replace(ONE, batch=5))[0].mode == "concurrency"


def test_runs_that_tell_little_are_marked() -> None:
    assert {row.quality for row in read(SERVE | {"failed": 10})} == {"suspect"}
    waited = {row.metric: row.quality for row in read(SERVE | {"mean_ttft_ms": 900.0})}
    assert (waited["ttft_ms"], waited["tpot_ms"]) == ("queueing", "ok")
    guessed = read(SERVE | {"spec_decode_acceptance_length": 2.4})[0]
    assert "speculative decoding, 2.4 tokens a pass" in guessed.note


def test_several_runs_in_one_file() -> None:
    text = json.dumps(SERVE) + "\n" + json.dumps(SERVE | {"max_concurrency": 4})
    assert {row.batch_or_concurrency for row in read(text)} == {16, 4}
    glued = json.dumps(BATCH) + json.dumps(BATCH | {"batch_size": 8})  # as early versions of SGLang wrote them
    assert {row.batch_or_concurrency for row in read(glued, replace(ONE, model="llama3-8b"))} == {4, 8}


def test_vllm_latency_and_throughput_need_sizes() -> None:
    (row,) = read(*FILES["vllm bench latency"])
    assert (row.metric, row.value, row.unit, row.mode) == ("e2e_latency_s", 1.4, "s", "fixed_batch")
    assert (row.prompt_tokens, row.output_tokens, row.batch_or_concurrency) == (512, 128, 8)
    whole = read(*FILES["vllm bench throughput"])
    assert values(whole) == {"req_s": 10.0, "total_tok_s": 6400.0}
    assert (whole[0].prompt_tokens, whole[0].output_tokens) == (512, 128), "the rest of 640 tokens a request"
    with pytest.raises(PerfModelError, match="do not add up to 640 tokens a request"):
        read(FILES["vllm bench throughput"][0], replace(ONE, model="llama3-8b", prompt=512, output=512))


def test_sglang_tells_its_server() -> None:
    rows = read(*FILES["sglang bench_serving"])
    first = rows[0]
    assert (first.model, first.tp, first.n_gpus, first.weight_dtype) == ("qwen3-8b", 2, 2, "fp8")
    assert (first.engine_version, first.prompt_tokens, first.output_tokens) == ("0.5.3", 768, 192)
    assert "lengths drawn from 0.5 to 1" in first.note
    copies = SGLANG | {"server_info": SGLANG["server_info"] | {"dp_size": 4}}
    assert (read(copies, Given(gpu="h100"))[0].n_gpus, read(copies, Given(gpu="h100"))[0].tp) == (8, 2)
    groups = SGLANG | {"server_info": SGLANG["server_info"] | {"dp_size": 2, "enable_dp_attention": True}}
    inside = read(groups, Given(gpu="h100"))
    assert inside[0].n_gpus == 2
    assert "the columns dp and ep do not say which" in predictions(inside)[0].reason
    assert values(rows)["e2e_latency_ms"] == 3700.0


def test_sglang_batches_tell_seconds() -> None:
    rows = read(*FILES["sglang bench_one_batch"])
    assert values(rows) == {"ttft_s": 0.25, "tpot_ms": 8.0, "e2e_latency_s": 1.27}
    assert rows[0].mode == "fixed_batch"
    assert values(read(*FILES["sglang bench_one_batch_server"])) == {"e2e_latency_s": 1.5, "ttft_s": 0.41}
    offline = read(*FILES["sglang bench_offline_throughput"])
    assert (offline[0].prompt_tokens, offline[0].output_tokens) == (1000, 250)
    assert offline[0].mode == "offline_throughput"


def test_a_trtllm_report_says_everything() -> None:
    rows = read(TRTLLM, Given())
    first = rows[0]
    assert (first.model, first.gpu, first.n_gpus, first.tp) == ("llama3.1-70b", "h100", 2, 2)
    assert (first.weight_dtype, first.kv_dtype, first.engine_version) == ("fp8", "fp8", "1.0.0")
    assert first.engine == "tensorrt-llm (pytorch backend)"
    assert (first.mode, first.batch_or_concurrency) == ("concurrency", 64)
    assert values(rows)["ttft_ms"] == 260.0
    alone = TRTLLM | {"request_info": TRTLLM["request_info"] | {"avg_num_concurrent_requests": 1.0}}
    assert read(alone, Given())[0].mode == "single_stream"
    burst = TRTLLM | {"request_info": TRTLLM["request_info"] | {"avg_num_concurrent_requests": 520.0}}
    assert read(burst, Given())[0].batch_or_concurrency == 1000
    assert read(burst, Given(batch=512))[0].mode == "concurrency", "a flag says what the report does not"


def test_guidellm_old_and_new() -> None:
    streams, rate = read(*FILES["guidellm"])[0], read(*FILES["guidellm"])[-1]
    assert (streams.batch_or_concurrency, streams.engine_version) == (12, "0.10.2")
    assert rate.batch_or_concurrency == 12  # the mean in flight
    assert "open loop of 3 requests/s" in rate.note
    old = read(GUIDELLM_OLD, replace(ONE, engine="sglang"))
    assert (old[0].model, old[0].batch_or_concurrency) == ("llama3.1-8b", 1)
    assert values(old)["e2e_latency_s"] == 3.9
    assert "tpot_ms" not in values(old), "its time per output token counts the first one"
    assert values(old)["itl_ms"] == 14.8


def test_aiperf_and_genai_perf() -> None:
    rows = read(*FILES["aiperf"])
    assert (rows[0].model, rows[0].gpu, rows[0].batch_or_concurrency) == ("qwen3-8b", "h100", 15)
    seconds = AIPERF | {"time_to_first_token": metric(0.15, "s"), "inter_token_latency": metric(11000.0, "us")}
    assert values(read(seconds, FILES["aiperf"][1])) == values(rows)
    genai = {k: v for k, v in AIPERF.items() if k not in ("schema_version", "telemetry_data")}
    genai["input_config"] = {"model": ["Qwen/Qwen3-8B"], "perf_analyzer": {"stimulus": {"concurrency": 15}}}
    assert read(genai, replace(ONE, engine="trtllm"))[0].batch_or_concurrency == 15
    untold = AIPERF | {"input_config": {"models": {"items": [{"name": "Qwen/Qwen3-8B"}]}}}
    assert read(untold, FILES["aiperf"][1])[0].batch_or_concurrency == 15  # 5/s × 3 s
    with pytest.raises(SpecError, match=r"time_to_first_token\.unit: needs a unit of time"):
        read(AIPERF | {"time_to_first_token": metric(1.0, "furlongs")}, FILES["aiperf"][1])


def test_llama_bench_in_all_its_formats() -> None:
    decode = {"n_prompt": 0, "n_gen": 128, "n_depth": 4096, "avg_ts": 130.25}
    both = {"n_prompt": 512, "n_gen": 128, "avg_ts": 580.0}
    tests = [LLAMA, LLAMA | decode, LLAMA | both]
    as_json = read(tests, Given())
    assert [(r.metric, r.value) for r in as_json] == [
        ("prefill_tok_s", 11300.5), ("decode_tok_s", 130.25), ("total_tok_s", 580.0)
    ]  # fmt: skip
    assert [(r.prompt_tokens, r.output_tokens) for r in as_json] == [(512, 0), (4096, 128), (512, 128)]
    first = as_json[0]
    assert (first.model, first.gpu, first.weight_dtype) == ("llama3.1-8b", "rtx-4090", "q4_k_m")
    assert (first.engine_version, first.kv_dtype, first.mode) == ("b6500", "", "single_stream")
    assert read("\n".join(map(json.dumps, tests)), Given()) == as_json
    assert read(llama_csv({}, decode, both), Given()) == as_json
    table = read(MARKDOWN, Given(model="llama3.1-8b", gpu="rtx-4090", gpu_count=1))
    assert [replace(r, source="") for r in table] == [replace(r, source="") for r in as_json]
    two = read([LLAMA | {"gpu_info": "NVIDIA GeForce RTX 4090, NVIDIA GeForce RTX 4090"}], Given())[0]
    assert two.n_gpus == 2
    assert read([LLAMA | {"n_depth": 4096}], Given())[0].quality == "suspect"
    assert read([LLAMA | {"backends": "Vulkan"}], Given())[0].engine == "llama.cpp (vulkan)"


# ── what is wrong, missing or contradicts ────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "given", "why"),
    [
        (SERVE, Given(gpu_count=1), "does not say on which GPU it ran; add it, like --gpu h100"),
        (SERVE, Given(gpu="h100"), "does not say on how many GPUs it ran; add it, like --gpu-count 1"),
        (SERVE | {"backend": "openai"}, ONE, "does not say which engine served; add it, like --engine vllm"),
        (SERVE | {"model_id": "my/thing"}, ONE, 'the model "my/thing" is none of the catalog'),
        (FILES["vllm bench latency"][0], replace(ONE, model="llama3-8b"), "how long the prompts were"),
        (SERVE, replace(ONE, model="qwen3-8b"), "--model: says qwen3-8b, but made.json is of llama3.1-8b"),
        (TRTLLM, Given(gpu="a100"), "--gpu: says a100, but made.json is of h100"),
        (TRTLLM, Given(tp=4), "--tp: says 4, but made.json says 2"),
        (TRTLLM, Given(weights="bf16"), "--weights: says bf16, but made.json says fp8"),
        (TRTLLM, Given(engine="vllm"), "--engine: says vllm, but made.json is of trtllm"),
        (TRTLLM, Given(engine_version="0.9"), "--engine-version: says 0.9, but made.json says 1.0.0"),
        (SERVE, replace(ONE, batch=4), "--batch: says 4, but made.json says 16"),
        (SERVE, replace(ONE, prompt=4096), "--prompt: says 4096, but the mean of made.json is 1024"),
        (SERVE, replace(ONE, gpu="h1000"), 'nothing is called "h1000"'),
        (SERVE, replace(ONE, engine="nonsense"), 'no engine is called "nonsense"'),
        (SERVE, replace(ONE, weights="int3.7"), "no number format"),
        (SERVE | {"mean_ttft_ms": float("nan")}, ONE, "mean_ttft_ms: needs a number"),
        (SERVE | {"mean_ttft_ms": -1}, ONE, "mean_ttft_ms: needs a number"),
        (SERVE | {"mean_ttft_ms": 1e300}, ONE, "mean_ttft_ms: needs a number"),
        (SERVE | {"mean_ttft_ms": "soon"}, ONE, "mean_ttft_ms: needs a number"),
        (SERVE | {"mean_ttft_ms": True}, ONE, "mean_ttft_ms: needs a number"),
        (SERVE | {"max_concurrency": 2.5}, ONE, "max_concurrency: needs a whole number"),
        (SERVE | {"completed": None}, ONE, "completed: is missing or 0"),
        (SERVE | {k: 0 for k in SERVE if "mean" in k or "throughput" in k}, ONE, "holds no figure"),
        (TRTLLM | {"request_info": None}, Given(), "request_info.avg_input_length: is missing"),
        ({"hello": 1}, ONE, "is of no tool that is known; known: "),
        (["one"], ONE, "holds no record"),
        ("just words\n", ONE, "is of no tool that is known"),
        (json.dumps(SERVE)[:-20], ONE, "is not valid JSON at line 1"),
        ("[" * 200000, ONE, "JSON|nested"),
        (llama_csv({})[:-40], Given(), "is missing or 0|more or fewer fields|needs a number"),
        (MARKDOWN.replace("pp512 ", "xx512 "), ONE, 'test: needs "pp512" or "tg128"'),
    ],
)  # fmt: skip
def test_mistakes_are_told(data: Any, given: Given, why: str) -> None:
    with pytest.raises(PerfModelError, match=why):
        read(data, given)


@pytest.mark.parametrize(("held", "why"), [(b"", "is empty"), (b"\0\1", "is not text"), (b"\xff\xfe{", "not UTF-8")])
def test_files_that_hold_no_text(held: bytes, why: str, tmp_path: Path) -> None:
    file = tmp_path / "it"
    file.write_bytes(held)
    with pytest.raises(SpecError, match=why):
        Content.of(file)
    with pytest.raises(SpecError, match="cannot be read"):
        Content.of(tmp_path / "none")


BASES = [data if isinstance(data, dict) else data[0] for data, _ in FILES.values()]
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
JUNK = st.one_of(PLAIN, st.lists(PLAIN, max_size=2), st.dictionaries(st.text(max_size=4), PLAIN, max_size=2))


@settings(max_examples=150, deadline=None)
@over(st.data())
def test_whatever_stands_in_a_field_is_a_row_or_an_error(data: st.DataObject) -> None:
    base = data.draw(st.sampled_from(BASES))
    changed = base | {data.draw(st.sampled_from(sorted(base))): data.draw(JUNK)}
    text = json.dumps(changed)
    try:
        rows = measured_rows(Content("made.json", text), Given(gpu="h100", gpu_count=2, tp=2, engine="vllm"))
    except PerfModelError:
        return
    assert all(0 < row.value < 1e12 for row in rows)


# ── the file that rows are written to ────────────────────────────────────────────────────────────


def test_rows_are_added_once(tmp_path: Path) -> None:
    file, rows = tmp_path / "rows.csv", read(SERVE)
    text, new = appended(file, rows)
    assert new == len(rows)
    file.write_text(text, encoding="utf-8")
    more = [*rows, *read(SERVE | {"max_concurrency": 4})]
    text, new = appended(file, more)
    assert new == len(rows)
    file.write_text(text, encoding="utf-8")
    assert [replace(row, line=0) for row in rows_of(file)] == more
    file.write_text("\n".join(line.partition(",")[2] for line in text.splitlines()), encoding="utf-8")
    with pytest.raises(SpecError, match="names other columns"):
        appended(file, rows)


# ── the command ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def result(tmp_path: Path) -> str:
    file = tmp_path / "serve.json"
    file.write_text(json.dumps(SERVE), encoding="utf-8")
    return str(file)


def test_the_command_prints_predictions_and_writes(run, result: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    out = str(tmp_path / "rows.csv")
    told = run("validate", "import", result, "--gpu", "h100", "--gpu-count", "1", "--out", out)
    assert told.code == 0, told.err
    assert "7 rows, 7 of them predicted" in told.out
    assert "ttft_ms" in told.out
    assert f"Written: 7 rows to {out}." in told.out
    assert run("validate", "published", out).code == 0
    again = run("validate", "import", result, "--gpu", "h100", "--gpu-count", "1", "--out", out, "--json")
    data = json.loads(again.out)
    assert data["written"] == {"file": out, "rows": 0}
    row = next(row for row in data["rows"] if row["metric"] == "ttft_ms")
    assert row["measured"] == 100.0
    assert row["low"] <= row["predicted"] <= row["high"]
    assert row["error"] == pytest.approx(row["predicted"] / 100 - 1)


def test_the_command_says_what_is_wrong(run, result: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for arguments, why in (
        ((result,), "does not say on which GPU"),
        ((str(tmp_path / "none.json"),), "cannot be read"),
        (
            (result, "--gpu", "h100", "--gpu-count", "1", "--out", str(tmp_path / "no" / "rows.csv")),
            "cannot be written",
        ),
    ):
        told = run("validate", "import", *arguments)
        assert (told.code, told.out) == (2, "")
        assert why in told.err
        assert told.err.count("\n") == 1
