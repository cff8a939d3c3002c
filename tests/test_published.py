"""`validate published`: what a table of measurements says, what is asked of us, and how errors are counted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from read_pages import check, data, own

from perfmodel.calibration import Constants
from perfmodel.catalog import load_gpu, load_model
from perfmodel.deployment import Deployment, precision_for
from perfmodel.errors import PerfModelError, SpecError
from perfmodel.latency import latency, prefill_time
from perfmodel.precision import number_format
from perfmodel.published.comparison import compared
from perfmodel.published.loaded import Loaded, habits_of, traffic_of
from perfmodel.published.names import Unscored, engine_of, gpu_of, model_of, precision_of, release, served, speculates
from perfmodel.published.peak import CONTEXT, TOGETHER, peak_bytes
from perfmodel.published.predictions import Prediction, predictions
from perfmodel.published.questions import Plans, question
from perfmodel.published.rows import COLUMNS, Row, chosen, rows_of
from perfmodel.published.scores import grouped, ratios, report, score, unscored, worst
from perfmodel.serving.lengths import Lengths
from perfmodel.serving.load import Load
from perfmodel.workload import Workload

GIVEN: dict[str, Any] = {
    "line": 2,
    "source_id": "made-up",
    "engine": "tensorrt-llm",
    "engine_version": "0.9.0",
    "model": "llama-2-70b",
    "gpu": "a100-sxm-80gb",
    "n_gpus": 4,
    "tp": None,
    "pp": None,
    "dp": None,
    "ep": None,
    "weight_dtype": "fp16",
    "act_dtype": "",
    "kv_dtype": "",
    "prompt_tokens": 512,
    "output_tokens": 128,
    "batch_or_concurrency": 8,
    "mode": "fixed_batch",
    "metric": "ttft_ms",
    "value": 100.0,
    "unit": "",
    "note": "",
    "quality": "ok",
}


def row(**given: Any) -> Row:
    return Row(**(GIVEN | given))


def csv_of(rows: list[dict[str, Any]], names: tuple[str, ...] = COLUMNS) -> str:
    def cell(value: Any) -> str:
        return "" if value is None else f'"{value}"'

    lines = [",".join(cell({**GIVEN, "source": "by hand", **one}[name]) for name in names) for one in rows]
    return "\n".join([",".join(names), *lines]) + "\n"


@pytest.fixture
def table(tmp_path: Path):
    """`table([{column: value}, …])` → the path of a CSV file of such rows."""

    def write(rows: list[dict[str, Any]], text: str | None = None) -> str:
        file = tmp_path / "measured.csv"
        file.write_text(csv_of(rows) if text is None else text, encoding="utf-8")
        return str(file)

    return write


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_row_is_read_as_it_stands(table) -> None:
    file = table([{"n_gpus": "4.0", "prompt_tokens": "0", "note": "says, so", "quality": ""}, {"value": "1e-3"}])
    first, second = rows_of(file)
    assert first == row(source="by hand", prompt_tokens=0, note="says, so")
    assert (second.line, second.value, second.tp) == (3, 0.001, None)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"value": ""}, "line 2: value: needs the measured figure"),
        ({"value": "fast"}, "got 'fast'"),
        ({"value": "nan"}, "line 2: value"),
        ({"value": "-1"}, "a number above 0"),
        ({"n_gpus": "0"}, "line 2: n_gpus: needs a whole number of at least 1"),
        ({"prompt_tokens": "12.5"}, "line 2: prompt_tokens"),
        ({"batch_or_concurrency": "many"}, "got 'many'"),
        ({"tp": "1_0"}, "line 2: tp"),
    ],
)
def test_a_wrong_value_is_named_with_its_line(table, given: dict[str, str], told: str) -> None:
    with pytest.raises(SpecError, match=re.escape(told)):
        rows_of(table([given]))


WRONG_TEXTS = {
    "": "the columns engine, engine_version, model",
    "model,gpu\nllama,h100\n": "the columns engine, engine_version, n_gpus, tp, pp, weight_dtype, … are missing",
    csv_of([], tuple(name for name in COLUMNS if name != "tp")): "line 1: the column tp is missing",
    csv_of([], (*COLUMNS, "tp")): 'the column "tp" stands twice',
    csv_of([]) + "a,b\n": "line 2: has 2 fields where the first line names",
    csv_of([]): "holds no measurement",
}


@pytest.mark.parametrize("text", WRONG_TEXTS, ids=list(WRONG_TEXTS.values()))
def test_a_wrong_file_ends_in_one_sentence(table, run, text: str) -> None:
    ran = run("validate", "published", table([], text))
    assert (ran.code, ran.out) == (2, "")
    assert WRONG_TEXTS[text] in ran.err
    assert ran.err.count("\n") == 1


def test_a_file_may_be_absent_or_no_text(run, tmp_path: Path) -> None:
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    for name, told in (("none.csv", "no such file"), ("bytes.csv", "is not UTF-8"), ("", "is a directory")):
        ran = run("validate", "published", str(tmp_path / name))
        assert ran.code == 2
        assert told in ran.err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--by", "metrc"), 'did you mean "metric"?'),
        (("--by", "line"), 'no column called "line"'),
        (("--mode", "fixed"), 'no mode is called "fixed"; did you mean "fixed_batch"?'),
        (("--quality", "good"), 'no quality is called "good"'),
        (("--mode", "concurrency"), "no row is left by --mode concurrency --quality ok; it holds fixed_batch (ok)"),
        (("--html", "/nowhere/page.html"), "cannot be written"),
    ],
)
def test_a_wrong_flag_ends_in_one_sentence(table, run, flags: tuple[str, str], told: str) -> None:
    ran = run("validate", "published", table([{}]), *flags)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert ran.err.count("\n") == 1


def test_modes_and_qualities_choose(table) -> None:
    file = table([{}, {"quality": "suspect"}, {"mode": "concurrency"}, {"mode": "concurrency", "quality": "queueing"}])
    rows = rows_of(file)
    kept = chosen(rows, "fixed_batch, concurrency", "ok,suspect", file)
    assert [r.line for r in kept.rows] == [2, 3, 4]
    assert (kept.other_modes, kept.other_qualities) == (0, {"queueing": 1})
    assert len(chosen(rows, None, "all", file).rows) == 4
    assert chosen(rows, "fixed_batch", "ok", file).other_modes == 2


# ── names ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("engine", "version", "name", "flavour", "number"),
    [
        ("vllm", "0.7.3", "vllm", "", "0.7.3"),
        ("vLLM", "v0.20.1+cu129", "vllm", "", "0.20.1"),
        ("vllm (ROCm)", "0.8.5", "vllm", "rocm", "0.8.5"),
        ("vllm (2023, no CUDA graphs)", "", "vllm", "eager", "0.2"),
        ("vllm", "Dec 2023", "vllm", "", "0.2"),
        ("tensorrt-llm (gptSessionBenchmark, static batch)", "0.9.0", "trtllm", "static", "0.9.0"),
        ("tensorrt-llm (pytorch backend)", ">1.0 (not stated)", "trtllm", "pytorch", "1.0"),
        ("nvidia-nim (tensorrt-llm, in-flight batching)", "2024 (version not stated)", "trtllm", "nim", "0.9"),
        ("TRT-LLM", "", "trtllm", "", ""),
        ("sglang + EAGLE-2", "0.5", "sglang", "", "0.5"),
        ("llama.cpp", "May 2024 Metal", "llama.cpp", "metal", "2024.5"),
        ("ollama", "0.5.7", "llama.cpp", "", ""),
        ("LM Studio", "", "llama.cpp", "", ""),
        ("huggingface fp16 baseline", "", "torch", "", ""),
        ("DeepSpeed", "", "torch", "", ""),
        ("exllamav2", "", "exllama", "", ""),
        ("tinychat 2.0", "", "tinychat", "", ""),
        ("mlc-llm", "", "mlc", "", ""),
        ("gpt-fast + EAGLE", "", "gpt-fast", "", ""),
        ("lmdeploy (turbomind)", "0.6", "lmdeploy", "", "0.6"),
        ("something new", "3", "vllm", "unknown", ""),
    ],
)
def test_engines_by_keyword(engine: str, version: str, name: str, flavour: str, number: str) -> None:
    by = served(row(engine=engine, engine_version=version))
    assert (by.name, by.flavour, release(by)) == (name, flavour, number)


def test_an_engine_passes_as_many_tokens_as_it_takes() -> None:
    assert engine_of(row(engine="llama.cpp", engine_version=""), load_gpu("rtx-4090")).token_budget == 512


@pytest.mark.parametrize(
    ("given", "speculative"),
    [
        ({"engine": "sglang + EAGLE-3"}, True),
        ({"note": "speculative decoding, draft llama-2-7b int4"}, True),
        ({"engine": "gpt-fast", "note": "no speculation; baseline"}, False),
        ({}, False),
    ],
)
def test_speculation_is_told(given: dict[str, str], speculative: bool) -> None:
    assert speculates(row(**given)) is speculative


def test_names_of_models_and_devices() -> None:
    assert model_of("llama-2-13b-chat").name == "llama2-13b"
    assert model_of("meta-llama/Llama-3.1-8B-Instruct").name == "llama3.1-8b"
    assert gpu_of("h100-sxm-80gb").name == "h100"
    assert gpu_of("rtx-4090-24gb").name == "rtx-4090"
    for name in ("nobody/no-such-model", "./model.yaml", "../x", "/etc/passwd", "~", "C:\\x", "config.json", ""):
        with pytest.raises(Unscored):
            model_of(name)
    with pytest.raises(Unscored, match="no GPU is called"):
        gpu_of("rtx-4090-48gb")  # not the memory of an RTX 4090


FORMATS = [
    ("fp16", "", "h100", ("fp16", "fp16", "fp16")),
    ("bf16", "", "v100", ("fp16", "fp16", "fp16")),  # which has no BF16
    ("", "", "h100", ("bf16", "bf16", "bf16")),
    ("fp8", "fp8", "h100", ("fp8", "fp8", "fp8")),  # TensorRT-LLM's cache too
    ("fp8", "", "h100", ("fp8", "fp8", "fp8")),
    ("fp8", "fp8", "a100", ("fp8", "bf16", "fp8")),  # which has no FP8: weight-only
    ("int8", "bf16", "a100", ("int8", "bf16", "bf16")),
    ("int8", "", "a100", ("int8", "bf16", "bf16")),
    ("w8a8", "", "a100", ("int8", "int8", "bf16")),
    ("int8-sq", "", "a100", ("int8", "int8", "bf16")),
    ("w4a16", "", "h100", ("int4", "bf16", "bf16")),
    ("int4-awq", "fp16", "h100", ("int4", "fp16", "fp16")),
    ("int4-gptq", "", "h100", ("gptq", "bf16", "bf16")),
    ("int4-g32", "bf16", "a100", ("int4-g32", "bf16", "bf16")),
    ("w4a8", "", "a100", ("int4", "int8", "bf16")),
    ("fp4", "", "b200", ("nvfp4", "nvfp4", "bf16")),
    ("nvfp4", "", "h100", ("nvfp4", "bf16", "bf16")),
    ("mxfp4", "", "b200", ("mxfp4", "mxfp4", "bf16")),
    ("q4_k_m", "", "rtx-4090", ("q4_k_m", "bf16", "bf16")),
    ("Q8_0", "", "rtx-4090", ("q8_0", "bf16", "bf16")),
    ("f16", "", "rtx-4090", ("fp16", "fp16", "fp16")),
    ("4.0bpw", "", "rtx-4090", ("4bpw", "bf16", "bf16")),
    ("exl2-4.65", "", "rtx-4090", ("4.65bpw", "bf16", "bf16")),
    ("fp8_block", "", "h100", ("fp8-block", "fp8-block", "bf16")),
]


@pytest.mark.parametrize(("weights", "activations", "gpu", "expected"), FORMATS)
def test_number_formats(weights: str, activations: str, gpu: str, expected: tuple[str, str, str]) -> None:
    asked = row(weight_dtype=weights, act_dtype=activations)
    p = precision_of(asked, load_model("llama2-70b"), load_gpu(gpu))
    assert (p.weights.name, p.activations.name, p.kv.name) == expected


def test_words_that_an_engine_gives_another_meaning() -> None:
    model, gpu = load_model("llama3-8b"), load_gpu("rtx-4090")
    assert precision_of(row(engine="llama.cpp", weight_dtype="int4"), model, gpu).weights.name == "q4_k_m"
    assert precision_of(row(engine="vllm", weight_dtype="fp8"), model, gpu).kv.name == "bf16"
    assert precision_of(row(engine="vllm", weight_dtype="fp8", kv_dtype="fp8"), model, gpu).kv.name == "fp8"
    with pytest.raises(Unscored, match='no number format is called "int3'):
        precision_of(row(weight_dtype="int3.7"), model, gpu)


def test_a_checkpoint_of_few_bits_is_taken_as_it_is_declared() -> None:
    declared = load_model("gpt-oss-20b")
    told = {word: precision_of(row(weight_dtype=word), declared, load_gpu("h100")) for word in ("", "mxfp4", "fp8")}
    assert len(set(told.values())) == 1
    assert told[""].weights.name == "mxfp4"
    assert precision_of(row(weight_dtype="bf16"), declared, load_gpu("h100")).weights.name == "bf16"


# ── GGUF ─────────────────────────────────────────────────────────────────────────────────────────

# bytes of a block of 256 weights (ggml-common.h, block_q4_K …; of 32 for the others, eight times)
BLOCKS = {
    "q2_k": 84, "q3_k": 110, "q4_k": 144, "q5_k": 176, "q6_k": 210, "q8_0": 8 * 34, "q4_0": 8 * 18, "q4_1": 8 * 20,
    "q5_0": 8 * 22, "q5_1": 8 * 24, "iq4_xs": 136, "iq4_nl": 8 * 18, "iq3_s": 110, "iq3_xxs": 98, "iq2_s": 82,
    "iq2_xs": 74, "iq2_xxs": 66, "iq1_m": 56, "iq1_s": 50,
}  # fmt: skip
# recalled: GB of files that people share (bartowski's Llama-3 8B and 70B Instruct GGUF)
FILES = {
    "llama3-8b": {"q8_0": 8.54, "q6_k": 6.60, "q5_k_m": 5.73, "q5_k_s": 5.60, "q4_k_m": 4.92, "q4_k_s": 4.69,
                  "q3_k_l": 4.32, "q3_k_m": 4.02, "q3_k_s": 3.66, "q2_k_m": 3.18, "iq4_xs": 4.45, "f16": 16.07},
    "llama3-70b": {"q8_0": 74.98, "q6_k": 57.89, "q5_k_m": 49.95, "q4_k_m": 42.52, "q3_k_m": 34.27, "q2_k_m": 26.38},
}  # fmt: skip


@pytest.mark.parametrize(("name", "size"), BLOCKS.items())
def test_bytes_of_gguf_blocks(name: str, size: int) -> None:
    assert number_format(name, "").bytes * 256 == size


@pytest.mark.parametrize(("model", "name", "size"), [(m, n, s) for m, files in FILES.items() for n, s in files.items()])
def test_sizes_of_gguf_files(model: str, name: str, size: float) -> None:
    weights = load_model(model).weight_bytes(precision_for(load_gpu("h100"), name))
    assert sum(weights.values()) == pytest.approx(size * 1e9, rel=0.008)


def test_a_table_that_is_the_head_too_is_stored_as_the_head() -> None:
    model = load_model("llama3.2-1b")
    weights = model.weight_bytes(precision_for(load_gpu("h100"), "q4_k_m"))
    assert weights["embedding"] == model.vocabulary * model.hidden_size * 210 / 256
    assert weights["lm_head"] == 0


# ── questions ────────────────────────────────────────────────────────────────────────────────────


def test_splits_where_the_source_says_little() -> None:
    plans = Plans()
    assert (plans.of(row()).tp, plans.of(row()).pp) == (4, 1)
    by_layers = plans.of(row(engine="llama.cpp", gpu="rtx-4090"))
    assert (by_layers.tp, by_layers.pp) == (1, 4)
    both = plans.of(row(n_gpus=8, tp=4))
    assert (both.tp, both.pp) == (4, 2)
    assert plans.of(row(n_gpus=8, tp=4)) is both
    for given, why in (
        ({"n_gpus": None}, "one does not hold the model"),
        ({"n_gpus": 6, "tp": 4, "pp": 1}, "no multiple of tp × pp"),
        ({"n_gpus": 3, "tp": 3}, "tp 3 does not split llama2-70b"),
    ):
        with pytest.raises(Unscored, match=why):
            plans.of(row(**given))


def test_replicas_share_the_batch_and_add_up() -> None:
    q = question(row(model="llama-2-7b", n_gpus=4, tp=1, pp=1, metric="output_tok_s_total"), Plans())
    assert (q.plan.gpu_count, q.batch, q.scale) == (1, 2, 4)
    each = question(row(metric="output_tok_s_per_gpu", unit="tok/s/gpu"), Plans())
    assert (each.plan.gpu_count, each.batch, each.scale) == (4, 8, 1 / 4)


def test_sizes_that_a_source_leaves_out() -> None:
    def sizes(**given: Any) -> tuple[Any, ...]:
        q = question(row(**given), Plans())
        return q.prompt, q.output, q.batch, q.most

    assert sizes(metric="decode_tok_s", prompt_tokens=0, output_tokens=1024) == (1, 1024, 8, None)
    assert sizes(metric="decode_tok_s", prompt_tokens=5, output_tokens=None) == (5, 200, 8, None)
    assert sizes(metric="tpot_ms", prompt_tokens=None, output_tokens=64) == (5, 64, 8, None)
    assert sizes(metric="prefill_tok_s", output_tokens=0, batch_or_concurrency=None) == (512, 1, 1, None)
    assert sizes(metric="prefill_tok_s", prompt_tokens=None, note="prefill chunk 16384")[0] == 16384
    assert sizes(mode="single_stream", batch_or_concurrency=None)[2] == 1
    saturated = {"mode": "offline_throughput", "metric": "output_tok_s_total", "batch_or_concurrency": None}
    assert sizes(**saturated) == (512, 128, None, None)
    assert sizes(**saturated, note="100 requests sent at once (with tail)") == (512, 128, None, 100)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"mode": "kernel", "metric": "tflops"}, "a kernel's figure"),
        ({"metric": "speedup"}, 'the metric "speedup"'),
        ({"note": "speculative decoding"}, "how tokens were guessed ahead is not stated"),
        ({"engine": "vllm", "note": "MTP on"}, "no heads for further tokens"),
        ({"note": "DEP4 = attention data parallel"}, "ep 4 is for models with experts"),
        ({"note": "with expert parallel"}, "the columns dp and ep do not say which"),
        ({"unit": "furlongs"}, 'ttft_ms in "furlongs"'),
        ({"batch_or_concurrency": None}, "the batch is not stated"),
        ({"metric": "output_tok_s_total", "output_tokens": None}, "the output's length is not stated"),
        ({"gpu": "h1000"}, 'no GPU is called "h1000"'),
        ({"model": "llama-22"}, 'no model is called "llama-22"'),
        ({"weight_dtype": "int3.7"}, "no number format"),
    ],
)
def test_what_has_no_answer_says_why(given: dict[str, Any], why: str) -> None:
    (found,) = predictions([row(**given)])
    assert why in found.reason


def test_speculation_is_predicted_where_the_method_or_the_draft_is_told() -> None:
    """At typical acceptance: the draft model of gpt-fast's README within 10 %, EAGLE in SGLang within 35 %."""
    plain = {
        "mode": "single_stream",
        "metric": "decode_tok_s",
        "batch_or_concurrency": None,
        "unit": "tok/s",
        "tp": None,
    }
    told = (
        ({"engine": "gpt-fast", "model": "llama-2-70b", "gpu": "a100-sxm-80gb", "weight_dtype": "int4", "value": 48.4,
          "note": "speculative decoding, draft llama-2-7b int4", "prompt_tokens": 5}, "draft", 0.1),
        ({"engine": "sglang + EAGLE-2", "model": "llama-3.1-8b", "gpu": "h100-sxm-80gb", "weight_dtype": "fp16",
          "value": 244.1}, "eagle2", 0.35),
        ({"engine": "sglang + EAGLE-3", "model": "llama-3.1-8b", "gpu": "h100-sxm-80gb", "weight_dtype": "fp16",
          "value": 373.25}, "eagle3", 0.35),
    )  # fmt: skip
    for given, method, tolerance in told:
        measured = row(**(plain | given | {"n_gpus": 1}))
        found = question(measured, Plans()).plan.speculation
        assert found is not None
        assert found.method == method
        (predicted,) = predictions([measured])
        assert abs(predicted.error) < tolerance, (method, predicted.error)
    draft = question(row(**(plain | told[0][0] | {"n_gpus": 1})), Plans()).plan.speculation
    assert draft is not None
    assert draft.draft is not None
    assert draft.precision is not None
    assert (draft.draft.name, draft.precision.weights.name) == ("llama2-7b", "int4")


