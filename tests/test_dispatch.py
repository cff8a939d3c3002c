"""Experts over devices: formulas of load and of destinations against simulated routing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.layers.dispatch import Experts, busiest, destinations, largest_normal
from perfmodel.layers.moe import shares

RANDOM = np.random.default_rng(5)


def routed(e: Experts, tokens: int, popularity: list[float] | None = None) -> np.ndarray:
    """Ranks of the k experts of each token: the k largest of random keys (Gumbel 1954), inside the kept groups."""
    keys = RANDOM.gumbel(size=(tokens, e.experts))
    if popularity is not None:
        keys = keys + np.log(RANDOM.permutation(popularity))
    if e.kept < e.groups:
        order = np.argsort(RANDOM.random((tokens, e.groups)), axis=1)[:, : e.kept]
        kept = np.zeros((tokens, e.groups), bool)
        np.put_along_axis(kept, order, True, 1)
        keys = np.where(np.repeat(kept, e.experts // e.groups, 1), keys, -np.inf)
    chosen = np.argpartition(-keys, e.chosen - 1, axis=1)[:, : e.chosen]
    return chosen // (e.experts // e.ranks)


def simulated(e: Experts, tokens: int, runs: int = 600) -> float:
    loads = [np.bincount(routed(e, tokens).ravel(), minlength=e.ranks).max() for _ in range(runs)]
    return float(np.mean(loads)) / (tokens * e.chosen / e.ranks)


CASES = (
    Experts(256, 8, 8),
    Experts(256, 8, 64),
    Experts(8, 2, 8),
    Experts(8, 2, 2),
    Experts(128, 8, 32),
    Experts(256, 8, 8, 8, 4),
    Experts(256, 8, 64, 8, 4),
)


@pytest.mark.parametrize("e", CASES)
@pytest.mark.parametrize("rows", [2, 8, 64])
def test_the_busiest_rank_is_as_simulated(e: Experts, rows: int) -> None:
    tokens = max(rows * e.ranks // e.chosen, 1)
    assert busiest(tokens, e) == pytest.approx(simulated(e, tokens), rel=0.05)


@pytest.mark.parametrize("skew", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("e", [Experts(256, 8, 8), Experts(256, 8, 64), Experts(128, 8, 16)])
def test_popular_experts_raise_the_busiest_rank_as_dealt_at_random(e: Experts, skew: float) -> None:
    popularity = shares(e.experts, e.chosen, skew)
    each = np.array([share for count, share in popularity for _ in range(int(count))])
    dealt = np.mean([RANDOM.permutation(each).reshape(e.ranks, -1).sum(1).max() for _ in range(2000)])
    # of very many tokens only the dealing is left
    assert busiest(10**9, e, popularity) == pytest.approx(dealt / (e.chosen / e.ranks), rel=0.04)


@pytest.mark.parametrize("e", CASES)
def test_destinations_are_as_simulated(e: Experts) -> None:
    ranks = routed(e, 20_000)
    assert destinations(e) == pytest.approx(np.mean([len(set(row)) for row in ranks]), rel=0.01)


def test_largest_normals_are_those_of_tables() -> None:
    """Harter 1961, table 1: expected values of normal order statistics."""
    for n, expected in ((1, 0.0), (4, 1.02938), (8, 1.42360), (16, 1.76599), (32, 2.06967), (100, 2.50759)):
        assert largest_normal(n) == pytest.approx(expected, rel=0.02)


@given(st.sampled_from(CASES), st.integers(1, 10**6), st.floats(0, 2))
def test_the_busiest_is_at_least_the_mean_and_at_most_what_tokens_may_send(
    e: Experts, tokens: int, skew: float
) -> None:
    popularity = shares(e.experts, e.chosen, skew) if skew else ()
    found = busiest(tokens, e, popularity)
    assert 1 <= found <= min(e.chosen, e.held) * e.ranks / e.chosen * (1 + 1e-12)
    assert busiest(2 * tokens, e, popularity) <= found * (1 + 1e-12)


def test_one_rank_has_all_of_it_and_is_reached_once() -> None:
    assert busiest(7, Experts(64, 6, 1)) == 1
    assert destinations(Experts(64, 6, 1)) == 1
    assert destinations(Experts(8, 8, 8)) == 8
