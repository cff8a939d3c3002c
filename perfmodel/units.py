"""The only file that knows a prefix: "3.35 TB/s" ↔ 3.35e12.

Inside the package every number is SI base (bytes, seconds, FLOP, FLOP/s, bytes/s, W) and USD. A spec
field typed `Bytes`, `BytesPerSecond`, … accepts text that carries its unit, and nothing else: a bare
number is an error that says how to write it. GB is 10⁹ bytes, GiB is 2³⁰ bytes, a multiply-add is 2 FLOP.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
FRACTIONS = {"": 1.0, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "n": 1e-9}

_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*([^\s0-9.].*?)\s*")


def _spellings(prefixes: dict[str, Any], *bases: str) -> dict[str, float]:
    return {prefix + base: scale for base in bases for prefix, scale in prefixes.items()}


def _bits(unit: str) -> dict[str, float]:
    return {prefix + unit: scale / 8 for prefix, scale in DECIMAL.items()}


# dimension → (an example to show, every accepted unit → its size in SI base units)
DIMENSIONS: dict[str, tuple[str, dict[str, float]]] = {
    "bytes": ("80 GiB", _spellings(DECIMAL | BINARY, "B")),
    "bytes/s": ("3.35 TB/s", _spellings(DECIMAL | BINARY, "B/s") | _bits("bit/s")),
    "FLOP/s": ("989.4 TFLOP/s", _spellings(DECIMAL, "FLOP/s", "FLOPS", "OP/s", "OPS")),
    "s": ("5 us", _spellings(FRACTIONS, "s")),
    "Hz": ("1830 MHz", _spellings(DECIMAL, "Hz")),
    "W": ("700 W", _spellings(DECIMAL, "W")),
    "USD/h": ("2.99 USD/h", {"USD/h": 1.0, "USD/hour": 1.0}),
}


def quantity(text: object, dimension: str) -> float:
    """The SI value of `text`, such as "80 GiB" in the dimension "bytes".

    Raises ValueError with one sentence that shows the way to write it when the unit is missing, unknown
    or of another dimension, and when the size is not above zero.
    """
    example, units = DIMENSIONS[dimension]
    found = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f'needs a number above zero and its unit, like "{example}"; got {text!r}')
    number, unit = float(found[1]), found[2]
    if unit not in units:
        raise ValueError(f'needs a unit of {dimension}, like "{example}"; got {text!r}{_unit_hint(unit, units)}')
    value = number * units[unit]
    if not 0 < value < float("inf"):
        raise ValueError(f'must be above zero and finite, like "{example}"; got {text!r}')
    return value


def _unit_hint(unit: str, units: dict[str, float]) -> str:
    same = [known for known in units if known.lower() == unit.lower()]
    if unit.endswith(("b", "b/s", "bps")):
        return " (b is ambiguous: write B for bytes, bit for bits)"
    return f' (did you mean "{same[0]}"?)' if same else ""


def _parser(dimension: str) -> Callable[[object], float]:
    return lambda text: quantity(text, dimension)


def _whole_bytes(text: object) -> int:
    return round(quantity(text, "bytes"))


Bytes = Annotated[int, BeforeValidator(_whole_bytes)]
BytesPerSecond = Annotated[float, BeforeValidator(_parser("bytes/s"))]
FlopPerSecond = Annotated[float, BeforeValidator(_parser("FLOP/s"))]
Seconds = Annotated[float, BeforeValidator(_parser("s"))]
Hertz = Annotated[float, BeforeValidator(_parser("Hz"))]
Watts = Annotated[float, BeforeValidator(_parser("W"))]
UsdPerHour = Annotated[float, BeforeValidator(_parser("USD/h"))]
Count = Annotated[int, Field(strict=True, gt=0, lt=10**12)]


# ── the way out: numbers for people ──────────────────────────────────────────────────────────────


def _scaled(value: float, prefixes: Mapping[str, float], unit: str, digits: int) -> str:
    size = abs(value)
    best = max((s for s in prefixes.values() if s <= size), default=min(prefixes.values()))
    prefix = next(p for p, s in prefixes.items() if s == best)
    return f"{value / best:,.{digits}g} {prefix}{unit}" if size < best * 1e3 else f"{value / best:,.0f} {prefix}{unit}"


def show_bytes(value: float, digits: int = 4) -> str:
    """`value` bytes in decimal units: 141107412992 → "141.1 GB"."""
    return _scaled(float(value), DECIMAL, "B", digits)


def show_bytes_per_s(value: float) -> str:
    return _scaled(float(value), DECIMAL, "B/s", 4)


def show_flops(value: float) -> str:
    """A FLOP count: 2.97e13 → "29.7 TFLOP"."""
    return _scaled(float(value), DECIMAL, "FLOP", 4)


def show_flops_per_s(value: float) -> str:
    return _scaled(float(value), DECIMAL, "FLOP/s", 4)


def show_seconds(value: float) -> str:
    """A time at three digits: 0.00523 → "5.23 ms"."""
    scales = {"": 1.0, "m": 1e-3, "µ": 1e-6, "n": 1e-9}
    return _scaled(float(value), scales, "s", 3)


def show_count(value: float) -> str:
    """A count of parameters or tokens: 8030261248 → "8.03 B"."""
    names = {"": 1.0, "k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
    return _scaled(float(value), names, "", 3).rstrip()


def show_rate(value: float) -> str:
    """A number a second, or a price, at three digits: 8123.4 → "8,123", 2.514 → "2.51"."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def show_scaled(value: float) -> str:
    """A number with a decimal prefix: 2e13 → "20 T", 0.05 → "0.05"."""
    return _scaled(float(value), DECIMAL, "", 3).rstrip()
