"""What would make a deployment fit: each remedy tried, each with its number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from perfmodel.deployment import Deployment, precision_for
from perfmodel.errors import RequestError
from perfmodel.memory import fewest_gpus, longest_context, memory, most_sequences
from perfmodel.units import show_bytes
from perfmodel.workload import Workload


def ways_out(plan: Deployment, work: Workload) -> tuple[str, ...]:
    """Every remedy for a deployment that does not fit, in words."""
    return tuple(_remedies(plan, work))


def _remedies(plan: Deployment, work: Workload) -> Iterator[str]:
    """Single changes to `plan` or `work` after which it fits, and where none is enough, the fewest GPUs."""
    if most := most_sequences(plan, work):
        yield f"--batch {most} is the largest that fits at this length"
    others = work.output + work.images * work.image_tokens
    if (longest := longest_context(plan, work)) > others:
        yield f"--prompt {longest - others} is the longest that fits at this batch"
    if plan.speculation is not None and memory(plan.plain(), work).fits:
        yield "without speculation it fits"
    yield from _fewer_bits(plan, work)
    enough = fewest_gpus(plan, work)
    if enough and enough.gpu_count > plan.gpu_count:
        split = f"--tp {enough.tp}" + (f" --pp {enough.pp}" if enough.pp > 1 else "")
        yield f"{split} ({enough.gpu_count} GPUs) holds it, {show_bytes(memory(enough, work).used)} on each"


def _fewer_bits(plan: Deployment, work: Workload) -> Iterator[str]:
    """KV cache, then weights, in ever fewer bits until it fits."""
    p, declared = plan.precision, plan.model.quantization
    # None keeps what the checkpoint declares
    stored = None if declared and declared.weights == p.weights.name else p.weights.name
    for kv, weights in ((8, 16), (16, 8), (16, 4), (8, 4)):
        flags = {"--kv": "fp8"} if kv < p.kv.bits else {}
        if weights < p.weights.bits:
            flags["--weights"] = {8: "fp8" if "fp8" in plan.gpu.peak_flops else "int8", 4: "int4"}[weights]
        if not flags:
            continue
        try:
            asked = flags.get("--weights", stored), flags.get("--kv", p.kv.name)
            smaller = precision_for(plan.gpu, *asked, declared=declared)
        except RequestError:
            continue
        held = memory(replace(plan, precision=smaller), work)
        if held.fits:
            named = " ".join(f"{flag} {name}" for flag, name in flags.items())
            yield f"{named} needs {show_bytes(held.used)} a GPU"
            return
