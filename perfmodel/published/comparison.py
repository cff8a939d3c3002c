"""A file, and what is asked of it → a `Comparison`: predictions, errors by group, and how they are told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perfmodel.published.predictions import Prediction, predictions
from perfmodel.published.rows import Chosen, Row, chosen, columns, rows_of
from perfmodel.published.scores import Ratio, grouped, ratios, report, score, unscored, worst
from perfmodel.scored import score_columns
from perfmodel.table import Table, flush_right, percent


@dataclass(frozen=True)
class Comparison:
    """Every chosen row of `file` with its prediction, told by the columns `by`."""

    file: str
    by: tuple[str, ...]
    chosen: Chosen
    predictions: list[Prediction]

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract of docs/json.md."""
        return report(self.predictions, self.by)

    def title(self) -> str:
        """The whole in one line."""
        whole = score(self.predictions)
        start = f"{whole.n:,} rows of {Path(self.file).name}, {whole.scored:,} of them predicted"
        if whole.median_ape is None:
            return start
        return f"{start}: median error {percent(whole.median_ape)}, {percent(whole.coverage80)} in their 80 % interval"

    def left_out(self) -> list[str]:
        """What the choice of modes and qualities left out, and how to have it."""
        modes, qualities = self.chosen.other_modes, self.chosen.other_qualities
        lines = [f"{modes:,} rows of other modes"] if modes else []
        if qualities:
            listed = ", ".join(f"{n:,} {quality}" for quality, n in qualities.items())
            lines.append(f"{listed} (--quality all takes them)")
        return lines

    def tables(self) -> list[Table]:
        """Errors by group, the worst rows, and the reasons of those without a prediction."""
        found = [self._groups()]
        if pairs := ratios(self.predictions):
            found.append(_ratio_table(pairs))
        if bad := worst(self.predictions):
            found.append(_worst_table(bad))
        if reasons := unscored(self.predictions):
            why = {"rows": [n for _, n in reasons], "why": [reason for reason, _ in reasons]}
            found.append(Table(why, "Not predicted"))
        return found

    def _groups(self) -> Table:
        groups = grouped(self.predictions, self.by)
        first, *others = self.by
        names = {name: [_word(key[i]) for key, _ in groups] for i, name in enumerate(self.by)}
        names = {first: [*names[first], "all"]} | {name: [*names[name], ""] for name in others}
        scores = [*(s for _, s in groups), score(self.predictions)]
        return Table(names | score_columns(scores), f"Errors by {', '.join(self.by)}")


def compared(file: str, modes: str | None = None, by: str = "metric", qualities: str | None = "ok") -> Comparison:
    """`file` with a prediction of every row of the named modes and qualities (comma lists)."""
    names = columns(by)
    kept = chosen(rows_of(file), modes, qualities, file)
    return Comparison(file, names, kept, predictions(kept.rows))


def _ratio_table(pairs: list[Ratio]) -> Table:
    return Table(
        {
            "differ in": [r.differ for r in pairs],
            "pairs": [r.pairs for r in pairs],
            "median": flush_right([percent(r.median) for r in pairs]),
            "90th": flush_right([percent(r.p90) for r in pairs]),
        },
        "Ratios of two rows of one source that differ in one thing",
    )


def _worst_table(bad: list[Prediction]) -> Table:
    return Table(
        {
            "line": [p.row.line for p in bad],
            "engine": [p.row.engine[:24] for p in bad],
            "model": [p.row.model for p in bad],
            "GPU": [f"{p.row.n_gpus or '?'} × {p.row.gpu}" for p in bad],
            "workload": [_workload(p.row) for p in bad],
            "metric": [p.row.metric for p in bad],
            "measured": [p.row.value for p in bad],
            "predicted": [p.expected for p in bad],
            "error": flush_right([percent(p.error, "+") for p in bad]),
        },
        "Farthest off",
    )


def _workload(row: Row) -> str:
    """Prompt + output × batch, "?" where it is not stated."""
    sizes = ["?" if size is None else f"{size}" for size in (row.prompt_tokens, row.output_tokens)]
    return f"{sizes[0]} + {sizes[1]}, {'?' if row.batch_or_concurrency is None else row.batch_or_concurrency} at once"


def _word(value: Any) -> str:
    return "not stated" if value in (None, "") else str(value)
