"""Profiles of engines: every generation has one, and it is what estimates use."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

import perfmodel as pm
from perfmodel.calibration import Constants
from perfmodel.engine import ENGINES, generations
from perfmodel.kernels.overheads import Overheads
from perfmodel.profiles import HABITS, engine_rows, fitted, meanings, profile

ROWS = [row for name in ENGINES for row in generations(name)]


def test_every_generation_has_habits_and_no_other() -> None:
    assert {row.runs for row in ROWS} == set(HABITS)
    assert len(ROWS) == len(engine_rows())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.runs)
def test_overheads_are_those_of_estimates(row) -> None:
    """Where no device has runs of its own, an estimate takes what all devices told."""
    costs = Constants(pm.load_gpu("h100"), row).costs
    assert profile(row)["overheads"] == asdict(costs)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.runs)
def test_what_they_rest_on_is_told(row) -> None:
    found, told = fitted(row), profile(row)
    assert (told["fit"] is None) == (found is None)
    if found is not None:
        assert told["fit"]["points"] > 0
        assert 0 < told["fit"]["median"] <= told["fit"]["p90"]
    assert all(told[name] for name in ("source", "fuses", "overlaps", "habits_source", "title"))


def test_every_overhead_has_a_meaning() -> None:
    assert list(meanings()) == list(asdict(Overheads()))
    assert all(meanings().values())


def test_list_and_show_tell_the_same(run) -> None:
    listed = json.loads(run("list", "engines", "--json").out)
    shown = json.loads(run("show", "vllm", "--json").out)
    mine = [row for row in listed if row["name"] == "vllm"]
    assert [row["generation"] for row in mine] == [told["generation"] for told in shown["generations"]]
    for row, told in zip(mine, shown["generations"], strict=True):
        assert row["layer_s"] == told["overheads"]["layer_s"]
        assert row["runs"] == (told["fit"] or {"points": 0})["points"]
    text = run("show", "vllm").out
    for told in shown["generations"]:
        assert told["title"] in text
    assert max(map(len, text.splitlines())) <= 110
    assert "vLLM V0" in run("list", "engines").out


def test_a_version_is_its_generation(run) -> None:
    data = json.loads(run("show", "vllm@0.7.3", "--json").out)
    assert [told["generation"] for told in data["generations"]] == ["0.3+"]
    assert run("show", "vLLM", "--prune", "layers=2").code == 2
    assert run("list", "engines", "--fits", "h100").code == 2
