"""Files of a sweep: the same bytes whoever computed them and however often it was interrupted."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import perfmodel as pm
from perfmodel.errors import RequestError
from perfmodel.study import parts as cutting
from perfmodel.study import streamed

AXES: dict[str, Any] = {
    "model": ["llama3-8b", "llama3-70b"],
    "gpu": ["h100", "l4"],
    "tp": [1, 2, 3],
    "draft_tokens": [None, 4],
    "speculate": "ngram",
    "batch": [1, 16],
    "prompt": [100, 2000, 9000],
}
FORMS = (".csv", ".jsonl", ".parquet")


@pytest.fixture(autouse=True)
def many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small a study in several parts."""
    monkeypatch.setattr(cutting, "PART_BLOCKS", 5)


def frame_of(file: Path) -> pd.DataFrame:
    if file.suffix == ".parquet":
        return pd.read_parquet(file)
    if file.suffix == ".csv":
        return pd.read_csv(file, keep_default_na=False, na_values={c: [""] for c in ("ttft_s", "draft_tokens")})
    return pd.DataFrame([json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()])


@pytest.mark.parametrize("form", FORMS)
def test_a_file_holds_the_table(form, tmp_path) -> None:
    sweep = pm.sweep(**AXES)
    told = sweep.write(tmp_path / f"grid{form}")
    table, read = sweep.to_frame(), frame_of(tmp_path / f"grid{form}")
    assert told.rows == told.cases == len(table) == len(read) == 144
    assert told.fitting == table["fits"].sum()
    assert list(read.columns) == list(table.columns)
    assert sum(told.reasons.values()) == (~table["fits"]).sum()
    for name in ("model", "reason", "engine"):
        assert read[name].tolist() == table[name].tolist()
    for name in ("ttft_s", "memory_bytes", "draft_tokens", "tp", "usd_per_million_tokens"):
        values = pd.to_numeric(read[name], errors="coerce").to_numpy(dtype=float)
        np.testing.assert_array_equal(values, table[name].to_numpy(dtype=float))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"grid{form}"]


def test_lines_of_json_have_null_and_whole_numbers(tmp_path) -> None:
    pm.sweep(**AXES).write(tmp_path / "grid.jsonl")
    lines = (tmp_path / "grid.jsonl").read_text(encoding="utf-8").splitlines()
    first = json.loads(lines[0], parse_constant=lambda name: pytest.fail(name))
    assert first["batch"] == 1
    assert isinstance(first["batch"], int)
    assert first["draft_tokens"] is None
    split = [row for row in map(json.loads, lines) if row["tp"] == 3]
    assert all(row["ttft_s"] is None and row["reason"] and not row["fits"] for row in split)


@pytest.mark.parametrize("form", FORMS)
def test_resumed_is_uninterrupted(form, tmp_path, monkeypatch) -> None:
    whole, broken = tmp_path / f"whole{form}", tmp_path / f"broken{form}"
    pm.sweep(**AXES).write(whole)

    def interrupted(*given: Any, **named: Any) -> Any:
        for i, part in enumerate(real(*given, **named)):
            if i == 3:
                raise KeyboardInterrupt
            yield part

    real = streamed.results
    monkeypatch.setattr(streamed, "results", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pm.sweep(**AXES).write(broken)
    assert not broken.exists()
    folder = tmp_path / f"broken{form}.parts"
    assert len([path for path in folder.iterdir() if path.name.isdecimal()]) == 3
    with pytest.raises(RequestError, match="--resume goes on"):
        pm.sweep(**AXES).write(broken)
    with pytest.raises(RequestError, match="another sweep"):
        pm.sweep(**(AXES | {"batch": [1, 17]})).write(broken, resume=True)
    asked: list[int] = []

    def counted(study: Any, left: Any, *given: Any, **named: Any) -> Any:
        return real(study, (asked.append(part.number) or part for part in left), *given, **named)

    monkeypatch.setattr(streamed, "results", counted)
    told = pm.sweep(**AXES).write(broken, resume=True)
    assert asked[0] == 3
    assert asked == list(range(3, cutting.part_count(pm.sweep(**AXES).study)))
    assert broken.read_bytes() == whole.read_bytes()
    assert told.to_dict() == pm.sweep(**AXES).write(whole).to_dict()
    assert not folder.exists()


def test_a_changed_device_is_another_study(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parent.parent / "hardware" / "h100.yaml").read_text(encoding="utf-8")
    Path("mine.yaml").write_text(text, encoding="utf-8")
    study = {"model": "llama3-8b", "gpu": "./mine.yaml", "tp": [1, 2]}
    first = pm.sweep(**study).study
    Path("mine.yaml").write_text(text.replace("memory_bandwidth: 3.35", "memory_bandwidth: 3.36"), encoding="utf-8")
    assert pm.sweep(**study).study.digest != first.digest


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_two_processes_write_what_one_does(form, tmp_path) -> None:
    pm.sweep(**AXES).write(tmp_path / f"one{form}")
    pm.sweep(**AXES, jobs=2).write(tmp_path / f"two{form}")
    # the processes start anew, with parts of the usual size: numbers of parts differ only in row groups
    one, two = (frame_of(tmp_path / f"{name}{form}") for name in ("one", "two"))
    assert one.equals(two)
    table = pm.sweep(**AXES, jobs=2).to_frame()
    pd.testing.assert_frame_equal(table, pm.sweep(**AXES).to_frame(), check_exact=True)


def test_a_sample_is_written_too(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(cutting, "PART_POINTS", 7)
    sweep = pm.sweep(**(AXES | {"prompt": "log:100-9000"}), sample=40, seed=2)
    sweep.write(tmp_path / "drawn.parquet")
    table = sweep.to_frame()
    assert len(table) == 40
    np.testing.assert_array_equal(pd.read_parquet(tmp_path / "drawn.parquet")["e2e_s"], table["e2e_s"])


def test_no_cell_of_a_csv_is_a_formula(tmp_path) -> None:
    model = pm.load_model("llama3-8b").model_copy(update={"name": "=cmd|' /C calc'!A0"})
    sweep = pm.sweep(model, "h100", tp=[1, 3])
    sweep.write(tmp_path / "grid.csv")
    for text in ((tmp_path / "grid.csv").read_text(encoding="utf-8"), sweep.to_csv()):
        rows = list(csv.DictReader(io.StringIO(text)))
        assert rows[0]["model"] == "'=cmd|' /C calc'!A0"
        assert rows[0]["fits"] == "True"
        assert rows[1]["ttft_s"] == ""


@pytest.mark.parametrize(
    ("name", "told"),
    [("grid.xls", "must end in"), ("grid.parqet", "did you mean .parquet"), ("no/folder/grid.csv", "no folder")],
)
def test_a_file_that_cannot_be(name, told, tmp_path) -> None:
    with pytest.raises(RequestError, match=told):
        pm.sweep("llama3-8b", "h100").write(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("package", "extra"), [("pyarrow", "perfmodel\\[sweep\\]"), ("joblib", "perfmodel\\[sweep\\]")]
)
def test_a_missing_package_is_named(package, extra, tmp_path, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    sweep = pm.sweep("llama3-8b", "h100", jobs=2)
    with pytest.raises(RequestError, match=extra):
        sweep.write(tmp_path / ("grid.parquet" if package == "pyarrow" else "grid.csv"))


def test_a_breakdown_is_no_file(tmp_path) -> None:
    with pytest.raises(RequestError, match="breakdown"):
        pm.sweep("llama3-8b", "h100", breakdown=True).write(tmp_path / "grid.csv")
