"""The figures of a page: each with its plots, and a caption that says what to see in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from perfmodel.measured.measurements import KernelMeasurement, RunMeasurement
from perfmodel.measured.report import op_table
from perfmodel.measured.roofline import roofline
from perfmodel.measured.scores import OpErrors, Point, by_op, honest, score
from perfmodel.measured.told import hover
from perfmodel.report.figure import Figure, Plot
from perfmodel.report.traces import (
    axis,
    bars,
    equal_lines,
    line,
    log_axis,
    markers,
    names_axis,
    said,
    sizes_axis,
    thinned,
)
from perfmodel.report.words import listed
from perfmodel.score import Score, quantile
from perfmodel.table import percent


def figures(points: Sequence[Point]) -> list[Figure]:
    """Every figure of a page, in its order."""
    scored = [p for p in points if p.one.predicted is not None]
    runs = [p for p in scored if p.of.kind == "run"]
    return [_times(runs), _memory(runs), _ops(runs), _sizes(runs), _roofs(points), _kernels(scored)]


_MARKS = {False: "circle", True: "circle-open"}
_RINGS = "Rings are measurements that a fit has used."


def _off(found: Score) -> str:
    return f"{percent(found.median_ape)} off at the median, nine of ten within {percent(found.p90_ape)}."


def _times(runs: Sequence[Point]) -> Figure:
    title = "Measured against predicted times"
    found = [p for p in runs if p.column("figure").endswith("_s")]
    if not found:
        return Figure("times", title, "No time of a whole run was both measured and predicted.", [])
    off = score(honest(found))
    caption = (
        "On the line a prediction is right, above it too long, below it too short; between the dotted lines it is less "
        f"than a fifth off. {_off(off)} {_RINGS}"
    )
    return Figure("times", title, caption, [_against(title, found, "group", "s")])


def _memory(runs: Sequence[Point]) -> Figure:
    title = "Measured against predicted peak memory"
    found = [p for p in runs if p.column("figure") == "peak_memory_bytes"]
    if not found:
        return Figure("memory", title, "No peak of memory was both measured and predicted.", [])
    off = score(honest(found))
    caption = (
        "What lies below the line needs more than was predicted, and may not fit. "
        f"{_off(off)} The median with its sign is {percent(off.bias, '+')}; colours are models. {_RINGS}"
    )
    return Figure("memory", title, caption, [_against(title, found, "model", "B")])


def _against(title: str, found: Sequence[Point], by: str, unit: str) -> Plot:
    drawn = [p for p in thinned(found) if p.one.predicted and p.one.predicted.expected > 0]
    values = [v for p in drawn if p.one.predicted for v in (p.one.value, p.one.predicted.expected)]
    names = list(dict.fromkeys(p.column(by) for p in found))
    traces = equal_lines(values) if values else []
    for colour, name in enumerate(names):
        for hollow in (False, True):
            some = [p for p in drawn if p.column(by) == name and p.one.used_in_fit == hollow]
            at = [(p.one.value, p.one.predicted.expected) for p in some if p.one.predicted]
            if some:
                traces.append(
                    markers(name + ", in a fit" * hollow, colour, at, [hover(p) for p in some], _MARKS[hollow])
                )
    layout = {"xaxis": log_axis("measured", values, unit), "yaxis": log_axis("predicted", values, unit)}
    return Plot(title, traces, layout | {"height": 520}, len(drawn), len(found))


def _ops(runs: Sequence[Point]) -> Figure:
    title = "Errors by op"
    found = by_op(honest([p for p in runs if p.column("op")]))
    if not found:
        return Figure("ops", title, "No op was both measured and predicted by itself.", [])
    caption = (
        "Bars to the right are predicted too long, to the left too short (median of the signed errors). An error "
        f"matters as much as its op's share of the time: {_heaviest(found)}."
    )
    plots = [_op_bars(found, errors=True), _op_bars(found, errors=False)]
    return Figure("ops", title, caption, plots, op_table(found))


def _heaviest(found: Sequence[OpErrors]) -> str:
    first: dict[str, OpErrors] = {}
    for op in found:
        first.setdefault(op.phase, op)
    told = [f"{op.op} is {percent(op.share)} of {phase} and {percent(op.bias, '+')} off" for phase, op in first.items()]
    return listed(told)


def _op_bars(found: Sequence[OpErrors], errors: bool) -> Plot:
    title = "Median signed error" if errors else "Share of the measured time"
    names = list(dict.fromkeys(op.op for op in found))
    traces = []
    for colour, phase in enumerate(("prefill", "decode")):
        some = [op for op in found if op.phase == phase]
        values = [100 * (op.bias if errors else op.share) for op in some]
        texts = [
            said([f"{phase} {op.op}: {percent(op.bias, '+')}, {percent(op.share)} of the time, {op.n} measured"])
            for op in some
        ]
        if some:
            traces.append(bars(phase, colour, [op.op for op in some], values, texts))
    layout = {
        "xaxis": axis("predicted − measured" if errors else "of the phase's time", suffix=" %") | {"zeroline": True},
        "yaxis": names_axis(names),
        "height": 170 + 30 * len(names),
        "barmode": "group",
    }
    return Plot(title, traces, layout, len(found), len(found))


_SIZES: tuple[tuple[str, str, Callable[[RunMeasurement], int]], ...] = (
    ("Error against batch", "sequences at once", lambda one: one.batch),
    ("Error of prefill against prompt", "tokens in", lambda one: one.prompt),
    ("Error of decode against context", "tokens in and out", lambda one: one.prompt + one.output),
)


def _sizes(runs: Sequence[Point]) -> Figure:
    title = "Errors against batch, prompt and context"
    found = [p for p in honest(runs) if p.column("phase") and not p.column("op")]
    if not found:
        return Figure("sizes", title, "No time to first token or per token was both measured and predicted.", [])
    caption = (
        "A cloud about zero is chance; a line of medians that rises or falls is a formula that grows with the size "
        "otherwise than the device does."
    )
    wanted = ({"prefill", "decode"}, {"prefill"}, {"decode"})
    plots = [
        _against_size(one[0], one[1], one[2], [p for p in found if p.column("phase") in phases])
        for one, phases in zip(_SIZES, wanted, strict=True)
    ]
    return Figure("sizes", title, caption, [plot for plot in plots if plot.traces])


def _against_size(title: str, sizes: str, of: Callable[[RunMeasurement], int], found: Sequence[Point]) -> Plot:
    drawn = [(p, of(p.one)) for p in thinned(found) if isinstance(p.one, RunMeasurement)]
    traces = []
    for colour, phase in enumerate(("prefill", "decode")):
        some = [(p, size) for p, size in drawn if p.column("phase") == phase]
        if not some:
            continue
        at = [(size, 100 * p.error) for p, size in some]
        traces.append(markers(phase, colour, at, [hover(p) for p, _ in some]))
        steps = sorted({size for size, _ in at})
        medians = [(size, quantile([y for x, y in at if x == size], 0.5)) for size in steps]
        traces.append(line(f"{phase}, median", [(float(x), y) for x, y in medians], colour))
    layout = {"xaxis": sizes_axis(sizes, [size for _, size in drawn]), "yaxis": axis("error", suffix=" %")}
    layout["yaxis"] |= {"zeroline": True, "rangemode": "tozero"}
    return Plot(title, traces, layout | {"height": 380}, len(drawn), len(found))


def _roofs(points: Sequence[Point]) -> Figure:
    title = "Roofline with what was measured"
    plot, caption = roofline(points)
    return Figure("roofline", title, caption, [plot] if plot else [])


def _kernels(scored: Sequence[Point]) -> Figure:
    title = "Kernels: measured against fitted"
    found = [p for p in scored if isinstance(p.one, KernelMeasurement)]
    if not found:
        return Figure("kernels", title, "No kernel was both measured and predicted by itself.", [])
    off = score(honest(found))
    caption = (
        "Each colour is a kernel; a cloud that leaves the line at one end is a form that does not hold there. "
        f"{_off(off)} {_RINGS}"
    )
    return Figure("kernels", title, caption, [_against(title, found, "kernel", "s"), _kernel_bars(found)])


def _kernel_bars(found: Sequence[Point]) -> Plot:
    groups: dict[tuple[str, str], list[Point]] = {}
    for p in honest(found):
        groups.setdefault((p.column("kernel"), p.column("format")), []).append(p)
    scores = {f"{kernel}, {fmt}": score(some) for (kernel, fmt), some in sorted(groups.items())}
    values = [100 * (s.bias or 0.0) for s in scores.values()]
    texts = [
        said([f"{name}: {percent(s.bias, '+')}, {percent(s.median_ape)} without its sign, {s.n} measured"])
        for name, s in scores.items()
    ]
    layout = {
        "xaxis": axis("fitted − measured", suffix=" %") | {"zeroline": True},
        "yaxis": names_axis(list(scores)),
        "height": 150 + 30 * len(scores),
        "showlegend": False,
    }
    trace = bars("kernels", 0, list(scores), values, texts)
    return Plot("Median signed error by kernel and format", [trace], layout, len(scores), len(scores))
