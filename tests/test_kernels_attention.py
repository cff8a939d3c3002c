"""Attention's kernels: laws for any constants, and values worked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.kernels.attention import Decode, Prefill, Queries, decode_waits, prefill_waits
from perfmodel.kernels.waits import Waits

PEAK, BANDWIDTH, UNITS, L2 = 1e15, 4e12, 100, 50e6
LAWS = settings(max_examples=200, deadline=None)

PREFILL = Prefill(launch_s=1e-5, compute=0.5, softmax=0, tile=128, tile_s=1e-6, tail=0.5, memory=0.8)
DECODE = Decode(launch_s=1e-5, chunk_s=1e-6, memory=0.8, compute=0.5, unit_s=2e-6, exposed=0)

shares = st.floats(0.05, 1)
seconds = st.floats(0, 1e-4)
prefills = st.builds(
    Prefill,
    launch_s=seconds,
    compute=shares,
    softmax=st.floats(0, 200),
    tile=st.sampled_from((64, 128, 256)),
    tile_s=seconds,
    tail=st.floats(0, 1),
    memory=shares,
    write_s=seconds,
)
decodes = st.builds(
    Decode,
    launch_s=seconds,
    chunk_s=seconds,
    memory=shares,
    compute=shares,
    unit_s=seconds,
    exposed=st.floats(0, 1),
    key_s=st.floats(0, 1e-7),
)


@st.composite
def queries(draw: Any) -> Queries:
    tokens = draw(st.integers(1, 20_000))
    context = tokens + draw(st.integers(0, 100_000))
    kv_heads = draw(st.integers(1, 64))
    return Queries(
        sequences=draw(st.integers(1, 512)),
        tokens=tokens,
        context=context,
        reach=draw(st.one_of(st.just(context), st.integers(1, context))),
        heads=kv_heads * draw(st.integers(1, 16)),
        kv_heads=kv_heads,
        head_size=draw(st.sampled_from((64, 128, 256))),
    )


def pairs(q: Queries) -> Any:
    """Query-key pairs of one head: the t-th of T new tokens sees min(S − T + t, reach)."""
    before = q.context - q.tokens
    short = min(max(q.reach - before, 0), q.tokens)  # tokens that see all before them
    return short * before + short * (short + 1) // 2 + (q.tokens - short) * q.reach


def prefill(q: Queries, c: Prefill, l2: float = L2) -> Waits:
    activations = 4 * q.sequences * q.tokens * q.heads * q.head_size
    keys = 4 * q.sequences * q.reach * q.kv_heads * q.head_size
    written = 4 * q.sequences * q.tokens * q.kv_heads * q.head_size
    flops = 4 * q.sequences * q.heads * q.head_size * pairs(q)
    return prefill_waits(flops, activations, keys, written, q, PEAK, BANDWIDTH, UNITS, l2, c)


def decode(q: Queries, c: Decode, kv_element: float = 2) -> Waits:
    keys = 2 * q.sequences * q.reach * q.kv_heads * q.head_size * kv_element
    other = 4 * q.sequences * q.heads * q.head_size
    flops = 4 * q.sequences * q.heads * q.head_size * q.reach
    return decode_waits(flops, keys, other, q, PEAK, BANDWIDTH, UNITS, c)


def test_long_prefill_by_hand() -> None:
    """1024 tokens, 8 heads of 128, 1 KV head: 64 tiles on 100 units, so that the longest tile decides."""
    q = Queries(1, 1024, 1024, 1024, 8, 1, 128)
    work = 4 * 8 * 128 * (1024 * 1025 / 2 + 1024 * 128 / 2) / 0.5e15 + 64 * 1e-6 / 100
    longest = 4 * 128 * 128 * 1024 / 0.5e15 * 100
    assert longest > work
    waits = prefill(q, PREFILL, l2=0)
    assert waits.compute == pytest.approx(longest)  # max(work, longest/2) + longest/2
    activations, keys = 4 * 1024 * 8 * 128, 4 * 1024 * 128
    assert waits.bandwidth == pytest.approx((activations + keys) / 3.2e12)
    assert waits.overhead == pytest.approx(1e-5 + (activations + 2 * keys) / 3.2e12)


def test_busy_prefill_by_hand() -> None:
    """Many tiles share the units: their sum decides, and half of the longest sticks out."""
    q = Queries(16, 1024, 1024, 1024, 32, 8, 128)
    work = 16 * 4 * 32 * 128 * (1024 * 1025 / 2 + 1024 * 128 / 2) / 0.5e15 + 16 * 32 * 8 * 1e-6 / 100
    longest = 4 * 128 * 128 * 1024 / 0.5e15 * 100
    assert prefill(q, PREFILL).compute == pytest.approx(work + longest / 2)


def test_half_of_what_l2_holds_is_read_from_memory() -> None:
    q = Queries(1, 1024, 1024, 1024, 8, 1, 128)
    size = 4 * 1024 * 9 * 128
    assert prefill(q, PREFILL, l2=2 * size).bandwidth == pytest.approx(size / 2 / 3.2e12)


def test_writing_the_cache_by_hand() -> None:
    """Two KV heads of 128 are half of 512 elements."""
    q = Queries(4, 500, 500, 500, 8, 2, 128)
    extra = prefill(q, replace(PREFILL, write_s=1e-6)).overhead - prefill(q, PREFILL).overhead
    assert extra == pytest.approx(0.5 * 4 * 500 * 1e-6 / 100)


def test_softmax_is_told_at_head_size_128() -> None:
    """At half the head size, exponentials worth 128 cost (1 + 128/64) / (1 + 128/128) times a product's share."""
    q = Queries(64, 4096, 4096, 4096, 32, 8, 128)
    bare, dear = (replace(PREFILL, softmax=width, tile_s=0, tail=0) for width in (0, 128))
    assert prefill(q, dear).compute == pytest.approx(prefill(q, bare).compute)
    half = q._replace(head_size=64)
    assert prefill(half, dear).compute == pytest.approx(1.5 * prefill(half, bare).compute)


