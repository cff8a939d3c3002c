"""What a question says, checked: sizes, engine, price; RequestError in one sentence for what cannot be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from perfmodel.deployment import ATTENTIONS
from perfmodel.engine import FLAVOURS, Engine
from perfmodel.engine import engine as engine_named
from perfmodel.errors import RequestError
from perfmodel.gpu import GPU
from perfmodel.model import Model
from perfmodel.spec import nearest
from perfmodel.workload import BLOCK_LENGTH, Workload, whole_number


def workload_asked(model: Model, prompt: Any, output: Any, batch: Any, steps: Any, block: Any) -> Workload:
    """The workload of sizes as they were given, numbers or arrays."""
    for use, value in (("--denoising-steps", steps), ("--block-length", block)):
        if value is not None and not model.bidirectional:
            raise RequestError(f"{use} is for models that write by denoising, like llada-8b; {model.name} does not.")
    return Workload(
        whole_number(prompt, "--prompt"),
        whole_number(output, "--output"),
        whole_number(batch, "--batch"),
        None if steps is None else whole_number(steps, "--denoising-steps"),
        BLOCK_LENGTH if block is None else whole_number(block, "--block-length"),
    )


def engine_asked(name: str, gpu: GPU, share: float | None) -> Engine:
    """The engine as it runs on `gpu`; "vllm@0.7.3" is that version of it."""
    plain, _, version = name.partition("@")
    if "@" in name and not version[:1].isdigit():
        raise RequestError(f'--engine {name}: a version is a number, as in "{plain}@0.7.3".')
    found = engine_named(plain, version, FLAVOURS.get(gpu.vendor, ""))
    if share is None:
        return found
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise RequestError(f"--memory-share must be above 0 and at most 1, like 0.9; got {share!r}.")
    return replace(found, memory_share=share)


def attention_asked(name: str) -> str:
    """One of `ATTENTIONS`."""
    if name not in ATTENTIONS:
        guess = nearest(str(name), ATTENTIONS) or "flash"
        raise RequestError(f'--attention must be flash or naive; got "{name}" (did you mean {guess}?).')
    return name


def price_asked(gpu: GPU, price: float | None) -> float | None:
    """USD of a device and hour, as given or on file; None where neither is."""
    if price is None:
        return gpu.price.per_hour if gpu.price else None
    if isinstance(price, bool) or not isinstance(price, (int, float)) or not 0 <= price < 1e9:
        raise RequestError(f"--price must be USD per device and hour, like 2.5; got {price!r}.")
    return price
