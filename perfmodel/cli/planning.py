"""What flags of plans and advice mean."""

from __future__ import annotations

import re
from typing import Any

from perfmodel.errors import RequestError

LISTS = ("gpu", "weights", "kv", "engine")
NUMBERS = ("gpus_per_replica", "max_num_seqs", "max_num_batched_tokens")


def read(
    given: dict[str, Any],
    think_time: str | None,
    availability: str,
    goal: list[str] | None,
    price: list[str] | None,
    max_power: float | None,
    no_disaggregation: bool,
) -> dict[str, Any]:
    """Flags → the keyword arguments of `perfmodel.plan`; RequestError in one sentence where one cannot be read."""
    asked = {name: value for name, value in given.items() if value is not None}
    for name in LISTS:
        if name in asked:
            asked[name] = [part for text in asked[name] for part in _parts(text, name)]
    for name in NUMBERS:
        if name in asked:
            asked[name] = [_whole(part, name) for text in asked[name] for part in _parts(text, name)]
    found = asked | {
        "goals": [part for text in goal or () for part in _parts(text, "goal")] or None,
        "spare": _spare(availability),
        "max_power": None if max_power is None else max_power * 1e3,
        "disaggregated": not no_disaggregation,
    }
    if think_time is not None:
        found["think_time"] = seconds(think_time, "--think-time")
    if price:
        found["price"] = dict(_price(part) for text in price for part in _parts(text, "price"))
    return found


def _parts(text: str, name: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise RequestError(f'--{name.replace("_", "-")} {text}: has nothing between commas; write it like "a,b".')
    return parts


def _whole(text: str, name: str) -> int:
    if not text.isdigit():
        raise RequestError(f'--{name.replace("_", "-")} must be whole numbers, like 64,256; got "{text[:40]}".')
    return int(text)


def _price(text: str) -> tuple[str, float]:
    name, equals, usd = text.partition("=")
    try:
        if not equals:
            raise ValueError
        return name.strip(), float(usd)
    except ValueError:
        raise RequestError(f'--price must name a GPU and USD an hour, like "h100=2.5"; got "{text[:40]}".') from None


def _spare(text: str) -> int:
    match = re.fullmatch(r"\s*n\s*(?:\+\s*(\d{1,2}))?\s*", text.lower())
    if match is None:
        raise RequestError(f'--availability must be n, n+1, n+2, …; got "{text[:40]}".')
    return int(match[1] or 0)


def seconds(text: str, flag: str) -> float:
    """A time with its unit, in seconds."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|h)\s*", text)
    if match is None:
        raise RequestError(f'{flag} needs a number and its unit, like "30 s"; got "{text[:40]}".')
    return float(match[1]) * {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}[match[2]]
