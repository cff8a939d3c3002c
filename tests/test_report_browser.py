"""Pages in a real browser: no network, every chart drawn, no overflow, sliders, dark, print, hostile names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_results import full_kernels, full_run
from read_pages import data

import perfmodel as pm
from perfmodel.measured.page import page as measured_page
from perfmodel.report.asked import write_estimate
from perfmodel.report.charts import ranked_bars
from perfmodel.report.figure import Axis, Card, Curve, Figure, Looked, Page, Tabled, WhatIf
from perfmodel.report.page import html
from perfmodel.report.pages import write_page
from perfmodel.report.traces import bars, markers, names_axis, said, si_axis
from perfmodel.table import Table
from perfmodel.units import show_rate, show_seconds

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'>&amp;"
NAMES = ("estimate", "refused", "comparison", "serving", "sweep", "plan", "measured", "hostile")
BATCH = 8


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    asked = {"model": "llama3-8b", "gpu": "h100", "batch": BATCH}
    write_estimate(asked, folder / "estimate.html", "perfmodel estimate -m llama3-8b -g h100")
    write_estimate({"model": "llama3-70b", "gpu": "h100", "tp": 1}, folder / "refused.html", "perfmodel …")
    write_page(pm.compare("llama3-70b", "h200", changes=["kv=fp8", "tp=8", "gpu-count=1"]), folder / "comparison.html")
    write_page(pm.serve("llama3-8b", "h100", rate=4, requests=50), folder / "serving.html")
    swept = pm.sweep("llama3-8b", "l40s", batch=[1, 8, 64, 512], prompt=[512, 4096], output=[128])
    write_page(swept, folder / "sweep.html")
    write_page(pm.plan("llama3.1-8b", ["l40s"], rate=4, ttft="2 s", tpot="100 ms"), folder / "plan.html")
    (folder / "measured.html").write_text(measured_page([full_run(), full_kernels()]), encoding="utf-8")
    (folder / "hostile.html").write_text(html(hostile()), encoding="utf-8")
    return folder


def hostile() -> Page:
    """A page all of whose names mean harm."""
    plot = ranked_bars(EVIL, [EVIL, "b"], [1.0, 2.0], lambda x: f"{x} {EVIL}")
    layout: dict[str, Any] = {"xaxis": si_axis(EVIL), "yaxis": names_axis([EVIL]), "height": 300}
    traces = [markers(EVIL, 0, [(1.0, 1.0)], [said([EVIL])]), bars(EVIL, 1, [EVIL], [1.0], [said([EVIL])])]
    axis = Axis("batch", EVIL, [EVIL, "2"], 0)
    curve = Curve(EVIL, (0,), (1.0, 2.0), (1.0, 2.0), (True, False), layout)
    looked = Looked(EVIL, (0,), (EVIL, "b"), (EVIL, "c"))
    return Page(
        EVIL, EVIL, [Card(EVIL, EVIL, EVIL)], EVIL, EVIL, True, [EVIL],
        what_if=WhatIf(EVIL, [axis], [looked], looked, (True, False), curve),
        figures=[
            Figure("one", EVIL, EVIL, [plot, plot._replace(title=EVIL, layout=layout, traces=traces)]),
        ],
        tables=[Tabled("two", Table({EVIL: [EVIL, "javascript:alert(1)"]}, EVIL), EVIL)], command=EVIL,
    )  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One headless Chromium for all of these tests."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say("needs a Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        ours = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield ours
        ours.close()


SETTLED = "[...document.querySelectorAll('.plot')].every((p) => p.querySelector('svg')?.clientWidth === p.clientWidth)"


class Seen:
    """A page that is open, and what it complained of or asked for."""

    def __init__(self, browser: Any, file: Path, width: int = 1600, scheme: str = "light") -> None:
        self.file = file
        self.complaints: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page.on("console", lambda told: self.complaints.append(f"{told.type}: {told.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append("dialog"), dialog.dismiss()))
        self.page.on("request", lambda asked: self.complaints.append(asked.url) if asked.url != file.as_uri() else None)
        self.page.goto(file.as_uri())
        self.until(SETTLED)

    def until(self, claim: str) -> None:
        """Wait for a claim to hold; the page's own policy forbids playwright's way to, which would evaluate text."""
        for _ in range(200):
            if self.page.evaluate(claim):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(claim)

    def text(self, selector: str) -> str:
        return str(self.page.text_content(selector)).replace("\u00a0", " ")

    def __enter__(self) -> Seen:
        return self

    def __exit__(self, *_: object) -> None:
        self.page.close()


DRAWN = "(id) => document.getElementById(id).querySelectorAll('.scatterlayer > .trace, .barlayer > .trace').length"


@pytest.mark.parametrize("name", NAMES)
def test_every_chart_is_drawn_and_nothing_is_asked_for(pages: Path, browser: Any, name: str) -> None:
    file = pages / f"{name}.html"
    with Seen(browser, file) as seen:
        for width in (1600, 360):
            seen.page.set_viewport_size({"width": width, "height": 900})
            seen.until(SETTLED)
            wide = seen.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            assert wide[0] <= wide[1] == width
            svgs = "[...document.querySelectorAll('.plot svg.main-svg')].map((s) => s.getBoundingClientRect())"
            edges = seen.page.evaluate(f"{svgs}.map((box) => [box.left, box.right, box.height])")
            assert all(left >= 0 and right <= width and height > 50 for left, right, height in edges)
        plots = data(file.read_text(encoding="utf-8"))["plots"]
        for plot, given in plots.items():
            assert seen.page.evaluate(DRAWN, plot) == len(given["data"]), plot
        if seen.page.query_selector("#what-if"):
            assert name == "plan" or seen.page.evaluate(DRAWN, "what-if-curve") >= 2
        assert seen.complaints == []


def test_hostile_names_are_text(pages: Path, browser: Any) -> None:
    with Seen(browser, pages / "hostile.html") as seen:
        assert seen.text("h1") == EVIL
        assert seen.page.title() == EVIL
        assert seen.text("figcaption") == EVIL
        assert seen.text("td") == EVIL
        assert seen.text("#made-by") == EVIL
        assert seen.text("#if-verdict") == EVIL
        assert seen.text("#number-0") == EVIL
        legend = seen.page.eval_on_selector_all(".legendtext", "(all) => all.map((one) => one.dataset.unformatted)")
        assert any("<script>alert(1)" in text or "&lt;script&gt;alert(1)" in text for text in legend)
        drawn = seen.page.eval_on_selector_all(".plot text", "(all) => all.map((one) => one.textContent)")
        assert any("<img src=x" in text for text in drawn)
        seen.page.hover("#one-0 .barlayer .point path", force=True)
        seen.page.wait_for_timeout(200)
        assert seen.page.query_selector_all("img, .plot script, .plot a") == []
        assert seen.page.query_selector_all('a[href^="javascript"]') == []
        assert seen.complaints == []


def test_sliders_follow_the_keyboard_and_say_what_perfmodel_says(pages: Path, browser: Any) -> None:
    with Seen(browser, pages / "estimate.html") as seen:
        before = [seen.text(f"#number-{i}") for i in range(4)]
        seen.page.focus("#if-batch")
        seen.page.keyboard.press("ArrowRight")
        batch = int(seen.text("#at-batch").replace(",", ""))
        answer = pm.estimate("llama3-8b", "h100", batch=batch)
        assert batch > BATCH
        assert seen.text("#number-0") == show_seconds(answer.ttft_s.expected)
        assert seen.text("#number-1") == show_seconds(answer.tpot_s.expected)
        assert seen.text("#number-2") == show_rate(answer.tokens_per_s.expected)
        assert seen.text("#number-3") == f"{show_rate(answer.usd_per_million_tokens.expected)} USD"
        seen.page.focus("#if-prompt")
        seen.page.keyboard.press("ArrowLeft")
        seen.page.focus("#if-output")
        seen.page.keyboard.press("ArrowRight")
        seen.page.focus("#if-price")
        seen.page.keyboard.press("Home")
        sizes = {name: int(seen.text(f"#at-{name}").replace(",", "")) for name in ("batch", "prompt", "output")}
        price = answer.price_per_hour / 4
        answer = pm.estimate("llama3-8b", "h100", **sizes, price=price)
        assert seen.text("#at-price") == f"{price:.3g}"
        assert seen.text("#number-0") == show_seconds(answer.ttft_s.expected)
        assert seen.text("#number-3") == f"{show_rate(answer.usd_per_million_tokens.expected)} USD"
        assert seen.text("#if-verdict").startswith("Fits")
        seen.page.focus("#if-prompt")
        seen.page.keyboard.press("End")
        seen.page.focus("#if-batch")
        seen.page.keyboard.press("End")
        assert seen.text("#if-verdict").startswith("Does not fit")
        assert seen.page.get_attribute("#if-prompt", "aria-valuetext") == seen.text("#at-prompt")
        seen.page.click("#if-reset")
        assert [seen.text(f"#number-{i}") for i in range(4)] == before
        assert seen.complaints == []


CONTRAST = """() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((c) => c / 255)
      .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!colour.startsWith("rgba(0, 0, 0, 0")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  const texts = "h1, p, li, a, dt, b, span, td, th, summary, button, figcaption, output, text";
  for (const one of document.querySelectorAll(texts)) {
    if (!one.textContent.trim() || !one.getClientRects().length) continue;
    const style = getComputedStyle(one);
    const colour = one.tagName === "text" ? style.fill : style.color;
    const [a, b] = [light(colour), light(behind(one))];
    found.push([one.tagName, one.textContent.slice(0, 30), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_in_light_and_dark(pages: Path, browser: Any, scheme: str) -> None:
    """WCAG 2.2, 1.4.3 (AA): a contrast of 4.5 at least."""
    for name in ("estimate", "refused"):
        with Seen(browser, pages / f"{name}.html", scheme=scheme) as seen:
            background = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (background == "rgb(255, 255, 255)") == (scheme == "light")
            found = seen.page.evaluate(CONTRAST)
            assert len(found) > 60
            assert [row for row in found if row[2] < 4.5] == []


def test_print_is_light_and_whole(pages: Path, browser: Any) -> None:
    with Seen(browser, pages / "estimate.html", scheme="dark") as seen:
        width = "document.querySelector('#roofline-0 svg').clientWidth"
        before = seen.page.evaluate(width)
        seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert seen.page.evaluate(width) == 640 < before, "what a sheet has room for"
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        seen.page.evaluate("dispatchEvent(new Event('afterprint'))")
        seen.until(f"{width} === {before}")
        pdf = seen.page.pdf()
        assert pdf.startswith(b"%PDF")
        assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") + pdf.count(b"/Type /Page/") >= 3
        seen.page.emulate_media(media="print")
        seen.page.wait_for_timeout(200)
        assert seen.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not seen.page.is_visible("nav")
        assert seen.page.is_visible("#roofline-0 svg")
        dark = seen.page.evaluate("getComputedStyle(document.querySelector('#roofline-0 .xtick text')).fill")
        assert dark == "rgb(0, 0, 0)", "charts are drawn in the colours of paper"
        assert seen.complaints == []


def test_keyboard_and_links(pages: Path, browser: Any) -> None:
    with Seen(browser, pages / "estimate.html", width=1000) as seen:
        seen.page.emulate_media(reduced_motion="reduce")
        assert seen.page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
        seen.page.keyboard.press("Tab")
        assert seen.page.evaluate("document.activeElement.textContent") == "Skip to the figures"
        assert seen.page.evaluate("document.activeElement.getBoundingClientRect().left") > 0, "seen once it has focus"
        outline = seen.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        seen.page.keyboard.press("Enter")
        assert seen.page.evaluate("document.activeElement.id") == "main"
        for link in seen.page.query_selector_all("nav a"):
            target = str(link.get_attribute("href"))
            link.click()
            top = seen.page.evaluate(f"document.querySelector('{target}').getBoundingClientRect().top")
            assert 0 <= top < 900, target
        seen.page.click("#roofline summary")
        assert seen.page.is_visible("#roofline table")
        seen.page.click("[data-copy=made-by]")
        seen.until("document.querySelector('[data-copy=made-by]').textContent !== 'Copy'")
        assert seen.page.evaluate("getSelection().toString()").strip() == "perfmodel estimate -m llama3-8b -g h100"
        assert seen.complaints == []


def test_no_javascript_leaves_words_and_tables(pages: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((pages / "estimate.html").as_uri())
    page.click("#memory summary")
    assert "weights" in str(page.text_content("#memory table"))
    context.close()
