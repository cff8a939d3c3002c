"""Axes as text and as Python values: what is written is what is asked, and what is none is one sentence."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.errors import PerfModelError, RequestError, SpecError
from perfmodel.study.axes import Drawn, axis, axis_in
from perfmodel.study.columns import PLACED, SIZES, column
from perfmodel.study.written import read_study


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2,4,8", (1, 2, 4, 8)),
        ("1:256:x2", (1, 2, 4, 8, 16, 32, 64, 128, 256)),
        ("1:300:x2", (1, 2, 4, 8, 16, 32, 64, 128, 256)),
        ("3:100:x3", (3, 9, 27, 81)),
        ("1:10:x1.5", (1, 2, 3, 5, 8)),
        ("128:512:+128", (128, 256, 384, 512)),
        ("1:4", (1, 2, 3, 4)),
        ("7:7", (7,)),
        ("1,2,16:64:x2", (1, 2, 16, 32, 64)),
        (" 1 , 2 ", (1, 2)),
    ],
)
def test_ranges_of_whole_numbers(text, values) -> None:
    assert axis_in([text], "--batch").values == values
    assert axis("batch", text).values == values
    assert all(isinstance(value, int) for value in axis_in([text], "batch").values)


def test_other_kinds_of_values() -> None:
    assert axis_in(["0.5:2:x2"], "price").values == (0.5, 1.0, 2.0)
    assert axis_in(["0.1:0.3:+0.1"], "price").values == (0.1, 0.2, 0.3)  # no 0.30000000000000004
    assert axis_in(["bf16,fp8"], "kv").values == ("bf16", "fp8")
    assert axis_in(["none,fp8"], "kv").values == (None, "fp8")
    assert axis_in(["bf16", "fp8,int8"], "kv").values == ("bf16", "fp8", "int8")
    assert axis_in(["layers=32,hidden=4096", "none"], "prune").values == ("layers=32,hidden=4096", None)
    assert axis_in(["0.8,0.7"], "acceptance").values == ("0.8,0.7",)
    assert axis_in(["on,off"], "no-kv-cache").values == (False, True)
    assert axis_in(["yes"], "server").values == (True,)
    assert axis("batch", range(1, 4)).values == (1, 2, 3)
    assert axis("batch", np.asarray([2, 4])).values == (2, 4)
    assert [type(value) for value in axis("tp", [np.int64(2), 4]).values] == [int, int]
    assert axis("acceptance", (0.8, 0.7)).values == ((0.8, 0.7),)
    assert axis("kv_policy", ["streaming:4+1020", None]).values == ("streaming:4+1020", None)
    assert axis("tp", 4).swept is False
    assert axis("tp", [4]).swept is True


@pytest.mark.parametrize(
    ("flag", "text", "told"),
    [
        ("--tp", "1:64:8", "needs a step"),
        ("--tp", "1:64:y2", "needs a step"),
        ("--tp", "8:1", "goes nowhere"),
        ("--tp", "0:8", "goes nowhere"),
        ("--tp", "1:8:x1", "goes nowhere"),
        ("--tp", "1:8:+0", "goes nowhere"),
        ("--tp", "1:a", "no range of numbers"),
        ("--tp", "1:inf", "no range of numbers"),
        ("--tp", "1.5:3", "whole numbers"),
        ("--tp", "1,,2", "comma"),
        ("--tp", " ", "needs a value"),
        ("--tp", "x", "is no number"),
        ("--price", "nan", "is no number"),
        ("--tp", "1,2,1", "twice"),
        ("--batch", "1:99999999", "more than 2,000,000"),
        ("--batch", "1:1e30:x1.0000001", "goes beyond"),
        ("--batch", "1:2:x1.0000001", "more than 2,000,000"),
        ("--batch", "log:8-2", "smaller first"),
        ("--batch", "log:0-2", "smaller first"),
        ("--batch", "log:1.5-2", "whole"),
        ("--server", "perhaps", "on or off"),
        ("--tpp", "1", 'did you mean "tp"'),
    ],
)
def test_what_is_no_axis_is_one_sentence(flag, text, told) -> None:
    with pytest.raises(RequestError, match=told) as error:
        axis_in([text], flag)
    assert flag in str(error.value)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(1, 10**5))
def test_steps_are_an_arithmetic_progression(low, more, step) -> None:
    if more // step > 10_000:
        step = more // 10_000 + 1
    assert axis_in([f"{low}:{low + more}:+{step}"], "prompt").values == tuple(range(low, low + more + 1, step))


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10**4), st.integers(1, 10**5), st.integers(2, 9))
def test_factors_are_a_geometric_progression(low, times, factor) -> None:
    values = axis_in([f"{low}:{low * times}:x{factor}"], "prompt").values
    assert values[0] == low
    assert all(b == a * factor for a, b in pairwise(values))
    assert values[-1] <= low * times < values[-1] * factor


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_an_axis_or_one_sentence(text) -> None:
    for flag in ("batch", "price", "kv", "server", "prune", "tp"):
        told, found = "", None
        try:
            found = axis_in([text], flag)
        except PerfModelError as error:
            told = str(error)
        assert told.isprintable()
        assert found is None or found.drawn or found.values


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=20, unique=True))
def test_a_list_written_is_the_list(values) -> None:
    assert axis_in([",".join(map(str, values))], "batch").values == tuple(values)
    assert axis("batch", values).values == tuple(values)


@settings(max_examples=100, deadline=None)
@given(st.floats(1, 1e5), st.floats(1.01, 1e3), st.booleans(), st.booleans(), st.randoms(use_true_random=False))
def test_draws_stay_in_their_range(low, times, even, whole, random) -> None:
    if whole:
        low, high = float(int(low)), float(int(low * times) + 1)
    else:
        high = low * times
    drawn = Drawn(low, high, even, whole)
    for _ in range(20):
        value = drawn.draw(random)
        assert low <= value <= high
        assert isinstance(value, int if whole else float)


# ── names of columns ─────────────────────────────────────────────────────────────────────────────


def test_columns_have_friendly_names() -> None:
    found = pm.sweep("llama3-8b", "h100", batch=[1, 2], tp=1)
    np.testing.assert_allclose(found["ttft_ms"], found["ttft_s"] * 1e3)
    np.testing.assert_allclose(found["tpot_us"], found["tpot_s"] * 1e6)
    np.testing.assert_allclose(found["e2e_ms_high"], found["e2e_s_high"] * 1e3)
    np.testing.assert_allclose(found["memory_gb"], found["memory_bytes"] / 1e9)
    np.testing.assert_allclose(found["memory_gib"], found["memory_bytes"] / 2**30)
    assert found["cost_per_mtok_usd"] is found["usd_per_million_tokens"]
    assert not column("ttft_ms", found.columns, "x").more_is_better
    assert column("tokens_per_s", found.columns, "x").more_is_better
    for wrong, right in (("tfft_ms", "ttft_ms"), ("token_per_s", "tokens_per_s"), ("memory_gi", "memory_gib")):
        with pytest.raises(RequestError, match=f'did you mean "{right}"'):
            found[wrong]


def test_every_figure_of_a_table_is_a_column_with_its_unit() -> None:
    found = pm.sweep("llama3-8b", "h100", draft=["llama3.2-1b"], tp=1)
    units = ("_s", "_s_bound", "_s_low", "_s_high", "_bytes", "_per_s", "_per_s_per_user", "_per_s_per_gpu", "_tokens")
    counts = {*PLACED, *SIZES, "fits", "reason", "draft", "tokens_a_pass", "speedup", "joules_per_token"}
    assert [name for name in found.columns if name not in counts and not name.endswith(units)] == []


# ── study files ──────────────────────────────────────────────────────────────────────────────────


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "study.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_study_file_is_the_same_question(tmp_path) -> None:
    file = written(
        tmp_path,
        "model: [llama3-8b, llama3-70b]\ngpu: h100\ntp: [2, 4]\nbatch: 1:8:x2\nprompt: 100\nkv: fp8\n"
        "no-kv-cache: false\nwhere: ttft_ms<1000\ncolumns: [model, tp, batch, ttft_ms]\nsort: ttft_ms\n",
    )
    found = pm.sweep(study=file).to_frame()
    same = pm.sweep(
        ["llama3-8b", "llama3-70b"], "h100", tp=[2, 4], batch=[1, 2, 4, 8], prompt=100, kv="fp8",
        where="ttft_ms<1000", columns=["model", "tp", "batch", "ttft_s"],
    ).to_frame()  # fmt: skip
    assert found.equals(same)
    over = pm.sweep(study=file, batch=[3], gpu="h200", where="tp=4").to_frame()
    assert set(over["batch"]) == {3}
    assert set(over["tp"]) == {4}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("modl: llama3-8b", 'modl is not a known key; did you mean "model"'),
        ("batch: 1:64:8", "batch: --batch: '1:64:8' needs a step"),
        ("batch: []", "batch: needs a value"),
        ("batch:", "batch: needs a value"),
        ("batch: {a: 1}", "batch"),
        ("- model", "must be a mapping"),
        ("model: a\nmodel: b", "stands twice"),
        ("kv_cache: true\nno-kv-cache: true", "stands twice"),
        ("no-kv-cache: maybe", "true or false"),
        ("sample: many", "sample: must be a whole number"),
        ("sample: true", "sample: must be a whole number"),
        ("where: 5", "where: must be"),
        ("where: [5]", "list of texts"),
        ("path: 5", "path: must be a folder"),
        ("path: nowhere", "is not a folder"),
        ("fits-only: 3", "true or false"),
        ("model: !!python/object:os.system {}", "not valid YAML"),
    ],
)
def test_a_wrong_study_file_is_one_sentence_with_its_name(tmp_path, text, told) -> None:
    file = written(tmp_path, text)
    with pytest.raises(PerfModelError, match=told) as error:
        pm.sweep("llama3-8b", "h100", study=file) if "batch: {" in text else read_study(file)
    assert "\n" not in str(error.value)
    assert "study.yaml" in str(error.value) or "batch: {" in text


def test_a_study_file_that_is_not_there() -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        pm.sweep(study="no-such-study.yaml")


def test_the_study_of_the_docs_is_answered(run) -> None:
    root = Path(__file__).parent.parent
    page = (root / "docs" / "sweeps.md").read_text(encoding="utf-8")
    block = page.split("```yaml\n")[1].split("```")[0]
    assert (root / "docs" / "study.yaml").read_text(encoding="utf-8").endswith(block)
    done = run("sweep", str(root / "docs" / "study.yaml"))
    assert done.code == 0
    assert "The 5 with the lowest cost_per_mtok_usd" in done.out


def test_the_python_of_the_docs_runs(tmp_path, monkeypatch) -> None:
    page = (Path(__file__).parent.parent / "docs" / "sweeps.md").read_text(encoding="utf-8")
    (tmp_path / "docs").symlink_to(Path(__file__).parent.parent / "docs")
    monkeypatch.chdir(tmp_path)
    exec(page.split("```python\n")[1].split("```")[0], {})
    assert (tmp_path / "grid.csv").stat().st_size > 1000
