"""Levers as they are asked for: limits of the engine, what contradicts what, and what an answer says of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perfmodel.answer import estimate
from perfmodel.catalog import load_gpu
from perfmodel.engine import ENGINES
from perfmodel.errors import PerfModelError
from perfmodel.levers import limited


def asked(gpu: str = "h100", model: str = "llama3-8b", **more: Any) -> Any:
    return estimate(model, gpu, tp=1, must_fit=False, **more)


def test_sequences_that_vllm_runs_at_once() -> None:
    """arg_utils.py: 1,024 from 70 GiB on, but not on A100; 256 otherwise."""
    for gpu, most in (("h100", 1024), ("a100", 256), ("l40s", 256), ("h200", 1024), ("rtx-4090", 256)):
        assert limited(ENGINES["vllm"], load_gpu(gpu), None, None, None).sequences_limit == most
    assert limited(ENGINES["sglang"], load_gpu("l40s"), None, None, None) is ENGINES["sglang"]
    assert asked(batch=1024).warnings == ()
    assert any("max_num_seqs" in warning for warning in asked(batch=1025).warnings)
    assert any("max_num_seqs" in warning for warning in asked(batch=129, samples=8).warnings)
    assert asked(batch=1025, max_num_seqs=2048).warnings == ()


def test_a_token_budget_cuts_prompts() -> None:
    whole, cut = (asked(prompt=8192, max_num_batched_tokens=n) for n in (8192, 512))
    assert cut.ttft_s.expected > whole.ttft_s.expected
    assert cut.memory.activations < whole.memory.activations
    assert cut.prefill == whole.prefill


def test_the_engines_own_limits_change_nothing_when_they_are_asked_for() -> None:
    plain, same = asked(), asked(kv_block=16, max_num_batched_tokens=8192, max_num_seqs=1024)
    assert (plain.plan, plain.latency, plain.memory) == (same.plan, same.latency, same.memory)


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"kv_block": 0}, "--kv-block must be a whole number"),
        ({"max_num_seqs": 1.5}, "--max-num-seqs must be a whole number"),
        ({"max_num_batched_tokens": "many"}, "--max-num-batched-tokens must be a whole number"),
        ({"samples": 0}, "--samples must be"),
        ({"samples": 2, "beams": 2}, "exclude each other"),
        ({"prefix": -1}, "--prefix must be"),
        ({"prefix": 2000, "prompt": 1000}, "longer than the prompt of 1000"),
        ({"prefix": 10, "prefix_hit": 2}, "--prefix-hit must be a share"),
        ({"shared_prefix_attention": True}, "something in common"),
        ({"shared_prefix_attention": True, "samples": 2, "kv_policy": "h2o:8+8"}, "keeps other tokens of each"),
        ({"kv_policy": "h2o:8+8", "kv_cache": False}, "--kv-policy is about the KV cache"),
        ({"model": "llada-8b", "samples": 2}, "writes by denoising"),
        ({"model": "llada-8b", "kv_policy": "h2o:8+8"}, "writes by denoising"),
    ],
)
def test_questions_that_make_no_sense(more: dict[str, Any], word: str) -> None:
    with pytest.raises(PerfModelError, match=word):
        asked(**more)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--kv-policy", "streaming:4+1020"), ("StreamingLLM", "1,024 cached tokens", "attends to everything")),
        (("--kv-policy", "snapkv:1024+32"), ("SnapKV", "all of the output")),
        (("--kv", "kivi2"), ("last 128 tokens", "kivi2 KV cache")),
        (("--offload-weights", "0.5"), ("50% of the layers' weights", "GB in all", "elsewhere")),
        (("--samples", "4"), ("4 completions of each prompt", "4 sequences at once, of 1 prompt")),
        (("--beams", "4"), ("4 beams",)),
        (("--prefix", "512", "--prefix-from", "host"), ("512 tokens in the cache, brought from the host",)),
        (("--attention", "flash2"), ("FlashAttention-2",)),
    ],
)
def test_the_screen_says_what_is_on(flags: tuple[str, ...], words: tuple[str, ...], run: Any) -> None:
    answer = run("estimate", "-m", "llama3-8b", "-g", "h100", *flags)
    assert answer.code == 0
    text = " ".join(answer.out.split())
    for word in words:
        assert word in text
    assert run("explain", "-m", "llama3-8b", "-g", "h100", *flags).code == 0


def test_scripts_see_every_lever(run: Any) -> None:
    plain = json.loads(run("estimate", "-m", "llama3-8b", "-g", "h100", "--json").out)
    assert plain["kv_policy"] is None
    assert plain["limits"] == {"kv_block": 16, "max_num_seqs": 1024, "max_num_batched_tokens": 8192}
    flags = ("--kv-policy", "h2o:64+64", "--samples", "3", "--offload-kv", "0.25", "--kv-block", "32")
    on = json.loads(run("estimate", "-m", "llama3-8b", "-g", "h100", "--json", *flags).out)
    assert (on["kv_policy"], on["samples"], on["offload"]["kv"], on["limits"]["kv_block"]) == ("h2o:64+64", 3, 0.25, 32)
    assert on["memory"]["offloaded_bytes"] > 0


def test_what_was_asked_of_the_engine_is_told_as_such() -> None:
    def told(**more: Any) -> str:
        return next(line for line in asked(**more).assumptions if "KV blocks of" in line)

    assert told() == "vllm defaults: 90% of memory, KV blocks of 16, passes of at most 8,192 tokens"
    some = told(memory_share=0.8, max_num_seqs=64)
    assert some == (
        "vllm, as asked: 80% of memory, at most 64 sequences at once; "
        "its defaults: KV blocks of 16, passes of at most 8,192 tokens"
    )
    every = told(memory_share=0.8, kv_block=32, max_num_batched_tokens=2048)
    assert every == "vllm, as asked: 80% of memory, KV blocks of 32, passes of at most 2,048 tokens"


def test_completions_of_a_request_share_its_adapter_and_not_its_sampler() -> None:
    """Rank 16 on q of Llama 3 8B is 32·16·(4096 + 4096) elements; 4 requests of 3 completions read 4 of 8 adapters."""
    plain, on = (asked(batch=4, samples=3, lora=lora) for lora in (None, "16,q,8"))
    each = 32 * 16 * (4096 + 4096)
    assert on.decode.weight_bytes - plain.decode.weight_bytes == 4 * each * 2
    assert on.decode.flops - plain.decode.flops == 12 * 2 * each
    alone, of_three = (
        asked(sampling="penalties,top-p", **more) for more in ({"batch": 12}, {"batch": 4, "samples": 3})
    )
    steps = [
        [(op.name, op.flops, op.bytes) for op in answer.decode_ops() if op.form == "sampler"]
        for answer in (alone, of_three)
    ]
    assert steps[0] == steps[1]
    assert steps[0]
    cascade = asked(sampling="penalties,top-p", batch=4, samples=3, shared_prefix_attention=True)
    assert steps[0] == [(op.name, op.flops, op.bytes) for op in cascade.decode_ops() if op.form == "sampler"]


def test_images_count_before_a_prefix_does() -> None:
    """576 tokens of an image and 100 of text: a prefix may end within what the image takes."""
    one = asked(prompt=100, images=1, image_tokens=576, prefix=640)
    assert (one.work.prompt, one.work.text) == (676, 100)
    assert one.prefill_ops()[0].flops == asked(prompt=676, prefix=640).prefill_ops()[0].flops
    assert one.latency == asked(prompt=676, prefix=640).latency
    with pytest.raises(PerfModelError, match="longer than the prompt of 676"):
        asked(prompt=100, images=1, image_tokens=576, prefix=677)


def test_a_draft_keeps_its_whole_cache() -> None:
    """What a policy of the target spares is the same with a draft and without; the draft's own passes stay."""
    from perfmodel.latency import draft_time

    alone, thin = (
        asked(model="llama3-70b", gpu="b200", prompt=8000, draft="llama3-8b", kv_policy=policy)
        for policy in (None, "h2o:512+512")
    )
    assert draft_time(alone.plan, alone.work, 8000) == draft_time(thin.plan, thin.work, 8000)
    assert thin.tpot_s.expected < alone.tpot_s.expected
