"""A sweep equals the loop of single estimates, row by row; what cannot be keeps its row and its reason."""

from __future__ import annotations

import random
import tracemalloc
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.errors import DoesNotFitError, PerfModelError, RequestError, UnknownNameError
from perfmodel.study import parts as cutting
from perfmodel.study.asked import study_of
from perfmodel.study.rows import Rows

AXES = {"batch": [1, 3, 64], "prompt": [17, 2048, 9000], "output": [1, 2, 300]}
OPTIONS = (
    {},
    {"tp": 4},
    {"tp": 2, "pp": 3, "weights": "fp8"},
    {"attention": "naive"},
    {"kv_cache": False, "tp": 2},
    {"weights": "int4", "kv": "fp8"},
)
MIXED: dict[str, Any] = {
    "model": ["llama3-8b", "deepseek-v3", "llada-8b"],
    "gpu": ["h100", "mi300x", "l4"],
    "tp": [1, 3, 8],
    "weights": [None, "fp8", "nvfp4"],
    "speculate": [None, "ngram"],
    "batch": [2, 40],
    "prompt": [100, 3000],
    "output": [30],
}
FIGURES = ("ttft_s", "tpot_s", "e2e_s", "tokens_per_s", "tokens_per_s_per_user", "usd_per_million_tokens")


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_sweep_equals_the_loop(options) -> None:
    table = pm.sweep("llama3-70b", "h100", **AXES, **options, breakdown=True)
    assert len(table) == 27
    split = {"tp": int(table["tp"][0]), "pp": int(table["pp"][0])}
    for i in range(len(table)):
        sizes = {name: int(table[name][i]) for name in AXES}
        one = pm.estimate("llama3-70b", "h100", **sizes, **(options | split), must_fit=False)
        assert one.fits == table["fits"][i]
        assert one.memory.used == pytest.approx(table["memory_bytes"][i], rel=1e-12)
        for name, wanted in (("ttft_s", one.ttft_s), ("tpot_s", one.tpot_s), ("e2e_s", one.e2e_s)):
            for end, suffix in (("expected", ""), ("bound", "_bound"), ("low", "_low"), ("high", "_high")):
                assert table[name + suffix][i] == pytest.approx(getattr(wanted, end), rel=1e-12)
        assert table["prefill_flops"][i] == pytest.approx(one.prefill.flops, rel=1e-12)
        assert table["decode_bytes"][i] == pytest.approx(one.decode.bytes, rel=1e-12)
        assert table["decode_bound_by"][i] == one.latency.tpot.bound_by


def answered(question: dict[str, Any]) -> tuple[Any, PerfModelError | None]:
    """What estimate says of a case, as if it fitted; and what it raises."""
    try:
        return pm.estimate(**question), None
    except DoesNotFitError as error:
        return pm.estimate(**question, must_fit=False), error
    except PerfModelError as error:
        return None, error


def test_every_row_of_a_mixed_grid_is_what_estimate_says() -> None:
    frame = pm.sweep(**MIXED).to_frame()
    names = list(MIXED)
    cases = list(product(*MIXED.values()))
    assert len(frame) == len(cases) == 648
    for place in random.Random(7).sample(range(len(cases)), 120):
        question, row = dict(zip(names, cases[place], strict=True)), frame.iloc[place]
        for name in ("model", "gpu", "tp", "batch", "prompt", "output"):
            assert row[name] == question[name]
        one, refused = answered(question)
        assert row["fits"] == (refused is None)
        if one is None:
            assert row["reason"] == str(refused)
            assert np.isnan(row["ttft_s"])
            assert np.isnan(row["memory_bytes"])
            continue
        assert str(refused or "").startswith(row["reason"])
        assert bool(row["reason"]) == (refused is not None)
        assert row["gpu_count"] == one.plan.gpu_count
        assert row["memory_bytes"] == pytest.approx(one.memory.used, rel=1e-12)
        for name in FIGURES:
            wanted = getattr(one, name)
            if wanted is None:
                assert np.isnan(row[name])
            else:
                assert row[name] == pytest.approx(wanted.expected, rel=1e-12), name
        assert row["joules_per_token"] == pytest.approx(one.joules_per_token.expected, rel=1e-12)


