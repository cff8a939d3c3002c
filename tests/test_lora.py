"""Adapters: parameters as PEFT prints them (recalled), formulas by hand, the overhead that Punica measured, laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perfmodel as pm
from perfmodel.errors import RequestError
from perfmodel.layers.adapters import adapter_elements
from perfmodel.lora import Lora, lora_of
from perfmodel.op import totals

LLAMA = {"model": "llama2-7b", "gpu": "a100-80gb", "prompt": 512}


def elements(model: str, lora: Lora, tp: int = 1) -> int:
    spec = pm.load_model(model)
    return sum(
        block.repeat * adapter_elements(lora, layer.tensors(spec.hidden_size, tp), layer.label)
        for block in spec.blocks
        for layer in block.layers
    )


@pytest.mark.parametrize(
    ("model", "given", "trainable"),
    [
        ("llama-7b", "8,q_proj+v_proj", 4_194_304),  # alpaca-lora, print_trainable_parameters()
        ("llama2-7b", "16,q_proj,v_proj", 8_388_608),
        ("llama2-7b", "16", 39_976_960),
        ("llama3-8b", "16,all", 41_943_040),  # fewer outputs of k and v (GQA), a wider feed-forward
        ("llama2-7b", "16,attention", 32 * 4 * 16 * 8192),
        ("llama2-7b", "16,ffn.down", 32 * 16 * (11008 + 4096)),
    ],
)
def test_parameters_are_what_peft_prints(model: str, given: str, trainable: int) -> None:
    """The first four figures are recalled from PEFT's print_trainable_parameters(), not looked up; two are by hand."""
    assert elements(model, lora_of(given)) == trainable


def test_flops_and_bytes_by_hand() -> None:
    """Llama 2 7B, rank 16 on every matrix, 8 adapters, a step of 32 sequences."""
    off, on = (pm.estimate(**LLAMA, batch=32, lora=lora) for lora in (None, "16,all,8"))
    each = 39_976_960
    assert on.decode.flops - off.decode.flops == 2 * 32 * each
    assert on.decode.weight_bytes - off.decode.weight_bytes == 8 * each * 2
    assert on.memory.weights - off.memory.weights == 8 * each * 2
    assert on.memory.weights_by["adapters"] == 8 * each * 2
    assert on.prefill.flops - off.prefill.flops == 2 * 32 * 512 * each
    few = pm.estimate(**LLAMA, batch=4, lora="16,all,8")  # four sequences read four adapters
    assert few.decode.weight_bytes - pm.estimate(**LLAMA, batch=4).decode.weight_bytes == 4 * each * 2


def test_the_overhead_is_what_punica_measured() -> None:
    """Punica (Chen et al. 2023, abstract): "only adding 2ms latency per token", A100, rank 16, 32 sequences.

    Theirs is one kernel a projection and hardly depends on how many adapters there are; ours launches Q, K, V together.
    """
    off = pm.estimate(**LLAMA, batch=32).tpot_s.expected
    for adapters in (1, 32):
        added = pm.estimate(**LLAMA, batch=32, lora=f"16,all,{adapters}").tpot_s.expected - off
        assert 1e-3 < added < 4e-3, added
    alike = pm.estimate(**LLAMA, batch=32, lora="16,all,1").tpot_s.expected - off
    assert alike == pytest.approx(2e-3, rel=0.35)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 256), st.integers(1, 64), st.sampled_from(["llama3-8b", "mixtral-8x7b", "deepseek-v2-lite"]))
def test_flops_are_linear_in_rank(rank: int, batch: int, model: str) -> None:
    plain = pm.estimate(model, "h200", batch=batch, must_fit=False)
    added = [
        pm.estimate(model, "h200", batch=batch, lora=f"{r},all,4", must_fit=False).decode.flops - plain.decode.flops
        for r in (rank, 2 * rank, 1)
    ]
    assert added[1] == 2 * added[0] == 2 * rank * added[2]


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 128), st.integers(1, 64), st.integers(1, 64))
def test_more_adapters_never_cost_less(batch: int, few: int, more: int) -> None:
    few, more = sorted((few, few + more))
    a, b = (pm.estimate("llama3-8b", "h200", batch=batch, lora=f"16,all,{n}", must_fit=False) for n in (few, more))
    assert a.tpot_s.expected <= b.tpot_s.expected
    assert a.memory.used < b.memory.used
    assert a.tpot_s.expected > pm.estimate("llama3-8b", "h200", batch=batch).tpot_s.expected


