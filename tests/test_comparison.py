"""Levers side by side: ratios against answers asked one by one, changes as people type them, refusals."""

from __future__ import annotations

import json
from inspect import signature

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.cli.options import _question
from perfmodel.comparison import FIGURES, compare, flags, settings_of
from perfmodel.errors import RequestError, UnknownNameError
from perfmodel.latency import LEGS
from perfmodel.moved import percent, shift, times

ASKED = {"model": "llama3-70b", "gpu": "h100", "batch": 16, "prompt": 2048}


def test_figures_and_ratios_are_those_of_answers_asked_one_by_one() -> None:
    found = compare(**ASKED, changes=["kv=fp8", {"tp": 8}, "gpu=h200,batch=4"])
    alone = [pm.estimate(**(ASKED | more)) for more in ({}, {"kv": "fp8"}, {"tp": 8}, {"gpu": "h200", "batch": 4})]
    for variant, answer in zip((found.baseline, *found.variants), alone, strict=True):
        figures = variant.figures(found.baseline)
        assert figures["tpot_s"].value == answer.tpot_s.expected
        assert figures["tpot_s"].ratio == answer.tpot_s.expected / alone[0].tpot_s.expected
        assert figures["memory_bytes"].value == answer.memory.used
        assert figures["room_sequences"].value == answer.room[0]
        inside = alone[0].ttft_s.low <= answer.ttft_s.expected <= alone[0].ttft_s.high
        assert figures["ttft_s"].within is inside
    assert [variant.change for variant in found.variants] == ["kv=fp8", "tp=8", "gpu=h200,batch=4"]


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from(["llama3-8b", "mixtral-8x7b", "deepseek-v2-lite", "falcon-mamba-7b"]),
    st.integers(1, 64),
    st.integers(1, 8192),
    st.integers(1, 512),
)
def test_nothing_changed_is_a_ratio_of_exactly_one(model: str, batch: int, prompt: int, output: int) -> None:
    found = compare(model, "h200", batch=batch, prompt=prompt, output=output, changes=[{}, f"batch={batch}"])
    for variant in found.variants:
        assert {figure.ratio for figure in variant.figures(found.baseline).values()} == {1.0}
        assert list(variant.why(found.baseline)) == ["TTFT unchanged", "TPOT unchanged", "memory unchanged"]


@pytest.mark.parametrize(
    "change", ["kv=fp8", "tp=8", "weights=int4", "engine=llama.cpp", "gpu=a100", "model=llama3-8b"]
)
def test_legs_and_ops_that_moved_add_up(change: str) -> None:
    found = compare(**ASKED, changes=[change])
    before, after = found.baseline.answer, found.variants[0].answer
    for phase, name in (("prefill", "ttft"), ("decode", "tpot")):
        moved = shift(before, after, phase)
        change_s = getattr(after.latency, name).expected - getattr(before.latency, name).expected
        assert sum(moved.legs[leg] for leg in LEGS) == pytest.approx(change_s, rel=1e-9, abs=1e-15)
    rows = {op["name"]: op["expected_s"] for op in after.to_dict(True)["decode"]["ops"]}
    was = {op["name"]: op["expected_s"] for op in before.to_dict(True)["decode"]["ops"]}
    for name, value in shift(before, after, "decode").ops.items():
        assert value == pytest.approx(rows.get(name, 0) - was.get(name, 0), abs=1e-15)


def test_the_reason_names_what_moved() -> None:
    """FP8 halves the cache: at 64 sequences of 8k its reads are most of a step, and nothing else moves as much."""
    found = compare("llama3-8b", "h200", batch=64, prompt=8192, changes=["kv=fp8", "weights=fp8", "tp=2"])
    kv, weights, tp = (" | ".join(variant.why(found.baseline)) for variant in found.variants)
    assert "attention (scores, values) −" in kv
    assert "KV cache read ×0.5" in kv
    assert "weights read" not in kv
    assert "memory −" in kv
    assert "products (ffn_" in weights
    assert "fp8 peak instead of bf16 ×2" in weights
    assert "KV cache read" not in weights
    assert "2 GPUs (TP 2) as asked; the baseline has 1" in tp
    assert "talk between GPUs" in tp or "link +" in tp


def test_speculation_is_told_by_its_tokens_a_pass() -> None:
    found = compare("llama3-70b", "h200", tp=2, changes=["draft=llama3.2-1b,draft-tokens=3,acceptance=0.5"])
    told = found.variants[0].why(found.baseline)
    assert (
        "a pass yields 1.88 tokens of a sequence instead of 1" in told
    )  # 1 + ½ + ¼ + ⅛ (Leviathan et al. 2023, eq. 1)


