"""A CSV file of published measurements → typed rows. Checks every field it uses; knows no model and no device."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perfmodel.errors import RequestError, SpecError
from perfmodel.reading import text_within
from perfmodel.spec import nearest

MODES = ("fixed_batch", "single_stream", "concurrency", "offline_throughput", "disaggregated", "kernel")
QUALITIES = ("ok", "suspect", "queueing")
ALL = "all"


@dataclass(frozen=True, slots=True)
class Row:
    """One published figure. None where the source does not say; texts are "" there."""

    line: int
    source_id: str
    engine: str
    engine_version: str
    model: str
    gpu: str
    n_gpus: int | None
    tp: int | None
    pp: int | None
    weight_dtype: str
    act_dtype: str
    kv_dtype: str
    prompt_tokens: int | None
    output_tokens: int | None
    batch_or_concurrency: int | None
    mode: str
    metric: str
    value: float
    unit: str
    note: str
    quality: str
    source: str = ""
    dp: int | None = None
    ep: int | None = None


_REQUIRED = (
    "engine", "engine_version", "model", "gpu", "n_gpus", "tp", "pp", "weight_dtype", "act_dtype", "kv_dtype",
    "prompt_tokens", "output_tokens", "batch_or_concurrency", "mode", "metric", "value",
)  # fmt: skip
# columns of whole numbers → the least of them; llama-bench generates from a prompt of 0
_WHOLE = {
    "n_gpus": 1,
    "tp": 1,
    "pp": 1,
    "batch_or_concurrency": 1,
    "prompt_tokens": 0,
    "output_tokens": 0,
    "dp": 1,
    "ep": 1,
}
COLUMNS = tuple(name for name in Row.__slots__ if name != "line")
_MOST = 10**12
_LARGEST = 200_000_000  # bytes; a hundred times the file of 3,400 rows that this was written for


def rows_of(file: Path | str) -> list[Row]:
    """Every row of `file`; SpecError names the line, the field and the value of a mistake."""
    path, shown = Path(file), str(file)
    text = text_within(
        path,
        shown,
        "a CSV file of measurements",
        _LARGEST,
        "; give a file of measurements",
        "; save it as CSV in UTF-8",
    )
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, shown)
        return [_row(header, cells, shown, reader.line_num) for cells in reader if any(map(str.strip, cells))]
    except csv.Error as error:
        raise SpecError(f"{shown}: line {reader.line_num}: is not CSV: {error}.") from None


def _check_header(header: list[str], shown: str) -> None:
    missing = [name for name in _REQUIRED if name not in header]
    if missing:
        listed = ", ".join(missing[:6]) + (", …" if len(missing) > 6 else "")
        s = "s" * (len(missing) > 1)
        raise SpecError(
            f"{shown}: line 1: the column{s} {listed} {'are' if s else 'is'} missing; the first line must name "
            f"the columns engine, model, gpu, …, metric, value (docs/accuracy.md)."
        )
    if twice := next((name for i, name in enumerate(header) if name and name in header[:i]), ""):
        raise SpecError(f'{shown}: line 1: the column "{twice}" stands twice; keep one.')


def _row(header: list[str], cells: list[str], shown: str, line: int) -> Row:
    if len(cells) != len(header):
        raise SpecError(
            f"{shown}: line {line}: has {len(cells)} fields where the first line names {len(header)} columns; "
            'put text with commas in "double quotes".'
        )
    texts = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if name in COLUMNS}
    given: dict[str, Any] = dict.fromkeys(COLUMNS, "") | texts
    where = f"{shown}: line {line}"
    for name, least in _WHOLE.items():
        given[name] = _whole(given[name], least, f"{where}: {name}")
    given["value"] = _measured(given["value"], f"{where}: value")
    return Row(line=line, **(given | {"quality": given["quality"] or "ok"}))


def _whole(text: str, least: int, where: str) -> int | None:
    """A whole number, also as pandas writes it ("8.0"); None for a blank."""
    if text == "":
        return None
    value = _real(text)
    if value is None or not least <= value < _MOST or value != int(value):
        known = f"a whole number of at least {least}, like 8, or nothing where the source does not say"
        raise SpecError(f"{where}: needs {known}; got {text[:40]!r}.")
    return int(value)


def _measured(text: str, where: str) -> float:
    value = _real(text)
    if value is None or not 0 < value < _MOST:
        raise SpecError(f"{where}: needs the measured figure, a number above 0, like 12.5; got {text[:40]!r}.")
    return value


def _real(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


# ── choosing ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rows that were asked for, and how many were left out for another mode or quality."""

    rows: list[Row]
    other_modes: int
    other_qualities: dict[str, int]


def chosen(rows: list[Row], modes: str | None, qualities: str | None, shown: str) -> Chosen:
    """The rows of the named modes and qualities (comma lists; "all" for all of them)."""
    wanted_modes = _words(modes, "--mode", MODES, {row.mode for row in rows})
    wanted_qualities = _words(qualities, "--quality", QUALITIES, {row.quality for row in rows})
    of_mode = [row for row in rows if wanted_modes is None or row.mode in wanted_modes]
    kept = [row for row in of_mode if wanted_qualities is None or row.quality in wanted_qualities]
    if not kept:
        raise RequestError(_nothing(rows, modes, qualities, shown))
    left: dict[str, int] = {}
    for row in of_mode:
        if wanted_qualities is not None and row.quality not in wanted_qualities:
            left[row.quality] = left.get(row.quality, 0) + 1
    return Chosen(kept, len(rows) - len(of_mode), left)


def _nothing(rows: list[Row], modes: str | None, qualities: str | None, shown: str) -> str:
    if not rows:
        return f"{shown}: holds no measurement, only the names of columns."
    asked = " ".join(f"{flag} {words}" for flag, words in (("--mode", modes), ("--quality", qualities)) if words)
    held = ", ".join(sorted({f"{row.mode} ({row.quality})" for row in rows}))
    return f"{shown}: no row is left by {asked}; it holds {held}."


def columns(words: str, use: str = "--by") -> tuple[str, ...]:
    """Names of columns from a comma list."""
    names = tuple(word.strip() for word in words.split(","))
    for name in names:
        if name not in COLUMNS:
            raise RequestError(f'{use}: there is no column called "{name[:40]}"; {_guess(name, COLUMNS)}')
    return names


def _words(words: str | None, use: str, known: Iterable[str], held: set[str]) -> set[str] | None:
    """The words of a comma list; None for all of them. RequestError for one that neither we nor the file know."""
    names = {word.strip() for word in (words or ALL).split(",")}
    for name in names:
        if name not in {*known, *held, ALL}:
            thing = use.removeprefix("--")
            raise RequestError(f'{use}: no {thing} is called "{name[:40]}"; {_guess(name, (*known, ALL))}')
    return None if ALL in names else names


def _guess(name: str, known: Iterable[str]) -> str:
    guess = nearest(name, known)
    return f'did you mean "{guess}"?' if guess else "known: " + ", ".join(known) + "."
