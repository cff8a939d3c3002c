"""Throughput of answers to one prompt, against how many of them share it."""

from __future__ import annotations

from typing import Any

from draw import lines

from perfmodel.answer import estimate


def picture() -> str:
    """The SVG."""
    sizes: dict[str, Any] = {"tp": 1, "must_fit": False, "prompt": 4096, "output": 256}
    apart, shared, once = [], [], []
    for i in range(9):
        n = 2**i
        apart.append((float(n), estimate("llama3-8b", "h100", batch=n, **sizes).tokens_per_s.expected))
        shared.append((float(n), estimate("llama3-8b", "h100", samples=n, **sizes).tokens_per_s.expected))
        more = {"samples": n, "shared_prefix_attention": True} if n > 1 else {}
        once.append((float(n), estimate("llama3-8b", "h100", **sizes, **more).tokens_per_s.expected))
    series = {"prompts apart": apart, "one prompt, shared": shared, "and read once (cascade)": once}
    title = "Llama 3 8B on H100, 4,096 tokens in and 256 out: answers to one prompt"
    return lines(title, "answers", "tokens/s", series, log_x=True, log_y=True)
