"""Files that people hand over → text and JSON: no larger than a spec can be, UTF-8, and no key twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from perfmodel.errors import SpecError

LARGEST = 1_000_000  # bytes; a spec is a few hundred lines, a config.json at most some thousand


def text_of(file: Path, shown: str, wanted: str) -> str:
    """The text of a spec; SpecError begins with `shown` and says which file is `wanted` instead."""
    return text_within(file, shown, wanted, LARGEST, ", which no spec is", ", so no spec")


def text_within(file: Path, shown: str, wanted: str, largest: int, too_large: str, not_text: str) -> str:
    """The text of a file of at most `largest` bytes; SpecError begins with `shown` and ends with a remedy.

    `too_large` and `not_text` end the sentences on a file that is longer, or no UTF-8.
    """
    try:
        with file.open("rb") as opened:
            held = opened.read(largest + 1)  # a device or a pipe has no size
        if len(held) > largest:
            raise SpecError(f"{shown}: is larger than {largest // 10**6} MB{too_large}.")
        return held.decode("utf-8")
    except UnicodeDecodeError:
        raise SpecError(f"{shown}: is not UTF-8 text{not_text}.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(f"{shown}: cannot be read ({reason.lower()}); give {wanted}.") from None


def read_json(file: Path, shown: str) -> Any:
    """The plain data in a JSON file; NaN and Infinity pass, as Python writes them.

    SpecError names the line and column of a mistake.
    """
    return json_in(text_of(file, shown, "a config.json"), shown, "a config.json")


def json_in(text: str, shown: str, wanted: str, nan: bool = True) -> Any:
    """The plain data of JSON text; NaN and Infinity pass only with `nan`. SpecError as of `read_json`."""
    try:
        return json.loads(
            text.removeprefix("\ufeff"), object_pairs_hook=_once, parse_constant=None if nan else _no_number
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise SpecError(f"{shown}: is not valid JSON at {place}: {error.msg.lower()}.") from None
    except RecursionError:
        raise SpecError(f"{shown}: is nested too deeply to be {wanted}.") from None
    except ValueError as error:
        raise SpecError(f"{shown}: is not valid JSON: {error}.") from None


def _no_number(constant: str) -> Any:
    raise ValueError(f"{constant} is no number that was measured; write null or leave it out")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping whose keys stand once: the second would silently win."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:60]!r} stands twice")
    return found
