"""Matrix products: times by hand, laws that every constant keeps, and what a fit makes of known constants."""

from __future__ import annotations

from dataclasses import asdict, replace
from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.kernels.gemm import Gemm, gemm_waits
from perfmodel.kernels.waits import Waits

PEAK, BANDWIDTH, UNITS = 1e15, 4e12, 128
PERFECT = Gemm(launch_s=0, compute=1, memory=1, step_s=0)
REAL = Gemm(2e-6, 0.8, 0.9, 6e-8, 0.3, 0.2, 0.4, 1.2, 7e-6, 1.1)

SIZES = st.integers(1, 200_000)
CONSTANTS = st.builds(
    Gemm,
    st.floats(0, 1e-4),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
    st.floats(0, 1e-6),
    st.floats(0, 5),
    st.floats(0, 3),
    st.floats(0, 5),
    st.floats(0, 20),
    st.floats(0, 1e-5),
    st.floats(0, 5),
)


def product(m: object, n: object, k: object, c: Gemm, dynamic: int = 0, faster: float = 1.0) -> Waits:
    """rows × depth times depth × columns in 16 bits."""
    flops, moved = 2 * m * n * k, 2 * (m * n + n * k + m * k)  # type: ignore[operator]
    return gemm_waits(flops, moved, m, n, k, PEAK * faster, BANDWIDTH * faster, UNITS, c, dynamic)


def test_perfect_kernels_take_what_the_roofline_says() -> None:
    waits = product(4096, 8192, 8192, PERFECT)
    assert waits == Waits(2 * 4096 * 8192 * 8192 / 1e15, 2 * (2 * 4096 + 8192) * 8192 / 4e12)
    assert waits.total == sqrt(waits.compute**2 + waits.bandwidth**2)


def test_each_term_by_hand() -> None:
    m, n, k = 1024, 4096, 4096
    brief = 2 * m * n * k / 1e15
    assert product(m, n, k, replace(PERFECT, compute=0.5)).compute == 2 * brief
    assert (
        product(m, n, k, replace(PERFECT, tail=0.5)).compute == 1.25 * brief
    )  # just one round: 128 tiles on 128 units
    assert product(m, n, k, replace(PERFECT, throttle=0.2)).compute == pytest.approx(
        brief * (1 + 0.2 * brief / (brief + 1e-3))
    )
    moved = 2 * (2 * m + n) * 4096 / 4e12
    assert product(m, n, k, replace(PERFECT, memory=0.5)).bandwidth == 2 * moved
    assert product(m, n, k, replace(PERFECT, step_s=1e-7)).bandwidth == pytest.approx(sqrt(moved**2 + 6.4e-6**2))
    assert product(m, n, k, replace(PERFECT, launch_s=3e-6)).overhead == 3e-6
    assert product(m, n, k, replace(PERFECT, epilogue=0.5)).overhead == m * n / 4e12  # half of two bytes each
    assert product(m, n, k, replace(PERFECT, quantize=2)).overhead == 6 * m * (k + 500) / 4e12


def test_dynamic_scales_cost_only_where_they_are_sought() -> None:
    still, sought = (product(64, 4096, 4096, REAL, dynamic) for dynamic in (0, 1))
    assert sought.overhead - still.overhead == pytest.approx(7e-6 + 1.1 * 3 * 64 * 4596 / 4e12)
    assert sought[:3] == still[:3]


def test_a_cache_holds_what_is_small() -> None:
    """y of 64 MB of inputs and outputs and half of a cache of 128 MB: half of y crosses memory, all of the weights."""
    y, weights, half = 64e6, 1e9, 64e6
    alone, cached = (
        gemm_waits(1, weights + y, 1, 1, 0, PEAK, BANDWIDTH, UNITS, PERFECT, 0, y, l2).bandwidth for l2 in (0, 2 * half)
    )
    assert alone == (weights + y) / 4e12
    assert cached == pytest.approx((weights + y / 2) / 4e12)


@settings(max_examples=100, deadline=None)
@given(SIZES, SIZES, SIZES, st.integers(1, 5000), st.floats(0, 2e8), CONSTANTS)
def test_a_cache_never_makes_more_work_faster(m: int, n: int, k: int, more: int, l2: float, c: Gemm) -> None:
    def cached(m: int) -> float:
        y = 2 * m * (n + k)
        return float(gemm_waits(2 * m * n * k, 2 * n * k + y, m, n, k, PEAK, BANDWIDTH, UNITS, c, 0, y, l2).total)

    bound = max(2 * m * n * k / PEAK, 2 * n * k / BANDWIDTH)
    assert bound * (1 - 1e-12) <= cached(m) <= cached(m + more) * (1 + 1e-12)
    assert cached(m) <= product(m, n, k, c).total * (1 + 1e-12)


def test_joined_columns_are_faster_than_one_kernel_after_the_other() -> None:
    apart = [product(16, n, 4096, REAL).total for n in (4096, 1024, 1024)]
    assert max(apart) < product(16, 6144, 4096, REAL).total < sum(apart)


@settings(max_examples=200, deadline=None)
@given(SIZES, SIZES, SIZES, CONSTANTS)
def test_no_kernel_beats_its_roofline(m: int, n: int, k: int, c: Gemm) -> None:
    waits = product(m, n, k, c)
    least = max(2 * m * n * k / PEAK, 2 * (m * n + n * k + m * k) / BANDWIDTH)
    assert least <= waits.total * (1 + 1e-12) < inf
    assert min(waits) >= 0


