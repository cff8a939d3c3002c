"""The page of advice on a deployment: what it does now, and what every change to it brings and costs."""

from __future__ import annotations

from dataclasses import replace

from perfmodel.planning.advising import Advice
from perfmodel.planning.changes import Counterfactual
from perfmodel.report.charts import Spot, pareto, ranked_bars
from perfmodel.report.deployment import assumptions, sources
from perfmodel.report.figure import Card, Figure, Listed, Page, Tabled
from perfmodel.report.words import capital, listed, share
from perfmodel.table import Table
from perfmodel.units import show_rate, show_seconds

SHOWN = 16
"""Changes that bars show."""


def advice_page(answer: Advice, command: str = "") -> Page:
    """The page."""
    changes = Tabled(
        "changes", _table(answer), "The most load for the money first; times at the stated traffic, by theory."
    )
    lists = [assumptions(answer.assumptions)]
    if answer.refused:
        lists.append(Listed("refused", "What cannot be", [f"{one.change}: {one.refusal}" for one in answer.refused]))
    figures = [_carried(answer), _front(answer)] if answer.now.carried > 0 else []
    return replace(
        first_screen(answer),
        figures=figures,
        tables=[changes, sources(answer.estimate.plan)],
        lists=lists,
        command=command,
    )


def first_screen(answer: Advice) -> Page:
    """Whether the goals are met, and the smallest change that would do; nothing else yet."""
    plan, now, d = answer.estimate.plan, answer.now, answer.demand
    title = f"{plan.model.title} on {plan.gpu_count} × {plan.gpu.title}, for {d.load:,.4g} {d.unit}"
    carried = f"It carries {show_rate(now.carried)} {d.unit} within the goals."
    if now.meets:
        headline = f"{carried} Every goal is met."
    elif answer.smallest is not None:
        headline = (
            f"{carried} The smallest change that meets them: {answer.smallest.change} ({answer.smallest.told(now)})."
        )
    else:
        headline = f"{carried} No change that was tried meets them."
    basis = f"Goals: {'; '.join(map(str, answer.goals))}."
    return Page(title, headline, _cards(answer), basis, "Met" if now.meets else "Missed", now.meets)


def _cards(answer: Advice) -> list[Card]:
    now, d = answer.now, answer.demand
    found = [Card("Carried within the goals", show_rate(now.carried), f"{d.unit}; asked for {d.load:,.4g}")]
    for name, title in (("ttft", "TTFT p95"), ("tpot", "TPOT p95")):
        seen = None if now.figures is None else now.figures[f"{name}_p95_s"]
        limit = next((goal for goal in answer.goals if goal.name == f"{name}_p95"), None)
        note = f"goal {show_seconds(limit.limit_s)}" if limit else "no goal"
        found.append(Card(title, "overrun" if seen is None else show_seconds(seen), note))
    best = answer.changes[0] if answer.changes else None
    if best is not None:
        found.append(Card("Most load for the money", best.change, best.told(now)))
    return found


def _moved(answer: Advice) -> list[Counterfactual]:
    return [one for one in answer.changes if one.matters(answer.now)]


def _carried(answer: Advice) -> Figure:
    """What each change carries, for the money that it costs."""
    some = [one for one in _moved(answer) if one.carried > 0][:SHOWN]
    worth = [(one.ratio(answer.now, "carried") or 0.0) / (one.ratio(answer.now, "cost") or 1.0) * 100 for one in some]
    enough = [one.change for one in some if one.meets]
    told = f"These meet the goals: {listed(enough)}." if enough else "None of these meets the goals."
    caption = f"100 % is the deployment as it is. {told if not answer.now.meets else ''}".strip()
    title = "Load within the goals, for the money"
    plot = ranked_bars(title, [one.change for one in some], worth, lambda part: f"{part:.0f} %", " %")
    return Figure("carried", title, caption, [plot])


def _front(answer: Advice) -> Figure:
    """Load against cost."""
    unit = answer.demand.unit
    spots = [
        Spot(
            one.value("cost") or one.value("gpu_count") or 0.0,
            one.carried,
            "as it is" if one is answer.now else "meets the goals" if one.meets else "misses a goal",
            [one.change or "as it is", f"{show_rate(one.carried)} {unit} within the goals", one.told(answer.now)],
        )
        for one in (answer.now, *_moved(answer))
        if one.carried > 0
    ]
    priced = answer.now.value("cost") is not None
    x = "USD a month" if priced else "GPUs"
    title = f"Load within the goals against {x}"
    more = [
        one
        for one in _moved(answer)
        if (one.ratio(answer.now, "carried") or 0) > 1 and (one.ratio(answer.now, "cost") or 9) <= 1
    ]
    told = (
        f"More for no more money: {listed([one.change for one in more])}."
        if more
        else "Nothing brings more for no more money."
    )
    return Figure("front", title, f"Up and to the left is better. {told}", [pareto(title, spots, x, unit)])


def _table(answer: Advice) -> Table:
    rows = [answer.now, *answer.changes]
    return Table(
        {
            "change": [one.change or "as it is" for one in rows],
            "effect": ["" if one is answer.now else capital(one.told(answer.now)) for one in rows],
            f"{answer.demand.unit} within the goals": [show_rate(one.carried) for one in rows],
            "USD a month": ["–" if (cost := one.value("cost")) is None else f"{cost:,.0f}" for one in rows],
            "TTFT p95": [_seen(one, "ttft_p95_s") for one in rows],
            "TPOT p95": [_seen(one, "tpot_p95_s") for one in rows],
            "of the load": [share(min(one.carried / answer.demand.load, 9.99)) for one in rows],
        },
        "Every change",
    )


def _seen(one: Counterfactual, name: str) -> str:
    return "overrun" if one.figures is None else show_seconds(one.figures[name])
