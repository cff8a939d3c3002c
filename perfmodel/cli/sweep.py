"""`perfmodel sweep`: every combination of what flags name, one row each."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from perfmodel.cli import options as o

StudyFile = Annotated[
    Path | None, typer.Argument(metavar="STUDY.yaml", help="A study in a file; flags beside it come first.")
]
Sample = Annotated[int | None, o.whole("--sample", help="So many cases, drawn at random, instead of all.")]
Seed = Annotated[int | None, o.whole("--seed", help="Another draw (0); the same seed draws the same.")]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", help='Keep rows that meet a condition: "ttft_ms<500", "gpu=h100"; repeat it.', metavar="C"),
]
FitsOnly = Annotated[bool, typer.Option("--fits-only", help="Keep rows that fit.")]
ColumnNames = Annotated[
    str | None, typer.Option("--columns", help="Columns to keep (comma list).", metavar="NAMES", show_default=False)
]
Sort = Annotated[
    str | None, typer.Option("--sort", help="What the best rows are best by (cost_per_mtok_usd).", metavar="COLUMN")
]
Top = Annotated[int | None, o.whole("--top", help="Best rows to show (10).")]
Out = Annotated[
    Path | None, typer.Option("--out", help="Write every row to FILE.csv, .jsonl or .parquet.", metavar="FILE")
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an --out that was interrupted.")]
Jobs = Annotated[int, o.whole("--jobs", "-j", help="Processes (1); 0 for one a core.")]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler", help="Cluster that computes: tcp://host:8786 (Dask), ray://host:10001.", metavar="ADDR"
    ),
]
Csv = Annotated[bool, typer.Option("--csv", help="Every row as comma-separated figures.")]


def takes_axes(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the flags of a question, each of which may have several values; it is called with texts by flag.

    They come in the order in which they were typed: that is the order of the rows.
    """
    hints = get_type_hints(o._question, include_extras=True)
    shared = [name for name in signature(o._question).parameters if name != "path"]
    asked = [_flag(name, _several(name, hints[name])) for name in shared]
    own_hints, own = get_type_hints(command, include_extras=True), signature(command).parameters
    first, *rest = (_flag(name, own_hints[name], p.default) for name, p in own.items() if name != "axes")
    context = Parameter("context", Parameter.KEYWORD_ONLY, annotation=typer.Context)
    flags = [context, first, *asked, *rest, _flag("path", hints["path"])]

    def called(context: typer.Context, **given: Any) -> int:
        o.take_up(given.pop("path"))
        typed = {name: texts for name in context.params if name in shared and (texts := given[name])}
        return command(axes=typed, **{name: value for name, value in given.items() if name not in shared})

    called.__doc__, called.__name__ = command.__doc__, command.__name__
    called.__annotations__ = {flag.name: flag.annotation for flag in flags}
    called.__signature__ = Signature(flags)  # type: ignore[attr-defined]
    return called


def _flag(name: str, annotation: Any, default: Any = None) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _several(name: str, hint: Any) -> Any:
    """The flag of a question as one that may be repeated, and takes its values as text."""
    option = hint.__metadata__[0]
    # typer takes the first name of an annotated option for its default, until it builds the command
    named = [n for n in (option.default, *(option.param_decls or ())) if isinstance(n, str) and n.startswith("-")]
    names = named or [f"--{name.replace('_', '-')}"]
    told = "on, off, or on,off: " if hint.__origin__ is bool else ""
    return Annotated[list[str] | None, typer.Option(*names, help=f"{told}{option.help}", metavar="VALUES")]


@takes_axes
def sweep(
    axes: dict[str, list[str]],
    study: StudyFile = None,
    sample: Sample = None,
    seed: Seed = None,
    where: Where = None,
    fits_only: FitsOnly = False,
    columns: ColumnNames = None,
    sort: Sort = None,
    top: Top = None,
    out: Out = None,
    resume: Resume = False,
    jobs: Jobs = 1,
    scheduler: Scheduler = None,
    json: o.Json = False,
    csv: Csv = False,
    html: o.Html = None,
) -> int:
    """Every combination of values: --tp 1,2,4 --batch 1:256:x2 --prompt 128:8192:+128 --kv bf16,fp8."""
    from perfmodel.cli.swept import Asked, swept

    given = {"sample": sample, "seed": seed, "where": where, "fits_only": fits_only or None, "columns": columns}
    started = time.perf_counter()
    return swept(
        Asked(study, axes, given, sort, top, out, resume, jobs, scheduler, json, csv, html),
        started,
        sys.stderr.isatty(),
    )
