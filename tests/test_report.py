"""Pages of answers: what their first screens say, what their figures draw, and what stands behind them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from read_pages import check, data

import perfmodel as pm
from perfmodel.achieved import achieved
from perfmodel.errors import RequestError
from perfmodel.frontier import frontier
from perfmodel.report.asked import asked_page
from perfmodel.report.charts import REST, Spot, Swing, pareto, probability_steps, ranked_bars, stacked_bars, tornado
from perfmodel.report.figure import Card, Figure, Page
from perfmodel.report.notebook import notebook_html
from perfmodel.report.page import html, traced, unbroken, what_if_data
from perfmodel.report.pages import page_of, write_page
from perfmodel.report.sizes import ladder
from perfmodel.report.sliders import MOST, what_if
from perfmodel.report.traces import log_axis, thinned
from perfmodel.sensitivity import sensitivity
from perfmodel.table import Table
from perfmodel.units import show_rate, show_seconds

EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'


@pytest.fixture(scope="module")
def answer() -> pm.Estimate:
    return pm.estimate("llama3-70b", "h100", tp=4, batch=8)


@pytest.fixture(scope="module")
def page(answer: pm.Estimate) -> Page:
    return page_of(answer, "perfmodel estimate …")


# ── an estimate ──────────────────────────────────────────────────────────────────────────────────


def test_the_first_screen_answers_in_words_and_four_numbers(answer: pm.Estimate, page: Page) -> None:
    assert page.title == "Llama 3 70B on 4 × NVIDIA H100 SXM 80 GB"
    assert (page.verdict, page.good) == ("Fits", True)
    assert show_seconds(answer.ttft_s.expected) in page.headline
    assert f"room for {answer.room[0]:,} such" in page.headline
    assert [card.figure for card in page.cards] == [
        show_seconds(answer.ttft_s.expected),
        show_seconds(answer.tpot_s.expected),
        show_rate(answer.tokens_per_s.expected),
        f"{show_rate(answer.usd_per_million_tokens.expected)} USD",
    ]
    for card, found in zip(page.cards, (answer.ttft_s, answer.tpot_s), strict=False):
        assert f"80 %: {show_seconds(found.low)} – {show_seconds(found.high)}" in card.note
    assert "Expected error" in page.basis
    assert "measurements of vLLM" in page.basis


def test_every_figure_of_an_estimate_is_there(page: Page) -> None:
    assert [figure.name for figure in page.figures] == [
        "memory", "roofline", "spent", "ops", "batch", "context", "sensitivity",
    ]  # fmt: skip
    check(html(page))


def test_memory_adds_up_to_the_capacity(answer: pm.Estimate, page: Page) -> None:
    (plot,) = page.figures[0].plots
    assert sum(trace["x"][0] for trace in plot.traces) == pytest.approx(answer.memory.capacity, rel=1e-3)
    assert plot.layout["shapes"][0]["x0"] == answer.memory.capacity


def test_the_roofline_has_every_op_where_it_belongs(answer: pm.Estimate, page: Page) -> None:
    figure = page.figures[1]
    roof, prefill, decode = figure.plots[0].traces
    assert roof["y"][-1] == pytest.approx(answer.plan.gpu.peak("bf16"), rel=1e-3)
    assert roof["y"][0] / roof["x"][0] == pytest.approx(answer.plan.gpu.memory_bandwidth, rel=1e-2)
    ops = {op.name: op for op in achieved(answer, "decode")}
    at = next(i for i, text in enumerate(decode["text"]) if text.startswith("ffn_down "))
    op = ops["ffn_down"]
    assert decode["x"][at] == pytest.approx(op.flops / op.bytes, rel=1e-3)
    assert decode["y"][at] == pytest.approx(op.flops / op.seconds, rel=1e-3)
    assert {row[1] for row in figure.table.rows() if row[0] == "decode"} == set(ops)  # type: ignore[union-attr]
    assert len(prefill["x"]) == len(prefill["text"])


@pytest.mark.parametrize("asked", [{"tp": 4}, {"tp": 2, "pp": 2}, {"tp": 1, "pp": 2, "batch": 8}])
def test_what_one_gpu_achieves_adds_up(asked: dict[str, int]) -> None:
    """Products of all ranks are those of the model; the kernels' time is within that of a step."""
    one = pm.estimate("llama3-70b", "h200", **asked)
    ops = achieved(one, "decode")
    whole = sum(op.flops * op.repeat for op in one.decode_ops() if op.name == "ffn_down")
    (own,) = [op for op in ops if op.name == "ffn_down"]
    assert own.flops * one.plan.tp == pytest.approx(whole, rel=0.15), "all stages, one rank of each"
    assert all(op.rate <= one.plan.gpu.peak("bf16") for op in ops if op.seconds and op.kind == "gemm")
    assert all(op.seconds >= op.bound_s * 0.999 for op in ops if op.kind in ("gemm", "attention"))


