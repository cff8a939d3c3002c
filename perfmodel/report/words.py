"""Words that several pages use."""

from __future__ import annotations

from collections.abc import Sequence


def listed(names: Sequence[str]) -> str:
    """A, b and c."""
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else "".join(names)


def many(n: int, what: str) -> str:
    """ "1 model", "3 models"."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def capital(text: str) -> str:
    """`text` as the start of a sentence."""
    return text[:1].upper() + text[1:]


def shortened(name: str, most: int = 60) -> str:
    """A name that a legend has room for."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def share(part: float) -> str:
    """A part of a whole, as a person says it: "38 %", "under 1 %"."""
    return "under 1 %" if 0 < part < 0.005 else f"{part:.0%}".replace("%", " %")


def factor(ratio: float) -> str:
    """ "3.2 times", "1.04 times", "120 times"."""
    return f"{ratio:,.0f} times" if ratio >= 99.5 else f"{ratio:.3g} times"
