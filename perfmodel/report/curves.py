"""An answer along one size: throughput against latency over the batch, times against the context, and swings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from perfmodel.answer import Estimate, Range
from perfmodel.grid import around
from perfmodel.report.charts import Swing, tornado
from perfmodel.report.figure import Figure, Plot
from perfmodel.report.sizes import batches, longest, model_limit, prompts
from perfmodel.report.traces import band, dotted_line, line, log_axis, markers, said, sizes_axis
from perfmodel.report.words import capital, factor, share
from perfmodel.sensitivity import SHARE, sensitivity
from perfmodel.table import Table
from perfmodel.units import show_rate, show_seconds


def over_batch(answer: Estimate) -> Figure:
    """Tokens a second in all against the time of a token, at every batch."""
    work, title = answer.work, "Throughput against latency, over the batch"
    sizes = batches(answer)
    grid = around(answer, sizes, [int(work.prompt)], [int(work.output)])
    rates, times = _along(grid.tokens_per_s.expected), _along(grid.tpot_s.expected)
    fits = [bool(one) for one in _along(grid.fits)]
    texts = [
        said([f"{n:,} at once", f"{show_rate(rate)} tokens/s in all", f"{show_seconds(time)} a token", *_no(good)])
        for n, rate, time, good in zip(sizes, rates, times, fits, strict=True)
    ]
    at = list(zip(times, rates, strict=True))
    some = [i for i, good in enumerate(fits) if good]
    beyond = [i for i, good in enumerate(fits) if not good]
    traces = []
    if some:
        traces.append(dotted_line("fits", [at[i] for i in some], 0, [texts[i] for i in some]))
    if beyond:
        joined = [*some[-1:], *beyond]
        traces.append(
            dotted_line("does not fit", [at[i] for i in joined], 7, [texts[i] for i in joined], "dot")
        )  # fmt: skip
    own = sizes.index(int(work.batch))
    traces.append(markers(f"this answer: {work.batch:,} at once", 1, [at[own]], [texts[own]], "diamond", [14]))
    layout = {
        "xaxis": log_axis("time per token", times, "s"),
        "yaxis": log_axis("tokens/s in all", rates),
        "height": 420,
    }
    table = Table(
        {
            "sequences at once": sizes,
            "tokens/s in all": [show_rate(rate) for rate in rates],
            "time per token": [show_seconds(time) for time in times],
            "time to first token": [show_seconds(time) for time in _along(grid.ttft_s.expected)],
            "fits": fits,
        }
    )
    return Figure(
        "batch", title, _batch_caption(answer, sizes, rates, times, fits), [Plot(title, traces, layout)], table
    )


def _no(good: bool) -> list[str]:
    return [] if good else ["does not fit"]


def _batch_caption(
    answer: Estimate, sizes: Sequence[int], rates: Sequence[float], times: Sequence[float], fits: Sequence[bool]
) -> str:
    own = sizes.index(int(answer.work.batch))
    some = [i for i, good in enumerate(fits) if good]
    if len(some) < 2:
        return "Up and to the left is better. No larger batch fits, so that there is nothing to choose here."
    last = some[-1]
    grown = f"From 1 to {sizes[last]:,} at once, throughput grows {factor(rates[last] / rates[0])}"
    grown += f" while a token takes {factor(times[last] / times[0])} as long"
    there = f"this answer's {sizes[own]:,} at once reach {share(rates[own] / rates[last])} of that"
    end = f"; more than {sizes[last]:,} do not fit" if last + 1 < len(sizes) else ""
    return f"Up and to the left is better. {grown}; {there}{end}."


def over_context(answer: Estimate) -> Figure:
    """Both times against the tokens in, with their intervals."""
    work, title = answer.work, "Times against the context"
    sizes = prompts(answer)
    grid = around(answer, [int(work.batch)], sizes, [int(work.output)])
    fits = [bool(one) for one in _along(grid.fits)]
    named = (("Time to first token", grid.ttft_s), ("Time per token", grid.tpot_s))
    plots = [_with_band(name, sizes, found, fits, int(work.prompt)) for name, found in named]
    columns: dict[str, Any] = {"tokens in": sizes}
    for name, found in named:
        low, high = _along(found.low), _along(found.high)
        columns[name] = [show_seconds(time) for time in _along(found.expected)]
        columns[f"{name}, 80 %"] = [f"{show_seconds(a)} – {show_seconds(b)}" for a, b in zip(low, high, strict=True)]
    columns["fits"] = fits
    return Figure("context", title, _context_caption(answer, sizes, grid, fits), plots, Table(columns))


def _with_band(name: str, sizes: Sequence[int], found: Range, fits: Sequence[bool], own: int) -> Plot:
    low, mid, high = (
        list(zip(map(float, sizes), _along(end), strict=True)) for end in (found.low, found.expected, found.high)
    )
    texts = [
        said([f"{n:,} tokens in", show_seconds(time), *_no(good)]) for (n, time), good in zip(mid, fits, strict=True)
    ]
    some = [i for i, good in enumerate(fits) if good]
    traces = [band("80 % interval", low, high, 0)]
    if some:
        traces.append(dotted_line("expected", [mid[i] for i in some], 0, [texts[i] for i in some]))
    if beyond := [i for i in range(len(sizes)) if not fits[i]]:
        joined = [*some[-1:], *beyond]
        traces.append(dotted_line("does not fit", [mid[i] for i in joined], 7, [texts[i] for i in joined], "dot"))
    traces.append(line("bound by physics", list(zip(map(float, sizes), _along(found.bound), strict=True)), 2, "dash"))
    here = sizes.index(own)
    traces.append(markers("this answer", 1, [mid[here]], [texts[here]], "diamond", [14]))
    values = [value for end in (low, high) for _, value in end]
    layout = {"xaxis": sizes_axis("tokens in", sizes), "yaxis": log_axis("", values, "s"), "height": 380}
    return Plot(name, traces, layout)


def _context_caption(answer: Estimate, sizes: Sequence[int], grid: Estimate, fits: Sequence[bool]) -> str:
    ttft, tpot = _along(grid.ttft_s.expected), _along(grid.tpot_s.expected)
    own, last = sizes.index(int(answer.work.prompt)), len(sizes) - 1
    first, to = (own, last) if own < last else (0, last)
    told = (
        f"From {sizes[first]:,} to {sizes[to]:,} tokens in ({factor(sizes[to] / sizes[first])}), the first token takes "
        f"{factor(ttft[to] / ttft[first])} and each further one {factor(tpot[to] / tpot[first])} as long. "
    )
    fit = longest(answer)
    if fit is None or fit >= model_limit(answer):
        limit = f"The model takes {model_limit(answer):,} tokens, and memory holds as many at this batch."
    else:
        limit = (
            f"At this batch memory holds {fit:,} tokens of a sequence; the model would take {model_limit(answer):,}."
        )
    return told + limit


WHAT = {
    "Time to first token": "the first token",
    "Time per token": "the time per token",
    "USD for a million tokens out": "the cost",
}


def swings(answer: Estimate) -> Figure:
    """Tornados of both times and of what a token costs."""
    found = sensitivity(answer)
    kinds: list[tuple[str, Callable[[Estimate], Range | None], Callable[[float], str], str]] = [
        ("Time to first token", lambda a: a.ttft_s, show_seconds, "s"),
        ("Time per token", lambda a: a.tpot_s, show_seconds, "s"),
    ]
    if answer.usd_per_million_tokens is not None:
        kinds.append(("USD for a million tokens out", lambda a: a.usd_per_million_tokens, show_rate, ""))
    plots, told = [], []
    for name, of, show, unit in kinds:
        here = _expected(of(answer))
        moved = [
            Swing(
                one.input,
                _expected(of(one.less)),
                _expected(of(one.more)),
                (
                    f"{one.input} {one.low}: {show(_expected(of(one.less)))}",
                    f"{one.input} {one.high}: {show(_expected(of(one.more)))}",
                ),
            )
            for one in found
        ]
        plots.append(tornado(name, moved, here, "", unit))
        most = max(moved, key=lambda swing: abs(swing.high - swing.low))
        change = max(abs(most.low - here), abs(most.high - here)) / here
        told.append(f"{WHAT[name]} moves most with {most.name} (by {share(change)})")
    caption = (
        f"Each input {share(SHARE)} less and more, the others as they are. {capital('; '.join(told))}. An input "
        "without a bar moves nothing, and need not be known well."
    )
    return Figure("sensitivity", "What moves the answer", caption, plots, _swing_table(found))


def _swing_table(found: Sequence[Any]) -> Table:
    columns: dict[str, list[Any]] = {
        "input": [],
        "changed to": [],
        "time to first token": [],
        "time per token": [],
        "tokens/s in all": [],
    }
    for one in found:
        for size, answer in ((one.low, one.less), (one.high, one.more)):
            row = (
                one.input,
                size,
                show_seconds(answer.ttft_s.expected),
                show_seconds(answer.tpot_s.expected),
                show_rate(answer.tokens_per_s.expected),
            )
            for column, cell in zip(columns.values(), row, strict=True):
                column.append(cell)
    return Table(columns)


def _expected(found: Range | None) -> float:
    assert found is not None
    return float(found.expected)


def _along(values: Any) -> list[Any]:
    return values.ravel().tolist()  # type: ignore[no-any-return]