def test_curves_go_through_the_answer(answer: pm.Estimate, page: Page) -> None:
    batch, context = page.figures[4], page.figures[5]
    here = batch.plots[0].traces[-1]
    assert here["x"][0] == pytest.approx(answer.tpot_s.expected, rel=1e-3)
    assert here["y"][0] == pytest.approx(answer.tokens_per_s.expected, rel=1e-3)
    for plot, found in zip(context.plots, (answer.ttft_s, answer.tpot_s), strict=True):
        assert plot.traces[-1]["y"][0] == pytest.approx(found.expected, rel=1e-3)
    largest = answer.room[0]
    assert f"to {largest:,} at once" in batch.caption
    assert f"more than {largest:,} do not fit" in batch.caption


def test_captions_follow_from_their_numbers() -> None:
    """Two answers of which one waits for memory and the other for arithmetic have other words."""
    few, many = (page_of(pm.estimate("llama3-8b", "h100", prompt=n)) for n in (16, 8000))
    for a, b in zip(few.figures, many.figures, strict=True):
        assert a.caption != b.caption, a.name
    assert "of prefill's ops lies left of the ridge" in few.figures[1].caption
    assert "of prefill's ops lies right of the ridge" in many.figures[1].caption


@pytest.mark.parametrize(
    "asked",
    [
        {"model": "llada-8b", "gpu": "h100"},
        {"model": "deepseek-v3", "gpu": "mi300x", "batch": 8},
        {"model": "llama3-8b", "gpu": "h100", "draft": "llama3.2-1b", "acceptance": 0.8},
        {"model": "llama3-8b", "gpu": "h100", "kv_cache": False},
        {"model": "rwkv6-7b", "gpu": "h100"},
        {"model": "llama3-8b", "gpu": "h100", "images": 1, "image_tokens": 576, "prompt": 64},
        {"model": "llama3-8b", "gpu": "h100", "prefix": 512, "samples": 3},
        {"model": "llama3-8b", "gpu": "h100", "batch": 5000},
    ],
    ids=lambda asked: ",".join(map(str, asked.values())),
)
def test_pages_of_all_kinds_of_models(asked: dict[str, Any]) -> None:
    if asked["model"] == "rwkv6-7b":
        asked = asked | {"model": next(name for name in pm.names("model") if "rwkv" in name or "mamba" in name)}
    check(html(asked_page(asked)))


# ── the answer is no ─────────────────────────────────────────────────────────────────────────────


def test_what_does_not_fit_has_a_page_led_by_that(run, tmp_path: Path) -> None:
    file = tmp_path / "no.html"
    ran = run("estimate", "-m", "llama3-70b", "-g", "h100", "--tp", "1", "--html", str(file))
    assert ran.code == 1
    text = file.read_text(encoding="utf-8").replace("\u00a0", " ")
    check(text)
    assert text.index("Does not fit") < text.index("What would work") < text.index("--tp 2 (2 GPUs)")
    assert f"perfmodel estimate -m llama3-70b -g h100 --tp 1 --html {file}" in text


def test_what_no_number_of_devices_holds_has_a_page_too(run, tmp_path: Path) -> None:
    file = tmp_path / "never.html"
    ran = run("estimate", "-m", "llama3.1-405b", "-g", "rtx-4090", "--html", str(file))
    assert ran.code == 1
    text = file.read_text(encoding="utf-8")
    page = check(text)
    assert "llama3.1-405b on rtx-4090" in text
    assert "Plotly, Inc." not in text
    assert page.headings == [1, 2, 2]


# ── what if ──────────────────────────────────────────────────────────────────────────────────────