def test_per_request_rates_are_of_one_user() -> None:
    whole, each = (question(row(metric="decode_tok_s", note=note), Plans()) for note in ("", "tokens/s PER REQUEST"))
    assert (whole.figure, each.figure) == ("decode_rate", "user_rate")


# ── predictions ──────────────────────────────────────────────────────────────────────────────────


def expected(**given: Any) -> float:
    (found,) = predictions([row(**given)])
    assert not found.reason
    assert found.low <= found.expected <= found.high
    return found.expected


def test_figures_of_a_batch_are_those_of_latency() -> None:
    plan, work = Plans().of(row()), Workload(512, 128, 8)
    t = latency(plan, work)
    figures = {
        "ttft_ms": t.ttft.expected * 1e3,
        "tpot_ms": t.tpot.expected * 1e3,
        "itl_ms": t.tpot.expected * 1e3,
        "e2e_latency_s": t.e2e.expected,
        "output_tok_s_total": 8 * 128 / t.e2e.expected,
        "output_tok_s_per_gpu": 8 * 128 / t.e2e.expected,  # its unit, tok/s/gpu, divides
        "total_tok_s": 8 * (512 + 128) / t.e2e.expected,
        "decode_tok_s": 8 / t.tpot.expected,
        "prefill_tok_s": 8 * 512 / t.ttft.expected,
    }
    figures["output_tok_s_per_gpu"] /= 4
    for metric, figure in figures.items():
        assert expected(metric=metric) == pytest.approx(figure), metric
    assert expected(metric="ttft_ms", unit="s") == pytest.approx(t.ttft.expected)
    (found,) = predictions([row(metric="decode_tok_s")])
    assert (found.low, found.high) == pytest.approx((8 / t.tpot.high, 8 / t.tpot.low))


