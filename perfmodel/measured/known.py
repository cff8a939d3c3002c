"""What the catalog calls a device that a driver names in its own way: "NVIDIA A100-SXM4-80GB" is a100."""

from __future__ import annotations

import re
from collections.abc import Iterator

from perfmodel.catalog import load_gpu
from perfmodel.errors import PerfModelError

ALIKE = 0.08
"""How far the memory that a driver reports may be from the catalog's."""
_MAKERS = re.compile(r"\b(nvidia|amd|intel|instinct|tesla|geforce|graphics|gpu|generation|data center|\(r\)|\(tm\))\b")
_SIZE = re.compile(r"\b\d+\s?gi?b\b")
_BUILD = re.compile(r"\b(hbm\d?e?|sxm\d?|oam|pcie|nvl|vram)\b")


def catalogued(name: str, memory: int) -> str | None:
    """The catalog's name of a device of so many bytes; None where it has none, or one of another memory."""
    for spelling in _spellings(name.lower()):
        try:
            gpu = load_gpu(spelling)
        except PerfModelError:
            continue
        if abs(gpu.memory / memory - 1) <= ALIKE:
            return gpu.name
    return None


def _spellings(name: str) -> Iterator[str]:
    """From the whole name to the bare one: a memory or a form of build may be part of the catalog's name or not."""
    plain = _MAKERS.sub(" ", name)
    sizes = [match.replace(" ", "") for match in _SIZE.findall(plain)]
    bare = _SIZE.sub(" ", plain)
    short = _BUILD.sub(" ", bare)
    forms = [match.rstrip("0123456789") for match in re.findall(r"\b(?:sxm\d?|pcie|nvl)\b", bare)]
    for words in (plain, bare, *(f"{short} {form}" for form in forms), short):
        for size in (*sizes, ""):
            spelled = "-".join(re.findall(r"[a-z0-9.]+", f"{words} {size}"))
            if spelled:
                yield spelled