def test_rows_are_in_the_order_of_the_axes() -> None:
    found = pm.sweep(
        kv=["fp8", "bf16"], model="llama3-8b", gpu=["h200", "h100"], output=[5, 2], prompt=[7, 3], batch=[9, 1]
    ).to_frame()
    wanted = list(product(["h200", "h100"], ["fp8", "bf16"], [5, 2], [7, 3], [9, 1]))
    assert list(zip(*(found[name] for name in ("gpu", "kv", "output", "prompt", "batch")), strict=True)) == wanted


def test_a_refusal_that_depends_on_the_prompt_is_told_row_by_row() -> None:
    axes: dict[str, Any] = {"cp": [1, 8], "prompt": [4, 100, 2, 200, 8], "batch": [2, 1]}
    found = pm.sweep("llama3-70b", "h100", **axes).to_frame()
    for (_, row), case in zip(found.iterrows(), product(*axes.values()), strict=True):
        question = dict(zip(axes, case, strict=True))
        assert (row["cp"], row["prompt"], row["batch"]) == case
        if question["cp"] == 8 and question["prompt"] < 8:
            with pytest.raises(RequestError) as refused:
                pm.estimate("llama3-70b", "h100", **question, must_fit=False)
            assert row["reason"] == str(refused.value)
        elif question["cp"] == 8:
            one = pm.estimate("llama3-70b", "h100", **question, must_fit=False)
            assert row["ttft_s"] == pytest.approx(one.ttft_s.expected, rel=1e-12)


def test_a_prefix_longer_than_some_prompts() -> None:
    found = pm.sweep("llama3-8b", "h100", prefix=64, prompt=[10, 64, 1000], tp=1)
    assert [bool(reason) for reason in found["reason"]] == [True, False, False]
    with pytest.raises(RequestError, match="--prefix 64 is longer"):
        pm.estimate("llama3-8b", "h100", prefix=64, prompt=[10, 1000])


def test_without_a_split_the_fewest_devices_that_hold_the_largest_case() -> None:
    found = pm.sweep(["llama3-8b", "llama3-70b"], "h100", batch=[1, 32], prompt=[1000, 8000]).to_frame()
    for model, rows in found.groupby("model"):
        largest = pm.estimate(model, "h100", batch=32, prompt=8000)
        assert set(rows["gpu_count"]) == {largest.plan.gpu_count}
    # where nothing holds the largest, the most devices that there can be hold what they hold
    deep = pm.sweep("llama3-70b", "h100", batch=[1, 10**7])
    assert deep["fits"].tolist() == [True, False]
    assert deep["gpu_count"][0] > 8


def test_blocks_do_not_change_the_answer(monkeypatch) -> None:
    axes = {"batch": range(1, 9), "prompt": range(1, 12), "output": range(1, 6), "tp": [2, 4]}
    whole = pm.sweep("llama3-70b", "h100", **axes).table
    for block in (1, 7, 20, 60):
        monkeypatch.setattr(cutting, "BLOCK", block)
        cut = pm.sweep("llama3-70b", "h100", **axes).table
        for name in ("tp", "batch", "prompt", "output"):
            assert cut[name].tolist() == whole[name].tolist()
        # logarithms of arrays of other lengths differ in the last bit
        np.testing.assert_allclose(whole["e2e_s"], cut["e2e_s"], rtol=1e-13)


@pytest.mark.parametrize(
    "sizes", [(1, 1, 1), (5, 1, 1), (3, 200, 7), (1, 1, 100_000), (70_000, 2, 3), (40_000, 1, 5), (2, 40_000, 1)]
)
def test_parts_and_blocks_hold_every_row_once(sizes) -> None:
    axes = {name: range(1, n + 1) for name, n in zip(("batch", "prompt", "output"), sizes, strict=True)}
    study = study_of({"model": "llama3-8b", "gpu": "h100", "tp": [1, 2, 4], **axes})
    found, rows = [], 0
    for part in cutting.parts(study):
        own = list(cutting.blocks(study, part))
        assert sum(block.rows for block in own) == part.rows
        assert all(block.rows <= cutting.BLOCK for block in own)
        rows += part.rows
        found += [(block.settings["tp"], *(values[0] for values in block.sizes.values())) for block in own]
    assert rows == study.cases
    assert found == sorted(found)
    assert cutting.part_count(study) == part.number + 1


def test_memory_is_bounded_by_parts() -> None:
    def peak(outputs: int) -> int:
        study = study_of(
            {"model": "llama3-70b", "gpu": "h100", "tp": 4, "batch": range(1, 65), "prompt": range(1, 129)}
            | {"output": range(1, outputs)}
        )
        rows = Rows(study)
        tracemalloc.start()
        count = sum(len(rows.of(part)["fits"]) for part in cutting.parts(study))
        assert count == 64 * 128 * (outputs - 1)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(129) < 2 * peak(33)