def test_bandwidth_of_weights_is_bytes_read_times_rate() -> None:
    given = {"model": "llama-2-7b", "n_gpus": 1, "batch_or_concurrency": 1}
    rate = expected(metric="decode_tok_s", **given)
    read = 2 * (6_738_415_616 - 32000 * 4096)  # 16 bits, without the embedding's rows
    assert expected(metric="mem_bw_gb_s", **given) == pytest.approx(read * rate / 1e9)


def test_rows_of_one_deployment_are_one_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    import perfmodel.published.predictions as module

    calls = []
    monkeypatch.setattr(module, "prefill_time", lambda *given: calls.append(given) or prefill_time(*given))
    rows = [row(prompt_tokens=64 + i, batch_or_concurrency=1 + i % 9, value=1.0 + i) for i in range(500)]
    found = predictions(rows)
    assert len(calls) == 1
    assert [p.row for p in found] == rows
    for i in (0, 123, 499):
        assert found[i].expected == pytest.approx(expected(prompt_tokens=64 + i, batch_or_concurrency=1 + i % 9))


def test_memory_by_hand() -> None:
    plan = Plans().of(row())
    work = Workload(128, 128, 1)
    weights = 68_976_648_192 * 2 / 4 + 2 * 8192 * 161 * 3 / 4  # norms stand whole on each device
    cache = 2 * 80 * 8 * 128 * 256 * 2 / 4
    rest = peak_bytes(plan, work) - weights - cache
    assert CONTEXT + 4 * TOGETHER < rest < CONTEXT + 4 * TOGETHER + 0.05e9
    assert expected(
        metric="gpu_peak_mem_gb", prompt_tokens=128, output_tokens=128, batch_or_concurrency=1
    ) == pytest.approx(peak_bytes(plan, work) / 1e9)


