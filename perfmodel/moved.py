"""What moved from one answer to another, and why: by leg, by op, by part of the memory, and in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from perfmodel.answer import Estimate
from perfmodel.arithmetic import Number
from perfmodel.calibration import Constants
from perfmodel.expected import seconds_by_name
from perfmodel.latency import LEGS, Time
from perfmodel.memory import most_sequences
from perfmodel.op import Op, totals
from perfmodel.units import show_bytes, show_seconds

MATTERS = 0.15
"""Share of the largest change from which another one is worth a word."""
WORTH = 0.05
"""Share of the change of the time that kinds of ops must have to be named with it."""
NOTICED = 0.005
"""Share by which an amount must change to be named."""
KINDS = {
    "gemm": "products",
    "attention": "attention",
    "scan": "recurrences",
    "elementwise": "element-wise steps",
    "fused": "element-wise steps",
    "gather": "element-wise steps",
    "collective": "talk between GPUs",
}
AMOUNTS = {"flops": "FLOPs", "weight_bytes": "weights read", "kv_read_bytes": "KV cache read", "wire_bytes": "sent"}
PARTS = {"weights": "weights", "kv_cache": "KV cache", "activations": "activations", "reserve": "reserve"}


@dataclass(frozen=True)
class Shift:
    """How one phase moved: seconds and amounts of `after` less those of `before`.

    before, after  TTFT of the prefill, TPOT of decode
    ops            seconds of each op in one pass, all prompts together or the first decode step: after less before
    kinds          the kind of each of these ops
    amounts        FLOPs, bytes read and sent by one GPU (the mean of all stages) in that pass: before and after
    """

    before: Time
    after: Time
    ops: Mapping[str, Number]
    kinds: Mapping[str, str]
    amounts: Mapping[str, tuple[Number, Number]]

    @property
    def legs(self) -> dict[str, Number]:
        """Seconds on each leg, after less before; they add up to the change of the expected time."""
        return {leg: getattr(self.after, leg) - getattr(self.before, leg) for leg in LEGS}


def shift(before: Estimate, after: Estimate, phase: str) -> Shift:
    """How a phase ("prefill" or "decode") moved."""
    times = [answer.latency.ttft if phase == "prefill" else answer.latency.tpot for answer in (before, after)]
    passes = [_pass(answer, phase) for answer in (before, after)]
    seconds = [_seconds(answer, ops) for answer, ops in zip((before, after), passes, strict=True)]
    names = dict.fromkeys((*seconds[0], *seconds[1]))
    amounts = [_amounts(ops, answer.plan.pp) for ops, answer in zip(passes, (before, after), strict=True)]
    return Shift(
        times[0],
        times[1],
        {name: seconds[1].get(name, 0) - seconds[0].get(name, 0) for name in names},
        {op.name: op.kind for ops in passes for op in ops},
        {name: (amounts[0][name], amounts[1][name]) for name in AMOUNTS},
    )


def _pass(answer: Estimate, phase: str) -> list[Op]:
    return answer.prefill_ops(answer.plan) if phase == "prefill" else answer.decode_ops(answer.plan)


def _seconds(answer: Estimate, ops: list[Op]) -> dict[str, Number]:
    return seconds_by_name(ops, Constants(answer.plan.gpu, answer.plan.engine))


def _amounts(ops: list[Op], stages: int) -> dict[str, Number]:
    counted = totals(ops)
    sent = sum(op.wire_bytes * op.repeat for op in ops)
    return {name: (sent if name == "wire_bytes" else getattr(counted, name)) / stages for name in AMOUNTS}


def memory_shift(before: Estimate, after: Estimate) -> dict[str, Number]:
    """Bytes of each part of the fullest GPU's memory, after less before."""
    return {part: getattr(after.memory, part) - getattr(before.memory, part) for part in PARTS}


# ── in words ─────────────────────────────────────────────────────────────────────────────────────


def reasons(before: Estimate, after: Estimate) -> Iterator[str]:
    """Sentences: what each figure did from `before` to `after`, on which leg, and in which ops or parts."""
    yield from _devices(before, after)
    yield from _guesses(before, after)
    for name, phase in (("TTFT", "prefill"), ("TPOT", "decode")):
        yield _time_words(name, shift(before, after, phase))
    yield _memory_words(before, after)


def _devices(before: Estimate, after: Estimate) -> Iterator[str]:
    """What changed of the devices themselves, and how many there are."""
    a, b = before.plan, after.plan
    if a.gpu_count != b.gpu_count:
        yield f"{after.assumptions[0]}; the baseline has {a.gpu_count}"
    rates = [("memory bandwidth", a.gpu.memory_bandwidth, b.gpu.memory_bandwidth)]
    at = f"{b.precision.compute} peak" + (f" instead of {a.precision.compute}" if _compute(before, after) else "")
    rates.append((at, a.gpu.peak(a.precision.compute), b.gpu.peak(b.precision.compute)))
    told = [f"{name} {times(new / old)}" for name, old, new in rates if _noticed(old, new)]
    if told:
        yield f"{'products at the ' if a.gpu == b.gpu else ''}{', '.join(told)}"