def test_decode_by_hand() -> None:
    """64 sequences of 1536 tokens, 8 KV heads: 512 units on 100, and 4 passes over the context."""
    q = Queries(64, 1, 1536, 1536, 32, 8, 128)
    waits = decode(q, DECODE)
    assert waits.overhead == pytest.approx(1e-5 + 2e-6)
    flops = 4 * 64 * 32 * 128 * 1536 / 0.5e15
    assert waits.compute == pytest.approx(((5.12 * 2e-6) ** 2 + flops**2) ** 0.5)
    assert waits.bandwidth == pytest.approx((4 * 64 * 1536 * 8 * 128 + 4 * 64 * 32 * 128) / 3.2e12)


def test_exposed_units_come_on_top() -> None:
    q = Queries(64, 1, 1536, 1536, 32, 8, 128)
    bare = replace(DECODE, compute=1.0)
    moved = decode(q, replace(bare, exposed=1.0))
    assert moved.overhead - decode(q, bare).overhead == pytest.approx(5.12 * 2e-6)


def test_a_walk_takes_no_longer_until_units_are_full() -> None:
    walking = replace(DECODE, unit_s=0, key_s=1e-7)
    one, full, twice = (decode(Queries(b, 1, 1024, 1024, 16, 1, 576), walking).overhead for b in (1, 100, 200))
    assert one == full
    assert twice - full == pytest.approx(1024e-7)


@LAWS
@given(queries(), prefills, st.sampled_from(("sequences", "heads", "kv_heads", "head_size")))
def test_more_prefill_is_never_faster(q: Queries, c: Prefill, what: str) -> None:
    more = q._replace(**{what: 2 * getattr(q, what)})
    assert prefill(more, c).total >= prefill(q, c).total * (1 - 1e-12)


@LAWS
@given(queries(), prefills, st.integers(1, 5000))
def test_more_tokens_or_context_are_never_faster(q: Queries, c: Prefill, more: int) -> None:
    """Neither longer prompts nor longer prefixes, whatever the window."""
    window = q.reach if q.reach < q.context else 10**9
    for tokens in (q.tokens, q.tokens + more):
        context = q.context + more
        longer = q._replace(tokens=tokens, context=context, reach=min(context, window))
        assert prefill(longer, c).total >= prefill(q, c).total * (1 - 1e-12)


@LAWS
@given(queries(), prefills)
def test_windows_never_slow_prefill(q: Queries, c: Prefill) -> None:
    assert prefill(q, c).total <= prefill(q._replace(reach=q.context), c).total * (1 + 1e-12)


@LAWS
@given(queries(), decodes, st.sampled_from(("sequences", "context", "heads", "kv_heads", "head_size")))
def test_more_decode_is_never_faster(q: Queries, c: Decode, what: str) -> None:
    more = q._replace(**{what: 2 * getattr(q, what)})
    if what == "context":
        more = more._replace(reach=min(more.context, 2 * q.reach))
    assert decode(more, c).total >= decode(q, c).total


@LAWS
@given(queries(), decodes)
def test_narrow_caches_and_windows_never_slow_decode(q: Queries, c: Decode) -> None:
    assert decode(q, c, kv_element=1).total <= decode(q, c).total
    assert decode(q, c).total <= decode(q._replace(reach=q.context), c).total


@LAWS
@given(queries(), prefills, decodes)
def test_at_least_the_roofline(q: Queries, p: Prefill, d: Decode) -> None:
    """Prefill whose operands are not in the cache, decode whatever it is."""
    computing = 4 * q.sequences * q.heads * q.head_size * pairs(q) / PEAK
    moving = 4 * q.sequences * q.head_size * (q.tokens * q.heads + q.reach * q.kv_heads) / BANDWIDTH
    assert prefill(q, p, l2=0).total >= max(computing, moving)
    assert prefill(q, p).total >= computing
    assert decode(q, d).total >= 4 * q.sequences * q.reach * q.head_size * q.kv_heads / BANDWIDTH
    assert decode(q, d).total >= 4 * q.sequences * q.heads * q.head_size * q.reach / PEAK


@LAWS
@given(st.lists(queries(), min_size=1, max_size=5), prefills, decodes)
def test_arrays_are_stacked_scalars(many: list[Queries], p: Prefill, d: Decode) -> None:
    stacked = Queries(*(np.array(column, dtype=float) for column in zip(*many, strict=True)))
    flops = np.array([4.0 * q.sequences * q.heads * q.head_size * pairs(q) for q in many])
    size = np.array([4.0 * q.sequences * q.reach * q.kv_heads * q.head_size for q in many])
    both = prefill_waits(flops, size, size, size, stacked, PEAK, BANDWIDTH, UNITS, L2, p).total
    alone = [
        prefill_waits(f, s, s, s, q, PEAK, BANDWIDTH, UNITS, L2, p).total
        for f, s, q in zip(flops.tolist(), size.tolist(), many, strict=True)
    ]
    assert both == pytest.approx(alone)
    both = decode_waits(flops, size, size, stacked, PEAK, BANDWIDTH, UNITS, d).total
    alone = [
        decode_waits(f, s, s, q, PEAK, BANDWIDTH, UNITS, d).total
        for f, s, q in zip(flops.tolist(), size.tolist(), many, strict=True)
    ]
    assert both == pytest.approx(alone)
