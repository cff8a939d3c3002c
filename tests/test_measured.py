"""Results files and `validate report`: what is kept of measurements, how a run goes on, and how errors are counted."""

from __future__ import annotations

import copy
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_results import SOFTWARE, device, figure, full_kernels, full_run, kernel, kernels, runs

from perfmodel.errors import PerfModelError, RequestError, SpecError
from perfmodel.measured.measurements import Predicted, Setting, kernel_setting
from perfmodel.measured.report import reported
from perfmodel.measured.results import Results, load, results_in, taken_up
from perfmodel.measured.scores import Point, by_op, columns, errors, grouped, honest, points_of, score, shapes, worst
from perfmodel.score import Score, quantile

# ── results files ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("held", [full_run(), full_kernels(), runs(), kernels(complete=False)])
def test_a_file_says_what_was_saved(held: Results, tmp_path: Path) -> None:
    held.save(tmp_path / "results.json")
    found = load(tmp_path / "results.json")
    assert found == held
    assert type(found) is type(held)
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_the_format_of_a_file(tmp_path: Path) -> None:
    runs(figure(told=1.1, flops=2e9)).save(tmp_path / "results.json")
    text = (tmp_path / "results.json").read_text(encoding="utf-8")
    data = json.loads(text)
    assert list(data) == ["format", "kind", "device", "software", "date", "command", "complete", "measurements"]
    assert (data["format"], data["kind"], data["device"]["gpu"]) == (1, "run", "h200")
    assert data["device"]["temperature_c"] is None
    (one,) = data["measurements"]
    assert one["predicted"] == {"expected": 1.1, "low": pytest.approx(0.99), "high": pytest.approx(1.21)}
    assert (one["draft"], one["flops"], "bytes" in one) == (None, 2e9, False)
    assert len([line for line in text.splitlines() if '"ttft_s"' in line and '"expected"' in line]) == 1


