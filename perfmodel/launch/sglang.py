"""A deployment as SGLang's server."""

from __future__ import annotations

from perfmodel.deployment import Deployment
from perfmodel.launch.asked import Asked
from perfmodel.launch.checkpoint import hub_id, loaded
from perfmodel.launch.flags import numbers
from perfmodel.launch.nodes import Nodes
from perfmodel.launch.sheet import HEAD, Command, Sheet, blank, titled
from perfmodel.launch.words import cache_dtype, dtype, lacking, of_copies

PORT, DIST_PORT = 30000, 5000
"""The server's default; the port of SGLang's own examples of several hosts (docs, pd_disaggregation)."""
# perfmodel's cache format → (--kv-cache-dtype, from which version on): its choices in server_args.py
CACHE: dict[str, tuple[str, tuple[int, ...]]] = {
    "fp8": ("fp8_e4m3", ()),
    "mxfp8": ("mxfp8", (0, 5, 23)),
    "nvfp4": ("nvfp4", (0, 5, 23)),
}
# perfmodel's method → (--speculative-algorithm, from which version on): its choices in server_args.py, and the page on
# speculative decoding, where the heads of the model itself run as EAGLE
ALGORITHMS: dict[str, tuple[str, tuple[int, ...]]] = {
    "draft": ("STANDALONE", (0, 5, 5)),
    "eagle": ("EAGLE", ()),
    "eagle2": ("EAGLE", ()),
    "eagle3": ("EAGLE3", ()),
    "mtp": ("EAGLE", (0, 5, 5)),
    "ngram": ("NGRAM", (0, 5, 5)),
}
TOPK = 4
"""Branches of a tree at each level where a tree is asked for; SGLang's examples of EAGLE-2 have 4 or 8."""


def commands(plan: Deployment, asked: Asked, role: str = "") -> tuple[list[Command], Sheet]:
    """One command a host of a copy, and what was noted."""
    sheets = [_sheet(plan, asked, role, rank) for rank in range(asked.nodes.count)]
    return [sheet.command(titled(role, rank, len(sheets))) for rank, sheet in enumerate(sheets)], sheets[0]


def router(prefill: list[str], decode: list[str], port: int) -> Command:
    """What takes requests where prefill and decode are apart: addresses of the workers."""
    sheet = Sheet("sglang router", "0.5.5")
    sheet.add("--pd-disaggregation")
    for address in prefill:
        sheet.add("--prefill", address)
    for address in decode:
        sheet.add("--decode", address)
    sheet.add("--host", "0.0.0.0")
    sheet.add("--port", port)
    return sheet.command("the router")


def _sheet(plan: Deployment, asked: Asked, role: str, rank: int) -> Sheet:
    sheet = Sheet("sglang", asked.version)
    sheet.add("--model-path", loaded(plan, sheet, asked.checkpoint))
    sheet.add("--host", "0.0.0.0")
    sheet.add("--port", asked.port)
    sheet.add("--dtype", dtype(plan))
    sheet.add("--context-length", asked.context)
    _split(sheet, plan, asked.nodes, rank)
    _memory(sheet, plan)
    _speculation(sheet, plan)
    if plan.lora is not None:
        sheet.add("--enable-lora")
        sheet.add("--max-loras-per-batch", plan.lora.adapters)
        sheet.add("--max-lora-rank", plan.lora.rank)
        sheet.note("name the adapters with --lora-paths NAME=PATH …")
    if plan.offload.weights:
        sheet.add("--cpu-offload-gb", max(round(asked.offloaded / 1e9), 1))
    if plan.offload.kv:
        sheet.lack("--offload-kv: SGLang's hierarchical cache keeps what waits, not what runs")
    lacking(sheet, plan)
    if role:
        sheet.add("--disaggregation-mode", role)
        sheet.add("--disaggregation-transfer-backend", "nixl")
    return sheet


def _split(sheet: Sheet, plan: Deployment, nodes: Nodes, rank: int) -> None:
    """Attention's data-parallel groups lie inside SGLang's tensor-parallel group: --tp-size counts tp × dp."""
    of_copies(sheet, plan)
    groups = plan.groups
    if plan.tp * groups > 1:
        sheet.add("--tp-size", plan.tp * groups)
    if plan.pp > 1:
        sheet.add("--pp-size", plan.pp)
    if groups > 1:
        if sheet.has("--attn-dp-size"):
            sheet.add("--attn-dp-size", groups)
        else:
            sheet.add("--dp-size", groups)
            sheet.add("--enable-dp-attention")
        sheet.note("dense feed-forward layers are shared by all devices, where attention has groups of its own")
    if plan.cp > 1:
        sheet.lack(f"--cp {plan.cp}: SGLang's context parallelism lies inside its tensor parallelism")
    if plan.ep > 1:
        sheet.add("--ep-size", plan.ep)
        if sheet.has("--enable-ep-moe"):
            sheet.add("--enable-ep-moe")
        if plan.exchanged == "deepep":
            sheet.add("--moe-a2a-backend", "deepep")
            if plan.ep != plan.tp * groups:
                sheet.lack(f"--ep {plan.ep}: with DeepEP, SGLang spreads experts over all {plan.tp * groups} devices")
        if plan.balanced:
            sheet.add("--enable-eplb")
    if nodes.count > 1:
        sheet.add("--nnodes", nodes.count)
        sheet.add("--node-rank", rank)
        sheet.add("--dist-init-addr", f"{blank(HEAD)}:{DIST_PORT}")


def _memory(sheet: Sheet, plan: Deployment) -> None:
    """Limits of a group are SGLang's over all groups: it divides chunk and requests by their number."""
    engine, groups = plan.engine, plan.groups
    sheet.add("--mem-fraction-static", engine.memory_share)
    if engine.sequences_limit:
        sheet.add("--max-running-requests", engine.sequences_limit * groups)
    sheet.add("--chunked-prefill-size", engine.token_budget * groups)
    if engine.policy == "mixed":
        sheet.add("--enable-mixed-chunk")
    if "block" in engine.asked:
        sheet.add("--page-size", engine.block)
    kind = cache_dtype(sheet, plan, CACHE)
    if kind:
        sheet.add("--kv-cache-dtype", kind)
        if kind == "fp8_e4m3":
            sheet.note(
                "--kv-cache-dtype fp8_e4m3 scales keys and values by 1 unless the checkpoint or "
                "--quantization-param-path brings scales"
            )


def _speculation(sheet: Sheet, plan: Deployment) -> None:
    told = plan.speculation
    if told is None:
        return
    name, since = ALGORITHMS.get(told.method, ("", ()))
    if not name or numbers(sheet.version) < since:
        sheet.lack(f"--speculate {told.method}, which SGLang {sheet.version} does not have")
        return
    sheet.add("--speculative-algorithm", name)
    if told.method == "draft" and told.draft is not None:
        draft = hub_id(told.draft) or blank(f"weights of {told.draft.name}")
        sheet.add("--speculative-draft-model-path", draft)
    elif told.method.startswith("eagle"):
        sheet.add("--speculative-draft-model-path", blank(f"{told.method} head for {plan.model.name}"))
    if told.method == "ngram":
        sheet.add("--speculative-num-draft-tokens", told.verified)
        return
    sheet.add("--speculative-num-steps", told.guesses)
    sheet.add("--speculative-eagle-topk", TOPK if told.nodes else 1)
    sheet.add("--speculative-num-draft-tokens", told.verified)
    if told.nodes:
        sheet.note(
            f"--speculative-eagle-topk {TOPK} shapes the tree of {told.nodes} tokens; SGLang tunes it by benchmark"
        )
