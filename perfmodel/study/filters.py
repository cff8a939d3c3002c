"""What a sweep keeps of its rows: conditions such as "ttft_ms<500" or "gpu=h100"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from perfmodel.errors import RequestError
from perfmodel.study.coded import Coded
from perfmodel.study.columns import TEXT, TRUTH, Column, column

_CONDITION = re.compile(r"\s*([A-Za-z_][\w-]*)\s*(<=|>=|!=|==|=|<|>)\s*(.+?)\s*")
EXAMPLE = '"ttft_ms<500" or "gpu=h100"'


@dataclass(frozen=True)
class Condition:
    """One comparison of a column with a number or a word."""

    text: str
    column: Column
    sign: str
    value: float | str

    def holds(self, columns: Mapping[str, Any]) -> Any:
        """A truth for each row; false where the column has no value."""
        values = columns[self.column.name]
        if isinstance(values, Coded):
            same = values.equal(str(self.value))
            return same if self.sign == "=" else ~same
        own, wanted = self.column.of(columns), self.value
        match self.sign:
            case "<":
                return own < wanted
            case "<=":
                return own <= wanted
            case ">":
                return own > wanted
            case ">=":
                return own >= wanted
            case "=":
                return own == wanted
            case _:
                return (own != wanted) & (own == own)


def condition(text: str, kinds: Mapping[str, str]) -> Condition:
    """The condition that `text` says, of columns of these kinds; RequestError in one sentence if it says none."""
    use = f"--where {text[:60]}"
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise RequestError(f"{use}: needs a column, a comparison and a value, like {EXAMPLE}.")
    name, sign, value = found.groups()
    sign = "=" if sign == "==" else sign
    asked = column(name, kinds, use)
    kind = kinds[asked.name]
    if kind == TEXT:
        if sign not in ("=", "!="):
            raise RequestError(f"{use}: {asked.name} is a word; compare it by = or !=, like gpu=h100.")
        return Condition(text, asked, sign, value)
    if kind == TRUTH:
        words = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
        if value.lower() not in words or sign not in ("=", "!="):
            raise RequestError(f"{use}: {asked.name} is true or false, like {asked.name}=true.")
        return Condition(text, asked, sign, words[value.lower()])
    try:
        return Condition(text, asked, sign, float(value))
    except ValueError:
        raise RequestError(f"{use}: {asked.asked} is a number, like {EXAMPLE}; got {value[:40]!r}.") from None


def conditions(texts: Iterable[str], kinds: Mapping[str, str]) -> tuple[Condition, ...]:
    """All of them."""
    return tuple(condition(text, kinds) for text in texts)
