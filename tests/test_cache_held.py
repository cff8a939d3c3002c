"""What sequences share is kept once: blocks counted one by one, and the figures of PagedAttention."""

from __future__ import annotations

from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.answer import estimate
from perfmodel.cache.held import mean_waste_tokens
from perfmodel.study.asked import sweep

TOKEN = 32 * 2 * 8 * 128 * 2  # bytes, of Llama 3 8B
LAWS = settings(max_examples=30, deadline=None)


def asked(model: str = "llama3-8b", gpu: str = "h100", **more: Any) -> Any:
    return estimate(model, gpu, tp=1, must_fit=False, **more)


def blocks_by_hand(prompt: int, output: int, n: int, block: int) -> int:
    """Blocks of n completions, given out one by one: a full block of the prompt is one for all of them."""
    tables = [[] for _ in range(n)]
    for i in range(ceil((prompt + output) / block)):
        full_prompt = (i + 1) * block <= prompt
        for who, table in enumerate(tables):
            table.append(("shared", i) if full_prompt else (who, i))
    return len({entry for table in tables for entry in table})


@LAWS
@given(st.integers(1, 600), st.integers(1, 300), st.integers(1, 9), st.integers(1, 5), st.integers(1, 64))
def test_completions_share_whole_blocks_of_their_prompt(
    prompt: int, output: int, n: int, batch: int, block: int
) -> None:
    held = asked(prompt=prompt, output=output, samples=n, batch=batch, kv_block=block).memory.kv_cache
    assert held == batch * blocks_by_hand(prompt, output, n, block) * block * TOKEN


@LAWS
@given(st.integers(1, 2000), st.integers(1, 300), st.integers(1, 40))
def test_one_completion_is_no_lever(prompt: int, output: int, batch: int) -> None:
    plain = asked(prompt=prompt, output=output, batch=batch)
    for off in ({"samples": 1}, {"beams": 1}, {"prefix": 0}, {"prefix": min(prompt, 64), "prefix_hit": 0.0}):
        same = asked(prompt=prompt, output=output, batch=batch, **off)
        assert (same.memory, same.latency) == (plain.memory, plain.latency)


@LAWS
@given(st.integers(1, 2000), st.integers(2, 300), st.integers(1, 9), st.integers(2, 9))
def test_completions_are_computed_once_and_decoded_each(prompt: int, output: int, batch: int, n: int) -> None:
    many = asked(prompt=prompt, output=output, batch=batch, samples=n)
    apart = asked(prompt=prompt, output=output, batch=batch * n)
    one = asked(prompt=prompt, output=output, batch=batch)
    assert many.latency.ttft == one.latency.ttft
    assert many.latency.tpot == apart.latency.tpot
    assert many.tokens_per_s.expected == pytest.approx(batch * n * output / many.e2e_s.expected)
    assert one.memory.kv_cache < many.memory.kv_cache <= apart.memory.kv_cache


# Kwon et al. 2023, §6.3 and fig. 15: blocks saved by sharing, of OPT-13B, for 2 to 6 sequences; mean lengths by §6.1
ALPACA, SHAREGPT = (19, 58), (161, 338)


@pytest.mark.parametrize(
    ("lengths", "kind", "least", "most", "off"),
    [
        (SHAREGPT, "samples", 0.162, 0.305, 0.05),
        (SHAREGPT, "beams", 0.443, 0.663, 0.08),
        (ALPACA, "samples", 0.061, 0.098, 0.08),  # many of its prompts have no full block; ours all have one
        (ALPACA, "beams", 0.376, 0.552, 0.08),
    ],
)
def test_savings_of_paged_attention(lengths: tuple[int, int], kind: str, least: float, most: float, off: float) -> None:
    saved = []
    for n in (2, 6):
        sizes = {"prompt": lengths[0], "output": lengths[1]}
        shared = asked("opt-13b", "a100-40gb", **sizes, **{kind: n}).memory.kv_cache
        saved.append(1 - shared / asked("opt-13b", "a100-40gb", **sizes, batch=n).memory.kv_cache)
    assert saved == pytest.approx([least, most], abs=off)


def test_thirty_answers_to_a_prompt() -> None:
    """Rejection sampling of Llama 3 (Llama Team 2024, §4.2.2): 10 to 30 answers a prompt share its pages.

    Llama 3 70B in BF16, 2,048 tokens in and 512 out: of 30 sequences of 2,560 tokens, 30·2,560 − 29·2,048 are kept.
    """
    token = 80 * 2 * 8 * 128 * 2
    answer = estimate("llama3-70b", "h100", tp=8, prompt=2048, output=512, samples=30)
    assert answer.memory.kv_cache * 8 == token * (30 * 512 + 2048)
    apart = estimate("llama3-70b", "h100", tp=8, prompt=2048, output=512, batch=30)
    assert apart.memory.kv_cache / answer.memory.kv_cache == pytest.approx(76_800 / 17_408)
    assert apart.ttft_s.expected > 15 * answer.ttft_s.expected


