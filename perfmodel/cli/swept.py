"""What a sweep prints: counts, reasons and its best rows; or every row as CSV. Formats numbers, computes none."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from perfmodel.cli.options import dumped, write_page
from perfmodel.cli.progress import rows_done
from perfmodel.cli.screen import bold, narrowed, wrapped
from perfmodel.errors import DoesNotFitError, RequestError
from perfmodel.study.asked import study_of
from perfmodel.study.axes import axis_in, parameter_of
from perfmodel.study.columns import Column, column
from perfmodel.study.contract import sweep_dict
from perfmodel.study.encoded import encoded, header
from perfmodel.study.parts import parts
from perfmodel.study.result import Sweep
from perfmodel.study.rows import Rows
from perfmodel.study.running import Wanted, jobs_checked, results
from perfmodel.study.streamed import summarised, written
from perfmodel.study.study import Study, shown
from perfmodel.study.summary import Best, Summary
from perfmodel.study.written import SHOWN, read_study
from perfmodel.units import show_bytes, show_seconds

TOP = 10
TITLES = {
    "gpu_count": "GPUs",
    "memory_bytes": "a GPU",
    "ttft_s": "TTFT",
    "tpot_s": "TPOT",
    "tokens_per_s": "tok/s",
    "usd_per_million_tokens": "USD/Mtok",
}
SPARE = ("a GPU", "GPUs", "tok/s", "TPOT")
"""Columns that a narrow terminal goes without, the first named first."""
MOST_DRAWN = 1_000_000
"""Cases that a page is made of."""
MOST_REASONS = 5
"""Reasons that are shown."""


class Asked(NamedTuple):
    """The command line of a sweep."""

    study: Path | None
    axes: Mapping[str, list[str]]
    given: Mapping[str, Any]
    sort: str | None
    top: int | None
    out: Path | None
    resume: bool
    jobs: int
    scheduler: str | None
    json: bool
    csv: bool
    html: Path | None = None


def swept(asked: Asked, started: float, terminal: bool) -> int:
    """Compute and print a sweep; 1 where nothing fits, or nothing meets the conditions."""
    jobs_checked(asked.jobs)
    file = {} if asked.study is None else read_study(asked.study)
    study = _study(asked, file)
    best = _best(asked, file, study)
    if asked.csv and (asked.json or asked.out):
        raise RequestError("--csv prints every row; leave out --json and --out.")
    if asked.resume and asked.out is None:
        raise RequestError("--resume goes on with a file: name it by --out, as then.")
    if asked.csv:
        return _printed(asked, study)
    if asked.html is not None and study.cases > MOST_DRAWN:
        raise RequestError(
            f"--html draws up to {MOST_DRAWN:,} cases; this study has {study.cases:,}: --sample {MOST_DRAWN}."
        )
    found = _computed(asked, study, best, terminal)
    if asked.html is not None:
        write_page(Sweep(study, asked.jobs, asked.scheduler), asked.html)
    seconds = time.perf_counter() - started
    if asked.json:
        print(dumped(sweep_dict(study, found.best, found.rows, found.fitting) | {"reasons": dict(found.reasons)}))
    elif found.fitting:
        print(_screen(study, found, best, seconds, asked.out))
    return 0 if found.fitting else _none(study, found, asked)


def _study(asked: Asked, file: Mapping[str, Any]) -> Study:
    typed = {parameter_of(name).name: axis_in(texts, name) for name, texts in asked.axes.items()}
    given = {name: value for name, value in file.items() if name not in SHOWN}
    given |= {name: value for name, value in asked.given.items() if value is not None}
    return study_of(given, typed)


def _best(asked: Asked, file: Mapping[str, Any], study: Study) -> Best:
    top = asked.top if asked.top is not None else file.get("top", TOP)
    if isinstance(top, bool) or not isinstance(top, int) or not 1 <= top <= 1000:
        raise RequestError(f"--top must be a whole number of rows from 1 to 1000; got {top!r}.")
    name = asked.sort or file.get("sort") or ("cost_per_mtok_usd" if _priced(study) else "tokens_per_s_per_gpu")
    by = column(name, study.columns, "--sort")
    if study.columns[by.name] == "text":
        raise RequestError(f"--sort {name}: is a word; name a figure, like ttft_ms or tokens_per_s.")
    return Best(by, top)


def _priced(study: Study) -> bool:
    """Whether any case has a price."""
    from perfmodel.catalog import load_gpu

    axes = {axis.name: axis for axis in study.kinds}
    gpus = (load_gpu(value) if isinstance(value, str) else value for value in axes["gpu"].values)
    return "price" in axes or any(gpu.price for gpu in gpus)


def _computed(asked: Asked, study: Study, best: Best, terminal: bool) -> Summary:
    try:
        with rows_done(terminal) as progress:
            if asked.out is None:
                return summarised(study, best, asked.jobs, asked.scheduler, progress)
            return written(study, asked.out, asked.resume, asked.jobs, asked.scheduler, progress, best)
    except KeyboardInterrupt:
        print(f"perfmodel: {_interrupted(asked)}", file=sys.stderr)
        raise


def _interrupted(asked: Asked) -> str:
    if asked.out is None:
        return "interrupted; nothing is kept without --out FILE."
    return f"interrupted; finished parts lie in {asked.out}.parts, and the same command with --resume goes on."


def _printed(asked: Asked, study: Study) -> int:
    """Every row as CSV, as it comes."""
    print(header(study.kept, "csv").decode(), end="")
    fitting = 0
    for part in results(study, parts(study), Wanted(), asked.jobs, asked.scheduler):
        print(encoded(part.data, study.kept, "csv").decode(), end="")
        fitting += part.summary.fitting
    return 0 if fitting else 1


# ── the screen ───────────────────────────────────────────────────────────────────────────────────


def _screen(study: Study, found: Summary, best: Best, seconds: float, out: Path | None) -> str:
    lines = [bold(_title(study, found)), wrapped("Axes", _axes(study))]
    lines += [wrapped("In all", same)] if (same := _same(study)) else []
    lines += _reasons(found)
    order = "highest" if best.by.more_is_better else "lowest"
    count = len(next(iter(found.best.values())))
    lines += [
        "",
        bold(f"The {count} with the {order} {best.by.asked}" if count > 1 else f"The {order} {best.by.asked}"),
    ]
    lines += [_table(study, found.best, best.by), "", wrapped("Time", _time(found, seconds))]
    return "\n".join([*lines, wrapped("File", f"{out}: {found.rows:,} rows")] if out else lines)


def _title(study: Study, found: Summary) -> str:
    kept = f"; {found.rows:,} rows kept, {found.fitting:,} of them fit" if found.rows != found.cases else ""
    drawn = " drawn" if study.sample is not None else ""
    return f"{found.cases:,} cases{drawn}: {found.fit:,} fit, {found.cases - found.fit:,} do not{kept}"


def _axes(study: Study) -> str:
    told = []
    for axis in (*study.kinds, *study.numbers):
        if axis.drawn is not None:
            told.append(f"{axis.name} {axis.drawn}")
        elif len(axis.values) > 1:
            told.append(f"{axis.name} ({len(axis.values):,})")
    return " × ".join(told) or "one case"


def _same(study: Study) -> str:
    """What all cases have in common, as far as it was asked for, and their sizes."""
    axes = (axis for axis in (*study.kinds, *study.numbers) if len(axis.values) == 1)
    return ", ".join(f"{axis.name} {shown(axis.values[0]) or 'none'}" for axis in axes)


def _reasons(found: Summary) -> list[str]:
    """The most frequent reasons, each with its number."""
    most = found.reasons.most_common(MOST_REASONS)
    lines = [
        wrapped("Not" if i == 0 else "", f"{count:,} {reason.rstrip('.')}") for i, (reason, count) in enumerate(most)
    ]
    if more := len(found.reasons) - len(most):
        lines.append(wrapped("", f"and {more:,} other reason{'s' * (more > 1)}"))
    return lines


def _table(study: Study, rows: Mapping[str, list[Any]], by: Column) -> str:
    names = list(dict.fromkeys((*study.chosen, by.name))) if study.chosen else _columns(study, by)
    columns = {TITLES.get(name, name): [_cell(name, value) for value in rows[name]] for name in names}
    return narrowed(columns, SPARE)


def _columns(study: Study, by: Column) -> list[str]:
    """The axes that vary, how many devices, and the usual figures with the one that rows are sorted by."""
    varied = [a.name for a in (*study.kinds, *study.numbers) if a.drawn is not None or len(a.values) > 1]
    places = ["model", "gpu"] if not {"model", "gpu"} & set(varied) else []
    figures = ["gpu_count", "memory_bytes", "ttft_s", "tpot_s", "tokens_per_s", "usd_per_million_tokens", by.name]
    return list(dict.fromkeys(name for name in (*places, *varied, *figures) if name in study.columns))


def _cell(name: str, value: Any) -> str:
    if value is None or value == "":
        return "—"
    if isinstance(value, (bool, str)):
        return str(value)
    if name.endswith("_bytes"):
        return show_bytes(value, 3)
    if name.partition("_s")[0] in ("ttft", "tpot", "e2e"):
        return show_seconds(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _time(found: Summary, seconds: float) -> str:
    return f"{show_seconds(seconds)}, {found.cases / seconds:,.0f} cases a second"


# ── the answer is no ─────────────────────────────────────────────────────────────────────────────


def _none(study: Study, found: Summary, asked: Asked) -> int:
    """Nothing fits, or nothing meets the conditions: what would; the question is wrong where no case could be asked."""
    if found.fit:
        raise DoesNotFitError(_unmet(study, found), tuple(_nearest(found)))
    told = f" {asked.out} has all {found.rows:,} rows, with their reasons." if asked.out else ""
    if not found.smallest:
        reason = found.reasons.most_common(1)[0][0]
        raise RequestError(f"None of {found.cases:,} cases can be: {reason}{told}" if found.cases > 1 else reason)
    _raise_smallest(study, found, told)
    return 1


def _raise_smallest(study: Study, found: Summary, told: str) -> None:
    """DoesNotFitError of the case that needs least memory, with what would make that fit."""
    from perfmodel.answer import estimate

    least = found.smallest
    settings = next(
        (s for i in range(min(study.structures, 10_000)) if _is(study, s := study.settings(i), least)),
        study.settings(0),
    )
    question = Rows(study).question(settings)
    try:
        estimate(**question, **{name: least[name] for name in ("batch", "prompt", "output")})
    except DoesNotFitError as error:
        raise DoesNotFitError(
            f"None of {found.cases:,} cases fits; the nearest: {error}{told}", error.remedies
        ) from None


def _is(study: Study, settings: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    names = [name for name in ("gpu_count", "tp", "pp", "dp", "ep", "cp", "replicas") if settings.get(name) is not None]
    spec = {name: getattr(settings[name], "name", settings[name]) for name in ("model", "gpu")}
    return all(row[name] == settings[name] for name in names) and all(
        row[name] == value or isinstance(value, str) for name, value in spec.items()
    )


def _unmet(study: Study, found: Summary) -> str:
    conditions = " and ".join(condition.text for condition in study.where) or "the conditions"
    return f"{found.fit:,} of {found.cases:,} cases fit, none of them with {conditions}."


def _nearest(found: Summary) -> list[str]:
    lines = []
    for text, value in found.reached.items():
        name = text.replace(">", "<").partition("<")[0].strip()
        lines.append(f"{'at most' if '>' in text else 'at least'} {value:.4g} for {name} alone")
    return lines
