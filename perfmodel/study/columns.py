"""Columns of a sweep: their kinds, which way each is better, and names in other units.

A column of seconds may be asked for as "ttft_ms", one of bytes as "memory_gb" or "memory_gib": the number is converted,
and no column is kept twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from perfmodel.errors import RequestError
from perfmodel.spec import nearest
from perfmodel.units import BINARY, DECIMAL, FRACTIONS

TEXT, TRUTH, WHOLE, NUMBER = "text", "truth", "whole", "number"

PLACED = {
    "model": TEXT,
    "gpu": TEXT,
    "gpu_count": WHOLE,
    "tp": WHOLE,
    "pp": WHOLE,
    "dp": WHOLE,
    "ep": WHOLE,
    "cp": WHOLE,
    "replicas": WHOLE,
    "engine": TEXT,
    "weights": TEXT,
    "kv": TEXT,
}
"""Columns that say what is deployed, of every case."""
SIZES = {"batch": WHOLE, "prompt": WHOLE, "output": WHOLE}
HELD = {"fits": TRUTH, "reason": TEXT, "memory_bytes": NUMBER, "kv_cache_bytes": NUMBER}
SPECULATED = {"tokens_a_pass": NUMBER, "speedup": NUMBER}
PAID = {"usd_per_million_tokens": NUMBER, "joules_per_token": NUMBER}
RATES = {"tokens_per_s": NUMBER, "tokens_per_s_per_user": NUMBER, "tokens_per_s_per_gpu": NUMBER}
TIMES = {f"{name}_s{end}": NUMBER for name in ("ttft", "tpot", "e2e") for end in ("", "_bound", "_low", "_high")}
MORE_IS_BETTER = (*RATES, *SPECULATED, "batch", "prompt", "output", "fits")
"""Of every other figure less is better."""
NICKNAMES = {
    "cost_per_mtok_usd": "usd_per_million_tokens",
    "usd_per_mtok": "usd_per_million_tokens",
    "cost": "usd_per_million_tokens",
    "throughput": "tokens_per_s",
    "memory": "memory_bytes",
    "gpus": "gpu_count",
}
_SECONDS = {f"{prefix}s": scale for prefix, scale in FRACTIONS.items() if prefix.isascii()}
_BYTES = {f"{prefix}b".lower(): float(scale) for prefix, scale in (DECIMAL | BINARY).items() if prefix}


def figures(speculated: bool) -> dict[str, str]:
    """Figures of a case, in order, and their kinds."""
    return TIMES | RATES | (SPECULATED if speculated else {}) | PAID


@dataclass(frozen=True)
class Column:
    """A column as it was asked for: its own name in the table, and how many of the table's units one of its is."""

    asked: str
    name: str
    scale: float = 1.0

    @property
    def more_is_better(self) -> bool:
        return self.name in MORE_IS_BETTER

    def of(self, columns: Mapping[str, Any]) -> Any:
        """Its values, in its own unit."""
        values = columns[self.name]
        return values if self.scale == 1 else values / self.scale


def column(asked: str, known: Iterable[str], use: str) -> Column:
    """The column that a name means; RequestError begins with `use` if there is none."""
    names = list(known)
    plain = str(asked).replace("-", "_")
    for name in (plain, NICKNAMES.get(plain, "")):
        if name in names:
            return Column(str(asked), name)
    spelled = {alias: found for name in names for alias, found in _spellings(name, str(asked)).items()}
    if plain in spelled:
        return spelled[plain]
    everything = [*names, *NICKNAMES, *spelled]
    guess = nearest(plain, everything)
    hint = f'did you mean "{guess}"?' if guess else f"there are {', '.join(names)}."
    raise RequestError(f'{use}: no column is called "{str(asked)[:40]}"; {hint}')


def _spellings(name: str, asked: str) -> dict[str, Column]:
    """Names in other units, of a column that ends in its own."""
    stem, _, end = name.partition("_s")
    if "_s" in name and end in ("", "_bound", "_low", "_high") and "per" not in stem:
        return {f"{stem}_{unit}{end}": Column(asked, name, scale) for unit, scale in _SECONDS.items()}
    if name.endswith("_bytes"):
        return {f"{name[:-6]}_{unit}": Column(asked, name, scale) for unit, scale in _BYTES.items()}
    return {}
