"""Imported rows beside what we predict, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perfmodel.benchmarked.content import Content
from perfmodel.benchmarked.run import Given
from perfmodel.benchmarked.startup import startup
from perfmodel.benchmarked.terms import Compared, compared
from perfmodel.benchmarked.tools import is_log, measured_rows
from perfmodel.published.predictions import Prediction, predictions
from perfmodel.published.rows import COLUMNS, Row
from perfmodel.published.scores import score, unscored
from perfmodel.table import Table, flush_right, percent


@dataclass(frozen=True)
class Imported:
    """What files held: predictions of the rows of benchmarks, and the terms of start-up logs."""

    predictions: list[Prediction]
    startups: list[Compared]

    @property
    def rows(self) -> list[Row]:
        return [p.row for p in self.predictions]

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract of docs/json.md."""
        return {
            "overall": score(self.predictions)._asdict(),
            "rows": [_told(p) for p in self.predictions],
            "startups": [one.to_dict() for one in self.startups],
        }

    def title(self) -> str:
        """The rows in one line."""
        whole = score(self.predictions)
        start = f"{whole.n:,} rows, {whole.scored:,} of them predicted"
        if whole.median_ape is None:
            return start
        return f"{start}: median error {percent(whole.median_ape)}, {percent(whole.coverage80)} in their 80 % interval"

    def reasons(self) -> list[str]:
        """Why rows have no prediction."""
        return [f"{n} rows: {reason}" for reason, n in unscored(self.predictions)]

    def table(self) -> Table:
        """A line a row, with its prediction and the 80 % interval."""
        shown = self.predictions
        rows = [p.row for p in shown]
        return Table(
            {
                "tool": [row.source_id for row in rows],
                "model": [row.model for row in rows],
                "GPU": [f"{row.n_gpus or '?'} × {row.gpu}" for row in rows],
                "workload": [_workload(row) for row in rows],
                "metric": [row.metric for row in rows],
                "measured": [row.value for row in rows],
                "predicted": [None if p.reason else p.expected for p in shown],
                "80 % interval": flush_right(["" if p.reason else f"{p.low:.4g} to {p.high:.4g}" for p in shown]),
                "error": flush_right(["" if p.reason else percent(p.error, "+") for p in shown]),
                "quality": [row.quality for row in rows],
            }
        )


def _workload(row: Row) -> str:
    sizes = ["?" if size is None else f"{size}" for size in (row.prompt_tokens, row.output_tokens)]
    return f"{sizes[0]} + {sizes[1]}, {row.batch_or_concurrency or '?'} at once"


def _told(p: Prediction) -> dict[str, Any]:
    told = {name: getattr(p.row, name) for name in COLUMNS if name != "value"}
    told["measured"] = p.row.value
    figures = {"predicted": p.expected, "low": p.low, "high": p.high, "error": p.error}
    return told | (dict.fromkeys(figures) if p.reason else figures) | {"reason": p.reason or None}


def imported(files: Sequence[str], given: Given) -> Imported:
    """Every file read, its rows predicted, its log held against our memory."""
    rows: list[Row] = []
    startups: list[Compared] = []
    for file in files:
        content = Content.of(Path(file))
        if is_log(content):
            startups.append(compared(startup(content), given))
        else:
            rows += measured_rows(content, given)
    return Imported(predictions(rows), startups)
