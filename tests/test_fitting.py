"""Fitting: constants come back from what they predict, and go into hardware files that keep all else they hold."""

from __future__ import annotations

import datetime
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.calibrated import Architecture
from perfmodel.catalog import data_folder, load_gpu, read_yaml
from perfmodel.errors import RequestError, SpecError
from perfmodel.fitting import write as writing
from perfmodel.fitting.fit import SHARE, TIME, Errors, Start, fitted, folds, four_digits, held_out, unseen
from perfmodel.fitting.write import Fitted, means, write
from perfmodel.spec import checked

SIZES = np.geomspace(1e3, 1e9, 60)
START = {"launch_s": Start(1e-5, TIME, pull=15), "memory": Start(0.5, SHARE, pull=15)}
TODAY = datetime.date(2026, 11, 21)


@dataclass(frozen=True)
class Kernel:
    launch_s: float
    memory: float = 0.75


def moved(c):
    return c["launch_s"] + SIZES / (c["memory"] * 3e12)


# ── the fit ──────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None, max_examples=40)
@given(launch=st.floats(1e-6, 1e-4), memory=st.floats(0.05, 0.9))
def test_known_constants_come_back(launch: float, memory: float) -> None:
    found = fitted(moved, moved({"launch_s": launch, "memory": memory}), START)
    assert found == pytest.approx({"launch_s": launch, "memory": memory}, rel=0.03)


def test_noise_and_outliers_move_them_little() -> None:
    known = {"launch_s": 4e-6, "memory": 0.8}
    noise = np.random.default_rng(1).normal(0, 0.05, len(SIZES))
    noise[::15] += 2.0  # a few calls that took seven times as long
    found = fitted(moved, moved(known) * np.exp(noise), START)
    assert found == pytest.approx(known, rel=0.08)


@settings(deadline=None, max_examples=40)
@given(speed=st.floats(0.001, 50.0))
def test_shares_stay_within_physics(speed: float) -> None:
    """Data faster than the hardware (warm caches) teach no share above 1."""
    found = fitted(moved, 3e-6 + SIZES / (speed * 3e12), START)
    assert 0 < found["memory"] <= 1
    assert found["launch_s"] > 0


def test_a_prior_holds_what_rows_do_not_tell() -> None:
    pulled = START | {"other": Start(0.3, SHARE, pull=1.0)}
    assert fitted(moved, moved({"launch_s": 4e-6, "memory": 0.8}), pulled)["other"] == pytest.approx(0.3)


def test_weights_choose_rows() -> None:
    seconds = np.where(SIZES < 1e8, moved({"launch_s": 4e-6, "memory": 0.8}), 1.0)
    found = fitted(moved, seconds, START, weights=SIZES < 1e8)
    assert found == pytest.approx({"launch_s": 4e-6, "memory": 0.8}, rel=0.03)


def test_shapes_are_held_out_whole_and_the_same_in_every_run() -> None:
    shapes = [(n, k) for n in range(40) for k in range(40)]
    kept = held_out(shapes * 2)
    assert (kept == held_out(shapes * 2)).all()
    assert (kept[: len(shapes)] == kept[len(shapes) :]).all()
    assert 0.25 < kept.mean() < 0.35
    # by the name of a shape, not by its place: today's choice is tomorrow's
    assert [bool(x) for x in held_out([(4096, 4096), (14336, 4096), (4096, 11008), (1, 1)])] == [
        bool(held_out([shape])[0]) for shape in [(4096, 4096), (14336, 4096), (4096, 11008), (1, 1)]
    ]


def test_each_row_is_predicted_by_constants_that_have_not_seen_it() -> None:
    class Rows:
        def __init__(self, mask):
            self.mask = mask

        def part(self, mask):
            return Rows(np.flatnonzero(mask))

        def predicted(self, constants):
            assert not set(self.mask) & set(constants)
            return np.ones(len(self.mask))

    fold = folds([f"shape {i}" for i in range(200)])
    assert set(fold) == {0, 1, 2}
    assert np.isfinite(unseen(Rows(None), fold, lambda part: dict.fromkeys(part.mask, 0.0))).all()
    assert np.isnan(unseen(Rows(None), folds(["one"] * 5), lambda part: {})).all()


def test_errors_are_what_they_are_called() -> None:
    e = Errors.of(np.array([1.1, 0.9, 2.0, 1.0]), 1.0)
    assert (e.n, e.median, e.mean) == (4, pytest.approx(0.1), pytest.approx(0.3))
    assert e.bias == pytest.approx(0.05)
    assert math.isnan(Errors.of(np.array([]), np.array([])).median)


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def fit(device: str, **given) -> Fitted:
    known = {
        "library": "vllm", "kernel": "gemm", "key": "bf16", "data": "tables 1.0", "version": "0.24.0", "points": 1200,
        "constants": {"launch_s": 3e-6, "compute": 0.8, "memory": 0.9, "step_s": 6e-8}, "median": 0.04, "p90": 0.12,
    }  # fmt: skip
    return Fitted(device, **(known | given))


