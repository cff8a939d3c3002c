"""How advice on a deployment looks in a terminal. Formats numbers, computes none."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from perfmodel.cli.screen import bold, width, wrapped
from perfmodel.planning.advising import Advice
from perfmodel.planning.changes import Counterfactual
from perfmodel.planning.goals import FIGURES
from perfmodel.units import show_rate, show_seconds

SHOWN = 12
"""Changes that a screen shows."""


def advice_screen(answer: Advice) -> str:
    """A deployment as it is, the smallest change that meets its goals, and others by what they are worth."""
    plan, now, d = answer.estimate.plan, answer.now, answer.demand
    load = f"{d.load:,.4g} {d.unit}"
    load += "" if answer.stated else ", as much as it carries (give --rate for yours)"
    parts = [
        bold(f"{plan.model.title} on {plan.gpu_count} × {plan.gpu.title}"),
        wrapped("Deployment", answer.estimate.assumptions[0]),
        wrapped("Traffic", f"{load}; prompts {d.prompts}, outputs {d.outputs}"),
        wrapped("Goals", "; ".join(map(str, answer.goals))),
        wrapped("Now", _now(answer)),
    ]
    if answer.smallest is not None:
        parts.append(wrapped("Smallest", f"{answer.smallest.change}: {answer.smallest.told(now)}; it meets the goals"))
    elif not now.meets:
        parts.append(
            wrapped("Smallest", "no change that was tried meets the goals; perfmodel plan looks at all others")
        )
    return "\n".join([*parts, "", *_changes(answer)])


def _changes(answer: Advice) -> Iterator[str]:
    idle = [one for one in answer.changes if not one.matters(answer.now)]
    yield bold("Changes, the most load for the money first")
    for one in [one for one in answer.changes if one not in idle][:SHOWN]:
        yield _item(one, answer)
    if idle:
        yield wrapped("No effect", ", ".join(one.change for one in idle))
    for i, one in enumerate(answer.refused[:4]):
        yield wrapped("Impossible" if i == 0 else "", f"- {one.change}: {one.refusal}")


def _item(one: Counterfactual, answer: Advice) -> str:
    text = f"{one.change}: {one.told(answer.now)}"
    text += "; meets the goals" if one.meets and not answer.now.meets else ""
    return textwrap.fill(text, width(), initial_indent="  - ", subsequent_indent="    ")


def _now(answer: Advice) -> str:
    now = answer.now
    carried = f"carries {show_rate(now.carried)} {answer.demand.unit} within the goals"
    if now.figures is None:
        return f"{carried}: overrun by this traffic"
    seen = ", ".join(f"{title} p95 {show_seconds(now.figures[f'{name}_p95_s'])}" for name, title in FIGURES.items())
    return f"{carried}; {seen}: {'every goal is met' if now.meets else 'a goal is missed'}"
