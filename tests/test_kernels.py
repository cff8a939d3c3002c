"""Bounds by hand, and expected times that stay above them and behave."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.batch import Batch
from perfmodel.calibration import Constants
from perfmodel.catalog import load_gpu, load_model, names
from perfmodel.collectives import all_gather_bytes, all_reduce_bytes
from perfmodel.deployment import Deployment
from perfmodel.engine import ENGINES
from perfmodel.errors import RequestError
from perfmodel.expected import expected_s, expected_waits, launches
from perfmodel.forward import forward
from perfmodel.op import Op
from perfmodel.precision import Precision
from perfmodel.roofline import bound_s, link_of, ridge

H100 = load_gpu("h100")


def ops(batch: Batch, tp: int = 1, attention: str = "flash") -> dict[str, Op]:
    plan = Deployment(load_model("llama3-8b"), H100, Precision.plain("bf16"), tp=tp, attention=attention)
    return {op.name: op for op in forward(plan, batch)}


def test_bounds_by_hand() -> None:
    prefill, decode = ops(Batch.prefill(1, 2048)), ops(Batch.decode(1, 2048))
    assert bound_s(prefill["q_proj"], H100) == 2 * 2048 * 4096 * 4096 / 989.4e12
    assert bound_s(decode["q_proj"], H100) == 4096 * 4096 * 2 / 3.35e12
    assert bound_s(decode["scores"], H100) == 2048 * 1024 * 2 / 3.35e12
    assert bound_s(prefill["softmax"], H100) == 0  # inside the attention kernel
    assert ridge(H100, "bf16") == pytest.approx(295.3, abs=0.05)
    assert ridge(H100, "fp8") == pytest.approx(590.7, abs=0.05)


def test_naive_attention_pays_for_its_scores() -> None:
    flash, naive = (ops(Batch.prefill(1, 4096), attention=kind) for kind in ("flash", "naive"))
    for name in ("scores", "softmax", "values"):
        assert bound_s(naive[name], H100) > bound_s(flash[name], H100)
    assert bound_s(naive["softmax"], H100) == 2 * 4096 * 4096 * 32 * 2 / 3.35e12


def test_collectives_by_hand() -> None:
    assert all_reduce_bytes(800, 8) == 1400
    assert all_gather_bytes(800, 8) == 700
    op = ops(Batch.prefill(1, 1000), tp=4)["ffn_all_reduce"]
    assert op.wire_bytes == 1000 * 4096 * 2
    assert bound_s(op, H100) == 1.25 * op.wire_bytes / 450e9  # with sums in the switch; a ring needs 1.5
    assert link_of(op, H100).name == "NVLink 4"
    assert link_of(op, load_gpu("h100-pcie")).name.startswith("PCIe")
    assert "bridge" in link_of(ops(Batch.prefill(1, 1), tp=2)["ffn_all_reduce"], load_gpu("h100-pcie")).name
    with pytest.raises(RequestError, match="no link that joins 4 devices"):
        link_of(op, load_gpu("m2-ultra"))


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(names("gpu")),
    st.integers(1, 256),
    st.integers(1, 4096),
    st.integers(0, 30_000),
    st.sampled_from(["flash", "naive"]),
    st.sampled_from(sorted(ENGINES)),
)
def test_expected_is_never_below_the_bound(
    gpu: str, batch: int, tokens: int, context: int, attention: str, engine: str
) -> None:
    device = load_gpu(gpu)
    form = next(name for name in ("bf16", "fp16", "fp32") if name in device.peak_flops)
    plan = Deployment(load_model("llama3-8b"), device, Precision.plain(form), attention=attention)
    c = Constants(device, ENGINES[engine])
    for prefilled in (Batch.prefill(batch, tokens, context), Batch.decode(batch, context)):
        for op, _ in launches(forward(plan, prefilled)):
            waits = expected_waits(op, c)
            assert expected_s(op, c) >= bound_s(op, device, c.engine.half_sums) * (1 - 1e-12)
            assert min(waits) >= 0


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 20_000), st.integers(1, 500))
def test_more_rows_are_never_faster(rows: int, more: int) -> None:
    c = Constants(H100, ENGINES["vllm"])
    for name in ("q_proj", "ffn_gate", "scores", "ffn_activation", "lm_head"):
        a, b = (ops(Batch.prefill(1, n))[name] for n in (rows, rows + more))
        assert expected_s(a, c) <= expected_s(b, c)


def test_small_all_reduces_take_one_step() -> None:
    c = Constants(H100, ENGINES["vllm"])
    small, large = (ops(Batch.prefill(1, n), tp=8)["ffn_all_reduce"] for n in (1, 8192))
    assert expected_s(small, c) < 12e-6
    assert expected_s(large, c) > bound_s(large, H100) / 0.75


def test_what_rides_along_is_one_kernel() -> None:
    step = ops(Batch.decode(4, 1000))
    kernels = {op.name: (op, parts) for op, parts in launches(list(step.values()))}
    qkv, parts = kernels["q_proj"]
    assert [part.name for part in parts] == ["q_proj", "k_proj", "v_proj"]
    assert (qkv.columns, qkv.depth, qkv.rows) == (4096 + 2 * 1024, 4096, 4)
    assert qkv.weight_bytes == sum(part.weight_bytes for part in parts)
    assert [part.name for part in kernels["scores"][1]] == ["scores", "values"]
    assert "k_proj" not in kernels


def test_every_pair_of_device_and_engine_has_constants() -> None:
    for gpu in (load_gpu(name) for name in names("gpu")):
        for engine in ENGINES.values():
            c = Constants(gpu, engine)
            for form, key in (
                ("gemm", "bf16"),
                ("gemm", "w4"),
                ("grouped", "fp4"),
                ("prefill", "fp8-kv"),
                ("decode", "bf16"),
            ):
                assert c.found(form, key).origin.fit.points
            for link in gpu.scale_up:
                assert 0 < c.of_link(link.name, "all-reduce", link.domain).share <= 1