@pytest.fixture
def hardware(tmp_path: Path) -> Path:
    """A folder with three devices, of two architectures, that nobody measured yet."""
    folder = tmp_path / "hardware"
    folder.mkdir()
    for name in ("h100", "h200", "a100"):
        text = (data_folder("hardware") / f"{name}.yaml").read_text(encoding="utf-8")
        (folder / f"{name}.yaml").write_text(text.partition("calibration:\n")[0], encoding="utf-8")
    return folder


def entry(file: Path, library: str = "vllm", kernel: str = "gemm", key: str = "bf16"):
    held = checked(Architecture, read_yaml(file), "x") if file.parent.name == "architectures" else load_gpu(str(file))
    return held.calibration[library].kernels[kernel][key]


def test_a_fit_is_read_back_as_it_was_written(hardware: Path) -> None:
    files = write([fit("h100")], hardware, TODAY)
    assert [f.name for f in files] == ["h100.yaml", "hopper.yaml", "all.yaml"]
    held = entry(hardware / "h100.yaml")
    assert held.constants == fit("h100").constants
    assert (held.fit.data, held.fit.version, held.fit.date) == ("tables 1.0", "0.24.0", TODAY)
    assert (held.fit.points, held.fit.median, held.fit.p90) == (1200, 0.04, 0.12)


def test_writing_twice_changes_nothing(hardware: Path) -> None:
    fits = [fit("h100"), fit("h100", kernel="grouped", constants={"launch_s": 2e-5, "compute": 0.5, "memory": 0.9})]
    files = write(fits, hardware, TODAY)
    before = {file: file.read_bytes() for file in files}
    assert {file: file.read_bytes() for file in write(fits, hardware, TODAY)} == before


def test_the_rest_of_a_file_stays_byte_for_byte(hardware: Path) -> None:
    file = hardware / "h100.yaml"
    others = (
        "calibration:\n  trtllm 1+:\n    kernels:\n      # what runs of whole models tell\n      overheads:\n"
        "        any:\n          constants: {layer_s: 8.123456789e-06}  # as fitted\n"
        "          fit: {data: runs 3, date: 2025-01-02, points: 7, median: 0.1, p90: 0.2, spreads: {decode: 1.2}}\n"
        "  vllm:\n    kernels:\n      gemm:\n        fp8:\n"
        "          constants: {launch_s: 3.0e-06, compute: 0.80, memory: 0.90, step_s: 6.0e-08}\n"
        "          fit: {data: by hand 1, date: 2025-01-02, points: 1, median: 0.2, p90: 0.5}\n"
    )
    start, end = file.read_text(encoding="utf-8").rstrip("\n") + "\n# a remark\n", "# the end\n"
    file.write_text(start + others + end, encoding="utf-8")
    write([fit("h100")], hardware, TODAY)
    text = file.read_text(encoding="utf-8")
    assert text.startswith(start)
    assert text.endswith(end)
    for line in others.splitlines():
        assert line in text
    assert entry(file, "trtllm 1+", "overheads", "any").fit.spreads == {"decode": 1.2}
    assert entry(file, key="fp8").constants["compute"] == 0.8
    assert entry(file).constants["compute"] == 0.8
    assert "overheads" not in (hardware / "architectures" / "hopper.yaml").read_text(encoding="utf-8")


def test_what_the_same_tables_told_of_a_kernel_before_goes(hardware: Path) -> None:
    scan = {"kernel": "scan", "key": "kda decode", "constants": {"launch_s": 1e-5, "compute": 0.2, "memory": 0.5}}
    write([fit("h100", key="int8"), fit("h100"), fit("h100", **scan)], hardware, TODAY)
    write([fit("h100", data="tables 2.0")], hardware, TODAY)
    assert [f.name for f in writing.told(load_gpu(str(hardware / "h100.yaml")))] == [
        ("vllm", "gemm", "bf16"), ("vllm", "scan", "kda decode"),
    ]  # fmt: skip
    assert "int8" not in (hardware / "architectures" / "all.yaml").read_text(encoding="utf-8")


def test_means_are_geometric_and_over_all_devices_of_the_folder(hardware: Path) -> None:
    def of(device: str, launch: float, **given) -> Fitted:
        return fit(device, constants=fit(device).constants | {"launch_s": launch}, **given)

    write([of("h100", 1e-6), of("a100", 9e-6)], hardware, TODAY)
    write([of("h200", 4e-6, median=0.07, points=100, version="0.25.0")], hardware, TODAY)
    folder = hardware / "architectures"
    hopper, ampere, every = (entry(folder / f"{name}.yaml") for name in ("hopper", "ampere", "all"))
    assert hopper.constants["launch_s"] == pytest.approx(2e-6)
    assert ampere.constants["launch_s"] == 9e-6
    assert every.constants["launch_s"] == pytest.approx((1e-6 * 4e-6 * 9e-6) ** (1 / 3), rel=1e-3)
    assert (hopper.fit.points, hopper.fit.median, hopper.fit.version) == (1300, 0.07, "0.24.0, 0.25.0")


