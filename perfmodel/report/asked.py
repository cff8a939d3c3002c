"""A question about an estimate → its page, whatever the answer is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perfmodel.comparison import answered
from perfmodel.files import write_whole
from perfmodel.report.estimate import estimate_page, refusal_page
from perfmodel.report.figure import Page
from perfmodel.report.page import html


def write_estimate(question: Mapping[str, Any], file: Path, command: str) -> None:
    """Write the page of a question (keyword arguments of `estimate`), also where nothing holds it."""
    write_whole(file, html(asked_page(question, command)))


def asked_page(question: Mapping[str, Any], command: str = "") -> Page:
    """The page of a question."""
    found = answered("", {}, question)
    if found.answer is not None:
        return estimate_page(found.answer, command)
    asked = [question["model"], question["gpu"]]
    model, gpu = (one if isinstance(one, str) else one.title for one in asked)
    return refusal_page(f"{model} on {gpu}", found.refusal, found.remedies, command)
