"""Laws that must hold whatever the numbers: monotone, linear, ordered."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perfmodel.answer import estimate
from perfmodel.batch import Batch
from perfmodel.catalog import load_gpu, load_model
from perfmodel.collectives import SENT_BYTES, sent_bytes
from perfmodel.deployment import Deployment, most_devices, precision_for, splits
from perfmodel.forward import forward
from perfmodel.latency import decode_time, latency, mean_decode_time
from perfmodel.memory import UNLIMITED, fewest_gpus, longest_context, memory, most_sequences
from perfmodel.op import totals
from perfmodel.workload import Workload

MODELS = ("llama3-8b", "llama3-70b", "llama2-13b", "qwen2.5-0.5b", "mistral-7b-v0.1", "gemma-2b", "phi3-medium")
GPUS = ("h100", "a100", "l40s", "rtx-4090", "mi300x", "v100", "tpu-v5e", "m2-ultra", "cpu-server", "b200")
LAWS = settings(max_examples=60, deadline=None)

models = st.sampled_from(MODELS)
gpus = st.sampled_from(GPUS)
works = st.builds(Workload, prompt=st.integers(1, 20_000), output=st.integers(1, 3_000), batch=st.integers(1, 512))
forms = st.sampled_from(
    [
        {},
        {"weights": "int4"},
        {"kv": "fp8"},
        {"attention": "naive"},
        {"kv_cache": False},
        {"weights": "int8", "kv": "int8"},
    ]
)


def plan_of(model: str, gpu: str, tp: int = 1, pp: int = 1, **precision: Any) -> Deployment:
    device = load_gpu(gpu)
    return Deployment(load_model(model), device, precision_for(device, **precision), tp=tp, pp=pp)


def at(model: str, gpu: str, work: Workload, **more: Any) -> Any:
    sizes = {"prompt": work.prompt, "output": work.output, "batch": work.batch}
    return estimate(model, gpu, must_fit=False, tp=more.pop("tp", 1), **sizes, **more)


@LAWS
@given(models, gpus, works, forms)
def test_bound_low_expected_high(model: str, gpu: str, work: Workload, form: dict[str, Any]) -> None:
    answer = at(model, gpu, work, **form)
    for figure in (answer.ttft_s, answer.tpot_s, answer.e2e_s):
        assert 0 < figure.bound <= figure.low <= figure.expected <= figure.high
    for figure in (answer.tokens_per_s, answer.tokens_per_s_per_user):
        assert 0 < figure.low <= figure.expected <= figure.high <= figure.bound
    for time in (answer.latency.ttft, answer.latency.tpot):
        parts = time.compute + time.bandwidth + time.link + time.overhead
        assert parts == pytest.approx(time.expected, rel=1e-9)


@LAWS
@given(models, gpus, works, st.sampled_from(["memory_bandwidth", "peak_flops"]), st.floats(1, 8))
def test_a_faster_device_is_never_slower(model: str, gpu: str, work: Workload, figure: str, factor: float) -> None:
    device = load_gpu(gpu)
    old = getattr(device, figure)
    new = {k: v * factor for k, v in old.items()} if isinstance(old, dict) else old * factor
    slow = at(model, device, work)
    fast = at(model, device.model_copy(update={figure: new}), work)
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        for end in ("bound", "expected", "high"):
            assert getattr(getattr(fast, name), end) <= getattr(getattr(slow, name), end) * (1 + 1e-12)


@LAWS
@given(models, gpus, works, st.sampled_from(["prompt", "output", "batch"]), st.integers(1, 5_000))
def test_more_work_is_never_faster(model: str, gpu: str, work: Workload, axis: str, more: int) -> None:
    larger = Workload(**{n: getattr(work, n) + (more if n == axis else 0) for n in ("prompt", "output", "batch")})
    a, b = at(model, gpu, work), at(model, gpu, larger)
    assert b.latency.e2e.expected >= a.latency.e2e.expected
    assert b.latency.tpot.expected >= a.latency.tpot.expected * (1 - 1e-12)
    assert b.memory.used >= a.memory.used
    if axis != "output":
        assert b.latency.ttft.expected > a.latency.ttft.expected
        assert b.prefill.flops > a.prefill.flops
        assert b.prefill.bytes > a.prefill.bytes


@LAWS
@given(models, gpus, st.integers(1, 200), st.integers(1, 8_000))
def test_decode_throughput_never_falls_with_the_batch(model: str, gpu: str, batch: int, prompt: int) -> None:
    a, b = (at(model, gpu, Workload(prompt, 64, n)).latency.tpot for n in (batch, batch + 1))
    assert (batch + 1) / b.expected >= batch / a.expected * (1 - 1e-12)


@LAWS
@given(models, st.integers(1, 64), st.integers(1, 3_000), st.integers(0, 3_000), st.integers(2, 5))
def test_counts_are_linear_in_layers(model: str, batch: int, tokens: int, context: int, times: int) -> None:
    plan = plan_of(model, "h100")
    block = plan.model.blocks[0]

    def counted(layers: int) -> Any:
        deeper = plan.model.model_copy(update={"blocks": (block.model_copy(update={"repeat": layers}),)})
        whole = Deployment(deeper, plan.gpu, plan.precision)
        return totals(forward(whole, Batch.prefill(batch, tokens, context)))

    one, two, many = (counted(n) for n in (1, 2, 1 + times))
    for name in ("flops", "matmul_flops", "weight_bytes", "kv_read_bytes", "kv_write_bytes", "activation_bytes"):
        step = getattr(two, name) - getattr(one, name)
        assert getattr(many, name) == getattr(one, name) + times * step, name


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("tp", [1, 2, 4, 8])
def test_tensor_parallelism_splits_the_matmuls_exactly(model: str, tp: int) -> None:
    device = load_gpu("h100")
    if (tp, 1) not in splits(load_model(model), device, tp):
        return
    whole, part = (plan_of(model, "h100", tp=n) for n in (1, tp))
    mixer = whole.model.blocks[0].mixer
    for batch in (Batch.prefill(3, 200), Batch.decode(5, 700)):
        a, b = (totals(forward(plan, batch)) for plan in (whole, part))
        copies = max(tp // mixer.kv_heads, 1)
        extra = (copies - 1) * 2 * 2 * batch.tokens * whole.model.hidden_size * mixer.kv_heads * mixer.head_size
        padded = (-whole.model.vocabulary % tp) * 2 * batch.head_rows * whole.model.hidden_size
        assert tp * b.matmul_flops == a.matmul_flops + extra * whole.model.layers + padded
        assert tp * b.kv_write_bytes == copies * a.kv_write_bytes


@pytest.mark.parametrize("pp", [1, 2, 3, 7, 80])
def test_pipeline_stages_hold_the_whole(pp: int) -> None:
    plan = plan_of("llama3-70b", "h100", pp=pp)
    parts = [plan.model.weight_bytes(plan.precision, 1, blocks, ends) for blocks, ends in plan.stages()]
    assert sum(sum(part.values()) for part in parts) == sum(plan.model.weight_bytes(plan.precision).values())
    assert sum(block.repeat for blocks, _ in plan.stages() for block in blocks) == 80


@pytest.mark.parametrize("operation", SENT_BYTES)
def test_nothing_is_sent_by_one_device(operation: str) -> None:
    assert sent_bytes(operation, 10**9, 1) == 0
    assert sent_bytes(operation, 10**9, 2) > 0
    plan = plan_of("llama3-8b", "h100")
    assert not [op for op in forward(plan, Batch.prefill(1, 8)) if op.kind == "collective"]


@LAWS
@given(models, gpus, works)
def test_fewer_bits_never_raise_the_bound(model: str, gpu: str, work: Workload) -> None:
    full, half, quarter = (at(model, gpu, work, **bits) for bits in ({}, {"weights": "int8"}, {"weights": "int4"}))
    for name in ("ttft_s", "tpot_s"):
        assert getattr(quarter, name).bound <= getattr(half, name).bound <= getattr(full, name).bound
    assert quarter.memory.weights < half.memory.weights < full.memory.weights
    assert 2 * at(model, gpu, work, kv="fp8").memory.kv_cache == full.memory.kv_cache


@settings(max_examples=25, deadline=None)
@given(models, gpus, st.integers(1, 9_000), st.integers(1, 400), st.integers(1, 64), st.booleans())
@example("llama3-8b", "tpu-v5e", 1, 189, 4, False)  # a second tile of queries from context 128 on
@example("qwen2.5-0.5b", "tpu-v5e", 94, 56, 17, False)
@example("llama3-70b", "tpu-v5e", 1, 5, 60, False)  # few steps, far from each other
def test_mean_time_per_token_equals_the_sum_of_every_step(
    model: str, gpu: str, prompt: int, output: int, batch: int, cache: bool
) -> None:
    device = load_gpu(gpu)
    plan = Deployment(load_model(model), device, precision_for(device), cache=cache)
    work = Workload(prompt, output, batch)
    steps = [decode_time(plan, work, prompt + i) for i in range(max(output - 1, 1))]
    mean = mean_decode_time(plan, work)
    for name in ("bound", "expected"):
        exact = sum(getattr(step, name) for step in steps) / len(steps)
        assert getattr(mean, name) == pytest.approx(exact, rel=1e-3)


@LAWS
@given(models, st.sampled_from(["h100", "l40s", "rtx-4090", "mi300x"]), works)
def test_room_is_tight(model: str, gpu: str, work: Workload) -> None:
    plan = plan_of(model, gpu)
    most, longest = most_sequences(plan, work), longest_context(plan, work)
    for n, size in (
        (most, lambda n: Workload(work.prompt, work.output, n)),
        (longest, lambda n: Workload(n, 0, work.batch)),
    ):
        if n:
            assert memory(plan, size(n)).fits
        if n < UNLIMITED:  # windows, unlike a whole cache, hold a context of any length
            assert not memory(plan, size(n + 1)).fits


@pytest.mark.parametrize(
    ("model", "gpu"), [("llama3-70b", "h100"), ("llama3-70b", "l40s"), ("qwen2.5-32b", "rtx-4090")]
)
@pytest.mark.parametrize("batch", [1, 40, 200])
def test_the_fewest_gpus_are_the_fewest(model: str, gpu: str, batch: int) -> None:
    plan, work = plan_of(model, gpu), Workload(2048, 512, batch)
    found = fewest_gpus(plan, work)
    if found:
        assert memory(found, work).fits
    for fewer in range(1, found.gpu_count if found else most_devices(plan.model, plan.gpu) + 1):
        for tp, pp in splits(plan.model, plan.gpu, fewer):
            assert not memory(plan.split(tp, pp), work).fits


@LAWS
@given(models, gpus, works)
def test_generation_without_a_cache_costs_more(model: str, gpu: str, work: Workload) -> None:
    cached, recomputed = (at(model, gpu, work, kv_cache=kept) for kept in (True, False))
    assert recomputed.decode.flops >= cached.decode.flops
    assert recomputed.latency.tpot.bound >= cached.latency.tpot.bound * (1 - 1e-9) or work.prompt < 256
    assert recomputed.memory.kv_cache == 0


def test_more_devices_are_faster_until_talk_eats_it() -> None:
    times = [latency(plan_of("llama3-70b", "h100", tp=tp), Workload(2048, 256, 4)).e2e.expected for tp in (1, 2, 4, 8)]
    assert times == sorted(times, reverse=True)
    bounds = [latency(plan_of("llama3-70b", "h100", tp=tp), Workload(2048, 256, 4)).e2e.bound for tp in (1, 8)]
    assert bounds[0] / 8 <= bounds[1] <= bounds[0] / 6


@pytest.mark.parametrize("cache", [True, False])
def test_a_single_step_is_itself(cache: bool) -> None:
    device = load_gpu("a100")
    plan = Deployment(load_model("llama3-8b"), device, precision_for(device), cache=cache)
    for output in (1, 2):
        work = Workload(1, output, 35)
        mean, only = mean_decode_time(plan, work), decode_time(plan, work, 1)
        assert mean.bound == pytest.approx(only.bound, rel=1e-12)
        assert mean.expected == pytest.approx(only.expected, rel=1e-12)


def test_without_a_cache_none_is_written() -> None:
    answer = estimate("llama3-8b", "h100", kv_cache=False)
    assert answer.prefill.kv_write_bytes == answer.decode.kv_write_bytes == answer.decode.kv_read_bytes == 0
    assert "no KV cache" in answer.assumptions[1]
