"""The page of levers side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from perfmodel.answer import Estimate, Range
from perfmodel.comparison import Comparison, Variant
from perfmodel.frontier import frontier
from perfmodel.memory import UNLIMITED
from perfmodel.moved import percent, times
from perfmodel.report.charts import Spot, pareto, ranked_bars
from perfmodel.report.deployment import assumptions, memory_bar, sources, spent
from perfmodel.report.estimate import basis, workload
from perfmodel.report.figure import Card, Figure, Listed, Page, Tabled
from perfmodel.report.words import capital, listed, many
from perfmodel.table import Table
from perfmodel.units import show_bytes, show_rate, show_seconds

Named = Mapping[str, Variant]
"""Configurations by their names on the page."""
BASELINE = "baseline"


class Timed(NamedTuple):
    """A figure with an interval that has a card and bars: as a title, as `best` of its kind, how a value is shown, and
    the unit of its axis."""

    title: str
    best: str
    show: Callable[[float], str]
    unit: str


TIMED = {
    "ttft_s": Timed("Time to first token", "shortest time to first token", show_seconds, "s"),
    "tpot_s": Timed("Time per token", "shortest time per token", show_seconds, "s"),
    "tokens_per_s": Timed("Tokens/s in all", "most tokens/s in all", show_rate, ""),
    "usd_per_million_tokens": Timed("USD for a million tokens", "least USD for a million tokens", show_rate, ""),
}
COUNTED: dict[str, tuple[str, Callable[[float], str]]] = {
    "gpu_count": ("GPUs", lambda n: f"{n:,.0f}"),
    "memory_bytes": ("Memory of a GPU", lambda n: show_bytes(n, 3)),
    "room_sequences": ("Room", lambda n: "no limit" if n >= UNLIMITED else f"{n:,.0f}"),
    "e2e_s": ("End to end", show_seconds),
    "tokens_per_s_per_user": ("Tokens/s per user", show_rate),
}
"""Figures that stand in the table alone → its column, and how a value is shown."""


def comparison_page(found: Comparison, command: str = "") -> Page:
    """The page; configurations that do not fit are told, and left out of figures."""
    named, some = names(found), _some(found)
    fitting = {name: variant for name, variant in named.items() if variant.fits}
    every = Tabled("figures", table(found), capital(found.note) + ".")
    return replace(
        first_screen(found),
        figures=_figures(fitting, found) if fitting else [],
        tables=[every, *([sources(some.plan)] if some is not None else [])],
        lists=[Listed("why", "What moved, and why", _why(found, named)), *_assumed(found)],
        command=command,
    )


def first_screen(found: Comparison) -> Page:
    """Which configuration is best in what, and nothing else yet."""
    named = names(found)
    fitting = {name: variant for name, variant in named.items() if variant.fits}
    return Page(
        _title(found, _some(found)),
        _headline(found, fitting),
        [_card(figure, fitting, found) for figure in TIMED if best(fitting, figure)],
        _basis(found),
        "" if found.fits else "Does not fit",
        found.fits,
        [line for name, variant in named.items() if not variant.fits for line in _refused(name, variant)],
        "What does not fit",
    )


def _some(found: Comparison) -> Estimate | None:
    """The first configuration that devices can hold."""
    return next((v.answer for v in (found.baseline, *found.variants) if v.answer is not None), None)


def names(found: Comparison) -> dict[str, Variant]:
    """Every configuration by its change; by its place too where two have the same words."""
    named: dict[str, Variant] = {BASELINE: found.baseline}
    for i, variant in enumerate(found.variants, 1):
        named[variant.change if variant.change not in named else f"{variant.change} ({i})"] = variant
    return named


def best(fitting: Named, figure: str) -> tuple[str, float] | None:
    """The configuration that is best by a figure of TIMED, and its value; None where none has it."""
    values = {name: _expected(variant.values[figure]) for name, variant in fitting.items()}
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return None
    name = (max if figure == "tokens_per_s" else min)(known, key=lambda one: known[one])
    return name, known[name]


def _expected(value: Range | None) -> float | None:
    return None if value is None else float(value.expected)


def _ratio(fitting: Named, name: str, figure: str, found: Comparison) -> float | None:
    """A figure over the baseline's; None of the baseline itself, and where either is not known."""
    return None if name == BASELINE else fitting[name].figures(found.baseline)[figure].ratio


def _title(found: Comparison, some: Estimate | None) -> str:
    changes = many(len(found.variants), "change")
    return (
        f"{changes} held against a baseline"
        if some is None
        else f"{some.plan.model.title}: {changes} held against {_where(some)}"
    )


def _where(some: Estimate) -> str:
    return f"{some.plan.gpu_count} × {some.plan.gpu.title}"


def _headline(found: Comparison, fitting: Named) -> str:
    if not fitting:
        return "None of these configurations fits."
    told: dict[str, list[str]] = {}
    for figure, timed in TIMED.items():
        if top := best(fitting, figure):
            ratio = _ratio(fitting, top[0], figure, found)
            told.setdefault(top[0], []).append(f"{timed.best}{f' ({percent(ratio - 1)})' if ratio else ''}")
    load = next(variant.answer for variant in fitting.values() if variant.answer is not None)
    return f"With {workload(load)}, {'; '.join(f'{name} has the {listed(what)}' for name, what in told.items())}."