# ── loaded ───────────────────────────────────────────────────────────────────────────────────────


def under_load(**given: Any) -> Loaded:
    plans = Plans()
    one = row(mode="concurrency", **given)
    asked = question(one, plans)
    return Loaded(asked.plan, (asked,))


def test_a_closed_loop_is_simulated() -> None:
    loop = under_load(batch_or_concurrency=16)
    answer = serve_load(loop)
    assert float(loop.ttft.expected[0]) == pytest.approx(answer.ttfts.mean, rel=0.02)
    assert float(loop.tpot.expected[0]) == pytest.approx(answer.tpots.mean, rel=0.02)
    busy = {"mode": "concurrency", "batch_or_concurrency": 16}
    # Little: those in flight over the rate at which they leave
    assert expected(metric="output_tok_s_total", **busy) == pytest.approx(16 * 128 / float(loop.e2e.expected[0]))


def serve_load(loop: Loaded) -> Load:
    (load,) = loop.loads
    return Load(loop.plan, load.traffic)


def test_one_client_sees_a_batch_of_one() -> None:
    loop = under_load(batch_or_concurrency=1)
    alone = prefill_time(loop.plan, Workload(512, 128, 1)).expected
    costs = Constants(loop.plan.gpu, loop.plan.engine).costs
    assert float(loop.ttft.expected[0]) > alone + costs.request_s
    assert float(loop.ttft.expected[0]) < 1.5 * alone + costs.request_s + 3 * float(loop.tpot.expected[0])


