"""Offloading: what stays, what waits, what a pass waits for; loading a prompt back against computing it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.answer import estimate
from perfmodel.cache.offload import NVME_BYTES_PER_S, REACHED
from perfmodel.cache.reload import break_even_tokens, reload
from perfmodel.catalog import load_gpu
from perfmodel.errors import PerfModelError, RequestError

LAWS = settings(max_examples=25, deadline=None)
shares = st.floats(0, 1)


def asked(gpu: str = "h100", **more: Any) -> Any:
    return estimate(more.pop("model", "llama3-8b"), gpu, tp=1, must_fit=False, **more)


def test_weights_that_wait_on_the_host() -> None:
    """All but two of 32 layers leave the device; every step waits for all of them, over PCIe 5.0 × 16."""
    full, away = asked(), asked(offload_weights=1)
    layers = full.memory.weights_by["layers"]
    assert away.memory.weights_by["layers"] == layers * 2 / 32
    assert away.memory.offloaded == layers
    assert away.tpot_s.bound == layers / 63e9
    assert away.tpot_s.expected == pytest.approx(layers / (63e9 * REACHED), rel=1e-3)  # and the engine's own time
    assert away.latency.tpot.bound_by == "link"
    assert away.decode == full.decode


def test_a_larger_batch_hides_the_link() -> None:
    """FlexGen's reason for large batches: the weights are sent once for all of them (Sheng et al. 2023, §4.1)."""
    one, many = (asked(offload_weights=1, batch=n, prompt=256, output=32) for n in (1, 256))
    assert many.tokens_per_s.expected > 100 * one.tokens_per_s.expected
    assert many.tpot_s.expected == pytest.approx(one.tpot_s.expected, rel=0.05)


# FlexGen (Sheng et al. 2023), table 2 and the batch sizes that its repository tells beside it (benchmark/batch_size_
# table.md): tokens/s of OPT on a T4, 512 tokens in and 32 out, 16 bits; a drive of 2 GB/s
T4 = [
    ("opt-175b", 256, {"offload_kv": 1, "offload_to": "nvme", "offload_bandwidth": "2 GB/s"}, 0.69),  # FlexGen
    ("opt-30b", 144, {"offload_kv": 1}, 7.32),  # FlexGen
    ("opt-30b", 4, {}, 0.60),  # DeepSpeed ZeRO-Inference
    ("opt-6.7b", 16, {}, 9.28),  # DeepSpeed ZeRO-Inference
]


@pytest.mark.parametrize(("model", "batch", "away", "measured"), T4)
def test_flexgens_table(model: str, batch: int, away: dict[str, Any], measured: float) -> None:
    """Within a factor of two: the shares that each system chose are not told, nor what the cloud's PCIe reached."""
    answer = asked("t4", model=model, batch=batch, prompt=512, output=32, offload_weights=1, **away)
    assert measured / 2 < answer.tokens_per_s.expected < measured * 2


def test_cache_that_waits_on_the_host() -> None:
    full, half = (asked(batch=32, prompt=4096, offload_kv=x) for x in (0, 0.5))
    assert half.memory.kv_cache == full.memory.kv_cache * (1 - 0.5 * 30 / 32)
    assert half.memory.offloaded == full.memory.kv_cache / 2
    read = full.decode.kv_read_bytes
    assert half.tpot_s.expected > read / 2 / (63e9 * REACHED)


@LAWS
@given(shares, shares, st.sampled_from(["host", "nvme"]), st.integers(1, 3000), st.integers(1, 64))
def test_offloading_is_never_faster_and_never_larger(
    weights: float, kv: float, to: str, prompt: int, batch: int
) -> None:
    plain = asked(prompt=prompt, batch=batch)
    away = asked(prompt=prompt, batch=batch, offload_weights=weights, offload_kv=kv, offload_to=to)
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        a, b = getattr(plain, name), getattr(away, name)
        assert a.bound <= b.bound
        assert a.expected <= b.expected
        assert b.bound <= b.low <= b.expected <= b.high
    assert away.memory.used <= plain.memory.used
    time = away.latency.tpot
    assert time.compute + time.bandwidth + time.link + time.overhead == pytest.approx(time.expected)


