"""A bar that tells how far a long command is, on terminals alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

Step = tuple[str, str]
"""Device and kernel, as the tables name them."""


def passed(steps: list[Step], lasts: Mapping[str, float]) -> Iterator[Step]:
    """Each step, with a bar on stderr while it is worked on; `lasts` says how long each kernel takes."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:<24}"), BarColumn(), TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns, console=_console(), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=sum(lasts[kernel] for _, kernel in steps))
        for device, kernel in steps:
            bar.update(task, description=f"{_shown(device)} {kernel}")
            yield device, kernel
            bar.advance(task, lasts[kernel])


def _console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def _shown(device: str) -> str:
    from perfmodel.fitting.aiconfigurator import shown

    return shown(device)


@contextmanager
def rows_done(terminal: bool) -> Iterator[Callable[[int, int], None]]:
    """What is called with the rows that are done and all of them, and shows a bar with rate and remaining time."""
    if not terminal:
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.completed:,} of {task.total:,} rows"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=_console(), transient=True) as bar:
        task = bar.add_task("", total=1, rate="")
        begun: list[tuple[float, int]] = []

        def show(done: int, total: int) -> None:
            if not begun:  # what was there already took no time
                begun.append((monotonic(), done))
            seconds = monotonic() - begun[0][0]
            rate = f"{(done - begun[0][1]) / seconds:,.0f} rows/s" if seconds > 0 and done > begun[0][1] else ""
            bar.update(task, completed=done, total=total, rate=rate)

        yield show


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """What is called with how many of `what` are done and all of them, and shows a bar, on terminals alone."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_console(), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
