"""`perfmodel estimate`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from perfmodel.cli import options as o

Breakdown = Annotated[bool, typer.Option("--breakdown", help="Every op of both phases.")]
Csv = Annotated[bool, typer.Option("--csv", help="One row of comma-separated figures.")]
Compare = Annotated[
    list[str] | None,
    typer.Option("--compare", help='A change to show beside it: "kv=fp8", "kv=fp8,tp=2"; repeat it.', metavar="CHANGE"),
]


@o.takes_a_question()
def estimate(
    question: dict[str, Any],
    compare: Compare = None,
    breakdown: Breakdown = False,
    json: o.Json = False,
    csv: Csv = False,
    html: o.Html = None,
) -> int:
    """Memory, TTFT, time per token, tokens/s and cost of serving a model on a GPU."""
    from perfmodel.answer import estimate as ask

    if compare:
        return _compared(question, compare, breakdown, json, csv, html)
    if html is not None:
        _write_page(question, html)
    if json:
        return _as_json(question, breakdown)
    answer = ask(**question)
    print(answer.to_table(breakdown).to_csv() if csv else _screen(answer, breakdown), end="" if csv else "\n")
    return 0


def _compared(
    question: dict[str, Any], changes: list[str], breakdown: bool, json: bool, csv: bool, html: Path | None
) -> int:
    from perfmodel.cli.comparing import compared

    return compared(question, changes, breakdown, json, csv, html)


def _write_page(question: dict[str, Any], html: Path) -> None:
    """The page of the answer, also where it is no."""
    from perfmodel.report.asked import write_estimate

    write_estimate(question, html, o.command())


def _as_json(question: dict[str, Any], breakdown: bool) -> int:
    from perfmodel.answer import estimate as ask
    from perfmodel.remedies import ways_out

    answer = ask(**question, must_fit=False)
    data = answer.to_dict(breakdown)
    if not answer.fits:
        data["remedies"] = list(ways_out(answer.plan, answer.work))
    print(o.dumped(data))
    return 0 if answer.fits else 1


def _screen(answer: Any, breakdown: bool) -> str:
    from perfmodel.cli.screen import breakdown_screen, estimate_screen

    return estimate_screen(answer) + (breakdown_screen(answer) if breakdown else "")
