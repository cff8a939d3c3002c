"""Experts spread over devices: how uneven their load is, and how many devices a token must reach."""

from __future__ import annotations

from functools import cache
from math import comb
from statistics import NormalDist, fmean
from typing import NamedTuple

from perfmodel.arithmetic import Number, maximum, minimum, norm, sqrt


class Experts(NamedTuple):
    """E experts of which a token chooses k, in `ranks` parts alike; of `groups` of them a token may use `kept`."""

    experts: int
    chosen: int
    ranks: int
    groups: int = 1
    kept: int = 1

    @property
    def held(self) -> float:
        """Experts of one rank."""
        return self.experts / self.ranks

    @property
    def limited(self) -> bool:
        """Whether the limit to groups tells ranks apart: each then lies inside one group (or is one)."""
        return self.kept < self.groups and self.ranks % self.groups == 0


@cache
def largest_normal(n: int) -> float:
    """Expected largest of n standard normals: Φ⁻¹((n − 3/8)/(n + 1/4)) (Blom 1958); 0 of one."""
    return 0.0 if n == 1 else NormalDist().inv_cdf((n - 0.375) / (n + 0.25))


def choices(e: Experts) -> tuple[float, float]:
    """(mean, variance) of how many of a token's k experts lie on one rank: k drawn from E without replacement.

    Where a token keeps to some groups, first the groups are drawn, then k of the experts in them (DeepSeek-AI 2024,
    V3, §2.1.2).
    """
    reached = e.kept / e.groups if e.limited else 1.0
    among = e.experts * reached
    share = e.held / among
    mean = e.chosen * share
    variance = mean * (1 - share) * (among - e.chosen) / max(among - 1, 1)
    return reached * mean, reached * (variance + mean * mean) - (reached * mean) ** 2


def uneven(e: Experts, popularity: tuple[tuple[Number, Number], ...]) -> tuple[float, float]:
    """How much popular experts, dealt to ranks at random, raise the busiest rank above the mean, as a share of it.

    (by the spread of all their sums, by the one most popular): E/n shares drawn without replacement have a variance of
    s²·E/n among n ranks; and the most popular expert lies somewhere.
    """
    mean = e.chosen / e.ranks
    shares = [float(share) for count, share in popularity for _ in range(int(count))]
    average = fmean(shares)
    variance = sum((share - average) ** 2 for share in shares) / max(len(shares) - 1, 1)
    with_top = shares[0] + (e.chosen - shares[0]) * (e.held - 1) / max(e.experts - 1, 1)
    return (variance * e.held) ** 0.5 / mean, max(with_top / mean - 1, 0.0)


def busiest(tokens: Number, e: Experts, popularity: tuple[tuple[Number, Number], ...] = ()) -> Number:
    """Rows of the busiest of n ranks over the mean, when each of `tokens` chooses k of E experts; 1 for one rank.

        μ = M·k/n;  σ² = M·v·n/(n − 1), v the variance of a token's choices on a rank: loads that add up to M·k
        are as far apart as independent ones of σ²
        largest = μ + c·σ + (c² − 1)/6·σ²/μ, c the expected largest of n normals; the last term is of the skewness
        of few rows (Cornish & Fisher 1938); at most M·min(k, E/n)

    With skewed popularity, σ has the variance of what ranks are dealt beside it. Simulated in a test: within 3 % from
    two rows a rank on, 8 % where popularity falls as steeply as 1/i^1.5.
    """
    if e.ranks == 1:
        return 1
    if hasattr(tokens, "told"):
        return tokens.told(float(busiest(float(tokens), e, popularity)), "busiest({})")
    n, c = e.ranks, largest_normal(e.ranks)
    mean, variance = choices(e)
    spread2 = variance * n / (n - 1) / (mean * mean)  # of one token, as a share of the mean
    skewness = max(c * c - 1, 0) / 6 * spread2 / tokens
    noise = sqrt(spread2 / tokens)
    dealt, top = uneven(e, popularity) if popularity else (0.0, 0.0)
    found = maximum(c * norm(noise, dealt), top) + skewness
    return minimum(1 + found, min(e.chosen, e.held) / mean)


def destinations(e: Experts) -> float:
    """Expected ranks that hold at least one of the k experts of a token; a token goes to each of them once.

    n·(1 − C(E − E/n, k)/C(E, k)), all experts alike; with a limit to groups, inside those that are kept
    """
    if e.ranks == 1:
        return 1.0
    reached = e.kept / e.groups if e.limited else 1.0
    among = round(e.experts * reached)
    missed = comb(among - round(e.held), e.chosen) / comb(among, e.chosen)
    return e.ranks * reached * (1 - missed)
