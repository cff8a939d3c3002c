"""The whole way in small, on the CPU: measure, fit, write, predict, run a model, report. No time is asserted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from perfmodel import catalog
from perfmodel.catalog import data_folder, load_gpu
from perfmodel.cli.scripts import script
from perfmodel.measured.results import load

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")
MODEL = """\
title: Small
family: llama3
hidden_size: 128
vocabulary: 512
max_context: 4096
rope: {theta: 10000}
blocks:
  - repeat: 4
    mixer: {kind: attention, heads: 4, kv_heads: 2, head_size: 32}
    feed_forward: {kind: gated, size: 320}
source: made for tests
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a small model, and a catalog that knows no other folder, before as after."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalog, "_extra", [])
    (tmp_path / "small.yaml").write_text(MODEL, encoding="utf-8")
    for known in (catalog._files, catalog.load_architecture):
        known.cache_clear()
    yield tmp_path
    for known in (catalog._files, catalog.load_architecture):
        known.cache_clear()


def run_small(run: Callable, *more: str) -> object:
    given = ("validate", "run", "--model", "small.yaml", "--gpu", "cpu-server", "--weights", "fp32", "--busy",
             "--on", "cpu", "--batch", "1,2", "--prompt", "8,20", "--output", "4", "--results", "kept")  # fmt: skip
    return run(*given, *more)


def test_a_model_runs_beside_its_prediction(run: Callable, here: Path) -> None:
    told = run_small(run, "--ops", "--json", "--html", "page.html")
    assert told.code == 0, told.err
    data = json.loads(told.out)
    kept = data["results"]["measurements"]
    assert {(m["batch"], m["prompt"]) for m in kept} == {(1, 8), (1, 20), (2, 8), (2, 20)}
    figures = {m["figure"] for m in kept}
    assert {"ttft_s", "tpot_s", "peak_memory_bytes", "prefill_op:qkv_s", "decode_op:attention_s"} <= figures
    for m in kept:
        assert math.isfinite(m["predicted"]["expected"])
        assert m["low"] <= m["value"] <= m["high"]
        assert not m["used_in_fit"]
    (file,) = (here / "kept").iterdir()
    assert load(file).complete
    assert "<html" in (here / "page.html").read_text(encoding="utf-8")
    report = run("validate", "report", "kept")
    assert report.code == 0
    assert "small" in report.out


def test_memory_is_as_counted(run: Callable, here: Path) -> None:
    """Weights, cache and activations against the allocator, where activations are nearly all of it.

    Eager torch keeps temporaries of element-wise work that fused engines, which are counted, do not have.
    """
    kept = json.loads(run_small(run, "--batch", "4", "--prompt", "600", "--json").out)["results"]["measurements"]
    (memory,) = [m for m in kept if m["figure"] == "peak_memory_bytes"]
    assert memory["predicted"]["expected"] == pytest.approx(memory["value"], rel=0.25)