def broken(change: Callable[[dict[str, Any]], None], held: Results, folder: Path) -> str:
    """What `load` says of a file after `change`."""
    held.save(folder / "results.json")
    data = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    change(data)
    (folder / "results.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load(folder / "results.json")
    return str(caught.value)


WRONG: dict[str, tuple[tuple[Any, ...], Any]] = {
    "format": (("format",), 2),
    "format, true": (("format",), True),
    "kind": (("kind",), "server"),
    "date": (("date",), "2025-02-30"),
    "date, a number": (("date",), 20250101),
    "command": (("command",), ""),
    "command, control": (("command",), "a\x1b[2J"),
    "complete": (("complete",), 1),
    "measurements": (("measurements",), 7),
    "device": (("device",), "H200"),
    "device name": (("device", "name"), None),
    "device kind": (("device", "kind"), "tpu"),
    "device gpu": (("device", "gpu"), 200),
    "driver": (("device", "driver"), ["580"]),
    "memory": (("device", "memory_bytes"), -80),
    "units": (("device", "compute_units"), 1.5),
    "clock": (("device", "clock_hz"), "1980 MHz"),
    "temperature": (("device", "temperature_c"), -300),
    "software": (("software", "torch"), 2.13),
    "value": (("measurements", 0, "value"), -1.0),
    "value, text": (("measurements", 0, "value"), "1.0"),
    "value, huge": (("measurements", 0, "value"), 10**400),
    "low": (("measurements", 0, "low"), 5.0),
    "high": (("measurements", 0, "high"), 0.5),
    "repeats": (("measurements", 0, "repeats"), 0),
    "predicted": (("measurements", 0, "predicted"), 1.1),
    "predicted low": (("measurements", 0, "predicted", "low"), 7.0),
    "predicted expected": (("measurements", 0, "predicted", "expected"), -7.0),
    "used_in_fit": (("measurements", 0, "used_in_fit"), "no"),
    "flops": (("measurements", 0, "flops"), -1.0),
    "bytes": (("measurements", 0, "bytes"), "2 GB"),
    "model": (("measurements", 0, "model"), ""),
    "layers": (("measurements", 0, "layers"), 33),
    "of_layers": (("measurements", 0, "of_layers"), 0),
    "weights": (("measurements", 0, "weights"), 16),
    "kv": (("measurements", 0, "kv"), None),
    "way": (("measurements", 0, "way"), "jit"),
    "attention": (("measurements", 0, "attention"), "fast"),
    "cache": (("measurements", 0, "cache"), None),
    "draft": (("measurements", 0, "draft"), False),
    "batch": (("measurements", 0, "batch"), True),
    "prompt": (("measurements", 0, "prompt"), 1.5),
    "output": (("measurements", 0, "output"), -1),
    "figure": (("measurements", 0, "figure"), "tfft_s"),
    "figure of an op": (("measurements", 0, "figure"), "prefill_op:_s"),
    "key": (("measurements", 0, "bath"), 1),
}


@pytest.mark.parametrize(("place", "value"), WRONG.values(), ids=WRONG)
def test_every_wrong_field_of_a_run_is_refused(place: tuple[Any, ...], value: Any, tmp_path: Path) -> None:
    def change(data: dict[str, Any]) -> None:
        for part in place[:-1]:
            data = data[part]
        data[place[-1]] = value

    said = broken(change, runs(figure(told=1.1)), tmp_path)
    where = ".".join(str(part) for part in place)
    assert said.startswith(f"{tmp_path / 'results.json'}: {'.'.join(str(p) for p in place[:2])}")
    assert where in said or f"{place[-1]}" in said
    shown = str(value)[:20]
    assert shown in said or repr(value)[:6] in said or place[-1] == "bath", said
    assert "\n" not in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("field", "value"),
    [("kernel", ""), ("format", 8), ("shape", {}), ("shape", {"m": "16"}), ("shape", {"m": -1}), ("value", 0)],
)
def test_every_wrong_field_of_a_kernel_is_refused(field: str, value: Any, tmp_path: Path) -> None:
    said = broken(lambda data: data["measurements"][0].update({field: value}), kernels(kernel()), tmp_path)
    assert f"measurements.0.{field}" in said


@pytest.mark.parametrize(
    "value", [None, [], {}, [[]], {"a": 1}, "", "x" * 10_000, -1, 0.5, True, 10**30, "\x1b]0;x\x07"]
)
def test_whatever_stands_in_a_field_ends_in_one_sentence(value: Any, tmp_path: Path) -> None:
    held = [runs(figure(told=1.1, flops=1.0), complete=False), kernels(kernel(told=1e-5))]
    for number, one in enumerate(held):
        one.save(file := tmp_path / f"{number}.json")
        data = json.loads(file.read_text(encoding="utf-8"))
        for inside in (data, data["device"], data["software"], data["measurements"][0]):
            for field in list(inside):
                kept, inside[field] = inside[field], value
                file.write_text(json.dumps(data), encoding="utf-8")
                said = complaint(file)
                assert len(said) < 600, field
                assert said.isprintable()
                inside[field] = kept


def complaint(file: Path) -> str:
    """What `load` says of a file, "" where it takes it; anything but a SpecError is a bug."""
    try:
        load(file)
    except SpecError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("field", ["format", "kind", "device", "software", "date", "command"])
def test_what_is_missing_is_named(field: str, tmp_path: Path) -> None:
    assert f"{field}: " in (said := broken(lambda data: data.pop(field), runs(figure()), tmp_path))
    assert "missing" in said


