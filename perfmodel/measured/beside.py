"""What a run measured beside what was predicted: a table, its errors in a sentence, and the same as data."""

from __future__ import annotations

from typing import Any

from perfmodel.measured.measurements import RunMeasurement
from perfmodel.measured.results import Results
from perfmodel.measured.scores import grouped, points_of
from perfmodel.table import Table, percent
from perfmodel.units import show_bytes, show_seconds


def table(results: Results) -> Table:
    """One row a measurement, in the order in which they were made; whole passes before ops."""
    ordered = sorted(results.measurements, key=lambda m: bool(m.op))
    return Table(
        {
            "batch": [m.batch for m in ordered],
            "prompt": [m.prompt for m in ordered],
            "output": [m.output for m in ordered],
            "figure": [shown_figure(m) for m in ordered],
            "measured": [shown(m, m.value) for m in ordered],
            "quartiles": [f"{shown(m, m.low)} – {shown(m, m.high)}" if m.repeats > 1 else "" for m in ordered],
            "predicted": ["-" if m.predicted is None else shown(m, m.predicted.expected) for m in ordered],
            "error": ["-" if m.error is None else f"{m.error:+.0%}" for m in ordered],
        }
    )


def shown_figure(m: RunMeasurement) -> str:
    """A figure as a person says it: "prefill", "decode step", "decode: qkv"."""
    names = {"ttft_s": "prefill", "tpot_s": "decode step", "peak_memory_bytes": "peak memory", "speedup": "speed-up"}
    return f"{m.phase}: {m.op}" if m.op else names.get(m.figure, m.figure.replace("_", " "))


def shown(m: RunMeasurement, value: float) -> str:
    """A value of a measurement in its unit."""
    if m.figure.endswith("_s"):
        return show_seconds(value)
    return show_bytes(value) if m.figure.endswith("_bytes") else f"{value:.3g}"


def errors(results: Results) -> str:
    """Median and 90th percentile of the errors of each group of figures."""
    told = []
    for (name,), found in grouped(points_of([results]), ("group",)):
        score = found.unseen if found.unseen.scored else found.fitted
        if score.scored:
            wide = f", 90th percentile {percent(score.p90_ape)}" if score.scored > 1 else ""
            told.append(f"{name} {percent(score.median_ape)}{wide} ({score.scored})")
    return "Error, median: " + ("; ".join(told) if told else "nothing was predicted")


def contract(results: Results) -> dict[str, Any]:
    """As docs/json.md has it: the results file itself, and the errors of each group."""
    scores = {name: found.unseen._asdict() for (name,), found in grouped(points_of([results]), ("group",))}
    return {"results": results.model_dump(mode="json"), "errors": scores}