def test_what_was_measured_is_not_measured_again(run: Callable, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = json.loads(run_small(run, "--json").out)["results"]["measurements"]
    monkeypatch.setattr(script("measure").Run, "readings", lambda *_: pytest.fail("measured again"))
    assert json.loads(run_small(run, "--json").out)["results"]["measurements"] == first


def test_an_interruption_keeps_what_was_measured(run: Callable, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = script("measure")
    whole, asked = measure.Run.readings, []

    def stops(self: object, phase: str, setting: object, count: int) -> list[float]:
        asked.append(setting)
        if len(asked) > 3:
            raise KeyboardInterrupt
        return whole(self, phase, setting, count)

    with monkeypatch.context() as patched:
        patched.setattr(measure.Run, "readings", stops)
        assert run_small(run).code == 130
    (file,) = (here / "kept").iterdir()
    held = load(file)
    assert not held.complete
    assert len(held.measurements) == 3
    assert run_small(run).code == 0
    assert load(file).complete


def test_a_draft_is_measured_and_its_speed_up_predicted(run: Callable, here: Path) -> None:
    told = json.loads(run_small(run, "--draft", "self:2", "--draft-tokens", "3", "--json").out)
    found = {m["figure"]: m for m in told["results"]["measurements"] if m["draft"]}
    assert 1 <= found["accepted_length"]["value"] <= 4
    assert found["speedup"]["predicted"]["expected"] > 0


def test_part_of_a_model_says_so(run: Callable, here: Path) -> None:
    told = run_small(run, "--layers", "2")
    assert "2 of 4 layers ran" in " ".join(told.out.split())
    assert "of all 4 layers would take about" in " ".join(told.out.split())


def test_without_a_cache(run: Callable, here: Path) -> None:
    kept = json.loads(run_small(run, "--no-kv-cache", "--json").out)["results"]["measurements"]
    assert {m["cache"] for m in kept} == {False}
    assert {m["figure"] for m in kept} == {"ttft_s", "tpot_s"}


WRONG = {
    ("--weights", "nvfp4"): 'no torch model runs in "nvfp4"',
    ("--weights", "fp8"): "fp8",
    ("--batch", "0"): '--batch takes whole numbers above 0, like "1,4,16"; got "0"',
    ("--prompt", "a,b"): '--prompt takes whole numbers above 0, like "1,4,16"; got "a,b"',
    ("--way", "fast"): "--way must be one of eager, compiled, graphs; got fast",
    ("--way", "graphs"): "--way graphs needs CUDA",
    ("--attention", "sparse"): '--attention must be flash or naive; got "sparse"',
    ("--draft", "self:9"): "--draft self:9: self: takes layers from 1 to 3 of them",
    ("--draft", "llama3.2-1b"): "they must share a vocabulary",
    ("--model", "mixtral-8x7b"): "is not built like Llama 3",
    ("--gpu", "h1000"): 'No GPU is called "h1000"',
    ("--on", "tpu"): "--on takes cuda, rocm, mps, cpu",
    ("--layers", "5"): "has 4 layers",
    ("--budget", "1"): "--budget must be from 5 seconds",
    ("--weights-from", "none.safetensors"): "none.safetensors",
    ("--results", "small.yaml"): "small.yaml",
}


@pytest.mark.parametrize(("given", "told"), WRONG.items(), ids=" ".join)
def test_wrong_questions_get_one_sentence(run: Callable, here: Path, given: tuple[str, str], told: str) -> None:
    found = run_small(run, *given)
    assert found.code == 2, found.out
    assert told in found.err
    assert len(found.err.strip().splitlines()) == 1


def test_an_unknown_device_is_sent_to_calibrate(run: Callable, here: Path) -> None:
    found = run("validate", "run", "--model", "small.yaml", "--busy", "--on", "cpu")
    assert found.code == 2
    assert "`perfmodel calibrate` makes hardware/" in found.err


# ── calibrate ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
def test_the_whole_way(run: Callable, here: Path) -> None:
    """Calibrate writes a device that predictions take up, and goes on with what it kept."""
    told = run("calibrate", "--on", "cpu", "--busy", "--name", "mine", "--formats", "fp32", "--budget", "40",
               "--results", "kept", "--html", "fit.html", "--json")  # fmt: skip
    assert told.code == 0, told.err
    fits = {(fit["library"], fit["kernel"]): fit for fit in json.loads(told.out)["fits"]}
    assert ("torch", "gemm") in fits
    assert ("torch any", "overheads") in fits
    gpu = load_gpu(str(here / "hardware" / "mine.yaml"))
    assert gpu.calibration["torch"].kernels["gemm"]["fp32"].constants["compute"] <= 1
    shown = run(
        "estimate", "--model", "small.yaml", "--gpu", "hardware/mine.yaml", "--engine", "torch", "--weights", "fp32"
    )
    assert "kernels measured on mine" in " ".join(shown.out.split())
    kernels = load(here / "kept" / "mine-kernels.json")
    assert kernels.complete
    assert all(m.predicted for m in kernels.measurements if m.kernel == "gemm")
    again = run("calibrate", "--on", "cpu", "--busy", "--name", "mine", "--formats", "fp32", "--budget", "40",
                "--results", "kept", "--json")  # fmt: skip
    assert again.code == 0
    assert load(here / "kept" / "mine-kernels.json").keys == kernels.keys
    report = run("validate", "report", "kept", "--json")
    assert report.code == 0


WRONG_CALIBRATION = {
    ("--formats", "int3"): '--formats: no format is called "int3"',
    ("--formats", "w8"): "--formats: the first is what models run in",
    ("--name", "../x"): "--name needs small letters",
    ("--budget", "nan"): "--budget must be from 5 seconds",
    ("--device", "h100"): "--device is for --from FILE; without it, this device is measured",
    ("--from", "aiconfigurator", "--busy"): "--busy is for measuring this device",
    ("--on", "cuda:7"): "--on takes cuda, rocm, mps, cpu",
}


@pytest.mark.parametrize(("given", "told"), WRONG_CALIBRATION.items(), ids=" ".join)
def test_wrong_calibrations_get_one_sentence(run: Callable, here: Path, given: tuple[str, ...], told: str) -> None:
    found = run("calibrate", *given)
    assert found.code == 2
    assert told in found.err
    assert len(found.err.strip().splitlines()) == 1


# ── both in one go ───────────────────────────────────────────────────────────────────────────────


def test_a_battery_runs_what_can_run_and_says_what_cannot(
    run: Callable, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    battery = script("battery")
    steps = [battery.Step(name, "fp32", "eager", (1, 2), (8,)) for name in ("small.yaml", "mixtral-8x7b")]
    monkeypatch.setattr(battery, "ON_CPU", tuple(steps))

    def calibrated(asked: object, tell: object) -> object:
        file = asked.hardware / "mine.yaml"
        file.parent.mkdir(exist_ok=True)
        known = (data_folder("hardware") / "cpu-server.yaml").read_text(encoding="utf-8")
        file.write_text(known, encoding="utf-8")
        return battery.calibrate.Outcome(file, (), (), {})

    monkeypatch.setattr(battery.calibrate, "calibrated", calibrated)
    given = ("--on", "cpu", "--name", "mine", "--busy", "--budget", "60", "--results", "kept", "--formats", "fp32")
    told = run("validate", "device", *given, "--json", "--html", "all.html")
    assert told.code == 0, told.err
    data = json.loads(told.out)
    (one,) = data["runs"]
    assert {m["batch"] for m in one["results"]["measurements"]} == {1, 2}
    assert any("mixtral-8x7b in fp32, eager could not run: " in note for note in data["notes"])
    assert (here / "all.html").stat().st_size > 10_000
    assert "small, fp32, eager" in run("validate", "device", *given).out


def test_steps_of_a_gpu_keep_to_its_formats() -> None:
    battery, device = script("battery"), script("device").Device("cuda", "made", 2**37, 132)
    assert {step.weights for step in battery.steps_of(device, ("bf16", "w8", "w4"))} == {"bf16", "int4"}
    assert {step.weights for step in battery.steps_of(device, ("bf16", "w8", "w4", "fp8"))} == {"bf16", "int4", "fp8"}
    assert sum(step.share for step in battery.ON_GPU) > 0
