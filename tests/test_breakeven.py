"""The batch to which weights that are narrow, while their products are not, still pay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.answer import estimate
from perfmodel.breakeven import MOST, break_even, first_lost, in_sixteen_bits, weight_only
from perfmodel.latency import decode_time

CASES = [
    ("llama3-8b", "a100", "int4"),
    ("llama3-8b", "h100", "int8"),
    ("llama3-70b", "h200", "gptq"),
    ("mixtral-8x7b", "h200", "int4"),
    ("llama3-8b", "h100", "nf4"),
]


@pytest.mark.parametrize(("model", "gpu", "weights"), CASES)
def test_it_is_the_last_batch_that_pays(model: str, gpu: str, weights: str) -> None:
    """Against every batch at once, by the array path."""
    answer = estimate(model, gpu, weights=weights, gpu_count=1, must_fit=False)
    found = break_even(answer.plan, answer.work)
    every = replace(answer.work, batch=np.arange(1, MOST + 1, dtype=np.float64))
    context = answer.work.prompt + answer.work.output // 2
    narrow, wide = (decode_time(plan, every, context).expected for plan in (answer.plan, in_sixteen_bits(answer.plan)))
    lost = np.flatnonzero(narrow > wide * (1 + 1e-12))
    assert found == (int(lost[0]) if len(lost) else None)


@given(st.integers(1, 5000), st.integers(1, 5000))
@settings(deadline=None)
def test_the_search_finds_the_edge(edge: int, most: int) -> None:
    assert first_lost(lambda n: n < edge, most) == (edge - 1 if edge <= most else None)


def test_what_is_weight_only() -> None:
    def asked(weights: str | None, **more: str) -> bool:
        return weight_only(estimate("llama3-8b", "h100", weights=weights, **more).plan.precision)

    assert [asked(name) for name in ("int4", "int8", "nf4", "q4_k_m")] == [True] * 4
    assert [asked(name) for name in (None, "fp8", "llm-int8")] == [False] * 3
    assert asked("fp8", activations="bf16")
    assert not asked("int8", activations="int8")


def test_the_answer_says_it() -> None:
    told = " ".join(estimate("llama3-8b", "a100", weights="int4").assumptions)
    answer = estimate("llama3-8b", "a100", weights="int4")
    assert f"int4 weights decode no slower than bf16 ones up to batch {break_even(answer.plan, answer.work):,}" in told
    assert "decode no slower" not in " ".join(estimate("llama3-8b", "h100", weights="fp8").assumptions)
    unfused = " ".join(estimate("llama3-8b", "a100", weights="int4", dequantize="unfused").assumptions)
    assert "at no batch here" in unfused
    assert "written out in memory" in unfused
