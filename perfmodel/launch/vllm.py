"""A deployment as `vllm serve`."""

from __future__ import annotations

from typing import Any

from perfmodel.deployment import Deployment
from perfmodel.launch.asked import Asked
from perfmodel.launch.checkpoint import hub_id, loaded
from perfmodel.launch.flags import numbers
from perfmodel.launch.nodes import Nodes
from perfmodel.launch.sheet import HEAD, HERE, Command, Sheet, blank, titled
from perfmodel.launch.words import cache_dtype, dtype, lacking, of_copies
from perfmodel.precision import STREAMS

PORT, RPC_PORT, NIXL_PORT = 8000, 13345, 5600
"""The server's default; ports of vLLM's own examples (docs/serving/data_parallel_deployment.md, NixlConnector)."""
NIXL = (0, 11)
"""From which of the checked versions on docs/features/nixl_connector_usage.md describes the connector."""
# perfmodel's cache format → (--kv-cache-dtype, from which version on): CacheDType in vllm/config/cache.py
CACHE = {
    "fp8": ("fp8", ()),
    "int8": ("int8_per_token_head", (0, 24)),
    "int4": ("int4_per_token_head", (0, 33)),
    "nvfp4": ("nvfp4", (0, 33)),
}
EXCHANGES = {"deepep": "deepep_low_latency"}
"""How tokens reach experts → --all2all-backend (All2AllBackend in vllm/config/parallel.py)."""
# perfmodel's method → (method of --speculative-config, since, until): SpeculativeMethod in vllm/config/speculative.py;
# versions 0.11 and 0.12 raise "Draft model speculative decoding is not supported yet"
METHODS: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]] = {
    "draft": ("draft_model", (0, 16), ()),
    "eagle": ("eagle", (), ()),
    "eagle2": ("eagle", (), ()),
    "eagle3": ("eagle3", (0, 11), ()),
    "medusa": ("medusa", (), (0, 33)),
    "mtp": ("mtp", (0, 11), ()),
    "ngram": ("ngram", (), ()),
}
LOOKUP = 4
"""Longest n-gram that is looked up (prompt_lookup_max), which vLLM requires; its own example has 4 and 5."""


def commands(plan: Deployment, asked: Asked, role: str = "") -> tuple[list[Command], Sheet]:
    """One command a host of a copy, and what was noted; `role` is "prefill" or "decode" where they are apart."""
    first = _sheet(plan, asked, role, 0)
    if asked.nodes.count > 1 and first.value("--distributed-executor-backend"):
        return _on_ray(first, asked.nodes), first  # a cluster of Ray has one server
    sheets = [first, *(_sheet(plan, asked, role, rank) for rank in range(1, asked.nodes.count))]
    return [sheet.command(titled(role, rank, len(sheets))) for rank, sheet in enumerate(sheets)], first


def _sheet(plan: Deployment, asked: Asked, role: str, rank: int) -> Sheet:
    sheet = Sheet("vllm", asked.version)
    name = loaded(plan, sheet, asked.checkpoint)
    sheet.words[0] += (name,)
    sheet.add("--host", "0.0.0.0")
    sheet.add("--port", asked.port)
    sheet.add("--dtype", dtype(plan))
    sheet.add("--max-model-len", asked.context)
    _split(sheet, plan, asked, rank)
    _memory(sheet, plan)
    _speculation(sheet, plan)
    _others(sheet, plan, asked)
    if role:
        _apart(sheet, role)
    return sheet


def _split(sheet: Sheet, plan: Deployment, asked: Asked, rank: int) -> None:
    of_copies(sheet, plan)
    if plan.tp > 1:
        sheet.add("--tensor-parallel-size", plan.tp)
    if plan.pp > 1:
        sheet.add("--pipeline-parallel-size", plan.pp)
    if plan.cp > 1:
        sheet.lack(
            f"--cp {plan.cp}: vLLM's prefill context parallelism is under development, and shares other work than "
            "was modelled (docs/serving/context_parallel_deployment.md)"
        )
    if plan.dp > 1 and plan.model.has_experts:
        sheet.add("--data-parallel-size", plan.dp)
        sheet.note("--max-num-seqs and --max-num-batched-tokens hold for each of the data-parallel groups")
    if plan.ep > 1:
        sheet.add("--enable-expert-parallel")
        if plan.ep != plan.tp * plan.dp:
            sheet.lack(f"--ep {plan.ep}: vLLM spreads experts over all tp × dp = {plan.tp * plan.dp} devices or none")
        if plan.exchanged in EXCHANGES:
            sheet.add("--all2all-backend", EXCHANGES[plan.exchanged])
            sheet.note("deepep_low_latency suits decoding, deepep_high_throughput long prompts; DeepEP comes apart")
        if plan.balanced:
            sheet.add("--enable-eplb")
    _hosts(sheet, plan, asked.nodes, rank)


