"""What is told of a sweep whose rows nobody reads: counts, reasons, and the best rows by one figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from perfmodel.study.coded import Coded
from perfmodel.study.columns import Column
from perfmodel.study.encoded import plain
from perfmodel.study.study import Study

MOST_REASONS = 1000
"""Reasons that are told apart; beyond, rows count as others."""
OTHER = "other reasons"


@dataclass(frozen=True)
class Best:
    """Which rows are the best: by this column, so many of them."""

    by: Column
    top: int


@dataclass
class Summary:
    """Of a part, or of a whole sweep.

    cases     rows before conditions, and `fit`, of them those that fit
    rows      rows that are kept, and `fitting`, of them those that fit
    reasons   why cases are none, or do not fit → how many
    best      the best rows that are kept and fit, as columns
    reached   condition → the value nearest to it among the cases that fit
    smallest  of a sweep where nothing fits, the case that needs least memory
    """

    cases: int = 0
    fit: int = 0
    rows: int = 0
    fitting: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    best: dict[str, list[Any]] = field(default_factory=dict)
    reached: dict[str, float] = field(default_factory=dict)
    smallest: dict[str, Any] = field(default_factory=dict)

    def add(self, other: Summary, best: Best | None) -> None:
        """Take up the summary of another part."""
        self.cases, self.fit = self.cases + other.cases, self.fit + other.fit
        self.rows, self.fitting = self.rows + other.rows, self.fitting + other.fitting
        for reason, count in other.reasons.items():
            self.reasons[reason if reason in self.reasons or len(self.reasons) < MOST_REASONS else OTHER] += count
        if other.best:
            joined = {name: [*self.best.get(name, []), *cells] for name, cells in other.best.items()}
            self.best = _top(joined, best) if best is not None else joined
        for text, value in other.reached.items():
            nearest = max if _upwards(text) else min
            self.reached[text] = nearest(self.reached.get(text, value), value)
        if other.smallest and other.smallest["memory_bytes"] < self.smallest.get("memory_bytes", float("inf")):
            self.smallest = other.smallest

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {**vars(self), "reasons": dict(self.reasons)}


def summary_of(data: Mapping[str, Any]) -> Summary:
    """The summary that `to_dict` was made of."""
    return Summary(**{**data, "reasons": Counter(data["reasons"])})


def summary(study: Study, columns: Mapping[str, Any], keep: Any, best: Best | None) -> Summary:
    """The summary of a part: all its columns, and a truth for each row that the study keeps."""
    import numpy as np

    fits, reason = columns["fits"], columns["reason"]
    counts = np.bincount(reason.codes, minlength=len(reason.words))
    found = Summary(len(fits), int(fits.sum()), int(keep.sum()), int((keep & fits).sum()))
    found.reasons = Counter({word: int(n) for word, n in zip(reason.words, counts, strict=True) if word and n})
    if not found.fit:
        found.smallest = _smallest(columns, study.columns)
    for condition in study.where:
        values = columns[condition.column.name]
        if not isinstance(values, Coded) and condition.sign[0] in "<>" and found.fit:
            own = condition.column.of(columns)[fits]
            nearest = np.nanmax if condition.sign[0] == ">" else np.nanmin
            if not np.isnan(own).all():
                found.reached[condition.text] = float(nearest(own))
    if best is not None and found.fitting:
        rows = np.flatnonzero(keep & fits)
        values = best.by.of(columns)[rows]
        order = np.argsort(-values if best.by.more_is_better else values, kind="stable")[: best.top]
        found.best = plain({name: column[rows[order]] for name, column in columns.items()}, study.columns)
    return found


def _smallest(columns: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, Any]:
    """The case that needs least memory; nothing where none has a figure."""
    import numpy as np

    held = columns["memory_bytes"]
    if np.isnan(held).all():
        return {}
    row = int(np.nanargmin(held))
    return {name: cells[0] for name, cells in plain({n: c[row : row + 1] for n, c in columns.items()}, kinds).items()}


def _top(rows: dict[str, list[Any]], best: Best) -> dict[str, list[Any]]:
    """The best of rows that are in order already, part by part; of equal ones the first."""
    values = rows[best.by.name]
    sign = -1 if best.by.more_is_better else 1
    order = sorted(range(len(values)), key=lambda i: float("inf") if values[i] is None else sign * values[i])
    return {name: [cells[i] for i in order[: best.top]] for name, cells in rows.items()}


def _upwards(text: str) -> bool:
    return ">" in text


def merged(parts: Iterable[Summary], best: Best | None) -> Summary:
    """The summary of all parts, given in order."""
    total = Summary()
    for part in parts:
        total.add(part, best)
    return total
