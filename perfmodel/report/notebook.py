"""How answers show themselves in a notebook: the first screen of their page, small, without script or colours."""

from __future__ import annotations

from html import escape
from typing import Any

from perfmodel.report.figure import Card, Page
from perfmodel.report.page import unbroken
from perfmodel.report.pages import first_screen_of

MOST_NOTICES = 4
CELL = "text-align: left; padding: 0.2em 1.4em 0.2em 0; vertical-align: top; max-width: 16em; white-space: normal"
FAINT = "opacity: 0.75; font-size: 0.9em"


def notebook_html(answer: Any) -> str:
    """An answer as HTML that a notebook puts between its cells; light or dark is up to the notebook."""
    return compact(first_screen_of(answer))


def compact(page: Page) -> str:
    """The words and numbers of a page's first screen."""
    verdict = f'<b style="border: 1px solid; border-radius: 4px; padding: 0 0.4em">{_text(page.verdict)}</b> '
    rows = "".join(f"<tr>{''.join(cells)}</tr>" for cells in zip(*map(_cells, page.cards), strict=True))
    notices = "".join(f"<li>{_text(line)}</li>" for line in page.notices[:MOST_NOTICES])
    return (
        '<div style="max-width: 60em">'
        f'<p style="font-size: 1.15em; margin: 0.3em 0"><b>{_text(page.title)}</b></p>'
        f'<p style="margin: 0.3em 0">{verdict if page.verdict else ""}{_text(page.headline)}</p>'
        + (f'<table style="border: none; margin: 0.5em 0">{rows}</table>' if rows else "")
        + (f'<p style="margin: 0.3em 0">{_text(page.notices_title)}:</p><ul>{notices}</ul>' if notices else "")
        + (f'<p style="{FAINT}; margin: 0.3em 0">{_text(page.basis)}</p>' if page.basis else "")
        + "</div>"
    )


def _cells(card: Card) -> tuple[str, str, str]:
    """A column of the small table: what it is, the number, and its note."""
    return (
        f'<td style="{CELL}; {FAINT}">{_text(card.label)}</td>',
        f'<td style="{CELL}; font-size: 1.3em"><b>{_text(card.figure)}</b></td>',
        f'<td style="{CELL}; {FAINT}">{_text(card.note)}</td>',
    )


def _text(words: str) -> str:
    return escape(unbroken(words))
