"""The page of results: one file that asks nothing of a network, escapes what it is given, and shows every figure."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_results import device, figure, full_kernels, full_run, kernel, kernels, runs
from read_pages import check, data, own, words

from perfmodel.errors import RequestError
from perfmodel.measured.figures import figures
from perfmodel.measured.page import page, results_page
from perfmodel.measured.scores import points_of
from perfmodel.measured.summary import basis, cards, headline
from perfmodel.report.traces import MOST, thinned

FIGURES = ("times", "memory", "ops", "sizes", "roofline", "kernels")
CPU = {"name": "EPYC", "kind": "cpu", "gpu": None}


@pytest.fixture(scope="module")
def whole() -> str:
    return page([full_run(), full_run(("llama3-8b",), device=device(**CPU), complete=False), full_kernels()])


def test_the_page_is_sound(whole: str) -> None:
    check(whole)


def test_the_page_of_many_measurements_is_small_too() -> None:
    many = [
        figure(
            name,
            1e-3 * i,
            1.1e-3 * i,
            batch=i,
            prompt=128 * i,
            model="a-model-of-a-long-name" * 3,
            flops=1e9,
            bytes=1e7,
        )
        for name in ("ttft_s", "tpot_s", "prefill_op:attention.qkv_s", "decode_op:attention.qkv_s")
        for i in range(1, 3000)
    ]
    some = [kernel(value=1e-6 * i, told=1e-6, shape={"m": i, "n": 4096, "k": 4096}) for i in range(1, 4000)]
    text = page([runs(*many), kernels(*some)])
    assert len(text.encode()) < 6_000_000
    assert "700 of 11,996 points are drawn, evenly chosen" in text


def test_every_figure_is_there_with_data(whole: str) -> None:
    drawn = data(whole)["plots"]
    assert {name.split("-")[0] for name in drawn} == set(FIGURES)


def test_the_first_screen_answers() -> None:
    held = [runs(figure(value=10, told=11), figure("tpot_s", value=1, told=0.8), figure("peak_memory_bytes", 1e9, 1e9))]
    found = points_of(held)
    assert headline(found) == (
        "The median error of perfmodel on NVIDIA H200 is 10.0 % for the time to the first token, "
        "20.0 % for the time per token and 0.0 % for peak memory."
    )
    assert [(card.label, card.figure) for card in cards(found)] == [
        ("Prefill", "10.0 %"), ("Decode", "20.0 %"), ("Memory", "0.0 %"), ("Shapes", "1"),
    ]  # fmt: skip
    assert cards(found)[-1].note == "of 1 model on 1 device, 3 measurements"
    assert basis(found).startswith("Errors are of 3 measurements that no fit has used. The 80 % intervals hold 66.7 %")
    text = page(held)
    assert text.index("The median error") < text.index('class="cards"') < text.index("<figcaption")


def test_the_first_screen_says_what_is_not_known() -> None:
    none = points_of([runs(figure())])
    assert headline(none) == "1 measurement on NVIDIA H200, none of them predicted."
    assert [card.figure for card in cards(none)] == ["–", "–", "–", "1"]
    assert basis(none) == "Nothing was predicted beside these measurements."
    fitted = points_of([kernels(kernel(told=1e-5, used_in_fit=True))])
    assert basis(fitted).startswith("All of these were used in a fit")
    assert [card.label for card in cards(fitted)] == ["Prefill", "Decode", "Memory", "Kernels", "Shapes"]


def test_what_is_missing_is_said() -> None:
    for held in (runs(figure()), kernels(kernel())):
        text = page([held])
        assert "Plotly, Inc." not in text, "no library without a plot"
        assert "No kernel was both measured and predicted" in text
        assert "No measurement says how many FLOPs and bytes" in text
    with pytest.raises(RequestError, match="hold no measurement"):
        page([runs()])
    assert not figures(points_of([runs(figure())]))[0].plots


def test_hostile_names_are_escaped_everywhere() -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
    versions = {"torch": evil, "perfmodel": evil, "python": evil, "os": evil, evil: evil}
    hostile = device(name=evil, driver=evil, gpu=evil)
    held = [
        runs(
            figure(told=1.1, model=evil, draft=evil, weights=evil, flops=1e9, bytes=1e9),
            figure(f"decode_op:{'<script>alert(1)</script>'}_s", 1, 1, model=evil),
            figure("peak_memory_bytes", 1, 1, model=evil),
            device=hostile, command=evil, software=versions,
        ),
        kernels(kernel(evil, told=1e-5, format=evil, shape={evil: 1}), device=hostile),
    ]  # fmt: skip
    text = page(held)
    check(text)
    text = own(text)
    assert text.lower().count("<script") == text.lower().count("</script") == 3, "data, library, its own"
    assert "<img" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert any("&lt;script&gt;" in told for plot in data(text)["plots"].values() for told in words(plot))


def test_a_name_of_the_catalog_leads_to_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "evil.yaml").write_text("not: a gpu", encoding="utf-8")
    found = points_of([runs(figure(told=1, flops=1e9, bytes=1e9), device=device(gpu=str(tmp_path / "evil.yaml")))])
    assert "The catalog has no roofs of NVIDIA H200" in figures(found)[4].caption


def test_points_and_roofs_stand_where_they_belong() -> None:
    one = figure(value=2e-3, told=1e-3, flops=4e12, bytes=1e10)
    (plot,) = figures(points_of([runs(one)]))[4].plots
    roof, point = plot.traces
    assert (point["x"], point["y"]) == ([400.0], [2e15])
    assert roof["y"][-1] == pytest.approx(989.4e12, rel=1e-3)
    assert roof["y"][0] == pytest.approx(200 * 4.8e12, rel=1e-3), "memory bandwidth at half the intensity"
    (plot,) = figures(points_of([runs(one)]))[0].plots
    assert (plot.traces[-1]["x"], plot.traces[-1]["y"]) == ([0.002], [0.001])


def test_bars_of_ops_by_hand() -> None:
    held = runs(figure("prefill_op:up_s", 3.0, 3.3), figure("prefill_op:norm_s", 1.0, 0.5))
    off, share = figures(points_of([held]))[2].plots
    assert (off.traces[0]["y"], off.traces[0]["x"]) == (["up", "norm"], [10.0, -50.0])
    assert share.traces[0]["x"] == [75.0, 25.0]


def test_what_a_fit_has_used_is_hollow() -> None:
    held = runs(figure(told=1.1), figure(told=1.1, batch=2, used_in_fit=True))
    (plot,) = figures(points_of([held]))[0].plots
    assert [trace["marker"]["symbol"] for trace in plot.traces[3:]] == ["circle", "circle-open"]


def test_thinning_is_even() -> None:
    found = points_of([runs(*(figure(batch=i) for i in range(1, 2 * MOST + 1)))])
    kept = [point.one.batch for point in thinned(found)]  # type: ignore[union-attr]
    assert kept == list(range(1, 2 * MOST, 2))
    assert thinned(found[:10]) == found[:10]


def test_where_figures_are_from_stands_last(whole: str) -> None:
    last = whole[whole.rindex("Where these figures are from") :]
    for told in ("NVIDIA H200", "580.1", "150 GB", "132", "1,980 MHz", "torch 2.13.0", "2025-11-30", "not ended"):
        assert told in last
    assert "perfmodel validate run --gpu h200" in last


def test_light_and_dark_and_narrow(whole: str) -> None:
    assert "prefers-color-scheme: dark" in whole
    assert 'name="viewport"' in whole


def test_the_command_writes_the_page(run, tmp_path: Path) -> None:
    full_kernels().save(tmp_path / "kernels.json")
    ran = run("validate", "report", str(tmp_path / "kernels.json"), "--html", str(tmp_path / "page.html"))
    assert ran.code == 0
    assert "gemm kernels" in ran.out
    command = f"perfmodel validate report {tmp_path}/kernels.json --html {tmp_path}/page.html"
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page([full_kernels()], command)


def test_what_a_fit_has_used_has_a_table_of_its_own() -> None:
    held = runs(figure(told=1.1), figure("tpot_s", 1, 1.2, used_in_fit=True), figure("peak_memory_bytes", 1e9))
    tables = {table.name: table for table in results_page([held]).tables}
    assert tables["groups"].table["group"] == ["prefill"]
    assert "1 group of which nothing was predicted is left out" in tables["groups"].caption
    assert tables["fitted"].table["group"] == ["decode"]


def test_intervals_are_judged_where_there_are_any() -> None:
    without = figure("decode_op:up_s", 1.0, 1.5)
    point = without.model_copy(update={"predicted": without.predicted.model_copy(update={"low": 1.5, "high": 1.5})})
    held = points_of([runs(figure(told=1.05), point)])
    assert basis(held).endswith("The 80 % intervals hold 100.0 % of them.")
