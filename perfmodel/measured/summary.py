"""The whole in words and in a few numbers: what the first screen of a page says."""

from __future__ import annotations

from collections.abc import Sequence

from perfmodel.measured.scores import Point, honest, score, shapes
from perfmodel.report.figure import Card
from perfmodel.report.words import listed, many
from perfmodel.score import Score
from perfmodel.table import percent

WHOLE = {
    "prefill": "the time to the first token",
    "decode": "the time per token",
    "memory": "peak memory",
}
"""Groups of figures of a whole run → what a sentence calls them."""


def cards(points: Sequence[Point]) -> list[Card]:
    """Errors of prefill, decode, memory and kernels, and what was measured; "–" where nothing was."""
    found = [_card(label, _of(points, group)) for label, group in (("Prefill", "prefill"), ("Decode", "decode"))]
    found.append(_card("Memory", _of(points, "memory")))
    if kernels := [p for p in points if p.of.kind == "kernels"]:
        found.append(_kernels(kernels))
    models = {p.column("model") for p in points} - {""}
    of = f"of {many(len(models), 'model')}" if models else "of kernels"
    on = many(len({p.of.device.name for p in points}), "device")
    found.append(Card("Shapes", f"{shapes(points):,}", f"{of} on {on}, {many(len(points), 'measurement')}"))
    return found


def headline(points: Sequence[Point]) -> str:
    """One sentence: where, and how far off."""
    told = [_clause(name, _of(points, group)) for group, name in WHOLE.items()]
    kernels = [p for p in points if p.of.kind == "kernels"]
    told.append(_clause("the time of a kernel", score(honest(kernels))))
    said = [clause for clause in told if clause]
    where = listed(list(dict.fromkeys(p.of.device.name for p in points)))
    if not said:
        return f"{many(len(points), 'measurement')} on {where}, none of them predicted."
    return f"The median error of perfmodel on {where} is {listed(said)}."


def basis(points: Sequence[Point]) -> str:
    """Which measurements the errors are of, and how often the intervals hold."""
    scored = [p for p in points if p.one.error is not None]
    unseen = [p for p in scored if not p.one.used_in_fit]
    held = percent(score(unseen or scored).coverage80) or "none"
    if not scored:
        return "Nothing was predicted beside these measurements."
    if not unseen:
        return f"All of these were used in a fit, so that others may be farther off. The 80 % intervals hold {held}."
    others = len(scored) - len(unseen)
    apart = f"; {others:,} more that a fit has used are told apart" if others else ""
    which = f"Errors are of {len(unseen):,} measurements that no fit has used{apart}."
    return f"{which} The 80 % intervals hold {held} of them."


def _of(points: Sequence[Point], group: str) -> Score:
    return score(honest([p for p in points if p.column("group") == group]))


def _clause(name: str, found: Score) -> str:
    return "" if found.median_ape is None else f"{percent(found.median_ape)} for {name}"


def _kernels(points: Sequence[Point]) -> Card:
    """Of kernels that were predicted; of most there are only those that constants were fitted to."""
    judged = [p for p in points if p.one.predicted is not None]
    card = _card("Kernels", score(honest(judged or points)))
    fitted = bool(judged) and all(p.one.used_in_fit for p in judged)
    return card._replace(note=f"{card.note}; as fitted to these" if fitted else card.note)


def _card(label: str, found: Score) -> Card:
    if found.median_ape is None:
        return Card(label, "–", "not measured" if not found.n else "not predicted")
    return Card(label, percent(found.median_ape), f"median error; nine of ten within {percent(found.p90_ape)}")
