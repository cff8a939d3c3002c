"""Memory by hand, and what the engine keeps back."""

from __future__ import annotations

import pytest

from perfmodel.answer import estimate
from perfmodel.cache.held import paged_tokens
from perfmodel.catalog import load_gpu, load_model
from perfmodel.deployment import Deployment, precision_for
from perfmodel.engine import ENGINES, engine
from perfmodel.errors import DoesNotFitError, RequestError
from perfmodel.memory import memory, reserve_bytes
from perfmodel.precision import Precision
from perfmodel.workload import Workload

GIB = 2**30


def plan(model: str = "llama3-8b", gpu: str = "h100", **more: object) -> Deployment:
    return Deployment(load_model(model), load_gpu(gpu), Precision.plain("bf16"), **more)  # type: ignore[arg-type]


def test_llama3_8b_by_hand() -> None:
    held = memory(plan(), Workload(2000, 100, 4))
    assert held.weights == 2 * 8_030_261_248
    assert held.kv_cache == 4 * 2112 * 131_072  # 2,100 tokens are 132 blocks of 16
    assert held.kv_waste == 4 * 12 * 131_072
    assert held.activations == 8000 * (2 * 4096 + 3 * 14336) * 2
    assert held.capacity == 81559 * 2**20
    assert held.reserve == round(0.1 * held.capacity + GIB / 2)
    assert held.used + held.free == held.capacity
    assert held.fits


def test_blocks_are_whole() -> None:
    assert [paged_tokens(plan(), n) for n in (1, 15, 16, 17, 2048)] == [16, 16, 16, 32, 2048]


def test_a_budget_bounds_the_activations_but_not_naive_scores() -> None:
    small, large = (memory(plan(), Workload(8192, 1, n)).activations for n in (1, 64))
    assert small == large
    naive = memory(plan(attention="naive"), Workload(8192, 1, 1)).activations
    assert naive - small == 2 * 8192 * 8192 * 32 * 2


def test_logits_rule_where_batches_are_wide() -> None:
    held = memory(plan(), Workload(1, 1, 4096))
    assert held.activations == 4096 * 128256 * 8


def test_tensor_and_pipeline_shares() -> None:
    whole = memory(plan("llama3-70b"), Workload(1024, 0, 8))
    half = memory(plan("llama3-70b", tp=2), Workload(1024, 0, 8))
    assert 2 * half.kv_cache == whole.kv_cache
    assert whole.weights < 2 * half.weights < 1.001 * whole.weights  # norms stand on both
    wide = memory(plan("qwen2.5-7b", tp=4), Workload(1024, 0, 8)).kv_cache
    assert 4 * wide == memory(plan("qwen2.5-7b"), Workload(1024, 0, 8)).kv_cache
    staged = memory(plan("llama3-70b", pp=3), Workload(1024, 0, 8))
    # 80 layers are 27, 27 and 26; the first stage has the embedding besides
    layer = whole.weights_by["layers"] / 80
    assert staged.weights == 27 * layer + whole.weights_by["embedding"]
    assert staged.kv_cache * 80 == whole.kv_cache * 27


def test_kv_heads_are_replicated_beyond_their_number() -> None:
    single, many = (memory(plan("llama3-8b", gpu="gb200", tp=n), Workload(1024, 0, 1)) for n in (8, 16))
    assert single.kv_cache == many.kv_cache


def test_engine_share_and_remedies() -> None:
    assert reserve_bytes(plan(engine=ENGINES["vllm"])) < reserve_bytes(plan(tp=2))
    tight = estimate("llama3-8b", "rtx-4090", memory_share=0.95)
    assert tight.memory.reserve < estimate("llama3-8b", "rtx-4090").memory.reserve
    with pytest.raises(DoesNotFitError) as caught:
        estimate("llama3-8b", "rtx-4090", tp=1, batch=40, prompt=4000)
    assert any(way.startswith("--batch ") for way in caught.value.remedies)
    assert any("--tp " in way for way in caught.value.remedies)
    with pytest.raises(RequestError, match="did you mean"):
        engine("vlllm")


def test_quantized_checkpoints_keep_embedding_and_head_wide() -> None:
    device = load_gpu("h100")
    model = load_model("llama3-8b")
    for name, each in (("fp8", 1), ("int8", 1), ("int4", (4 + 20 / 128) / 8)):
        weights = model.weight_bytes(precision_for(device, name))
        narrow = 8_030_261_248 - 2 * 128256 * 4096 - 65 * 4096
        assert sum(weights.values()) == narrow * each + 2 * (2 * 128256 * 4096 + 65 * 4096)
    assert sum(model.weight_bytes(precision_for(load_gpu("b200"), "nvfp4")).values()) < 6.1e9


def test_without_a_cache_nothing_is_kept() -> None:
    held = memory(plan(cache=False), Workload(1000, 24, 2))
    assert held.kv_cache == 0
    assert held.activations == 2 * 1024 * (2 * 4096 + 3 * 14336) * 2
