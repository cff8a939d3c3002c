"""What a question says, checked: sizes and price; RequestError in one sentence for what cannot be."""

from __future__ import annotations

from typing import Any

from perfmodel.errors import RequestError
from perfmodel.gpu import GPU
from perfmodel.model import Model
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


def price_asked(gpu: GPU, price: float | None) -> float | None:
    """USD of a device and hour, as given or on file; None where neither is."""
    if price is None:
        return gpu.price.per_hour if gpu.price else None
    if isinstance(price, bool) or not isinstance(price, (int, float)) or not 0 <= price < 1e9:
        raise RequestError(f"--price must be USD per device and hour, like 2.5; got {price!r}.")
    return price
