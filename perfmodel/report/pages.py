"""An answer of any kind → its page, by its type; and the page as a file."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from perfmodel.errors import RequestError
from perfmodel.files import write_whole
from perfmodel.report.figure import Page
from perfmodel.report.page import html

KINDS = {
    "perfmodel.answer.Estimate": ("perfmodel.report.estimate", "estimate_page"),
    "perfmodel.comparison.Comparison": ("perfmodel.report.comparison", "comparison_page"),
    "perfmodel.serving.question.Serving": ("perfmodel.report.serving", "serving_page"),
    "perfmodel.planning.answer.Plan": ("perfmodel.report.plan", "plan_page"),
    "perfmodel.planning.advising.Advice": ("perfmodel.report.advice", "advice_page"),
    "perfmodel.study.result.Sweep": ("perfmodel.report.sweep", "table_page"),
    "perfmodel.table.Table": ("perfmodel.report.sweep", "table_page"),
}
"""Type of an answer → module, and what makes its page there; `first_screen` of that module is its beginning. All by
name, so that nothing is loaded that is not asked for."""


def page_of(answer: Any, command: str = "") -> Page:
    """The page of an answer; RequestError where its kind has none."""
    module, name = _maker(answer)
    make: Callable[[Any, str], Page] = getattr(import_module(module), name)
    return make(answer, command)


def first_screen_of(answer: Any) -> Page:
    """The beginning of its page: the answer in words and a few numbers."""
    make: Callable[[Any], Page] = import_module(_maker(answer)[0]).first_screen
    return make(answer)


def _maker(answer: Any) -> tuple[str, str]:
    for kind in type(answer).__mro__:
        if maker := KINDS.get(f"{kind.__module__}.{kind.__qualname__}"):
            return maker
    known = ", ".join(name.rpartition(".")[2] for name in KINDS)
    raise RequestError(f"There is no page of a {type(answer).__name__}; there are of: {known}.")


def write_page(answer: Any, file: str | Path, command: str = "") -> None:
    """Write the page of an answer (Estimate, Comparison, Serving, Table of a sweep) as one HTML file.

    It needs nothing else and asks nothing of a network. `command` is told in it as what made it. RequestError where
    the file cannot be written, or the answer has no page: an estimate of arrays, for one, has a table.
    """
    write_whole(Path(file), html(page_of(answer, command)))
