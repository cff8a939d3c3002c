"""Parts that stay in 16 bits: what is named, which layers, and what follows for bytes, FLOPs and time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfmodel.answer import Estimate, estimate
from perfmodel.catalog import load_model
from perfmodel.errors import RequestError
from perfmodel.exempt import RECIPES, exempt_of, exempted_model, recipe

LAWS = settings(max_examples=40, deadline=None)


def asked(model: str, exempt: str | None, weights: str = "fp8", gpu: str = "h200", **more: object) -> Estimate:
    return estimate(model, gpu, weights=weights, exempt=exempt, gpu_count=1, must_fit=False, **more)  # type: ignore[arg-type]


def weights_of(answer: Estimate) -> float:
    return float(sum(answer.plan.model.weight_bytes(answer.plan.precision).values()))


def test_llama_3_405b_by_its_own_recipe() -> None:
    """126 layers of D = 16384, F = 53248: FP8 in the feed-forwards of 124, 4 bytes a row; all else in 16 bits."""
    D, F, L, V = 16384, 53248, 126, 128256
    attention, ffn, norms = 2 * D * D + 2 * D * 1024, 3 * D * F, 2 * D
    quantized = (L - 2) * (ffn + 4 * (2 * F + D))
    wide = 2 * (L * attention + 2 * ffn + L * norms + D + 2 * V * D)
    answer = estimate("llama3.1-405b", "h200", weights="fp8-llama3", gpu_count=8)
    assert weights_of(answer) == quantized + wide
    assert answer.plan.model.order == "A 124BA"
    assert answer.plan.model.total_parameters == load_model("llama3.1-405b").total_parameters


def test_half_of_the_computing_is_in_fp8() -> None:
    """§6.2 of the Llama 3 paper: the feed-forward products are about half of the inference compute time."""
    answer = estimate("llama3.1-405b", "h200", weights="fp8-llama3", gpu_count=8, prompt=4096)
    flops: dict[str, float] = {}
    seconds = {"fp8": 0.0, "bf16": 0.0}
    for op in answer.prefill_ops():
        if op.is_matmul:
            flops[op.format] = flops.get(op.format, 0) + op.flops * op.repeat
            seconds[op.format] += op.flops * op.repeat / answer.plan.gpu.peak(op.format)
    assert sum(flops.values()) == answer.prefill.matmul_flops
    assert flops["fp8"] == 124 * 2 * 4096 * 3 * 16384 * 53248
    assert 0.5 < seconds["fp8"] / sum(seconds.values()) < 0.7


def test_a_recipe_is_what_it_means() -> None:
    named = asked("llama3-8b", None, "fp8-llama3")
    spelt = asked("llama3-8b", "attention,first-layers=1,last-layers=1", "fp8-row")
    assert named.to_dict() == spelt.to_dict()
    assert recipe("FP8-Llama3", "lm_head") == ("fp8-row", f"{RECIPES['fp8-llama3'].exempt},lm_head")
    assert recipe("fp8", None) == ("fp8", None)


@pytest.mark.parametrize("model", ["llama3-8b", "mixtral-8x7b", "gemma-2-9b", "deepseek-v3", "zamba2-1.2b"])
def test_everything_exempt_is_as_wide_as_nothing_quantized(model: str) -> None:
    spec = load_model(model)
    parts = ",".join(dict.fromkeys(layer.label for block in spec.blocks for layer in block.layers))
    parts += ",adapter" if any(block.adapter for block in spec.blocks) else ""
    exempted = weights_of(asked(model, parts, "int8", "a100")) if "adapter" not in parts else None
    wide = weights_of(asked(model, None, "bf16", "a100"))
    assert exempted is None or exempted == wide
    if not any(block.copies for block in spec.blocks):
        assert weights_of(asked(model, f"first-layers={spec.layers}", "int8", "a100")) == wide


@pytest.mark.parametrize("model", ["gemma-2-9b", "jamba-v0.1", "deepseek-v3", "qwen3-next-80b-a3b"])
def test_layers_keep_their_order(model: str) -> None:
    spec = load_model(model)
    made = exempted_model(spec, exempt_of(spec, "first-layers=2,last-layers=3"))
    before, after = ([type(one.blocks[i].mixer) for i in one.sequence()] for one in (spec, made))
    assert before == after
    whole = [
        bool(made.blocks[i].exempt) and len(made.blocks[i].exempt) >= len(made.blocks[i].layers)
        for i in made.sequence()
    ]
    assert all(whole[:2])
    assert all(whole[-3:])
    assert made.parameters() == spec.parameters()


@LAWS
@given(st.integers(0, 16), st.integers(0, 16), st.sampled_from(["", "attention", "ffn.down", "attention.q,ffn.up"]))
def test_each_exempt_layer_costs_its_bytes(first: int, last: int, parts: str) -> None:
    """Llama 3 8B by hand: what a layer has in 8 bits it has twice where it is exempt."""
    D, F, K = 4096, 14336, 1024
    sizes = {"attention": 2 * D * D + 2 * D * K, "ffn.down": D * F, "attention.q,ffn.up": D * D + D * F, "": 0}
    layer = 2 * D * D + 2 * D * K + 3 * D * F
    text = f"first-layers={first},last-layers={last},{parts}"
    if not parts and first + last == 0:
        with pytest.raises(RequestError, match="names what stays"):
            asked("llama3-8b", text)
        return
    extra = (first + last) * layer + (32 - first - last) * sizes[parts]
    assert weights_of(asked("llama3-8b", text)) - weights_of(asked("llama3-8b", None)) == extra


def test_more_exempt_is_slower() -> None:
    times = [asked("llama3-8b", text).tpot_s for text in (None, "attention", "attention,ffn.down", "attention,ffn")]
    assert [time.bound for time in times] == sorted(time.bound for time in times)
    assert [time.expected for time in times] == sorted(time.expected for time in times)


def test_the_head_of_a_gguf_file() -> None:
    quantized, wide = asked("llama3-8b", None, "q4_k_m"), asked("llama3-8b", "lm_head", "q4_k_m")
    assert weights_of(wide) - weights_of(quantized) == 128256 * 4096 * (2 - 6.5625 / 8)


def test_checkpoints_keep_what_they_exempt() -> None:
    declared = load_model("qwen3-30b-a3b-fp8")
    made = exempted_model(declared, exempt_of(declared, "attention.q"))
    assert all(set(old.exempt) <= set(new.exempt) for old, new in zip(declared.blocks, made.blocks, strict=True))


@pytest.mark.parametrize(
    ("model", "exempt", "says"),
    [
        ("llama3-8b", "atention", 'did you mean "attention"'),
        ("llama3-8b", "experts", "no part"),
        ("llama3-8b", "first-layers=33", "has 32 layers"),
        ("llama3-8b", ",", "names what stays in 16 bits"),
        ("zamba2-1.2b", "last-layers=1", "share weights"),
    ],
)
def test_what_cannot_be_exempt(model: str, exempt: str, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        asked(model, exempt)


def test_nothing_to_exempt_in_16_bits() -> None:
    with pytest.raises(RequestError, match="needs quantized weights"):
        asked("llama3-8b", "attention", "bf16")


def test_it_works_in_a_sweep() -> None:
    from perfmodel.study.asked import sweep

    rows = sweep("llama3-8b", "h100", batch=[1, 8], weights="fp8-llama3", dequantize="unfused")
    one = estimate("llama3-8b", "h100", batch=8, weights="fp8-llama3")
    assert rows.columns["tpot_s"][1] == pytest.approx(one.tpot_s.expected, rel=1e-12)
    assert rows.columns["memory_bytes"][1] == one.memory.used
