"""The command line as a user meets it: answers, refusals, exit codes, the JSON contract."""

from __future__ import annotations

import csv
import io
import json

import pytest

from perfmodel.catalog import load_gpu, load_model

CASE = ("estimate", "--model", "llama3-70b", "--gpu", "h100")
RANGES = ("ttft_s", "tpot_s", "e2e_s", "tokens_per_s", "tokens_per_s_per_user")


def test_two_flags_are_enough_and_fit_a_screen(run):
    answer = run(*CASE)
    assert answer.code == 0
    assert answer.err == ""
    assert "2 GPUs (TP 2), the fewest that hold model and workload" in answer.out
    for word in ("Memory", "TTFT", "TPOT", "Tokens/s", "bound", "interval", "Cost", "Assumes"):
        assert word in answer.out
    lines = answer.out.splitlines()
    assert len(lines) <= 32
    assert max(map(len, lines)) <= 110
    assert "\033" not in answer.out  # plain when piped


def test_json_contract(run):
    answer = run(*CASE, "--json", "--batch", "4")
    assert answer.code == 0
    data = json.loads(answer.out)
    assert {"version", "model", "gpu", "gpu_count", "tp", "pp", "fits", "memory", "prefill", "decode"} <= data.keys()
    assert (data["model"], data["gpu"], data["gpu_count"], data["tp"], data["pp"]) == ("llama3-70b", "h100", 2, 2, 1)
    assert data["fits"] is True
    for name in RANGES:
        assert data[name].keys() == {"bound", "expected", "low", "high"}
    assert data["ttft_s"]["bound"] <= data["ttft_s"]["low"] <= data["ttft_s"]["expected"] <= data["ttft_s"]["high"]
    rate = data["tokens_per_s"]
    assert rate["low"] <= rate["expected"] <= rate["high"] <= rate["bound"]
    held = data["memory"]
    kept = ("weights_bytes", "kv_cache_bytes", "activations_bytes", "reserve_bytes")
    assert sum(held[name] for name in kept) + held["free_bytes"] == held["capacity_bytes"]
    for phase in ("prefill", "decode"):
        assert {"flops", "matmul_flops", "matmul_flops_full_square", "bytes", "arithmetic_intensity"} <= data[
            phase
        ].keys()
        assert data[phase]["bound_by"] in ("compute", "bandwidth", "link", "overhead")
        assert "ops" not in data[phase]
        assert isinstance(data[phase]["flops"], int)
    assert data["assumptions"]
    assert isinstance(data["warnings"], list)


def test_decode_figures_are_those_of_the_first_step(run):
    data = json.loads(run(*CASE, "--json", "--batch", "3", "--prompt", "100").out)
    linear = 2 * 3 * (load_model("llama3-70b").total_parameters - 128256 * 8192 - (2 * 80 + 1) * 8192)
    assert data["decode"]["matmul_flops"] == linear + 80 * 4 * 3 * 101 * 64 * 128
    assert data["decode"]["kv_read_bytes"] == 3 * 100 * 327_680
    assert data["decode"]["kv_write_bytes"] == 3 * 327_680


def test_breakdown_ops_add_up_to_the_phase(run):
    data = json.loads(run(*CASE, "--json", "--breakdown", "--tp", "4").out)
    ops = data["prefill"]["ops"]
    assert [op["name"] for op in ops][:4] == ["embedding", "embedding_all_reduce", "attention_norm", "q_proj"]
    matmul = sum(op["flops"] for op in ops if op["kind"] in ("gemm", "attention"))
    assert matmul == data["prefill"]["matmul_flops"]
    for phase in (data["prefill"], data["decode"]):
        for name in ("flops", "weight_bytes", "kv_read_bytes", "kv_write_bytes", "activation_bytes"):
            assert sum(op[name] for op in phase["ops"]) == phase[name], name
        moved = ("weight_bytes", "kv_read_bytes", "kv_write_bytes", "activation_bytes")
        assert sum(op[name] for op in phase["ops"] for name in moved) == phase["bytes"]
    timed = sum(op["expected_s"] for op in data["decode"]["ops"])
    assert timed < data["tpot_s"]["expected"] < 1.5 * timed
    assert sum(data["prefill"]["spent_s"].values()) == pytest.approx(data["ttft_s"]["expected"], rel=1e-12)
    text = run(*CASE, "--breakdown").out
    assert "q_proj" in text
    assert "First decode step" in text


def test_csv_is_one_row_that_parses(run):
    rows = list(csv.DictReader(io.StringIO(run(*CASE, "--csv").out)))
    assert len(rows) == 1
    assert rows[0]["model"] == "llama3-70b"
    assert float(rows[0]["ttft_s"]) > 0


