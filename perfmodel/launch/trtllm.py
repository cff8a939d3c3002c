"""A deployment as `trtllm-serve`, with the YAML file that it reads."""

from __future__ import annotations

from collections.abc import Sequence

from perfmodel.deployment import Deployment
from perfmodel.launch.asked import Asked
from perfmodel.launch.checkpoint import hub_id, loaded
from perfmodel.launch.sheet import Command, Sheet, blank, titled, written
from perfmodel.launch.words import cache_dtype, dtype, lacking, of_copies

PORT = 8000
# perfmodel's cache format → (kv_cache_config.dtype, from which version on): docs, features/quantization
CACHE: dict[str, tuple[str, tuple[int, ...]]] = {"fp8": ("fp8", ()), "nvfp4": ("nvfp4", (1, 1))}
# perfmodel's method → decoding_type of speculative_config: from_dict of DecodingBaseConfig in llm_args.py
TYPES = {"draft": "DraftTarget", "eagle3": "Eagle", "mtp": "MTP", "ngram": "NGram"}
LATER = {"draft": "Draft_Target", "eagle3": "Eagle3"}
"""The same from 1.3 on, where they are Literals and `speculative_model` names the draft."""
LOOKUP = 4
"""Longest n-gram that is looked up (max_matching_ngram_size)."""


def commands(plan: Deployment, asked: Asked, role: str = "") -> tuple[list[Command], Sheet]:
    """One command: MPI starts it on every host."""
    sheet = Sheet("trtllm", asked.version)
    sheet.words[0] += (loaded(plan, sheet, asked.checkpoint),)
    sheet.add("--host", "0.0.0.0")
    sheet.add("--port", asked.port)
    _split(sheet, plan)
    sheet.add("--max_seq_len", asked.context)
    _memory(sheet, plan)
    _speculation(sheet, plan)
    _others(sheet, plan)
    if role:
        _apart(sheet, role, asked.context)
    sheet.add("--extra_llm_api_options", f"{role or 'server'}.yaml")
    title = titled(role, 0, 1)
    if asked.nodes.count > 1:
        _on_slurm(sheet, asked)
        title = ", ".join([*([title] if title else []), f"on {asked.nodes.count} hosts"])
    return [sheet.command(title)], sheet


def router(port: int, prefill: Sequence[str], decode: Sequence[str]) -> tuple[Command, dict[str, object]]:
    """What takes requests where prefill and decode are apart, and the file that names the workers."""
    sheet = Sheet("trtllm router", "1.2.1")
    sheet.add("--config_file", "disaggregated.yaml")
    told = {
        "hostname": "0.0.0.0",
        "port": port,
        "backend": "pytorch",
        "context_servers": {"num_instances": len(prefill), "urls": list(prefill)},
        "generation_servers": {"num_instances": len(decode), "urls": list(decode)},
    }
    return sheet.command("the router"), told


def _split(sheet: Sheet, plan: Deployment) -> None:
    """Attention's data-parallel groups are the tensor-parallel ranks: of one device each, or none."""
    of_copies(sheet, plan)
    groups = plan.groups
    if plan.tp * groups > 1:
        sheet.add("--tp_size", plan.tp * groups)
    if plan.pp > 1:
        sheet.add("--pp_size", plan.pp)
    if plan.ep > 1:
        sheet.add("--ep_size", plan.ep)
    if groups > 1:
        sheet.put("enable_attention_dp", True)
        sheet.note("--max_batch_size and --max_num_tokens hold for each of the data-parallel groups")
        if plan.tp > 1:
            sheet.lack(f"--tp {plan.tp} --dp {plan.dp}: groups of TensorRT-LLM's attention have one device each")
    if plan.cp > 1:
        sheet.lack(f"--cp {plan.cp}: TensorRT-LLM's context parallelism shares other work than was modelled")
    if plan.balanced:
        sheet.lack("--balanced-experts: TensorRT-LLM wants a file of expert loads (moe_config.load_balancer)")


def _memory(sheet: Sheet, plan: Deployment) -> None:
    engine = plan.engine
    if engine.sequences_limit:
        sheet.add("--max_batch_size", engine.sequences_limit)
    sheet.add("--max_num_tokens", engine.token_budget)
    sheet.add("--kv_cache_free_gpu_memory_fraction", engine.memory_share)
    sheet.note(
        "--kv_cache_free_gpu_memory_fraction is a share of what weights and buffers leave free; perfmodel's memory "
        "share is one of the whole device, and leaves the cache a little less"
    )
    sheet.put("dtype", dtype(plan))
    sheet.put("enable_chunked_prefill", True)
    if "block" in engine.asked:
        sheet.put("kv_cache_config.tokens_per_block", engine.block)
    kind = cache_dtype(sheet, plan, CACHE)
    if kind:
        sheet.put("kv_cache_config.dtype", kind)
        if kind == "nvfp4":
            sheet.note("an NVFP4 cache needs a checkpoint that Model Optimizer quantized for it")


def _speculation(sheet: Sheet, plan: Deployment) -> None:
    told = plan.speculation
    if told is None:
        return
    later = sheet.has("speculative_config.speculative_model")
    name = (LATER if later else {}).get(told.method) or TYPES.get(told.method)
    if name is None or told.nodes is not None:
        tree = f" --draft-tree {told.nodes}" if told.nodes else ""
        sheet.lack(f"--speculate {told.method}{tree}, which TensorRT-LLM's PyTorch backend does not have")
        return
    sheet.put("speculative_config.decoding_type", name)
    if told.method == "mtp":
        sheet.put("speculative_config.num_nextn_predict_layers", told.guesses)
        return
    sheet.put("speculative_config.max_draft_len", told.guesses)
    if told.method == "ngram":
        sheet.put("speculative_config.max_matching_ngram_size", LOOKUP)
        return
    draft = hub_id(told.draft) if told.method == "draft" and told.draft is not None else None
    what = (
        f"weights of {told.draft.name}"
        if told.method == "draft" and told.draft
        else f"eagle3 head for {plan.model.name}"
    )
    place = "speculative_model" if later else "speculative_model_dir"
    sheet.put(f"speculative_config.{place}", draft or blank(what))


def _others(sheet: Sheet, plan: Deployment) -> None:
    if plan.lora is not None:
        sheet.lack("--lora: TensorRT-LLM's lora_config is not written here; see its documentation of LoRA")
    if plan.offload.weights:
        sheet.lack("--offload-weights: TensorRT-LLM keeps all weights on the device")
    if plan.offload.kv:
        sheet.lack("--offload-kv: TensorRT-LLM's host cache keeps what waits, not what runs")
    lacking(sheet, plan)


def _apart(sheet: Sheet, role: str, context: int) -> None:
    sheet.put("cache_transceiver_config.backend", "UCX")
    sheet.put("cache_transceiver_config.max_tokens_in_buffer", context)
    if role == "prefill":
        sheet.put("disable_overlap_scheduler", True)


def _on_slurm(sheet: Sheet, asked: Asked) -> None:
    """Slurm starts a rank for each device (docs, commands/trtllm-serve: multi-node serving)."""
    ranks = asked.nodes.count * asked.nodes.devices
    sheet.words[0] = (
        *("srun", "-N", written(asked.nodes.count), "--ntasks", written(ranks)),
        *("--ntasks-per-node", written(asked.nodes.devices), "--mpi=pmix"),
        "trtllm-llmapi-launch",
        *sheet.words[0],
    )
    sheet.note("several hosts need MPI: the command is for Slurm, in TensorRT-LLM's container")