def test_sliders_hold_what_estimates_say(answer: pm.Estimate) -> None:
    found = what_if(answer)
    held = what_if_data(found)
    assert [axis.name for axis in found.axes] == ["batch", "prompt", "output", "price"]
    assert [axis.values[axis.start] for axis in found.axes] == ["8", "1,024", "256", "3.49"]
    for place in ((0, 0, 0, 0), (2, 3, 1, 6), tuple(len(axis.values) - 1 for axis in found.axes)):
        batch, prompt, output, price = (
            float(axis.values[i].replace(",", "")) for axis, i in zip(found.axes, place, strict=True)
        )
        exact = answer.price_per_hour * (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)[place[3]]
        assert exact == pytest.approx(price, rel=1e-2)
        one = pm.estimate(
            "llama3-70b", "h100", tp=4, batch=int(batch), prompt=int(prompt), output=int(output), price=exact,
            must_fit=False,
        )  # fmt: skip
        for number, told in zip(
            held["numbers"],
            (
                show_seconds(one.ttft_s.expected),
                show_seconds(one.tpot_s.expected),
                show_rate(one.tokens_per_s.expected),
                f"{show_rate(one.usd_per_million_tokens.expected)} USD",
            ),
            strict=True,
        ):
            flat = 0
            for axis in number["axes"]:
                flat = flat * len(found.axes[axis].values) + place[axis]
            assert number["figures"][flat] == told
        flat = (place[0] * len(found.axes[1].values) + place[1]) * len(found.axes[2].values) + place[2]
        assert bool(held["verdict"]["good"][flat]) == bool(one.fits)


def test_grids_stay_small_and_within_their_range() -> None:
    for name in ("llama3.1-8b", "llama4-scout"):
        found = what_if(pm.estimate(name, "h200", batch=77, prompt=3000, output=333))
        sizes = [len(axis.values) for axis in found.axes[:3]]
        assert sizes[0] * sizes[1] * sizes[2] <= MOST
        assert [axis.values[axis.start] for axis in found.axes[:3]] == ["77", "3,000", "333"]
        assert len(json.dumps(what_if_data(found))) < 900_000


@given(st.integers(1, 300), st.integers(1, 10**6), st.lists(st.integers(1, 10**6), max_size=3))
def test_ladders_rise_from_end_to_end(least: int, most: int, including: list[int]) -> None:
    found = ladder(least, most, including)
    assert found == sorted(set(found))
    assert {least, *including} <= set(found)
    assert max(found) == max(least, most, *including)


def test_sliders_need_no_curve(answer: pm.Estimate) -> None:
    bare = what_if(answer)._replace(curve=None)
    text = html(Page("t", "h", [], what_if=bare))
    assert "Plotly, Inc." not in text
    assert data(text)["what_if"]["curve"] is None
    check(text)


# ── sensitivity and fronts ───────────────────────────────────────────────────────────────────────


def test_swings_are_those_of_answers_asked_anew(answer: pm.Estimate) -> None:
    found = {swing.input: swing for swing in sensitivity(answer)}
    assert set(found) == {"memory bandwidth", "FLOP/s", "links between GPUs", "price", "batch", "prompt", "output"}
    more = pm.estimate("llama3-70b", "h100", tp=4, batch=10)
    assert found["batch"].more.tpot_s == more.tpot_s
    assert found["batch"].high == "10 sequences"
    gpu = pm.load_gpu("h100")
    faster = gpu.model_copy(update={"memory_bandwidth": gpu.memory_bandwidth * 1.2})
    assert found["memory bandwidth"].more.tpot_s == pm.estimate("llama3-70b", faster, tp=4, batch=8).tpot_s
    assert found["price"].more.usd_per_million_tokens.expected == pytest.approx(
        1.2 * answer.usd_per_million_tokens.expected
    )


def test_swings_go_the_right_way(answer: pm.Estimate) -> None:
    for swing in sensitivity(answer):
        less, more = swing.less.ttft_s.expected, swing.more.ttft_s.expected
        if swing.input in ("memory bandwidth", "FLOP/s", "links between GPUs"):
            assert less > answer.ttft_s.expected > more, swing.input
        if swing.input in ("batch", "prompt"):
            assert less < answer.ttft_s.expected < more, swing.input


