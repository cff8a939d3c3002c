"""Figures and fronts: the front is what brute force finds, and figures show the rows that they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.errors import RequestError
from perfmodel.frontier import front

NUMBERS = st.one_of(st.integers(0, 6).map(float), st.just(float("nan")))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=25), st.booleans(), st.booleans())
def test_a_front_is_what_no_row_beats(rows, more_x, more_y) -> None:
    x, y = (np.asarray([row[i] for row in rows], dtype=float) for i in (0, 1))
    a, b = (-x if more_x else x), (-y if more_y else y)

    def beaten(i: int) -> bool:
        return any(a[j] <= a[i] and b[j] <= b[i] and (a[j] < a[i] or b[j] < b[i]) for j in range(len(rows)))

    known = [i for i in range(len(rows)) if np.isfinite(a[i]) and np.isfinite(b[i])]
    wanted = {(x[i], y[i]) for i in known if not beaten(i)}
    found = front(x, y, more_x, more_y).tolist()
    assert {(x[i], y[i]) for i in found} == wanted
    assert len(found) == len(wanted)
    assert a[found].tolist() == sorted(a[found].tolist())


@pytest.fixture(scope="module")
def grid() -> pm.Sweep:
    return pm.sweep(model="llama3-70b", gpu=["h100", "h200"], tp=[1, 2, 4], batch=[1, 8, 64], prompt=[500, 2000])


def test_a_plot_has_a_line_for_each_combination_of_other_axes(grid) -> None:
    figure = grid.plot(x="batch", y="tokens_per_s", color="gpu")
    assert {trace.name for trace in figure.data} == {"h100", "h200"}
    assert sum(trace.showlegend for trace in figure.data) == 2
    points = [point for trace in figure.data for point in zip(trace.x, trace.y, strict=True)]
    fits = grid["fits"]
    wanted = zip(grid["batch"][fits].tolist(), grid["tokens_per_s"][fits].tolist(), strict=True)
    assert sorted(points) == sorted(wanted)
    for trace in figure.data:
        assert list(trace.x) == sorted(trace.x)
    assert figure.layout.xaxis.title.text == "batch"


def test_a_plot_in_another_unit_and_of_words(grid) -> None:
    figure = grid.plot(x="gpu", y="ttft_ms")
    assert set(figure.data[0].x) <= {"h100", "h200"}
    shown = np.sort([y for trace in figure.data for y in trace.y])
    np.testing.assert_allclose(shown, np.sort(grid["ttft_ms"][grid["fits"]]))
    everything = grid.plot(x="batch", y="ttft_ms", fits_only=False)
    assert sum(len(trace.x) for trace in everything.data) == len(grid)


def test_a_pareto_figure_shows_the_front(grid) -> None:
    figure = grid.pareto("ttft_ms", "cost_per_mtok_usd")
    best = grid.pareto_table("ttft_ms", "cost_per_mtok_usd")
    assert figure.data[-1].name == "Pareto front"
    np.testing.assert_allclose(figure.data[-1].x, best["ttft_s"] * 1e3)
    np.testing.assert_allclose(figure.data[-1].y, best["usd_per_million_tokens"])
    frame = grid.to_frame()[grid["fits"]]
    for _, row in frame.iterrows():
        beats = (best["ttft_s"] <= row["ttft_s"]) & (best["usd_per_million_tokens"] <= row["usd_per_million_tokens"])
        assert beats.any()


def test_more_tokens_are_better_and_less_time_is(grid) -> None:
    best = grid.pareto_table("ttft_ms", "tokens_per_s")
    assert (np.diff(best["ttft_s"]) > 0).all()
    assert (np.diff(best["tokens_per_s"]) > 0).all()


def test_hostile_names_are_text(grid) -> None:
    model = pm.load_model("llama3-8b").model_copy(update={"name": "<script>alert(1)</script>"})
    sweep = pm.sweep([model, "llama3-8b"], "h100", tp=1, batch=[1, 2])
    for figure in (sweep.plot("batch", "ttft_ms", color="model"), sweep.pareto("ttft_ms", "tokens_per_s")):
        assert "<script>" not in str(figure.to_dict())
    assert "<script>" not in sweep._repr_html_()
    assert "&lt;script&gt;" in sweep._repr_html_()


def test_nothing_to_draw_is_one_sentence() -> None:
    with pytest.raises(RequestError, match="Nothing fits"):
        pm.sweep("llama3-70b", "l4", tp=1, batch=[1, 2]).plot("batch", "ttft_ms")


def test_a_notebook_shows_the_first_rows(grid) -> None:
    html = grid._repr_html_()
    assert html.count("<tr>") == 21
    assert "36 cases" in html
    assert repr(grid) == "<Sweep of 36 cases>"


def test_a_large_grid_is_thinned() -> None:
    sweep = pm.sweep("llama3-8b", "h100", tp=1, batch=range(1, 201), prompt=range(100, 300))
    figure = sweep.plot(x="prompt", y="ttft_ms")
    assert sum(len(trace.x) for trace in figure.data) == 20_000
    assert "20,000 of 40,000 drawn" in figure.layout.title.text
