"""A file of results → its text and the JSON values in it. Trusts nothing: size, encoding, nesting."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from perfmodel.errors import SpecError
from perfmodel.reading import text_within

LARGEST = 200_000_000
"""Bytes; reports that keep every request are a hundred megabytes."""
WANTED = "a benchmark's result file or an engine's start-up log"


@dataclass(frozen=True)
class Content:
    """What a file holds: `text`, and as JSON its `values` (one, or one after the other as in JSON lines)."""

    shown: str
    text: str

    @classmethod
    def of(cls, file: Path | str) -> Content:
        """The content of a file; SpecError names it and what is wrong."""
        shown = str(file)
        text = text_within(
            Path(file), shown, WANTED, LARGEST, "; save a report without the single requests", f"; give {WANTED}"
        )
        if "\0" in text:
            raise SpecError(f"{shown}: is not text; give {WANTED}.")
        if not text.strip():
            raise SpecError(f"{shown}: is empty; give {WANTED}.")
        return cls(shown, text.removeprefix("\ufeff"))

    @cached_property
    def is_json(self) -> bool:
        """Whether it means to be JSON: a log's line in brackets is no list of values."""
        start = self.text.lstrip()
        return start[:1] == "{" or (start[:1] == "[" and start[1:].lstrip()[:1] in ('"', "{", "["))

    @cached_property
    def values(self) -> list[Any]:
        """Its JSON values in order; SpecError names the place where they end too early."""
        decoder, found, at = json.JSONDecoder(), list[Any](), 0
        try:
            while (at := _after_space(self.text, at)) < len(self.text):
                value, at = decoder.raw_decode(self.text, at)
                found.append(value)
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            raise SpecError(
                f"{self.shown}: is not valid JSON at {place}: {error.msg.lower()}; is the file whole?"
            ) from None
        except RecursionError:
            raise SpecError(f"{self.shown}: is nested too deeply; give {WANTED}.") from None
        except ValueError as error:  # a number of thousands of digits
            raise SpecError(f"{self.shown}: is not valid JSON: {str(error)[:80].lower()}.") from None
        return found

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """Its values that are mappings, those of a list at the top each by itself."""
        flat = [one for value in self.values for one in (value if isinstance(value, list) else [value])]
        return [one for one in flat if isinstance(one, dict)]


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n,":
        at += 1
    return at
