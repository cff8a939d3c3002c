"""A deployment as llama.cpp's `llama-server`."""

from __future__ import annotations

from perfmodel.deployment import Deployment
from perfmodel.launch.asked import Asked
from perfmodel.launch.sheet import Command, Sheet, blank
from perfmodel.launch.words import lacking, of_copies
from perfmodel.precision import STREAMS

PORT = 8080
"""What llama.cpp's own container examples publish; the built-in default changed (8080, later 9931)."""
ALL_LAYERS = 999
"""More layers than any model has: all of them on the devices."""
# perfmodel's cache format → --cache-type-k and -v: their "allowed values" in common/arg.cpp
CACHE = {"bf16": "bf16", "fp16": "f16", "fp32": "f32"} | {
    name: name for name in ("q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
}
TYPES = {"draft": "draft-simple", "eagle3": "draft-eagle3", "mtp": "draft-mtp", "ngram": "ngram-simple"}
"""perfmodel's method → --spec-type."""
LOGICAL = 2048
"""Default of --batch-size, which may not be less than --ubatch-size."""


def commands(plan: Deployment, asked: Asked, role: str = "") -> tuple[list[Command], Sheet]:
    """The one command of a copy."""
    sheet, engine = Sheet("llama.cpp", asked.version), plan.engine
    sheet.weights = asked.checkpoint or _file(sheet, plan)
    sheet.add("--model", sheet.weights)
    sheet.add("--alias", plan.model.name)
    sheet.add("--host", "0.0.0.0")
    sheet.add("--port", asked.port)
    of_copies(sheet, plan)
    slots = engine.sequences_limit or asked.sequences
    sheet.add("--parallel", slots)
    sheet.add("--ctx-size", slots * asked.context)
    sheet.note(f"--ctx-size is for all {slots} slots of --parallel together: {asked.context:,} tokens each")
    sheet.add("--n-gpu-layers", ALL_LAYERS)
    sheet.add("--flash-attn", "on" if plan.attention == "flash" else "off")
    if engine.token_budget > LOGICAL:
        sheet.add("--batch-size", engine.token_budget)
    sheet.add("--ubatch-size", engine.token_budget)
    _split(sheet, plan, asked)
    kind = CACHE.get(plan.precision.kv.name)
    if kind is None:
        sheet.lack(f"--kv {plan.precision.kv.name}: llama.cpp stores its cache in no such format")
    elif kind != "f16":
        sheet.add("--cache-type-k", kind)
        sheet.add("--cache-type-v", kind)
    _speculation(sheet, plan)
    if plan.lora is not None:
        sheet.note("name the adapters with --lora FILE, one for each")
    if plan.offload.streams:
        sheet.lack("--offload-weights and --offload-kv: llama.cpp computes on the host what it keeps there")
    if role:
        sheet.lack("prefill and decode apart: llama.cpp has no such servers")
    lacking(sheet, plan)
    return [sheet.command()], sheet


def _file(sheet: Sheet, plan: Deployment) -> str:
    stored = plan.precision.weights.name
    named = {"bf16": "BF16", "fp16": "F16", "fp32": "F32"}.get(stored, stored.upper())
    if stored in STREAMS or plan.precision.weights.note.startswith("GGUF"):
        sheet.note(f"llama.cpp loads GGUF files: name one of {plan.model.name} in {named} with --checkpoint")
    else:
        sheet.lack(f"--weights {stored}: GGUF files have no such format; q8_0 and q4_k_m are near")
    return blank(f"GGUF file of {plan.model.name} in {named}")


def _split(sheet: Sheet, plan: Deployment, asked: Asked) -> None:
    if plan.tp > 1 and plan.pp > 1:
        sheet.lack(f"--tp {plan.tp} --pp {plan.pp}: llama.cpp splits in one way at a time")
    elif plan.tp > 1:
        sheet.add("--split-mode", "tensor")
        sheet.note("--split-mode tensor is experimental in llama.cpp")
    elif plan.pp > 1:
        sheet.add("--split-mode", "layer")
    if plan.ep > 1 or plan.cp > 1 or (plan.dp > 1 and plan.model.has_experts):
        sheet.lack(f"--dp {plan.dp} --ep {plan.ep} --cp {plan.cp}: llama.cpp has no such parallelism")
    if asked.nodes.count > 1:
        sheet.lack(f"{asked.nodes.count} hosts: llama.cpp's server runs on one (its RPC back end apart)")


def _speculation(sheet: Sheet, plan: Deployment) -> None:
    told = plan.speculation
    if told is None:
        return
    kind = TYPES.get(told.method)
    if kind is None or told.nodes is not None:
        sheet.lack(f"--speculate {told.method}{' with a tree' * bool(told.nodes)}, which llama.cpp does not have")
        return
    sheet.add("--spec-type", kind)
    if told.method == "ngram":
        sheet.add("--spec-ngram-simple-size-m", told.guesses)
        return
    if told.method == "draft" and told.draft is not None:
        sheet.add("--spec-draft-model", blank(f"GGUF file of {told.draft.name}"))
    elif told.method == "eagle3":
        sheet.add("--spec-draft-model", blank(f"GGUF file of an eagle3 head for {plan.model.name}"))
    sheet.add("--spec-draft-n-max", told.guesses)
