"""How many tokens a verification pass yields: from acceptance rates of a chain of guesses, or of a tree of them.

A pass accepts the guesses up to the first wrong one, and its own prediction there is a token more: it yields 1 at
least.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from perfmodel.arithmetic import Number, maximum, minimum

DECAY = 0.8
"""How fast further candidates help: with b candidates of a rate α, 1 − (1 − α)·b^(−0.8·α) hold the right one.

Fitted to the top-1 to top-5 accuracies of five Medusa heads for Vicuna 7B, 13B and 33B (FasterDecoding/Medusa,
assets/medusa_acc.csv, 75 figures from 0.12 to 0.82): the median error is 0.006, the largest 0.06 (the fifth candidate
of the last heads). Further candidates do not help where the first is always right, or where the draft knows nothing.
"""
WIDEST = 10
"""Candidates of one place in a tree: what Medusa and EAGLE take at most."""


def rate_at(rates: Sequence[Number], place: int) -> Number:
    """The acceptance of the guess at `place` (1 is the first), given those before it; the last rate holds beyond."""
    return rates[min(place, len(rates)) - 1]


def chain_tokens(rates: Sequence[Number], guesses: Number) -> Number:
    """Expected tokens of a pass that verifies a chain of `guesses`: 1 + α₁ + α₁·α₂ + … (k products).

    With one rate that is (1 − α^(k+1))/(1 − α) (Leviathan et al. 2023, eq. 1), summed, so that it is exact at α = 1
    and smooth beside it. Rates and `guesses` may be arrays that broadcast.
    """
    total: Number = 1
    reached: Number = 1
    for place in range(1, _largest(guesses) + 1):
        reached = reached * rate_at(rates, place)
        total = total + reached * maximum(minimum(guesses - place + 1, 1), 0)
    return total


def walltime_gain(rate: Number, guesses: Number, cost: Number) -> Number:
    """How much faster decoding gets: (1 − α^(k+1)) / ((1 − α)(k·c + 1)) (Leviathan et al. 2023, thm. 3.8).

    `cost` is c, a draft step against a step of the target; verifying costs as much as a plain step.
    """
    return chain_tokens((rate,), guesses) / (guesses * cost + 1)


def operations_factor(rate: Number, guesses: Number, cost: Number = 0.0) -> Number:
    """How much more is computed: (1 − α)(k·ĉ + k + 1)/(1 − α^(k+1)) (Leviathan et al. 2023, thm. 3.11).

    `cost` is ĉ, FLOPs of a draft token against those of a target's.
    """
    return (guesses * cost + guesses + 1) / chain_tokens((rate,), guesses)


def best_guesses(rate: Number, cost: Number, most: int = 64) -> int:
    """The number of guesses with the largest walltime gain, by trying all (Leviathan et al. 2023, §3.5)."""
    return max(range(most + 1), key=lambda guesses: float(walltime_gain(rate, guesses, cost)))


# ── trees ────────────────────────────────────────────────────────────────────────────────────────


def top(rate: float, candidates: int) -> float:
    """Probability that one of so many best candidates is right, when the best one is with probability `rate`."""
    if candidates == 0:
        return 0.0
    return float(1 - (1 - rate) * candidates ** (-DECAY * rate))


def level_sizes(rates: Sequence[float], depth: int, nodes: int) -> tuple[list[int], float]:
    """(nodes of each level, expected tokens of a pass) of the best tree of so many nodes and levels.

    A node is right with the product of probabilities along its path, and each right node is a token more (Cai et al.
    2024, Medusa, §2.3.3): the best tree has the `nodes` likeliest paths. A node's children and later siblings are
    never likelier than itself, so taking the likeliest that is open finds them all.
    """
    gains = [[top(rate_at(rates, level), b + 1) - top(rate_at(rates, level), b) for b in range(WIDEST)]
             for level in range(1, depth + 1)]  # fmt: skip
    sizes, total = [0] * depth, 1.0
    # (−probability, order, level, rank among siblings, probability of the parent)
    open_nodes: list[tuple[float, int, int, int, float]] = [(-gains[0][0], 0, 0, 0, 1.0)]
    for order in range(1, nodes + 1):
        if not open_nodes:
            break
        negative, _, level, rank, parent = heapq.heappop(open_nodes)
        sizes[level] += 1
        total -= negative
        if rank + 1 < WIDEST:
            heapq.heappush(open_nodes, (-parent * gains[level][rank + 1], 2 * order, level, rank + 1, parent))
        if level + 1 < depth:
            heapq.heappush(open_nodes, (negative * gains[level + 1][0], 2 * order + 1, level + 1, 0, -negative))
    return sizes, total


def paths_tokens(shares: Sequence[Sequence[float]], paths: Sequence[Sequence[int]]) -> float:
    """Expected tokens of a pass over a given tree: 1 + Σ over nodes of the product along the path.

    A path names the rank of the candidate at each level; `shares` are the probabilities of each rank, by level.
    """
    total = 1.0
    for path in paths:
        reached = 1.0
        for level, rank in enumerate(path):
            reached *= shares[level][rank]
        total += reached
    return total


# ── from measured tokens back to a rate ──────────────────────────────────────────────────────────


def rate_that_yields(tokens_of: Callable[[float], float], tokens: float) -> float:
    """The rate from 0 to 1 at which `tokens_of` it, which rises, is `tokens`; the nearer end where none is."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if tokens_of(middle) < tokens else (low, middle)
    return (low + high) / 2


def _largest(number: Number) -> int:
    return int(number.max()) if hasattr(number, "max") else int(number)
