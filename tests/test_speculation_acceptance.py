"""Tokens a verification pass yields: against the fraction of the paper, coin tosses written out, and measured heads."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.speculation.acceptance import (
    best_guesses,
    chain_tokens,
    level_sizes,
    operations_factor,
    paths_tokens,
    rate_that_yields,
    top,
    walltime_gain,
)

rates = st.floats(0, 1)
guesses = st.integers(1, 16)

# Leviathan et al. 2023, table 1 (recalled): α, γ → arithmetic operations and speed at c = ĉ = 0
TABLE_1 = (
    (0.6, 2, 1.53, 1.96),
    (0.7, 3, 1.58, 2.53),
    (0.8, 2, 1.23, 2.44),
    (0.8, 5, 1.63, 3.69),
    (0.9, 2, 1.11, 2.71),
    (0.9, 10, 1.60, 6.86),
)


@pytest.mark.parametrize(("rate", "k", "operations", "speed"), TABLE_1)
def test_leviathan_table_1(rate: float, k: int, operations: float, speed: float) -> None:
    assert walltime_gain(rate, k, 0.0) == pytest.approx(speed, abs=0.005)
    assert operations_factor(rate, k) == pytest.approx(operations, abs=0.005)


@pytest.mark.parametrize(
    ("rate", "k", "cost", "expected", "measured"),
    [(0.75, 7, 0.02, 3.2, 3.4), (0.8, 7, 0.04, 3.3, 2.8), (0.82, 7, 0.11, 2.5, 1.7)],  # T5-XXL, translation, greedy
)
def test_leviathan_expected_improvement(rate, k, cost, expected, measured) -> None:
    """Expected factors of the appendix (recalled), as printed; what they measured is within half of them."""
    assert walltime_gain(rate, k, cost) == pytest.approx(expected, abs=0.06)
    assert walltime_gain(rate, k, cost) / measured == pytest.approx(1, abs=0.5)


def test_deepseek_v3_second_token() -> None:
    """0.85 to 0.9 of second tokens accepted, 1.8 times the tokens/s (DeepSeek-AI 2024, V3, §5.4.3)."""
    low, high = (chain_tokens((rate,), 1) for rate in (0.85, 0.9))
    assert (low, high) == pytest.approx((1.85, 1.9))
    assert 1.8 / high > 0.94  # what drafting and verifying may cost


@given(st.floats(0, 0.999), guesses)
def test_chain_is_the_papers_fraction(rate: float, k: int) -> None:
    assert chain_tokens((rate,), k) == pytest.approx((1 - rate ** (k + 1)) / (1 - rate), rel=1e-9)


@given(guesses)
def test_chain_at_the_ends_and_beside_them(k: int) -> None:
    assert chain_tokens((1.0,), k) == k + 1
    assert chain_tokens((0.0,), k) == 1
    near = 1e-12
    assert (k + 1 - chain_tokens((1 - near,), k)) / near == pytest.approx(k * (k + 1) / 2, rel=1e-2)


@given(st.lists(rates, min_size=1, max_size=5), st.integers(1, 5))
def test_chain_by_coin_tosses(given_rates: list[float], k: int) -> None:
    """Every outcome of k tosses, weighed."""
    total = 0.0
    for tosses in product((True, False), repeat=k):
        weight = 1.0
        for place, right in enumerate(tosses):
            rate = given_rates[min(place, len(given_rates) - 1)]
            weight *= rate if right else 1 - rate
        accepted = next((i for i, right in enumerate(tosses) if not right), k)
        total += weight * (accepted + 1)
    assert chain_tokens(given_rates, k) == pytest.approx(total)


@given(rates, rates, guesses)
def test_chain_rises_with_acceptance_and_guesses(a: float, b: float, k: int) -> None:
    low, high = sorted((a, b))
    assert chain_tokens((low,), k) <= chain_tokens((high,), k)
    assert chain_tokens((low,), k) <= chain_tokens((low,), k + 1) <= k + 2


def test_chain_of_arrays_is_the_stack_of_numbers() -> None:
    rate, k = np.array([[0.0], [0.3], [1.0]]), np.array([1.0, 2.0, 7.0])
    both = chain_tokens((rate, 0.5), k)
    for i, j in np.ndindex(both.shape):
        assert both[i, j] == pytest.approx(chain_tokens((float(rate[i, 0]), 0.5), int(k[j])))


@given(st.floats(0, 0.9), st.floats(0.02, 0.5))
def test_best_guesses_beats_its_neighbours(rate: float, cost: float) -> None:
    best = best_guesses(rate, cost)
    assert all(walltime_gain(rate, best, cost) >= walltime_gain(rate, k, cost) for k in (best - 1, best + 1) if k >= 0)
    if rate <= cost:  # a draft that is no more often right than it costs (Leviathan et al. 2023, cor. 3.9)
        assert best == 0


# ── trees ────────────────────────────────────────────────────────────────────────────────────────

# top-1 to top-5 accuracies of the first four Medusa heads, and the tokens a pass that Spec-Bench measured on an A100
# (FasterDecoding/Medusa, assets/medusa_acc.csv; hemingkx/Spec-Bench, Leaderboard.md)
HEADS = {
    "7b": (((0.560, 0.672, 0.727, 0.760, 0.780), (0.316, 0.424, 0.485, 0.528, 0.563),
            (0.201, 0.288, 0.348, 0.383, 0.417), (0.147, 0.225, 0.274, 0.311, 0.340)), 2.32),
    "13b": (((0.594, 0.705, 0.758, 0.792, 0.816), (0.340, 0.440, 0.507, 0.546, 0.580),
             (0.216, 0.309, 0.361, 0.403, 0.436), (0.150, 0.232, 0.288, 0.323, 0.354)), 2.39),
    "33b": (((0.605, 0.716, 0.765, 0.798, 0.822), (0.356, 0.469, 0.529, 0.569, 0.596),
             (0.225, 0.320, 0.379, 0.421, 0.446), (0.160, 0.249, 0.307, 0.348, 0.376)), 2.33),
}  # fmt: skip


@pytest.mark.parametrize("size", HEADS)
def test_further_candidates_help_as_medusa_heads_show(size: str) -> None:
    errors = [abs(top(head[0], b) - accuracy) for head in HEADS[size][0] for b, accuracy in enumerate(head, 1)]
    assert np.median(errors) < 0.01
    assert max(errors) < 0.065


@pytest.mark.parametrize("size", HEADS)
def test_medusa_trees_yield_what_spec_bench_measured(size: str) -> None:
    heads, measured = HEADS[size]
    _, tokens = level_sizes([head[0] for head in heads], 4, 63)
    assert tokens == pytest.approx(measured, rel=0.12)


@given(st.lists(rates, min_size=1, max_size=3), st.integers(1, 3), st.integers(1, 12))
def test_the_best_tree_has_the_likeliest_paths(given_rates: list[float], depth: int, nodes: int) -> None:
    """Against all paths, sorted."""
    shares = []
    for level in range(depth):
        rate = given_rates[min(level, len(given_rates) - 1)]
        shares.append([top(rate, b + 1) - top(rate, b) for b in range(10)])
    chances = []
    for length in range(1, depth + 1):
        for path in product(range(10), repeat=length):
            chances.append(np.prod([shares[level][rank] for level, rank in enumerate(path)]))
    best = sorted(chances, reverse=True)[:nodes]
    sizes, tokens = level_sizes(given_rates, depth, nodes)
    assert tokens == pytest.approx(1 + sum(best))
    assert sum(sizes) == min(nodes, len(chances))


def test_a_tree_of_paths_is_the_sum_over_its_nodes() -> None:
    shares = ((0.6, 0.2), (0.5, 0.1))
    assert paths_tokens(shares, ((0,), (1,), (0, 0), (1, 0))) == pytest.approx(1 + 0.6 + 0.2 + 0.3 + 0.1)


@given(rates, st.integers(1, 6), st.integers(1, 30))
def test_a_tree_is_no_worse_than_a_chain_and_no_longer(rate: float, depth: int, more: int) -> None:
    _, tokens = level_sizes((rate,), depth, depth + more)
    assert chain_tokens((rate,), depth) - 1e-12 <= tokens <= depth + 1 + 1e-12


@given(st.floats(0.01, 0.99), guesses)
def test_the_rate_comes_back_from_the_tokens(rate: float, k: int) -> None:
    found = rate_that_yields(lambda a: chain_tokens((a,), k), chain_tokens((rate,), k))
    assert found == pytest.approx(rate, abs=1e-6)


def test_measured_places_of_eagle_3() -> None:
    """0.7296, 0.5208, 0.3545 reach each place, 2.60 tokens a pass (vLLM, test_acceptance_length.py, Llama 3.1 8B)."""
    reached = (0.7296, 0.5208, 0.3545)
    each = (reached[0], reached[1] / reached[0], reached[2] / reached[1])
    assert chain_tokens(each, 3) == pytest.approx(2.60, abs=0.01)
