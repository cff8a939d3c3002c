"""Collectives: values by hand, and laws that hold for any constants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.collectives import SENT_BYTES, sent_bytes
from perfmodel.kernels.collective import COPY, Collective, collective_waits, direct_s, ring_s

LINK = 450e9
RING = Collective(start_s=6e-6, step_s=1e-6, share=0.8)
WHOLE = Collective(
    start_s=6e-6,
    step_s=1e-6,
    share=0.8,
    fill_s=20e-6,
    in_network=0.55,
    one_start_s=3e-6,
    one_group_s=0.4e-6,
    one_share=0.7,
    one_limit=2**21,
    two_start_s=6e-6,
    two_group_s=0.8e-6,
    two_share=0.7,
    two_limit=2**24,
)
OPERATIONS = [name for name in SENT_BYTES if name != "send"]

sizes = st.integers(min_value=1, max_value=2**33)
groups = st.sampled_from((2, 4, 8, 16))
shares = st.floats(0.05, 1)
seconds = st.floats(1e-7, 1e-4)
limits = st.floats(0, 2**28)
constants = st.builds(
    Collective,
    start_s=seconds,
    step_s=seconds,
    share=shares,
    fill_s=st.just(0.0) | seconds,
    in_network=st.just(0.0) | shares,
    one_start_s=seconds,
    one_group_s=seconds,
    one_share=shares,
    one_limit=limits,
    two_start_s=seconds,
    two_group_s=seconds,
    two_share=shares,
    two_limit=limits,
)


def total(operation: str, size: float, ranks: int, c: Collective = WHOLE) -> float:
    return float(collective_waits(operation, size, ranks, LINK, c).total)


def test_ring_by_hand() -> None:
    size = 2**20
    assert ring_s("all-gather", size, 4, LINK, RING) == pytest.approx(6e-6 + 3e-6 + (0.75 + COPY) * size / (0.8 * LINK))
    assert ring_s("all-reduce", size, 4, LINK, RING) == pytest.approx(6e-6 + 6e-6 + (1.5 + COPY) * size / (0.8 * LINK))


def test_one_step_by_hand() -> None:
    size = 65536
    assert total("all-reduce", size, 8) == pytest.approx(3e-6 + 2 * 0.4e-6 + 7 * size / (0.7 * LINK))


def test_two_steps_by_hand() -> None:
    size = 2**22
    assert total("all-reduce", size, 8) == pytest.approx(6e-6 + 2 * 0.8e-6 + 1.75 * size / (0.7 * LINK))


def test_switches_that_sum_send_the_tensor_once() -> None:
    size = 2**30
    assert total("all-reduce", size, 8) == pytest.approx(6e-6 + 14e-6 + 20e-6 + 1.125 * size / (0.55 * LINK), rel=1e-3)


def test_no_kernel_of_its_own_beyond_its_limit() -> None:
    assert direct_s(2**25, 8, LINK, WHOLE) > 1
    assert total("all-reduce", 2**25, 8) == pytest.approx(float(ring_s("all-reduce", 2**25, 8, LINK, WHOLE)))


@given(st.sampled_from(OPERATIONS), sizes, constants)
def test_nothing_to_say_to_oneself(operation: str, size: int, c: Collective) -> None:
    assert ring_s(operation, size, 1, LINK, c) <= c.fill_s
    assert sent_bytes(operation, size, 1) == 0


@given(st.sampled_from(OPERATIONS), sizes, groups, st.floats(1, 16), constants)
def test_more_bytes_are_never_faster(operation: str, size: int, ranks: int, factor: float, c: Collective) -> None:
    assert total(operation, size * factor, ranks, c) >= total(operation, size, ranks, c) * (1 - 1e-12)


@given(st.sampled_from(OPERATIONS), sizes, groups, constants)
def test_never_below_the_bound(operation: str, size: int, ranks: int, c: Collective) -> None:
    """Without switches that sum, which send less than any ring must."""
    sent = sent_bytes(operation, size, ranks) / LINK
    least = min(sent, size / LINK) if c.in_network else sent
    assert total(operation, size, ranks, c) >= least * (1 - 1e-12)


@given(st.sampled_from(OPERATIONS), st.lists(sizes, min_size=1, max_size=5), groups, constants)
def test_arrays_are_stacked_scalars(operation: str, many: list[int], ranks: int, c: Collective) -> None:
    together = collective_waits(operation, np.array(many, dtype=float), ranks, LINK, c).total
    assert together == pytest.approx([total(operation, size, ranks, c) for size in many])