def _card(figure: str, fitting: Named, found: Comparison) -> Card:
    timed, top = TIMED[figure], best(fitting, figure)
    assert top is not None
    name, value = top
    one, ratio = fitting[name].figures(found.baseline)[figure], _ratio(fitting, name, figure, found)
    against = f", {times(ratio)} the baseline's" if ratio else ""
    ends = f"; 80 %: {timed.show(one.low or 0)} – {timed.show(one.high or 0)}"
    return Card(capital(timed.best), timed.show(value), f"{name}{against}{ends}")


def _basis(found: Comparison) -> str:
    base = found.baseline.answer
    return f"The baseline: {basis(base)}" if base is not None and found.baseline.fits else ""


def _refused(name: str, variant: Variant) -> list[str]:
    return [f"{name}: {variant.refusal}", *(f"{name}: what would work: {remedy}" for remedy in variant.remedies)]


def _why(found: Comparison, named: Named) -> list[str]:
    told = []
    for name, variant in named.items():
        if variant is not found.baseline and variant.fits:
            told += [f"{name}: {line}" for line in variant.why(found.baseline)]
    return told or ["nothing that fits differs from the baseline"]


def _assumed(found: Comparison) -> list[Listed]:
    base = found.baseline.answer
    return [] if base is None else [assumptions(base.assumptions)._replace(title="What the baseline assumes")]


# ── figures ──────────────────────────────────────────────────────────────────────────────────────


def _figures(fitting: Named, found: Comparison) -> list[Figure]:
    answers = {name: variant.answer for name, variant in fitting.items() if variant.answer is not None}
    first = {name: answer.latency.ttft for name, answer in answers.items()}
    each = {name: answer.latency.tpot for name, answer in answers.items()}
    return [
        _bars(fitting, found),
        _front(answers),
        memory_bar(answers, "Memory of the fullest GPU of each"),
        spent(first, "What the time to first token is spent on"),
        spent(each, "What the time per token is spent on")._replace(name="spent-token"),
    ]


def _bars(fitting: Named, found: Comparison) -> Figure:
    """Each figure of each configuration, with its interval."""
    plots, moved = [], []
    for figure, timed in TIMED.items():
        known = {
            name: variant.values[figure] for name, variant in fitting.items() if variant.values[figure] is not None
        }
        if not known:
            continue
        values = [float(value.expected) for value in known.values()]
        ends = [(float(value.low), float(value.high)) for value in known.values()]
        plots.append(ranked_bars(timed.title, list(known), values, timed.show, timed.unit, ends))
        ratios = {name: ratio for name in known if (ratio := _ratio(fitting, name, figure, found))}
        if ratios:
            name = max(ratios, key=lambda one: abs(ratios[one] - 1))
            moved.append(f"{timed.title} by {name} ({percent(ratios[name] - 1)})")
    most = f"Moved most: {'; '.join(moved)}. " if moved else ""
    caption = (
        f"{most}Thin lines are 80 % intervals; those of one device and engine err alike, so that a ratio is surer than "
        "either of its figures."
    )
    return Figure("bars", "Every configuration", caption, plots)


def _front(answers: Mapping[str, Estimate]) -> Figure:
    """Speed for a user against throughput of a GPU, and what nothing beats."""
    users = {name: float(answer.tokens_per_s_per_user.expected) for name, answer in answers.items()}
    gpus = {name: float(answer.tokens_per_s.expected) / answer.plan.gpu_count for name, answer in answers.items()}
    on = frontier([(-users[name], -gpus[name]) for name in answers])
    best_of = {name for i, name in enumerate(answers) if i in on}
    spots = [
        Spot(
            users[name],
            gpus[name],
            name,
            [name, f"{show_rate(users[name])} tokens/s per user", f"{show_rate(gpus[name])} tokens/s per GPU"],
            "front" if name in best_of else "",
        )
        for name in answers
    ]
    title = "Speed for a user against throughput of a GPU"
    beaten = [name for name in answers if name not in best_of]
    told = f"On the front, with nothing better in both: {listed([name for name in answers if name in best_of])}."
    told += f" Beaten in both: {listed(beaten)}." if beaten else " None is beaten in both."
    plot = pareto(title, spots, "tokens/s per user", "tokens/s per GPU")
    return Figure("front", title, f"Up and to the right is better. {told}", [plot])


def table(found: Comparison) -> Table:
    """Figures of every configuration, each with its ratio to the baseline's."""
    shows = COUNTED | {name: (timed.title, timed.show) for name, timed in TIMED.items()}
    columns: dict[str, list[str]] = {"Configuration": []}
    for name, variant in names(found).items():
        columns["Configuration"].append(name if variant.fits else f"{name} (does not fit)")
        for key, figure in variant.figures(found.baseline).items():
            title, show = shows[key]
            near = " ~" if figure.within else ""
            ratio = "" if figure.ratio in (None, 1) else f" ({times(figure.ratio or 0)}{near})"
            columns.setdefault(title, []).append("–" if figure.value is None else f"{show(figure.value)}{ratio}")
    return Table(columns, "All figures")
