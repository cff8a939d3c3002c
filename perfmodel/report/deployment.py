"""What pages of one deployment have in common: its memory, where its time goes, and what its figures rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from perfmodel.achieved import Achieved
from perfmodel.answer import Estimate
from perfmodel.contract import gpu_figures
from perfmodel.deployment import Deployment
from perfmodel.latency import LEGS, Time
from perfmodel.memory import Memory
from perfmodel.moved import KINDS
from perfmodel.report.charts import stacked_bars
from perfmodel.report.figure import Figure, Listed, Plot, Tabled
from perfmodel.report.words import capital, listed, share
from perfmodel.table import Table
from perfmodel.units import show_bytes, show_bytes_per_s, show_flops_per_s, show_scaled, show_seconds

PARTS = {"weights": "weights", "kv_cache": "KV cache", "activations": "activations", "reserve": "reserve"}
MOST_OPS = 12
"""Bars of a phase; what is left goes together."""


def memory_bar(answers: Mapping[str, Estimate], title: str = "Memory of the fullest GPU") -> Figure:
    """A bar of each named answer."""
    held = {name: answer.memory for name, answer in answers.items()}
    parts = {word: [float(getattr(one, part)) for one in held.values()] for part, word in PARTS.items()}
    parts["free"] = [max(float(one.free), 0.0) for one in held.values()]
    capacities = {float(one.capacity) for one in held.values()}
    mark = ("capacity", next(iter(capacities))) if len(capacities) == 1 else None
    plot = stacked_bars(title, list(held), parts, show_bytes, "B", mark)
    first = next(iter(answers.values()))
    return Figure("memory", title, _memory_caption(first, held), [plot], _memory_table(held))


def _memory_caption(first: Estimate, held: Mapping[str, Memory]) -> str:
    one = first.memory
    if len(held) > 1:
        fullest = max(held, key=lambda name: held[name].used / held[name].capacity)
        most = held[fullest]
        return (
            f"Each bar is one GPU. The fullest is that of {fullest}: {share(most.used / most.capacity)} of its "
            f"{show_bytes(most.capacity)} are used. KV cache is what grows with users and lengths."
        )
    used = f"{share(one.used / one.capacity)} of {show_bytes(one.capacity)} {'are used' if one.fits else 'are needed'}"
    largest = max(PARTS, key=lambda part: getattr(one, part))
    told = f"{used}, most of it {PARTS[largest]} ({show_bytes(getattr(one, largest))}). "
    if not one.fits:
        return f"{told}{show_bytes(-one.free)} do not fit."
    if not first.plan.cache:
        return f"{told}There is no KV cache, so that nothing grows with the sequences."
    each = one.kv_cache / first.plan.share(first.work.sequences)
    return f"{told}A sequence takes {show_bytes(each)} of KV cache here; {show_bytes(one.free)} are free."


def _memory_table(held: Mapping[str, Memory]) -> Table:
    rows = {word: [show_bytes(getattr(one, part)) for one in held.values()] for part, word in PARTS.items()}
    rows |= {"capacity": [show_bytes(one.capacity) for one in held.values()]}
    rows |= {"free": [f"{'−' if one.free < 0 else ''}{show_bytes(abs(one.free))}" for one in held.values()]}
    named = {"": list(held)} if len(held) > 1 else {}
    return Table(named | rows)


# ── where time goes ──────────────────────────────────────────────────────────────────────────────


def spent(times: Mapping[str, Time], title: str = "What the time is spent on") -> Figure:
    """Each time as a bar of its legs, as parts of a hundred."""
    parts = {leg: [100 * float(getattr(time, leg) / time.expected) for time in times.values()] for leg in LEGS}
    plot = stacked_bars(title, list(times), parts, lambda size: f"{size:.0f} %", " %")
    told = [
        f"{name} waits for {time.bound_by} ({share(getattr(time, time.bound_by) / time.expected)})"
        for name, time in times.items()
    ]
    caption = (
        f"{capital(listed(told))}: that leg is worth shortening first. Compute and bandwidth are of kernels, link is "
        "talk between GPUs, overhead is launches and the engine's own work."
    )
    rows: dict[str, list[object]] = {
        "": list(times),
        "expected": [show_seconds(time.expected) for time in times.values()],
    }
    rows |= {leg: [show_seconds(getattr(time, leg)) for time in times.values()] for leg in LEGS}
    return Figure("spent", title, caption, [plot], Table(rows))


def time_by_op(phases: Mapping[str, Sequence[Achieved]], names: Mapping[str, str]) -> Figure:
    """Bars of the ops of each phase, the longest first; colours are kinds of kernels."""
    plots, told, half = [], [], ""
    for phase, ops in phases.items():
        ordered = sorted((op for op in ops if op.seconds), key=lambda op: -op.seconds)
        total = sum(op.seconds for op in ordered)
        plots.append(_op_bars(names[phase], ordered))
        first = ordered[:2]
        parts = listed([f"{op.name} {share(op.seconds / total)}" for op in first])
        told.append(f"of {names[phase]}'s {show_seconds(total)} in kernels, {parts}")
        half = f"At twice its speed {first[0].name} would save {share(first[0].seconds / total / 2)} of {names[phase]}"
    caption = (
        f"{capital('; '.join(told))}. {half}. A bar is all layers of an op together on one GPU; the engine's "
        "own time is not in it."
    )
    return Figure("ops", "Time by op", caption, plots, _op_table(phases, names))


def _op_bars(title: str, ordered: Sequence[Achieved]) -> Plot:
    shown, rest = ordered[:MOST_OPS], ordered[MOST_OPS:]
    names = [op.name for op in shown] + [f"{len(rest)} others"] * bool(rest)
    parts = {
        kind: [float(op.seconds) if KINDS[op.kind] == kind else 0.0 for op in shown] + [0.0] * bool(rest)
        for kind in dict.fromkeys(KINDS.values())
    }
    if rest:
        parts["others"] = [0.0] * len(shown) + [float(sum(op.seconds for op in rest))]
    plot = stacked_bars(capital(title), names, parts, show_seconds, "s")
    return plot._replace(layout=plot.layout | {"height": 160 + 26 * len(names)})


def _op_table(phases: Mapping[str, Sequence[Achieved]], names: Mapping[str, str]) -> Table:
    rows = [
        (names[phase], op, sum(o.seconds for o in ops)) for phase, ops in phases.items() for op in ops if op.seconds
    ]
    rows = sorted(rows, key=lambda row: (row[0] != names["prefill"], -row[1].seconds))
    return Table(
        {
            "of": [name for name, _, _ in rows],
            "op": [op.name for _, op, _ in rows],
            "kind": [KINDS[op.kind] for _, op, _ in rows],
            "expected": [show_seconds(op.seconds) for _, op, _ in rows],
            "share": [share(op.seconds / total) for _, op, total in rows],
        }
    )


# ── what it rests on ─────────────────────────────────────────────────────────────────────────────


def assumptions(lines: Sequence[str]) -> Listed:
    """Sentences of an answer, as its own list."""
    return Listed("assumptions", "What this assumes", list(lines))


def sources(plan: Deployment) -> Tabled:
    """The sources of the device's figures and of the model's sizes."""
    model, gpu = plan.model, plan.gpu
    cited: dict[str, list[str]] = {model.source: [f"sizes of {model.name}"]}
    for name, one in gpu_figures(gpu).items():
        told = f"{_spoken(name)} {_figure_text(one['value'], one['unit'])}"
        cited.setdefault(one["source"] or "", []).append(told)
    rows = [(*_cited(source), "; ".join(told)) for source, told in cited.items()]
    heads = ("source", "address", "what it tells")
    table = Table({head: [row[i] for row in rows] for i, head in enumerate(heads)}, "Sources")
    if not any(table["address"]):
        del table.columns["address"]
    return Tabled("sources", table, f"Datasheet figures of {gpu.title}, and what describes {model.title}.")


def _spoken(name: str) -> str:
    """A figure of a spec in words: "scale_up.0.bandwidth" → "scale up bandwidth"."""
    return " ".join(part for part in name.replace("_", " ").split(".") if not part.isdigit())


def _figure_text(value: object, unit: str) -> str:
    shows = {"bytes": show_bytes, "bytes/s": show_bytes_per_s, "FLOP/s": show_flops_per_s}
    if unit in shows and isinstance(value, (int, float)):
        return shows[unit](value)
    if unit == "Hz" and isinstance(value, float):
        return f"{show_scaled(value)}Hz"
    return f"{value:,g} {unit}".strip() if isinstance(value, float) else f"{value} {unit}".strip()


def _cited(source: str) -> tuple[str, str]:
    """A source as its words and its address."""
    if not source:
        return "no source on file", ""
    parts = [part.strip() for part in source.split(", ")]
    link = next((part for part in parts if part.startswith("https://")), "")
    return ", ".join(part for part in parts if part != link), link


def weights_by_component(answer: Estimate) -> Tabled:
    """Bytes of weights on the fullest GPU, the largest component first."""
    sizes = sorted(answer.memory.weights_by.items(), key=lambda item: -item[1])
    total = sum(size for _, size in sizes) or 1
    columns = {
        "component": [name for name, _ in sizes],
        "bytes": [show_bytes(size) for _, size in sizes],
        "share": [share(size / total) for _, size in sizes],
    }
    return Tabled("weights", Table(columns, "Weights by component"), "On the fullest GPU, as they are stored.")
