"""Plans as plain data (docs/json.md)."""

from __future__ import annotations

from typing import Any

from perfmodel.planning.answer import Plan
from perfmodel.planning.option import Option
from perfmodel.planning.pools import PairOption
from perfmodel.planning.prices import HOURS
from perfmodel.table import Table


def plan_dict(plan: Plan) -> dict[str, Any]:
    """A `Plan` as plain data."""
    from perfmodel import __version__

    found, best = plan.searched, plan.best
    return {
        "version": __version__,
        "model": plan.space.model.name,
        "demand": _demand(plan),
        "goals": {goal.name: goal.limit_s for goal in plan.goals},
        "constraints": {
            "minimize": plan.constraints.objective,
            "spare": plan.constraints.spare,
            "max_gpus": plan.constraints.max_gpus,
            "budget_usd_per_month": plan.constraints.budget,
            "max_power_w": plan.constraints.power,
            "confidence": plan.confidence,
        },
        "best": None if best is None else option_dict(plan, best, simulated=True),
        "others": [option_dict(plan, option, simulated=True) for option in plan.others],
        "front": [option_dict(plan, option) for option in plan.front],
        "breaks": [{"what": name, "factor": factor} for name, factor in plan.breaks],
        "chances": [
            {"gpu_count": c.gpu_count, "carrying": c.carrying, "probability": c.probability} for c in plan.chances
        ],
        "safe_gpu_count": plan.safe and plan.safe.gpu_count,
        "swings": [
            {
                "input": swing.name,
                "title": swing.title,
                "gpus_needed": [_finite(swing.fewer), _finite(swing.more)],
                plan.constraints.objective: [_finite(worth) for worth in swing.worth],
                "answers": list(swing.answers),
            }
            for swing in plan.swings
        ],
        "misses": [
            {
                "deployment": miss.title,
                "reached_s": {name: seconds for name, seconds, _ in miss.reached},
                "usd_per_month": miss.cost,
            }
            for miss in plan.misses
        ],
        "relax": list(plan.relaxations),
        "launch": _launch(plan),
        "searched": {
            "deployments": found.tried,
            "meet_the_goals": len(found.options),
            "miss_a_goal": len(found.failed),
            "do_not_fit": found.unfit,
            "ruled_out_by_bounds": len(found.passed),
            "refused": list(found.refused),
        },
        "assumptions": list(plan.assumptions),
    }


def _launch(plan: Plan) -> dict[str, Any] | None:
    """What to run, in texts that can be copied."""
    if plan.launch is None:
        return None
    told, tests = plan.launch
    return {
        "engine_version": told.version,
        "server": [{"title": command.title, "text": command.text} for command in told.server],
        "files": dict(told.files),
        "manifest": told.manifest,
        "load_tests": {name: command.text for name, command in tests.items()},
        "placeholders": list(told.placeholders),
        "lacks": list(told.lacks),
        "notes": list(told.notes),
    }


def _demand(plan: Plan) -> dict[str, Any]:
    d = plan.demand
    return {
        "rate": d.rate,
        "users": d.users,
        "think_s": d.think_s if d.interactive else None,
        "peak": d.peak,
        "growth": d.growth,
        "months": d.months,
        "planned_for": d.load,
        "unit": d.unit,
        "prompt_mean": d.prompts.mean,
        "prompt_spread": d.prompts.spread,
        "output_mean": d.outputs.mean,
        "output_spread": d.outputs.spread,
        "prefix": d.cached,
        "prefix_hit": d.hit,
    }


def option_dict(plan: Plan, option: Option, simulated: bool = False) -> dict[str, Any]:
    """A deployment of a plan: what it is, costs and carries, and what requests see."""
    one, engine = option.plan, option.plan.engine
    found: dict[str, Any] = {
        "title": option.title,
        "gpu": one.gpu.name,
        "gpu_count": option.gpu_count,
        "replicas": option.replicas,
        "carrying": option.carrying,
        **{name: getattr(one, name) for name in ("tp", "pp", "dp", "ep")},
        "weights": one.precision.weights.name,
        "kv": one.precision.kv.name,
        "engine": engine.name,
        "policy": engine.policy,
        "max_num_seqs": engine.sequences_limit or None,
        "max_num_batched_tokens": engine.token_budget,
        "speculation": one.speculation is not None,
        "prefill": _prefill(option),
        "usd_per_month": option.usd_per_month,
        "usd_per_million_tokens": plan.usd_per_million_tokens(option),
        "kwh_per_month": None if option.watts is None else option.watts / 1e3 * HOURS,
        "utilisation": 1 / option.headroom,
        "headroom": option.headroom,
        "per_gpu": option.point.per_gpu,
        "theory": option.figures,
    }
    if simulated:
        found["simulated"] = option.seen
        found["busy"] = list(option.simulated.utilisations)
        found["running"] = option.simulated.running
    return found


def _prefill(option: Option) -> dict[str, Any] | None:
    """The workers that only prefill, where there are any."""
    if not isinstance(option, PairOption):
        return None
    filler = option.pair.filler.plan
    return {
        "workers": option.fillers + option.constraints.spare,
        **{n: getattr(filler, n) for n in ("tp", "pp", "dp", "ep")},
    }


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None


def plan_table(plan: Plan) -> Table:
    """One row a deployment: the best, the cheapest of further devices, and the front."""
    named = [*([("best", plan.best)] if plan.best else []), *(("other", o) for o in plan.others)]
    rows = []
    for kind, option in [*named, *(("front", option) for option in plan.front)]:
        row = option_dict(plan, option)
        prefill, theory = row.pop("prefill"), row.pop("theory")
        row |= {"prefill_workers": prefill and prefill["workers"], "prefill_tp": prefill and prefill["tp"]}
        rows.append({"kind": kind, **row, **theory})
    return Table({name: [row[name] for row in rows] for name in rows[0]} if rows else {})
