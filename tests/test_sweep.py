"""A sweep equals the loop of single estimates, and needs the memory of one block."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import perfmodel as pm
from perfmodel.errors import RequestError

AXES = {"batch": [1, 3, 64], "prompt": [17, 2048, 9000], "output": [1, 2, 300]}
OPTIONS = (
    {},
    {"tp": 4},
    {"tp": 2, "pp": 3, "weights": "fp8"},
    {"attention": "naive"},
    {"kv_cache": False, "tp": 2},
    {"weights": "int4", "kv": "fp8"},
)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_sweep_equals_the_loop(options) -> None:
    table = pm.sweep("llama3-70b", "h100", **AXES, **options, breakdown=True)
    assert len(table) == 27
    split = {"tp": int(table["tp"][0]), "pp": int(table["pp"][0])}
    for i in range(len(table)):
        sizes = {name: int(table[name][i]) for name in AXES}
        one = pm.estimate("llama3-70b", "h100", **sizes, **(options | split), must_fit=False)
        assert one.fits == table["fits"][i]
        assert one.memory.used == pytest.approx(table["memory_bytes"][i], rel=1e-12)
        for name, wanted in (("ttft_s", one.ttft_s), ("tpot_s", one.tpot_s), ("e2e_s", one.e2e_s)):
            for end, suffix in (("expected", ""), ("bound", "_bound"), ("low", "_low"), ("high", "_high")):
                assert table[name + suffix][i] == pytest.approx(getattr(wanted, end), rel=1e-12)
        assert table["prefill_flops"][i] == pytest.approx(one.prefill.flops, rel=1e-12)
        assert table["decode_bytes"][i] == pytest.approx(one.decode.bytes, rel=1e-12)
        assert table["decode_bound_by"][i] == one.latency.tpot.bound_by


def test_blocks_do_not_change_the_answer(monkeypatch) -> None:
    import sys

    whole = pm.sweep("llama3-70b", "h100", batch=range(1, 9), prompt=range(1, 12), output=range(1, 6), tp=4)
    monkeypatch.setattr(sys.modules[pm.sweep.__module__], "BLOCK", 20)
    cut = pm.sweep("llama3-70b", "h100", batch=range(1, 9), prompt=range(1, 12), output=range(1, 6), tp=4)
    for name in ("batch", "prompt", "output"):
        assert sorted(cut[name].tolist()) == sorted(whole[name].tolist())
    order = [np.lexsort([t[name] for name in ("output", "prompt", "batch")]) for t in (whole, cut)]
    # logarithms of arrays of other lengths differ in the last bit
    np.testing.assert_allclose(whole["e2e_s"][order[0]], cut["e2e_s"][order[1]], rtol=1e-14)


def test_memory_is_bounded_by_blocks() -> None:
    from perfmodel.grid import sweep_blocks

    def peak(outputs: int) -> int:
        tracemalloc.start()
        rows = sum(
            len(block)
            for block in sweep_blocks(
                "llama3-70b", "h100", batch=range(1, 33), prompt=range(1, 65), output=range(1, outputs), tp=4
            )
        )
        assert rows == 32 * 64 * (outputs - 1)
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(257) < 2 * peak(33)


def test_points_that_do_not_fit_are_a_column() -> None:
    table = pm.sweep("llama3-70b", "h100", batch=[1, 100_000], tp=2)
    assert table["fits"].tolist() == [True, False]


@pytest.mark.parametrize("axis", [[0], [1.5], [], ["x"], [-1, 2], [float("nan")]])
def test_a_bad_axis_is_one_sentence(axis) -> None:
    with pytest.raises(RequestError, match="--batch"):
        pm.sweep("llama3-70b", "h100", batch=axis)


def test_arrays_broadcast_in_estimate() -> None:
    answer = pm.estimate("llama3-70b", "h100", tp=4, batch=[1, 8, 64])
    frame = answer.to_frame()
    assert list(frame["batch"]) == [1, 8, 64]
    assert answer.tpot_s.expected.shape == (3,)
    assert answer.to_dict()["fits"] == [True, True, True]
    assert "<table>" in answer._repr_html_()
