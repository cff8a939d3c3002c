"""Capacity plans: the answer is that of trying everything, bounds hold, and theory is near the simulation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.catalog import load_model
from perfmodel.errors import PerfModelError, RequestError
from perfmodel.planning.bounds import Least
from perfmodel.planning.demand import Demand, demand
from perfmodel.planning.goals import Goal, goal, goals
from perfmodel.planning.option import Constraints, Option
from perfmodel.planning.pools import Pair, PairOption, pairs
from perfmodel.planning.prices import prices
from perfmodel.planning.robust import chances, swings
from perfmodel.planning.search import FURTHER, order, searched
from perfmodel.planning.space import Space, Structure
from perfmodel.serving.lengths import Lengths
from perfmodel.serving.load import tokens_held, tokens_held_by

GOALS = goals(["ttft p95 < 1 s", "tpot p95 < 50 ms"])
SMALL = {"model": load_model("llama3.1-8b"), "gpus": ("l40s", "h100", "a100"), "sizes": (1, 2)}


def space(**changes: Any) -> Space:
    asked = {"sequences": (64,), "budgets": (2048,), "disaggregated": False} | SMALL | changes
    return Space(**asked)


def wanted(rate: float = 30.0, prompt: object = 1024, output: object = 256, **others: Any) -> Demand:
    return demand(rate=rate, prompt_lengths=prompt, output_lengths=output, **others)


def structures(one: Demand, where: Space, promised: tuple[Goal, ...] = GOALS) -> list[Structure]:
    return [s for s in where.structures(one, promised, prices()) if not isinstance(s, str) and s.fits]


# ── the search is exact ──────────────────────────────────────────────────────────────────────────


def keeps(structure: Structure, replicas: int) -> bool:
    """Whether theory keeps every goal, read off each state itself and not off where they end."""
    best, share = structure.best, structure.demand.load / replicas
    valid = structure.reach.steady.valid[best]
    if share > structure.reach.carried[best][valid].max():
        return False
    figures = [(one.figure, one.percentile) for one in structure.goals]
    seen = structure.reach.at(best, share, figures)
    return all(s <= one.limit_s * (1 + 1e-9) for s, one in zip(seen, structure.goals, strict=True))


def tried(structure: Structure, constraints: Constraints) -> Option | None:
    """Replicas counted up from one until theory and simulation keep every goal."""
    first = next((n for n in range(1, 400) if keeps(structure, n)), None)
    if first is None:
        return None
    for n in range(first, first + FURTHER + 1):
        option = Option(structure, n, constraints)
        if option.kept:
            return option
    return None


CASES = [
    (30.0, 1024, 256, ["ttft p95 < 1 s", "tpot p95 < 50 ms"], Constraints()),
    (4.0, "lognormal:3000,0.8", "uniform:50-400", ["ttft p95 < 900 ms", "tpot p99 < 40 ms"], Constraints(spare=1)),
    (80.0, 300, 100, ["e2e p95 < 4 s"], Constraints("gpus")),
    (
        12.0,
        "lognormal:2000,0.5",
        300,
        ["ttft p50 < 300 ms", "tpot mean < 25 ms", "e2e p99 < 12 s"],
        Constraints("power"),
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[4].objective + str(case[0]))
def test_the_answer_is_that_of_brute_force(case: Any) -> None:
    rate, prompt, output, texts, constraints = case
    one, promised = wanted(rate, prompt, output), goals(texts)
    where = space(weights=(None, "fp8"))
    found = searched(where.structures(one, promised, prices()), constraints)
    every = [option for s in structures(one, where, promised) if (option := tried(s, constraints)) is not None]
    best = min(every, key=order)
    assert found.winner is not None
    assert (found.winner.worth, found.winner.gpu_count) == (best.worth, best.gpu_count)


def test_bounds_prune_nothing_that_is_on_the_front() -> None:
    one, where = wanted(200.0), space(gpus=("l4", "l40s", "h100", "b200", "a100"), weights=(None, "fp8"))
    pruned = searched(where.structures(one, GOALS, prices()), Constraints())
    whole = searched(where.structures(one, GOALS, prices()), Constraints(), prune=False)
    assert [o.point for o in pruned.front] == [o.point for o in whole.front]
    assert pruned.winner is not None
    assert whole.winner is not None
    assert pruned.winner.title == whole.winner.title
    assert len(whole.options) + len(whole.failed) == len(pruned.options) + len(pruned.failed) + len(pruned.passed)


def test_the_front_is_that_of_comparing_every_pair() -> None:
    one, where = wanted(60.0), space(gpus=("l40s", "h100", "b200"))
    found = searched(where.structures(one, GOALS, prices()), Constraints(), paired=pairs)
    every = {option.point for option in found.options}
    front = {p for p in every if not any(other.beats(p) for other in every)}
    assert {option.point for option in found.front} == front
    assert any(isinstance(option, PairOption) for option in found.options)


@pytest.mark.parametrize("rate", [3.0, 25.0])
def test_pools_are_the_cheapest_numbers_of_both(rate: float) -> None:
    one = wanted(rate, 4000, 200)
    h100 = [s for s in structures(one, space(gpus=("h100",)), GOALS) if s.plan.tp * s.plan.pp <= 2]
    for decoder in h100[:2]:
        for filler in h100[:2]:
            pair, constraints = Pair(filler, decoder), Constraints()
            option = pair.cheapest(constraints)
            every = [
                PairOption(decoder, y, constraints, pair, x)
                for x in range(1, 14)
                for y in range(1, 14)
                if pair.keeps(GOALS, x, y)
            ]
            assert option is not None
            assert option.worth == min(o.worth for o in every)


def test_an_engine_that_can_mix_is_tried_both_ways_and_told_how() -> None:
    found = pm.plan("llama3.1-8b", "h100", rate=30, engine="sglang", tpot="25 ms", ttft="300 ms", disaggregated=False)
    policies = {option.plan.engine.policy for option in found.searched.options}
    assert policies == {"mixed", "prefill-first"}
    assert found.best is not None
    assert found.launch is not None
    mixes = "--enable-mixed-chunk" in found.launch[0].server[0].text
    assert mixes == (found.best.plan.engine.policy == "mixed")
    assert mixes == ("mixing" in found.best.title)


@pytest.mark.parametrize("model", ["llama3.1-8b", "qwen3-30b-a3b", "gemma3-27b", "mamba-2.8b", "deepseek-v2-lite"])
def test_what_caches_hold_together_is_what_each_holds(model: str) -> None:
    one = wanted(5.0, "lognormal:1500,0.7", 300)
    for s in structures(one, space(model=load_model(model), gpus=("h100", "l40s"), sizes=(1, 2, 4, 8))):
        budgets = (512, 2048, 8192)
        each = [
            tokens_held(replace(s.plan, engine=replace(s.plan.engine, token_budget=n)), s.load.traffic) for n in budgets
        ]
        assert tokens_held_by(s.plan, s.load.traffic, budgets) == each


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", ["llama3.1-8b", "qwen3-30b-a3b", "gemma3-27b"])
def test_no_structure_does_with_less_than_its_bound(model: str) -> None:
    one = wanted(50.0, "lognormal:1500,0.7", 200)
    where = space(model=load_model(model), gpus=("h100", "l40s"), sizes=(1, 2, 4))
    for s in structures(one, where):
        least, steady, n = Least.of(s.plan, one), s.reach.steady, s.gpu_count
        full = float(np.where(steady.valid, steady.rate, 0).max())
        assert n / full >= least.request_s(n)
        assert float(steady.seen("e2e", 0)[0, 0]) >= least.e2e_s(n)
        if s.most > 0:
            option = Option(s, max(int(np.ceil(one.load / s.most)), 1), Constraints())
            assert option.replicas >= least.replicas(n)


# ── laws ─────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=25, deadline=None)
@given(
    prompt=st.integers(50, 6000),
    output=st.integers(2, 900),
    cv=st.sampled_from([0.0, 0.4, 1.0]),
    looser=st.floats(1.05, 3),
)
def test_looser_goals_are_never_carried_by_more(prompt: int, output: int, cv: float, looser: float) -> None:
    lengths = [f"lognormal:{n},{cv}" if cv else n for n in (prompt, output)]
    one = wanted(10.0, *lengths)
    loose = tuple(replace(g, limit_s=g.limit_s * looser) for g in GOALS)
    where = space(gpus=("h100",), sizes=(1,), sequences=(32, 256))
    strict, free = (structures(one, where, promised)[0].reach for promised in (GOALS, loose))
    assert (free.most >= strict.most * (1 - 1e-9)).all()
    assert (np.diff(strict.carried, axis=1) >= 0).all()
    for promised in GOALS:
        assert (np.diff(np.where(np.isfinite(s := strict.seen(promised)), s, 1e9), axis=1) >= 0).all()


def test_slower_times_carry_less_and_confidence_costs() -> None:
    one = structures(wanted(), space(gpus=("h100",), sizes=(1,)))[0]
    carried = [one.surely(sigmas) for sigmas in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    assert carried == sorted(carried, reverse=True)
    assert carried[2] == pytest.approx(one.most, rel=1e-3)
    where = {"gpu": ["l40s", "h100"], "gpus_per_replica": [1], "rate": 40.0, "disaggregated": False}
    usual, sure = (pm.plan("llama3.1-8b", confidence=c, **where) for c in (None, 0.9))
    assert usual.best is not None
    assert sure.best is not None
    assert sure.best.usd_per_month >= usual.best.usd_per_month  # type: ignore[operator]
    assert sure.best.likelihood() >= 0.85


def test_chances_rise_with_devices_and_name_the_safe_number() -> None:
    option = searched(space().structures(wanted(), GOALS, prices()), Constraints(spare=1)).winner
    assert option is not None
    found = chances(option)
    assert [c.probability for c in found] == sorted(c.probability for c in found)
    assert found[-1].probability >= 0.9
    own = next(c for c in found if c.carrying == option.carrying)
    assert own.probability == pytest.approx(option.likelihood())
    assert own.gpu_count == option.gpu_count


def test_a_chance_is_that_of_the_error_of_times() -> None:
    """Monte Carlo: times drawn slower or faster keep the goals as often as was said."""
    option = searched(space(gpus=("l40s",)).structures(wanted(), GOALS, prices()), Constraints()).winner
    assert option is not None
    drawn = np.random.default_rng(7).standard_normal(400)
    kept = np.mean([option.structure.surely(float(z)) >= option.share for z in drawn])
    assert kept == pytest.approx(option.likelihood(), abs=0.08)


def test_the_rate_moves_what_is_needed_in_proportion() -> None:
    option = searched(space(gpus=("h100",)).structures(wanted(300.0), GOALS, prices()), Constraints()).winner
    assert option is not None
    found = {swing.name: swing for swing in swings(option)}
    assert found["rate"].fewer / option.need == pytest.approx(0.8, rel=1e-6)
    assert found["rate"].more / option.need == pytest.approx(1.2, rel=1e-6)
    assert found["memory_bandwidth"].fewer >= option.need >= found["memory_bandwidth"].more
    assert found["price"].worth[1] / found["price"].worth[0] == pytest.approx(1.5)


def test_what_breaks_first_is_where_the_goal_is_missed() -> None:
    option = searched(space(gpus=("l40s",)).structures(wanted(), GOALS, prices()), Constraints()).winner
    assert option is not None
    (name, factor), *_ = option.breaks()
    assert factor == pytest.approx(option.headroom)
    figure, percentile = name.split("_p")
    (at,) = option.structure.reach.at(option.structure.best, option.share * factor, [(figure, int(percentile))])
    assert at == pytest.approx(next(g.limit_s for g in GOALS if g.name == name), rel=1e-6)


# ── demand ───────────────────────────────────────────────────────────────────────────────────────


def test_peak_and_growth_multiply() -> None:
    one = wanted(10.0, peak=3.0, growth=0.1, months=2)
    assert one.load == pytest.approx(10 * 3 * 1.21)


def test_users_obey_the_interactive_law() -> None:
    """Users in the loop: those who think and those who wait add up to all of them (Little)."""
    one = demand(users=400.0, think_time=20.0, prompt_lengths=1024, output_lengths=256)
    s = structures(one, space(gpus=("h100",), sizes=(1,)))[0]
    reach, best = s.reach, s.best
    users = s.most * 0.9
    rate = reach.rate_at(best, users)
    (e2e,) = reach.at(best, users, [("e2e", 0)])
    assert rate * (20.0 + e2e) == pytest.approx(users, rel=0.02)


def test_a_trace_tells_rate_lengths_and_peak(tmp_path: Path) -> None:
    rows = [f"{i * 2.0},{100 + i % 7},{20 + i % 3}" for i in range(200)]
    rows += [f"{400 + i * 0.25},{100 + i % 7},{20 + i % 3}" for i in range(480)]
    file = tmp_path / "trace.csv"
    file.write_text("arrival_s,input_length,output_length\n" + "\n".join(rows), encoding="utf-8")
    one = demand(trace=str(file))
    assert one.rate == pytest.approx(679 / (400 + 479 * 0.25))
    assert one.peak * one.rate == pytest.approx(4.0, rel=0.1)
    assert one.prompts.mean == pytest.approx(103, abs=1)


@pytest.mark.parametrize(
    ("lengths", "share", "expected"),
    [
        (Lengths.fixed(100), 0.95, 100),
        (Lengths.uniform(100, 200), 0.5, 150),
        (Lengths.sample([10, 20, 30, 40]), 0.5, 30),
        (Lengths.lognormal(1000, 1.0), 0.5, 1000 / np.sqrt(2)),
    ],
)
def test_quantiles_of_lengths(lengths: Lengths, share: float, expected: float) -> None:
    assert lengths.quantile(share) == pytest.approx(expected)
    assert lengths.scaled(2.0).mean == pytest.approx(2 * lengths.mean, rel=0.01)


# ── goals and wrong inputs ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ttft p99 < 2 s", Goal("ttft", 99, 2.0)),
        ("TPOT=50ms", Goal("tpot", 95, 0.05)),
        ("e2e_mean <= 1.5 min", Goal("e2e", 0, 90.0)),
        ("ttft p50: 300 ms", Goal("ttft", 50, 0.3)),
    ],
)
def test_goals_are_read(text: str, expected: Goal) -> None:
    assert goal(text) == expected
    assert goal(str(expected)) == expected


@given(st.text(max_size=30))
def test_any_text_is_a_goal_or_a_sentence(text: str) -> None:
    told = ""
    try:
        found = goal(text).limit_s
    except RequestError as error:
        found, told = 0.0, str(error)
    assert found > 0 or told.startswith("--goal")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "needs traffic"),
    ({"rate": 5, "users": 10}, "needs traffic"),
    ({"users": 10}, "--think-time"),
    ({"rate": 5, "think_time": 3.0}, "--users"),
    ({"rate": -1}, "--rate"),
    ({"rate": 5, "goals": ["tttf p95 < 1 s"]}, "did you mean ttft"),
    ({"rate": 5, "ttft": "500"}, "needs a unit"),
    ({"rate": 5, "ttft": "1 s", "goals": ["ttft p95 < 2 s"]}, "two goals"),
    ({"rate": 5, "minimize": "costs"}, "did you mean cost"),
    ({"rate": 5, "gpu": "h1000"}, "Did you mean"),
    ({"rate": 5, "gpu": "gaudi3"}, "has no price"),
    ({"rate": 5, "confidence": 2}, "--confidence"),
    ({"rate": 5, "budget": -3}, "--budget"),
    ({"rate": 5, "spare": -1}, "--spare"),
    ({"rate": 5, "region": "eu"}, "--prices"),
    ({"rate": 5, "prefix": 5000}, "--prefix"),
    ({"rate": 5, "gpus_per_replica": [0]}, "--gpus-per-replica"),
    ({"rate": 5, "weights": ["fp8", "fp88"]}, "did you mean"),
    ({"rate": 5, "kv": "fp9"}, "did you mean"),
    ({"rate": 5, "engine": "vlm"}, "did you mean"),
    ({"rate": 5, "model": "llada-8b"}, "denoising"),
]


@pytest.mark.parametrize(("asked", "told"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_questions_get_one_sentence(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(PerfModelError, match=r".") as error:
        pm.plan(**{"model": "llama3.1-8b"} | asked)
    assert told in str(error.value)
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)


# ── prices ───────────────────────────────────────────────────────────────────────────────────────


def test_prices_of_a_file_by_region(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("eu: {h100: 2.0, l40s: 0.5}\nus: {h100: 1.5}\n", encoding="utf-8")
    found = prices(str(file), "eu", {"a100": 1.0})
    loaded = {name: found.of(pm.load_gpu(name)) for name in ("h100", "l40s", "a100", "b200")}
    assert loaded == {"h100": 2.0, "l40s": 0.5, "a100": 1.0, "b200": None}
    for region, told in ((None, "choose one by --region"), ("eux", "did you mean eu")):
        with pytest.raises(PerfModelError) as error:
            prices(str(file), region)
        assert told in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [("h100: -2\n", "USD per device"), ("h1000: 2\n", "Did you mean"), ("- 3\n", "must map GPUs"), ("", "must map")],
)
def test_wrong_price_files(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(PerfModelError) as error:
        prices(str(file))
    assert told in str(error.value)


# ── the command ──────────────────────────────────────────────────────────────────────────────────

ASKED = ["plan", "-m", "llama3.1-8b", "--gpu", "l40s,h100", "--rate", "20", "--gpus-per-replica", "1,2"]


def test_the_screen_answers_in_words(run: Any) -> None:
    code, out, _ = run(*ASKED, "--availability", "n+1")
    assert code == 0
    for told in ("USD a month", "Headroom", "Sure", "keep the goals with", "GPUs needed", "Pareto front", "Searched"):
        assert told in out


def test_the_json_is_the_contract(run: Any) -> None:
    code, out, _ = run(*ASKED, "--json")
    data = json.loads(out)
    assert code == 0
    best = data["best"]
    assert best["simulated"]["ttft_p95_s"] <= data["goals"]["ttft_p95"]
    assert best["usd_per_month"] == min(o["usd_per_month"] for o in [best, *data["others"], *data["front"]])
    assert data["searched"]["deployments"] > 50
    assert {swing["input"] for swing in data["swings"]} >= {"rate", "prompts", "outputs", "price"}


def test_csv_has_a_row_a_deployment(run: Any) -> None:
    code, out, _ = run(*ASKED, "--csv")
    assert code == 0
    assert out.splitlines()[0].startswith("kind,title,gpu")
    assert out.count("\nfront,") >= 1


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--ttft", "1 ms"], "TTFT p95 of more than"),
        (["--budget", "10"], "--budget"),
        (["--max-gpus", "1", "--rate", "900"], "--max-gpus"),
        (["--max-power", "0.1"], "--max-power"),
    ],
)
def test_a_no_says_what_would_do(run: Any, flags: list[str], told: str) -> None:
    code, out, _ = run(*ASKED, *flags)
    assert code == 1
    assert "nothing meets the goals" in out
    assert told in out


def test_what_would_do_does(run: Any) -> None:
    """The goal that is said to be enough is met without load, and the budget that is said to be enough is."""
    _, out, _ = run(*ASKED, "--budget", "10")
    amount = next(line for line in out.splitlines() if "--budget" in line).split("--budget ")[1].split(" ")[0]
    code, _, _ = run(*ASKED, "--budget", str(int(amount.replace(",", "")) + 1))
    assert code == 0


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--availability", "5"], "n+1"),
        (["--price", "h100"], "h100=2.5"),
        (["--max-num-seqs", "many"], "whole numbers"),
        (["--gpu", "l40s,,h100"], "nothing between commas"),
        (["--think-time", "soon"], "its unit"),
    ],
)
def test_wrong_flags(run: Any, flags: list[str], told: str) -> None:
    code, _, err = run(*ASKED, *flags)
    assert code == 2
    assert told in err
    assert err.count("\n") == 1