@pytest.mark.parametrize("model", ["llama3-70b", "mixtral-8x7b", "deepseek-v3", "jamba-1.5-mini", "gemma-3n-e4b"])
def test_none_is_the_answer_without(model: str) -> None:
    ask = {"gpu": "h200", "tp": 2, "batch": 4, "must_fit": False}
    assert pm.estimate(model, **ask, lora=None).to_dict(True) == pm.estimate(model, **ask).to_dict(True)
    with_some = pm.estimate(model, **ask, lora="8")
    assert with_some.decode.flops > pm.estimate(model, **ask).decode.flops


@pytest.mark.parametrize("tp", [2, 4, 8])
def test_tensor_parallel_shards_are_vllms(tp: int) -> None:
    """A whole and B split beside Q, K, V, gate and up; A split and B whole beside O and down (vllm/lora/layers)."""
    D, F, r = 4096, 11008, 16
    by_hand = 3 * r * (D + D // tp) + r * (D // tp + D) + 2 * r * (D + F // tp) + r * (F // tp + D)
    assert elements("llama2-7b", Lora(r), tp) == 32 * by_hand
    plan = pm.estimate(**LLAMA, tp=tp, lora="16,all,4").plan
    from perfmodel.batch import Batch
    from perfmodel.forward import forward

    ops = [op for op in forward(plan, Batch.decode(8, 512)) if "_lora_" in op.name]
    assert totals(ops).flops == 2 * 8 * 32 * by_hand
    assert totals(ops).weight_bytes == 4 * 32 * by_hand * 2
    assert not any(op.kind == "collective" for op in ops)


def test_experts_and_routers_have_none() -> None:
    ops = pm.estimate("mixtral-8x7b", "h200", lora="16", must_fit=False).decode_ops()
    beside = {op.name for op in ops if "_lora_" in op.name}
    assert beside == {f"{name}_lora_{part}" for name in ("q_proj", "o_proj") for part in ("shrink", "expand")}


def test_arrays_are_stacked_numbers() -> None:
    batches = [1, 4, 32]
    many = pm.estimate(**LLAMA, batch=batches, lora="16,all,8")
    for i, batch in enumerate(batches):
        one = pm.estimate(**LLAMA, batch=batch, lora="16,all,8")
        assert np.asarray(many.tpot_s.expected)[i] == pytest.approx(one.tpot_s.expected, rel=1e-12)
        assert np.asarray(many.memory.used)[i] == one.memory.used
    grid = pm.sweep("llama2-7b", "a100-80gb", batch=batches, prompt=[512], lora="16,all,8")
    assert grid["tpot_s"].tolist() == pytest.approx(np.asarray(many.tpot_s.expected).tolist(), rel=1e-12)


def test_explain_walks_through_adapters() -> None:
    page = pm.estimate(**LLAMA, batch=4, lora="16,q+v,2").explain()
    assert "q_proj_lora_shrink" in page
    assert "2 adapters of rank 16 on attention.q, attention.v" in page


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("16", Lora(16)),
        (16, Lora(16)),
        ("16,8", Lora(16, (), 8)),
        ("16,all,8", Lora(16, (), 8)),
        ("16+q+v+8", Lora(16, ("attention.q", "attention.v"), 8)),
        ("8,gate_proj,up_proj", Lora(8, ("ffn.gate", "ffn.up"))),
        (Lora(4), Lora(4)),
        (None, None),
    ],
)
def test_adapters_as_people_type_them(given: object, found: Lora | None) -> None:
    assert lora_of(given) == found


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("q,v", "needs a rank"),
        ("", "needs a rank"),
        ("16,q,4,8", "needs a rank"),
        ("16,,8", "needs a rank"),
        ("0", "the rank is from 1"),
        ("16,all,0", "the adapters from 1"),
        ("16,qq", 'no target "qq"; did you mean "q"'),
        ("16,attention.w", "has no such target"),
        (True, "needs a rank"),
    ],
)
def test_wrong_adapters_are_one_sentence(given: object, told: str) -> None:
    with pytest.raises(RequestError, match="--lora") as error:
        pm.estimate("llama3-8b", "h100", lora=given)
    assert told in str(error.value)
