"""`calibrate` and `validate kernels`: tables → constants in files → errors, on a stand-in for the tables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from perfmodel import catalog
from perfmodel.catalog import data_folder, load_gpu
from perfmodel.fitting import aiconfigurator, comparison, gemm, tables
from perfmodel.fitting.fit import held_out
from perfmodel.kernels.gemm import Gemm, gemm_waits

TRUE = {"launch_s": 4e-6, "compute": 0.7, "memory": 0.8, "step_s": 5e-8, "tail": 0.3, "throttle": 0.1, "epilogue": 0.5}
DEVICES = ("a100_sxm", "h100_sxm")


def measured(device: str) -> pd.DataFrame:
    """Products of models in BF16, as quick as `TRUE` has them."""
    gpu, shapes = load_gpu(tables.DEVICES[device]), sorted(gemm.shapes())[::6]
    m, shape = np.meshgrid([1.0, 8, 64, 512, 2048, 8192], np.arange(len(shapes)))
    n, k = np.array(shapes)[shape.ravel()].T
    m = m.ravel()
    moving = 2 * m * (n + k)
    seconds = gemm_waits(
        2 * m * n * k, 2 * n * k + moving, m, n, k, gpu.peak("bf16"), gpu.memory_bandwidth, gpu.compute_units,
        Gemm(**TRUE), 0, moving, float(gpu.l2_cache or 0),
    ).total  # fmt: skip
    return pd.DataFrame({"gemm_dtype": "bfloat16", "m": m, "n": n, "k": k, "seconds": seconds})


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM's products in BF16 on two devices, and nothing else."""

    def versions(device: str, op: str, library: str, file: str) -> list[str]:
        return ["9.9"] if library == "vllm" and device in DEVICES else []

    monkeypatch.setattr(gemm, "versions", versions)
    monkeypatch.setattr(gemm, "table", lambda device, *_: ("9.9", measured(device)))
    for module in (tables, aiconfigurator, comparison):
        monkeypatch.setattr(module, "root", lambda: Path("nowhere"))
    for module in (aiconfigurator, comparison):
        monkeypatch.setattr(module, "package_version", lambda: "0")


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch):
    """An environment without the packages of perfmodel[calibrate]."""
    tables.root.cache_clear()
    monkeypatch.setattr(tables, "find_spec", lambda name: None if name in ("aiconfigurator_core", "scipy") else 1)
    yield
    tables.root.cache_clear()


@pytest.fixture
def hardware(tmp_path: Path) -> Path:
    shutil.copytree(data_folder("hardware"), tmp_path / "hardware")
    return tmp_path / "hardware"


CALIBRATE = ("calibrate", "--from", "aiconfigurator", "--kernels", "gemm")
HERE = ("--device", "a100,H100-SXM")


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_constants_go_into_the_files_of_their_devices(run, installed, hardware: Path) -> None:
    before = files(hardware)
    told = run(*CALIBRATE, *HERE, "--hardware", str(hardware), "--json")
    assert told.err == ""
    data = json.loads(told.out)
    assert [(f["device"], f["library"], f["kernel"], f["format"]) for f in data["fits"]] == [
        ("a100", "vllm", "gemm", "bf16"), ("h100", "vllm", "gemm", "bf16"),
    ]  # fmt: skip
    assert all(f["median_ape"] < 0.01 for f in data["fits"])
    changed = {name for name, text in files(hardware).items() if before[name] != text}
    assert {f"architectures/{name}.yaml" for name in ("all", "ampere", "hopper")} | {
        "a100.yaml",
        "h100.yaml",
    } == changed
    assert {str(hardware / name) for name in changed} == set(data["written"])
    block = load_gpu(str(hardware / "h100.yaml")).calibration["vllm"].kernels
    found = block["gemm"]["bf16"].constants
    assert {n: found[n] for n in ("launch_s", "compute", "memory")} == pytest.approx(
        {n: TRUE[n] for n in ("launch_s", "compute", "memory")}, rel=0.05
    )
    assert (block["gemm"]["bf16"].fit.data, block["gemm"]["bf16"].fit.version) == ("aiconfigurator-core 0", "9.9")
    assert block["decode"] == load_gpu("h100").calibration["vllm"].kernels["decode"]


def test_a_dry_run_prints_and_writes_nothing(run, installed) -> None:
    before = files(data_folder("hardware"))
    told = run(*CALIBRATE, *HERE, "--dry-run")
    assert told.code == 0
    assert "Nothing is written." in told.out
    assert [line.split()[:5] for line in told.out.splitlines()[2:4]] == [
        ["a100", "vllm", "gemm", "bf16", "9.9"], ["h100", "vllm", "gemm", "bf16", "9.9"],
    ]  # fmt: skip
    assert files(data_folder("hardware")) == before


