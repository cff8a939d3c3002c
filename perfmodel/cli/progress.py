"""A bar that tells how far a long command is, on terminals alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator


def passed(steps: list[tuple[str, str]], shown: Callable[[str], str], weights: dict[str, float]) -> Iterator[tuple[str, str]]:
    """Each (device, kernel) of `steps`, with a bar on stderr while it is worked on; `weights` say how long kernels take."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    quiet = not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task("", total=sum(weights.get(kernel, 1.0) for _, kernel in steps))
        for device, kernel in steps:
            bar.update(task, description=f"{shown(device)} {kernel}")
            yield device, kernel
            bar.advance(task, weights.get(kernel, 1.0))
