"""Decode attention with keys split among compute units and without, at one budget of keys."""

from __future__ import annotations

from draw import lines

from perfmodel.answer import estimate


def picture() -> str:
    """The SVG."""
    series = {}
    for name in ("flash", "unsplit", "paged-v1"):
        points = []
        for i in range(9):
            answer = estimate(
                "llama3-8b", "a100", tp=1, must_fit=False, batch=2**i, prompt=2 ** (17 - i), output=2, attention=name
            )
            points.append((float(2**i), 1e3 * answer.tpot_s.expected))
        series[name] = points
    title = "Llama 3 8B on A100, 131,072 cached tokens in all: time per token"
    return lines(title, "sequences (each of 131,072/sequences tokens)", "time per token (ms)", series, log_x=True)
