"""What memory holds: parameters, weights, KV cache, activations and reserve, each with its equation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from perfmodel.answer import Estimate
from perfmodel.cache.held import cache_bytes, paged_tokens
from perfmodel.deployment import Deployment
from perfmodel.explain.lettered import lettered, lettered_model
from perfmodel.explain.text import line
from perfmodel.memory import memory
from perfmodel.model import Model
from perfmodel.traced import Traced, value_of
from perfmodel.units import show_bytes, show_count
from perfmodel.workload import Workload


def held_lines(answer: Estimate) -> list[str]:
    """The section on memory."""
    return [*parameter_lines(answer), "", *cache_lines(answer), "", *device_lines(answer)]


def lettered_work(work: Workload) -> Workload:
    """The workload in letters."""
    named = {
        "prompt": Traced(work.prompt, "T_in"),
        "output": Traced(work.output, "T_out"),
        "batch": Traced(work.batch, "B"),
    }
    return replace(work, **cast(dict[str, int], named))


def parameter_lines(answer: Estimate) -> list[str]:
    """Parameters by tensor; they are the model's, however it is split."""
    sizes = lettered_model(answer.plan.model).parameters()
    total = answer.plan.model.total_parameters
    lines = [line(name, size, show_count(value_of(size))) for name, size in sizes.items() if value_of(size)]
    tied = [line("lm_head", 0, "none of its own: it is the embedding")] if not value_of(sizes["lm_head"]) else []
    return ["Parameters, by tensor:", *lines, *tied, line("total", total, f"{total:,} ({show_count(total)})")]


def cache_lines(answer: Estimate) -> list[str]:
    """KV cache of a token, of a sequence, and of all sequences, over the whole deployment."""
    if not answer.plan.cache:
        return ["KV cache: none is kept; every step computes keys and values of the whole sequence again."]
    named = lettered(answer.plan)
    work = lettered_work(answer.work)
    model, p = lettered_model(answer.plan.model), named.precision
    if value_of(model.kv_bytes(0, p)):
        return _state_lines(model, named, work)
    token = model.kv_bytes(1, p)
    sequence = model.kv_bytes(paged_tokens(named, work.length), p)
    total = work.batch * sequence
    if answer.plan.cache_policy is not None or answer.work.shares:  # less than as many whole sequences
        total = cache_bytes(replace(named.whole(), model=model), work, model.blocks)[0]
    return [
        "KV cache, of all layers and KV heads:",
        line("a token", token, _bytes(token), "Ainslie et al. 2023, §2.2"),
        line("a sequence", sequence, _bytes(sequence), "Kwon et al. 2023, §4.1"),
        line("all sequences", total, _bytes(total)),
    ]


def _state_lines(model: Model, named: Deployment, work: Workload) -> list[str]:
    """The same of a model whose layers, or some of them, keep a state that does not grow."""
    p = named.precision
    growing = tuple(block for block in model.blocks if not value_of(block.kv_bytes(0, p)))
    state = sum(block.repeat * block.kv_bytes(0, p) for block in model.blocks if block not in growing)
    lines = [
        "State and cache, of all layers:",
        line("a sequence's state", state, _bytes(state), "the same at every length"),
    ]
    if token := model.kv_bytes(1, p, stage=growing) if growing else 0:
        lines.append(line("cache of a token", token, _bytes(token), "Ainslie et al. 2023, §2.2"))
    kept = work.batch * model.kv_bytes(paged_tokens(named, work.length), p)
    return [*lines, line("all sequences", kept, _bytes(kept))]


def device_lines(answer: Estimate) -> list[str]:
    """What one device must hold, by the very function that decides whether it fits."""
    plan = answer.plan
    held = memory(lettered(plan), lettered_work(answer.work))
    where = "On the GPU:" if plan.gpu_count == 1 else f"On the fullest of the {plan.gpu_count} GPUs:"
    verdict = "it fits" if held.fits else "it does not fit"
    parts = {f"weights, {name}": size for name, size in held.weights_by.items() if value_of(size)}
    parts |= {"KV cache": held.kv_cache, "activations": held.activations, "reserve": held.reserve}
    sources = {"reserve": plan.engine.source.split(":")[0]}
    lines = [line(name, size, _bytes(size), sources.get(name, "")) for name, size in parts.items() if value_of(size)]
    used, capacity = show_bytes(value_of(held.used)), show_bytes(value_of(held.capacity))
    return [where, *lines, line("in all", None, f"{used} of {capacity}: {verdict}")]


def _bytes(size: Any) -> str:
    value = value_of(size)
    return (
        f"{show_bytes(value)} ({value:,} B)" if isinstance(value, int) and 1000 <= value < 10**7 else show_bytes(value)
    )
