"""How a plan looks in a terminal. Formats numbers, computes none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perfmodel.cli.launched import comment
from perfmodel.cli.screen import bold, narrowed, wrapped
from perfmodel.planning.answer import Plan
from perfmodel.planning.goals import FIGURES, PERCENTILES, Goal
from perfmodel.planning.option import Option
from perfmodel.planning.prices import HOURS
from perfmodel.planning.robust import SWING, Chance
from perfmodel.units import show_rate, show_seconds

FRONT = 8
"""Deployments of the front that a screen shows."""


def plan_screen(plan: Plan) -> str:
    """The whole answer on one screen."""
    parts = [
        bold(_title(plan)),
        wrapped("Demand", _demand(plan)),
        wrapped("Goals", "; ".join(map(str, plan.goals)) + _spares(plan)),
    ]
    parts += _met(plan, plan.best) if plan.best is not None else _missed(plan)
    parts += [*_run(plan)]
    parts += [
        "",
        wrapped("Searched", _searched(plan)),
        *(wrapped("Assumes" if i == 0 else "", f"- {line}") for i, line in enumerate(plan.assumptions)),
        *(wrapped("Left out" if i == 0 else "", f"- {line}") for i, line in enumerate(plan.searched.refused[:4])),
    ]
    return "\n".join(parts)


def _title(plan: Plan) -> str:
    load = f"{plan.space.model.title} for {_load(plan)}"
    if plan.best is None:
        return f"{load}: nothing meets the goals"
    return f"{load}: {plan.best.gpu_count:,} × {plan.best.structure.plan.gpu.title}{_money(plan.best)}"


def _load(plan: Plan) -> str:
    return f"{plan.demand.load:,.4g} {plan.demand.unit}"


def _money(option: Option) -> str:
    return "" if option.usd_per_month is None else f", {option.usd_per_month:,.0f} USD a month"


def _demand(plan: Plan) -> str:
    d = plan.demand
    text = f"{d.now:,.4g} {d.unit}"
    if d.interactive:
        text += f" who think {show_seconds(d.think_s)} between answer and request"
    if d.peak != 1:
        text += f", {d.peak:.3g} times as many at the busiest"
    if d.growth and d.months:
        text += f", {d.growth:+.1%} a month over {d.months:g} months"
    if d.factor != 1:
        text += f": {_load(plan)} to plan for"
    return f"{text}; prompts {d.prompts}, outputs {d.outputs}"


def _spares(plan: Plan) -> str:
    n = plan.constraints.spare
    return f"; with {n} replica{'s' * (n > 1)} of each kind out of service (N+{n})" if n else ""


def _met(plan: Plan, best: Option) -> list[str]:
    return [
        wrapped("Deployment", best.told),
        wrapped("", _settings(best)),
        "",
        _seen(plan, best),
        "",
        wrapped("Headroom", _headroom(plan)),
        wrapped("Cost", _cost(plan, best)),
        wrapped("Sure", _sure(plan)),
        "",
        *_swings(plan),
        *_table("The cheapest of other devices, as simulated", plan.others, plan),
        *_table("Pareto front of cost, end-to-end time and load per GPU, by theory", plan.front[:FRONT], plan),
    ]


def _settings(best: Option) -> str:
    one = best.plan
    engine = one.engine
    parts = [f"weights {one.precision.weights.name}", f"KV cache {one.precision.kv.name}", engine.title or engine.name]
    if engine.sequences_limit:
        parts.append(f"at most {engine.sequences_limit:,} sequences")
    parts.append(f"{engine.token_budget:,} tokens a pass")
    if one.speculation is not None:
        parts.append("speculation")
    return ", ".join(parts)


def _seen(plan: Plan, best: Option) -> str:
    """What requests see in the simulation, beside the goals and what theory says."""
    columns: dict[str, list[str]] = {"simulated": [FIGURES[figure] for figure in FIGURES]}
    for name in PERCENTILES:
        columns[name] = [show_seconds(best.seen[f"{figure}_{name}_s"]) for figure in FIGURES]
    columns["goal"] = ["; ".join(_short(g) for g in plan.goals if g.figure == figure) for figure in FIGURES]
    columns["theory, p95"] = [show_seconds(best.figures[f"{figure}_p95_s"]) for figure in FIGURES]
    return narrowed(columns, ("theory, p95",))


def _short(goal: Goal) -> str:
    return f"{goal.title.split(' ', 1)[1]} < {show_seconds(goal.limit_s)}"


def _headroom(plan: Plan) -> str:
    first, *later = plan.breaks[:3] or [("", float("inf"))]
    if first[1] == float("inf"):
        return "no load that was looked at misses a goal"
    text = f"{1 / first[1]:.0%} of what it carries; "
    text += f"traffic may be {first[1]:.2f} times as much until {plan.ending(first[0])}"
    if later:
        text += "; " + ", ".join(f"{plan.ending(name)} at {factor:.2f} times" for name, factor in later)
    return text


def _cost(plan: Plan, best: Option) -> str:
    parts = []
    if best.usd_per_month is not None:
        each = plan.usd_per_million_tokens(best)
        parts.append(f"{best.usd_per_month:,.0f} USD a month, {each:.3g} USD per million output tokens at today's mean")
    if best.watts is not None:
        month = best.watts / 1e3 * HOURS
        parts.append(f"at most {best.watts / 1e3:,.1f} kW of boards, {month:,.0f} kWh a month")
    return "; ".join(parts) or "no price on file"


def _sure(plan: Plan) -> str:
    best = plan.best
    assert best is not None
    own = next((c for c in plan.chances if c.gpu_count == best.gpu_count), None)
    told = ", ".join(f"{c.gpu_count} GPUs {_percent(c)}" for c in plan.chances[:8])
    text = f"{best.gpu_count} GPUs keep the goals with {_percent(own)} probability" if own else ""
    if plan.safe is not None and own is not None and plan.safe.gpu_count > own.gpu_count:
        text += f", {plan.safe.gpu_count} to be safe"
    return f"{text}: times err by up to their interval ({told})"


def _percent(chance: Chance) -> str:
    return f"{min(chance.probability, 0.99):.0%}"


def _swings(plan: Plan) -> list[str]:
    if not plan.swings:
        return []
    best = plan.best
    assert best is not None
    columns: dict[str, list[Any]] = {
        f"GPUs needed ({best.need:.3g}) if": [swing.title for swing in plan.swings],
        f"{-SWING:.0%}": [_need(swing.fewer) for swing in plan.swings],
        f"{SWING:+.0%}": [_need(swing.more) for swing in plan.swings],
        "then the answer is": [_answers(swing.answers, best.title) for swing in plan.swings],
    }
    return [narrowed(columns, ("then the answer is",)), ""]


def _need(devices: float) -> str:
    return "none do" if devices == float("inf") else f"{devices:.3g}"


def _answers(answers: tuple[str, str], title: str) -> str:
    if answers == (title, title):
        return "the same"
    told = [f"{sign} {answer}" for sign, answer in zip(("-:", "+:"), answers, strict=True) if answer != title]
    return "; ".join(told)


def _table(title: str, options: Sequence[Option], plan: Plan) -> list[str]:
    if not options:
        return []
    columns: dict[str, list[Any]] = {
        "": [option.title for option in options],
        "GPUs": [str(option.gpu_count) for option in options],
        "USD/month": ["" if o.usd_per_month is None else f"{o.usd_per_month:,.0f}" for o in options],
        "TTFT p95": [show_seconds(option.figures["ttft_p95_s"]) for option in options],
        "TPOT p95": [show_seconds(option.figures["tpot_p95_s"]) for option in options],
        "E2E mean": [show_seconds(option.point.e2e_s) for option in options],
        f"{plan.demand.unit} a GPU": [show_rate(option.point.per_gpu) for option in options],
    }
    return [bold(title), narrowed(columns, ("TPOT p95", "TTFT p95")), ""]


def _run(plan: Plan) -> list[str]:
    """The commands of the server, and one load test."""
    if plan.launch is None:
        return []
    told, tests = plan.launch
    lines = [bold("Run it (perfmodel plan --kubernetes for a manifest, --json for other load tests)")]
    lines += [wrapped("Fill in", ", ".join(told.placeholders))] if told.placeholders else []
    lines += [wrapped("Differs", text) for text in told.lacks]
    for command in told.server:
        lines += [comment(f"{command.title}:") if command.title else "", command.text]
    for command in list(tests.values())[:1]:
        lines += ["", comment(f"A load test with {command.title}:"), command.text]
    return lines


def _missed(plan: Plan) -> list[str]:
    parts = []
    for i, miss in enumerate(plan.misses):
        reached = ", ".join(
            f"{name.replace('_', ' ')} {show_seconds(seconds)} (goal {show_seconds(limit)})"
            for name, seconds, limit in miss.reached
        )
        cost = "" if miss.cost is None else f", {miss.cost:,.0f} USD a month"
        parts.append(wrapped("Nearest" if i == 0 else "", f"- {miss.title}: {reached}{cost}"))
    for i, line in enumerate(plan.relaxations):
        parts.append(wrapped("Would do" if i == 0 else "", f"- {line}"))
    if not plan.misses and not plan.searched.unfit:
        parts.append(wrapped("Nearest", "nothing could be tried; see what was left out"))
    elif not plan.misses:
        parts.append(
            wrapped("Would do", "- more devices a replica (--gpus-per-replica 16,32), or fewer bits (--weights int4)")
        )
    return parts


def _searched(plan: Plan) -> str:
    found = plan.searched
    text = (
        f"{found.tried:,} deployments; {len(found.options):,} structures meet the goals, {len(found.failed):,} miss one"
    )
    text += f", {found.unfit:,} do not hold the model"
    return text + (f", {len(found.passed):,} ruled out by bounds" if found.passed else "")
