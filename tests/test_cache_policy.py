"""Cache policies: what is kept, by the papers' own rules followed token by token, and laws of every budget."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.answer import estimate
from perfmodel.batch import Batch
from perfmodel.cache.policy import CachePolicy, cache_policy
from perfmodel.errors import RequestError
from perfmodel.memory import memory
from perfmodel.study.asked import sweep
from perfmodel.workload import Workload

LAWS = settings(max_examples=25, deadline=None)
budgets = st.tuples(st.integers(0, 3000), st.integers(1, 3000))
kinds = st.sampled_from(["streaming", "h2o", "snapkv"])
lengths = st.tuples(st.integers(1, 5000), st.integers(1, 300), st.integers(1, 40))


def asked(policy: str | None, model: str = "llama3-8b", **more: Any) -> Any:
    return estimate(model, "h100", tp=1, must_fit=False, kv_policy=policy, **more)


def sizes(length: tuple[int, int, int]) -> dict[str, int]:
    return dict(zip(("prompt", "output", "batch"), length, strict=True))


def kept_one_by_one(kind: str, chosen: int, recent: int, prompt: int, context: int) -> int:
    """Tokens in the cache after `context`, by eviction as it happens."""
    if kind == "snapkv":  # once, after the prompt (Li et al. 2024, listing 1)
        cache = list(range(prompt))
        if prompt > chosen + recent:
            cache = cache[:chosen] + cache[len(cache) - recent :] if recent else cache[:chosen]
        return len(cache) + (context - prompt)
    cache: list[int] = []
    for token in range(context):
        cache.append(token)
        if len(cache) > chosen + recent:
            cache.pop(chosen)  # the oldest that is neither sink (heavy hitter) nor recent
    return len(cache)


@given(kinds, st.integers(0, 9), st.integers(1, 9), st.integers(1, 30), st.integers(0, 30))
def test_kept_tokens_are_those_left_by_evicting_one_by_one(
    kind: str, chosen: int, recent: int, prompt: int, more: int
) -> None:
    expected = kept_one_by_one(kind, chosen, recent, prompt, prompt + more)
    assert CachePolicy(kind, chosen, recent).kept(prompt, prompt + more) == expected


@pytest.mark.parametrize(
    ("given_text", "kind", "budget"),
    [("streaming:4+1020", "streaming", 1024), ("h2o:512+512", "h2o", 1024), ("snapkv:1024+32", "snapkv", 1056)],
)
def test_policies_are_read_and_written_alike(given_text: str, kind: str, budget: int) -> None:
    policy = cache_policy(given_text)
    assert policy is not None
    assert (policy.kind, policy.budget, str(policy)) == (kind, budget, given_text)
    assert cache_policy("streaming:4+1020:windowed") == replace(CachePolicy("streaming", 4, 1020), windowed=True)


@pytest.mark.parametrize(
    "text", ["", "streaming", "streaming:4", "h20:1+1", "h2o:0+0", "snapkv:4+4:windowed", "h2o:-1+4"]
)
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(RequestError, match="--kv-policy"):
        cache_policy(text)


def test_a_step_reads_the_budget_and_no_more() -> None:
    """Llama 3 8B: 32 layers, 8 KV heads of 128 in BF16, keys and values."""
    token = 32 * 2 * 8 * 128 * 2
    for policy, read in (("streaming:4+1020", 1024), ("h2o:512+512", 1024), ("snapkv:1000+24", 1024)):
        assert asked(policy, prompt=4096).decode.kv_read_bytes == read * token
    assert asked(None, prompt=4096).decode.kv_read_bytes == 4096 * token
    assert asked("streaming:4+1020", prompt=4096, output=512).memory.kv_cache == 1024 * token
    assert asked("snapkv:1000+24", prompt=4096, output=512).memory.kv_cache == (1024 + 512) * token
    # H2O keeps an FP32 sum for each KV head and token beside them
    assert asked("h2o:512+512", prompt=4096, output=512).memory.kv_cache == 1024 * (token + 32 * 8 * 4)


def test_streaming_runs_forever_in_constant_memory() -> None:
    """Xiao et al. 2024, §1: four million tokens and more. The cache of 2,048 tokens is as large then as at first."""
    short, long = (asked("streaming:4+2044", prompt=4096, output=n).memory for n in (1, 4_000_000))
    assert long.kv_cache == short.kv_cache
    steps = [asked("streaming:4+2044", prompt=n).latency.tpot.expected for n in (4096, 1_000_000)]
    assert steps[0] == pytest.approx(steps[1], rel=1e-12)


def test_a_windowed_prefill_computes_less_and_a_dense_one_as_much() -> None:
    full, dense, windowed = (
        asked(p, prompt=8192).prefill for p in (None, "streaming:4+508", "streaming:4+508:windowed")
    )
    assert dense.matmul_flops == full.matmul_flops
    budget, S = 512 + 1, 8192  # a query sees sinks, window and itself
    pairs = budget * (budget + 1) // 2 + (S - budget) * budget
    assert full.matmul_flops - windowed.matmul_flops == 4 * 32 * 32 * 128 * (S * (S + 1) // 2 - pairs)


def test_choosing_costs() -> None:
    """SnapKV's last 32 queries see all keys once more; H2O computes all scores of the prompt once more."""
    full, snap, heavy = (asked(p, prompt=4096).prefill for p in (None, "snapkv:1000+32", "h2o:500+532"))
    assert snap.matmul_flops - full.matmul_flops == 32 * 32 * 4096 * 32 * (2 * 128 + 3)
    assert heavy.matmul_flops - full.matmul_flops == 32 * (4096 * 4097 // 2) * 32 * (2 * 128 + 3)
    assert asked("h2o:500+532", prompt=4096).ttft_s.expected > asked("snapkv:1000+32", prompt=4096).ttft_s.expected


def test_a_prompt_in_chunks_stays_whole_until_its_end() -> None:
    token, budget, prompt = 32 * 2 * 8 * 128 * 2, 1024, 20_000  # three passes of at most 8,192 tokens
    held = asked("snapkv:1000+24", prompt=prompt, output=16, batch=5).memory.kv_cache
    assert held == token * (4 * (budget + 16) + prompt)


@LAWS
@given(kinds, lengths)
def test_a_budget_beyond_the_context_changes_nothing(kind: str, length: tuple[int, int, int]) -> None:
    plain, roomy = (asked(p, **sizes(length)) for p in (None, f"{kind}:5000+5000"))
    assert roomy.decode.kv_read_bytes == plain.decode.kv_read_bytes
    if kind != "h2o":  # whose scores are summed however large the budget
        assert roomy.memory == plain.memory
        assert roomy.tpot_s.expected == pytest.approx(plain.tpot_s.expected, rel=1e-6)
    if kind == "streaming":
        assert roomy.latency.ttft == plain.latency.ttft


@LAWS
@given(kinds, budgets, st.integers(1, 500), lengths)
def test_memory_and_time_grow_with_the_budget(
    kind: str, budget: tuple[int, int], more: int, length: tuple[int, int, int]
) -> None:
    small, large = (asked(f"{kind}:{budget[0] + n}+{budget[1]}", **sizes(length)) for n in (0, more))
    assert small.memory.kv_cache <= large.memory.kv_cache
    assert small.decode.kv_read_bytes <= large.decode.kv_read_bytes
    assert small.tpot_s.expected <= large.tpot_s.expected * (1 + 1e-4)  # quadrature over the kink


@LAWS
@given(kinds, budgets, lengths)
def test_the_mean_step_is_the_mean_of_all_steps(
    kind: str, budget: tuple[int, int], length: tuple[int, int, int]
) -> None:
    from perfmodel.latency import decode_time

    answer = asked(f"{kind}:{budget[0]}+{budget[1]}", **sizes(length))
    n = max(answer.work.decode_steps, 1)
    steps = [decode_time(answer.plan, answer.work, answer.work.prompt + i).expected for i in range(n)]
    assert answer.tpot_s.expected == pytest.approx(sum(steps) / n, rel=1e-3)


def test_windows_keep_their_own_budget() -> None:
    """Gemma 3: five of six layers have windows, which no policy touches."""
    full, thin = (asked(p, model="gemma3-12b", prompt=20_000) for p in (None, "streaming:4+1020"))
    plan, work = thin.plan, Workload(20_000, 256)
    windows = [b for b in plan.model.blocks if not any(m.plain for m in b.mixers)]
    assert windows
    assert len(windows) < len(plan.model.blocks)
    rest = sum(b.repeat * b.kv_bytes(work.length, plan.precision) for b in windows)
    assert full.memory.kv_cache > thin.memory.kv_cache > rest
    assert "layers with ordinary attention" in " ".join(thin.assumptions)


@pytest.mark.parametrize(("model", "word"), [("deepseek-v3", "latent"), ("mistral-7b-v0.1", "windows")])
def test_models_without_ordinary_attention_say_why(model: str, word: str) -> None:
    with pytest.raises(RequestError, match=word):
        estimate(model, "h200", kv_policy="h2o:64+64", must_fit=False)


def test_sweeps_and_single_answers_agree() -> None:
    for policy in ("streaming:4+508", "h2o:256+256", "snapkv:500+12"):
        table = sweep("llama3-8b", "h100", prompt=[100, 2000], batch=[1, 7], kv_policy=policy, tp=1)
        rows = zip(*(table.columns[c] for c in ("prompt", "batch", "kv_cache_bytes", "ttft_s", "tpot_s")), strict=True)
        for prompt, batch, held, ttft, tpot in rows:
            one = asked(policy, prompt=int(prompt), batch=int(batch))
            assert one.memory.kv_cache == held
            assert (one.ttft_s.expected, one.tpot_s.expected) == pytest.approx((ttft, tpot), rel=1e-12)


def test_the_page_of_equations_holds_with_a_policy() -> None:
    for policy in ("streaming:4+508:windowed", "h2o:256+256", "snapkv:500+12"):
        assert "S_kept" in asked(policy, prompt=2000).explain() or "windowed" in policy


def test_a_thinned_batch_is_the_same_where_nothing_was_left_out() -> None:
    batch = Batch.decode(3, 100)
    assert batch.thinned() is batch
    assert memory(asked(None).plan, Workload()).kv_cache == asked(None).memory.kv_cache