def test_a_prefix_is_kept_once_and_computed_by_those_who_miss_it() -> None:
    full = asked(prompt=2048, output=256, batch=10)
    half = asked(prompt=2048, output=256, batch=10, prefix=1000, prefix_hit=0.5)
    found = 1000 // 16 * 16
    assert full.memory.kv_cache - half.memory.kv_cache == (5 - 1) * found * TOKEN
    assert half.prefill.kv_write_bytes == TOKEN * (10 * 2048 - 5 * found)
    assert half.prefill.kv_read_bytes == TOKEN * 5 * found
    pairs = 2048 * 2049 // 2 - found * (found + 1) // 2  # of a prompt that found its prefix
    attention = 4 * 32 * 32 * 128
    linear = 2 * 32 * (4096 * (4096 * 2 + 2 * 1024) + 3 * 4096 * 14336)
    spared = 5 * (attention * (2048 * 2049 // 2 - pairs) + linear * found)
    assert full.prefill.matmul_flops - half.prefill.matmul_flops == spared
    assert half.ttft_s.expected < full.ttft_s.expected
    assert half.latency.tpot == full.latency.tpot  # decode reads it for every sequence


@LAWS
@given(st.integers(2, 3000), st.integers(0, 3000), st.floats(0, 1), st.floats(0, 1), st.integers(1, 30))
def test_more_hits_are_never_slower(prompt: int, prefix: int, one: float, other: float, batch: int) -> None:
    few, many = sorted((one, other))
    prefix = min(prefix, prompt)
    a, b = (asked(prompt=prompt, batch=batch, prefix=prefix, prefix_hit=h) for h in (few, many))
    assert b.prefill.flops <= a.prefill.flops * (1 + 1e-12)
    assert b.memory.kv_cache <= a.memory.kv_cache * (1 + 1e-12)
    assert b.ttft_s.bound <= a.ttft_s.bound * (1 + 1e-9)


def test_what_is_shared_can_be_read_once() -> None:
    """Hydragen: 32 completions read the prompt once a step instead of 32 times."""
    apart, once = (asked(prompt=4096, output=2, samples=32, shared_prefix_attention=x) for x in (False, True))
    assert apart.decode.kv_read_bytes == 32 * 4096 * TOKEN
    assert once.decode.kv_read_bytes == pytest.approx(4096 * TOKEN)
    assert once.decode.matmul_flops == apart.decode.matmul_flops
    assert once.tpot_s.expected < apart.tpot_s.expected
    assert "cascade" in " ".join(once.assumptions)
    both = asked(prompt=4096, batch=4, samples=8, prefix=1024, shared_prefix_attention=True).decode
    assert both.kv_read_bytes == pytest.approx(TOKEN * (4 * 3072 + 1024))


def test_blocks_and_their_waste() -> None:
    """Fixed lengths waste what they waste; of lengths of every rest, (block − 1)/2 on average."""
    for block in (1, 16, 128):
        lengths = range(1000, 1000 + block)
        wasted = [asked(prompt=n, output=1, kv_block=block).memory.kv_waste / TOKEN for n in lengths[: min(block, 40)]]
        assert wasted[0] == -(-1001 // block) * block - 1001
        exact = sum(-(-n // block) * block - n for n in lengths) / block
        assert mean_waste_tokens(block) == exact


def test_windows_and_states_share_what_is_left_of_the_prompt() -> None:
    """A window that has left the prompt shares nothing; a state never does."""
    for model in ("mistral-7b-v0.1", "mamba2-2.7b"):
        many, apart = (asked(model, prompt=512, output=8192, **x) for x in ({"samples": 4}, {"batch": 4}))
        assert many.memory.kv_cache == apart.memory.kv_cache


def test_sweeps_and_single_answers_agree() -> None:
    for more in ({"samples": 4}, {"beams": 3}, {"prefix": 100, "prefix_hit": 0.5}):
        table = sweep("llama3-8b", "h100", prompt=[100, 2000], batch=[1, 7], tp=1, **more)
        rows = zip(*(table.columns[c] for c in ("prompt", "batch", "kv_cache_bytes", "ttft_s", "tpot_s")), strict=True)
        for prompt, batch, held, ttft, tpot in rows:
            one = asked(prompt=int(prompt), batch=int(batch), **more)
            assert one.memory.kv_cache == pytest.approx(held)
            assert (one.ttft_s.expected, one.tpot_s.expected) == pytest.approx((ttft, tpot), rel=1e-12)