def test_no_is_exit_code_1_with_remedies_that_work(run):
    answer = run(*CASE, "--tp", "1", "--batch", "8")
    assert answer.code == 1
    assert answer.out == ""
    assert answer.err.startswith("perfmodel: llama3-70b does not fit 1 × h100: needs ")
    ways = [line.split(": ", 1)[1] for line in answer.err.splitlines()[1:]]
    assert ways
    for way in ways:
        flags = [word for word in way.split(" (")[0].split() if word.startswith("--") or flag_value(word)]
        tp = () if "--tp" in flags else ("--tp", "1")
        batch = () if "--batch" in flags else ("--batch", "8")
        assert run(*CASE, *tp, *batch, *flags).code == 0, way


def flag_value(word: str) -> bool:
    return word.isdigit() or word in ("fp8", "int8", "int4")


def test_no_in_json_keeps_the_figures(run):
    answer = run(*CASE, "--tp", "1", "--json")
    data = json.loads(answer.out)
    assert answer.code == 1
    assert data["fits"] is False
    assert data["memory"]["free_bytes"] < 0
    assert data["remedies"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--tp", "3"), "64 heads do not divide among 3 devices; --tp 1 --pp 3 would work."),
        (("--tp", "12"), "reaches beyond the node"),
        (("--gpu-count", "8", "--tp", "3"), "--gpu-count 8 is not --tp 3"),
        (("--pp", "81"), "pp 81 is more stages than llama3-70b's 80 layers"),
        (("--batch", "0"), "--batch must be a whole number from 1"),
        (("--batch", "-1"), "--batch must be a whole number from 1"),
        (("--batch", "1.5"), "needs a whole number, like 8; got '1.5'"),
        (("--prompt", "many"), "needs a whole number, like 8; got 'many'"),
        (("--weights", "fp9"), 'did you mean "fp8"?'),
        (("--weights", "nvfp4"), "h100 does not compute in fp4"),
        (("--activations", "int4"), "--activations"),
        (("--kv", "fp32"), "--kv fp32"),
        (("--attention", "flsh"), "did you mean flash?"),
        (("--engine", "vlm"), 'did you mean "vllm"?'),
        (("--memory-share", "90"), "--memory-share must be above 0 and at most 1"),
        (("--price", "nan"), "--price must be USD per device and hour"),
        (("--prune", "layrs=3"), 'did you mean "layers"?'),
        (("--prune", "layers"), '--prune takes sizes like "layers=32,hidden=4096"'),
        (("--prune", "layers=999999999"), "--prune layers must be a whole number from 1 to 10,000"),
        (("--prune", "heads=65"), "--prune heads 65: "),
        (("--assume", "lama"), "--assume: no family is called"),
        (("--routing-skew", "-1"), "--routing-skew must be a number from 0"),
        (("--routing-skew", "nan"), "--routing-skew must be a number from 0"),
        (("--routing-skew", "1e9"), "--routing-skew must be a number from 0"),
        (("--bach", "3"), "--bach"),
        (("--path", "/nowhere"), "/nowhere: is not a folder"),
        (("--gpu", "h1000"), "Did you mean h100?"),
        (("--model", "lama3-70b"), "Did you mean llama3-70b?"),
        (("--model", "./none.yaml"), "cannot be read"),
        (("--model", ""), 'No model is called ""'),
    ],
)
def test_a_wrong_question_is_one_sentence_and_exit_code_2(run, arguments, says):
    answer = run(*CASE, *arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert says in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert answer.err.startswith("perfmodel: ")


def test_a_device_without_bf16_computes_in_fp16_and_refuses_bf16(run):
    assert "fp16 weights" in run("estimate", "-m", "llama3-8b", "-g", "v100").out
    answer = run("estimate", "-m", "llama3-8b", "-g", "v100", "--weights", "bf16")
    assert answer.code == 2
    assert "v100 does not compute in bf16; it offers fp16" in answer.err


def test_fp8_on_a_device_without_it_names_the_way_out(run):
    answer = run("estimate", "-m", "llama3-8b", "-g", "a100", "--weights", "fp8")
    assert answer.code == 2
    assert "--activations bf16" in answer.err
    assert run("estimate", "-m", "llama3-8b", "-g", "a100", "--weights", "fp8", "--activations", "bf16").code == 0


def test_a_context_beyond_the_limit_is_a_warning(run):
    assert "takes at most 8,192" in run(*CASE, "--prompt", "9000").out
    assert "Warning" not in run(*CASE, "--prompt", "7000").out


def test_show_says_every_figure(run):
    model = json.loads(run("show", "llama3-70b", "--json").out)
    assert model["total_parameters"] == 70_553_706_496
    assert model["active_parameters"] == model["total_parameters"]
    assert model["kv_cache_bytes_per_token"] == 327_680
    assert model["max_context"] == 8192
    gpu = json.loads(run("show", "H100-SXM-80GB", "--json").out)
    assert gpu["name"] == "h100"
    assert gpu["figures"]["memory"] == {
        "value": 81559 * 2**20,
        "unit": "bytes",
        "source": gpu["figures"]["memory"]["source"],
    }
    assert gpu["figures"]["peak_flops.bf16"]["value"] == 989.4e12
    assert all(figure["source"] for figure in gpu["figures"].values())
    assert "70,553,706,496" in run("show", "llama3-70b").out
    assert "3.35 TB/s" in run("show", "h100").out


def test_show_says_what_is_stored_kept_and_in_which_order(run, tmp_path):
    file = tmp_path / "config.json"
    sizes = {"hidden_size": 2048, "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 8192}
    mamba = {"mamba_n_heads": 64, "mamba_d_head": 64, "mamba_d_state": 128, "mamba_n_groups": 1, "mamba_expand": 2}
    values = {"model_type": "bamba", "num_hidden_layers": 8, "vocab_size": 32000, "attn_layer_indices": [3]}
    file.write_text(json.dumps(values | sizes | mamba), encoding="utf-8")
    data = json.loads(run("show", str(file), "--json").out)
    assert data["kv_cache_bytes_per_token"] == 2 * 8 * 64 * 2
    assert data["state_bytes"] > 7 * 64 * 64 * 128
    assert data["order"] == "3AB 4A"
    assert data["multi_token_parameters"] == 0
    assert data["quantization"] is None
    text = run("show", str(file)).out
    for words in ("A: 7 × mamba2", "B: 1 × attention (heads 32, kv heads 8", "order 3AB 4A", "bytes of state"):
        assert words in " ".join(text.split())


def test_list_names_everything(run):
    assert "llama3-70b" in run("list", "models").out
    assert "h100" in [row["name"] for row in json.loads(run("list", "gpus", "--json").out)]
    assert run("list", "gpu").code == 0
    assert run("list", "cars").code == 2


def listed(run, *flags):
    answer = run("list", "models", "--json", *flags)
    assert answer.code == 0
    return json.loads(answer.out)


def test_list_filters_and_sorts(run):
    every = listed(run)
    assert {"name", "title", "total_parameters", "active_parameters", "kv_cache_bytes_per_token"} <= every[0].keys()
    small = listed(run, "--max-params", "8.1B")
    assert {row["name"] for row in small} == {row["name"] for row in every if row["total_parameters"] <= 8.1e9}
    assert listed(run, "--max-params", "8100m") == listed(run, "--max-params", "8.1e9") == small
    assert all(row["family"].startswith("qwen") for row in listed(run, "--family", "Qwen"))
    for word, key in {"params": "total_parameters", "kv": "kv_cache_bytes_per_token", "context": "max_context"}.items():
        figures = [row[key] for row in listed(run, "--sort", word)]
        assert figures == sorted(figures)
    dates = [row["released"] for row in listed(run, "--sort", "released") if row["released"]]
    assert dates == sorted(dates, reverse=True)


def test_list_fits_is_what_estimate_says(run):
    held = {row["name"] for row in listed(run, "--fits", "l4")}
    for name in ("llama3-8b", "qwen2.5-14b", "gemma-2b", "llama3-70b"):
        assert (name in held) is (run("estimate", "-m", name, "-g", "l4", "--tp", "1").code == 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("models", "--family", "lama"), 'No family of models is called "lama". Did you mean "llama'),
        (("models", "--family", ""), "No family of models"),
        (("models", "--max-params", "many"), '--max-params needs a number of parameters, like 70B or 500M; got "many"'),
        (("models", "--max-params", "-1B"), "--max-params needs"),
        (("models", "--max-params", ""), "--max-params needs"),
        (("models", "--fits", "h1000"), "Did you mean h100?"),
        (("models", "--sort", "contxt"), "did you mean context?"),
        (("gpus", "--fits", "h100"), "--fits is for models"),
    ],
)
def test_list_refuses_in_one_sentence(run, arguments, says):
    answer = run("list", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert says in answer.err


def test_list_of_nothing_is_a_no(run):
    assert run("list", "models", "--max-params", "1").code == 1
    assert json.loads(run("list", "models", "--max-params", "1", "--json").out) == []


def test_every_catalogued_pair_answers(run):
    from perfmodel.catalog import names

    for gpu in names("gpu"):
        answer = run("estimate", "-m", "llama3-8b", "-g", gpu, "--json")
        if load_gpu(gpu).memory < 18e9 and load_gpu(gpu).domain == 1:  # too small for it, alone
            assert answer.code in (0, 1), gpu
            continue
        assert answer.code == 0, (gpu, answer.err)
        data = json.loads(answer.out)
        assert data["ttft_s"]["expected"] > 0
        assert data["gpu_count"] == 1 or load_gpu(gpu).memory < 26e9
    for model in names("model"):
        assert run("estimate", "-m", model, "-g", "h200", "--json").code == 0, model


def test_version_help_and_nothing(run):
    assert run("--version").out.startswith("perfmodel 0.")
    assert "estimate" in run().out
    assert run("frobnicate").code == 2