def test_one_gpu_has_no_link_to_vary() -> None:
    found = [swing.input for swing in sensitivity(pm.estimate("llama3-8b", "h100"))]
    assert "links between GPUs" not in found
    assert "batch" not in found, "a batch of one has no fifth to lose"


POINT = st.tuples(st.integers(0, 8).map(float), st.integers(0, 8).map(float))


@given(st.lists(POINT, max_size=40))
def test_the_front_is_what_brute_force_says(points: list[tuple[float, float]]) -> None:
    def beaten(p: tuple[float, float]) -> bool:
        return any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points)

    assert frontier(points) == {i for i, p in enumerate(points) if not beaten(p)}


# ── comparison, serving, sweep ───────────────────────────────────────────────────────────────────


def test_the_page_of_a_comparison() -> None:
    found = pm.compare("llama3-70b", "h200", batch=32, changes=["kv=fp8", "tp=8", "gpu-count=1", "tp=8"])
    page = page_of(found)
    check(html(page))
    assert "tp=8 has the shortest time to first token" in page.headline
    assert any("gpu-count=1: llama3-70b does not fit" in line for line in page.notices)
    bars = page.figures[0].plots[1].traces[0]
    assert bars["y"] == ["baseline", "kv=fp8", "tp=8", "tp=8 (4)"]
    assert bars["x"][2] == pytest.approx(found.variants[1].answer.tpot_s.expected, rel=1e-3)  # type: ignore[union-attr]
    low = bars["x"][2] - bars["error_x"]["arrayminus"][2]
    assert low == pytest.approx(found.variants[1].answer.tpot_s.low, rel=1e-2)  # type: ignore[union-attr]
    assert any(line.startswith("tp=8: TTFT −") for line in page.lists[0].items)


def test_a_comparison_of_which_nothing_fits() -> None:
    page = page_of(pm.compare("llama3-70b", "rtx-4090", changes=["batch=2"], tp=1))
    check(html(page))
    assert (page.good, page.verdict) == (False, "Does not fit")
    assert not page.figures


@pytest.mark.parametrize("asked", [{"rate": 4}, {"concurrency": 8}, {"rate": 2, "decode_workers": 1}])
def test_the_page_of_serving(asked: dict[str, Any]) -> None:
    found = pm.serve("llama3-8b", "h100", requests=60, **asked)
    page = page_of(found)
    check(html(page))
    seen = found.distributions["ttft_s"]
    assert show_seconds(seen.p50) in page.headline
    assert page.cards[0].figure == show_seconds(seen.p99)
    within = page.figures[0].plots[0].traces[0]
    assert within["y"][-1] == 100
    assert within["x"][-1] == pytest.approx(max(found.load.served.first), rel=1e-3)


def test_the_page_of_a_sweep() -> None:
    table = pm.sweep("llama3-8b", "l40s", tp=1, batch=[1, 8, 64, 512], prompt=[512, 4096])
    page = page_of(table)
    check(html(page))
    assert "8 configurations over 4 values of batch and 2 values of prompt; " in page.headline
    frame = table.to_frame()
    fits = frame[frame["fits"]]
    best = fits.loc[fits["usd_per_million_tokens"].idxmin()]
    assert f"batch {best['batch']:,.0f}, prompt {best['prompt']:,.0f}" in page.headline
    assert [tabled.name for tabled in page.tables] == ["best", "left-out"]


def test_sweeps_of_several_kinds_are_drawn_by_kind() -> None:
    one, other = (pm.sweep("llama3-8b", gpu, batch=[1, 8, 64]) for gpu in ("h100", "l40s"))
    columns = {name: [*one[name], *other[name]] for name in one.columns} | {"reason": [""] * 6}
    table = Table(columns)
    page = page_of(table)
    check(html(page))
    names = {trace["name"] for trace in page.figures[0].plots[0].traces}
    assert {"gpu h100, on the front", "gpu l40s"} <= names
    assert page.figures[-1].name == "choices"


def test_the_page_of_a_large_sweep_is_small() -> None:
    table = pm.sweep("llama3-8b", "h100", batch=range(1, 65), prompt=range(64, 64 * 17, 64), output=range(32, 353, 32))
    page = page_of(table)
    assert len(json.dumps([plot.traces for figure in page.figures for plot in figure.plots])) < 400_000
    assert page.figures[0].plots[0].of == len(table)
    assert len(page.figures[0].plots[0].traces) <= 4
    assert "points are drawn, evenly chosen" in html(page)


