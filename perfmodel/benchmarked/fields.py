"""Fields of a record that anyone may have written: numbers that are numbers, text that is short and printable."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from perfmodel.errors import SpecError

MOST = 1e12


class Fields:
    """The fields of one mapping; errors begin with the file and the path to the field."""

    def __init__(self, data: Any, where: str, path: str = "") -> None:
        self.data: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
        self.where = where
        self.path = path

    def __contains__(self, name: str) -> bool:
        return self.data.get(name) is not None

    def at(self, name: str) -> str:
        """Where a field stands, for an error."""
        return f"{self.where}: {self.path}{name}"

    def part(self, *names: str) -> Fields:
        """The mapping below the first of `names` that there is; an empty one where there is none."""
        name = next((name for name in names if isinstance(self.data.get(name), Mapping)), names[0])
        return Fields(self.data.get(name), self.where, f"{self.path}{name}.")

    def items(self, name: str) -> list[Fields]:
        """The mappings of a list."""
        held = self.data.get(name)
        listed = held if isinstance(held, list) else []
        return [Fields(one, self.where, f"{self.path}{name}[{i}].") for i, one in enumerate(listed)]

    def number(self, *names: str) -> float | None:
        """The first of `names` that there is, above 0; None for 0, which is how tools write what they did not see."""
        name = next((name for name in names if name in self), "")
        if not name:
            return None
        value = self.data[name]
        if isinstance(value, str):
            value = _parsed(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MOST:
            got = str(self.data[name])[:40]
            raise SpecError(f"{self.at(name)}: needs a number from 0 to {MOST:.0e}, like 12.5; got {got!r}.")
        return float(value) or None

    def needed(self, name: str) -> float:
        """A number that must be there."""
        value = self.number(name)
        if value is None:
            raise SpecError(f"{self.at(name)}: is missing or 0; give a result file of a run that came to its end.")
        return value

    def whole(self, *names: str) -> int | None:
        """A count; SpecError where it has a fraction."""
        value = self.number(*names)
        if value is not None and value != int(value):
            raise SpecError(f"{self.at(names[0])}: needs a whole number, like 8; got {value:g}.")
        return None if value is None else int(value)

    def text(self, *names: str) -> str:
        """The first of `names` that is text, of at most 200 printable characters; "" where there is none."""
        found = next((self.data[name] for name in names if isinstance(self.data.get(name), str)), "")
        return "".join(c for c in found[:200] if c.isprintable()).strip()


def _parsed(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None
