"""The page of a deployment under traffic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from perfmodel.latency import Time
from perfmodel.report.charts import stacked_bars
from perfmodel.report.deployment import assumptions, sources, spent
from perfmodel.report.figure import Card, Figure, Page, Plot, Tabled
from perfmodel.report.traces import axis, log_axis, markers, said, steps, thinned
from perfmodel.report.words import capital, factor, share
from perfmodel.serving.question import Serving
from perfmodel.serving.seen import PERCENTILES
from perfmodel.table import Table
from perfmodel.units import show_rate, show_seconds

NAMES = {
    "ttft_s": "time to first token",
    "itl_s": "between tokens",
    "tpot_s": "time per token of a request",
    "e2e_s": "end to end",
}
FULL = 0.9
"""Part of the most that it serves from which a server is called nearly full."""


def serving_page(answer: Serving, command: str = "") -> Page:
    """The page."""
    seen = Tabled("seen", _table(answer), "Of all requests that were simulated.")
    return replace(
        first_screen(answer),
        figures=_figures(answer),
        tables=[seen, sources(answer.estimate.plan)],
        lists=[assumptions(answer.assumptions)],
        command=command,
    )


def first_screen(answer: Serving) -> Page:
    """What users see, and nothing else yet."""
    warnings = [capital(line) for line in answer.estimate.warnings]
    return Page(f"{title_of(answer)}, under load", _headline(answer), _cards(answer), _basis(answer), notices=warnings)


def title_of(answer: Serving) -> str:
    """Model and devices; of pools, of both."""
    plan = answer.estimate.plan
    return f"{plan.model.title} on {answer.load.gpu_count} × {plan.gpu.title}"


def traffic(answer: Serving) -> str:
    """What comes, in words."""
    t = answer.traffic
    how = {
        "closed": f"{t.concurrency or 0:,} requests always in flight",
        "open": f"{t.rate or 0:g} requests a second at random",
        "burst": f"{t.requests:,} requests at once",
        "trace": f"the {t.requests:,} requests of the trace",
    }
    return how[t.arrival]


def _headline(answer: Serving) -> str:
    load, seen = answer.load, answer.distributions
    full = load.request_rate / answer.saturation.requests_per_s
    state = (
        f"it is as good as full ({share(min(full, 1.0))} of the most that it serves)"
        if full >= FULL
        else f"it could serve {factor(1 / full)} as many requests a second"
    )
    return (
        f"With {traffic(answer)}, half of the users see their first token within {show_seconds(seen['ttft_s'].p50)} "
        f"and 99 % within {show_seconds(seen['ttft_s'].p99)}; a further token takes "
        f"{show_seconds(seen['tpot_s'].p50)}. {capital(state)}."
    )


def _cards(answer: Serving) -> list[Card]:
    load, seen = answer.load, answer.distributions
    cost = answer.usd_per_million_tokens
    rates = f"{show_rate(load.request_rate)} requests/s; full at {show_rate(answer.saturation.requests_per_s)}"
    found = [
        Card("First token, 99 % within", show_seconds(seen["ttft_s"].p99), f"mean {_ends(load.ttft)}"),
        Card("Time per token, 99 % within", show_seconds(seen["tpot_s"].p99), f"mean {_ends(load.tpot)}"),
        Card("Output tokens/s", show_rate(load.output_rate), rates),
    ]
    if cost is not None:
        note = f"at {answer.estimate.price_per_hour:g} a GPU-hour and this load"
        return [*found, Card("Cost of a million tokens out", f"{show_rate(cost)} USD", note)]
    return [*found, Card("GPUs", f"{load.gpu_count:,}", "no price is on file")]


def _ends(time: Time) -> str:
    return f"{show_seconds(time.expected)}; 80 %: {show_seconds(time.low)} – {show_seconds(time.high)}"


def _basis(answer: Serving) -> str:
    lines = [line for line in answer.assumptions if line.startswith("expected error")]
    return f"{answer.traffic.requests:,} requests simulated, pass by pass. {capital(lines[0])}." if lines else ""


def _figures(answer: Serving) -> list[Figure]:
    load = answer.load
    means = {"time to first token": load.ttft, "time per token": load.tpot, "end to end": load.e2e}
    return [_chances(answer), _requests(answer), spent(means, "What the means are spent on"), _pace(answer)]


def _chances(answer: Serving) -> Figure:
    """Which part of the requests is served within a time."""
    served, seen = answer.load.served, answer.distributions
    plots = [
        _within("Time to first token", served.first),
        _within("End to end", served.ended),
    ]
    spread = seen["ttft_s"].p99 / seen["ttft_s"].p50 if seen["ttft_s"].p50 else 1.0
    caption = (
        f"A steep line is a server on which all users see the same; here the slowest hundredth wait {factor(spread)} "
        f"as long for the first token as the middle one, and {show_seconds(seen['e2e_s'].p99)} for the whole answer."
    )
    return Figure("chances", "Which part of the users is served within a time", caption, plots)


def _within(title: str, seconds: Sequence[float]) -> Plot:
    ordered = sorted(float(one) for one in seconds)
    n = len(ordered)
    points = [(value, 100 * (i + 1) / n) for i, value in enumerate(ordered)]
    drawn = thinned(points)
    marks = [(ordered[min(int(n * p / 100), n - 1)], float(p)) for p in PERCENTILES]
    texts = [said([f"{p:.0f} % within {show_seconds(value)}"]) for value, p in marks]
    traces = [steps("of the requests", drawn, 0), markers("percentiles", 1, marks, texts, "diamond", [10] * len(marks))]
    layout = {"xaxis": log_axis("within", ordered, "s"), "yaxis": axis("of the requests", " %"), "height": 360}
    return Plot(title, traces, layout, len(drawn), n)


def _requests(answer: Serving) -> Figure:
    """First token of every request against its prompt."""
    load = answer.load
    rows = list(zip(load.drawn, load.served.first, load.served.ended, strict=True))
    drawn = thinned(rows)
    at = [(float(r.sent), float(first)) for r, first, _ in drawn]
    texts = [
        said(
            [
                f"sent at {show_seconds(r.sent)}" if r.sent else "sent at the start",
                f"{r.prompt:,} tokens in, {r.output:,} out",
                f"first token after {show_seconds(first)}, last after {show_seconds(ended)}",
            ]
        )
        for r, first, ended in drawn
    ]
    title = "First tokens, request by request"
    if len({x for x, _ in at}) == 1:  # a closed loop: what is known is their order
        at = [(float(i + 1), y) for i, (_, y) in enumerate(at)]
        head, x = "In the order in which they were drawn", axis("request")
    else:
        head, x = "By the second in which they were sent", axis("sent at", " s")
    layout = {
        "xaxis": x,
        "yaxis": log_axis("time to first token", [y for _, y in at], "s"),
        "height": 360,
        "showlegend": False,
    }
    half = len(rows) // 2 or 1
    early, late = (sorted(first for _, first, _ in part)[len(part) // 2] for part in (rows[:half], rows[-half:]))
    grows = late / early if early else 1.0
    trend = (
        f"the later half waits {factor(grows)} as long as the earlier: requests pile up"
        if grows > 1.5
        else f"the earlier half waits {factor(1 / grows)} as long as the later: a rush at the start"
        if grows < 1 / 1.5
        else "the later half waits about as long as the earlier: the server keeps pace"
    )
    return Figure(
        "requests",
        title,
        f"{head}; {trend}.",
        [Plot(title, [markers("requests", 0, at, texts)], layout, len(drawn), len(rows))],
    )


def _pace(answer: Serving) -> Figure:
    """Requests a second beside the most there is."""
    load, full = answer.load, answer.saturation
    most = full.requests_per_s
    served = min(load.request_rate, most)
    title = "How full it is"
    plot = stacked_bars(
        title,
        ["requests/s"],
        {"served": [served], "free": [max(most - served, 0.0)]},
        show_rate,
        "",
        ("the most", most),
    )
    why = {"memory": "memory holds no more sequences", "limit": "the engine allows no more sequences"}
    caption = (
        f"{show_rate(load.request_rate)} of {show_rate(most)} requests a second are served, "
        f"{share(load.request_rate / most)}; the most is at {full.batch:,.0f} sequences at once, where "
        f"{why.get(full.binds, f'{full.binds} bind')} and a token takes {show_seconds(full.tpot_s)}. A "
        "closed loop that ends is below it for its start and its end."
    )
    return Figure("full", title, caption, [plot])


def _table(answer: Serving) -> Table:
    seen = answer.distributions
    columns = {"": [NAMES[name] for name in seen]}
    for name in ("mean", *(f"p{p}" for p in PERCENTILES)):
        columns[name] = [show_seconds(getattr(found, name)) for found in seen.values()]
    return Table(columns, "What requests see")
