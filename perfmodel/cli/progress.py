"""A bar that tells how far a long command is, on terminals alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
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