def test_nothing_offloaded_is_no_lever() -> None:
    plain, off = asked(), asked(offload_weights=0, offload_kv=0, offload_to="nvme", offload_bandwidth="1 GB/s")
    assert (plain.memory, plain.latency, plain.plan) == (off.memory, off.latency, off.plan)


def test_ways_to_the_host() -> None:
    """PCIe of the data sheet, C2C where there is one, a drive behind either."""
    assert load_gpu("a100").host.bandwidth == load_gpu("rtx-4090").host.bandwidth == 31.5e9
    assert load_gpu("h100").host.bandwidth == 63e9
    assert load_gpu("gh200").host.bandwidth == 450e9
    assert asked(offload_weights=1, offload_to="nvme").tpot_s.bound == pytest.approx(
        asked(offload_weights=1).tpot_s.bound * 63e9 / NVME_BYTES_PER_S
    )
    with pytest.raises(RequestError, match="--offload-bandwidth"):
        asked("m2-ultra", offload_weights=0.5)
    assert asked("m2-ultra", offload_weights=0.5, offload_bandwidth="10 GB/s").memory.offloaded > 0


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"offload_weights": 1.5}, "--offload-weights must be a share"),
        ({"offload_kv": -0.1}, "--offload-kv must be a share"),
        ({"offload_to": "hsot", "offload_kv": 0.1}, "did you mean host"),
        ({"offload_kv": 0.1, "offload_bandwidth": "25"}, "--offload-bandwidth"),
        ({"offload_kv": 0.1, "kv_cache": False}, "--offload-kv is about the KV cache"),
        ({"prefix_from": "host"}, "needs a prefix"),
        ({"prefix_from": "tape", "prefix": 10}, "--prefix-from must be host or nvme"),
    ],
)
def test_questions_that_make_no_sense(more: dict[str, Any], word: str) -> None:
    with pytest.raises(PerfModelError, match=word):
        asked(**more)


def test_a_prefix_brought_back() -> None:
    """10,000 tokens of Llama 3 8B: 1.31 GB, 26 ms over PCIe 5.0 at 80 %."""
    sizes: dict[str, Any] = {"prompt": 12_000, "prefix": 10_000}
    here, host, drive = (asked(**sizes, prefix_from=place) for place in (None, "host", "nvme"))
    size = 10_000 // 16 * 16 * 32 * 2 * 8 * 128 * 2
    assert host.ttft_s.expected - here.ttft_s.expected == pytest.approx(size / (63e9 * REACHED))
    assert drive.ttft_s.expected - here.ttft_s.expected == pytest.approx(size / (7e9 * REACHED))
    again = asked(prompt=12_000).ttft_s.expected
    assert host.ttft_s.expected < min(again, drive.ttft_s.expected)  # memory of the host is nearer than either
    assert host.latency.tpot == here.latency.tpot


def test_loading_against_computing() -> None:
    plan = asked().plan
    found = reload(plan, 8000)
    assert found.bytes == 8000 * 131_072
    assert found.load_s == pytest.approx(found.bytes / (63e9 * REACHED))
    assert found.even_bytes_per_s == pytest.approx(found.bytes / found.recompute_s)
    assert break_even_tokens(plan) == 1  # PCIe 5.0 brings a token of 8 KV heads faster than an H100 computes it


def test_break_even_lies_between_losing_and_winning() -> None:
    """Llama 2 13B has 40 KV heads, 819 kB a token: a drive brings short prompts more slowly than an H100 computes."""
    plan = asked(model="llama2-13b").plan
    even = break_even_tokens(plan, "nvme", most=10**6)
    assert even is not None
    assert even > 1000
    losing, winning = (reload(plan, n, "nvme") for n in (even - 1, even))
    assert losing.load_s > losing.recompute_s
    assert winning.load_s <= winning.recompute_s
    assert break_even_tokens(plan, "nvme", most=even - 1) is None
