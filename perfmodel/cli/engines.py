"""How engine profiles look in a terminal. Formats figures, computes none."""

from __future__ import annotations

from typing import Any

from perfmodel.cli.screen import bold, width, wrapped
from perfmodel.profiles import meanings
from perfmodel.table import Table
from perfmodel.units import show_bytes, show_seconds

WORDS = {
    "memory_share": "of device memory that it may use",
    "block": "tokens of a KV-cache block",
    "token_budget": "most new tokens of a pass",
    "sequences_limit": "most sequences at once; 0 where none is known",
    "policy": "how it makes passes of requests",
    "reserves": "a request starts only when its whole output has room",
    "exchange": "how tokens reach experts of other groups",
    "framework_bytes": "context, kernels, allocator slack",
    "comm_bytes": "buffers of collectives, on several devices",
    "graph_bytes": "captured graphs",
    "attention": "flash, or naive where scores go through memory",
    "half_sums": "16-bit products summed in 16 bits",
}


def engine_row(row: dict[str, Any]) -> dict[str, Any]:
    """One row of the list."""
    errors = f"{row['median_ape']:.0%} / {row['p90_ape']:.0%}" if row["runs"] else ""
    return {
        "name": row["name"],
        "generation": row["generation"],
        "title": row["title"],
        "memory": f"{row['memory_share']:.0%}",
        "block": row["block"],
        "budget": f"{row['token_budget']:,}",
        "a layer": show_seconds(row["layer_s"]),
        "a pass": show_seconds(row["pass_s"]),
        "runs": f"{row['runs']:,}" if row["runs"] else "none",
        "error": errors,
    }


def engine_screen(data: dict[str, Any]) -> str:
    """One engine: defaults, habits and overheads of each generation, and what they rest on."""
    return "\n\n".join(_generation(data["name"], told) for told in data["generations"])


def _generation(name: str, told: dict[str, Any]) -> str:
    called = f"{name} {told['generation']}".strip()
    lines = [bold(f"{told['title']} ({called})"), wrapped("Source", told["source"])]
    lines += [wrapped("Fuses", told["fuses"]), wrapped("Overlaps", f"{told['overlaps']} ({told['habits_source']})")]
    lines += [wrapped("Kernels", _kernels(told)), wrapped("Rests on", _fit(told))]
    rows = [(key, _default(key, value), WORDS[key]) for key, value in told["defaults"].items()]
    spoken = meanings()
    rows += [(key, _overhead(key, value), spoken.get(key, "")) for key, value in told["overheads"].items() if value]
    left = width() - 2 - max(len(key) for key, *_ in rows) - max(len(value) for _, value, _ in rows) - 2
    columns = {"figure": [], "value": [], "meaning": []}  # type: dict[str, list[str]]
    for row in rows:
        for column, cell in zip(columns.values(), row, strict=True):
            column.append(cell if len(cell) <= left else f"{cell[: left - 1]}…")
    return "\n".join([*lines, "", Table(columns).to_text()])


def _kernels(told: dict[str, Any]) -> str:
    return f"as measured of {told['kernels']}; collectives of {told['collectives']}"


def _fit(told: dict[str, Any]) -> str:
    fit = told["fit"]
    if fit is None:
        return "no runs of whole models: what is thought of it"
    devices = ", ".join(f"{name} {count}" for name, count in list(fit["devices"].items())[:6])
    more = ", …" if len(fit["devices"]) > 6 else ""
    errors = f"errors {fit['median']:.1%} median, {fit['p90']:.1%} at the 90th percentile on runs not fitted"
    return f"{fit['points']:,} runs of whole models ({devices}{more}), {fit['date']}; {errors}"


def _default(key: str, value: Any) -> str:
    if key.endswith("bytes"):
        return show_bytes(value) if value else "0 B"
    if key == "memory_share":
        return f"{value:.0%}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _overhead(key: str, value: float) -> str:
    return show_seconds(value) if key.endswith("_s") else f"{value:.3g}"
