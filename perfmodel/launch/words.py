"""What a deployment says that every engine has a word for, or none has."""

from __future__ import annotations

from collections.abc import Mapping

from perfmodel.deployment import Deployment
from perfmodel.launch.flags import numbers
from perfmodel.launch.sheet import Sheet

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
"""perfmodel's formats of activations between kernels → torch's names, which vLLM, SGLang and TensorRT-LLM take."""


def dtype(plan: Deployment) -> str:
    """torch's name of what activations between kernels are kept in."""
    return DTYPES[plan.precision.stream.name]


def cache_dtype(sheet: Sheet, plan: Deployment, names: Mapping[str, tuple[str, tuple[int, ...]]]) -> str | None:
    """The engine's name of the cache's format; None where it is that of the activations, which needs no flag.

    `names` is perfmodel's format → (the engine's, the version it came with).
    """
    kv = plan.precision.kv.name
    if kv == plan.precision.stream.name:
        return None
    name, since = names.get(kv, ("", ()))
    if not name or numbers(sheet.version) < since:
        sheet.lack(f"--kv {kv}: {sheet.tool} {sheet.version} stores its cache in no such format")
        return None
    return name


def of_copies(sheet: Sheet, plan: Deployment) -> None:
    """Says that copies which share nothing are servers of their own."""
    if plan.copies > 1:
        sheet.note(f"this starts one of {plan.copies} copies; a load balancer spreads requests over them")


def lacking(sheet: Sheet, plan: Deployment) -> None:
    """What was modelled and no flag of any engine here does."""
    told = {
        "--no-kv-cache": not plan.cache,
        f"--attention {plan.attention}": plan.attention != "flash",
        f"--kv-policy {plan.cache_policy}": plan.cache_policy is not None,
        f"--interleave {plan.interleave}": plan.interleave > 1,
        f"--microbatches {plan.microbatches}": plan.microbatches is not None,
        f"--overlap {plan.overlap:g}": plan.overlap > 0,
        "--offload-to nvme": plan.offload.streams and plan.offload.to == "nvme",
        "--dequantize": plan.precision.fused is not None,
    }
    for use, given in told.items():
        if given:
            sheet.lack(f"{use}: no flag of {sheet.tool} does this")
    if plan.model.bidirectional:
        sheet.lack(f"{plan.model.name} writes by denoising, which {sheet.tool}'s server may not do")
    if plan.shared_prefix_attention:
        sheet.note("cascade attention is the engine's own choice; nothing here turns it on")
    if plan.precision.weights.name not in DTYPES and plan.precision.others:
        sheet.note("formats of single layers are the checkpoint's")
