"""The command line: parse, call, print. One module a command; nothing is computed here."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

# pydantic looks through every installed package for plugins; perfmodel has none, and starts a tenth faster without
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

import typer

from perfmodel.cli.options import TYPED
from perfmodel.errors import DoesNotFitError, PerfModelError, one_line

COMMANDS = {
    "advise": ("advise", "advise"),
    "calibrate": ("calibrate", "calibrate"),
    "estimate": ("estimate", "estimate"),
    "explain": ("explain", "explain"),
    "import": ("importing", "import_model"),
    "launch": ("launch", "launch"),
    "list": ("listing", "list_names"),
    "plan": ("plan", "plan"),
    "report": ("reporting", "report"),
    "serve": ("serve", "serve"),
    "show": ("show", "show"),
    "sweep": ("sweep", "sweep"),
    "validate": ("validate", "app"),
}
"""Command → module of this package, and what it is there."""


def root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """What LLM inference costs: memory, TTFT, time per token, tokens/s and money, counted and explained."""
    if version:
        from perfmodel import __version__

        print(f"perfmodel {__version__}")
        raise typer.Exit


def application(*names: str) -> typer.Typer:
    """The command line, with the commands of these names; each is imported only here."""
    app = typer.Typer(
        name="perfmodel",
        help=root.__doc__,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback(invoke_without_command=True)(root)
    for name in names:
        module, thing = COMMANDS[name]
        command = getattr(import_module(f"perfmodel.cli.{module}"), thing)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, context_settings=getattr(command, "settings", None))(command)
    return app


def main(arguments: list[str] | None = None) -> int:
    """Run one command; exit code 0 answered, 1 the answer is no, 2 the question is wrong."""
    given = sys.argv[1:] if arguments is None else arguments
    TYPED.set(tuple(given))
    asked = given[:1] if given and given[0] in COMMANDS else COMMANDS  # building them all takes as long as an answer
    try:
        code = application(*asked)(given, prog_name="perfmodel", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except PerfModelError as error:
        return _complain(error, error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return _usage(error)


def _usage(error: Any) -> int:
    """What the argument parser objects to, in one line; anything else is a bug and keeps its traceback."""
    if type(error).__name__ == "Abort":
        return 130
    if not hasattr(error, "format_message"):
        raise error
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())
        return 0
    if message := error.format_message():
        print(f"perfmodel: {one_line(' '.join(message.split()))}", file=sys.stderr)
    return 2


def _complain(error: PerfModelError, code: int) -> int:
    print(f"perfmodel: {error}", file=sys.stderr)
    if isinstance(error, DoesNotFitError):
        for remedy in error.remedies or ("nothing that was tried makes it fit",):
            print(f"  what would work: {remedy}", file=sys.stderr)
    return code
