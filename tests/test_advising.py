"""Advice: each change is what asking for it gives, the smallest meets the goals, and says so in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

import perfmodel as pm
from perfmodel.errors import PerfModelError

ASKED: dict[str, Any] = {"tp": 2, "replicas": 2, "prompt": 1024, "output": 256}


@pytest.fixture(scope="module")
def advice() -> pm.Advice:
    return pm.advise("llama3-70b", "h200", rate=9.0, tpot="45 ms", ttft="1 s", **ASKED)


def test_a_change_is_what_asking_for_it_gives(advice: pm.Advice) -> None:
    """Each counterfactual's figures are those of the deployment that has it from the start."""
    found = {one.change: one for one in advice.changes}
    for change, settings in (
        ("kv=fp8", {"kv": "fp8"}),
        ("replicas=3", {"replicas": 3}),
        ("engine=sglang", {"engine": "sglang"}),
    ):
        alone = pm.advise("llama3-70b", "h200", rate=9.0, tpot="45 ms", ttft="1 s", **{**ASKED, **settings})
        assert alone.now.carried == pytest.approx(found[change].carried)
        assert alone.now.figures == pytest.approx(found[change].figures)


def test_the_smallest_change_meets_the_goals_in_the_simulation(advice: pm.Advice) -> None:
    assert not advice.now.meets
    small = advice.smallest
    assert small is not None
    assert small.meets
    assert small.option is not None
    assert small.option.kept
    cheaper = [one for one in advice.changes if one.meets and one.option and one.option.kept]
    assert small.value("cost") <= min(one.value("cost") for one in cheaper)  # type: ignore[type-var,operator]


def test_changes_are_ranked_by_load_for_the_money(advice: pm.Advice) -> None:
    worth = [one.ratio(advice.now, "carried") / one.ratio(advice.now, "cost") for one in advice.changes]  # type: ignore[operator]
    assert worth == sorted(worth, reverse=True)


def test_words_say_what_numbers_say(advice: pm.Advice) -> None:
    more = next(one for one in advice.changes if one.change == "replicas=3")
    assert more.told(advice.now).startswith("50% more requests/s")
    assert "cost +50%" in more.told(advice.now)
    lossy = next(one for one in advice.changes if one.change == "weights=fp8")
    assert "changes what is written" in lossy.told(advice.now)


def test_without_traffic_it_is_as_much_as_is_carried() -> None:
    found = pm.advise("llama3.1-8b", "l40s", prompt=512)
    assert not found.stated
    assert found.demand.load == pytest.approx(found.now.carried)
    assert found.now.meets


def test_pairs_and_replicas_where_no_single_change_is_enough() -> None:
    found = pm.advise("llama3-70b", "h100", tp=4, rate=60.0, tpot="60 ms")
    assert found.smallest is not None
    assert found.smallest.option is not None
    assert found.smallest.carried >= 60.0


def test_a_change_of_ones_own_is_tried_too() -> None:
    found = pm.advise("llama3.1-8b", "l40s", rate=3.0, changes=["kv=fp8,weights=fp8"])
    assert any(one.change == "kv=fp8,weights=fp8" for one in found.changes)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"changes": ["kvv=fp8"]}, '--try kvv=fp8: no flag is called "kvv"; did you mean'),
        ({"batch": 4}, "--batch"),
        ({"rate": 3.0, "users": 4}, "traffic"),
        ({"rate": 3.0, "goals": ["ttft p90 < 1 s"]}, "p95"),
        ({"model": "llama3-70b", "rate": 1.0, "tp": 1}, "does not fit"),
    ],
)
def test_wrong_questions(asked: dict[str, Any], told: str) -> None:
    question = {"model": "llama3.1-8b", "gpu": "l40s"} | asked
    with pytest.raises(PerfModelError) as error:
        pm.advise(question.pop("model"), question.pop("gpu"), **question)
    assert told in str(error.value)


def test_the_command(run: Any) -> None:
    asked = ["advise", "-m", "llama3.1-8b", "-g", "l40s", "--rate", "8", "--tpot", "30 ms"]
    code, out, _ = run(*asked)
    assert code == 0
    assert "most load for the money" in out
    code, out, _ = run(*asked, "--json")
    data = json.loads(out)
    assert data["changes"][0]["told"]
    code, out, _ = run(*asked, "--csv")
    assert out.startswith("change,told,meets_goals")
    code, out, _ = run("advise", "-m", "llama3.1-8b", "-g", "l40s", "--rate", "8", "--ttft", "1 ms")
    assert code == 1
    assert "at best" in out