def test_what_memory_does_not_hold_waits() -> None:
    given = {"gpu": "h100", "n_gpus": 2, "engine_version": "1.0", "prompt_tokens": 2048, "output_tokens": 512}
    many, few = (under_load(**given, batch_or_concurrency=c) for c in (1000, 100))
    (load,) = many.loads
    assert load.most_running <= load.held / (2048 + 512)
    assert float(many.ttft.expected[0]) > 5 * float(few.ttft.expected[0])


def test_lengths_and_habits_stand_in_the_note() -> None:
    drawn = "lengths drawn from 0.8 to 1 of the named; prompts gather for 20 steps or 14746 tokens"
    one = question(row(mode="concurrency", batch_or_concurrency=8, prompt_tokens=900, note=drawn), Plans())
    assert traffic_of(one).prompts == Lengths.uniform(800, 1000)
    assert dict(habits_of(one)) == {"gather_steps": 20, "gather_tokens": 14746}
    apart = question(
        row(mode="concurrency", batch_or_concurrency=8, output_tokens=100, note="outputs end apart"), Plans()
    )
    assert traffic_of(apart).outputs == Lengths.uniform(90, 110)
    assert traffic_of(apart).concurrency == 8


def test_a_saturated_server_takes_what_it_holds() -> None:
    given = {"mode": "offline_throughput", "metric": "output_tok_s_total"}
    whole = expected(**given, batch_or_concurrency=None)
    hundred = expected(**given, batch_or_concurrency=None, note="100 requests at once")
    assert hundred == pytest.approx(expected(**given, batch_or_concurrency=100))
    assert hundred < whole, "the tail of few requests weighs more"


