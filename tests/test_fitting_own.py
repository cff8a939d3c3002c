"""The light fit of a user's own runs: constants come back, errors are of what was left out, files take them up."""

from __future__ import annotations

import datetime
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perfmodel import catalog
from perfmodel.benchmarked.run import Given
from perfmodel.benchmarked.tools import rows_to_fit
from perfmodel.benchmarked.written import csv_of
from perfmodel.calibration import Constants
from perfmodel.catalog import data_folder, load_gpu
from perfmodel.engine import engine
from perfmodel.errors import RequestError, SpecError
from perfmodel.fitting.own import OwnFit, own_fits, with_overheads, write_own
from perfmodel.fitting.runs import expected, groups_of
from perfmodel.interval import basis
from perfmodel.published.names import gpu_of
from perfmodel.published.questions import Plans
from perfmodel.published.rows import Row

TODAY = datetime.date(2026, 1, 1)
GIVEN: dict[str, Any] = {
    "line": 0, "source_id": "vllm bench serve", "engine": "vllm", "engine_version": "0.10.2", "model": "llama3.1-8b",
    "gpu": "h100", "n_gpus": 1, "tp": None, "pp": None, "weight_dtype": "", "act_dtype": "", "kv_dtype": "",
    "prompt_tokens": 1024, "output_tokens": 128, "batch_or_concurrency": 8, "mode": "fixed_batch", "metric": "tpot_ms",
    "value": 1.0, "unit": "ms", "note": "", "quality": "ok", "source": "mine.json",
}  # fmt: skip
SLOWER = {"layer_s": 3.0, "pass_s": 2.0, "prompt_s": 2.0, "memory": 0.9}
"""What the user's machine takes, as factors on the constants of the catalog."""


def runs(factors: dict[str, float] = SLOWER, **given: Any) -> list[Row]:
    """Rows that a machine with such constants would measure."""
    rows = [
        Row(**(GIVEN | {"prompt_tokens": prompt, "batch_or_concurrency": batch, "metric": metric} | given))
        for prompt in (256, 2048)
        for batch in (1, 16, 64)
        for metric in ("ttft_ms", "tpot_ms")
    ]
    ((group,), _) = groups_of(rows)
    costs = Constants(group.plan.gpu, group.plan.engine).costs
    true = {name: getattr(costs, name) * factors.get(name, 1.0) for name in type(costs).__slots__}
    told = expected(group, with_overheads(group.plan, true))
    return [replace(row, value=float(value)) for row, value in zip(rows, told, strict=True)]


@pytest.fixture(scope="module")
def fit() -> OwnFit:
    """The fit of all rows of a slower machine, by the shipped files."""
    (found,), left_out = own_fits(runs())
    assert not left_out
    return found


@pytest.fixture
def hardware(tmp_path: Path):  # type: ignore[no-untyped-def]
    """A folder of the user's own with the device's file, taken up as --path does."""
    folder = tmp_path / "mine" / "hardware"
    folder.mkdir(parents=True)
    shutil.copy(data_folder("hardware") / "h100.yaml", folder)
    yield folder
    catalog._extra.clear()
    for cached in (catalog._files, catalog.load_architecture, gpu_of):
        cached.cache_clear()


def test_constants_come_back(fit: OwnFit) -> None:
    assert (fit.device, fit.engine, fit.rows, fit.settings) == ("h100", "vllm 0.8+", 12, 6)
    assert set(fit.constants) == {"prompt_s", "compute", "layer_s", "pass_s", "memory"}
    assert fit.before.median > 0.1
    assert fit.fitted.median < 0.02
    assert fit.unseen is not None
    assert fit.unseen.median < 0.05
    assert fit.better
    assert fit.constants["prompt_s"] == pytest.approx(2 * fit.was["prompt_s"], rel=0.1)
    assert fit.constants["layer_s"] > fit.was["layer_s"], "what steps tell of is shared among three"
    assert fit.constants["memory"] < fit.was["memory"]
    assert "error left out" in fit.text()


def test_rows_that_agree_gain_nothing(hardware: Path) -> None:
    (same,), _ = own_fits(runs({})[:4])
    assert not same.better
    assert same.before.median < 1e-6
    assert "not worth having" in same.text()
    assert write_own([same], "mine.json", hardware, TODAY) == []


def test_one_row_alone_is_never_better() -> None:
    (alone,), _ = own_fits(runs()[:1])
    assert (alone.unseen, alone.better, alone.settings) == (None, False, 1)
    assert alone.to_dict()["unseen"] is None