def test_what_is_not_known_of_some_rows_is_left_out() -> None:
    one, other = (pm.sweep("llama3-8b", gpu, batch=[1, 8]) for gpu in ("h100", "mi300x"))
    columns = {name: [*one[name], *other.columns.get(name, [float("nan")] * 2)] for name in one.columns}
    page = page_of(Table(columns))
    check(html(page))
    assert "gpu h100" in page.cards[-1].note
    front = page.figures[1].plots[0]
    assert front.of == 2, "of mi300x no price is on file"
    assert page.figures[0].plots[0].of == 4


def test_a_sweep_of_which_nothing_fits() -> None:
    page = page_of(pm.sweep("llama3-70b", "h100", tp=1, batch=[1, 2]))
    check(html(page))
    assert (page.good, page.verdict) == (False, "Nothing fits")


def test_the_page_of_a_plan() -> None:
    found = pm.plan("llama3.1-8b", ["l40s"], rate=4, ttft="2 s", tpot="100 ms")
    page = page_of(found, "perfmodel plan …")
    text = html(page)
    check(text)
    assert found.best is not None
    assert page.cards[0].figure == f"{found.best.gpu_count:,}"
    assert (
        {"goals", "front", "chances", "headroom", "sensitivity"} >= {figure.name for figure in page.figures} > {"goals"}
    )
    chances = next(figure for figure in page.figures if figure.name == "chances").plots[0].traces[0]
    assert chances["y"] == pytest.approx([100 * one.probability for one in found.chances], rel=1e-3)
    assert found.launch is not None
    assert found.launch[0].server[0].text in [command.text for command in page.commands]
    assert page.what_if is not None
    traffic, price = page.what_if.axes
    counts, *_, costs = page.what_if.numbers
    assert counts.figures[traffic.start] == f"{found.best.gpu_count:,}"
    assert [int(n) for n in counts.figures] == sorted(int(n) for n in counts.figures)
    own = costs.figures[traffic.start * len(price.values) + price.start]
    assert own == f"{found.best.usd_per_month:,.0f} USD"


def test_the_page_of_advice() -> None:
    found = pm.advise("llama3-70b", "h200", tp=2, replicas=2, rate=9.0, tpot="45 ms")
    page = page_of(found, "perfmodel advise …")
    check(html(page))
    assert page.verdict == ("Met" if found.now.meets else "Missed")
    assert {figure.name for figure in page.figures} == {"carried", "front"}
    shown = page.tables[0].table["change"]
    assert shown == ["as it is", *(one.change for one in found.changes)]
    assert notebook_html(found) == found._repr_html_()
    check(html(page_of(pm.advise("llama3-70b", "h200", tp=2, rate=9.0, ttft="1 ms"))))


def test_the_page_of_a_sweep_of_several_models() -> None:
    swept = pm.sweep(model="llama3-8b", gpu=["h100", "l40s"], tp=[1, 3], batch=[1, 8])
    page = page_of(swept)
    check(html(page))
    assert page.title == f"Sweep of {len(swept)} configurations"


def test_the_page_of_a_plan_that_nothing_meets() -> None:
    found = pm.plan("llama3-70b", ["l40s"], rate=4, ttft="10 ms", tpot="1 ms")
    page = page_of(found)
    check(html(page))
    assert (page.verdict, page.good) == ("Not met", False)
    assert page.notices
    assert page.tables[0].name == "nearest"


def test_what_has_no_page_says_so(answer: pm.Estimate, tmp_path: Path) -> None:
    with pytest.raises(
        RequestError, match="no page of a dict; there are of: Estimate, Comparison, Serving, Plan, Advice, Sweep, Table"
    ):
        page_of({})
    with pytest.raises(RequestError, match="of a sweep"):
        page_of(Table({"a": [1]}))
    with pytest.raises(RequestError, match="one batch, prompt and output"):
        page_of(pm.estimate("llama3-8b", "h100", batch=[1, 2]))
    with pytest.raises(RequestError, match="cannot be written"):
        write_page(answer, tmp_path / "no" / "page.html")
    pm.write_page(answer, tmp_path / "page.html")
    assert "From Python" in (tmp_path / "page.html").read_text(encoding="utf-8")