def test_what_holds_not_one_request_is_not_predicted() -> None:
    (none,) = predictions([row(mode="concurrency", batch_or_concurrency=4, model="llama-3-70b", gpu="h100", n_gpus=1)])
    assert "do not fit" in none.reason


# ── scores ───────────────────────────────────────────────────────────────────────────────────────


def made(measured: float, predicted: float, half: float = 0.1, **given: Any) -> Prediction:
    one = row(value=measured, **given)
    return Prediction(one, predicted, predicted * (1 - half), predicted * (1 + half))


def test_statistics_by_hand() -> None:
    # signed errors −0.5, −0.1, 0, +0.2, +1
    found = [made(10, 5), made(10, 9), made(10, 10), made(10, 12), made(10, 20), Prediction(row(), reason="none")]
    s = score(found)
    assert (s.n, s.scored) == (6, 5)
    assert s.median_ape == pytest.approx(0.2)
    assert s.mean_ape == pytest.approx((0.5 + 0.1 + 0 + 0.2 + 1) / 5)
    assert s.p90_ape == pytest.approx(0.5 + 0.6 * 0.5)  # rank 3.6 of 0 … 4, linear
    assert s.bias == 0
    assert s.coverage80 == pytest.approx(1 / 5)  # 9 ± 0.9 does not reach 10, 12 ± 1.2 neither
    assert score([found[-1]]) == (1, 0, None, None, None, None, None)


