"""How levers look side by side in a terminal. Formats numbers, computes none."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from perfmodel.cli.options import dumped, write_page
from perfmodel.cli.screen import bold, narrowed, width, wrapped
from perfmodel.comparison import Comparison, Figure, Variant, compare
from perfmodel.errors import RequestError
from perfmodel.memory import UNLIMITED
from perfmodel.moved import times
from perfmodel.units import show_bytes, show_rate, show_seconds

COLUMNS = {
    "memory_bytes": "a GPU",
    "room_sequences": "room",
    "ttft_s": "TTFT",
    "tpot_s": "TPOT",
    "tokens_per_s_per_user": "tok/s/user",
    "tokens_per_s": "tok/s",
    "usd_per_million_tokens": "USD/Mtok",
}
SPARE = ("tok/s/user", "a GPU", "room")
"""Columns that a narrow terminal goes without, the first named first."""
LABEL = 28
"""Most characters of a change in the table; below it stands whole."""


def compared(
    question: dict[str, Any], changes: list[str], breakdown: bool, json: bool, csv: bool, html: Path | None
) -> int:
    """Print a question's answer beside those of its changes; 1 where none of them fits."""
    if breakdown:
        raise RequestError("--breakdown shows one answer; leave it out with --compare.")
    found = compare(**question, changes=changes)
    if html is not None:
        write_page(found, html)
    told = dumped(found.to_dict()) if json else found.to_table().to_csv().rstrip("\n") if csv else screen(found)
    print(told)
    return 0 if found.fits else 1


def screen(found: Comparison) -> str:
    """The configurations as rows, each with its ratios to the baseline, and what moved in each."""
    base = found.baseline
    parts = [bold(_title(found)), _table(found), ""]
    for variant in found.variants if base.fits else (base, *found.variants):
        parts.append(bold(variant.change or "baseline"))
        parts += [_item(line) for line in variant.why(base)]
    return "\n".join([*parts, "", wrapped("Ratios", found.note)])


def _item(line: str) -> str:
    return textwrap.fill(line, width(), initial_indent="  - ", subsequent_indent="    ")


def _title(found: Comparison) -> str:
    answer = next((v.answer for v in (found.baseline, *found.variants) if v.answer is not None), None)
    if answer is None:
        return "No configuration fits"
    work = answer.work
    load = f"{work.batch:,} sequence{'s' * (work.batch > 1)} at once, {work.prompt:,} tokens in, {work.output:,} out"
    return f"{answer.plan.model.title} on {answer.plan.gpu.title}: {load}"


def _table(found: Comparison) -> str:
    columns: dict[str, list[Any]] = {"": [], "GPUs": []} | {title: [] for title in COLUMNS.values()}
    for variant in (found.baseline, *found.variants):
        first, second = _rows(variant, found.baseline)
        for column, *cells in zip(columns.values(), first, second, strict=True):
            column += cells if variant is not found.baseline else cells[:1]
    return narrowed(columns, SPARE)


def _rows(variant: Variant, baseline: Variant) -> tuple[list[str], list[str]]:
    """The figures of a configuration, and below them their ratios to the baseline's."""
    figures = variant.figures(baseline)
    shown = [_shown(name, figures[name]) for name in COLUMNS]
    ratios = [_ratio(figures[name]) for name in COLUMNS]
    name = _shortened(variant.change) or "baseline"
    return [name, _split(variant), *shown], ["" if variant.fits else "  does not fit", "", *ratios]


def _split(variant: Variant) -> str:
    if variant.answer is None:
        return ""
    plan = variant.answer.plan
    parts = [f"TP {plan.tp}"] * (plan.tp > 1) + [f"PP {plan.pp}"] * (plan.pp > 1)
    return f"{plan.gpu_count}" + (f" ({' × '.join(parts)})" if parts else "")


def _shown(name: str, figure: Figure) -> str:
    value = figure.value
    if value is None:
        return "—"
    if name == "room_sequences":
        return "no limit" if value >= UNLIMITED else f"{value:,.0f}"
    if name.endswith("bytes"):
        return show_bytes(value, 3)
    return show_seconds(value) if name.endswith("_s") and name[0] == "t" and "per" not in name else show_rate(value)


def _ratio(figure: Figure) -> str:
    if figure.ratio is None:
        return ""
    return times(figure.ratio) + (" ~" if figure.within and figure.ratio != 1 else "")


def _shortened(change: str) -> str:
    return change if len(change) <= LABEL else f"{change[: LABEL - 1]}…"
