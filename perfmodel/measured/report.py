"""Results files → a `Report`: errors by group, by op, and the worst, as tables, JSON and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perfmodel.errors import RequestError
from perfmodel.measured.results import Results, results_in
from perfmodel.measured.scores import (
    Errors,
    OpErrors,
    Point,
    by_op,
    columns,
    errors,
    grouped,
    honest,
    points_of,
    worst,
)
from perfmodel.measured.told import value_text
from perfmodel.score import Score
from perfmodel.scored import score_columns
from perfmodel.table import Table, flush_right, percent


@dataclass(frozen=True)
class Report:
    """Results by the name of their file, told by the columns `by`."""

    held: dict[str, Results]
    by: tuple[str, ...]

    @property
    def points(self) -> list[Point]:
        return points_of(self.held.values())

    def title(self) -> str:
        """The whole in one line."""
        whole, n = errors(self.points), len(self.held)
        devices = {results.device.name for results in self.held.values()}
        start = f"{n:,} file{'s' * (n != 1)}, {len(devices):,} device{'s' * (len(devices) != 1)}, "
        start += f"{(many := whole.unseen.n + whole.fitted.n):,} measurement{'s' * (many != 1)}"
        best, seen = (whole.unseen, "no fit has used") if whole.unseen.scored else (whole.fitted, "fits have used")
        if best.median_ape is None:
            return f"{start}, none of them predicted"
        held = f", {percent(best.coverage80)} in their 80 % interval" if best.coverage80 is not None else ""
        return f"{start}: median error {percent(best.median_ape)}{held}, of the {best.scored:,} that {seen}"

    def notes(self) -> list[str]:
        """What a reader must know before the figures."""
        partial = [file for file, results in self.held.items() if not results.complete]
        told = [f"{file} is of a run that has not ended; its command goes on with it" for file in partial]
        if none := unpredicted(self.points, self.by):
            which = (
                "group of which nothing was predicted is" if none == 1 else "groups of which nothing was predicted are"
            )
            told.append(f"{none:,} {which} left out")
        return told

    def tables(self) -> list[Table]:
        """Errors by group, of what fits have used, by op, and the measurements that are farthest off."""
        found = [
            table for table in (group_table(self.points, self.by), fitted_table(self.points, self.by)) if len(table)
        ]
        if ops := by_op(honest(self.points)):
            found.append(op_table(ops))
        if bad := worst(honest(self.points)):
            found.append(worst_table(bad))
        return found

    def to_csv(self) -> str:
        """A row a group, as fractions."""
        rows = grouped(self.points, self.by)
        cells: dict[str, list[Any]] = {name: [key[i] for key, _ in rows] for i, name in enumerate(self.by)}
        for kind in ("unseen", "fitted"):
            for name in ("n", "scored", "median_ape", "mean_ape", "p90_ape", "bias", "coverage80"):
                cells[f"{kind}_{name}"] = [getattr(getattr(found, kind), name) for _, found in rows]
        return Table(cells).to_csv()

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract of docs/json.md."""
        points = self.points
        return {
            "files": [_file(name, results) for name, results in self.held.items()],
            "overall": _errors_dict(errors(points)),
            "groups": [
                {"by": dict(zip(self.by, key, strict=True))} | _errors_dict(found)
                for key, found in grouped(points, self.by)
            ],
            "ops": [op._asdict() for op in by_op(honest(points))],
            "worst": [_told(point) for point in worst(honest(points))],
        }


def reported(paths: Sequence[Path], by: str) -> Report:
    """The results of these files and folders; of those that ship with perfmodel where none is named."""
    names = columns(by)
    return Report(results_in(paths) if paths else _shipped(), names)


def _shipped() -> dict[str, Results]:
    from perfmodel.catalog import data_folder

    folder = data_folder("validate") / "results"
    if not any(folder.glob("*.json")):
        raise RequestError(
            "No results ship with this version of perfmodel; name files or folders that hold some: "
            "perfmodel validate report results.json."
        )
    return {f"validate/results/{Path(file).name}": held for file, held in results_in([folder]).items()}


def group_table(points: Sequence[Point], by: Sequence[str]) -> Table:
    """A row a group of which something was predicted that no fit has used, as percentages."""
    rows = [(key, found.unseen) for key, found in grouped(points, by) if found.unseen.scored]
    return Table(_keys(rows, by) | score_columns([found for _, found in rows], "n"), f"Errors by {', '.join(by)}")


def fitted_table(points: Sequence[Point], by: Sequence[str]) -> Table:
    """The same of what fits have used: how well constants fit, not how well they predict."""
    rows = [(key, found.fitted) for key, found in grouped(points, by) if found.fitted.scored]
    return Table(
        _keys(rows, by) | score_columns([found for _, found in rows], "n"), f"What fits have used, by {', '.join(by)}"
    )


def unpredicted(points: Sequence[Point], by: Sequence[str]) -> int:
    """Groups of which nothing was predicted."""
    return sum(not (found.unseen.scored or found.fitted.scored) for _, found in grouped(points, by))


def _keys(rows: Sequence[tuple[tuple[Any, ...], Score]], by: Sequence[str]) -> dict[str, list[str]]:
    return {name: [_word(key[i]) for key, _ in rows] for i, name in enumerate(by)}


def op_table(ops: list[OpErrors]) -> Table:
    """How far off each op is, which way, and what share of the time it has."""
    return Table(
        {
            "phase": [o.phase for o in ops],
            "op": [o.op for o in ops],
            "measured": [o.n for o in ops],
            "bias": flush_right([percent(o.bias, "+") for o in ops]),
            "90th": flush_right([percent(o.p90) for o in ops]),
            "share of time": flush_right([percent(o.share) for o in ops]),
        },
        "Errors by op",
    )


def worst_table(bad: list[Point]) -> Table:
    """The measurements that are farthest off."""
    predicted = [value_text(p)(p.one.predicted.expected) if p.one.predicted else "" for p in bad]
    return Table(
        {
            "on": [p.of.device.name for p in bad],
            "shape": [p.one.shape_text for p in bad],
            "figure": [p.column("figure") or "kernel_s" for p in bad],
            "measured": [value_text(p)(p.one.value) for p in bad],
            "predicted": predicted,
            "error": flush_right([percent(p.error, "+") for p in bad]),
        },
        "Farthest off",
    )


def _errors_dict(found: Errors) -> dict[str, Any]:
    return {"unseen": found.unseen._asdict(), "fitted": found.fitted._asdict()}


def _file(name: str, results: Results) -> dict[str, Any]:
    head = results.model_dump(exclude={"measurements", "format"})
    return {"file": name} | head | {"measurements": len(results.measurements)}


def _told(point: Point) -> dict[str, Any]:
    assert point.one.predicted is not None
    one = point.one.model_dump(exclude={"predicted"})
    header = {"device": point.of.device.name, "torch": point.of.software["torch"], "date": point.of.date}
    return header | one | {"predicted": point.one.predicted.model_dump(), "error": point.error}


def _word(value: Any) -> str:
    return "–" if value == "" else str(value)
