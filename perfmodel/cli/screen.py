"""How answers look in a terminal. Formats numbers, computes none."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable
from typing import Any

from perfmodel.answer import Estimate, Range
from perfmodel.contract import op_rows
from perfmodel.latency import LEGS, Time
from perfmodel.memory import UNLIMITED
from perfmodel.model import Model
from perfmodel.op import Totals
from perfmodel.roofline import ridge
from perfmodel.speculation.speedup import MOST_SEQUENCES, Gain
from perfmodel.table import Table
from perfmodel.units import (
    show_bytes,
    show_count,
    show_flops,
    show_rate,
    show_seconds,
)


def width() -> int:
    """Columns to write in: the terminal's, within what reads well; 100 when piped."""
    return max(60, min(shutil.get_terminal_size((100, 24)).columns, 110))


def bold(text: str) -> str:
    """`text` in bold on a terminal that takes it; NO_COLOR (no-color.org) and pipes get it plain."""
    styled = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\033[1m{text}\033[0m" if styled else text


def wrapped(label: str, text: str) -> str:
    """`text` behind a label of twelve columns, folded to the width."""
    return textwrap.fill(text, width(), initial_indent=f"{label:<12}", subsequent_indent=" " * 12)


# ── estimate ─────────────────────────────────────────────────────────────────────────────────────


def estimate_screen(answer: Estimate) -> str:
    """The whole answer on one screen."""
    plan, work = answer.plan, answer.work
    title = f"{plan.model.title} on {plan.gpu_count} × {plan.gpu.title}"
    load = f"{work.sequences:,} sequence{'s' * (work.sequences > 1)} at once, "
    load += f"of {work.batch:,} prompt{'s' * (work.batch > 1)}, " if work.width > 1 else ""
    load += f"{work.prompt:,} tokens in, {work.output:,} out"
    parts = [
        bold(title),
        wrapped("Model", size(plan.model)),
        wrapped("Deployment", answer.assumptions[0]),
        wrapped("Workload", load),
        _memory_lines(answer),
        "",
        _times(answer),
        "",
        _phase_line("Prefill", answer, answer.prefill, answer.latency.ttft, f"MFU {answer.mfu:.0%}"),
        _phase_line("Decode", answer, answer.decode, answer.latency.tpot, f"MBU {answer.mbu:.0%}"),
        *(wrapped("Speculation", _gain(gain)) for gain in (answer.gain,) if gain),
        wrapped("Cost", _cost(answer)),
        "",
        *(wrapped("Assumes" if i == 0 else "", f"- {line}") for i, line in enumerate(answer.assumptions[1:])),
        *(wrapped("Warning", line) for line in answer.warnings),
    ]
    return "\n".join(parts)


def size(model: Model) -> str:
    total, active = model.total_parameters, model.active_parameters
    used = f", {show_count(active)} of them for a token," if active != total else ""
    return f"{show_count(total)} parameters{used} in {model.layers} layers"


def _memory_lines(answer: Estimate) -> str:
    held = answer.memory
    named = (
        ("weights", held.weights),
        ("KV cache", held.kv_cache),
        ("activations", held.activations),
        ("reserve", held.reserve),
        ("free", held.free),
    )
    text = f"{show_bytes(held.capacity)} a GPU: " + ", ".join(f"{name} {show_bytes(size)}" for name, size in named)
    text += f"; {show_bytes(held.offloaded)} elsewhere" if held.offloaded else ""
    return "\n".join(
        (wrapped("Memory", text), wrapped("", _bar(held.used / held.capacity)), wrapped("Room", _room(answer)))
    )


def _bar(share: float, cells: int = 40) -> str:
    full = min(cells, round(share * cells))
    return f"{'█' * full}{'░' * (cells - full)} {share:.0%} used"


def _room(answer: Estimate) -> str:
    if not answer.plan.cache:
        return "no KV cache, so nothing grows with the sequences"
    sequences, context = answer.room
    users = "sequence" if answer.work.batch == 1 else "sequences"
    limit = answer.plan.model.extended_context or answer.plan.model.max_context
    if context >= UNLIMITED:
        return f"{sequences:,} sequences, whatever their length (the model takes {limit:,} tokens)"
    beyond = f" (the model takes {limit:,})" if context > limit else ""
    if answer.work.width > 1:
        each, n = f"{answer.work.width:,} sequences", answer.work.batch
        return f"{sequences:,} prompts of {each}, or {n:,} prompt{'s' * (n > 1)} of {context:,} tokens"
    return (
        f"{sequences:,} sequences of {answer.work.length:,} tokens, or {answer.work.batch:,} {users} of "
        f"{context:,}{beyond}"
    )


def _times(answer: Estimate) -> str:
    denoises = answer.plan.model.bidirectional
    rows: list[tuple[str, Range, Any, str]] = [
        ("First block" if denoises else "TTFT", answer.ttft_s, show_seconds, spent(answer.latency.ttft)),
        ("Time per token (TPOT)", answer.tpot_s, show_seconds, spent(answer.latency.tpot)),
        ("End to end", answer.e2e_s, show_seconds, ""),
        ("Tokens/s per user", answer.tokens_per_s_per_user, show_rate, ""),
        ("Tokens/s in all", answer.tokens_per_s, show_rate, ""),
    ]
    columns = {
        "": [name for name, *_ in rows],
        "expected": [text(r.expected) for _, r, text, _ in rows],
        "80 % interval": [f"{text(r.low)} – {text(r.high)}" for _, r, text, _ in rows],
        "bound": [text(r.bound) for _, r, text, _ in rows],
        "spent on": [spent for *_, spent in rows],
    }
    return narrowed(columns, ("spent on", "bound"))


def narrowed(columns: dict[str, list[Any]], spare: tuple[str, ...]) -> str:
    """A table as text, without the spare columns (the first named go first) that do not fit the width."""
    for name in ("", *spare):
        columns.pop(name, None) if name else None
        text = Table(columns).to_text()
        if max(map(len, text.splitlines())) <= width():
            break
    return text


def spent(time: Time) -> str:
    """The legs of an expected time that matter, the largest first."""
    shares = sorted(((getattr(time, leg) / time.expected, leg) for leg in LEGS), reverse=True)
    return ", ".join(f"{leg} {share:.0%}" for share, leg in shares if share >= 0.05)


def _phase_line(name: str, answer: Estimate, counted: Totals, time: Time, used: str) -> str:
    knee = ridge(answer.plan.gpu, answer.plan.precision.compute)
    step = "" if name == "Prefill" else " in the first step"
    if answer.plan.model.bidirectional:
        name, step = ("Whole pass", "") if name == "Prefill" else ("Next pass", "")
    return wrapped(
        name,
        f"{show_flops(counted.flops)} and {show_bytes(counted.bytes)}{step}, "
        f"{counted.arithmetic_intensity:.4g} FLOP/byte (ridge {knee:.0f}), bound by {time.bound_by}, {used}",
    )


def _gain(gain: Gain) -> str:
    """What guessing ahead brings, and where it ends."""
    s = gain.guessed
    guessed = f"a tree of {s.nodes} tokens" if s.nodes else f"{s.guesses} draft token{'s' * (s.guesses > 1)}"
    factor = f"{gain.speedup:.3g} × faster" if gain.speedup >= 1 else f"{1 / gain.speedup:.3g} × slower"
    end = f"stops paying at batch {gain.stops_at:,}" if gain.stops_at else f"pays at every batch to {MOST_SEQUENCES:,}"
    end = "pays at no batch" if gain.stops_at == 1 else end
    needs = "no acceptance is enough" if gain.needs is None else f"pays from acceptance {gain.needs:.2f}"
    return (
        f"{guessed} a pass, guessed in {show_seconds(gain.draft_s)} of a step of {show_seconds(gain.step_s)}; "
        f"{gain.tokens_a_pass:.3g} tokens a pass, {factor}; best {gain.best_guesses} ahead; {end}; {needs}"
    )


def _cost(answer: Estimate) -> str:
    cost, energy = answer.usd_per_million_tokens, answer.joules_per_token
    money = f"{cost.expected:.3g} USD per million output tokens" if cost else "no price on file"
    power = f"{energy.expected:.3g} J per output token at full board power" if energy else "no power figure on file"
    return f"{money}; {power}"


def breakdown_screen(answer: Estimate) -> str:
    """Every op of both phases."""
    gpus = "" if answer.plan.gpu_count == 1 else "; counts of all GPUs, times of one"
    steps = (
        (f"Prefill, all prompts in one pass{gpus}", answer.prefill_ops),
        (f"First decode step{gpus}", answer.decode_ops),
    )
    return "".join(f"\n\n{bold(title)}\n{_op_table(op_rows(answer, ops_of))}" for title, ops_of in steps)


def _op_table(rows: list[dict[str, Any]]) -> str:
    total = sum(row["expected_s"] for row in rows) or 1
    columns = {
        "op": [row["name"] for row in rows],
        "×": [row["repeat"] for row in rows],
        "FLOPs": [_or_blank(row["flops"], show_flops) for row in rows],
        "weights": [_or_blank(row["weight_bytes"], show_bytes) for row in rows],
        "KV": [_or_blank(row["kv_read_bytes"] + row["kv_write_bytes"], show_bytes) for row in rows],
        "activations": [_or_blank(row["activation_bytes"], show_bytes) for row in rows],
        "FLOP/byte": [row["arithmetic_intensity"] for row in rows],
        "bound": [_or_blank(row["bound_s"], show_seconds) for row in rows],
        "expected": [_or_blank(row["expected_s"], show_seconds) for row in rows],
        "share": [f"{row['expected_s'] / total:.0%}" for row in rows],
    }
    return narrowed(columns, ("activations", "FLOP/byte", "bound", "KV", "weights"))


def _or_blank(value: float, text: Callable[[float], str]) -> str:
    return text(value) if value else ""


# ── list ─────────────────────────────────────────────────────────────────────────────────────────


def listing(rows: list[dict[str, Any]]) -> str:
    """Rows as a table without empty columns, and on a narrow terminal without titles."""
    columns = {name: [row[name] for row in rows] for name in rows[0] if any(row[name] != "" for row in rows)}
    return narrowed(columns, ("title", "layers")) if sys.stdout.isatty() else Table(columns).to_text()


# ── validate ─────────────────────────────────────────────────────────────────────────────────────


def references_dict(only: str | None) -> list[dict[str, Any]]:
    from perfmodel.references import audit

    return [finding.to_dict() for finding in audit(only)]


def references_csv(only: str | None) -> str:
    return _references(only).to_csv()


def references_screen(only: str | None) -> str:
    """Counts by verdict, then every claim under its document: what it says, what we get, and why."""
    rows = references_dict(only)
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["verdict"]] = counts.get(row["verdict"], 0) + 1
    lines = [bold(f"{len(rows)} claims: " + ", ".join(f"{n} {verdict}" for verdict, n in counts.items()))]
    document = ""
    for row in rows:
        if row["document"] != document:
            document = row["document"]
            lines += ["", bold(document)]
        lines += _finding(row)
    return "\n".join(lines)


def _finding(row: dict[str, Any]) -> list[str]:
    mark = {"agrees": "✓", "rounding": "≈", "agrees with the stated assumption": "(✓)"}.get(row["verdict"], "✗")
    said = f"{row['claim']}: {row['claimed']}; ours {row['ours']} = {row['formula']}"
    verdict = row["verdict"] + (f" ({row['assumption']})" if row["assumption"] else "")
    return [
        textwrap.fill(f"{mark:<4}{said}", width(), subsequent_indent=" " * 4),
        textwrap.fill(f"{verdict}. {row['why']}", width(), initial_indent=" " * 4, subsequent_indent=" " * 4),
    ]


def _references(only: str | None) -> Table:
    rows = references_dict(only)
    return Table({name: [row[name] for row in rows] for name in rows[0]} if rows else {})