def test_ratios_are_of_rows_that_differ_in_one_thing() -> None:
    fast, slow = made(1.0, 1.1, n_gpus=4, tp=4), made(2.0, 2.0, n_gpus=2, tp=2)
    other = made(5.0, 9.0, n_gpus=2, tp=2, prompt_tokens=7)  # differs in its prompt too: no pair
    (found,) = ratios([fast, slow, other, made(3.0, 3.0, n_gpus=2, tp=2, metric="tpot_ms")])
    assert (found.differ, found.pairs) == ("devices", 1)
    assert found.median == pytest.approx(0.1), "predicted 0.55, measured 0.5"
    assert ratios([fast]) == []


def test_groups_worst_and_reasons() -> None:
    found = [made(1, 2, gpu="a"), made(1, 0.2, gpu="b"), made(1, 4, gpu="a"), Prediction(row(gpu="c"), reason="why")]
    assert next(key for key, _ in grouped(found, ("gpu", "metric"))) == ("a", "ttft_ms")
    assert [p.expected for p in worst(found)] == [0.2, 4, 2]  # a fifth is farther off than four times
    assert unscored([*found, Prediction(row(), reason="b"), Prediction(row(), reason="why")]) == [("why", 2), ("b", 1)]


def test_the_json_contract(table, run) -> None:
    file = table([{}, {"metric": "tpot_ms"}, {"gpu": "h1000"}, {"quality": "suspect"}, {"mode": "concurrency"}])
    ran = run("validate", "published", file, "--json", "--by", "gpu,n_gpus", "--mode", "fixed_batch")
    assert ran.code == 0
    data = json.loads(ran.out)
    figures = {"n", "scored", "median_ape", "mean_ape", "p90_ape", "bias", "coverage80"}
    assert list(data) == ["overall", "groups", "ratios", "worst", "unscored"]
    assert set(data["overall"]) == figures
    assert all(set(group) == figures | {"by"} for group in data["groups"])
    assert data["groups"][0]["by"] == {"gpu": "a100-sxm-80gb", "n_gpus": 4}
    assert (data["overall"]["n"], data["overall"]["scored"], len(data["worst"])) == (3, 2, 2)
    assert data["unscored"] == [{"reason": 'no GPU is called "h1000"', "n": 1}]
    one = data["worst"][0]
    assert one["error"] == pytest.approx((one["predicted"] - one["measured"]) / one["measured"])


