"""A comparison with published measurements as a page: predicted against measured, and the tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from perfmodel.published.comparison import Comparison
from perfmodel.published.predictions import Prediction
from perfmodel.published.scores import score
from perfmodel.report.figure import Card, Figure, Page, Plot, Tabled
from perfmodel.report.page import html
from perfmodel.report.traces import equal_lines, log_axis, markers, said, thinned
from perfmodel.report.words import many
from perfmodel.table import percent, shown


def page(run: Comparison, command: str = "") -> str:
    """The page as the text of a file."""
    return html(comparison_page(run, command))


def comparison_page(run: Comparison, command: str = "") -> Page:
    """The page; without a figure where nothing was predicted."""
    whole = score(run.predictions)
    tables = [Tabled(f"table-{i}", table) for i, table in enumerate(run.tables(), 1)]
    return Page(
        "Published measurements against predicted",
        f"{run.title()}.",
        [
            Card(
                "Median error", percent(whole.median_ape) or "–", f"nine of ten within {percent(whole.p90_ape) or '–'}"
            ),
            Card("Mean error", percent(whole.mean_ape) or "–", "without its sign"),
            Card("Bias", percent(whole.bias, "+") or "–", "the median with its sign; above 0 is predicted too large"),
            Card("In the 80 % interval", percent(whole.coverage80) or "–", f"of {many(whole.scored, 'row')}"),
        ],
        notices=[f"{line}." for line in run.left_out()],
        notices_title="Left out",
        figures=[predicted_against_measured(run.predictions)],
        tables=tables,
        command=command,
    )


def predicted_against_measured(found: Sequence[Prediction]) -> Figure:
    """A point a row that was predicted, by metric, each in its own unit."""
    title = "Predicted against measured"
    scored = [p for p in found if not p.reason and p.row.value > 0 and p.expected > 0]
    if not scored:
        return Figure("points", title, "Nothing was predicted, so that there is nothing to draw.", [])
    drawn = thinned(scored)
    values = [value for p in drawn for value in (p.row.value, p.expected)]
    counts = Counter(p.row.metric for p in drawn)
    metrics = sorted(counts, key=lambda name: (-counts[name], name))
    traces = equal_lines(values)
    for colour, metric in enumerate(metrics):
        some = [p for p in drawn if p.row.metric == metric]
        at = [(p.row.value, p.expected) for p in some]
        traces.append(markers(metric, colour, at, [said(_told(p)) for p in some]))
    unit = "in the unit of each metric"
    layout = {"xaxis": log_axis(f"measured, {unit}", values), "yaxis": log_axis("predicted", values), "height": 560}
    whole = score(list(found))
    caption = (
        "On the line a prediction is right, above it too large, below it too small; between the dotted lines it is "
        f"less than a fifth off. Half of the rows are within {percent(whole.median_ape)}, nine of ten within "
        f"{percent(whole.p90_ape)}."
    )
    return Figure("points", title, caption, [Plot(title, traces, layout, len(drawn), len(scored))])


def _told(p: Prediction) -> list[str]:
    row = p.row
    return [
        f"{row.model} on {row.n_gpus or 1} × {row.gpu}, {row.engine}",
        f"{row.metric}: measured {shown(row.value)}, predicted {shown(p.expected)}",
    ]
