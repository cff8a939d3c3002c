"""The runs of servers that come with aiconfigurator-core, held against predictions or fitted without some of them."""

from __future__ import annotations

from typing import Any

from perfmodel.errors import RequestError
from perfmodel.fitting.engines import UNDER, EngineFit, Scored, fitted
from perfmodel.fitting.runs import experts_of
from perfmodel.fitting.silicon import FILE, silicon_rows
from perfmodel.fitting.tables import package_version
from perfmodel.published.comparison import Comparison
from perfmodel.published.predictions import predictions
from perfmodel.published.rows import Chosen, Row, chosen, columns
from perfmodel.spec import nearest
from perfmodel.table import Table, flush_right, percent

SOURCES = ("aiconfigurator",)
MODELS = ("dense", "experts")
UNSEEN = ("nothing", "setting", "model", "device")


def rows_from(source: str, models: str | None, quality: str | None) -> Chosen:
    """The runs of a source, of dense models or of those with experts alone where `models` says so."""
    for use, value, known in (("--from", source, SOURCES), ("--models", models, MODELS)):
        if value is not None and value not in known:
            guess = nearest(value, known)
            hint = f"did you mean {guess}?" if guess else f"known: {', '.join(known)}"
            raise RequestError(f'{use}: nothing is called "{value[:40]}"; {hint}')
    rows = [row for row in silicon_rows() if models is None or experts_of(row) is (models == "experts")]
    return chosen(rows, None, quality, FILE)


def compared(source: str, by: str, models: str | None = None, quality: str | None = "ok") -> Comparison:
    """Every run with a prediction by the constants that ship."""
    kept = rows_from(source, models, quality)
    return Comparison(f"{FILE} of aiconfigurator-core {package_version()}", columns(by), kept, predictions(kept.rows))


def left_out(source: str, models: str | None = None, jobs: int = 1) -> Table:
    """Errors of times under load by constants fitted without the setting, the model or the device of a run."""
    rows: list[Row] = [row for row in rows_from(source, models, "ok").rows if row.mode == "concurrency"]
    return _table(fitted(rows, jobs))


def _table(fit: EngineFit) -> Table:
    kept = [s for s in fit.scores if s.unseen in UNSEEN and s.phase.endswith(UNDER)]
    kept.sort(key=lambda s: (UNSEEN.index(s.unseen), s.engine != "all", s.engine, s.phase))
    names = {"prefill": "TTFT", "decode": "TPOT"}
    return Table(
        {
            "left out": [s.unseen for s in kept],
            "engine": [s.engine for s in kept],
            "metric": [names.get(s.phase.removesuffix(UNDER), s.phase) for s in kept],
            "rows": [s.errors.n for s in kept],
            **_errors(kept),
        },
        f"{fit.rows:,} rows of {FILE}, by constants fitted to the others",
    )


def _errors(scores: list[Scored]) -> dict[str, list[Any]]:
    return {
        "median": flush_right([percent(s.errors.median) for s in scores]),
        "mean": flush_right([percent(s.errors.mean) for s in scores]),
        "90th": flush_right([percent(s.errors.p90) for s in scores]),
        "bias": flush_right([percent(s.errors.bias, "+") for s in scores]),
        "80 % within": flush_right([f"×{s.spread:.2f}" for s in scores]),
    }