def test_limits_are_exact_and_never_averaged(hardware: Path) -> None:
    def ring(device: str, limit: float) -> Fitted:
        constants = {"start_s": 7e-6, "step_s": 1e-6, "share": 0.8, "one_limit": limit}
        return fit(device, kernel="collective", key="NVLink all-reduce 8", constants=constants)

    write([ring("h100", 917504.0), ring("h200", 1835008.0), ring("a100", float(2**50))], hardware, TODAY)
    for file, limit in (("h100", 917504), ("architectures/all", 1835008), ("a100", 2**50)):
        held = entry(hardware / f"{file}.yaml", kernel="collective", key="NVLink all-reduce 8")
        assert held.constants["one_limit"] == limit


def test_a_constant_that_few_devices_have_is_left_out_of_the_mean() -> None:
    with_tail = {"tail": 0.4, **fit("h100").constants}
    few = [fit("h100", constants=with_tail), fit("h200"), fit("a100")]
    most = [fit("h100", constants=with_tail), fit("h200", constants=with_tail), fit("a100")]
    for order in (few, few[::-1]):
        assert "tail" not in means(order)[0].constants
    for order in (most, most[::-1]):
        assert means(order)[0].constants["tail"] == pytest.approx(0.4)


def test_a_file_is_written_whole_or_not_at_all(hardware: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write([fit("h100")], hardware, TODAY)
    before = {file.name: file.read_bytes() for file in hardware.rglob("*") if file.is_file()}

    def fails(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(KeyboardInterrupt):
        write([fit("h100", median=0.5)], hardware, TODAY)
    assert {file.name: file.read_bytes() for file in hardware.rglob("*") if file.is_file()} == before


def test_a_layout_that_lines_cannot_follow_is_an_error(hardware: Path) -> None:
    file = hardware / "h100.yaml"
    constants = "constants: {layer_s: 1.0e-05}, fit: {data: runs 3, date: 2025-01-02, points: 7, median: 0.1, p90: 0.2}"
    text = file.read_text(encoding="utf-8")
    text += f"calibration:\n  trtllm 1+: {{kernels: {{overheads: {{any: {{{constants}}}}}}}}}\n"
    file.write_text(text, encoding="utf-8")
    assert load_gpu(str(file)).calibration["trtllm 1+"]
    with pytest.raises(SpecError, match="is not laid out as perfmodel writes it"):
        write([fit("h100")], hardware, TODAY)
    assert file.read_text(encoding="utf-8") == text


def test_sources_of_two_versions_are_one_word(hardware: Path) -> None:
    write([fit("h100", data="tables 1.0")], hardware, TODAY)
    write([fit("h200", data="tables 2.0")], hardware, TODAY)
    assert entry(hardware / "architectures" / "hopper.yaml").fit.data == "tables 1.0, tables 2.0"


def test_nothing_is_written_that_could_not_be_read(hardware: Path) -> None:
    before = (hardware / "h100.yaml").read_bytes()
    with pytest.raises(SpecError, match="median"):
        write([fit("h100", median=float("nan"))], hardware, TODAY)
    assert (hardware / "h100.yaml").read_bytes() == before


def test_a_device_without_a_file_is_an_error(hardware: Path) -> None:
    with pytest.raises(RequestError, match=r"l40s\.yaml is not there"):
        write([fit("l40s")], hardware, TODAY)


def test_the_files_that_ship_are_as_calibrate_leaves_them(tmp_path: Path) -> None:
    """Means of architectures are those of their devices, and nothing is written otherwise than it stands."""
    import shutil

    folder = tmp_path / "hardware"
    shutil.copytree(data_folder("hardware"), folder)
    held = [f for gpu in writing.calibrated(folder) for f in writing.told(gpu) if f.source == "aiconfigurator-core"]
    assert len(held) > 600
    write(held, folder, entry(folder / "h100.yaml").fit.date)
    for file in sorted(folder.rglob("*.yaml")):
        assert read_yaml(file) == read_yaml(data_folder("hardware") / file.relative_to(folder)), file.name


def test_a_file_gets_every_constant_of_a_form_and_nothing_else() -> None:
    got = four_digits(Kernel, asdict(Kernel(launch_s=1.23456e-6)) | {"spread": 1.0})
    assert got == {"launch_s": 1.235e-6, "memory": 0.75}
    with pytest.raises(KeyError, match="memory"):
        four_digits(Kernel, {"launch_s": 1e-6})
