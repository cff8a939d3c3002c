"""Errors of predictions as columns of texts."""

from __future__ import annotations

from typing import Any

from perfmodel.score import Score
from perfmodel.table import flush_right, percent


def score_columns(scores: list[Score], counted: str = "rows") -> dict[str, list[Any]]:
    """Errors as columns of texts; `counted` names how many of what they are."""
    return {
        counted: [s.n for s in scores],
        "predicted": [s.scored for s in scores],
        "median": flush_right([percent(s.median_ape) for s in scores]),
        "mean": flush_right([percent(s.mean_ape) for s in scores]),
        "90th": flush_right([percent(s.p90_ape) for s in scores]),
        "bias": flush_right([percent(s.bias, "+") for s in scores]),
        "in interval": flush_right([percent(s.coverage80) for s in scores]),
    }