# ── charts ───────────────────────────────────────────────────────────────────────────────────────


def test_stacked_bars_leave_out_what_is_nothing() -> None:
    plot = stacked_bars("t", ["a", "b"], {"x": [1.0, 2.0], "y": [0.0, 0.0], REST: [3.0, 4.0]}, str, mark=("all", 5.0))
    assert [trace["name"] for trace in plot.traces] == ["x", REST]
    assert plot.traces[1]["meta"]["colour"] is None
    assert plot.layout["shapes"][0]["x0"] == 5.0


def test_a_front_is_a_line_through_what_nothing_beats() -> None:
    spots = [Spot(1, 1, "a", ["p"], "f"), Spot(3, 4, "b", ["q"], "f"), Spot(2, 1, "a", ["r"]), Spot(0, 1, "a", ["no"])]
    front, *series = pareto("t", spots, "x", "y").traces
    assert (front["x"], front["y"]) == ([1, 3], [1, 4])
    assert [trace["name"] for trace in series] == ["a", "a, on the front", "b, on the front"]
    many = [Spot(i + 1, i + 1, "a", ["p"]) for i in range(5000)]
    plot = pareto("t", many, "x", "y")
    assert (plot.drawn, plot.of) == (700, 5000)


def test_a_tornado_is_sorted_and_starts_at_the_answer() -> None:
    swings = [
        Swing("small", 9.0, 11.0, ("less", "more")),
        Swing("none", 10.0, 10.0, ("less", "more")),
        Swing("large", 20.0, 5.0, ("less", "more")),
    ]
    less, more = tornado("t", swings, 10.0, "x").traces
    assert less["y"] == more["y"] == ["large", "small"]
    assert less["base"] == [10, 10]
    assert (less["x"], more["x"]) == ([10, -1], [-5, 1])


def test_steps_of_a_probability() -> None:
    plot = probability_steps("t", {"h100": {1: 0.2, 3: 0.95, 2: 0.9}}, "GPUs", "enough")
    assert (plot.traces[0]["x"], plot.traces[0]["y"]) == ([1, 2, 3], [20, 90, 95])
    assert plot.traces[0]["line"]["shape"] == "hv"


@given(st.floats(1e-9, 1e12), st.floats(1, 1e9))
def test_ticks_are_few_and_within(low: float, factor: float) -> None:
    ticks = log_axis("t", [low, low * factor])["tickvals"]
    assert len(ticks) <= 7
    assert ticks == sorted(ticks)
    assert all(low / 1.31 <= tick <= low * factor * 1.31 for tick in ticks)
    if factor > 2.5:
        assert len(ticks) >= 2


@given(st.integers(0, 3000), st.integers(1, 900))
def test_thinning_keeps_order_and_number(n: int, most: int) -> None:
    found = thinned(range(n), most)
    assert len(found) == min(n, most)
    assert found == sorted(set(found))


# ── the frame ────────────────────────────────────────────────────────────────────────────────────


def test_a_page_needs_only_words() -> None:
    text = html(Page("t", "h", [], command="perfmodel …"))
    assert "Plotly, Inc." not in text
    assert len(text) < 30_000
    assert check(text).headings == [1, 2]


def test_the_table_behind_a_figure_says_what_is_drawn() -> None:
    plot = ranked_bars("t", ["a<b", "c"], [1.0, 2.0], str)
    table = traced([plot])
    assert list(table.columns) == ["series", "value", "name"]
    assert list(table["name"]) == ["a<b", "c"]
    text = html(Page("t", "h", [], figures=[Figure("f", "t", "c" * 50 + ".", [plot])]))
    assert "<td>a&lt;b</td>" in text


def test_names_that_mean_harm_are_text() -> None:
    plot = ranked_bars(EVIL, [EVIL], [1.0], lambda _: EVIL)
    page = Page(
        EVIL,
        EVIL,
        [Card(EVIL, EVIL, EVIL)],
        EVIL,
        EVIL,
        figures=[Figure("f", EVIL, EVIL + "." * 9, [plot])],
        command=EVIL,
    )
    text = html(page)
    assert text.count("<script") == 3
    assert "<img" not in text
    assert json.dumps(data(text)).count("<") == 0


