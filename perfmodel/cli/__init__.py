"""The command line: parse, call, print. One module a command; nothing is computed here."""

from __future__ import annotations

import os
import sys
from typing import Any

# pydantic looks through every installed package for plugins; perfmodel has none, and starts a tenth faster without
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

import typer

from perfmodel.cli import calibrate, estimate, explain, importing, listing, serve, show, validate
from perfmodel.errors import DoesNotFitError, PerfModelError, one_line

app = typer.Typer(
    name="perfmodel",
    help="What LLM inference costs: memory, TTFT, time per token, tokens/s and money, counted and explained.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("calibrate")(calibrate.calibrate)
app.command("estimate")(estimate.estimate)
app.command("explain")(explain.explain)
app.command("import")(importing.import_model)
app.command("list")(listing.list_names)
app.command("serve")(serve.serve)
app.command("show")(show.show)
app.add_typer(validate.app, name="validate")


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    """What LLM inference costs: memory, TTFT, time per token, tokens/s and money, counted and explained."""
    if version:
        from perfmodel import __version__

        print(f"perfmodel {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> int:
    """Run one command; exit code 0 answered, 1 the answer is no, 2 the question is wrong."""
    try:
        code = app(arguments if arguments is not None else sys.argv[1:], prog_name="perfmodel", standalone_mode=False)
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


def entry() -> None:
    """The `perfmodel` console script."""
    raise SystemExit(main())
