"""`explain`: traced formulas give the plain figures, and the page holds the walkthrough's."""

from __future__ import annotations

import math

import pytest

from perfmodel.answer import estimate
from perfmodel.batch import Batch
from perfmodel.calibration import Constants
from perfmodel.catalog import load_model
from perfmodel.errors import RequestError
from perfmodel.expected import expected_s
from perfmodel.explain.generation import flops_of, generation_lines, over_steps, quadratic_sum
from perfmodel.explain.held import lettered_work
from perfmodel.explain.lettered import lettered, lettered_batch, lettered_gpu, lettered_model, letters_of
from perfmodel.explain.times import LetteredConstants, summed
from perfmodel.explain.walk import steps
from perfmodel.forward import forward
from perfmodel.memory import memory
from perfmodel.model import Model
from perfmodel.roofline import bound_s
from perfmodel.traced import Traced, value_of
from perfmodel.units import show_flops

QUESTIONS = (
    {"model": "llama3-8b", "prompt": 2048},
    {"model": "llama3-70b", "tp": 1},
    {"model": "llama3-70b", "tp": 4, "batch": 3, "prompt": 77},
    {"model": "llama3-70b", "tp": 2, "pp": 3, "weights": "fp8", "prompt": 100},
    {"model": "llama3-70b", "tp": 4, "pp": 2, "batch": 64, "prompt": 100_000, "attention": "naive"},
    {"model": "llama2-7b", "attention": "naive", "batch": 2},  # MHA
    {"model": "gemma-2b", "weights": "int4", "kv": "fp8", "tp": 2},  # MQA, KV heads replicated
    {"model": "mistral-7b-v0.1", "prompt": 6000},
    {"model": "phi3-mini", "prompt": 2040, "output": 30, "batch": 2},  # the window fills on the way
    {"model": "qwen3-8b", "kv_cache": False, "prompt": 50, "output": 5},
    {"model": "qwen2.5-7b", "prompt": 10_000, "batch": 2},
    {"model": "llama3-8b", "output": 1, "prompt": 1},
    {"model": "mixtral-8x7b", "routing_skew": 0.8, "tp": 2},
    {"model": "deepseek-v2-lite", "batch": 4},  # latent attention, both forms; experts after a dense layer
    {"model": "gemma-3n-e4b", "prompt": 700, "output": 40},  # windows, shared caches, several streams
    {"model": "jamba-1.5-mini", "tp": 2, "pp": 2, "batch": 8},
    {"model": "falcon-h1-0.5b"},
    {"model": "deepseek-v4-flash", "tp": 8, "prompt": 3000},
    {"model": "llada-8b", "denoising_steps": 64, "batch": 2},
    {"model": "llama3.1-70b", "tp": 4, "draft": "llama3.2-1b", "batch": 2},
    {"model": "llama3.1-8b", "speculate": "medusa"},
    {"model": "mimo-7b", "tp": 2, "pp": 2, "speculate": "mtp"},
)
SIZES = (
    "flops",
    "square_flops",
    "executed_flops",
    "weight_bytes",
    "kv_read_bytes",
    "kv_write_bytes",
    "activation_bytes",
    "spilled_bytes",
    "wire_bytes",
    "ranks",
    "inputs",
    "output",
)
TITLES = (
    "Memory",
    "Prefill, step by step",
    "One decode step",
    "The whole generation",
    "Equations of the ops",
    "From ops to the answer",
)


def answered(question):
    return estimate(gpu="h100", **question, must_fit=False)


