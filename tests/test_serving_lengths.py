"""Lengths and traces: distributions have the moments that they claim, and files are read or refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from perfmodel.errors import PerfModelError, RequestError
from perfmodel.serving.lengths import Lengths, lengths
from perfmodel.serving.trace import trace
from perfmodel.serving.traffic import traffic


@pytest.mark.parametrize(
    "of",
    [
        Lengths.fixed(700),
        Lengths.uniform(100, 900),
        Lengths.lognormal(1000, 0.8),
        Lengths.lognormal(300, 0.3),
        Lengths.sample([10, 20, 20, 400]),
    ],
    ids=str,
)
def test_draws_have_the_moments_that_are_claimed(of: Lengths) -> None:
    drawn = np.array(of.drawn(Random(1), 200_000), dtype=float)
    assert drawn.min() >= 1
    assert drawn.mean() == pytest.approx(of.mean, rel=0.01)
    assert (drawn**2).mean() == pytest.approx(of.squares, rel=0.03)
    assert drawn.std() / drawn.mean() == pytest.approx(of.spread, abs=0.02)
    assert (drawn <= of.high * 1.0001).mean() > 0.99999


def test_text_says_which() -> None:
    assert lengths("700", "--prompt-lengths") == Lengths.fixed(700)
    assert lengths("uniform:5-9", "") == Lengths.uniform(5, 9)
    assert lengths("lognormal:1024,0.8", "") == Lengths.lognormal(1024, 0.8)
    assert lengths(Lengths.fixed(3), "") == Lengths.fixed(3)


@pytest.mark.parametrize(
    "text", ["uniform:9-5", "uniform:0-5", "lognormal:1024", "lognormal:0,1", "normal:5,5", "-3", "", True, 1.5, None]
)
def test_text_that_says_nothing_is_refused(text: object) -> None:
    with pytest.raises(RequestError, match=r"--prompt-lengths must be a number of tokens"):
        lengths(text, "--prompt-lengths")


def test_a_sample_comes_from_a_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("when,in\n0,5\n1,7\n")
    assert lengths(f"sample:{tmp_path}/a.csv:in", "--x").values == (5, 7)
    with pytest.raises(RequestError, match=r'has no column "out"; it has when, in'):
        lengths(f"sample:{tmp_path}/a.csv:out", "--x")
    (tmp_path / "b.csv").write_text("in\n5\nmany\n")
    with pytest.raises(RequestError, match=r"line 3: \"in\" must be a number of tokens; got 'many'"):
        lengths(f"sample:{tmp_path}/b.csv:in", "--x")


@pytest.mark.parametrize(
    "text",
    [
        "arrived_at,num_prefill_tokens,num_decode_tokens\n2.5,10,3\n1.5,20,4\n",
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:04.9799600,10,3\n2023-11-16 18:17:03.9799600,20,4\n",
    ],
    ids=["Vidur", "Azure"],
)
def test_published_traces_are_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    found = trace(str(tmp_path / "t.csv"))
    assert [row[1:] for row in found] == [(20, 4), (10, 3)], "in the order that they came"
    assert found[0][0] == 0
    assert found[1][0] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("arrived_at,num_prefill_tokens,num_decode_tokens\n", "no line beneath"),
        ("a,b\n1,2\n", "needs a column called timestamp"),
        ("time,prompt_tokens,output_tokens\n1,0,5\n", "line 2: lengths must be whole numbers of at least 1"),
        ("time,prompt_tokens,output_tokens\nsoon,3,5\n", "line 2: a time is seconds or a date"),
        ("time,prompt_tokens,output_tokens\n1,3\n", "line 2: has 2 cells; the header 3"),
    ],
)
def test_traces_that_say_nothing_are_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(PerfModelError, match=why):
        trace(str(tmp_path / "t.csv"))


def test_poisson_arrivals_come_at_their_rate_and_alike_for_a_seed() -> None:
    open_loop = traffic("open", Lengths.fixed(10), Lengths.fixed(5), None, 4.0, 5000)
    sent = np.array([r.sent for r in open_loop.drawn()])
    gaps = np.diff(sent)
    assert gaps.mean() == pytest.approx(0.25, rel=0.05)
    assert gaps.std() == pytest.approx(0.25, rel=0.05), "as an exponential's"
    assert open_loop.drawn() == open_loop.drawn()


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (("opn", None, None), "did you mean open"),
        (("open", None, None), "--arrival open needs --rate"),
        (("closed", None, None), "--arrival closed needs --concurrency"),
        (("burst", 5, None), "--concurrency is for --arrival closed; this is --arrival burst"),
        (("closed", 5, 2.0), "--rate is for --arrival open"),
    ],
)
def test_flags_that_contradict_are_refused(asked: tuple[str, int | None, float | None], why: str) -> None:
    arrival, concurrency, rate = asked
    with pytest.raises(RequestError, match=why):
        traffic(arrival, Lengths.fixed(10), Lengths.fixed(5), concurrency, rate, None)
