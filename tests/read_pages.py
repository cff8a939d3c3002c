"""What stands in a page, read without a browser."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any


def own(text: str) -> str:
    """The page less the library that is written into it, which is there once at most."""
    from plotly.offline import get_plotlyjs

    assert text.count(get_plotlyjs()) <= 1
    return text.replace(get_plotlyjs(), "")


def data(text: str) -> dict[str, Any]:
    """What the page hands to its script."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    read: dict[str, Any] = json.loads(found)
    return read


def words(plot: dict[str, Any]) -> list[str]:
    """Every text that plotly is given of a plot, and reads a little HTML in."""
    found = []

    def walk(value: Any) -> None:
        if isinstance(value, str):
            found.append(value)
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(inner)

    walk(plot)
    return found


class Outline(HTMLParser):
    """Ids, links within the page and out of it, headings in order, and elements that load something."""

    LOADS = ("img", "link", "iframe", "object", "embed", "audio", "video", "source", "base", "form")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.links: list[str] = []
        self.headings: list[int] = []
        self.loads: list[str] = []
        self.handlers: list[str] = []
        self.labels: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        self.labels += [str(given[name]) for name in ("for", "aria-labelledby", "aria-describedby") if given.get(name)]
        if tag == "a":
            target = str(given.get("href"))
            (self.anchors if target.startswith("#") else self.links).append(target)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag in self.LOADS or "src" in given or "srcset" in given:
            self.loads.append(tag)
        self.handlers += [name for name in given if name.startswith("on")]


def check(text: str) -> Outline:
    """Whether a page is sound: one file of its own, ids once, links that lead somewhere, headings in order."""
    page = Outline(own(text))
    assert len(text.encode()) < 6_000_000
    assert page.loads == page.handlers == []
    assert not re.search(r"@import|url\(", own(text))
    assert "default-src 'none'" in text
    assert "'unsafe-inline'" not in text.partition("script-src")[2].partition(";")[0]
    assert len(page.ids) == len(set(page.ids))
    assert {anchor[1:] for anchor in page.anchors} | set(page.labels) <= set(page.ids)
    assert all(link.startswith("https://") for link in page.links)
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(page.headings, page.headings[1:], strict=False))
    for name, plot in data(text)["plots"].items():
        assert name in page.ids
        assert any(len(trace["x"]) == len(trace["y"]) > 0 for trace in plot["data"]), name
        assert all(len(trace["x"]) == len(trace["y"]) for trace in plot["data"]), name
        for told in words(plot):
            assert not re.search(r"<(?!br>)", told), told
    captions = re.findall(r"<figcaption[^>]*>(.*?)</figcaption>", own(text), re.S)
    assert all(len(caption) > 40 and caption.strip().endswith(".") for caption in captions)
    return page