def test_errors_are_never_clipped() -> None:
    data = report([made(1e-6, 1e3)], ("metric",))
    assert data["overall"]["bias"] == pytest.approx(1e9, rel=1e-5)


def test_the_screen(table, run) -> None:
    ran = run("validate", "published", table([{}, {"gpu": "h1000"}, {"quality": "suspect"}, {"mode": "kernel"}]))
    assert ran.code == 0
    for told in ("3 rows of measured.csv, 1 of them predicted", "1 suspect (--quality all takes them)", "Farthest off"):
        assert told in ran.out
    assert re.search(r"ttft_ms +3 +1 ", ran.out)
    assert re.search(r"1 +no GPU is called \"h1000\"", ran.out)


def test_nothing_predicted_is_an_answer_too(table, run, tmp_path: Path) -> None:
    file = table([{"gpu": "h1000"}])
    ran = run("validate", "published", file, "--json", "--html", str(tmp_path / "page.html"))
    assert ran.code == 0
    assert json.loads(ran.out)["overall"]["median_ape"] is None
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    check(text)
    assert "Nothing was predicted, so that there is nothing to draw" in text


# ── page ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_is_one_file_and_escapes_what_it_is_given(table, run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("old", encoding="utf-8")
    rows = [{}, {"metric": "tpot_ms", "engine": "vllm <script>alert(1)</script>"}, {"gpu": "<img src=x>"}]
    assert run("validate", "published", table(rows), "--by", "engine,gpu", "--html", str(page)).code == 0
    text = page.read_text(encoding="utf-8")
    check(text)
    assert own(text).lower().count("<script") == 3, "data, library, its own"
    assert "<img" not in own(text)
    assert "&lt;script&gt;" in text
    drawn = data(text)["plots"]["points-0"]["data"]
    assert [trace["name"] for trace in drawn[3:]] == ["tpot_ms", "ttft_ms"]
    assert "perfmodel validate published" in text
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_points_stand_where_they_belong() -> None:
    from perfmodel.published.page import predicted_against_measured

    found = predicted_against_measured([made(10, 10), made(1, 100)])
    (plot,) = found.plots
    assert (plot.traces[-1]["x"], plot.traces[-1]["y"]) == ([10, 1], [10, 100])
    assert "Half of the rows are within" in found.caption


def test_a_comparison_from_python(table) -> None:
    run = compared(table([{}]), by="gpu")
    assert run.to_dict()["overall"]["scored"] == 1
    with pytest.raises(PerfModelError):
        compared(table([{}]), by="nothing")
    assert isinstance(run.predictions[0].row, Row)
    assert isinstance(Plans().of(run.predictions[0].row), Deployment)


def test_rows_with_groups_and_parts_of_experts_are_asked_as_such() -> None:
    noted = question(row(model="deepseek-v3", gpu="h200", n_gpus=8, weight_dtype="fp8", note="DEP8"), Plans()).plan
    given = question(row(model="deepseek-v3", gpu="h200", n_gpus=8, tp=2, dp=4, ep=8, weight_dtype="fp8"), Plans()).plan
    assert (noted.tp, noted.dp, noted.ep, noted.gpu_count) == (1, 8, 8, 8)
    assert (given.tp, given.dp, given.ep, given.gpu_count) == (2, 4, 8, 8)
