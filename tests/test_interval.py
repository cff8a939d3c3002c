"""Intervals: wider for what runs have not seen, and told in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perfmodel import estimate
from perfmodel.calibration import Constants
from perfmodel.catalog import load_gpu, load_model, names
from perfmodel.deployment import Deployment
from perfmodel.engine import ENGINES, engine
from perfmodel.interval import PHASES, basis, spread
from perfmodel.precision import Precision


def plan(
    model: str = "llama3.1-70b", gpu: str = "h100", by: str = "vllm", tp: int = 1, version: str = ""
) -> Deployment:
    device = load_gpu(gpu)
    form = next(name for name in ("bf16", "fp16", "fp32") if name in device.peak_flops)
    return Deployment(load_model(model), device, Precision.plain(form), engine(by, version), tp=tp)


def factor(of: Deployment, phase: str = "decode") -> float:
    return spread(Constants(of.gpu, of.engine), of, phase)


@pytest.mark.parametrize("phase", PHASES)
def test_what_was_not_seen_widens(phase: str) -> None:
    known = factor(plan(), phase)
    assert 1 < known < 2
    assert factor(plan(gpu="h100-nvl"), phase) > known  # a device without runs, nor tables
    assert factor(plan(model="falcon-40b"), phase) >= known
    assert factor(plan(version="0.99.1"), phase) >= known
    assert factor(plan(gpu="tpu-v5e"), phase) > factor(plan(gpu="h100-nvl"), phase)  # not even its architecture


def test_pcie_groups_are_less_sure() -> None:
    assert factor(plan(gpu="l40s", tp=2)) > factor(plan(gpu="l40s"))
    assert factor(plan(gpu="h100", tp=2)) == factor(plan(gpu="h100"))


def test_every_device_and_engine_has_an_interval() -> None:
    for gpu in names("gpu"):
        for by in ENGINES:
            one = plan(gpu=gpu, by=by)
            for phase in PHASES:
                assert 1.03 < factor(one, phase) < 4, (gpu, by, phase)


def test_the_basis_in_words() -> None:
    told = basis(plan())
    assert "measurements of vLLM V1" in told
    assert "of them on h100" in told
    assert "kernels measured on h100" in told
    assert "none on h100-nvl" in basis(plan(gpu="h100-nvl"))
    assert "kernels of Hopper" in basis(plan(gpu="h100-nvl"))
    assert "none of a model like falcon-40b" in basis(plan(model="falcon-40b"))
    nobody = replace(plan(), engine=replace(ENGINES["vllm"], name="tgi", since=()))
    assert basis(nobody).startswith("no measurements of")


def test_ends_stand_around_the_expected_time_and_never_below_the_bound() -> None:
    answer = estimate("llama3-8b", "h100", batch=4)
    for time in (answer.ttft_s, answer.tpot_s, answer.e2e_s):
        assert time.bound <= time.low < time.expected < time.high
    told = next(line for line in answer.assumptions if line.startswith("expected error"))
    wide = answer.tpot_s.high / answer.tpot_s.expected - 1
    assert f"TPOT ±{wide:.0%}" in told
