"""The page of a capacity plan, also of one whose goals nothing meets."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

from perfmodel.frontier import frontier
from perfmodel.planning.answer import Plan
from perfmodel.planning.goals import FIGURES, PERCENTILES, Goal
from perfmodel.planning.grown import FACTORS, grown
from perfmodel.planning.option import Option
from perfmodel.planning.robust import SWING, Chance
from perfmodel.report.charts import Spot, Swing, pareto, probability_steps, ranked_bars, tornado
from perfmodel.report.deployment import assumptions, sources
from perfmodel.report.figure import Axis, Card, Command, Figure, Listed, Looked, Page, Tabled, WhatIf
from perfmodel.report.sliders import PRICES
from perfmodel.report.words import capital, factor, listed, many, share
from perfmodel.table import Table
from perfmodel.units import show_rate, show_seconds

CERTAIN = 0.99
"""A chance above which none is told: a model may err in what no interval knows."""


def plan_page(plan: Plan, command: str = "") -> Page:
    """The page."""
    first, best = first_screen(plan), plan.best
    lists = [assumptions(plan.assumptions)]
    if plan.searched.refused:
        lists.append(Listed("refused", "What was left out", plan.searched.refused))
    if best is None:
        return replace(first, tables=_nearest(plan), lists=lists, command=command)
    figures = [_goals(plan, best), _front(plan), _chances(plan, best), _headroom(plan), _swings(plan, best)]
    return replace(
        first,
        commands=_commands(plan),
        what_if=_what_if(plan, best),
        figures=[figure for figure in figures if figure is not None],
        tables=[_deployments(plan, best), sources(best.plan)],
        lists=lists,
        command=command,
    )


def first_screen(plan: Plan) -> Page:
    """The answer in words and four numbers, and nothing else yet."""
    load, best = f"{plan.demand.load:,.4g} {plan.demand.unit}", plan.best
    title = f"{plan.space.model.title} for {load}"
    basis = f"Goals: {'; '.join(map(str, plan.goals))}. {plan.searched.tried:,} deployments searched."
    if best is None:
        why = "No deployment that was searched meets the goals within the constraints."
        relax = [f"{capital(line)}." for line in plan.relaxations]
        return Page(title, why, [], basis, "Not met", False, relax, "What would work")
    what = f"{many(best.gpu_count, 'GPU')} of {best.structure.plan.gpu.title}"
    cost = "" if best.usd_per_month is None else f" for {best.usd_per_month:,.0f} USD a month"
    sure = f" {_sure(plan, best)}" if plan.chances else ""
    return Page(
        title, f"{what} ({best.title}){cost} serve {load} within the goals.{sure}", _cards(plan, best), basis, "Met"
    )


def _sure(plan: Plan, best: Option) -> str:
    """How sure that is, and how many devices would be safe."""
    own = next((one for one in plan.chances if one.gpu_count == best.gpu_count), None)
    told = f"They do with a probability of {_percent(own)}" if own else "How sure that is, is not known"
    safe = plan.safe
    return f"{told}; {safe.gpu_count} would be safe." if safe and safe.gpu_count > best.gpu_count else f"{told}."


def _percent(chance: Chance) -> str:
    return f"over {share(CERTAIN)}" if chance.probability > CERTAIN else share(chance.probability)


def _cards(plan: Plan, best: Option) -> list[Card]:
    found = [Card("GPUs", f"{best.gpu_count:,}", best.told)]
    if best.usd_per_month is not None:
        each = plan.usd_per_million_tokens(best)
        note = f"{show_rate(each)} USD for a million tokens out" if each is not None else "all devices all month"
        found.append(Card("Cost a month", f"{best.usd_per_month:,.0f} USD", note))
    tightest = max(plan.goals, key=lambda goal: _seen(best, goal) / goal.limit_s)
    limit = f"goal {show_seconds(tightest.limit_s)}; simulated"
    found.append(Card(tightest.title, show_seconds(_seen(best, tightest)), limit))
    first = next(iter(plan.breaks), None)
    if first is not None and isfinite(first[1]):
        found.append(Card("Room for traffic", f"×{first[1]:.2f}", f"until {plan.ending(first[0])}"))
    return found


def _seen(option: Option, goal: Goal) -> float:
    return option.seen[f"{goal.name}_s"]


# ── figures ──────────────────────────────────────────────────────────────────────────────────────


def _goals(plan: Plan, best: Option) -> Figure:
    """What requests see, as parts of what is promised."""
    names = [str(goal) for goal in plan.goals]
    parts = [100 * _seen(best, goal) / goal.limit_s for goal in plan.goals]
    plot = ranked_bars("Simulated, of the limit", names, parts, lambda part: f"{part:.0f} %", " %")
    line = {"type": "line", "x0": 100, "x1": 100, "y0": 0, "y1": 1, "yref": "paper", "line": {"dash": "dot"}}
    plot = plot._replace(layout=plot.layout | {"shapes": [line]})
    tightest = names[parts.index(max(parts))]
    columns: dict[str, list[str]] = {"simulated": list(FIGURES.values())}
    for name in PERCENTILES:
        columns[name] = [show_seconds(best.seen[f"{figure}_{name}_s"]) for figure in FIGURES]
    taken = share(max(parts) / 100)
    caption = f"The tightest goal is {tightest}, of whose limit {taken} are taken; the dotted line is the limit."
    return Figure("goals", "What requests see, against the goals", caption, [plot], Table(columns))


def _front(plan: Plan) -> Figure | None:
    """Cost against end-to-end time of what nothing beats."""
    options = [*([plan.best] if plan.best else []), *plan.front, *plan.others]
    if not plan.front:
        return None
    on = frontier([(option.point.e2e_s, option.point.cost) for option in options])
    spots = []
    for i, option in enumerate(options):
        front = "front" if i in on else ""
        name = "this plan" if i == 0 and plan.best else option.plan.gpu.name
        told = [option.title, f"{many(option.gpu_count, 'GPU')}", f"end to end {show_seconds(option.point.e2e_s)}"]
        if option.usd_per_month is not None:
            told.append(f"{option.usd_per_month:,.0f} USD a month")
        spots.append(Spot(option.point.e2e_s, option.point.cost, name, told, front))
    what = {"cost": "USD a month", "gpus": "GPUs", "power": "watts"}[plan.constraints.objective]
    title = f"{what} against end-to-end time"
    fast, cheap = (min(plan.front, key=key) for key in (lambda o: o.point.e2e_s, lambda o: o.point.cost))
    many_of = many(len(plan.front), "deployment")
    caption = (
        f"Down and to the left is better; on the line none is cheaper and faster. {many_of} are beaten by "
        f"none in cost, time and load a GPU: the fastest is {fast.title} ({show_seconds(fast.point.e2e_s)}), the "
        f"cheapest {cheap.title} ({show_rate(cheap.point.cost)} {what}). By theory; the plan itself was simulated too."
    )
    return Figure("front", title, caption, [pareto(title, spots, "mean end-to-end time", what, ("s", ""))])


def _chances(plan: Plan, best: Option) -> Figure | None:
    """How many devices are enough, with which probability."""
    if not plan.chances:
        return None
    found = {one.gpu_count: one.probability for one in plan.chances}
    title = "How many GPUs are enough"
    plot = probability_steps(title, {best.plan.gpu.name: found}, "GPUs", "probability that every goal is kept")
    told = listed([f"{one.gpu_count} with {_percent(one)}" for one in plan.chances[:6]])
    table = Table({"GPUs": list(found), "probability": [_percent(one) for one in plan.chances]})
    caption = f"Times err by up to their interval, and so does the answer: {told}."
    return Figure("chances", title, caption, [plot], table)


def _headroom(plan: Plan) -> Figure | None:
    """By how much traffic may grow until each goal breaks."""
    breaks = [(name, end) for name, end in plan.breaks if isfinite(end)]
    if not breaks:
        return None
    names = [plan.ending(name) for name, _ in breaks]
    title = "What breaks first if traffic grows"
    plot = ranked_bars(title, names, [end for _, end in breaks], lambda end: f"at {end:.2f} times the traffic", "×")
    caption = f"{capital(names[0])} first, at {factor(breaks[0][1])} the traffic that is planned for."
    return Figure("headroom", title, caption, [plot])


def _swings(plan: Plan, best: Option) -> Figure | None:
    """A tornado of the devices that are needed."""
    moved = [swing for swing in plan.swings if isfinite(swing.fewer) and isfinite(swing.more)]
    if not moved:
        return None
    ends = (f"{share(SWING)} less", f"{share(SWING)} more")
    swings = [
        Swing(
            one.title,
            one.fewer,
            one.more,
            (f"{one.title} {ends[0]}: {one.fewer:.3g} GPUs", f"{one.title} {ends[1]}: {one.more:.3g} GPUs"),
        )
        for one in moved
    ]
    title = "Which input moves the answer"
    most = max(moved, key=lambda one: one.wide)
    columns = {
        "input": [one.title for one in plan.swings],
        ends[0]: [_need(one.fewer) for one in plan.swings],
        ends[1]: [_need(one.more) for one in plan.swings],
        "then the cheapest is": [" or ".join(dict.fromkeys(one.answers)) for one in plan.swings],
    }
    caption = (
        f"GPUs that would be needed, as real numbers ({best.need:.3g} as it is), with each input {ends[0]} and "
        f"{ends[1]}: {most.title} moves it most, from {most.fewer:.3g} to {most.more:.3g}."
    )
    return Figure("sensitivity", title, caption, [tornado(title, swings, best.need, "GPUs needed")], Table(columns))


def _need(devices: float) -> str:
    return f"{devices:.3g}" if isfinite(devices) else "none do"


# ── tables, sliders, commands ────────────────────────────────────────────────────────────────────


def _deployments(plan: Plan, best: Option) -> Tabled:
    """The plan, the cheapest of other devices, and the front."""
    named = [
        ("this plan", best),
        *(("other device", one) for one in plan.others),
        *(("front", one) for one in plan.front),
    ]
    columns = {
        "": [name for name, _ in named],
        "deployment": [one.title for _, one in named],
        "GPUs": [one.gpu_count for _, one in named],
        "replicas": [one.replicas for _, one in named],
        "USD a month": ["–" if one.usd_per_month is None else f"{one.usd_per_month:,.0f}" for _, one in named],
        "used": [share(1 / one.headroom) for _, one in named],
    }
    for figure, title in FIGURES.items():
        columns[f"{title} p95"] = [show_seconds(one.figures[f"{figure}_p95_s"]) for _, one in named]
    return Tabled("deployments", Table(columns, "Deployments"), "Times by theory, at the traffic that is planned for.")


def _nearest(plan: Plan) -> list[Tabled]:
    """What comes nearest to the goals, where nothing meets them."""
    if not plan.misses:
        return []
    columns: dict[str, list[str]] = {"deployment": [miss.title for miss in plan.misses]}
    columns["reached"] = [
        ", ".join(f"{name} {show_seconds(seconds)}" for name, seconds, _ in miss.reached) for miss in plan.misses
    ]
    columns["USD a month"] = ["–" if miss.cost is None else f"{miss.cost:,.0f}" for miss in plan.misses]
    return [Tabled("nearest", Table(columns, "The nearest misses"), "What comes nearest to the goals.")]


def _what_if(plan: Plan, best: Option) -> WhatIf:
    """Other traffic for the same kind of deployment, and other prices of it."""
    found = grown(best)
    traffic = [f"{part * plan.demand.load:,.4g}" for part, _ in found]
    axes = [Axis("traffic", f"Traffic ({plan.demand.unit})", traffic, FACTORS.index(1.0))]
    options = [option for _, option in found]
    counts = ["–" if option is None else f"{option.gpu_count:,}" for option in options]
    numbers = [
        Looked("GPUs", (0,), counts, [best.title] * len(options)),
        _figure("TTFT p95", options, "ttft_p95_s"),
        _figure("TPOT p95", options, "tpot_p95_s"),
    ]
    price = best.structure.price
    if price:
        axes.append(
            Axis("price", "USD per GPU and hour", [f"{price * part:.3g}" for part in PRICES], PRICES.index(1.0))
        )
        months = [None if option is None else option.usd_per_month for option in options]
        costs = ["–" if month is None else f"{month * part:,.0f} USD" for month in months for part in PRICES]
        numbers.append(Looked("Cost a month", (0, 1), costs, ["all devices, all month"] * len(costs)))
    good = [option is not None for option in options]
    told = [
        f"The goals are kept with {n} GPUs, by theory." if ok else "No number keeps the goals."
        for n, ok in zip(counts, good, strict=True)
    ]
    caption = (
        "Precomputed: the fewest GPUs of this kind that keep every goal, spare ones included; at other traffic or "
        "prices another kind may be cheaper. The sliders snap to what was computed; by keyboard: Tab to a slider, then "
        "the arrow keys."
    )
    return WhatIf(caption, axes, numbers, Looked("", (0,), told, ()), good)


def _figure(label: str, options: list[Option | None], name: str) -> Looked:
    shown = ["–" if option is None else show_seconds(option.figures[name]) for option in options]
    return Looked(label, (0,), shown, ["by theory"] * len(options))


def _commands(plan: Plan) -> list[Command]:
    """What starts it, and what tests it."""
    if plan.launch is None:
        return []
    told, tests = plan.launch
    server = [Command(f"Start: {one.title or plan.launch[0].served}", one.text) for one in told.server]
    return [*server, *(Command(f"Load test: {name}", one.text) for name, one in tests.items())]