def test_every_flag_of_a_question_can_be_compared() -> None:
    """A flag that is added to `estimate` needs no change here."""
    asked = {name.replace("_", "-") for name in signature(_question).parameters} - {"path"}
    assert asked <= set(flags())


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("kv=fp8", {"kv": "fp8"}),
        ("--kv=fp8", {"kv": "fp8"}),
        ("weights=fp8,kv=fp8", {"weights": "fp8", "kv": "fp8"}),
        ("weights=fp8 kv=fp8", {"weights": "fp8", "kv": "fp8"}),
        ("weights=fp8, tp=2", {"weights": "fp8", "tp": 2}),
        ("batch=64", {"batch": 64}),
        ("memory-share=0.8", {"memory_share": 0.8}),
        ("price=3", {"price": 3.0}),
        ("tp=none", {"tp": None}),
        ("no-kv-cache", {"kv_cache": False}),
        ("no-kv-cache=false", {"kv_cache": True}),
        ("kv-cache=off", {"kv_cache": False}),
        ('prune="layers=16,ffn=4096",tp=2', {"prune": "layers=16,ffn=4096", "tp": 2}),
        ("model=./my/config.json", {"model": "./my/config.json"}),
        ("engine=vllm@0.7.3", {"engine": "vllm@0.7.3"}),
        ("weights=4.65bpw", {"weights": "4.65bpw"}),
        (
            "draft=llama3.2-1b,draft-tokens=4,acceptance=0.8",
            {"draft": "llama3.2-1b", "draft_tokens": 4, "acceptance": 0.8},
        ),
        ('lora="16,q+v,8"', {"lora": "16,q+v,8"}),
        ("server", {"server": True}),
    ],
)
def test_changes_as_people_type_them(change: str, found: dict[str, object]) -> None:
    got = settings_of(change)
    assert got == found
    assert {name: type(value) for name, value in got.items()} == {name: type(value) for name, value in found.items()}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("kvv=fp8", 'did you mean "kv"?'),
        ("kv", 'needs a value, like "kv=fp8"'),
        ("kv=", 'needs a value, like "kv=fp8"'),
        ("", "needs a change"),
        ("tp=eight", "needs a whole number"),
        ("memory-share=much", "needs a number, like 0.9"),
        ("no-kv-cache=maybe", "is on or off"),
        ("kv=fp8,kv=int8", "kv stands there twice"),
        ("must-fit=true", "no flag is called"),
        ("prune=layers=32,hidden=4096", "needs quotes"),
        ('prune="layers=32', "a quote is not closed"),
        ("kv=fp9", 'no number format is called "fp9"; did you mean'),
        ("tp=3", "do not divide among 3 devices"),
    ],
)
def test_wrong_changes_are_one_sentence(run, change: str, told: str) -> None:
    answer = run("estimate", "-m", "llama3-8b", "-g", "h100", "--compare", change)
    assert answer.code == 2
    assert answer.out == ""
    assert told in answer.err.strip()
    assert len(answer.err.splitlines()) == 1


def test_errors_keep_their_kind() -> None:
    with pytest.raises(UnknownNameError, match="--compare model=lama3-8b"):
        compare("llama3-8b", "h100", changes=["model=lama3-8b"])
    with pytest.raises(RequestError, match="whole numbers, not arrays"):
        compare("llama3-8b", "h100", batch=[1, 2], changes=[])


def test_what_does_not_fit_is_shown_with_what_would_work(run) -> None:
    answer = run("estimate", "-m", "llama3-70b", "-g", "h100", "--compare", "tp=1", "--compare", "kv=fp8")
    assert answer.code == 0
    assert "does not fit" in answer.out
    assert "what would work: --tp 2" in answer.out
    data = json.loads(run("estimate", "-m", "llama3-70b", "-g", "h100", "--compare", "tp=1", "--json").out)
    (variant,) = data["variants"]
    assert variant["fits"] is False
    assert variant["figures"]["tpot_s"]["value"] is None
    assert variant["figures"]["memory_bytes"]["value"] > 80e9
    assert variant["remedies"]


def test_a_baseline_that_does_not_fit_is_no_error(run) -> None:
    answer = run("estimate", "-m", "llama3-70b", "-g", "h100", "--tp", "1", "--compare", "weights=int4")
    assert answer.code == 0
    assert "fits, where the baseline does not" in answer.out
    none = run("estimate", "-m", "llama3.1-405b", "-g", "rtx-4090", "--tp", "1", "--compare", "kv=fp8")
    assert none.code == 1


def test_each_configuration_chooses_its_devices_unless_told() -> None:
    free = compare(**ASKED, changes=["weights=fp8,kv=fp8", "gpu-count=8"])
    assert [v.answer.plan.gpu_count for v in (free.baseline, *free.variants)] == [3, 2, 8]
    told = compare(**(ASKED | {"tp": 4}), changes=["weights=int4", "gpu-count=8"])
    assert [v.answer.plan.gpu_count for v in told.variants] == [4, 8]
    counted = compare(**(ASKED | {"gpu_count": 4}), changes=["tp=8"])
    assert counted.variants[0].answer.plan.tp == 8


def test_csv_and_frame_hold_the_same_rows(run) -> None:
    import csv
    import io

    printed = run("estimate", "-m", "llama3-8b", "-g", "h100", "--compare", "kv=fp8", "--csv").out
    first, second = csv.DictReader(io.StringIO(printed))
    assert (first["change"], second["change"]) == ("", "kv=fp8")
    assert float(second["tpot_s_ratio"]) == float(second["tpot_s"]) / float(first["tpot_s"])
    frame = pm.compare("llama3-8b", "h100", changes=["kv=fp8"]).to_frame()
    assert list(frame["fits"]) == [True, True]
    assert set(FIGURES) <= set(frame.columns)


def test_breakdown_is_for_one_answer(run) -> None:
    answer = run("estimate", "-m", "llama3-8b", "-g", "h100", "--compare", "kv=fp8", "--breakdown")
    assert answer.code == 2


def test_changes_in_words() -> None:
    assert [percent(x) for x in (-0.38, 0.004, 0.0002, 1.0, 76.0)] == ["−38 %", "+0.4 %", "+0.02 %", "+100 %", "×77"]
    assert [times(x) for x in (1.0, 0.123456, 4321.0)] == ["×1", "×0.123", "×4,321"]