def _guesses(before: Estimate, after: Estimate) -> Iterator[str]:
    """How many tokens a pass of the model yields, where speculation changes that: TPOT is of a token, not of a pass."""
    old, new = (1.0 if answer.gain is None else answer.gain.tokens_a_pass for answer in (before, after))
    if old != new:
        yield f"a pass yields {new:.3g} tokens of a sequence instead of {old:.3g}"


def _compute(before: Estimate, after: Estimate) -> bool:
    return before.plan.precision.compute != after.plan.precision.compute


def _time_words(name: str, moved: Shift) -> str:
    """ "TPOT −38 %: bandwidth −1.9 ms; attention (scores, values) −1.9 ms; KV cache read ×0.5"."""
    old, new = moved.before.expected, moved.after.expected
    if old == new:
        return f"{name} unchanged"
    parts = [", ".join(f"{leg} {signed(value)}" for leg, value in _largest(moved.legs))]
    if groups := _groups(moved):
        parts.append(f"{'in a pass' if name == 'TTFT' else 'in a step'} {', '.join(groups)}")
    if changed := list(_changed_amounts(moved)):
        parts.append(f"a GPU's {', '.join(changed)}")
    return f"{name} {percent(new / old - 1)}: {'; '.join(parts)}"


def _groups(moved: Shift) -> list[str]:
    """The kinds of ops that moved most, with the names of those that did."""
    by_kind: dict[str, dict[str, Number]] = {}
    for name, value in moved.ops.items():
        by_kind.setdefault(KINDS[moved.kinds[name]], {})[name] = value
    sums = {kind: sum(ops.values()) for kind, ops in by_kind.items()}
    told = []
    least = WORTH * max(abs(value) for value in moved.legs.values())
    for kind, value in (pair for pair in _largest(sums) if abs(pair[1]) >= least):
        names = [name for name, _ in _largest(by_kind[kind])]
        more = ", …" if len(names) > 3 else ""
        told.append(f"{kind} ({', '.join(names[:3])}{more}) {signed(value)}")
    return told


def _changed_amounts(moved: Shift) -> Iterator[str]:
    for name, (old, new) in moved.amounts.items():
        if _noticed(old, new):
            word = AMOUNTS[name]
            yield f"{word} {times(new / old)}" if old and new else f"{word} {show_bytes(old)} → {show_bytes(new)}"


def _memory_words(before: Estimate, after: Estimate) -> str:
    """ "memory −12.3 GB a GPU: weights −…; room for 62 sequences instead of 31"."""
    change = after.memory.used - before.memory.used
    rooms = [most_sequences(answer.plan, answer.work) for answer in (before, after)]
    room = "" if rooms[0] == rooms[1] else f"room for {rooms[1]:,} sequences instead of {rooms[0]:,}"
    moved = [f"{PARTS[part]} {_signed_bytes(value)}" for part, value in _largest(memory_shift(before, after))]
    if not moved:
        return f"memory unchanged{f'; {room}' if room else ''}"
    told = f"memory {_signed_bytes(change)} a GPU: {', '.join(moved)}"
    return f"{told}; {room}" if room else told


def _largest(values: Mapping[str, Number]) -> list[tuple[str, Number]]:
    """The values that matter against the largest, whatever their sign; the largest first."""
    most = max((abs(value) for value in values.values()), default=0)
    found = [(name, value) for name, value in values.items() if value and abs(value) >= MATTERS * most]
    return sorted(found, key=lambda pair: -abs(pair[1]))


def _noticed(old: Number, new: Number) -> bool:
    return bool(abs(new - old) > NOTICED * max(abs(old), abs(new)))


def percent(change: float) -> str:
    """A relative change with its sign: "−38 %", "+0.4 %"; as a factor from three times on."""
    if change >= 2:
        return times(change + 1)
    digits = 0 if abs(change) >= 0.0995 else 1 if abs(change) >= 0.0005 else 2
    return f"{'−' if change < 0 else '+'}{abs(change):.{digits}%}".replace("%", " %")


def times(ratio: float) -> str:
    """A ratio as a factor: "×0.5", "×1.43"."""
    return f"×{ratio:.3g}" if ratio < 999.5 else f"×{ratio:,.0f}"


def signed(seconds: float) -> str:
    """Seconds with their sign: "−1.9 ms"."""
    return f"{'−' if seconds < 0 else '+'}{show_seconds(abs(seconds))}"


def _signed_bytes(size: float) -> str:
    return f"{'−' if size < 0 else '+'}{show_bytes(abs(size))}"
