"""Sequences that one device holds, by format of the cache."""

from __future__ import annotations

from draw import lines

from perfmodel.answer import estimate


def picture() -> str:
    """The SVG."""
    series = {}
    for kv in ("bf16", "fp8", "int4", "kivi2"):
        points = []
        for i in range(9, 18):
            answer = estimate("llama3-8b", "h100", tp=1, must_fit=False, prompt=2**i, output=128, kv=kv)
            points.append((float(2**i), float(answer.room[0])))
        series[kv] = points
    title = "Llama 3 8B on H100: sequences that fit, by format of the KV cache"
    return lines(title, "prompt (tokens)", "sequences", series, log_x=True, log_y=True)
