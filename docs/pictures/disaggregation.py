"""Gaps between tokens against clients, prefill and decode together and apart."""

from __future__ import annotations

from draw import lines

from perfmodel.serving.question import serve

CLIENTS = (2, 4, 8, 16, 32, 64)
ASKED = {"tp": 4, "prompt": 4000, "output": 300}


def picture() -> str:
    """The SVG."""
    together = [serve("llama3-70b", "h100", concurrency=c // 2, **ASKED) for c in CLIENTS]
    apart = [serve("llama3-70b", "h100", concurrency=c, prefill_workers=1, decode_workers=1, **ASKED) for c in CLIENTS]
    series = {
        f"{name}, {which}": [
            (float(c), 1e3 * getattr(answer.distributions["itl_s"], which))
            for c, answer in zip(CLIENTS, answers, strict=True)
        ]
        for name, answers in (("two that do both", together), ("1P1D", apart))
        for which in ("p50", "p99")
    }
    title = "Llama 3 70B on eight H100: gaps between tokens"
    return lines(title, "clients in all", "milliseconds", series, log_x=True, log_y=True)
