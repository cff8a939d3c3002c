"""Servers: what passes take, what theory says against the simulation, pools, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.answer import estimate
from perfmodel.batch import Batch, Group
from perfmodel.batching import Passes
from perfmodel.calibration import Constants
from perfmodel.errors import DoesNotFitError, RequestError
from perfmodel.latency import LEGS, pipelined
from perfmodel.serving.lengths import Lengths
from perfmodel.serving.load import Load
from perfmodel.serving.pools import Pools, handed, matched
from perfmodel.serving.question import serve
from perfmodel.serving.seen import Distribution
from perfmodel.serving.simulation import Request
from perfmodel.serving.steps import Range, Steps
from perfmodel.serving.theory import open_loop, saturation, waiting_s
from perfmodel.serving.traffic import Traffic

PLAN = estimate("llama3-8b", "h100").plan
OVER = Range(prompt=1000.0, cached=0.0, shortest=1000.0, longest=1600.0, most=100.0, budget=8192)


@pytest.fixture(scope="module")
def steps() -> Steps:
    return Steps.of(PLAN, OVER)


# ── passes ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("decodes", "context"), [(1, 1000.0), (3, 1100.0), (17, 1333.0), (60, 1500.0), (100, 1600.0)])
def test_a_step_is_what_latency_says(steps: Steps, decodes: int, context: float) -> None:
    c = Constants(PLAN.gpu, PLAN.engine)
    exact = pipelined(c, PLAN, Passes(1, Batch.decode(decodes, context)), "decode").expected
    assert steps.seconds(0, decodes, context) == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize(("tokens", "decodes"), [(1000, 0), (3000, 0), (8000, 40), (512, 7)])
def test_a_pass_with_prompts_is_what_latency_says(steps: Steps, tokens: int, decodes: int) -> None:
    c = Constants(PLAN.gpu, PLAN.engine)
    many = max(tokens / 1000, 1)
    groups = (Group(many, tokens / many), *((Group(decodes, 1, 1200.0, decodes=True),) if decodes else ()))
    exact = pipelined(c, PLAN, Passes(1, Batch(groups)), "prefill", c.costs.prompt_s).expected
    assert steps.seconds(tokens, decodes, 1200.0) == pytest.approx(exact, rel=0.05)


def test_weights_give_back_what_passes_take(steps: Steps) -> None:
    passes = [(0.0, 5.0, 1234.0, 2.0), (700.0, 11.0, 1400.0, 0.5), (5000.0, 0.0, 0.0, 1.0)]
    (weights,) = steps.weights(passes)
    assert (weights * steps.times["expected"]).sum() == pytest.approx(
        sum(w * steps.seconds(m, b, s) for m, b, s, w in passes)
    )
    time = steps.time(weights, 1.5)
    assert sum(getattr(time, leg) for leg in LEGS) == pytest.approx(time.expected)
    assert 0 < time.bound < time.expected


# ── servers ──────────────────────────────────────────────────────────────────────────────────────


def closed(c: int, prompt: int = 1000, output: int = 200, requests: int | None = None) -> Load:
    lengths = Lengths.fixed(prompt), Lengths.uniform(output // 2, output * 3 // 2)
    return Load(PLAN, Traffic("closed", *lengths, concurrency=c, requests=requests or 10 * c))


def test_means_are_those_of_the_requests() -> None:
    load = closed(24)
    assert load.ttft.expected == pytest.approx(load.ttfts.mean, rel=1e-6)
    assert load.tpot.expected == pytest.approx(load.tpots.mean, rel=0.01)
    assert load.e2e.expected == pytest.approx(load.e2es.mean, rel=0.01)
    for time in (load.ttft, load.tpot, load.e2e):
        assert sum(getattr(time, leg) for leg in LEGS) == pytest.approx(time.expected)
        assert time.low <= time.expected <= time.high


def test_more_clients_bring_more_tokens_and_longer_waits() -> None:
    loads = [closed(c) for c in (1, 8, 64)]
    rates, first, per = ([f(load) for load in loads] for f in (
        lambda x: x.output_rate, lambda x: x.ttfts.mean, lambda x: x.tpots.mean))  # fmt: skip
    assert rates == sorted(rates)
    assert first == sorted(first)
    assert per == sorted(per)


def test_one_client_sees_what_an_estimate_says() -> None:
    alone = estimate("llama3-8b", "h100", prompt=1000, output=200)
    load = Load(PLAN, Traffic("closed", Lengths.fixed(1000), Lengths.fixed(200), concurrency=1, requests=5))
    costs = Constants(PLAN.gpu, PLAN.engine).costs
    beside = costs.request_s + costs.lag * load.steps.seconds(0, 1, 1001)
    assert load.ttfts.mean == pytest.approx(alone.ttft_s.expected + beside, rel=0.02)
    assert load.tpots.mean == pytest.approx(alone.tpot_s.expected, rel=0.02)


def test_saturation_is_where_a_crowd_ends() -> None:
    many = closed(600, requests=2400)
    full = saturation(many)
    assert many.request_rate == pytest.approx(full.requests_per_s, rel=0.12)
    assert many.request_rate < full.requests_per_s * 1.05


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_theory_and_simulation_agree_below_saturation(share: float) -> None:
    lengths = Lengths.fixed(1000), Lengths.lognormal(200, 0.5)
    rate = share * saturation(Load(PLAN, Traffic("open", *lengths, rate=1.0, requests=10))).requests_per_s
    load = Load(PLAN, Traffic("open", *lengths, rate=rate, requests=2500))
    told = open_loop(load)
    assert told is not None
    assert told.tpot_s == pytest.approx(load.tpots.mean, rel=0.1)
    assert told.ttft_s == pytest.approx(load.ttfts.mean, rel=0.2)
    # Little's law, with the busy time of the whole run
    assert told.running == pytest.approx(load.request_rate * (load.e2es.mean - load.ttfts.mean), rel=0.15)


def test_beyond_saturation_there_is_no_steady_state() -> None:
    load = Load(PLAN, Traffic("open", Lengths.fixed(1000), Lengths.fixed(200), rate=1e4, requests=10))
    assert open_loop(load) is None
    assert waiting_s(2.0, 0.6, 1.0) == float("inf")
    assert waiting_s(1.0, 0.5, 0.5) == pytest.approx(0.5), "M/M/1: ρ/(μ − λ)"
    assert waiting_s(1.0, 0.5, 0.25) == pytest.approx(0.25), "M/D/1: half of that"


def test_percentiles_are_numpys() -> None:
    values = np.random.default_rng(1).lognormal(0, 1, 1001).tolist()
    found = Distribution.of(values)
    assert found[1:] == pytest.approx(np.percentile(values, [50, 95, 99]))
    weighted = Distribution.weighted([(v, 2.0) for v in values])
    assert weighted[1:] == pytest.approx(np.percentile(values, [50, 95, 99]), rel=0.02)


def test_speculation_helps_a_server_too() -> None:
    plain = serve("llama3-70b", "h100", tp=4, concurrency=4, requests=20)
    fast = serve("llama3-70b", "h100", tp=4, concurrency=4, requests=20, draft="llama3.2-1b", acceptance=0.8)
    assert fast.load.tpots.mean < 0.8 * plain.load.tpots.mean
    # time to first token hardly moves, but for the draft's own prompt
    assert fast.load.ttfts.mean == pytest.approx(plain.load.ttfts.mean, rel=0.35)


# ── pools ────────────────────────────────────────────────────────────────────────────────────────


def filling(tokens: float, decodes: float, context: float) -> float:
    return 0.01 + 1e-4 * tokens


def stepping(tokens: float, decodes: float, context: float) -> float:
    return 0.02 + 1e-4 * decodes + 1e-7 * decodes * context


def test_a_request_alone_prefills_moves_and_decodes() -> None:
    got = handed([Request(1000, 3)], Pools(1, 1, filling, stepping, 8192, moving_s=1e-5))
    assert got.filled == pytest.approx([0.11])
    assert got.moved == pytest.approx([0.12])
    assert got.first == pytest.approx([0.12])
    assert got.ended == pytest.approx([0.12 + stepping(0, 1, 1001.5) * 2])


def test_pools_lose_no_request_and_no_token() -> None:
    requests = [Request(100 + 31 * i % 900, 1 + 7 * i % 60) for i in range(300)]
    for x, y in ((1, 1), (3, 2)):
        got = handed(requests, Pools(x, y, filling, stepping, 2048, sequences=20), 40)
        assert all(0 < f <= m <= a <= e for f, m, a, e in zip(
            got.filled, got.moved, got.first, got.ended, strict=True))  # fmt: skip
        # ∫ running dt is what all requests decode; a step of a worker serves each of its sequences
        decoding = sum(e - a for a, e in zip(got.first, got.ended, strict=True))
        assert got.running == pytest.approx(decoding, rel=0.02)
        assert got.decoding_s <= y * got.seconds * 1.0001
        assert got.filling_s == pytest.approx(sum(1e-4 * r.prompt for r in requests), rel=0.35), (
            "whole prompts, and what a pass costs anyway"
        )


def test_a_closed_loop_of_pools_obeys_littles_law() -> None:
    got = handed([Request(300, 40)] * 4000, Pools(2, 1, filling, stepping, 2048), 24)
    assert sum(got.ended) / got.seconds == pytest.approx(24, rel=0.01)


def test_no_prompt_interrupts_a_decode_worker() -> None:
    together = serve("llama3-8b", "h100", concurrency=48, prompt=4000, output=100)
    apart = serve("llama3-8b", "h100", concurrency=48, prompt=4000, output=100, decode_workers=1)
    assert apart.load.tpots.mean < 0.8 * together.load.tpots.mean
    assert apart.load.tpots.p99 < 1.2 * apart.load.tpots.p50


@pytest.mark.parametrize(
    ("rates", "workers"), [((10, 10), (1, 1)), ((10, 5), (1, 2)), ((3, 10), (3, 1)), ((9, 4), (4, 9))]
)
def test_workers_are_matched_by_their_rates(rates: tuple[float, float], workers: tuple[int, int]) -> None:
    x, y = matched(*rates)
    assert abs(x * rates[0] - y * rates[1]) <= 0.1 * max(x * rates[0], y * rates[1])
    assert x + y <= sum(workers)


# ── the question ─────────────────────────────────────────────────────────────────────────────────


def test_more_clients_than_memory_holds_wait() -> None:
    answer = serve("llama3-70b", "h100", tp=2, concurrency=200, requests=400)
    assert answer.load.served.most_running < 60
    assert answer.saturation.binds == "memory"
    assert answer.load.ttfts.p50 > 10 * serve("llama3-70b", "h100", tp=2, concurrency=8).load.ttfts.p50


def test_a_trace_is_replayed(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("time,prompt_tokens,output_tokens\n" + "".join(f"{i * 0.5},{100 + i},{5 + i}\n" for i in range(20)))
    answer = serve("llama3-8b", "h100", trace=str(file))
    assert answer.traffic.arrival == "trace"
    frame = answer.to_frame()
    assert frame["prompt"].tolist() == [100 + i for i in range(20)]
    assert (frame["e2e_s"] >= frame["ttft_s"]).all()


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"batch": 4}, "--batch is for a batch that starts together"),
        ({"policy": "mixd"}, "did you mean mixed"),
        ({"rate": 0.0}, "--rate must be requests a second"),
        ({"prefill_tp": 2}, "--prefill-tp and --prefill-batch are for"),
        ({"decode_workers": 1, "policy": "mixed"}, "--policy is for workers that prefill and decode"),
        ({"decode_workers": 1, "prefill_tp": 3}, "--prefill-tp 3 does not split"),
        ({"kv_cache": False}, "keeps no cache"),
    ],
)
def test_questions_that_make_no_sense_are_refused(asked: dict[str, object], why: str) -> None:
    with pytest.raises(RequestError, match=why):
        serve("llama3-8b", "h100", **asked)


def test_what_holds_not_one_request_is_told() -> None:
    with pytest.raises(DoesNotFitError, match="does not fit"):
        serve("llama3-70b", "h100", tp=1)


def test_public_names() -> None:
    assert pm.serve is serve
    assert pm.Lengths is Lengths
    assert isinstance(pm.serve("llama3-8b", "h100", concurrency=2, requests=4), pm.Serving)


def test_the_screen_says_what_was_asked(run) -> None:  # type: ignore[no-untyped-def]
    answer = run("serve", "-m", "llama3-8b", "-g", "h100", "-c", "16")
    assert answer.code == 0
    for word in ("closed loop: 16 in flight", "TTFT", "p99", "Full at", "sequences at once in the mean", "seed"):
        assert word in answer.out
    apart = run("serve", "-m", "llama3-8b", "-g", "h100", "--rate", "5", "--decode-workers", "2")
    assert "prefill and 2 decode workers" in apart.out
    assert "P2D" in apart.out


def test_the_contract(run) -> None:  # type: ignore[no-untyped-def]
    asked = ("serve", "-m", "llama3-8b", "-g", "h100", "-c", "8", "--requests", "16")
    data = json.loads(run(*asked, "--json").out)
    assert data["ttft_s"]["low"] <= data["ttft_s"]["mean"] <= data["ttft_s"]["high"]
    assert data["traffic"] == {
        "arrival": "closed", "concurrency": 8, "rate": None, "requests": 16, "prompt_mean": 1024.0,
        "prompt_spread": 0.0, "output_mean": 256.0, "output_spread": 0.0, "seed": 2026,
    }  # fmt: skip
    apart = json.loads(run(*asked, "--decode-workers", "1", "--json").out)
    assert {"prefill_workers", "decode_workers", "kv_transfer_s"} <= set(apart)
    assert len(run(*asked, "--csv").out.splitlines()) == 17


def test_engines_make_passes_their_own_way() -> None:
    policies = {
        name: serve("llama3-8b", "h100", engine=name, concurrency=4, requests=8).load.rules
        for name in ("vllm", "sglang", "trtllm")
    }
    assert policies["vllm"].policy == "mixed"
    assert policies["sglang"].policy == "prefill-first"
    assert policies["trtllm"].reserves


def test_a_longer_budget_never_makes_a_prompt_wait_longer() -> None:
    load = closed(16)
    small = replace(load, changes=(("budget", 1024),))
    assert small.ttfts.mean > 0.95 * load.ttfts.mean
