"""Peak device memory as a benchmark reads it off the driver: what an engine really took, not what it set aside.

The constants rest on TensorRT-LLM 0.9 with A100, H100, H200 and L40S (Llama 2 and Mistral, batches of 1 and 64). Of
engines that take their whole share of memory at start the driver tells that share, which is no figure of a workload.
"""

from __future__ import annotations

from dataclasses import replace

from perfmodel.arithmetic import Number
from perfmodel.deployment import Deployment
from perfmodel.gpu import GPU
from perfmodel.memory import memory
from perfmodel.workload import Workload

CONTEXT, CONTEXT_HOPPER, WORKSPACE_FP8 = 0.6e9, 0.9e9, 0.3e9
"""Bytes of the CUDA context with its kernels; on Hopper and later; and of its FP8 products' workspaces there."""
TOGETHER, TOGETHER_SWITCHED = 0.55e9, 1.0e9
"""Bytes of collective buffers for each device of a tensor-parallel group, on each of them; on NVLink 4 and later."""
SPREAD = 1.05
"""Factor up and down that holds 80 % of measured peaks."""


def peak_bytes(plan: Deployment, work: Workload) -> Number:
    """Weights, the cache of the whole workload, the largest pass's tensors, context and collective buffers.

    Beside a layer's own tensors its input and the residual stream are alive: 2·D elements a token.
    """
    engine = replace(plan.engine, block=1, token_budget=1 << 40)
    held = memory(replace(plan, engine=engine), work)
    stream = 2 * work.batch * work.prompt * plan.model.hidden_size * plan.precision.stream.bytes
    together = together_bytes(plan.gpu) * plan.tp if plan.tp > 1 else 0
    return held.weights + held.kv_cache + held.activations + stream + context_bytes(plan) + together


def context_bytes(plan: Deployment) -> float:
    """What a device's context takes before any tensor."""
    if not _switched(plan.gpu):
        return CONTEXT
    return CONTEXT_HOPPER + (WORKSPACE_FP8 if plan.precision.compute == "fp8" else 0)


def together_bytes(gpu: GPU) -> float:
    """Collective buffers of one device for one member of its group."""
    return TOGETHER_SWITCHED if _switched(gpu) else TOGETHER


def _switched(gpu: GPU) -> bool:
    """Whether it is of the generations whose switches reduce (NVLink 4 and later: Hopper, Blackwell)."""
    return gpu.architecture in ("Hopper", "Blackwell", "Blackwell Ultra")