@settings(max_examples=200, deadline=None)
@given(SIZES, SIZES, SIZES, st.integers(1, 5000), CONSTANTS)
def test_more_work_is_never_faster(m: int, n: int, k: int, more: int, c: Gemm) -> None:
    now = product(m, n, k, c)
    for bigger in (product(m + more, n, k, c), product(m, n + more, k, c), product(m, n, k + more, c)):
        assert all(after >= before * (1 - 1e-12) for before, after in zip(now, bigger, strict=True))
        assert bigger.total >= now.total * (1 - 1e-12)


@settings(max_examples=50, deadline=None)
@given(SIZES, SIZES, SIZES, CONSTANTS)
def test_a_faster_device_is_faster_but_for_launches(m: int, n: int, k: int, c: Gemm) -> None:
    now, later = product(m, n, k, c), product(m, n, k, c, faster=2)
    assert later.total <= now.total
    bare = replace(c, launch_s=0, step_s=0, throttle=0)
    assert product(m, n, k, bare, faster=2).total == pytest.approx(product(m, n, k, bare).total / 2)


@settings(max_examples=50, deadline=None)
@given(SIZES, SIZES, SIZES, CONSTANTS)
def test_smooth_in_rows(m: int, n: int, k: int, c: Gemm) -> None:
    """One row of many more changes the time by no more than that share."""
    assert product(1.01 * m, n, k, c).total <= 1.0202 * product(m, n, k, c).total


def test_arrays_hold_what_numbers_do() -> None:
    m, n, k = np.array([1.0, 64, 4096, 3e6]), np.array([128.0, 4096, 65536, 3e6]), np.array([128.0, 8192, 16384, 3e6])
    many = product(m, n, k, REAL, 1)
    for i in range(len(m)):
        alone = product(int(m[i]), int(n[i]), int(k[i]), REAL, 1)
        assert [leg if np.isscalar(leg) else leg[i] for leg in many] == pytest.approx(list(alone), rel=1e-12)


def test_products_of_models() -> None:
    from perfmodel.fitting.gemm import _in_models, shapes

    assert {(6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336), (128256, 4096)} <= shapes()  # Llama 3 8B
    assert {(1280, 8192), (8192, 1024), (7168, 8192), (8192, 3584), (16032, 8192)} <= shapes()  # 70B on eight
    assert _in_models(6144 * 1.14, 4096 * 0.86)
    assert not _in_models(128, 65536)


def known(number_format: str, copies: int) -> tuple[Gemm, object]:
    """Rows of a device whose constants are known, 4 of 100 of them outliers."""
    from perfmodel.catalog import load_gpu
    from perfmodel.fitting.gemm import FORMATS, Rows

    c = replace(REAL, scale_s=0.0, scale=0.0, quantize=1.2 if FORMATS[number_format].quantizes else 0.0)
    sizes = [(m, n, k) for m in (1, 4, 16, 64, 128, 256, 512, 2048, 8192) for n in NAMED for k in NAMED]
    m, n, k = (np.array(a, dtype=float) for a in zip(*sizes, strict=True))
    zero = np.zeros(len(m))
    rows = Rows(load_gpu("h100"), FORMATS[number_format], m, n, k, zero + copies, zero, zero)
    random = np.random.default_rng(1)
    noise = np.exp(random.normal(0, 0.03, len(m))) * np.where(random.random(len(m)) < 0.04, 2.0, 1.0)
    return c, replace(rows, seconds=rows.predicted(asdict(c)) * noise)


NAMED = (512, 1024, 2048, 4096, 8192, 14336, 28672)


@pytest.mark.parametrize("number_format", ["bf16", "fp8"])
def test_a_fit_finds_constants_that_are_known(number_format: str) -> None:
    pytest.importorskip("scipy")
    from perfmodel.fitting.gemm import constants_of, scored

    truth, rows = known(number_format, copies=6)
    found = constants_of(rows, throttle=truth.throttle)  # type: ignore[arg-type]
    for name, near in {"launch_s": 0.15, "compute": 0.05, "memory": 0.05, "step_s": 0.2}.items():
        assert found[name] == pytest.approx(getattr(truth, name), rel=near), name
    assert scored(rows, found).median < 0.03  # type: ignore[arg-type]
    assert found["throttle"] == truth.throttle


def test_rows_whose_weights_stay_in_cache_tell_nothing_of_memory() -> None:
    _, one = known("bf16", copies=1)
    _, six = known("bf16", copies=6)
    weights, few = one.weight_bytes, one.rows < 512  # type: ignore[attr-defined]
    assert not one.cold[few & (weights < 50e6)].any()  # type: ignore[attr-defined]
    assert one.cold[~few | (weights > 1.5 * 50 * 2**20)].all()  # type: ignore[attr-defined]
    assert (six.cold >= one.cold).all()  # type: ignore[attr-defined]
    assert six.cold.sum() > one.cold.sum()  # type: ignore[attr-defined]
    assert not one.telling[few & (weights == 2 * 4096 * 4096)].any()  # type: ignore[attr-defined]