def test_further_mistakes_of_files(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    for text, told in (
        ("{", "is not valid JSON at line 1"),
        ("[]", "must be one object"),
        ('{"format": 1, "format": 1}', "stands twice"),
        ('{"format": NaN}', "NaN is no number that was measured"),
        ('{"format": 1, "kind": "run", "date": Infinity}', "Infinity is no number"),
        ("[" * 100_000, "nested too deeply"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(SpecError, match=told):
            load(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match="is not UTF-8 text"):
        load(file)
    with pytest.raises(SpecError, match=r"cannot be read.*give a results file"):
        load(tmp_path / "none.json")
    with pytest.raises(SpecError, match="cannot be read"):
        load(tmp_path)


def test_a_large_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfmodel.measured.results.LARGEST", 1_000_000)
    (tmp_path / "results.json").write_text(" " * 1_000_001, encoding="utf-8")
    with pytest.raises(SpecError, match="larger than 1 MB; split it"):
        load(tmp_path / "results.json")


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    runs(figure()).save(tmp_path / "results.json")
    text = (tmp_path / "results.json").read_text(encoding="utf-8").replace('"value": 1.0', '"value": 1e999')
    (tmp_path / "results.json").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match=r"measurements\.0\.value"):
        load(tmp_path / "results.json")


def test_versions_that_figures_rest_on_are_asked_for(tmp_path: Path) -> None:
    said = broken(lambda data: data["software"].pop("torch"), runs(figure()), tmp_path)
    assert "software: needs the version of torch" in said


def test_a_measurement_stands_once(tmp_path: Path) -> None:
    said = broken(lambda data: data["measurements"].append(data["measurements"][0]), runs(figure()), tmp_path)
    assert "measurements.1 is of the same as measurements.0" in said


# ── going on with a run ──────────────────────────────────────────────────────────────────────────


def test_a_run_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    file, fresh = tmp_path / "results.json", runs(complete=False)
    wanted = [figure(batch=batch, value=float(batch)) for batch in (1, 2, 4)]
    held = taken_up(file, fresh)
    assert held == fresh
    held.with_measurements(wanted[:2]).save(file)  # and here it is interrupted
    held = taken_up(file, fresh)
    assert [one.batch for one in wanted if one.setting not in held.settings] == [4]
    done = held.with_measurements(wanted[2:], complete=True)
    assert (len(done.measurements), done.complete, held.complete) == (3, True, False)
    assert len(held.measurements) == 2, "what was is not changed"


def test_a_measurement_made_again_takes_the_place_of_the_old() -> None:
    held = runs(figure(value=1.0), figure(value=3.0, batch=2)).with_measurements([figure(value=2.0, told=2.5)])
    assert [one.value for one in held.measurements] == [2.0, 3.0]
    assert held.keys == {figure().key, figure(batch=2).key}
    assert held.settings == {figure().setting, figure(batch=2).setting}
    assert Setting("llama3-8b", 4, 32, "bf16", "bf16", "graphs", "flash", True, None, 1, 128, 32) in held.settings
    assert kernel_setting("gemm", "bf16", {"k": 4096, "n": 4096, "m": 16}) in kernels(kernel()).settings
    assert kernel(shape={"m": 1, "n": 2}).key == kernel(shape={"n": 2, "m": 1}).key


def test_what_is_written_is_whole_or_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "results.json"
    runs(figure()).save(file)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        full_run().save(file)
    assert load(file) == runs(figure())
    assert [found.name for found in tmp_path.iterdir()] == ["results.json"]
    with pytest.raises(RequestError, match="cannot be written"):
        runs().save(tmp_path / "nowhere" / "results.json")


def test_results_of_another_device_or_software_do_not_mix(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    runs(figure()).save(file)
    for fresh, told in (
        (kernels(), "kind 'run', not 'kernels'"),
        (runs(device=device(name="NVIDIA B200")), "device 'NVIDIA H200', not 'NVIDIA B200'"),
        (runs(device=device(driver="590")), "driver '580.1', not '590'"),
        (runs(software=SOFTWARE | {"torch": "2.14"}), "torch '2.13.0', not '2.14'"),
    ):
        with pytest.raises(RequestError, match=told):
            taken_up(file, fresh)
    with pytest.raises(RequestError, match="of that kind only"):
        runs().with_measurements([kernel()])


# ── measurements ─────────────────────────────────────────────────────────────────────────────────


def test_figures_are_of_a_phase_and_an_op() -> None:
    def told(name: str) -> tuple[str, str, str]:
        one = figure(name)
        return one.group, one.phase, one.op

    assert told("ttft_s") == ("prefill", "prefill", "")
    assert told("tpot_s") == ("decode", "decode", "")
    assert told("decode_op:attention.qkv_s") == ("decode ops", "decode", "attention.qkv")
    assert told("peak_memory_bytes") == ("memory", "", "")
    assert told("accepted_length") == ("accepted length", "", "")
    assert told("speedup") == ("speedup", "", "")


def test_shapes_are_told_as_people_say_them() -> None:
    assert figure(batch=8).shape_text == "llama3-8b (4 of 32 layers), bf16, graphs, flash, batch 8, 128 + 32"
    whole = figure(layers=32, cache=False, draft="llama3-1b", way="eager", attention="naive")
    assert whole.shape_text == "llama3-8b, bf16, eager, naive, no cache, draft llama3-1b, batch 1, 128 + 32"
    assert kernel().shape_text == "gemm, bf16, m 16, n 4096, k 4096"


# ── scores ───────────────────────────────────────────────────────────────────────────────────────


def points(*told: float, **given: Any) -> list[Point]:
    """Measurements of 10 s with these predictions."""
    return points_of([runs(*(figure(value=10.0, told=t, batch=1 + i, **given) for i, t in enumerate(told)))])


def test_statistics_by_hand() -> None:
    # signed errors −0.5, −0.1, 0, +0.2, +1
    found = [*points(5, 9, 10, 12, 20), *points_of([runs(figure(batch=99))])]
    s = score(found)
    assert (s.n, s.scored) == (6, 5)
    assert s.median_ape == pytest.approx(0.2)
    assert s.mean_ape == pytest.approx((0.5 + 0.1 + 0 + 0.2 + 1) / 5)
    assert s.p90_ape == pytest.approx(0.5 + 0.6 * 0.5)  # rank 3.6 of 0 … 4, linear
    assert s.bias == 0
    assert s.coverage80 == pytest.approx(1 / 5)  # 9 ± 0.9 does not reach 10, 12 ± 1.2 neither
    assert score(found[-1:]) == Score(1, 0)
    assert score([]) == Score(0, 0)


def test_quantiles_are_those_of_numpy() -> None:
    import numpy as np

    values = [0.3, -1.0, 7.0, 2.5, 2.5, 0.0]
    for share in (0.0, 0.25, 0.5, 0.9, 1.0):
        assert quantile(values, share) == pytest.approx(np.quantile(values, share))
    assert quantile([3.0], 0.9) == 3.0


def test_what_a_fit_has_used_is_scored_apart() -> None:
    found = [*points(11, 11), *points(15, used_in_fit=True)]
    both = errors(found)
    assert (both.unseen.n, both.unseen.median_ape) == (2, pytest.approx(0.1))
    assert (both.fitted.n, both.fitted.median_ape) == (1, pytest.approx(0.5))
    assert len(honest(found)) == 2
    assert len(honest(found[2:])) == 1, "where a fit has used all, all are told"


def test_groups_are_of_any_columns() -> None:
    other = runs(figure(value=10.0, told=20, figure="tpot_s"), device=device(name="CPU", kind="cpu", gpu=None))
    found = [*points(11, 12), *points_of([other, kernels(kernel(told=1e-5))])]
    rows = {key: e.unseen.n for key, e in grouped(found, ("device", "group"))}
    assert rows == {("NVIDIA H200", "prefill"): 2, ("CPU", "decode"): 1, ("NVIDIA H200", "gemm kernels"): 1}
    assert [key for key, _ in grouped(found, ("batch",))] == [(1,), (2,), ("",)]
    assert columns("gpu, way,gpu") == ("gpu", "way")
    with pytest.raises(RequestError, match='no column "figur"; did you mean "figure"'):
        columns("figur")
    with pytest.raises(RequestError, match=r"known: device, "):
        columns("qqqqq")


def test_the_worst_are_farthest_off_as_a_factor() -> None:
    assert [p.error for p in worst(points(20, 4, 11, 0))] == pytest.approx([-1, -0.6, 1, 0.1])
    assert len(worst(points(*range(1, 30)))) == 10


def test_errors_by_op_by_hand() -> None:
    def one(op: str, value: float, told: float, **given: Any) -> Any:
        return figure(f"prefill_op:{op}_s", value, told, **given)

    held = runs(
        figure("ttft_s", 9.0, 9.0),
        one("up", 3.0, 3.3),  # three quarters of the first run
        one("norm", 1.0, 0.5),
        one("up", 1.0, 1.3, batch=2),  # a quarter of the second
        one("norm", 3.0, 3.0, batch=2),
    )
    decode = runs(figure("decode_op:up_s", 2.0, 2.0))
    found = by_op(points_of([held, decode]))
    assert [(o.phase, o.op, o.n) for o in found] == [("prefill", "up", 2), ("prefill", "norm", 2), ("decode", "up", 1)]
    assert [o.share for o in found] == pytest.approx([0.5, 0.5, 1.0])
    assert [o.bias for o in found] == pytest.approx([0.2, -0.25, 0.0])
    assert found[0].p90 == pytest.approx(0.1 + 0.9 * 0.2)


def test_shapes_are_counted_once() -> None:
    held = runs(figure("ttft_s"), figure("tpot_s"), figure("ttft_s", batch=2))
    assert shapes(points_of([held, held, kernels(kernel())])) == 3


# ── validate report ──────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files: two devices, and kernels."""
    made = tmp_path / "made"
    made.mkdir()
    runs(figure(value=10, told=11), figure("tpot_s", value=1, told=1.5)).save(made / "h200.json")
    cpu = device(name="EPYC", kind="cpu", gpu=None, driver=None, clock_hz=None)
    runs(figure(value=10, told=8, used_in_fit=True), device=cpu, complete=False).save(made / "cpu.json")
    kernels(kernel(value=1e-5, told=1e-5)).save(made / "kernels.json")
    return made


def test_the_table_holds_all_files(folder: Path, run) -> None:
    ran = run("validate", "report", str(folder))
    assert ran.code == 0
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert lines[0].startswith("3 files, 2 devices, 4 measurements: median error 10.0 %, 66.7 %")
    assert "NVIDIA H200 2.13.0 2025-11-30 llama3-8b prefill 1 10.0 % 10.0 % +10.0 % 100.0 %" in " ".join(lines)
    assert "NVIDIA H200 2.13.0 2025-11-30 – gemm kernels 1 0.0 %" in " ".join(lines)
    assert "cpu.json is of a run that has not ended" in " ".join(lines)
    assert "Farthest off" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 100


def test_the_table_by_other_columns(folder: Path, run) -> None:
    ran = run("validate", "report", str(folder / "h200.json"), str(folder / "cpu.json"), "--by", "device,figure")
    assert "device       figure" in ran.out
    assert "2 files" in ran.out


def test_the_json_contract(folder: Path, run) -> None:
    data = json.loads(run("validate", "report", str(folder), "--by", "device", "--json").out)
    assert list(data) == ["files", "overall", "groups", "ops", "worst"]
    assert [file["file"] for file in data["files"]] == [str(folder / f"{n}.json") for n in ("cpu", "h200", "kernels")]
    assert (data["files"][0]["complete"], data["files"][1]["measurements"]) == (False, 2)
    assert set(data["overall"]) == {"unseen", "fitted"}
    assert set(data["overall"]["unseen"]) == set(Score._fields)
    assert [(g["by"], g["unseen"]["n"], g["fitted"]["n"]) for g in data["groups"]] == [
        ({"device": "EPYC"}, 0, 1),
        ({"device": "NVIDIA H200"}, 3, 0),
    ]
    assert data["groups"][0]["unseen"]["median_ape"] is None
    first = data["worst"][0]
    assert (first["figure"], first["error"], first["device"]) == ("tpot_s", 0.5, "NVIDIA H200")
    assert first["predicted"]["expected"] == 1.5


def test_the_csv_has_a_row_a_group(folder: Path, run) -> None:
    rows = list(csv.DictReader(io.StringIO(run("validate", "report", str(folder), "--by", "device", "--csv").out)))
    assert [row["device"] for row in rows] == ["EPYC", "NVIDIA H200"]
    assert (rows[0]["unseen_n"], rows[0]["unseen_median_ape"], rows[0]["fitted_median_ape"]) == ("0", "", "0.2"), rows
    assert float(rows[1]["unseen_coverage80"]) == pytest.approx(2 / 3)


def test_wrong_questions_end_with_two(folder: Path, run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    for arguments, told in (
        ([str(tmp_path / "empty")], "is a folder without results files"),
        ([str(tmp_path / "none.json")], "cannot be read"),
        ([str(folder), str(tmp_path / "broken.json")], "broken.json: is not valid JSON at line 1"),
        ([str(folder), "--by", "figur"], 'did you mean "figure"'),
        ([str(folder), "--html", str(tmp_path / "no" / "page.html")], "cannot be written"),
    ):
        ran = run("validate", "report", *arguments)
        assert (ran.code, ran.out) == (2, ""), arguments
        assert told in ran.err
        assert len(ran.err.splitlines()) == 1


def test_shipped_results_are_the_default(folder: Path, run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("perfmodel.catalog.data_folder", lambda name: tmp_path / name)
    ran = run("validate", "report")
    assert ran.code == 2
    assert "No results ship with this version" in ran.err
    (tmp_path / "validate").mkdir()
    folder.rename(tmp_path / "validate" / "results")
    assert "Note        validate/results/cpu.json is of a run" in run("validate", "report").out


def test_hostile_names_reach_neither_terminal_nor_spreadsheet(run, tmp_path: Path) -> None:
    runs(figure(told=1, model="=cmd|' /C calc'!A0")).save(tmp_path / "a.json")
    assert "'=cmd" in run("validate", "report", str(tmp_path), "--by", "model", "--csv").out
    (tmp_path / "\x1b[2J.json").write_text("{", encoding="utf-8")
    assert "\x1b" not in run("validate", "report", str(tmp_path)).err


def test_a_report_from_python(folder: Path) -> None:
    found = reported([folder], "model")
    assert found.to_dict() == copy.deepcopy(found.to_dict())
    assert [table.title for table in found.tables()] == [
        "Errors by model",
        "What fits have used, by model",
        "Farthest off",
    ]
    assert list(results_in([folder])) == [str(folder / f"{n}.json") for n in ("cpu", "h200", "kernels")]
    with pytest.raises(PerfModelError):
        reported([folder], "nothing")


def test_nothing_predicted_is_an_answer_too(run, tmp_path: Path) -> None:
    runs(figure()).save(tmp_path / "a.json")
    assert "1 measurement, none of them predicted" in run("validate", "report", str(tmp_path)).out
    assert json.loads(run("validate", "report", str(tmp_path), "--json").out)["worst"] == []


def test_no_quotient_overflows(run, tmp_path: Path) -> None:
    far = Predicted(expected=9e29, low=0, high=9e29)
    runs(figure(value=1e-15, predicted=far)).save(tmp_path / "a.json")
    data = json.loads(run("validate", "report", str(tmp_path), "--json").out)
    assert data["overall"]["unseen"]["median_ape"] == pytest.approx(9e44)
