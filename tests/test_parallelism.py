"""Data, expert, context and pipeline parallelism, and replicas: what they hold, compute, send and gain."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.answer import estimate
from perfmodel.batch import Batch
from perfmodel.catalog import load_gpu, load_model
from perfmodel.collectives import by_node, sent_bytes
from perfmodel.deployment import Deployment, precision_for, split_error
from perfmodel.errors import RequestError
from perfmodel.forward import forward, stage_passes
from perfmodel.latency import decode_time, latency, prefill_time
from perfmodel.layers.dispatch import destinations
from perfmodel.layers.moe import MixtureOfExperts
from perfmodel.memory import memory
from perfmodel.op import Op, totals
from perfmodel.roofline import bound_s
from perfmodel.workload import Workload

H100, H200 = load_gpu("h100"), load_gpu("h200")


def deployment(model: str, gpu: Any = H200, **split: Any) -> Deployment:
    found = load_model(model)
    return Deployment(found, gpu, precision_for(gpu, declared=found.quantization), **split)


def experts_of(name: str) -> MixtureOfExperts:
    found = next(b.feed_forward for b in load_model(name).blocks if b.has_experts)
    assert isinstance(found, MixtureOfExperts)
    return found


def named(ops: list[Op], name: str) -> list[Op]:
    return [op for op in ops if op.name == name]


# ── what devices hold ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("tp", "dp", "ep"), [(1, 8, 8), (1, 8, 1), (2, 4, 8), (2, 4, 4), (4, 2, 1), (8, 1, 8), (1, 16, 16)]
)
def test_weights_over_devices_are_the_models_and_what_is_repeated(tp: int, dp: int, ep: int) -> None:
    """Experts lie on tp·dp devices once; all else once in each group of tp devices."""
    model = load_model("deepseek-v3")
    p = precision_for(H200, declared=model.quantization)

    def held(**split: int) -> float:
        return sum(model.weight_bytes(p, **split).values())

    group = held(tp=tp)
    experts = sum(b.weight_bytes(model.hidden_size, model.norm, p, tp) for b in model.blocks if b.has_experts)
    without = [
        b.model_copy(update={"feed_forward": b.feed_forward.model_copy(update={"experts": 1, "groups": None})})
        for b in model.blocks
        if b.has_experts and b.feed_forward
    ]
    one = sum(b.weight_bytes(model.hidden_size, model.norm, p, tp) for b in without)
    D, E, each = model.hidden_size, 256, sum(b.repeat for b in without)
    router = each * (D * p.exempt.bytes + p.exempt.bytes)  # of one expert: a row of the router and its bias
    routed = (experts - one - (E - 1) * router) * E / (E - 1)  # what all experts hold on a device of tp
    spread = held(tp=tp, dp=dp, ep=ep)
    assert group - spread == pytest.approx(routed * (1 - 1 / dp), rel=2e-3)


def test_each_group_keeps_its_own_sequences_and_shared_ones_keep_a_part() -> None:
    work = Workload(1000, 24, 64)
    whole = memory(deployment("deepseek-v3", tp=8), work)
    groups = memory(deployment("deepseek-v3", dp=8, ep=8), work)
    # the latent cache is the same on every device of tp, so that groups hold an eighth of it
    assert groups.kv_cache * 8 == whole.kv_cache
    shared = memory(deployment("deepseek-v3", tp=8, cp=4), Workload(1024, 1024, 64))
    assert shared.kv_cache * 4 == memory(deployment("deepseek-v3", tp=8), Workload(1024, 1024, 64)).kv_cache
    assert shared.weights == whole.weights


def test_groups_of_a_dense_model_are_replicas() -> None:
    for work in (Workload(100, 20, 7), Workload(1000, 50, 64)):
        groups, replicas = (deployment("llama3-8b", **{name: 4}) for name in ("dp", "replicas"))
        assert latency(groups, work) == latency(replicas, work)
        assert memory(groups, work) == memory(replicas, work)
        one = deployment("llama3-8b")
        assert latency(replicas, work) == latency(one, replace(work, batch=-(-work.batch // 4)))


def test_replicas_multiply_throughput_devices_and_nothing_else() -> None:
    one = estimate("llama3-8b", "h100", tp=2, batch=8)
    four = estimate("llama3-8b", "h100", tp=2, batch=32, replicas=4)
    assert four.plan.gpu_count == 8
    assert (four.ttft_s, four.tpot_s, four.mfu, four.mbu) == (one.ttft_s, one.tpot_s, one.mfu, one.mbu)
    assert four.tokens_per_s.expected == pytest.approx(4 * one.tokens_per_s.expected)
    assert four.usd_per_million_tokens is not None
    assert one.usd_per_million_tokens is not None
    assert four.usd_per_million_tokens.expected == pytest.approx(one.usd_per_million_tokens.expected)


# ── what they compute ────────────────────────────────────────────────────────────────────────────


@given(st.sampled_from([(1, 2, 1), (2, 2, 1), (2, 4, 1), (1, 8, 1)]), st.integers(1, 64), st.integers(1, 2000))
def test_products_of_all_devices_are_those_of_the_model(split: tuple[int, int, int], each: int, tokens: int) -> None:
    tp, dp, ep = split
    plan = deployment("mixtral-8x7b", tp=tp, dp=dp, ep=ep)
    whole = forward(plan.whole(), Batch.prefill(each * dp, tokens))
    part = forward(plan, Batch.prefill(each, tokens))
    for name in ("q_proj", "scores", "expert_gate", "expert_down", "o_proj"):
        counted = sum(op.flops * op.repeat for op in named(whole, name))
        assert tp * dp * sum(op.flops * op.repeat for op in named(part, name)) == pytest.approx(counted)


@given(st.sampled_from([(8, 1, 8), (2, 4, 8), (1, 8, 8), (1, 8, 4)]), st.integers(1, 4000))
def test_the_busiest_device_has_its_part_of_the_experts_and_what_routing_adds(
    split: tuple[int, int, int], tokens: int
) -> None:
    tp, dp, ep = split
    plan, layer = deployment("deepseek-v3", tp=tp, dp=dp, ep=ep), experts_of("deepseek-v3")
    whole = totals(named(forward(plan.whole(), Batch.prefill(dp, tokens)), "expert_up"))
    part = totals(named(forward(plan, Batch.prefill(1, tokens)), "expert_up"))
    over = layer.busiest(dp * tokens, ep)
    assert part.flops * tp * dp == pytest.approx(whole.flops * over)
    assert part.weight_bytes * tp * dp <= whole.weight_bytes * over * (1 + 1e-9)


@given(st.sampled_from([2, 4, 16]), st.integers(16, 20_000), st.integers(0, 5000), st.booleans())
def test_shared_sequences_conserve_attention(cp: int, tokens: int, context: int, decodes: bool) -> None:
    plan = deployment("llama3-8b")
    batch = Batch.decode(3, context + 1) if decodes else Batch.prefill(3, tokens, context)
    whole, part = forward(plan, batch), forward(replace(plan, cp=cp), batch)
    for name in ("scores", "values"):
        one, shared = totals(named(whole, name)), totals(named(part, name))
        assert shared.flops * cp == pytest.approx(one.flops)
        assert shared.kv_read_bytes * cp == pytest.approx(one.kv_read_bytes)
    written = sum(op.kv_write_bytes * op.repeat for op in part)
    assert written * cp == pytest.approx(sum(op.kv_write_bytes * op.repeat for op in whole))
    # products: each its tokens of a prompt; all of them again on each device of a decode
    repeated = 1 if not decodes else cp
    one, shared = totals(named(whole, "ffn_up")), totals(named(part, "ffn_up"))
    assert shared.flops * cp == pytest.approx(one.flops * repeated)
    assert shared.weight_bytes == one.weight_bytes


def test_zigzag_parts_have_as_many_pairs() -> None:
    """2·cp pieces, of which device i has the i-th and the i-th from the end, by brute force."""
    tokens, cp = 48, 4
    piece = tokens // (2 * cp)
    for i in range(cp):
        mine = [*range(i * piece, (i + 1) * piece), *range(tokens - (i + 1) * piece, tokens - i * piece)]
        assert sum(t + 1 for t in mine) == replace(Batch.prefill(1, tokens), over=cp).pairs()


# ── what they send ───────────────────────────────────────────────────────────────────────────────


def test_tokens_are_sent_once_to_each_device_that_has_an_expert() -> None:
    """DeepSeek-V3 on 8 devices: 8 of 256 experts in 4 of 8 groups lie on 3.4 devices; FP8 there, BF16 back."""
    plan = deployment("deepseek-v3", dp=8, ep=8, exchange="deepep")
    ops = forward(plan, Batch.decode(32, 1000))
    (there,), (back,) = named(ops, "experts_dispatch"), named(ops, "experts_combine")
    devices = destinations(experts_of("deepseek-v3").parts(8))
    assert 3 < devices < 4
    sent = sent_bytes("dispatch", there.wire_bytes, there.ranks)
    assert sent == pytest.approx(32 * devices * 7 / 8 * 7168 * plan.precision.activations.bytes)
    assert back.wire_bytes / there.wire_bytes == pytest.approx(2 / plan.precision.activations.bytes)


def test_gathered_tokens_of_all_groups_come_back_summed() -> None:
    ops = forward(deployment("deepseek-v3", tp=2, dp=4, ep=8), Batch.decode(32, 1000))
    (there,), (back,) = named(ops, "experts_all_gather"), named(ops, "experts_reduce_scatter")
    assert there.wire_bytes == back.wire_bytes == 4 * 32 * 7168 * 2
    assert (there.ranks, there.span, there.collective) == (4, 8, "all-gather")


@pytest.mark.parametrize("exchange", ["auto", "all-gather", "all-to-all", "deepep"])
def test_nothing_is_sent_where_there_is_one_of_each(exchange: str) -> None:
    plan = deployment("deepseek-v3", exchange=exchange)
    assert not [op for op in forward(plan, Batch.prefill(4, 100)) if op.kind == "collective"]


def test_experts_in_parts_of_one_group_need_no_exchange() -> None:
    """All devices of a group have all tokens: the sum that joins columns joins experts too (vLLM, TensorRT-LLM)."""
    columns, parts = (forward(deployment("deepseek-v3", tp=8, ep=ep), Batch.decode(8, 100)) for ep in (1, 8))
    assert [op for op in columns if op.kind == "collective"] == [op for op in parts if op.kind == "collective"]


def test_sums_over_nodes_go_inside_first() -> None:
    """Two nodes of eight: 1.75 of the tensor inside, and of an eighth of it once over the network."""
    within, between = by_node("all-reduce", 800.0, 16, 8)
    assert sent_bytes("all-reduce", *within) == 1400
    assert sent_bytes("all-reduce", *between) == 100
    op = Op("sum", "collective", collective="all-reduce", wire_bytes=800e6, ranks=16, span=16)
    assert H100.scale_out is not None
    inside = (1 + 1 / 8) * 800e6 / H100.link(8).bandwidth  # type: ignore[union-attr]
    assert bound_s(op, H100) == pytest.approx(max(inside, 100e6 / H100.scale_out.bandwidth))


@given(st.sampled_from(["tp", "dp", "cp"]), st.floats(1.01, 10), st.booleans())
def test_more_bandwidth_is_never_slower(way: str, factor: float, between: bool) -> None:
    links = tuple(link.model_copy(update={"bandwidth": factor * link.bandwidth}) for link in H100.scale_up)
    assert H100.scale_out is not None
    out = H100.scale_out.model_copy(update={"bandwidth": factor * H100.scale_out.bandwidth})
    fast = H100.model_copy(update={"scale_out": out} if between else {"scale_up": links})
    split = {"tp": {"tp": 16}, "dp": {"dp": 16, "ep": 16}, "cp": {"tp": 8, "cp": 4}}[way]
    slow, quick = (
        deployment("mixtral-8x22b" if way != "dp" else "qwen3-235b-a22b", gpu, **split) for gpu in (H100, fast)
    )
    work = Workload(4096, 64, 32)
    for time_of in (prefill_time, lambda plan, work: decode_time(plan, work, 4096)):
        assert time_of(quick, work).bound <= time_of(slow, work).bound
        assert time_of(quick, work).expected <= time_of(slow, work).expected


@given(st.floats(0, 1), st.sampled_from([{"tp": 8}, {"dp": 8, "ep": 8}, {"tp": 4, "pp": 2}]))
def test_overlap_hides_at_most_the_shorter(overlap: float, split: dict[str, int]) -> None:
    plan, work = deployment("deepseek-v3", **split), Workload(2000, 100, 64)
    for time_of in (prefill_time, lambda plan, work: decode_time(plan, work, 2000)):
        bare, hidden, all_of_it = (time_of(replace(plan, overlap=share), work) for share in (0.0, overlap, 1.0))
        assert all_of_it.expected <= hidden.expected <= bare.expected
        assert hidden.bound <= hidden.expected
        assert bare.expected - all_of_it.expected <= bare.link * (1 + 1e-9)
        assert hidden.compute + hidden.bandwidth + hidden.link + hidden.overhead == pytest.approx(hidden.expected)


# ── pipelines ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("pp", "m", "v"), [(4, 1, 1), (4, 4, 1), (4, 8, 1), (4, 8, 2), (4, 16, 4)])
def test_bubbles_are_those_of_the_papers(pp: int, m: int, v: int) -> None:
    """(p − 1)/(v·m) of the time without them (Narayanan et al. 2021, §2.2), stages alike and sends for nothing."""
    model = load_model("llama3-8b")
    gpu = H100.model_copy(
        update={"scale_up": tuple(link.model_copy(update={"bandwidth": 1e20}) for link in H100.scale_up)}
    )
    plan = Deployment(model, gpu, precision_for(gpu), pp=pp, microbatches=m, interleave=v)
    work = Workload(500, 2, 16)
    stages = [
        sum(bound_s(op, gpu) * op.repeat for op in ops)
        for ops in stage_passes(plan, Batch.prefill(work.batch / m, 500))
    ]
    longest, others = max(stages), sum(stages) - max(stages)
    assert prefill_time(plan, work).bound == pytest.approx(m * longest + others / v)
    # the ends carry embedding and LM head; stages between are alike
    assert others / v / (m * longest) == pytest.approx((pp - 1) / (v * m), rel=0.2)


def test_a_decode_keeps_all_stages_busy() -> None:
    """With a micro-batch a stage in flight, a step takes what one takes to pass all stages, and no bubble."""
    work = Workload(1000, 100, 32)
    two, one = deployment("llama3-8b", pp=2), deployment("llama3-8b")
    half = decode_time(one, replace(work, batch=16), 1000)
    # the stage with the LM head is the slower one
    assert half.bound <= decode_time(two, work, 1000).bound <= 1.1 * half.bound
    four = decode_time(replace(two, microbatches=4), work, 1000)
    assert four.bound > decode_time(two, work, 1000).bound  # weights are read four times, twice a stage


# ── questions ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("model", "split", "says"),
    [
        ("deepseek-v3", {"dp": 3, "ep": 3}, "its 256 experts do not divide into 3 parts; it would work without --dp"),
        ("deepseek-v3", {"dp": 4, "ep": 8}, "tp 1 × dp 4 that experts are spread over; --ep 4 would work"),
        ("llama3-8b", {"ep": 2}, "ep 2 is for models with experts; llama3-8b has none"),
        ("llama3-8b", {"cp": 2, "prompt": 1}, "--cp 2 is more devices than a prompt has tokens; --cp 1 at most"),
        ("mamba2-2.7b", {"cp": 2}, "passes a state through it; it would work without --cp"),
        ("deepseek-v3.2", {"cp": 2}, "chooses keys over the whole of it"),
        ("llama3-8b", {"tp": 12}, "tp 12 reaches beyond the node"),
        ("llama3-8b", {"pp": 4, "interleave": 9}, "--interleave 9 needs 36 layers, llama3-8b has 32; --interleave 8"),
        ("llama3-8b", {"gpu_count": 6, "replicas": 4}, "--gpu-count 6 is no multiple of --replicas 4"),
        ("llama3-8b", {"overlap": 2}, "--overlap must be from 0"),
        ("llama3-8b", {"exchange": "alltoall"}, "did you mean all-to-all?"),
        ("llama3-8b", {"microbatches": 0}, "--microbatches must be a whole number"),
        ("llama3-8b", {"dp": 0}, "--dp must be a whole number"),
    ],
)
def test_splits_that_cannot_be_are_one_sentence(model: str, split: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError) as caught:
        estimate(model, "h200", **split)
    assert says in str(caught.value)


def test_a_count_of_gpus_completes_what_groups_leave_open() -> None:
    plan = estimate("deepseek-v3", "h200", gpu_count=16, dp=8, ep=16, must_fit=False).plan
    assert (plan.tp, plan.pp, plan.dp, plan.ep, plan.gpu_count) == (2, 1, 8, 16, 16)


def test_tensor_parallelism_over_nodes_is_answered_with_a_warning() -> None:
    answer = estimate("llama3-70b", "h100", tp=16)
    assert "reaches over nodes of 8" in " ".join(answer.warnings)
    staged = estimate("llama3-70b", "h100", tp=8, pp=2)
    assert split_error(answer.plan.model, load_gpu("rtx-4090"), 16, 1)
    # sums over the network in every layer cost more than one hand-over
    assert staged.latency.tpot.link < answer.latency.tpot.link


def test_levers_that_move_nothing_say_so() -> None:
    told = " ".join(estimate("llama3-8b", "h100", microbatches=4, exchange="deepep", balanced_experts=True).warnings)
    for flag in ("--microbatches", "--exchange deepep", "--balanced-experts"):
        assert f"{flag}" in told


def test_a_sweep_equals_single_answers() -> None:
    from perfmodel.study.asked import sweep

    split: dict[str, Any] = {"dp": 4, "ep": 8, "tp": 2, "routing_skew": 0.5, "overlap": 0.3, "replicas": 2}
    table = sweep("deepseek-v3", "h200", batch=[1, 9, 256], prompt=[500, 3000], output=[20], **split)
    for i, (batch, prompt) in enumerate((b, p) for b in (1, 9, 256) for p in (500, 3000)):
        one = estimate("deepseek-v3", "h200", batch=batch, prompt=prompt, output=20, must_fit=False, **split)
        for name, value in (("ttft_s", one.ttft_s.expected), ("tpot_s", one.tpot_s.expected)):
            assert np.asarray(table.columns[name])[i] == pytest.approx(value)


# ── against measurements ─────────────────────────────────────────────────────────────────────────


def test_a_million_tokens_over_128_devices() -> None:
    """Yang et al. 2024 (Context parallelism for million-token inference, abstract): Llama 3 405B on 16 nodes of eight
    H100, FP8 feed-forwards, in a ring: 77 s, 93 % of linear scaling; a gather hides nothing, a perfect ring all."""
    far = {"tp": 8, "prompt": 1_000_000, "output": 2, "weights": "fp8", "must_fit": False}
    alone, gathered, hidden = (
        estimate("llama3.1-405b", "h100", cp=cp, overlap=overlap, **far).ttft_s.expected
        for cp, overlap in ((1, 0.0), (16, 0.0), (16, 1.0))
    )
    assert gathered == pytest.approx(77, rel=0.2)
    assert alone / (16 * gathered) < 0.93 < alone / (16 * hidden)


def test_micro_batches_of_one_size_pay_on_two_nodes() -> None:
    """Grattafiori et al. 2024 (Llama 3), §6.1: 405B in BF16, TP 8 × PP 2; at the same size of a micro-batch, two of
    them keep both nodes busy: nearly twice the tokens, each as late."""
    asked = {"tp": 8, "pp": 2, "prompt": 512, "output": 512}
    one = estimate("llama3.1-405b", "h100", microbatches=1, batch=8, **asked)
    two = estimate("llama3.1-405b", "h100", microbatches=2, batch=16, **asked)
    assert 1.8 * one.tokens_per_s.expected < two.tokens_per_s.expected < 2.1 * one.tokens_per_s.expected
    assert two.tpot_s.expected == pytest.approx(one.tpot_s.expected, rel=0.05)
