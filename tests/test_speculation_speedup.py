"""What speculation costs and brings: laws, brute force, and speed-ups that others measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.answer import estimate
from perfmodel.batch import Batch
from perfmodel.catalog import load_gpu, load_model
from perfmodel.deployment import Deployment, precision_for
from perfmodel.engine import engine
from perfmodel.forward import forward
from perfmodel.latency import decode_time, draft_time, latency, mean_decode_time, prefill_time, step_time
from perfmodel.memory import memory
from perfmodel.op import totals
from perfmodel.speculation.drafting import draft_kv_bytes, draft_rounds, draft_weight_bytes
from perfmodel.speculation.drafts import speculation_for
from perfmodel.speculation.speedup import (
    Gain,
    batch_without_gain,
    draft_totals,
    least_acceptance,
    speedup,
    speedups_by_guesses,
)
from perfmodel.workload import Workload

KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("llama3.1-70b", {"draft": "llama3.2-1b"}),
    ("llama3.1-70b", {"draft": "llama3.2-1b", "nodes": 12}),
    ("llama3.1-8b", {"method": "medusa"}),
    ("llama3.1-8b", {"method": "eagle"}),
    ("llama3.1-8b", {"method": "eagle3"}),
    ("llama3.1-8b", {"method": "ngram"}),
    ("llama3.1-8b", {"method": "lookahead"}),
    ("mixtral-8x7b", {"method": "eagle3"}),
    ("deepseek-v2-lite", {"method": "eagle"}),
    ("glm-4.5-air", {"method": "mtp"}),
)


def planned(model: str, gpu: str = "h100", served: str = "vllm", tp: int = 1, **how: Any) -> Deployment:
    target, device = load_model(model), load_gpu(gpu)
    precision = precision_for(device, declared=target.quantization)
    draft = load_model(how.pop("draft")) if "draft" in how else None
    s = speculation_for(target, device, precision, draft=draft, **how)
    return Deployment(target, device, precision, engine(served), tp=tp, speculation=s)


def accepting(plan: Deployment, rate: float) -> Deployment:
    assert plan.speculation is not None
    return replace(plan, speculation=plan.speculation.accepting(rate))


# ── laws ─────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 200), st.integers(1, 5000), st.integers(1, 500))
def test_off_changes_nothing(batch: int, prompt: int, output: int) -> None:
    """The same deployment with its speculation taken away is, to the bit, one that never had any."""
    plain = replace(planned("llama3.1-8b", method="eagle3"), speculation=None)
    never = Deployment(plain.model, plain.gpu, plain.precision, plain.engine)
    work = Workload(prompt, output, batch)
    assert plain == never
    assert (latency(plain, work), memory(plain, work)) == (latency(never, work), memory(never, work))
    # and a pass that verifies nothing but one token is a decode step
    verified, step = (forward(plain, b) for b in (Batch.verify(batch, 1, prompt), Batch.decode(batch, prompt)))
    assert [replace(op, output=()) for op in verified] == [replace(op, output=()) for op in step]


@pytest.mark.parametrize(("model", "how"), KINDS, ids=str)
@settings(max_examples=6, deadline=None)
@given(batch=st.integers(1, 300), prompt=st.integers(1, 8000))
def test_never_accepting_costs_and_always_accepting_gives_all(model, how, batch, prompt) -> None:
    plan, work = planned(model, **how), Workload(prompt, 64, batch)
    assert plan.speculation is not None
    assert speedup(accepting(plan, 0.0), work) < 1
    everything = accepting(plan, 1.0)
    assert everything.speculation is not None
    assert everything.speculation.tokens_a_pass == plan.speculation.guesses + 1
    step, token = (of(everything, work, prompt).expected for of in (step_time, decode_time))
    assert step / token == pytest.approx(plan.speculation.guesses + 1)


@pytest.mark.parametrize(("model", "how"), KINDS, ids=str)
def test_verifying_costs_no_less_than_a_plain_step(model, how) -> None:
    plan = planned(model, **how)
    c = replace(plan, speculation=None)
    for batch in (1, 16, 128):
        work = Workload(2000, 64, batch)
        verify = step_time(plan, work, 2000).expected - draft_time(plan, work, 2000).expected
        assert verify >= step_time(c, work, 2000).expected


@pytest.mark.parametrize(("model", "how"), KINDS, ids=str)
def test_faster_with_acceptance(model, how) -> None:
    plan, work = planned(model, **how), Workload(500, 64, 4)
    gains = [float(speedup(accepting(plan, rate), work)) for rate in (0, 0.2, 0.5, 0.8, 1)]
    assert gains == sorted(gains)


@pytest.mark.parametrize(("model", "how"), KINDS, ids=str)
def test_memory_grows_by_the_draft(model, how) -> None:
    plan, work = planned(model, **how), Workload(1000, 200, 8)
    assert plan.speculation is not None
    with_, without = memory(plan, work), memory(plan.plain(), work)
    assert with_.weights - without.weights == draft_weight_bytes(plan)
    # the cache of the draft, and that of the guesses which are being verified, in whole blocks
    kept = -(-(work.length + plan.speculation.verified - 1) // 16) * 16
    grown = plan.model.kv_bytes(kept, plan.precision) - plan.model.kv_bytes(1200, plan.precision)
    assert with_.kv_cache - without.kv_cache == 8 * (grown + draft_kv_bytes(plan, kept))


@pytest.mark.parametrize(("model", "how"), KINDS, ids=str)
def test_arrays_are_stacked_numbers(model, how) -> None:
    plan = planned(model, **how)
    batches, prompts = np.array([[1.0], [7.0], [64.0]]), np.array([100.0, 3000.0])
    together = latency(plan, Workload(prompts, 50, batches))
    for i, j in np.ndindex(3, 2):
        alone = latency(plan, Workload(int(prompts[j]), 50, int(batches[i, 0])))
        for name in ("ttft", "tpot", "e2e"):
            time = np.broadcast_to(getattr(together, name).expected, (3, 2))[i, j]
            assert time == pytest.approx(getattr(alone, name).expected, rel=1e-12)


def test_the_cache_is_read_once_and_the_matrices_too() -> None:
    plan = planned("llama3.1-8b", method="eagle3").plain()
    one, four = (totals(forward(plan, b)) for b in (Batch.decode(8, 1000), Batch.verify(8, 4, 1000)))
    assert four.kv_read_bytes == one.kv_read_bytes
    assert four.kv_write_bytes == 4 * one.kv_write_bytes
    assert four.weight_bytes - one.weight_bytes == 3 * 8 * 4096 * 2  # rows of the embedding
    # products in proportion; a chain of four sees 4·1000 + 1 + 2 + 3 + 4 keys, four steps from 1000 as many
    steps = sum(totals(forward(plan, Batch.decode(8, 1000 + i))).matmul_flops for i in range(4))
    assert four.matmul_flops == steps


def test_draft_passes_are_counted() -> None:
    """k tokens of a draft model are k of its decode steps."""
    plan = planned("llama3.1-70b", draft="llama3.2-1b", guesses=4)
    draft = load_model("llama3.2-1b")
    each = [totals(forward(Deployment(draft, plan.gpu, plan.precision), Batch.decode(3, 100 + i))) for i in range(4)]
    found = draft_totals(plan, Workload(100, 10, 3))
    assert found.flops == pytest.approx(sum(t.flops for t in each), rel=1e-3)
    assert found.weight_bytes == sum(t.weight_bytes for t in each)
    assert [round_.count for round_ in draft_rounds(plan, 3, 100)] == [1, 3]


def test_the_draft_passes_the_prompt_too() -> None:
    plan, work = planned("llama3.1-70b", draft="llama3.1-8b"), Workload(2000, 10, 4)
    small = Deployment(load_model("llama3.1-8b"), plan.gpu, plan.precision, plan.engine)
    more = prefill_time(plan, work).expected - prefill_time(plan.plain(), work).expected
    assert more == pytest.approx(prefill_time(small, work).expected, rel=0.1)
    ngram = planned("llama3.1-8b", method="ngram")
    assert prefill_time(ngram, work) == prefill_time(ngram.plain(), work)


# ── what is sought is found ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", [{"method": "eagle3"}, {"method": "eagle", "nodes": 8}], ids=str)
def test_best_guesses_by_trying_each(how) -> None:
    plan, work = planned("llama3.1-8b", acceptance=0.6, **how), Workload(300, 100, 2)
    assert plan.speculation is not None
    each = [float(speedup(replace(plan, speculation=plan.speculation.guessing(k)), work)) for k in range(1, 9)]
    assert speedups_by_guesses(plan, work, 8) == pytest.approx(each)
    gain = Gain(plan, work)
    assert gain.by_guesses[gain.best_guesses - 1] == max(gain.by_guesses)


def test_where_it_stops_paying() -> None:
    plan, work = planned("llama3.1-8b", method="medusa"), Workload(200, 100, 1)
    end = batch_without_gain(plan, work)
    assert end is not None
    assert end > 1
    assert speedup(plan, replace(work, batch=end - 1)) > 1 >= speedup(plan, replace(work, batch=end))
    assert batch_without_gain(accepting(plan, 0.0), work) == 1


def test_the_acceptance_that_pays() -> None:
    plan, work = planned("llama3.1-70b", draft="llama3.1-8b"), Workload(200, 100, 8)
    least = least_acceptance(plan, work)
    assert least is not None
    assert speedup(accepting(plan, least), work) == pytest.approx(1, abs=1e-6)
    # a draft nearly as large as the target never pays
    assert least_acceptance(planned("llama3.1-8b", draft="llama3.2-3b", guesses=1), Workload(200, 100, 512)) is None


def test_gains_shrink_with_the_batch_where_products_bind() -> None:
    plan = planned("llama3.1-8b", method="eagle3")
    gains = speedup(plan, Workload(100, 100, np.array([1.0, 64.0, 256.0, 512.0])))
    assert (np.diff(gains) < 0).all()


# ── what others measured ─────────────────────────────────────────────────────────────────────────

# Vicuna on one A100, transformers, FP16, greedy: tokens a pass and speed-up (hemingkx/Spec-Bench, Leaderboard.md)
SPEC_BENCH = (
    ("llama-7b", "eagle", 3.61, 2.29), ("llama-7b", "medusa", 2.32, 1.78),
    ("llama-7b", "ngram", 1.73, 1.59), ("llama-7b", "lookahead", 1.66, 1.27),
    ("llama-13b", "eagle", 3.64, 2.34), ("llama-13b", "medusa", 2.39, 1.75),
    ("llama-13b", "ngram", 1.68, 1.48), ("llama-13b", "lookahead", 1.63, 1.22),
    ("llama-30b", "eagle", 3.39, 2.47), ("llama-30b", "medusa", 2.33, 1.79),
    ("llama-30b", "ngram", 1.55, 1.42), ("llama-30b", "lookahead", 1.61, 1.24),
)  # fmt: skip


@pytest.mark.parametrize(("model", "method", "tokens", "measured"), SPEC_BENCH)
def test_spec_bench(model: str, method: str, tokens: float, measured: float) -> None:
    """Within 14 %; one constant (engine.SCRIPTED) is their median."""
    plan = planned(model, "a100", "torch", method=method, accepted_length=tokens)
    assert speedup(plan, Workload(400, 256, 1)) == pytest.approx(measured, rel=0.14)


# EAGLE-3, two tokens ahead: tokens/s without and with, tokens a pass (Tencent/AngelSlim, docs/source/performance)
ANGELSLIM = (
    ("qwen3-1.7b", 381.05, 642.93, 2.17),
    ("qwen3-4b", 233.26, 386.94, 2.08),
    ("qwen3-8b", 151.81, 257.52, 1.99),
    ("qwen3-14b", 93.26, 145.33, 1.79),
    ("qwen3-32b", 43.32, 74.1, 1.91),
    ("qwen3-30b-a3b", 320.87, 438.07, 2.04),
)


@pytest.mark.parametrize(("model", "without", "with_", "tokens"), ANGELSLIM)
def test_eagle_3_of_qwen_3(model: str, without: float, with_: float, tokens: float) -> None:
    """Within 5 %; one constant (engine.SERVED) is their median."""
    plan = planned(model, method="eagle3", guesses=2, accepted_length=tokens)
    assert speedup(plan, Workload(100, 1024, 1)) == pytest.approx(with_ / without, rel=0.05)


def test_deepseek_v3_gains_as_its_report_says() -> None:
    """1.8 times the tokens/s at 0.85 to 0.9 (DeepSeek-AI 2024, V3, §5.4.3), of no batch that it names: within 15 %."""
    plan = planned("deepseek-v3", "h200", tp=8, method="mtp", acceptance=0.875)
    alone, few, many = speedup(plan, Workload(1000, 1000, np.array([1.0, 16.0, 128.0])))
    assert (alone, many) == pytest.approx((1.8, 1.8), rel=0.15)
    assert few < min(alone, many)  # two tokens of few sequences reach nearly twice the experts of one


def test_the_estimate_says_so() -> None:
    answer = estimate("llama3.1-70b", "h100", tp=4, draft="llama3.2-1b", draft_tokens=3, acceptance=0.7)
    told = answer.to_dict()["speculation"]
    assert told["tokens_a_pass"] == pytest.approx(1 + 0.7 + 0.49 + 0.343)
    assert told["step_s"] / told["tokens_a_pass"] == pytest.approx(answer.tpot_s.expected, rel=0.01)
    plain = estimate("llama3.1-70b", "h100", tp=4)
    assert plain.to_dict()["speculation"] is None
    assert plain.tpot_s.expected / answer.tpot_s.expected == pytest.approx(told["speedup"])
    assert plain.usd_per_million_tokens.expected > answer.usd_per_million_tokens.expected
    assert answer.ttft_s.expected > plain.ttft_s.expected
    assert any("speculation by a draft model, llama3.2-1b" in line for line in answer.assumptions)
    assert not any("acceptance depends" in line for line in answer.warnings)
    typical = estimate("llama3.1-8b", "h100", speculate="eagle3")
    assert any("acceptance depends" in line for line in typical.warnings)
    assert typical.tpot_s.high / typical.tpot_s.expected > answer.tpot_s.high / answer.tpot_s.expected
    assert mean_decode_time(typical.plan, typical.work).expected == typical.tpot_s.expected