def unfolded(page: str) -> str:
    return " ".join(page.split())


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
@pytest.mark.parametrize("shape", [(2, 33, 0), (3, 1, 40), (2, 5, 7)], ids=str)
def test_traced_formulas_give_the_plain_figures(question, shape) -> None:
    plan = answered(question).plan
    named = forward(lettered(plan), lettered_batch(Batch.prefill(*shape)))
    plain = forward(plan, Batch.prefill(*shape))
    assert [op.name for op in named] == [op.name for op in plain]
    for a, b in zip(named, plain, strict=True):
        for size in SIZES:
            assert getattr(a, size) == getattr(b, size), (a.name, size)


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_memory_and_times_of_letters_are_those_of_numbers(question) -> None:
    answer = answered(question)
    held = memory(lettered(answer.plan), lettered_work(answer.work))
    for part in ("weights", "kv_cache", "activations", "reserve", "capacity", "used"):
        assert value_of(getattr(held, part)) == getattr(answer.memory, part), part
    gpu, engine = lettered_gpu(answer.plan.gpu), answer.plan.engine
    named_constants, plain_constants = LetteredConstants(gpu, engine), Constants(answer.plan.gpu, engine)
    for phase in ("prefill", "decode"):
        for named, op in steps(answer, phase):
            assert value_of(bound_s(named, gpu)) == bound_s(op, answer.plan.gpu)
            expected = expected_s(op, plain_constants)
            assert math.isclose(value_of(expected_s(named, named_constants)), expected, rel_tol=1e-12)
            if op.is_matmul:  # as the page has it, its sums as one letter each
                assert math.isclose(value_of(expected_s(summed(named), named_constants)), expected, rel_tol=1e-12)


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_the_page_is_whole_and_narrow(question) -> None:
    answer = answered(question)
    page = answer.explain()
    for title in TITLES:
        assert title in page
    flat = unfolded(page)
    for op in [*answer.prefill_ops(answer.plan), *answer.decode_ops(answer.plan)]:
        assert op.name in page
        assert f"source {op.source}" in flat
    wide = [line for line in page.splitlines() if len(line) > 100]
    assert not wide
    assert "Traced" not in page
    assert "None" not in page


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_every_letter_of_an_equation_is_in_the_legend(question) -> None:
    answer = answered(question)
    legend = answer.explain().split("\nMemory\n")[0]
    told = {line.split()[0] for line in legend.splitlines() if line.startswith("  ")}
    held = memory(lettered(answer.plan), lettered_work(answer.work))
    texts = [value_of(size) and size.letters for size in (held.weights, held.kv_cache, held.activations) if size]
    texts += [
        op.flops.letters for op in forward(lettered(answer.plan), lettered_batch(Batch.prefill(2, 3, 4))) if op.flops
    ]
    for text in texts:
        words = "".join(sign if sign.isalnum() or sign == "_" else " " for sign in text).split()
        assert {word for word in words if not word.isdigit() and word not in ("max", "min")} <= told


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_each_op_stands_once(question) -> None:
    answer = answered(question)
    for phase in ("prefill", "decode"):
        names = [op.name for op, _ in steps(answer, phase)]
        # once for each kind of block that has it
        assert max(names.count(name) for name in names) <= len(answer.plan.model.blocks)
    if len(answer.plan.model.blocks) == 1:
        ops = steps(answer, "prefill")
        assert next(op.repeat for _, op in ops if op.name == "q_proj") == answer.plan.model.layers


def test_the_walkthroughs_figures() -> None:
    """Llama 3 8B, 2,048 tokens, BF16: the per-layer table of the walkthrough, by hand."""
    page = unfolded(estimate("llama3-8b", "h100", prompt=2048).explain())
    for wanted in (
        "2·B·T·D·N·H = 2·1·2048·4096·32·128 = 68.72 GFLOP",
        "2·B·T·D·K·H = 2·1·2048·4096·8·128 = 17.18 GFLOP",
        "2·B·T·D·F = 2·1·2048·4096·14336 = 240.5 GFLOP",
        "2·B·T·T·N·H = 2·1·2048·2048·32·128 = 34.36 GFLOP",  # the walkthrough counts the full square
        "5·B·T·T·N = 5·1·2048·2048·32 = 671.1 MFLOP",
        "D·N·H·w = 4096·32·128·2 = 33.55 MB",
        "D·F·w = 4096·14336·2 = 117.4 MB",
        "B·T·K·H·c = 1·2048·8·128·2 = 4.194 MB",
        "2·B·(S + 1)·N·H = 2·1·(2048 + 1)·32·128 = 16.79 MFLOP",
        "L·2·K·H·c = 32·2·8·128·2 = 131.1 kB (131,072 B)",
        "8,030,261,248 (8.03 B)",
        "weights, layers L·(D·N·H·w + D·K·H·w + D·K·H·w + N·H·D·w + D·F·w + D·F·w + F·D·w + 2·D·w)",
        "step·depth/64‖",
        "‖computing, moving‖",
        "max(2·B·T·F·D/peak, F·D·w/bandwidth)",
        "[1, 32, 2048, 128] · [1, 8, 2048, 128] → [1, 32, 2048, 2048]",
        "[B, N, 1, H] · [B, K, S + 1, H] → [B, N, 1, S + 1]",
        "one layer 470.2 MFLOP 436.2 MB",
        "the pass 29.71 TFLOP 15.03 GB",
        "Intensity: 1.053 FLOP/byte",
        "peak/bandwidth = 9.894e14/3.35e12 = 295.3 FLOP/byte",
    ):
        assert wanted in page, wanted


