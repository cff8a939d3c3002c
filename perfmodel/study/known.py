"""Values that no case of a sweep could have: told before anything is computed, so that a typo is no row.

What a device or a model lacks is another matter: those cases stay in the table, with their reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from perfmodel.asking import price_asked
from perfmodel.assumptions import skew_checked
from perfmodel.cache.formats import cache_format
from perfmodel.cache.policy import cache_policy
from perfmodel.catalog import load_gpu, load_model
from perfmodel.deployment import rows_fused
from perfmodel.exempt import recipe
from perfmodel.gpu import GPU
from perfmodel.layers.sampling import sampling_of
from perfmodel.levers import attention_named, engine_on, limited, sharing
from perfmodel.lora import lora_of
from perfmodel.model import Model
from perfmodel.placement import schedule
from perfmodel.precision import number_format
from perfmodel.scaling import sizes_of
from perfmodel.speculation.drafts import method_named
from perfmodel.study.axes import NUMBERS, Axis
from perfmodel.workload import Workload, whole_number

COUNTS = ("gpu_count", "tp", "pp", "dp", "ep", "cp", "replicas", "denoising_steps", "block_length")
LARGE = 10**15
"""A prompt that every prefix is shorter than."""


def check(axis: Axis, models: list[Model], gpus: list[GPU]) -> None:
    """Nothing where each value of `axis` could be answered for some model and device; else PerfModelError."""
    if axis.drawn is not None:
        values: tuple[Any, ...] = (axis.drawn.low, axis.drawn.high)
        values = tuple(int(value) for value in values) if axis.drawn.whole else values
    else:
        values = axis.values
    if axis.name in NUMBERS:
        whole_number(list(values), f"--{axis.name}")
        return
    checked = _checks(gpus[0]).get(axis.name)
    for value in values:
        if checked is not None and value is not None:
            checked(value)


def _checks(gpu: GPU) -> dict[str, Callable[[Any], object]]:
    """Keyword → what raises for a value that is none of it, whatever the model."""
    engine = engine_on(gpu, "vllm", None)
    one, sharers = Workload(LARGE, 1, 1), ("prefix", "prefix_hit", "samples", "beams")

    def shares(name: str) -> Callable[[Any], object]:
        usual = {"prefix": 0, "hit": 1.0, "samples": 1, "beams": 1}
        own = {"prefix_hit": "hit"}.get(name, name)
        return lambda value: sharing(one, **(usual | {own: value}))

    def schedules(name: str) -> Callable[[Any], object]:
        usual: dict[str, Any] = {"microbatches": None, "interleave": 1, "overlap": 0.0, "exchange": "auto"}
        return lambda value: schedule(**(usual | {name: value}), balanced=False)

    limits = ("kv_block", "max_num_seqs", "max_num_batched_tokens")

    def limit(name: str) -> Callable[[Any], object]:
        return lambda value: limited(engine, gpu, *(value if own == name else None for own in limits))

    return {
        **{name: _counted(name) for name in COUNTS},
        **{name: shares(name) for name in sharers},
        **{name: schedules(name) for name in ("microbatches", "interleave", "overlap", "exchange")},
        **{name: limit(name) for name in limits},
        "weights": lambda value: number_format(recipe(value, None)[0] or "", "--weights"),
        "draft_weights": lambda value: number_format(value, "--draft-weights"),
        "activations": lambda value: number_format(value, "--activations"),
        "kv": lambda value: cache_format(value, "--kv"),
        "attention": attention_named,
        "engine": lambda value: engine_on(gpu, value, None),
        "memory_share": lambda value: engine_on(gpu, "vllm", value),
        "price": lambda value: price_asked(gpu, value),
        "routing_skew": skew_checked,
        "lora": lora_of,
        "sampling": sampling_of,
        "kv_policy": cache_policy,
        "dequantize": rows_fused,
        "prune": lambda value: sizes_of(value) if isinstance(value, str) else value,
        "draft": lambda value: load_model(value) if isinstance(value, str) else value,
        "speculate": method_named,
    }


def _counted(name: str) -> Callable[[Any], object]:
    return lambda value: whole_number(value, f"--{name.replace('_', '-')}", 10**6)


def specs(axis: Axis, assumed: tuple[Any, ...]) -> list[Any]:
    """The models or devices of an axis; UnknownNameError or SpecError where one is none."""
    load = load_gpu if axis.name == "gpu" else None
    found = []
    for value in axis.values:
        if not isinstance(value, str):
            found.append(value)
        elif load is not None:
            found.append(load(value))
        else:
            found += [load_model(value, assume) for assume in assumed]
    return found
