"""Recurrences: values by hand, and laws that hold for any constants."""

from __future__ import annotations

from math import hypot

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.kernels.scan import Scan, scan_waits

PEAK, BANDWIDTH = 989e12, 3.35e12
PREFILL = Scan(launch_s=1e-5, compute=0.1, memory=0.8, rows=0.2, chunk_s=2e-6, chunk=64, held=20e6)
DECODE = Scan(launch_s=5e-6, compute=1, memory=0.9)

constants = st.builds(
    Scan,
    launch_s=st.floats(1e-7, 1e-4),
    compute=st.floats(0.01, 1),
    memory=st.floats(0.05, 1),
    rows=st.floats(0.05, 1),
    chunk_s=st.floats(0, 1e-5),
    chunk=st.sampled_from((1.0, 64.0, 256.0)),
    held=st.floats(0, 1e8),
)
tokens = st.integers(1, 2**17)
amounts = st.floats(1, 1e12)


def total(tokens: float, flops: float, states: float, rows: float, c: Scan) -> float:
    return float(scan_waits(tokens, flops, states, rows, PEAK, BANDWIDTH, c).total)


def test_decode_streams_every_state() -> None:
    states = 2 * 64 * 32 * 128 * 128 * 4  # 64 sequences, 32 heads, read and written in FP32
    assert total(1, 0, states, 0, DECODE) == pytest.approx(5e-6 + states / (0.9 * BANDWIDTH))


def test_one_sequence_waits_for_its_chunks() -> None:
    """32,768 tokens are 512 chunks, however little each computes."""
    assert total(32768, 0, 0, 0, PREFILL) == pytest.approx(1e-5 + 512 * 2e-6)


def test_prefill_by_hand() -> None:
    computing = 1e12 / (0.1 * PEAK)
    rows = (hypot(1e9, 20e6) - 20e6) / (0.2 * BANDWIDTH)
    moving = hypot(1e8 / (0.8 * BANDWIDTH) + rows, 64 * 2e-6)
    assert total(4096, 1e12, 1e8, 1e9, PREFILL) == pytest.approx(1e-5 + hypot(computing, moving))


def test_the_last_chunk_is_computed_whole() -> None:
    assert total(65, 65e10, 0, 0, PREFILL) == pytest.approx(total(128, 128e10, 0, 0, PREFILL))


@given(tokens, amounts, amounts, amounts, st.floats(1, 8), constants)
def test_more_work_is_never_faster(t: int, flops: float, states: float, rows: float, by: float, c: Scan) -> None:
    least = total(t, flops, states, rows, c) * (1 - 1e-9)
    assert total(t, flops * by, states, rows, c) >= least
    assert total(t, flops, states * by, rows, c) >= least
    assert total(t, flops, states, rows * by, c) >= least


@given(st.integers(1, 2**16), st.integers(1, 2**16), st.floats(1, 1e8), constants)
def test_more_tokens_are_never_faster(t: int, more: int, each: float, c: Scan) -> None:
    assert total(t + more, (t + more) * each, 0, (t + more) * 8192, c) >= total(t, t * each, 0, t * 8192, c) * (
        1 - 1e-9
    )


@given(tokens, amounts, amounts, constants)
def test_never_below_the_bound(t: int, flops: float, states: float, c: Scan) -> None:
    assert total(t, flops, states, 0, c) >= max(flops / PEAK, states / BANDWIDTH) * (1 - 1e-9)


@given(st.lists(tokens, min_size=1, max_size=5), constants)
def test_arrays_are_stacked_scalars(many: list[int], c: Scan) -> None:
    t = np.array(many, dtype=float)
    together = scan_waits(t, t * 1e7, 1e6, t * 8192, PEAK, BANDWIDTH, c).total
    assert together == pytest.approx([total(one, one * 1e7, 1e6, one * 8192, c) for one in many])
