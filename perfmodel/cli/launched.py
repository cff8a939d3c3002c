"""How commands to run look in a terminal: they can be copied as they stand. Formats, computes nothing."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from perfmodel.cli.screen import bold, width, wrapped
from perfmodel.errors import RequestError
from perfmodel.launch.flags import TOOLS
from perfmodel.launch.server import Launch
from perfmodel.launch.sheet import Command


def launch_screen(told: Launch, tests: Mapping[str, Command]) -> str:
    """Commands of the server and of load tests, with what must be known beside them."""
    return "\n".join(_parts(told, tests))


def _parts(told: Launch, tests: Mapping[str, Command]) -> Iterator[str]:
    plan, engine = told.plan, f"{TOOLS[told.engine].title} {told.version}"
    yield bold(f"{plan.model.title} on {told.gpu_count} × {plan.gpu.title}")
    yield wrapped("Server", f"{engine}, {_copies(told)}; requests go to port {told.port}")
    if told.placeholders:
        yield wrapped("Fill in", ", ".join(told.placeholders))
    for text in told.lacks:
        yield wrapped("Differs", text)
    yield ""
    for command in told.server:
        yield from _shown(command)
    for name, text in told.files.items():
        yield comment(f"{name}, which it reads:")
        yield f"{text.rstrip()}\n"
    for command in tests.values():
        yield from _shown(command, "A load test with ")
    for i, text in enumerate(told.notes):
        yield wrapped("Notes" if i == 0 else "", f"- {text}")


def _shown(command: Command, before: str = "") -> Iterator[str]:
    if before or command.title:
        title = f"{before}{command.title}"
        yield comment(f"{title[:1].upper()}{title[1:]}:")
    for text in command.notes if before else ():
        yield comment(f"{text}.")
    yield f"{command.text}\n"


def comment(text: str) -> str:
    """`text` as comments of a shell, folded to the width."""
    return textwrap.fill(text, width(), initial_indent="# ", subsequent_indent="# ")


def _copies(told: Launch) -> str:
    if told.workers is not None:
        x, y = told.workers
        return f"{x} prefill and {y} decode worker{'s' * (y > 1)} (one command of each)"
    if told.copies == 1:
        return "one copy"
    return f"{told.copies:,} copies (the command starts one of them)"


def manifest_text(told: Launch) -> str:
    """The manifest with what must be known as comments; RequestError says why there is none."""
    if not told.manifest:
        why = next((text for text in told.notes if text.startswith("no manifest: ")), "no manifest: none is known")
        raise RequestError(f"--kubernetes: {why.removeprefix('no manifest: ')}; leave it out for the commands.")
    known = [*(f"Fill in {place}." for place in told.placeholders if place in told.manifest)]
    known += [f"Differs from what was modelled: {text}." for text in told.lacks] + [f"{text}." for text in told.notes]
    return "\n".join([*map(comment, known), told.manifest])
