"""The page of an estimate, also of one that says no."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from perfmodel.achieved import achieved
from perfmodel.answer import Estimate, Range
from perfmodel.errors import RequestError
from perfmodel.placement import too_big
from perfmodel.remedies import ways_out
from perfmodel.report.curves import over_batch, over_context, swings
from perfmodel.report.deployment import assumptions, memory_bar, sources, spent, time_by_op, weights_by_component
from perfmodel.report.figure import Card, Figure, Page
from perfmodel.report.rooflines import roofline
from perfmodel.report.sliders import what_if
from perfmodel.report.words import capital, many
from perfmodel.units import show_bytes, show_rate, show_seconds


def estimate_page(answer: Estimate, command: str = "") -> Page:
    """The page; RequestError of sizes that are arrays, which have a table."""
    first = first_screen(answer)
    parts: dict[str, Any] = {
        "what_if": what_if(answer),
        "figures": _figures(answer) if answer.fits else [memory_bar({"this deployment": answer})],
        "tables": [weights_by_component(answer), sources(answer.plan)],
        "lists": [assumptions(answer.assumptions)],
    }
    return replace(first, command=command, **parts)


def first_screen(answer: Estimate) -> Page:
    """The answer in words and four numbers, and nothing else yet."""
    if hasattr(answer.fits, "shape"):
        raise RequestError("A page is of one batch, prompt and output; of arrays there are to_table() and sweep.")
    return _yes(answer) if answer.fits else _no(answer)


def title(answer: Estimate) -> str:
    """Model and devices."""
    plan = answer.plan
    return f"{plan.model.title} on {plan.gpu_count} × {plan.gpu.title}"


def _yes(answer: Estimate) -> Page:
    warnings = [capital(line) for line in answer.warnings]
    return Page(title(answer), _headline(answer), _cards(answer), basis(answer), "Fits", True, warnings)


def _figures(answer: Estimate) -> list[Figure]:
    phases = {phase: achieved(answer, phase) for phase in ("prefill", "decode")}
    denoises = answer.plan.model.bidirectional
    names = (
        {"prefill": "a whole pass", "decode": "a further pass"}
        if denoises
        else {"prefill": "the prefill", "decode": "a decode step"}
    )
    times = {
        "first block" if denoises else "time to first token": answer.latency.ttft,
        "time per token": answer.latency.tpot,
    }
    return [
        memory_bar({"this answer": answer}),
        roofline(answer, phases),
        spent(times),
        time_by_op(phases, names),
        over_batch(answer),
        over_context(answer),
        swings(answer),
    ]


def workload(answer: Estimate) -> str:
    """What is asked of it, in words."""
    work = answer.work
    return f"{many(int(work.sequences), 'sequence')} at once, {work.prompt:,} tokens in and {work.output:,} out"


def _headline(answer: Estimate) -> str:
    load, plan = workload(answer), answer.plan
    first = "first block" if plan.model.bidirectional else "first token"
    told = (
        f"With {load}, a user sees the {first} after {show_seconds(answer.ttft_s.expected)} and then "
        f"{show_rate(answer.tokens_per_s_per_user.expected)} tokens a second"
    )
    all_users = (
        f"; all of them together get {show_rate(answer.tokens_per_s.expected)}" if answer.work.sequences > 1 else ""
    )
    room = answer.room[0]
    users = f" There is room for {room:,} such sequences." if plan.cache and room < 2**20 else ""
    return f"{told}{all_users}.{users}"


def _cards(answer: Estimate) -> list[Card]:
    first = "First block" if answer.plan.model.bidirectional else "Time to first token"
    found = [_timed(first, answer.ttft_s), _timed("Time per token", answer.tpot_s)]
    rates = answer.tokens_per_s
    found.append(
        Card(
            "Tokens/s in all",
            show_rate(rates.expected),
            f"80 %: {show_rate(rates.low)} – {show_rate(rates.high)}; bound {show_rate(rates.bound)}",
        )
    )
    cost, held = answer.usd_per_million_tokens, answer.memory
    if cost is not None:
        note = f"at {answer.price_per_hour:g} a GPU-hour; 80 %: {show_rate(cost.low)} – {show_rate(cost.high)}"
        found.append(Card("Cost of a million tokens out", f"{show_rate(cost.expected)} USD", note))
    else:
        found.append(
            Card("Memory of a GPU", show_bytes(held.used, 3), f"of {show_bytes(held.capacity, 3)}; no price is on file")
        )
    return found


def _timed(label: str, found: Range) -> Card:
    ends = f"80 %: {show_seconds(found.low)} – {show_seconds(found.high)}; bound {show_seconds(found.bound)}"
    return Card(label, show_seconds(found.expected), ends)


def basis(answer: Estimate) -> str:
    """What the times rest on, in the answer's own words."""
    lines = [line for line in answer.assumptions if line.startswith("expected error")]
    chosen = capital(answer.assumptions[0])
    return (
        f"{chosen}. {capital(lines[0])}. The bound is what physics allows at datasheet peaks."
        if lines
        else f"{chosen}."
    )


# ── the answer is no ─────────────────────────────────────────────────────────────────────────────


def _no(answer: Estimate) -> Page:
    held = answer.memory
    cards = [
        Card("Needed a GPU", show_bytes(held.used), "counted, for the fullest GPU"),
        Card("A GPU has", show_bytes(held.capacity), "as the driver reports it"),
        Card("Too much", show_bytes(-held.free), "weights, cache, activations and the engine's reserve"),
        Card("Largest batch", f"{answer.room[0]:,}", "that fits at this length; 0 where not even one does"),
    ]
    return Page(
        title(answer),
        f"{too_big(answer.plan, held).rstrip('.')}.",
        cards,
        f"Asked for: {workload(answer)}.",
        "Does not fit",
        False,
        remedies(ways_out(answer.plan, answer.work)),
        "What would work",
    )


def remedies(found: Sequence[str]) -> list[str]:
    """What would work, in sentences."""
    return [f"{capital(remedy)}." for remedy in found] or ["Nothing that was tried makes it fit."]


def refusal_page(asked: str, refusal: str, found: Sequence[str], command: str = "") -> Page:
    """The page of a question whose answer is no before there is any deployment: no number of devices holds it."""
    return Page(
        asked,
        f"{refusal.rstrip('.')}.",
        [],
        verdict="Does not fit",
        good=False,
        notices=remedies(found),
        notices_title="What would work",
        command=command,
    )
