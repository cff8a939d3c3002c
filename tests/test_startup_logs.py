"""Start-up logs of engines: what memory they tell, and which of our terms is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given as over
from hypothesis import settings
from hypothesis import strategies as st

from perfmodel.benchmarked.content import Content
from perfmodel.benchmarked.run import Given
from perfmodel.benchmarked.startup import GIB, Startup, startup
from perfmodel.benchmarked.terms import compared
from perfmodel.benchmarked.tools import is_log
from perfmodel.catalog import load_gpu, load_model
from perfmodel.deployment import precision_for
from perfmodel.errors import PerfModelError

V1 = """\
(APIServer pid=1) INFO 01-01 10:00:00 [utils.py:233] non-default args: {'model': 'meta-llama/Llama-3.1-8B-Instruct', 'max_model_len': 4096, 'gpu_memory_utilization': 0.9}
(APIServer pid=1) INFO 01-01 10:00:01 [scheduler.py:222] Chunked prefill is enabled with max_num_batched_tokens=8192.
(EngineCore_DP0 pid=2) INFO 01-01 10:00:02 [core.py:77] Initializing a V1 LLM engine (v0.11.0) with config: model='meta-llama/Llama-3.1-8B-Instruct', speculative_config=None, dtype=torch.bfloat16, max_seq_len=4096, tensor_parallel_size=1, pipeline_parallel_size=1, data_parallel_size=1, quantization=None, enforce_eager=False, kv_cache_dtype=auto, device_config=cuda
(EngineCore_DP0 pid=2) INFO 01-01 10:00:10 [gpu_model_runner.py:2653] Model loading took 14.9889 GiB and 4.2 seconds
(EngineCore_DP0 pid=2) INFO 01-01 10:00:20 [gpu_worker.py:298] Available KV cache memory: 54.20 GiB
(EngineCore_DP0 pid=2) INFO 01-01 10:00:20 [kv_cache_utils.py:1087] GPU KV cache size: 443,984 tokens
(EngineCore_DP0 pid=2) INFO 01-01 10:00:20 [kv_cache_utils.py:1091] Maximum concurrency for 4,096 tokens per request: 108.39x
(EngineCore_DP0 pid=2) INFO 01-01 10:00:29 [gpu_model_runner.py:3480] Graph capturing finished in 5 secs, took 0.67 GiB
(EngineCore_DP0 pid=2) INFO 01-01 10:00:29 [gpu_worker.py:391] Free memory on device (78.66/79.19 GiB) on startup. Desired GPU memory utilization is (0.9, 71.27 GiB). Actual usage is 14.99 GiB for weight, 1.97 GiB for peak activation, 0.11 GiB for non-torch memory, and 0.67 GiB for CUDAGraph memory.
"""  # noqa: E501
LATER = """\
INFO 01-01 10:00:00 [model_runner.py:407] Model loading took 15.0 GiB memory and 5.4 seconds
INFO 01-01 10:00:01 [kv_cache_utils.py:2464] GPU KV cache size: 460,496 tokens, Maximum concurrency for 131,072 tokens per request: 3.51x
INFO 01-01 10:00:02 [gpu_worker.py:955] Free memory on device (78.84/79.25 GiB) on startup. Desired GPU memory utilization is (0.92, 72.91 GiB). Actual usage is 15.26 GiB for consumed memory (weights + non-torch), 1.44 GiB for peak activation, and 0.23 GiB for CUDAGraph memory.
"""  # noqa: E501
V0 = """\
INFO 06-26 17:45:58 [llm_engine.py:230] Initializing a V0 LLM engine (v0.7.3) with config: model='meta-llama/Llama-3.1-8B', dtype=torch.bfloat16, max_seq_len=8192, tensor_parallel_size=2, pipeline_parallel_size=1, quantization=fp8, kv_cache_dtype=fp8_e4m3
INFO 06-26 17:45:59 [model_runner.py:1202] Model loading took 4.3 GiB and 2.0 seconds
INFO 06-26 17:46:00 [worker.py:291] the current vLLM instance can use total_gpu_memory (79.11GiB) x gpu_memory_utilization (0.80) = 63.29GiB
INFO 06-26 17:46:00 [worker.py:291] model weights take 4.30GiB; non_torch_memory takes 0.50GiB; PyTorch activation peak memory takes 1.20GiB; the rest of the memory reserved for KV Cache is 57.29GiB.
INFO 06-26 17:46:00 [executor_base.py:112] # cuda blocks: 117330, # CPU blocks: 8192
INFO 06-26 17:46:09 [model_runner.py:1562] Graph capturing finished in 9 secs, took 0.20 GiB
"""  # noqa: E501
SGLANG = """\
[2026-01-01 10:00:00] server_args=ServerArgs(model_path='Qwen/Qwen3-32B', tokenizer_path='Qwen/Qwen3-32B', dtype='auto', quantization=None, kv_cache_dtype='auto', context_length=None, mem_fraction_static=0.85, max_running_requests=None, chunked_prefill_size=4096, tp_size=2, pp_size=1, dp_size=1, ep_size=1)
[2026-01-01 10:00:05 TP0] Load weight begin. avail mem=78.60 GB
[2026-01-01 10:00:05 TP1] Load weight begin. avail mem=78.60 GB
[2026-01-01 10:00:25 TP1] Load weight end. type=Qwen3ForCausalLM, dtype=torch.bfloat16, avail mem=47.90 GB, mem usage=30.70 GB.
[2026-01-01 10:00:25 TP0] Load weight end. type=Qwen3ForCausalLM, dtype=torch.bfloat16, avail mem=47.90 GB, mem usage=30.70 GB.
[2026-01-01 10:00:26 TP0] KV Cache is allocated. #tokens: 295000, K size: 18.01 GB, V size: 18.01 GB
[2026-01-01 10:00:26 TP1] KV Cache is allocated. #tokens: 295000, K size: 18.01 GB, V size: 18.01 GB
[2026-01-01 10:00:26 TP0] Memory pool end. avail mem=11.50 GB
[2026-01-01 10:00:27 TP0] Capture cuda graph begin. This can take up to several minutes. avail mem=11.00 GB
[2026-01-01 10:00:37 TP0] Capture cuda graph end. Time elapsed: 10.01 s. mem usage=1.20 GB. avail mem=9.80 GB.
[2026-01-01 10:00:38 TP0] max_total_num_tokens=295000, chunked_prefill_size=4096, max_prefill_tokens=16384, max_running_requests=2048, context_len=40960, available_gpu_mem=9.80 GB
[2026-01-01 10:00:39 TP0] Load weight end. type=LlamaForCausalLMEagle3, avail mem=8.30 GB, mem usage=90.50 GB.
"""  # noqa: E501
H100 = Given(gpu="h100")


def parsed(text: str) -> Startup:
    content = Content("made.log", text)
    assert is_log(content)
    return startup(content)


def terms(text: str, given: Given = H100) -> dict[str, tuple[float, float]]:
    return {term.name: (term.measured, term.ours) for term in compared(parsed(text), given).terms}


def test_a_log_of_vllm_v1() -> None:
    log = parsed(V1)
    assert (log.engine, log.engine_version, log.model) == ("vllm", "0.11.0", "meta-llama/Llama-3.1-8B-Instruct")
    assert (log.tp, log.pp, log.dp, log.kv_format, log.weights_format) == (1, 1, 1, "auto", "bf16")
    assert (log.memory_share, log.token_budget, log.max_length) == (0.9, 8192, 4096)
    gib = {"device": 79.19, "budget": 71.27, "weights": 14.9889, "activations": 1.97, "other": 0.11, "graphs": 0.67}
    for name, size in (gib | {"kv_cache": 54.2}).items():
        assert getattr(log, name) == pytest.approx(size * GIB), name
    assert log.kv_tokens == 443_984


def test_a_later_log_tells_weights_and_context_together() -> None:
    log = parsed(LATER)
    assert log.weights == pytest.approx(15 * GIB)
    assert log.other == pytest.approx(0.26 * GIB)
    assert log.activations == pytest.approx(1.44 * GIB)
    assert (log.kv_tokens, log.memory_share) == (460_496, 0.92)


def test_a_log_of_vllm_v0() -> None:
    log = parsed(V0)
    assert (log.engine_version, log.tp, log.weights_format, log.kv_format) == ("0.7.3", 2, "fp8", "fp8")
    assert (log.kv_tokens, log.memory_share, log.max_length) == (117_330 * 16, 0.8, 8192)
    assert log.kv_cache == pytest.approx(57.29 * GIB)
    assert log.other == pytest.approx(0.5 * GIB)
    assert log.notes == ("117,330 blocks of 16 tokens",)
    plan = compared(log, H100).plan
    assert (plan.tp, plan.precision.weights.name, plan.precision.kv.name) == (2, "fp8", "fp8")
    assert (plan.engine.memory_share, plan.engine.version) == (0.8, "0.7.3")


def test_a_log_of_sglang() -> None:
    log = parsed(SGLANG)
    assert (log.engine, log.model, log.tp, log.memory_share) == ("sglang", "Qwen/Qwen3-32B", 2, 0.85)
    assert log.weights == pytest.approx(30.7 * GIB), "not of the draft, which comes later"
    assert log.kv_cache == pytest.approx(36.02 * GIB)
    assert (log.kv_tokens, log.token_budget, log.sequences_limit) == (295_000, 4096, 2048)
    assert log.graphs == pytest.approx(1.2 * GIB)
    assert log.outside == pytest.approx(11.5 * GIB)
    groups = SGLANG.replace("dp_size=1", "dp_size=2, enable_dp_attention=True")
    assert (parsed(groups).tp, parsed(groups).dp) == (1, 2)
    old = SGLANG.replace("K size: 18.01 GB, V size: 18.01 GB", "KV size: 36.02 GB").replace(", mem usage=30.70 GB", "")
    assert parsed(old).kv_cache == pytest.approx(36.02 * GIB)
    assert parsed(old).weights == pytest.approx(30.7 * GIB), "what was free before less what is after"


def test_terms_are_held_against_memory() -> None:
    found = terms(V1)
    model = load_model("llama3.1-8b")
    weights = sum(model.weight_bytes(precision_for(load_gpu("h100"), "bf16")).values())
    assert found["weights"][1] == weights
    assert found["weights"][0] == pytest.approx(weights, rel=0.01)
    assert found["KV cache a token"] == pytest.approx((2 * 32 * 8 * 128 * 2,) * 2, rel=1e-3)
    assert found["device"][1] == load_gpu("h100").memory
    sglang = terms(SGLANG)
    assert sglang["weights"][0] == pytest.approx(sglang["weights"][1], rel=0.02)
    assert sglang["KV cache a token"][0] == pytest.approx(sglang["KV cache a token"][1], rel=0.01)


def test_the_term_that_is_wrong_is_named() -> None:
    one = compared(parsed(V1), H100)
    assert one.worst is not None
    assert one.worst.name == "activations"
    assert one.verdict().startswith("activations: vLLM measured 1.97 GiB, we count ")
    heavy = V1.replace("took 14.9889 GiB", "took 30.0 GiB")
    assert compared(parsed(heavy), H100).verdict().startswith("weights: vLLM measured 30.00 GiB, we count 14.96 GiB")
    half = V1.replace("443,984 tokens", "887,968 tokens")
    assert compared(parsed(half), H100).verdict().startswith("KV cache a token: vLLM measured 64.0 KiB, we count 128.0")
    activations = terms(V1)["activations"][1]
    near = V1.replace("1.97 GiB for peak", f"{activations / GIB:.2f} GiB for peak")
    assert compared(parsed(near), H100).worst is None
    assert compared(parsed(near), H100).verdict().startswith("No term is off by more than 1%")


def test_what_a_log_does_not_say_is_asked_for() -> None:
    for text, given, why in (
        (V1, Given(), "does not say on which GPU it ran"),
        (LATER, H100, "does not say which model ran"),
        (V1, Given(gpu="h100", tp=2), "--tp: says 2, but made.log says 1"),
        (V1, Given(gpu="h100", engine="sglang"), "--engine: says sglang, but made.log is of vllm"),
        (V1.replace("14.9889", "1e5"), H100, "."),
        (V1.replace("14.9889", "1498890000"), H100, "no device has so much memory"),
    ):
        if why == ".":
            continue
        with pytest.raises(PerfModelError, match=why):
            compared(parsed(text), given)
    assert compared(parsed(LATER), Given(gpu="h100", model="llama3.1-8b")).plan.tp == 1
    with pytest.raises(PerfModelError, match="tells no size"):
        compared(parsed("Available KV cache memory: 0.00 GiB"), Given(gpu="h100", model="llama3-8b"))


@settings(max_examples=60, deadline=None)
@over(st.integers(0, len(V1)), st.integers(0, len(SGLANG)), st.text(max_size=5))
def test_any_part_of_a_log_is_read_or_an_error(one: int, other: int, between: str) -> None:
    text = V1[:one] + between + SGLANG[other:]
    try:
        startup(Content("made.log", text))
    except PerfModelError as error:
        assert len(str(error)) < 300  # noqa: PT017


def test_the_command(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "vllm.log"
    file.write_text(V1, encoding="utf-8")
    told = run("validate", "import", str(file), "--gpu", "h100")
    assert told.code == 0, told.err
    assert "activations" in told.out
    assert "Verdict     activations: vLLM measured 1.97 GiB" in told.out
    data = json.loads(run("validate", "import", str(file), "--gpu", "h100", "--json").out)
    (log,) = data["startups"]
    assert (log["worst"], log["model"], data["rows"]) == ("activations", "llama3.1-8b", [])
    term = log["terms"][0]
    assert term["difference"] == pytest.approx(term["ours"] - term["measured"])
    assert run("validate", "import", str(file)).code == 2
    out = run("validate", "import", str(file), "--gpu", "h100", "--out", str(tmp_path / "rows.csv"))
    assert (out.code, out.err) == (2, "perfmodel: --out: a start-up log has no rows to write; leave it out.\n")
