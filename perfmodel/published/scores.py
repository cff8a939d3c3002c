"""Predictions → errors by group: how far off, which way, and how often the interval holds."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from perfmodel.published.predictions import Prediction
from perfmodel.published.rows import Row

WORST = 10


class Score(NamedTuple):
    """Errors of one group as fractions; None where nothing was scored.

    n             rows of the group
    scored        those that were predicted
    median_ape    median of |predicted − measured|/measured; `mean_ape`, `p90_ape` likewise
    bias          median of (predicted − measured)/measured
    coverage80    part of the scored rows that their 80 % interval holds
    """

    n: int
    scored: int
    median_ape: float | None = None
    mean_ape: float | None = None
    p90_ape: float | None = None
    bias: float | None = None
    coverage80: float | None = None


def score(group: list[Prediction]) -> Score:
    """The errors of a group; percentiles are interpolated linearly."""
    scored = [p for p in group if not p.reason]
    if not scored:
        return Score(len(group), 0)
    signed = np.array([p.error for p in scored])
    ape = np.abs(signed)
    figures = (
        np.median(ape),
        ape.mean(),
        np.percentile(ape, 90),
        np.median(signed),
        np.mean([p.covered for p in scored]),
    )
    return Score(len(group), len(scored), *map(float, figures))


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


def report(found: list[Prediction], by: tuple[str, ...]) -> dict[str, Any]:
    """The JSON contract: overall, groups, worst, unscored."""
    return {
        "overall": score(found)._asdict(),
        "groups": [{"by": dict(zip(by, key, strict=True)), **s._asdict()} for key, s in grouped(found, by)],
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