def test_points_that_do_not_fit_are_a_column() -> None:
    table = pm.sweep("llama3-70b", "h100", batch=[1, 100_000], tp=2)
    assert table["fits"].tolist() == [True, False]
    assert table["reason"].tolist() == ["", "llama3-70b does not fit 2 × h100"]


@pytest.mark.parametrize("axis", [[0], [1.5], [], ["x"], [-1, 2], [float("nan")], "0", "x", "", "1:9", "9:1", [2, 2]])
def test_a_bad_axis_is_one_sentence(axis) -> None:
    if axis == "1:9":
        assert len(pm.sweep("llama3-70b", "h100", batch=axis).study.numbers[0].values) == 9
        return
    with pytest.raises(RequestError, match="--batch"):
        pm.sweep("llama3-70b", "h100", batch=axis)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kv": ["bf16", "fp9"]}, "fp8"),
        ({"weights": ["bf16", "nvpf4"]}, "nvfp4"),
        ({"gpu": ["h100", "h1000"]}, "h100"),
        ({"model": ["llama3-8b", "lama3-8b"]}, "llama3-8b"),
        ({"engine": ["vllm", "vlm"]}, "vllm"),
        ({"attention": ["flash", "flsh"]}, "flash"),
        ({"speculate": [None, "eagel"]}, "eagle"),
        ({"tp": [1, 0]}, "--tp"),
        ({"memory_share": [0.9, 1.5]}, "--memory-share"),
        ({"prune": [None, "layer=3"]}, "layers"),
        ({"exchange": ["auto", "depep"]}, "deepep"),
        ({"overlap": [0, 2.0]}, "--overlap"),
        ({"samples": [1, 0]}, "--samples"),
        ({"tpp": [1, 2]}, "tp"),
        ({"max_num_seqs": [8, -1]}, "--max-num-seqs"),
        ({"where": "ttft<5"}, "ttft_s"),
        ({"columns": "ttft"}, "ttft_s"),
        ({"sample": 0}, "--sample"),
        ({"sample": 5}, "--sample 5 is more than the 1 cases"),
        ({"seed": -1, "sample": 1}, "--seed"),
        ({"jobs": -1}, "--jobs"),
        ({"batch": "log:1-64"}, "--sample"),
    ],
    ids=str,
)
def test_a_typo_stops_the_sweep_before_it_begins(given, told) -> None:
    with pytest.raises((RequestError, UnknownNameError), match=told):
        pm.sweep(**({"model": "llama3-8b", "gpu": "h100"} | given))


def test_what_a_device_lacks_is_no_typo() -> None:
    found = pm.sweep("llama3-8b", ["h100", "b200"], weights=["bf16", "nvfp4"], tp=1)
    assert found["weights"].tolist() == ["bf16", "nvfp4", "bf16", "nvfp4"]
    assert [bool(reason) for reason in found["reason"]][::2] == [False, False]


def test_a_sample_is_of_the_grid_and_a_seed_gives_the_same() -> None:
    axes: dict[str, Any] = {"gpu": ["h100", "h200"], "tp": [1, 2, 4], "batch": range(1, 30), "prompt": range(100, 120)}
    whole = pm.sweep("llama3-8b", **axes).to_frame()
    drawn = pm.sweep("llama3-8b", **axes, sample=50, seed=3).to_frame()
    keys = ["gpu", "tp", "batch", "prompt", "output"]
    assert not drawn.duplicated(keys).any()
    same = drawn.merge(whole.reset_index(), on=keys, suffixes=("", "_grid"))
    assert len(same) == 50
    assert same["index"].is_monotonic_increasing
    np.testing.assert_allclose(same["e2e_s"], same["e2e_s_grid"], rtol=1e-12)
    again = pm.sweep("llama3-8b", **axes, sample=50, seed=3).to_frame()
    assert drawn.equals(again)
    assert not drawn[keys].equals(pm.sweep("llama3-8b", **axes, sample=50, seed=4).to_frame()[keys])


