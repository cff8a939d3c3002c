"""Commands as they are put together: only flags that the table knows, quoted for a shell."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from perfmodel.launch.flags import FLAGS, TOOLS, numbers

HEAD, HERE = "address of host 0", "address of this host"
"""Places that the user fills in, or Kubernetes does."""
_BLANK = re.compile(r"<[^<>\n]+>")


@dataclass(frozen=True, slots=True)
class Command:
    """One command line.

    title  what it starts, as "node 0 of 2" or "a prefill worker"; "" where there is but one
    words  flags and their values, each tuple kept on one line; the first is the program
    env    variables that are set for it
    notes  what it cannot say
    """

    title: str
    words: tuple[tuple[str, ...], ...]
    env: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def argv(self) -> list[str]:
        """Every word, as a program gets them."""
        return [word for line in self.words for word in line]

    @property
    def text(self) -> str:
        """For a shell, one flag a line."""
        lines = [" ".join(shlex.quote(word) for word in line) for line in self.words]
        lines[0] = " ".join([*(f"{name}={shlex.quote(value)}" for name, value in self.env), lines[0]])
        return " \\\n  ".join(lines)

    def value(self, flag: str) -> str | None:
        """What follows a flag; "" for one without a value, None where it is not there."""
        return next((" ".join(line[1:]) for line in self.words[1:] if line[0] == flag), None)


@dataclass
class Sheet:
    """A command for one version of a tool, while it is written.

    notes   what a reader must know
    lacks   what of the deployment the command does not do: it starts something else than was modelled
    fields  what goes into a YAML file beside the command
    weights  what the server loads, once that is known
    """

    tool: str
    version: str
    words: list[tuple[str, ...]] = field(default_factory=list)
    env: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    weights: str = ""

    def __post_init__(self) -> None:
        self.words.append(TOOLS[self.tool].command)

    def has(self, flag: str) -> bool:
        """Whether this version has the flag; KeyError for one that no table row vouches for."""
        return FLAGS[self.tool, flag].holds(numbers(self.version))

    def add(self, flag: str, *values: object) -> None:
        """A flag and its values; where this version does not have it, a word that it lacks it."""
        if self.has(flag):
            self.words.append((flag, *(written(value) for value in values)))
        else:
            self.lack(f"{' '.join([flag, *map(written, values)])}, which {self._named} does not have")

    def put(self, key: str, value: object) -> None:
        """A key of the YAML file, dotted where it is nested."""
        if not self.has(key):
            self.lack(f"{key} in its YAML, which {self._named} does not have")
            return
        *above, last = key.split(".")
        place = self.fields
        for name in above:
            place = place.setdefault(name, {})
        place[last] = value

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def lack(self, text: str) -> None:
        if text not in self.lacks:
            self.lacks.append(text)

    def value(self, flag: str) -> str | None:
        """What was written after a flag; None where it was not."""
        return self.command().value(flag)

    @property
    def _named(self) -> str:
        return f"{TOOLS[self.tool].title} {self.version}"

    def command(self, title: str = "") -> Command:
        return Command(title, tuple(self.words), tuple(self.env), tuple(self.notes))


def titled(role: str, rank: int, count: int) -> str:
    """What a command starts, where there are several: "a prefill worker, host 0 of 2"."""
    return ", ".join([*([f"a {role} worker"] if role else []), *([f"host {rank} of {count}"] if count > 1 else [])])


def written(value: object) -> str:
    """A value as a command line takes it: JSON of a mapping, no trailing zeros of a number."""
    if isinstance(value, Mapping):
        return json.dumps(value, separators=(",", ":"))
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def blank(what: str) -> str:
    """A place that the user must fill in; it cannot be mistaken for a name, and a shell gets it in quotes."""
    return f"<{what}>"


def blanks(texts: Sequence[str]) -> tuple[str, ...]:
    """The places of some texts that are still to be filled in, each once."""
    return tuple(dict.fromkeys(found for text in texts for found in _BLANK.findall(text)))
