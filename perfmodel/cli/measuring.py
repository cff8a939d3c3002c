"""`perfmodel calibrate` without a source: this device measured, and its file written."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from perfmodel.cli import options as o
from perfmodel.errors import RequestError


def folder(flag: str, help: str) -> Any:
    return typer.Option(flag, help=help, metavar="DIR")


BUDGET_S = 240.0
RESULTS = Path("perfmodel-results")
FLAGS = ("on", "name", "formats", "budget", "results", "fresh", "busy", "html")
"""What only measuring takes."""
On = Annotated[str | None, typer.Option("--on", help="Measure cuda, rocm, mps or cpu; the first that is there.")]
Name = Annotated[str | None, typer.Option("--name", help="Name of the device's file; else the catalog's, or made up.")]
Formats = Annotated[str | None, typer.Option(help="Formats to measure: bf16, fp16, fp32, w8, w4, fp8 (comma list).")]
Budget = Annotated[float | None, o.real("--budget", help=f"Seconds to measure for ({BUDGET_S:g}).")]
Kept = Annotated[
    Path | None, typer.Option("--results", help=f"Folder for what is measured ({RESULTS}).", metavar="DIR")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Measure anew, whatever was kept.")]
Busy = Annotated[bool, typer.Option("--busy", help="Measure although others use the device.")]
FORMATS = ("bf16", "fp16", "fp32", "w8", "w4", "fp8")


def asked(
    on: str | None,
    name: str | None,
    formats: str | None,
    budget_s: float,
    results: Path | None,
    fresh: bool,
    busy: bool,
    hardware: Path | None,
) -> Any:
    """What is to be measured, checked (validate/calibrate.py)."""
    from perfmodel.cli.scripts import script

    chosen, called = _formats(formats), _name(name)
    devices, work = script("device"), script("calibrate")
    found = free(devices, on, busy)
    return work.Asked(
        found,
        called or work.name_of(found),
        chosen or work.formats_of(found),
        budget_s,
        results or RESULTS,
        hardware or Path("hardware"),
        o.command(),
        fresh,
    )


def measured(question: Any) -> Any:
    """What came of measuring this device."""
    from perfmodel.cli.scripts import script

    with Bar(f"{question.device.name}, {question.budget_s:g} s") as bar:
        return script("calibrate").calibrated(question, bar.tell)


def _name(name: str | None) -> str | None:
    """A name that a file can have."""
    if name is None or re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,79}", name):
        return name
    raise RequestError(f'--name needs small letters, digits, dots and hyphens, like "my-gpu"; got "{name[:40]}".')


def free(devices: Any, on: str | None, busy: bool) -> Any:
    """The device, once nobody else uses it; RequestError where that does not end."""
    found = devices.device(on)
    if not busy and (complaint := devices.wait_until_free(found)):
        raise RequestError(complaint)
    return found


def seconds(budget: float | None, usual: float) -> float:
    """The time there is to measure."""
    if budget is None:
        return usual
    if not 5 <= budget <= 1e6:
        raise RequestError(f"--budget must be from 5 seconds to a million; got {budget:g}.")
    return budget


def _formats(words: str | None) -> tuple[str, ...]:
    names = tuple(word.strip() for word in (words or "").split(",") if word.strip())
    for name in names:
        if name not in FORMATS:
            raise RequestError(f'--formats: no format is called "{name[:40]}"; known: {", ".join(FORMATS)}.')
    if names and names[0] not in FORMATS[:3]:
        raise RequestError(f"--formats: the first is what models run in: {', '.join(FORMATS[:3])}; got {names[0]}.")
    return names


class Bar:
    """How far the measuring is, on terminals alone."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._bar: Any = None

    def __enter__(self) -> Bar:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description:<44}"), BarColumn(), TimeElapsedColumn())
        console = Console(stderr=True)
        self._bar = Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty())
        self._bar.start()
        self._task = self._bar.add_task(self.title, total=1.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, what: str, share: float) -> None:
        """Say what is under way, and how far it is."""
        self._bar.update(self._task, description=what[:44], completed=share)


def told(outcome: Any, html: Path | None, json: bool) -> None:
    """Print the constants and how well they fit; write the page."""
    if html is not None:
        _write_page(outcome, html)
    if json:
        contract = {"fits": [fit.to_dict() for fit in outcome.fits], "written": str(outcome.file)}
        print(o.dumped(contract | {"left_out": outcome.left_out}))
        return
    print("\n".join(_lines(outcome)))


def _lines(outcome: Any) -> Iterator[str]:
    from perfmodel.cli.screen import bold, wrapped
    from perfmodel.table import Table

    fits = outcome.fits
    table = Table(
        {
            "kernel": [fit.kernel for fit in fits],
            "format": [fit.key for fit in fits],
            "measured": [fit.points for fit in fits],
            "median": [f"{fit.median:.1%}" for fit in fits],
            "p90": [f"{fit.p90:.1%}" for fit in fits],
        }
    )
    yield bold("Errors on shapes that the fit had not seen")
    yield table.to_text()
    for name, reason in outcome.left_out.items():
        yield wrapped("Left out", f"{name}: {reason}")
    yield wrapped("Written", str(outcome.file))


def _write_page(outcome: Any, html: Path) -> None:
    from perfmodel.files import write_whole
    from perfmodel.measured.page import page

    write_whole(html, page(outcome.results, o.command()))