def test_what_is_done_stays_when_somebody_stops_it(
    run, installed, hardware: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("stopped")

    def fits(device: str):
        if device == "h100_sxm":
            raise KeyboardInterrupt
        return gemm.fits(device)

    module.fits = fits  # type: ignore[attr-defined]
    monkeypatch.setitem(aiconfigurator.MODULES, "gemm", (module,))
    monkeypatch.setitem(aiconfigurator._NAMES, module, aiconfigurator._NAMES[gemm])
    before = files(hardware)
    told = run(*CALIBRATE, *HERE, "--hardware", str(hardware))
    assert told.code == 130
    assert "stopped" in told.err
    assert "a100.yaml" in told.err
    after = files(hardware)
    assert after.keys() == before.keys()
    assert {n for n in after if after[n] != before[n]} == {
        f"{n}.yaml" for n in ("a100", "architectures/ampere", "architectures/all")
    }
    assert load_gpu(str(hardware / "a100.yaml")).calibration["vllm"].kernels["gemm"]["bf16"].fit.version == "9.9"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--from", "aiconfigurators"), '--from takes "aiconfigurator" or a file of runs'),
        (("--from", "aiconfigurator", "--device", "h10"), 'No GPU is called "h10". Did you mean h100?'),
        (("--from", "aiconfigurator", "--device", "rtx-4090"), "has not measured rtx-4090; it has a100, h100"),
        (("--from", "aiconfigurator", "--kernels", "gem"), 'no kernels are called "gem"; did you mean "gemm"?'),
        (("--from", "aiconfigurator", "--hardware", "/nowhere"), "/nowhere is no folder"),
        (("--from", "aiconfigurator", "--hardware", "."), "a100.yaml is not there"),
        (("--from", "runs.csv", "--kernels", "gemm"), "--kernels is for kernels"),
    ],
)
def test_a_wrong_question_of_calibrate(run, installed, arguments: tuple[str, ...], said: str) -> None:
    told = run("calibrate", *arguments)
    assert (told.code, told.out) == (2, "")
    assert said in told.err
    assert len(told.err.splitlines()) == 1


@pytest.mark.parametrize("command", [("calibrate", "--from", "aiconfigurator"), ("validate", "kernels")])
def test_without_the_extra(run, missing, command: tuple[str, ...]) -> None:
    told = run(*command)
    assert told.code == 2
    assert told.err == (
        'perfmodel: This needs aiconfigurator-core and scipy: pip install "perfmodel[calibrate]".\n'
    )  # fmt: skip


# ── validate kernels ─────────────────────────────────────────────────────────────────────────────

FIGURES = {"median_ape", "mean_ape", "p90_ape", "bias"}


def test_shipped_constants_stand_beside_what_fits_recorded_and_the_roofline(run, installed) -> None:
    data = json.loads(run("validate", "kernels", "--kernel", "gemm", *HERE, "--by", "device", "--json").out)
    assert [g["by"] for g in data["groups"]] == [{"device": "a100"}, {"device": "h100"}]
    for group in (data["overall"], *data["groups"]):
        assert group["n"] == group["scored"] > 0
        assert set(group) >= {"n", "scored", "recorded", "roofline"} | FIGURES
        assert set(group["roofline"]) == FIGURES
        assert 0.1 < group["roofline"]["median_ape"] < 1
    recorded = load_gpu("h100").calibration["vllm"].kernels["gemm"]["bf16"].fit
    told = data["groups"][1]["recorded"]
    assert (told["tables"], told["points"], told["median_ape"]) == (1, recorded.points, recorded.median)
    assert data["overall"]["n"] == sum(g["n"] for g in data["groups"])


def test_rows_are_those_that_no_scored_fit_had_seen(run, installed) -> None:
    data = json.loads(run("validate", "kernels", "--device", "h100", "--json").out)
    frame = measured("h100_sxm")
    kept = held_out(list(zip(frame["n"].to_numpy(), frame["k"].to_numpy(), strict=True)))
    assert 0 < data["overall"]["n"] <= kept.sum()


def test_a_device_left_out_gets_what_others_told(run, installed) -> None:
    arguments = ("validate", "kernels", "--device", "h100", "--left-out")
    group = json.loads(run(*arguments, "--json").out)["overall"]
    h200 = load_gpu("h200").calibration["vllm"].kernels["gemm"]["bf16"].constants
    case = next(iter(aiconfigurator.cases("h100_sxm", "gemm")))
    off = np.abs(case.predicted(h200) / case.seconds - 1)
    assert group["left_out"]["median_ape"] == pytest.approx(np.median(off))  # the only other Hopper
    assert group["family_left_out"]["median_ape"] != group["left_out"]["median_ape"]
    screen = run(*arguments).out
    for column in ("recorded", "roofline", "left out", "family out"):
        assert column in screen.splitlines()[-3]
    assert "refitted to all rows" in " ".join(screen.split())