def test_a_split_is_told_in_letters() -> None:
    page = unfolded(estimate("llama3-70b", "h100", tp=4, pp=2, batch=3).explain())
    for wanted in (
        "2·B·T·D·N/tp·H = 2·3·1024·8192·64/4·128 = 103.1 GFLOP",
        "2·(tp − 1)/tp·B·T·D·s = 2·(4 − 1)/4·3·1024·8192·2 = 75.5 MB",
        "B·T·D·s/tp = 3·1024·8192·2/4 = 12.58 MB",
        "B·L/pp·⌈(T_in + T_out)/block⌉·block·2·K/tp·H·c",
        "[8192, 2048] → [3, 1024, 2048]",
        "tp = 4",
        "pp = 2",
        "Shapes and figures are of one GPU",
    ):
        assert wanted in page, wanted


def test_the_figures_of_the_answer_stand_on_the_page() -> None:
    answer = estimate("llama3-8b", "h100", batch=4)
    page = unfolded(answer.explain())
    assert f"= {answer.mfu:.1%}" in page
    assert f"= {answer.mbu:.1%}" in page
    assert f"e2e = 4·256/{answer.e2e_s.expected:.5g} = {answer.tokens_per_s.expected:.4g}" in page
    assert answer.usd_per_million_tokens is not None
    assert f"= {answer.usd_per_million_tokens.expected:.3g} " in page
    assert answer.joules_per_token is not None
    assert page.endswith(f"= {answer.joules_per_token.expected:.3g}")


@pytest.mark.parametrize(
    "question",
    [
        {"model": "llama3-8b", "prompt": 37, "output": 19, "batch": 2},
        {"model": "phi3-mini", "prompt": 2040, "output": 25},
        {"model": "mistral-7b-v0.1", "prompt": 4090, "output": 9},
        {"model": "mistral-7b-v0.1", "prompt": 5000, "output": 9},
        {"model": "llama3-8b", "output": 1},
    ],
    ids=str,
)
def test_the_whole_generation_is_the_sum_of_its_passes(question) -> None:
    answer = answered(question)
    work = answer.work
    cached = [flops_of(answer, Batch.decode(work.batch, work.prompt + i)) for i in range(work.output - 1)]
    again = [flops_of(answer, Batch.prefill(work.batch, work.prompt + 1 + i)) for i in range(work.output - 1)]
    assert over_steps(answer, lambda i: Batch.decode(work.batch, work.prompt + i)) == sum(cached)
    assert over_steps(answer, lambda i: Batch.prefill(work.batch, work.prompt + 1 + i)) == sum(again)
    prompts = flops_of(answer, Batch.prefill(work.batch, work.prompt))
    assert show_flops(prompts + sum(again)) in "\n".join(generation_lines(answer))


@pytest.mark.parametrize("count", range(9))
def test_a_sum_of_a_quadratic_is_exact(count: int) -> None:
    assert quadratic_sum(lambda i: 7 * i * i - 3 * i + 11, count) == sum(7 * i * i - 3 * i + 11 for i in range(count))


def test_blocks_of_several_kinds_have_letters_of_their_own() -> None:
    plain = load_model("llama3-8b").model_dump(exclude_none=True)
    narrow = {**plain["blocks"][0], "repeat": 8}
    wide = {**narrow, "repeat": 24, "feed_forward": {**narrow["feed_forward"], "size": 28672}}
    model = Model.model_validate({**plain, "blocks": (narrow, wide, narrow)})
    found = {made.letters: made.value for made in letters_of(lettered_model(model))}
    assert (found["L₁"], found["L₂"], found["F₁"], found["F₂"]) == (8, 24, 14336, 28672)
    assert "F₃" not in found
    for more in ({}, {"tp": 2}, {"pp": 2}):
        page = estimate(model, "h100", **more, must_fit=False).explain()
        assert "2·B·T·D·F₂ " in page or "2·B·T·D·F₂/tp" in page
        assert "one layer, kind 2" in page
        assert max(map(len, page.splitlines())) <= 100


def test_a_window_has_its_letter() -> None:
    page = unfolded(estimate("phi3-mini", "h100", prompt=2040).explain())
    assert "W 2047 window" in page
    assert "2·B·(min(T, W)·(min(T, W) + 1)/2 + (T − min(T, W))·W)·N·H" in page
    assert "B·min(S, W − 1)·K·H·c" in page or "B·min(S, max(W − 1, 0))·K·H·c" in page


def test_a_traced_size_shows_itself() -> None:
    assert repr(2 * Traced(3, "x")) == "2·x = 2·3 = 6"


def test_arrays_are_refused() -> None:
    with pytest.raises(RequestError, match="not arrays"):
        estimate("llama3-8b", "h100", batch=[1, 2]).explain()