def test_every_case_is_as_likely_as_any_other() -> None:
    counts = np.zeros(12)
    study = study_of({"model": "llama3-8b", "gpu": "h100", "tp": [1, 2, 4], "batch": [1, 2, 3, 4], "sample": 3})
    for seed in range(400):
        for structure, _, sizes in cutting.points(replace(study, seed=seed)):
            counts[structure * 4 + sizes[0] - 1] += 1
    assert counts.sum() == 1200
    # 1,200 draws over 12 cells: a cell has 100 ± 8.7 (hypergeometric); five of those
    assert abs(counts - 100).max() < 44


def test_ranges_are_drawn_from() -> None:
    study = study_of(
        {"model": "llama3-8b", "gpu": "h100", "tp": [1, 2], "prompt": "log:16-4096", "batch": "uniform:1-64"}
        | {"price": "uniform:1-4", "sample": 2000}
    )
    drawn = cutting.points(study)
    assert len(set(drawn)) == 2000
    places = [axis.name for axis in study.numbers]
    prompts = np.asarray([point[2][places.index("prompt")] for point in drawn])
    batches = np.asarray([point[2][places.index("batch")] for point in drawn])
    prices = np.asarray([point[1][0] for point in drawn])
    assert prompts.min() >= 16
    assert prompts.max() <= 4096
    # half of the draws are below the middle: 256 = √(16·4096), 32.5, 2.5; 1,000 ± 22, five of those
    for values, middle in ((prompts, 256), (batches, 32.5), (prices, 2.5)):
        assert abs((values <= middle).sum() - 1000) < 112
    few = pm.sweep("llama3-8b", "h100", tp=1, price="uniform:1-4", prompt="log:16-64", sample=5).to_frame()
    for _, row in few.iterrows():
        one = pm.estimate("llama3-8b", "h100", tp=1, price=row["price"], prompt=int(row["prompt"]))
        assert row["usd_per_million_tokens"] == pytest.approx(one.usd_per_million_tokens.expected, rel=1e-12)


def test_a_range_too_small_for_its_sample_says_so() -> None:
    with pytest.raises(RequestError, match="more cases than the ranges hold"):
        pm.sweep("llama3-8b", "h100", batch="uniform:1-3", sample=4, tp=1).to_frame()


def test_conditions_keep_rows() -> None:
    axes: dict[str, Any] = {"gpu": ["h100", "l4"], "tp": [1, 3, 8], "batch": [1, 8, 64]}
    whole = pm.sweep("llama3-8b", **axes).to_frame()
    kept = pm.sweep("llama3-8b", **axes, where=["ttft_ms<200", "gpu=h100"], columns="gpu,tp,ttft_ms").to_frame()
    wanted = whole[(whole["ttft_s"] < 0.2) & (whole["gpu"] == "h100")]
    assert list(kept.columns) == ["gpu", "tp", "ttft_s"]
    assert kept["ttft_s"].tolist() == wanted["ttft_s"].tolist()
    assert len(pm.sweep("llama3-8b", **axes, fits_only=True)) == whole["fits"].sum()
    assert len(pm.sweep("llama3-8b", **axes, where="tp!=3")) == (whole["tp"] != 3).sum()
    assert len(pm.sweep("llama3-8b", **axes, where="fits=false")) == (~whole["fits"]).sum()


def test_a_sweep_as_plain_data() -> None:
    import json

    found = pm.sweep("llama3-8b", ["h100", "l4"], tp=[1, 3], kv="fp8", batch=[1, 8])
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (data["cases"], data["rows_kept"], data["fitting"]) == (8, 8, int(found["fits"].sum()))
    assert data["study"]["axes"] == {
        "model": "llama3-8b", "gpu": ["h100", "l4"], "tp": [1, 3], "kv": "fp8",
        "batch": [1, 8], "prompt": [1024], "output": [256],
    }  # fmt: skip
    assert data["rows"][0]["ttft_s"] == found["ttft_s"][0]
    assert data["rows"][2]["ttft_s"] is None
    narrow = pm.sweep("llama3-8b", "h100", tp=[1, 2], columns=["tp", "ttft_ms"])
    assert narrow.to_dict()["rows"][1] == {"tp": 2, "ttft_s": narrow["ttft_s"][1]}


def test_arrays_broadcast_in_estimate() -> None:
    answer = pm.estimate("llama3-70b", "h100", tp=4, batch=[1, 8, 64])
    frame = answer.to_frame()
    assert list(frame["batch"]) == [1, 8, 64]
    assert answer.tpot_s.expected.shape == (3,)
    assert answer.to_dict()["fits"] == [True, True, True]
    assert "<table>" in answer._repr_html_()
