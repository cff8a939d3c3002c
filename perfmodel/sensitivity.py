"""Which input moves an answer most: each one less and more of it, all others as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from perfmodel.answer import Estimate
from perfmodel.gpu import GPU
from perfmodel.latency import latency
from perfmodel.memory import memory

SHARE = 0.2
"""Part by which each input is made less and more."""


class Swing(NamedTuple):
    """An input, and the answers with less and with more of it; `low` and `high` are the inputs themselves in words."""

    input: str
    low: str
    high: str
    less: Estimate
    more: Estimate


def sensitivity(answer: Estimate, share: float = SHARE) -> list[Swing]:
    """The answers with each input (bandwidth, FLOP/s, link, price, batch, prompt, output) less and more by `share`.

    Sizes are rounded to whole numbers; an input that cannot differ (a batch of one, a link that no GPU uses) is left
    out. What the devices' constants are fitted to stays: a share of a peak is one of the changed peak too.
    """
    return [*_of_the_device(answer, share), *_of_the_workload(answer, share)]


def _of_the_device(answer: Estimate, share: float) -> Iterator[Swing]:
    gpu = answer.plan.gpu
    told = (f"−{share:.0%}".replace("%", " %"), f"+{share:.0%}".replace("%", " %"))
    scaled = {"memory bandwidth": with_bandwidth, "FLOP/s": with_peaks}
    if answer.plan.joined > 1:
        scaled["links between GPUs"] = with_links
    for name, of in scaled.items():
        less, more = (_on(answer, of(gpu, 1 + by)) for by in (-share, share))
        yield Swing(name, *told, less, more)
    if answer.price_per_hour:
        less, more = (replace(answer, price_per_hour=answer.price_per_hour * (1 + by)) for by in (-share, share))
        yield Swing("price", *told, less, more)


def _of_the_workload(answer: Estimate, share: float) -> Iterator[Swing]:
    work = answer.work
    for name, unit in (("batch", "sequences"), ("prompt", "tokens"), ("output", "tokens")):
        size = getattr(work, name)
        low, high = max(round(size * (1 - share)), 1), round(size * (1 + share))
        if name == "prompt":
            low = max(low, work.images * work.image_tokens + 1, answer.plan.cp)
        if low < size < high:
            less, more = (_of(answer, {name: n}) for n in (low, high))
            yield Swing(name, f"{low:,} {unit}", f"{high:,} {unit}", less, more)


def _on(answer: Estimate, gpu: GPU) -> Estimate:
    plan = replace(answer.plan, gpu=gpu)
    return replace(answer, plan=plan, latency=latency(plan, answer.work))


def _of(answer: Estimate, sizes: dict[str, int]) -> Estimate:
    work = replace(answer.work, **sizes)
    return replace(answer, work=work, memory=memory(answer.plan, work), latency=latency(answer.plan, work))


def with_bandwidth(gpu: GPU, factor: float) -> GPU:
    """`gpu` with `factor` times its memory bandwidth."""
    return gpu.model_copy(update={"memory_bandwidth": gpu.memory_bandwidth * factor})


def with_peaks(gpu: GPU, factor: float) -> GPU:
    """`gpu` with `factor` times its FLOP/s, in every format."""
    return gpu.model_copy(update={"peak_flops": {name: peak * factor for name, peak in gpu.peak_flops.items()}})


def with_links(gpu: GPU, factor: float) -> GPU:
    """`gpu` with `factor` times the bandwidth of its links to other GPUs."""

    def faster(link: object) -> object:
        return link.model_copy(update={"bandwidth": link.bandwidth * factor})  # type: ignore[attr-defined]

    out = gpu.scale_out and faster(gpu.scale_out)
    return gpu.model_copy(update={"scale_up": tuple(faster(link) for link in gpu.scale_up), "scale_out": out})
