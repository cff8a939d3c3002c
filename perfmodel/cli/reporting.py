"""`perfmodel report`: the page of what another command answers, and nothing else."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import typer

from perfmodel.errors import RequestError

USUAL = Path("report.html")
Words = Annotated[
    list[str],
    typer.Argument(metavar="COMMAND …", help="A command that has --html, with its flags, such as estimate -m … -g …"),
]
File = Annotated[Path, typer.Option("--html", help=f"The page's file ({USUAL}).", metavar="FILE", show_default=False)]
Open = Annotated[bool, typer.Option("--open", help="Show it in the browser.")]


def report(words: Words, html: File = USUAL, open_: Open = False) -> int:
    """Write the page of any answer: of estimate, serve, validate report and all others that have --html."""
    from perfmodel.cli import main

    if "--html" not in _flags(words):
        raise RequestError(f"report: {words[0]} has no page of its own; {PAGES} have one.")
    if any(word.split("=")[0] == "--html" for word in words):
        raise RequestError(f"report: name the page's file before the command: report --html FILE {words[0]} ….")
    with redirect_stdout(StringIO()):
        code = main([*words, "--html", str(html)])
    if code == 2:
        return 2
    print(f"Written {html}")
    if open_:
        _show(html)
    return code


PAGES = "estimate, serve, sweep, plan, advise and validate report"
report.settings = {"ignore_unknown_options": True, "allow_interspersed_args": False}  # type: ignore[attr-defined]


def _flags(words: list[str]) -> set[str]:
    """The flags of the command that `words` begin with; RequestError where there is none."""
    from perfmodel.cli import COMMANDS, application
    from perfmodel.spec import nearest

    name = words[0]
    if name not in COMMANDS or name == "report":
        guess = nearest(name, set(COMMANDS) - {"report"})
        hint = f"did you mean {guess}?" if guess else "it takes a command, such as estimate."
        raise RequestError(f'report: no command is called "{name[:40]}"; {hint}')
    found: Any = typer.main.get_command(application(name))
    for word in words:
        found = getattr(found, "commands", {}).get(word, found)
    return {flag for parameter in found.params for flag in parameter.opts}


def _show(html: Path) -> None:
    import webbrowser

    webbrowser.open(html.resolve().as_uri())
