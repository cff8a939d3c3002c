"""A sweep as JSON: docs/json.md says what each key means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfmodel.study.study import Study
from perfmodel.table import Table


def sweep_dict(study: Study, columns: Mapping[str, Any], rows: int, fitting: int) -> dict[str, Any]:
    """The study, how many of its rows there are and fit, and the rows of `columns`; what is not known is null."""
    from perfmodel import __version__

    return {
        "version": __version__,
        "study": study.to_dict(),
        "cases": study.cases,
        "rows_kept": rows,
        "fitting": fitting,
        "rows": rows_of(columns),
    }


def rows_of(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows as mappings; a number that is not one is None."""
    return [
        {name: None if isinstance(v, float) and v != v else v for name, v in zip(columns, row, strict=True)}
        for row in Table(columns).rows()
    ]
