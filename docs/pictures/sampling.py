"""What steps of the sampler add to a token, against the batch."""

from __future__ import annotations

from draw import lines

import perfmodel as pm

STEPS = ("typical-p", "top-k,top-p", "top-p", "penalties", "top-p,sorting-free", "min-p")
BATCHES = (1, 16, 32, 64, 128, 256)


def picture() -> str:
    """Llama 3 8B (128,256 words) on an H100."""
    series: dict[str, list[tuple[float, float]]] = {}
    for batch in BATCHES:
        plain = _tpot_s(batch, None)
        for steps in STEPS:
            series.setdefault(steps, []).append((batch, (_tpot_s(batch, steps) - plain) * 1e3))
    return lines("Steps of the sampler, Llama 3 8B on H100", "sequences at once", "ms more a token", series)


def _tpot_s(batch: int, steps: str | None) -> float:
    return pm.estimate("llama3-8b", "h100", batch=batch, sampling=steps).tpot_s.expected
