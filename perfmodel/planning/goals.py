"""What users are promised: limits on TTFT, TPOT and end-to-end time at percentiles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from perfmodel.errors import RequestError
from perfmodel.spec import nearest
from perfmodel.units import show_seconds

FIGURES = {"ttft": "TTFT", "tpot": "TPOT", "e2e": "E2E"}
PERCENTILES = {"mean": 0, "p50": 50, "p95": 95, "p99": 99}
USUAL = "p95"
_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0}
_EXAMPLE = '"ttft p95 < 500 ms"'
LONGEST = 86_400.0


@dataclass(frozen=True, slots=True)
class Goal:
    """`figure` ("ttft", "tpot" or "e2e") of requests at `percentile` (0: the mean) is at most `limit_s` seconds."""

    figure: str
    percentile: int
    limit_s: float

    @property
    def name(self) -> str:
        """As a key: "ttft_p95"."""
        return f"{self.figure}_{f'p{self.percentile}' if self.percentile else 'mean'}"

    @property
    def title(self) -> str:
        """As a person says it: "TTFT p95"."""
        return f"{FIGURES[self.figure]} {f'p{self.percentile}' if self.percentile else 'mean'}"

    def __str__(self) -> str:
        return f"{self.title} < {show_seconds(self.limit_s)}"


_FORM = re.compile(
    r"\s*([a-zA-Z0-9]+?)(?:[\s_@-]*(mean|p\d+))?\s*(?:<=|<|=|≤|:)\s*(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([a-zA-Zµ]*)\s*"
)


def goal(text: str) -> Goal:
    """The goal that `text` states; RequestError in one sentence where it states none."""
    match = _FORM.fullmatch(str(text))
    if match is None:
        raise RequestError(
            f"--goal must be a figure, a percentile and a time, like {_EXAMPLE}; got {str(text)[:60]!r}."
        )
    figure, percentile, number, unit = match[1].lower(), (match[2] or USUAL).lower(), match[3], match[4]
    if figure not in FIGURES:
        guess = nearest(figure, FIGURES)
        hint = f"did you mean {guess}?" if guess else f"known: {', '.join(FIGURES)}"
        raise RequestError(f'--goal {text}: no figure is called "{match[1][:40]}"; {hint}')
    if percentile not in PERCENTILES:
        raise RequestError(f"--goal {text}: the percentile must be {', '.join(PERCENTILES)}; got {percentile}.")
    if unit not in _SECONDS:
        raise RequestError(
            f'--goal {text}: the time needs a unit, s, ms or min, like {_EXAMPLE}; got "{number}{unit}".'
        )
    return checked(Goal(figure, PERCENTILES[percentile], float(number) * _SECONDS[unit]), f"--goal {text}")


def checked(one: Goal, where: str) -> Goal:
    """`one`, or RequestError where its limit cannot be meant."""
    if not 0 < one.limit_s <= LONGEST:
        raise RequestError(f"{where}: the limit must be above 0 s and at most a day; got {one.limit_s:g} s.")
    return one


def goals(given: Iterable[str | Goal] | Mapping[str, float | str] | None, **usual: object) -> tuple[Goal, ...]:
    """Goals of texts, or of names and seconds ({"ttft_p95": 0.5}); `usual` are figures at 95 %, like ttft="500 ms".

    RequestError where one is stated twice.
    """
    found: list[Goal] = []
    for name, value in usual.items():
        if value is not None:
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            found.append(goal(f"{name} {USUAL} < {value:g} s" if number else f"{name} {USUAL} < {value}"))
    if isinstance(given, Mapping):
        given = [
            f"{name} < {value:g} s" if isinstance(value, (int, float)) else f"{name} < {value}"
            for name, value in given.items()
        ]
    elif isinstance(given, (str, Goal)):
        given = [given]
    found += [one if isinstance(one, Goal) else goal(one) for one in given or ()]
    for i, one in enumerate(found):
        if any(one.name == other.name for other in found[:i]):
            raise RequestError(f"{one.title} has two goals; give one of them.")
    return tuple(found)


USUAL_GOALS = {"ttft": "2 s", "tpot": "100 ms"}
"""Goals at p95 where none is given: a screen that answers at once, and text faster than it is read."""


def goals_or_usual(
    given: Iterable[str | Goal] | Mapping[str, float | str] | None, **usual: object
) -> tuple[tuple[Goal, ...], bool]:
    """`goals`, and whether USUAL_GOALS had to be assumed, for none was given."""
    found = goals(given, **usual)
    return (found, False) if found else (goals(None, **USUAL_GOALS), True)