def test_what_files_record_needs_no_tables(run, missing) -> None:
    told = run("validate", "kernels", "--recorded", "--device", "h100", "--kernel", "gemm")
    assert told.code == 0
    assert told.out.splitlines()[2].split() == [
        "device",
        "library",
        "kernel",
        "format",
        "version",
        "points",
        "median",
        "90th",
    ]
    fits = load_gpu("h100").calibration["trtllm"].kernels["gemm"]["bf16"].fit
    row = next(line.split() for line in told.out.splitlines() if line.startswith("h100    trtllm   gemm    bf16 "))
    assert row[-6:] == [fits.version, str(fits.points), f"{fits.median * 100:.1f}", "%", f"{fits.p90 * 100:.1f}", "%"]


def test_recorded_errors_of_a_group_are_means_over_its_tables(run) -> None:
    arguments = ("validate", "kernels", "--recorded", "--kernel", "attention", "--by", "kernel,format")
    data = json.loads(run(*arguments, "--json").out)
    decode = next(g for g in data["groups"] if g["by"] == {"kernel": "decode", "format": "bf16"})
    fits = [
        block.kernels["decode"]["bf16"].fit
        for gpu in map(load_gpu, catalog.names("gpu"))
        for block in gpu.calibration.values()
        if "bf16" in block.kernels.get("decode", {})
    ]
    assert decode["tables"] == len(fits) > 20
    assert decode["median_ape"] == pytest.approx(np.mean([f.median for f in fits]))
    assert {g["by"]["kernel"] for g in data["groups"]} >= {"prefill", "decode", "mla-decode"}
    assert "means over the tables" in run(*arguments).out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--kernel", "decod"), 'no kernel is called "decod"; did you mean "decode"?'),
        (("--by", "devices"), 'no column called "devices"; did you mean "device"?'),
        (("--device", "h10"), "Did you mean h100?"),
        (("--recorded", "--left-out"), "--left-out needs the tables"),
        (("--recorded", "--device", "rtx-4090"), "No measured kernel is like that"),
        (("--recorded", "--format", "bf61"), 'no format is called "bf61"; did you mean "bf16"?'),
        (("--recorded", "--kernel", "gem"), 'did you mean "gemm"?'),
    ],
)
def test_a_wrong_question_of_kernels(run, installed, arguments: tuple[str, ...], said: str) -> None:
    told = run("validate", "kernels", *arguments)
    assert (told.code, told.out) == (2, "")
    assert said in told.err
    assert len(told.err.splitlines()) == 1


# ── show ─────────────────────────────────────────────────────────────────────────────────────────


def test_show_has_a_line_for_every_measured_kernel(run) -> None:
    gpu, out = load_gpu("h100"), run("show", "h100").out
    entries = [(k, key) for b in gpu.calibration.values() for k, keys in b.kernels.items() for key in keys]
    lines = out[out.index("Calibration") :].splitlines()
    assert sum(line.startswith("  ") and " % " in line for line in lines) == len(entries)
    assert max(map(len, lines)) <= 100
    fit = gpu.calibration["vllm"].kernels["gemm"]["bf16"].fit
    line = next(line for line in lines if line.startswith("  gemm bf16"))
    assert f"{fit.median * 100:.1f} / {fit.p90 * 100:.1f} %  launch " in line
    assert "other Hopper devices" in " ".join(out.split())


@pytest.mark.parametrize(("name", "sources"), [("rtx-4090", ["Ada", "all devices"]), ("mi300x", ["all devices"])])
def test_show_says_whose_constants_hold(run, name: str, sources: list[str]) -> None:
    data = json.loads(run("show", name, "--json").out)
    assert data["inherits"] == sources
    assert "gemm" not in str(data["calibration"])
    text = " ".join(run("show", name).out.split())
    assert "no kernel was measured on this device: constants come from" in text
    assert "from all devices" in text


def test_show_json_has_every_constant(run) -> None:
    data = json.loads(run("show", "h100", "--json").out)["calibration"]
    for library, block in load_gpu("h100").calibration.items():
        for kernel, by_key in block.kernels.items():
            for key, entry in by_key.items():
                told = data[library][kernel][key]
                assert told["constants"] == entry.constants
                assert (told["fit"]["points"], told["fit"]["median"]) == (entry.fit.points, entry.fit.median)