def test_each_engine_and_device_by_itself() -> None:
    mixed = [*runs()[:2], *runs(gpu="a100")[:2], *runs(engine="sglang")[:2]]
    fits, left_out = own_fits([*mixed, replace(mixed[0], model="nonsense")])
    assert {(one.device, one.engine) for one in fits} == {
        ("h100", "vllm 0.8+"), ("a100", "vllm 0.8+"), ("h100", "sglang any")
    }  # fmt: skip
    assert left_out == {'no model is called "nonsense"': 1}
    with pytest.raises(RequestError, match="there is nothing to fit"):
        own_fits([replace(mixed[0], model="nonsense")])


def test_files_take_them_up_and_keep_the_others(fit: OwnFit, hardware: Path) -> None:
    before = (hardware / "h100.yaml").read_text(encoding="utf-8")
    assert write_own([fit], "mine.json", hardware, TODAY) == [hardware / "h100.yaml"]
    after = (hardware / "h100.yaml").read_text(encoding="utf-8")
    assert after.startswith(before), "what else the file holds stays as it stands"
    gpu = load_gpu(str(hardware / "h100.yaml"))
    costs = Constants(gpu, engine("vllm")).costs
    assert costs.layer_s == pytest.approx(fit.constants["layer_s"], rel=1e-3)
    assert Constants(gpu, engine("sglang")).costs == Constants(load_gpu("h100"), engine("sglang")).costs
    other = replace(fit, engine="sglang any")
    write_own([other], "mine.json", hardware, TODAY)
    both = load_gpu(str(hardware / "h100.yaml"))
    assert {"vllm 0.8+", "sglang any"} <= both.calibration.keys(), "each engine's own runs are its own"
    plan = replace(Plans().of(runs()[0]), gpu=both)
    assert "on h100" in basis(plan)


def test_a_second_fit_starts_where_the_first_did(hardware: Path) -> None:
    rows = runs()[:4]
    (first,), _ = own_fits(rows)
    assert write_own([first], "mine.json", hardware, TODAY)
    catalog.add_path(hardware.parent)
    gpu_of.cache_clear()
    assert "vllm 0.8+" in gpu_of("h100").calibration
    (second,), _ = own_fits(rows)
    assert second.was == first.was
    assert second.constants == pytest.approx(first.constants, rel=1e-3)


# ── the command ──────────────────────────────────────────────────────────────────────────────────


def test_which_files_are_ones_own(tmp_path: Path) -> None:
    mine, theirs, log = tmp_path / "mine.csv", tmp_path / "theirs.csv", tmp_path / "it.log"
    mine.write_text(csv_of(runs()), encoding="utf-8")
    theirs.write_text(csv_of([*runs(), replace(runs()[0], source_id="a paper")]), encoding="utf-8")
    log.write_text("Model loading took 14.9 GiB and 3 seconds", encoding="utf-8")
    assert rows_to_fit(str(mine), Given()) is not None
    assert rows_to_fit(str(theirs), Given()) is None
    with pytest.raises(RequestError, match="--gpu: is for a result file"):
        rows_to_fit(str(mine), Given(gpu="h100"))
    with pytest.raises(SpecError, match="is a start-up log"):
        rows_to_fit(str(log), Given())


def test_the_command_fits_and_predictions_follow(run, hardware: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "mine.csv"
    file.write_text(csv_of(runs()), encoding="utf-8")
    before = json.loads(run("validate", "published", str(file), "--json").out)["overall"]["median_ape"]
    told = run("calibrate", "--from", str(file), "--hardware", str(hardware), "--json")
    assert told.code == 0, told.err
    data = json.loads(told.out)
    assert data["written"] == [str(hardware / "h100.yaml")]
    assert data["own"][0]["better"]
    gpu_of.cache_clear()  # a command of its own would not know the shipped file
    mine = ("--path", str(hardware.parent), "--json")
    after = json.loads(run("validate", "published", str(file), *mine).out)["overall"]["median_ape"]
    assert after < 0.02 < 0.1 < before


def test_the_command_reads_a_result_file(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "batches.jsonl"
    record = {"run_name": "a", "batch_size": 8, "input_len": 1024, "output_len": 64, "prefill_latency": 0.3,
              "median_decode_latency": 0.009, "total_latency": 0.87, "overall_throughput": 1.0}  # fmt: skip
    file.write_text(json.dumps(record) + "\n" + json.dumps(record | {"batch_size": 16}), encoding="utf-8")
    told = run("calibrate", "--from", str(file), "--model", "llama3-8b", "--gpu", "h100", "--gpu-count", "1")
    assert told.code == 0, told.err
    assert "sglang any on h100: 6 rows of 2 settings" in told.out
    assert "Nothing is written." in told.out
    for arguments, why in (
        ((str(file),), "does not say which model ran"),
        (("aiconfigurator", "--gpu", "h100"), "--gpu is for a benchmark's result file"),
        ((str(file), "--device", "h100"), "does not say|--device is for kernels"),
    ):
        wrong = run("calibrate", "--from", *arguments)
        assert (wrong.code, wrong.out) == (2, "")
        assert any(part in wrong.err for part in why.split("|"))
