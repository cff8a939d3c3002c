"""How long prompts and outputs are: one length, or a distribution of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, log, sqrt
from random import Random
from statistics import NormalDist

from perfmodel.errors import RequestError

LONGEST = 10**8
"""Tokens beyond which a length is a mistake."""
_FORMS = '"uniform:512-1536", "lognormal:1024,0.8" (mean, standard deviation over mean) or "sample:FILE.csv:COLUMN"'


@dataclass(frozen=True, slots=True)
class Lengths:
    """A distribution of whole numbers of tokens, at least 1.

    kind      "fixed"; "uniform" between low and high, both included; "lognormal", whose logarithm has the standard
              deviation √ln(1 + cv²) (Johnson, Kotz & Balakrishnan 1994, ch. 14); "sample", drawn from `values`
    mean      tokens in the mean
    squares   mean of their squares
    """

    kind: str
    mean: float
    squares: float
    low: float = 0.0
    high: float = 0.0
    values: tuple[int, ...] = ()
    ordered: tuple[int, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def fixed(cls, tokens: float) -> Lengths:
        return cls("fixed", float(tokens), float(tokens) ** 2, tokens, tokens)

    @classmethod
    def uniform(cls, low: int, high: int) -> Lengths:
        mean, n = (low + high) / 2, high - low + 1
        return cls("uniform", mean, mean**2 + (n * n - 1) / 12, low, high)

    @classmethod
    def lognormal(cls, mean: float, cv: float) -> Lengths:
        """The longest of a million is taken as the highest."""
        wide = sqrt(log(1 + cv * cv))
        return cls("lognormal", mean, mean**2 * (1 + cv * cv), cv, mean * exp(4.75 * wide - wide * wide / 2))

    @classmethod
    def sample(cls, values: Sequence[int]) -> Lengths:
        n = len(values)
        mean, squares = sum(values) / n, sum(v * v for v in values) / n
        ordered = tuple(sorted(values))
        return cls("sample", mean, squares, ordered[0], ordered[-1], tuple(values), ordered)

    def drawn(self, random: Random, n: int) -> list[int]:
        """`n` lengths."""
        match self.kind:
            case "fixed":
                return [max(round(self.mean), 1)] * n
            case "uniform":
                return [random.randint(int(self.low), int(self.high)) for _ in range(n)]
            case "lognormal":
                wide = sqrt(log(1 + self.low**2))
                middle = log(self.mean) - wide * wide / 2
                return [max(round(random.lognormvariate(middle, wide)), 1) for _ in range(n)]
        return random.choices(self.values, k=n)

    def scaled(self, factor: float) -> Lengths:
        """The same distribution of lengths `factor` times as long."""
        match self.kind:
            case "fixed":
                return Lengths.fixed(max(self.mean * factor, 1.0))
            case "uniform":
                low = max(round(self.low * factor), 1)
                return Lengths.uniform(low, max(round(self.high * factor), low))
            case "lognormal":
                return Lengths.lognormal(max(self.mean * factor, 1.0), self.low)
        return Lengths.sample([max(round(value * factor), 1) for value in self.values])

    def quantile(self, share: float) -> float:
        """The length that a `share` of them does not exceed."""
        match self.kind:
            case "fixed":
                return self.mean
            case "uniform":
                return self.low + share * (self.high - self.low)
            case "lognormal":
                wide = sqrt(log(1 + self.low**2))
                return self.mean * exp(NormalDist().inv_cdf(share) * wide - wide * wide / 2)
        return float(self.ordered[min(int(share * len(self.ordered)), len(self.ordered) - 1)])

    @property
    def spread(self) -> float:
        """Standard deviation over mean."""
        return sqrt(max(self.squares - self.mean**2, 0.0)) / self.mean

    def __str__(self) -> str:
        """As a person would write it."""
        match self.kind:
            case "fixed":
                return f"{self.mean:,.0f} tokens"
            case "uniform":
                return f"{self.low:,.0f} to {self.high:,.0f} tokens alike"
            case "lognormal":
                return f"lognormal, {self.mean:,.0f} tokens in the mean, spread {self.spread:.0%}"
        return f"{len(self.values):,} lengths, {self.mean:,.0f} tokens in the mean"


_UNIFORM = re.compile(r"uniform:(\d+)-(\d+)")
_LOGNORMAL = re.compile(r"lognormal:(\d+),(\d*\.?\d+)")
_SAMPLE = re.compile(r"sample:(.+):([^:]+)")


def lengths(text: object, use: str) -> Lengths:
    """The distribution that `text` means: a number, or one of the forms; RequestError names the flag `use`."""
    if isinstance(text, Lengths):
        return text
    if isinstance(text, int) and not isinstance(text, bool) and 1 <= text <= LONGEST:
        return Lengths.fixed(text)
    told = str(text).strip()
    if told.isdigit() and 1 <= int(told) <= LONGEST:
        return Lengths.fixed(int(told))
    if match := _UNIFORM.fullmatch(told):
        low, high = int(match[1]), int(match[2])
        if 1 <= low <= high <= LONGEST:
            return Lengths.uniform(low, high)
    if match := _LOGNORMAL.fullmatch(told):
        mean, cv = int(match[1]), float(match[2])
        if 1 <= mean <= LONGEST and 0 < cv <= 10:
            return Lengths.lognormal(mean, cv)
    if match := _SAMPLE.fullmatch(told):
        return Lengths.sample(_column(match[1], match[2], use))
    raise RequestError(f"{use} must be a number of tokens, {_FORMS}; got {told[:60]!r}.")


def _column(path: str, name: str, use: str) -> list[int]:
    """The positive whole numbers of one column of a CSV file."""
    from perfmodel.serving.trace import table

    columns = table(path, use)
    if name not in columns:
        raise RequestError(f'{use}: {path} has no column "{name}"; it has {", ".join(columns)}.')
    found = []
    for line, value in enumerate(columns[name], 2):
        if not value.isdigit() or not 1 <= int(value) <= LONGEST:
            raise RequestError(f'{use}: {path}, line {line}: "{name}" must be a number of tokens; got {value[:40]!r}.')
        found.append(int(value))
    return found
