"""Predictions → errors by group: how far off, which way, and how often the interval holds."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from perfmodel.published.predictions import Prediction
from perfmodel.published.rows import Row
from perfmodel.score import Score, scored_of

WORST = 10


def score(group: list[Prediction]) -> Score:
    """The errors of a group; percentiles are interpolated linearly."""
    scored = [p for p in group if not p.reason]
    return scored_of([p.error for p in scored], [p.covered for p in scored], len(group))


def grouped(found: list[Prediction], by: tuple[str, ...]) -> list[tuple[tuple[Any, ...], Score]]:
    """The score of each combination of the columns `by`, the largest group first."""
    groups: dict[tuple[Any, ...], list[Prediction]] = {}
    for prediction in found:
        groups.setdefault(tuple(getattr(prediction.row, name) for name in by), []).append(prediction)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), [str(value) for value in item[0]]))
    return [(key, score(group)) for key, group in ordered]


def worst(found: list[Prediction], count: int = WORST) -> list[Prediction]:
    """The scored rows that are farthest off, as a factor up or down: half and double are as bad."""
    scored = [p for p in found if not p.reason]
    return sorted(scored, key=lambda p: -abs(np.log(p.expected / p.row.value)))[:count]


def unscored(found: list[Prediction]) -> list[tuple[str, int]]:
    """Why rows were not predicted, and how many, the commonest reason first."""
    return Counter(p.reason for p in found if p.reason).most_common()


RATIOS = {
    "devices": ("n_gpus", "tp", "pp", "dp", "ep"),
    "weights": ("weight_dtype", "act_dtype", "kv_dtype"),
    "batch": ("batch_or_concurrency",),
    "GPU": ("gpu",),
    "model": ("model",),
}
"""What two rows may differ in, and the columns that say so."""
_ALIKE = (
    "source_id", "engine", "engine_version", "model", "gpu", "n_gpus", "tp", "pp", "dp", "ep", "weight_dtype",
    "act_dtype", "kv_dtype", "prompt_tokens", "output_tokens", "batch_or_concurrency", "mode", "metric", "unit",
)  # fmt: skip


class Ratio(NamedTuple):
    """Errors of the ratio between two rows of one source that differ in one thing alone.

    median, p90  of |predicted ratio / measured ratio − 1|, over all pairs
    """

    differ: str
    pairs: int
    median: float
    p90: float


def ratios(found: list[Prediction]) -> list[Ratio]:
    """How right a comparison of two configurations is, by what they differ in; only where there are pairs."""
    scored = [p for p in found if not p.reason]
    told = []
    for differ, columns in RATIOS.items():
        alike: dict[tuple[Any, ...], list[Prediction]] = {}
        for p in scored:
            key = tuple(getattr(p.row, name) for name in _ALIKE if name not in columns)
            alike.setdefault(key, []).append(p)
        off = [
            abs(a.expected / b.expected * b.row.value / a.row.value - 1)
            for members in alike.values()
            for a, b in combinations(members, 2)
            if any(getattr(a.row, name) != getattr(b.row, name) for name in columns)
        ]
        if off:
            told.append(Ratio(differ, len(off), float(np.median(off)), float(np.percentile(off, 90))))
    return told


def report(found: list[Prediction], by: tuple[str, ...]) -> dict[str, Any]:
    """The JSON contract: overall, groups, worst, unscored."""
    return {
        "overall": score(found)._asdict(),
        "groups": [{"by": dict(zip(by, key, strict=True)), **s._asdict()} for key, s in grouped(found, by)],
        "ratios": [ratio._asdict() for ratio in ratios(found)],
        "worst": [_told(p) for p in worst(found)],
        "unscored": [{"reason": reason, "n": n} for reason, n in unscored(found)],
    }


_TOLD = (
    "line", "source_id", "engine", "engine_version", "model", "gpu", "n_gpus", "weight_dtype", "prompt_tokens",
    "output_tokens", "batch_or_concurrency", "mode", "metric", "unit",
)  # fmt: skip


def _told(p: Prediction) -> dict[str, Any]:
    row: Row = p.row
    figures = {"measured": row.value, "predicted": p.expected, "low": p.low, "high": p.high, "error": p.error}
    return {name: getattr(row, name) for name in _TOLD} | figures
