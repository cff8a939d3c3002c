"""Caches in few bits: every byte counted a second way, and the papers' figures."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.answer import estimate
from perfmodel.batch import Batch
from perfmodel.cache.formats import CACHES, cache_format
from perfmodel.catalog import load_gpu, load_model
from perfmodel.deployment import precision_for
from perfmodel.errors import RequestError
from perfmodel.expected import expected_s
from perfmodel.forward import forward

H100 = load_gpu("h100")
PACKED = (*CACHES, "q8_0", "q4_0", "kivi2-r32")


def asked(kv: str | None, model: str = "llama3-8b", gpu: str = "h100", **more: Any) -> Any:
    return estimate(model, gpu, tp=1, must_fit=False, kv=kv, **more)


@pytest.mark.parametrize(
    ("kv", "vector"),
    [
        ("bf16", 128 * 2),
        ("fp8", 128),
        ("int8", 128 + 4),  # LMDeploy: scale and zero in 16 bits a token and head
        ("int4", 64 + 4),
        ("int8-tensor", 128),
        ("q8_0", 4 * 34),  # llama.cpp: blocks of 32, a 16-bit scale each
        ("q4_0", 4 * 18),
        ("kivi2", 32 + 4 * 4),  # four groups of 32, scale and zero in 16 bits each
        ("kivi4", 64 + 4 * 4),
    ],
)
def test_bytes_of_one_vector_of_128(kv: str, vector: int) -> None:
    """What one more token adds, far beyond any 16-bit window: 32 layers, 8 KV heads, a key and a value."""
    model, precision = load_model("llama3-8b"), precision_for(H100, kv=kv)
    added = model.kv_bytes(5001, precision) - model.kv_bytes(5000, precision)
    assert added == 32 * 8 * 2 * vector
    read = asked(kv, prompt=5001).decode.kv_read_bytes - asked(kv, prompt=5000).decode.kv_read_bytes
    assert read == added


def test_a_residual_window_stays_in_16_bits() -> None:
    model, precision = load_model("llama3-8b"), precision_for(H100, kv="kivi2")
    token, packed = 32 * 8 * 2 * 256, 32 * 8 * 2 * 48
    for tokens in (0, 1, 128, 129, 4000):
        assert model.kv_bytes(tokens, precision) == min(tokens, 128) * token + max(tokens - 128, 0) * packed
    assert asked("kivi2", prompt=4000).decode.kv_read_bytes == 128 * token + 3872 * packed
    # each new token is written in 16 bits, and packed once it leaves the window
    assert asked("kivi2", prompt=4000).decode.kv_write_bytes == token + packed


def test_kivis_peak_memory() -> None:
    """Liu et al. 2024, abstract: 2.6 times less peak memory, weights included, of Llama 2 7B on an 80 GB A100.

    With prompts of 161 and outputs of 338 tokens (§4.3), where 16 bits just fill the device; its two windows of 32
    and of 128 tokens enclose the figure.
    """
    size: dict[str, float] = {}
    for kv in ("fp16", "kivi2-r32", "kivi2"):
        held = asked(kv, "llama2-7b", "a100", prompt=161, output=338, batch=250).memory
        size[kv] = held.weights + held.kv_cache + held.activations
    assert size["fp16"] == pytest.approx(80e9, rel=0.05)
    assert 1.9 < size["fp16"] / size["kivi2"] < 2.6 < size["fp16"] / size["kivi2-r32"] < 3.0


def test_unpacking_costs_what_vector_units_take() -> None:
    """QServe (Lin et al. 2024, §5.3): on A100, five operations an element at 19.5 TFLOP/s; INT4 reads a quarter."""
    plan = asked("int4", gpu="a100", prompt=8000, batch=64).plan
    ops = {op.name: op for op in forward(plan, Batch.decode(64, 8000))}
    elements = 64 * 8000 * 8 * 128 * 2
    assert ops["unpack"].flops == ops["scores"].unpack_flops + ops["values"].unpack_flops == 5 * elements
    times = {kv: asked(kv, gpu="a100", prompt=8000, batch=64).tpot_s.expected for kv in ("bf16", "fp8", "int8", "int4")}
    assert times["int4"] < times["int8"] < times["bf16"]
    # by bytes alone INT4's attention would take 68/256 of the time; unpacking makes it longer
    reading = {kv: asked(kv, gpu="a100", prompt=8000, batch=64).decode.kv_read_bytes for kv in ("bf16", "int4")}
    assert reading["int4"] / reading["bf16"] == 68 / 256
    assert expected_s(ops["scores"], _constants(plan)) > 0


def _constants(plan: Any) -> Any:
    from perfmodel.calibration import Constants

    return Constants(plan.gpu, plan.engine)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(PACKED), st.integers(1, 6000), st.integers(1, 64))
def test_fewer_bits_are_fewer_bytes(kv: str, prompt: int, batch: int) -> None:
    wide, narrow = (asked(name, prompt=prompt, batch=batch) for name in (None, kv))
    assert narrow.memory.kv_cache <= wide.memory.kv_cache
    assert narrow.decode.kv_read_bytes <= wide.decode.kv_read_bytes
    assert narrow.decode.matmul_flops == wide.decode.matmul_flops
    assert narrow.tpot_s.bound <= wide.tpot_s.bound


@given(st.sampled_from(PACKED), st.integers(0, 9000))
def test_memory_grows_with_every_token(kv: str, tokens: int) -> None:
    model, precision = load_model("llama3-8b"), precision_for(H100, kv=kv)
    assert model.kv_bytes(tokens + 1, precision) > model.kv_bytes(tokens, precision)


def test_names() -> None:
    assert cache_format("int2", "--kv") == cache_format("KIVI2", "--kv") == CACHES["kivi2"]
    assert cache_format("kivi2-r64", "--kv").residual == 64  # type: ignore[attr-defined]
    for name in ("kivi3", "kivvi2", "nonsense"):
        with pytest.raises(RequestError, match="--kv: no"):
            cache_format(name, "--kv")


def test_a_latent_is_one_vector() -> None:
    """DeepSeek V3: 576 elements a token and layer, one scale and zero in 16 bits."""
    model, precision = load_model("deepseek-v3"), precision_for(H100, kv="int8")
    assert model.kv_bytes(10, precision) == 10 * 61 * (576 + 4)
    with pytest.raises(RequestError, match="one latent vector"):
        estimate("deepseek-v3", "h200", kv="kivi2", must_fit=False)


def test_the_page_of_equations_holds() -> None:
    for kv in ("int4", "kivi2"):
        assert "unpack" in asked(kv, prompt=300).explain()
