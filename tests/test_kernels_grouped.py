"""Grouped products: values by hand, and laws that hold for any constants."""

from __future__ import annotations

from math import hypot

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.kernels.grouped import Grouped, grouped_waits

PEAK, BANDWIDTH = 989e12, 3.35e12
C = Grouped(launch_s=1e-5, compute=0.5, memory=0.8, padding=16, around=2)

constants = st.builds(
    Grouped,
    launch_s=st.floats(1e-7, 1e-4),
    compute=st.floats(0.05, 1),
    memory=st.floats(0.05, 1),
    padding=st.floats(0, 200),
    around=st.floats(0, 10),
)
rows = st.integers(1, 10**6)
matrices = st.floats(0.5, 512)
widths = st.integers(64, 2**15)


def total(rows: float, matrices: float, columns: float, depth: float, c: Grouped = C, element: float = 2) -> float:
    weights, rest = matrices * columns * depth * element, rows * (depth + columns) * 2
    return float(grouped_waits(rows, matrices, columns, depth, weights, rest, 1, PEAK, BANDWIDTH, c).total)


def test_by_hand() -> None:
    waits = grouped_waits(1024, 64, 3072, 4096, 64 * 3072 * 4096 * 2, 1024 * 7168 * 2, 1, PEAK, BANDWIDTH, C)
    computing = 2 * (1024 + 16 * 64) * 3072 * 4096 / (0.5 * PEAK)
    moving = (64 * 3072 * 4096 * 2 + 1024 * 7168 * 2) / (0.8 * BANDWIDTH)
    around = 2 * 1024 * 7168 * 2 / (0.8 * BANDWIDTH)
    assert waits.total == pytest.approx(1e-5 + around + hypot(computing, moving))


def test_few_tokens_cost_the_weights_they_touch() -> None:
    assert total(8, 8, 3072, 4096) < total(16, 16, 3072, 4096) < 2 * total(8, 8, 3072, 4096)


@given(rows, matrices, widths, widths, st.floats(1, 8), constants)
def test_more_work_is_never_faster(r: int, g: float, n: int, k: int, factor: float, c: Grouped) -> None:
    least = total(r, g, n, k, c) * (1 - 1e-12)
    assert total(r * factor, g, n, k, c) >= least
    assert total(r, g * factor, n, k, c) >= least
    assert total(r, g, n * factor, k, c) >= least
    assert total(r, g, n, k * factor, c) >= least
    assert total(r, g, n, k, c, element=2 * factor) >= least


@given(rows, matrices, widths, widths, constants)
def test_never_below_the_bound(r: int, g: float, n: int, k: int, c: Grouped) -> None:
    bound = max(2 * r * n * k / PEAK, g * n * k * 2 / BANDWIDTH)
    assert total(r, g, n, k, c) >= bound


@given(st.lists(rows, min_size=1, max_size=5), matrices, widths, widths, constants)
def test_arrays_are_stacked_scalars(many: list[int], g: float, n: int, k: int, c: Grouped) -> None:
    r = np.array(many, dtype=float)
    together = grouped_waits(r, g, n, k, g * n * k * 2, r * (k + n) * 2, 1, PEAK, BANDWIDTH, c).total
    assert together == pytest.approx([total(one, g, n, k, c) for one in many])