def _hosts(sheet: Sheet, plan: Deployment, nodes: Nodes, rank: int) -> None:
    if nodes.count == 1:
        return
    head, one = blank(HEAD), plan.tp * plan.pp
    if plan.dp > 1 and plan.model.has_experts:
        if one > nodes.devices:
            sheet.lack(f"data-parallel groups of {one} devices on hosts of {nodes.devices}: start them with Ray")
            return
        local = nodes.devices // one
        sheet.add("--data-parallel-size-local", local)
        if rank:
            sheet.add("--data-parallel-start-rank", rank * local)
        sheet.add("--data-parallel-address", head)
        sheet.add("--data-parallel-rpc-port", RPC_PORT)
    elif sheet.has("--nnodes"):
        sheet.add("--nnodes", nodes.count)
        sheet.add("--node-rank", rank)
        sheet.add("--master-addr", head)
    else:
        sheet.add("--distributed-executor-backend", "ray")
        return
    if rank:
        sheet.add("--headless")


def _on_ray(first: Sheet, nodes: Nodes) -> list[Command]:
    """Ray's own commands on every host, and the server's on the first."""
    starts = [
        Command("host 0: its part of a Ray cluster", (("ray", "start"), ("--head",), ("--port=6379",))),
        Command(
            f"hosts 1 to {nodes.count - 1}: theirs",
            (("ray", "start"), (f"--address={blank(HEAD)}:6379",)),
        ),
    ]
    return [*starts, first.command("host 0, once all have joined")]


def _memory(sheet: Sheet, plan: Deployment) -> None:
    engine = plan.engine
    sheet.add("--gpu-memory-utilization", engine.memory_share)
    if engine.sequences_limit:
        sheet.add("--max-num-seqs", engine.sequences_limit)
    sheet.add("--max-num-batched-tokens", engine.token_budget)
    if "block" in engine.asked:
        sheet.add("--block-size", engine.block)
    kind = cache_dtype(sheet, plan, CACHE)
    if kind:
        sheet.add("--kv-cache-dtype", kind)
        if kind == "fp8":
            sheet.note(
                "--kv-cache-dtype fp8 scales keys and values by 1 unless the checkpoint brings calibrated scales; "
                "check answers for quality (docs/features/quantization/quantized_kvcache.md)"
            )


def _speculation(sheet: Sheet, plan: Deployment) -> None:
    told = plan.speculation
    if told is None:
        return
    method, since, until = METHODS.get(told.method, ("", (), ()))
    at = numbers(sheet.version)
    if not method or at < since or (until and at >= until):
        sheet.lack(f"--speculate {told.method}, which vLLM {sheet.version} does not have")
        return
    config: dict[str, Any] = {"method": method, "num_speculative_tokens": told.guesses}
    if told.method == "ngram":
        config["prompt_lookup_max"] = LOOKUP
    elif told.method == "draft" and told.draft is not None:
        config["model"] = hub_id(told.draft) or blank(f"weights of {told.draft.name}")
        if told.precision is not None and told.precision.weights.name not in STREAMS:
            sheet.note(f"the draft was modelled in {told.precision.weights.name}: name such a checkpoint as its model")
    elif told.method != "mtp":
        config["model"] = blank(f"{told.method} head for {plan.model.name}")
    if told.tp is not None and told.method == "draft":
        config["draft_tensor_parallel_size"] = told.tp
    if told.nodes is not None:
        sheet.lack(f"--draft-tree {told.nodes}: vLLM {sheet.version} guesses a chain of {told.guesses} tokens")
    sheet.add("--speculative-config", config)


def _others(sheet: Sheet, plan: Deployment, asked: Asked) -> None:
    if asked.prefix:
        sheet.add("--enable-prefix-caching")
    if plan.lora is not None:
        sheet.add("--enable-lora")
        sheet.add("--max-loras", plan.lora.adapters)
        sheet.add("--max-lora-rank", plan.lora.rank)
        sheet.note("name the adapters with --lora-modules NAME=PATH, one for each")
    if plan.offload.weights:
        sheet.add("--cpu-offload-gb", round(asked.offloaded / 2**30, 2))
    if plan.offload.kv:
        sheet.lack("--offload-kv: vLLM's offloading keeps cache of requests that wait, not of those that run")
    lacking(sheet, plan)


def _apart(sheet: Sheet, role: str) -> None:
    kind = {"prefill": "kv_producer", "decode": "kv_consumer"}[role]
    if numbers(sheet.version) < NIXL:
        sheet.lack(f"prefill and decode apart: vLLM {sheet.version} has no NixlConnector")
        return
    sheet.add("--kv-transfer-config", {"kv_connector": "NixlConnector", "kv_role": kind})
    sheet.env.append(("VLLM_NIXL_SIDE_CHANNEL_HOST", blank(HERE)))
    sheet.env.append(("VLLM_NIXL_SIDE_CHANNEL_PORT", str(NIXL_PORT + (100 if role == "decode" else 0))))
