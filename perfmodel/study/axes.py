"""An axis of a sweep: a keyword of `estimate` and the values that it takes, from Python values or from text.

    1,2,4,8         these
    1:256:x2        from 1, twice as much each time, up to 256
    128:8192:+128   from 128, 128 more each time, up to 8192
    1:64            every whole number from 1 to 64
    log:128-8192    drawn from 128 to 8192, every doubling alike (samples only)
    uniform:0.5-2   drawn from 0.5 to 2, every value alike (samples only)

Numbers may be mixed: "1,2,16:256:x2". Words are told apart by commas; of words that have commas themselves, each flag
gives one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from inspect import Parameter
from math import exp, isfinite, log
from random import Random
from typing import Any

from perfmodel.errors import RequestError
from perfmodel.flags import flags, kinds, truth, typed
from perfmodel.spec import nearest

NUMBERS = ("batch", "prompt", "output")
"""Keywords whose values are arrays in the formulas: all of them are computed at once."""
WITH_COMMAS = ("prune", "lora", "acceptance", "sampling", "exempt")
"""Keywords whose one value may hold commas, or be a tuple."""
MOST = 2_000_000
"""Values of one axis; more is a mistake."""
LARGEST = 10**9
EXAMPLE = '"1,2,4", "1:256:x2" (doubling), "128:8192:+128" (steps), "1:64" (each one)'

_RANGE = re.compile(r"([^:]+):([^:]+)(?::([^:]*))?")
_DRAWN = re.compile(r"(log|uniform):([^-]+)-(.+)")


@dataclass(frozen=True)
class Drawn:
    """Numbers drawn from `low` to `high`: every value alike, or every doubling (`even` False)."""

    low: float
    high: float
    even: bool
    whole: bool

    def draw(self, random: Random) -> float | int:
        """One of them; whole numbers are rounded down from one range a number, so that each has its share."""
        top = self.high + 1 if self.whole else self.high
        at = random.random()
        value = self.low + at * (top - self.low) if self.even else self.low * exp(at * log(top / self.low))
        return min(int(value), int(self.high)) if self.whole else min(value, self.high)

    def __str__(self) -> str:
        return f"{'uniform' if self.even else 'log'}:{self.low:g}-{self.high:g}"


@dataclass(frozen=True)
class Axis:
    """The values of keyword `name`, or what draws them; `swept` says whether several were asked for."""

    name: str
    values: tuple[Any, ...]
    drawn: Drawn | None = None
    swept: bool = True

    @property
    def largest(self) -> Any:
        """The largest of its numbers."""
        return int(self.drawn.high) if self.drawn is not None else max(self.values)


def axis(name: str, given: Any) -> Axis:
    """The axis of `name` as Python or a study file gives it: one value, or a list, range or array of them."""
    parameter = parameter_of(name)
    several = _several(parameter.name, given)
    values = list(given.tolist() if hasattr(given, "tolist") else given) if several else [given]
    values = [value.item() if hasattr(value, "item") else value for value in values]  # NumPy's numbers
    numeric = bool(kinds(parameter.annotation)) or parameter.annotation is bool
    texts = [value for value in values if isinstance(value, str)]
    if numeric and parameter.name not in WITH_COMMAS and texts:
        found = [one for value in values for one in (_read(value, parameter, name) if value in texts else [value])]
        return _made(parameter.name, found, several or len(found) > 1, name)
    return _made(parameter.name, values, several, name)


def axis_in(texts: Sequence[str], name: str) -> Axis:
    """The axis of flag `name` as it was typed, once or repeatedly."""
    parameter = parameter_of(name)
    found = [value for text in texts for value in _read(text, parameter, name)]
    turned = parameter.annotation is bool and _flag(name) != parameter.name.replace("_", "-")
    return _made(parameter.name, [not value for value in found] if turned else found, len(found) > 1, name)


def parameter_of(name: str) -> Parameter:
    """The keyword argument that a flag or key means; RequestError if there is none."""
    known = _flags()
    flag = _flag(name)
    if flag not in known:
        guess = nearest(flag, known)
        hint = f'did you mean "{guess}"?' if guess else "it takes the flags of estimate."
        raise RequestError(f'No flag is called "{name[:40]}"; {hint}')
    return known[flag]


@cache
def _flags() -> dict[str, Parameter]:
    return flags()


def _flag(name: str) -> str:
    return name.removeprefix("--").replace("_", "-")


def _several(name: str, given: Any) -> bool:
    if isinstance(given, tuple):
        return name not in WITH_COMMAS
    if hasattr(given, "tolist"):
        return bool(getattr(given, "ndim", 0))
    return isinstance(given, (list, range))


def _made(name: str, values: list[Any], swept: bool, shown: str) -> Axis:
    use = f"--{_flag(shown)}"
    drawn = [value for value in values if isinstance(value, Drawn)]
    if drawn and len(values) > 1:
        raise RequestError(f"{use}: {drawn[0]} stands alone; it draws its own values.")
    if not values:
        raise RequestError(f"{use} needs at least one value, like {EXAMPLE if name in NUMBERS else 'fp8'}.")
    if len(values) > MOST:
        raise RequestError(f"{use} has more than {MOST:,} values.")
    if drawn:
        return Axis(name, (), drawn[0])
    seen = set()
    for value in values:
        key = (type(value) is bool, repr(value) if isinstance(value, (dict, list)) else value)
        if key in seen:
            raise RequestError(f"{use} has the value {value} twice; each case stands once in the table.")
        seen.add(key)
    return Axis(name, tuple(values), swept=swept)


# ── text → values ────────────────────────────────────────────────────────────────────────────────


def _read(text: str, parameter: Parameter, name: str) -> list[Any]:
    use = f"--{_flag(name)}"
    if not text.strip():
        raise RequestError(f"{use} needs a value; got nothing.")
    if parameter.name in WITH_COMMAS:
        return [typed(text, parameter.annotation, use)]
    numbers = kinds(parameter.annotation)
    if (found := _DRAWN.fullmatch(text.strip())) and numbers:
        return [_drawn(found, numbers[0] is int, use)]
    values: list[Any] = []
    for piece in (piece.strip() for piece in text.split(",")):
        if not piece:
            raise RequestError(f"{use}: {text[:60]!r} has a comma too many.")
        if parameter.annotation is bool:
            values.append(truth(piece, use))
        elif numbers and (ranged := _RANGE.fullmatch(piece)):
            values += _range(ranged, numbers[0] is int, piece, use)
        else:
            values.append(_one(piece, parameter, use))
    return values


def _one(piece: str, parameter: Parameter, use: str) -> Any:
    try:
        value = typed(piece, parameter.annotation, use)
    except RequestError:
        raise RequestError(f"{use}: {piece[:40]!r} is no number; write {EXAMPLE}.") from None
    if isinstance(value, float) and not isfinite(value):
        raise RequestError(f"{use}: {piece[:40]!r} is no number; write {EXAMPLE}.")
    return value


def _range(found: re.Match[str], whole: bool, piece: str, use: str) -> Iterator[Any]:
    low, high = (_decimal(text, piece, use) for text in found.group(1, 2))
    step = (found[3] or "").strip() if found[3] is not None else "+1"
    if step[:1] not in ("x", "+", "*") or not step[1:]:
        raise RequestError(f"{use}: {piece[:60]!r} needs a step, x2 (times two) or +2 (two more); write {EXAMPLE}.")
    by = _decimal(step[1:], piece, use)
    if high > LARGEST:
        raise RequestError(f"{use}: {piece[:60]!r} goes beyond {LARGEST:,}.")
    if not 0 < low <= high or (step[0] == "+" and by <= 0) or (step[0] != "+" and by <= 1):
        raise RequestError(
            f"{use}: {piece[:60]!r} goes nowhere; a range goes up from above 0, by xF with F above 1, or by +D with D "
            f"above 0: {EXAMPLE}."
        )
    return _steps(low, high, by, step[0] == "+", whole, piece, use)


def _steps(
    low: Decimal, high: Decimal, by: Decimal, more: bool, whole: bool, piece: str, use: str
) -> Iterator[int | float]:
    """From `low` up to `high`; whole numbers that a factor makes are rounded, and stand once."""
    at, last, count = low, None, 0
    if whole and any(value % 1 for value in ((low, high, by) if more else (low, high))):
        raise RequestError(f"{use}: {piece[:60]!r} is of whole numbers; write {EXAMPLE}.")
    while at <= high:
        value = round(at) if whole else float(at)
        if value != last:
            yield value
        last, count = value, count + 1
        if count > MOST:
            raise RequestError(f"{use}: {piece[:60]!r} has more than {MOST:,} values.")
        at = at + by if more else at * by


def _drawn(found: re.Match[str], whole: bool, use: str) -> Drawn:
    text = found[0]
    low, high = (_decimal(part, text, use) for part in found.group(2, 3))
    if not 0 < low < high or high > LARGEST or (whole and (low % 1 or high % 1)):
        raise RequestError(
            f"{use}: {text[:60]!r} needs two {'whole ' if whole else ''}numbers above 0, the smaller first, "
            'like "log:128-8192".'
        )
    return Drawn(float(low), float(high), found[1] == "uniform", whole)


def _decimal(text: str, piece: str, use: str) -> Decimal:
    if not re.fullmatch(r"\s*\d+(\.\d+)?([eE][+-]?\d{1,2})?\s*", text):
        raise RequestError(f"{use}: {piece[:60]!r} is no range of numbers; write {EXAMPLE}.")
    return Decimal(text.strip())