def test_numbers_stay_with_their_units() -> None:
    assert unbroken("12 % of 3.4 ms, 5 GB/s, 7 GPUs and 8 bits") == (
        "12\u00a0% of 3.4\u00a0ms, 5\u00a0GB/s, 7\u00a0GPUs and 8 bits"
    )


# ── notebooks ────────────────────────────────────────────────────────────────────────────────────


def test_answers_show_themselves_in_a_notebook(answer: pm.Estimate) -> None:
    served = pm.serve("llama3-8b", "h100", concurrency=2, requests=6)
    for one in (answer, served, pm.compare("llama3-8b", "h100", changes=["kv=fp8"])):
        text = one._repr_html_()
        assert text == notebook_html(one)
        assert len(text) < 5000
        assert not re.search(r"<script|<style|https?:|color:(?!-)", text)
        assert text.count("<div") == text.count("</div>") == 1
    assert show_seconds(answer.ttft_s.expected).replace(" ", "\u00a0") in answer._repr_html_()
    refused = pm.estimate("llama3-70b", "h100", tp=1, must_fit=False)._repr_html_()
    assert "Does not fit" in refused
    assert "--tp 2" in refused
    assert "<table>" in pm.estimate("llama3-8b", "h100", batch=[1, 2])._repr_html_()
    assert "64 of them fit; the first 20" in pm.sweep("llama3-8b", "h100", batch=range(1, 65))._repr_html_()


def test_names_that_mean_harm_are_text_in_a_notebook(answer: pm.Estimate) -> None:
    model = answer.plan.model.model_copy(update={"title": EVIL, "name": EVIL})
    text = pm.estimate(model, "h100", tp=4)._repr_html_()
    assert "<script" not in text
    assert "<img" not in text
    check(html(page_of(pm.estimate(model, "h100", tp=4))))


# ── the commands ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("estimate", "-m", "llama3-8b", "-g", "h100"), "Llama 3 8B on 1 × NVIDIA H100"),
        (("estimate", "-m", "llama3-8b", "-g", "h100", "--compare", "kv=fp8"), "1 change held against"),
        (("serve", "-m", "llama3-8b", "-g", "h100", "-c", "2", "--requests", "4"), "under load"),
    ],
)
def test_report_and_html_write_the_same_page(run, tmp_path: Path, command: tuple[str, ...], told: str) -> None:
    a, b = tmp_path / "a.html", tmp_path / "b.html"
    ran = run("report", "--html", str(a), *command)
    assert (ran.code, ran.out) == (0, f"Written {a}\n")
    plain, with_page = run(*command), run(*command, "--html", str(b))
    assert plain == with_page, "the page is beside what is printed"
    first, second = (file.read_text(encoding="utf-8") for file in (a, b))
    assert first.replace(str(a), "FILE") == second.replace(str(b), "FILE")
    check(first)
    assert told in first


def test_report_hands_on_exit_codes(run, tmp_path: Path) -> None:
    ran = run("report", "--html", str(tmp_path / "a.html"), "estimate", "-m", "llama3-70b", "-g", "h100", "--tp", "1")
    assert (ran.code, ran.out) == (1, f"Written {tmp_path}/a.html\n")
    assert "does not fit" in ran.err
    for wrong, words in (
        (("serv", "-m", "llama3-8b"), 'no command is called "serv"; did you mean serve?'),
        (
            ("show", "h100"),
            "show has no page of its own; estimate, serve, sweep, plan, advise and validate report have one",
        ),
        (("report", "estimate"), 'no command is called "report"'),
        (("estimate", "-m", "lama3-8b", "-g", "h100"), "Did you mean"),
        (("estimate", "-m", "llama3-8b", "-g", "h100", "--html", "b.html"), "name the page's file before the command"),
    ):
        ran = run("report", "--html", str(tmp_path / "wrong.html"), *wrong)
        assert ran.code == 2
        assert words in ran.err
        assert ran.err.count("\n") == 1
        assert ran.out == ""
        assert not (tmp_path / "wrong.html").exists()


def test_report_opens_the_browser(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    file = tmp_path / "a.html"
    run("report", "--open", "--html", str(file), "estimate", "-m", "llama3-8b", "-g", "h100")
    assert opened == [file.as_uri()]
