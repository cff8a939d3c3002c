"""TPOT against the batch for levers side by side, as far as each fits."""

from __future__ import annotations

from draw import lines

import perfmodel as pm

CHANGES = ("weights=fp8", "kv=fp8", "weights=fp8,kv=fp8", "tp=4")
BATCHES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128)


def picture() -> str:
    """Llama 3 70B on two H200, 8,192 tokens in."""
    series: dict[str, list[tuple[float, float]]] = {}
    for batch in BATCHES:
        found = pm.compare("llama3-70b", "h200", tp=2, batch=batch, prompt=8192, changes=CHANGES)
        for variant in (found.baseline, *found.variants):
            points = series.setdefault(variant.change or "baseline: tp 2, bf16", [])
            if variant.fits:
                points.append((batch, variant.answer.tpot_s.expected * 1e3))
    return lines("Llama 3 70B on H200, 8,192 tokens in", "sequences at once", "TPOT, ms", series)
