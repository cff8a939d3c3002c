"""Throughput with weights on the host, against the batch that shares each sending."""

from __future__ import annotations

from draw import lines

from perfmodel.answer import estimate


def picture() -> str:
    """The SVG."""
    series = {}
    for name, gpu, share in (
        ("H100, all on the device", "h100", 0.0),
        ("H100, half over PCIe 5", "h100", 0.5),
        ("H100, all over PCIe 5", "h100", 1.0),
        ("GH200, all over C2C", "gh200", 1.0),
    ):
        points = []
        for i in range(9):
            answer = estimate("llama3-8b", gpu, tp=1, must_fit=False, batch=2**i, prompt=512, offload_weights=share)
            points.append((float(2**i), answer.tokens_per_s.expected))
        series[name] = points
    title = "Llama 3 8B, 512 tokens in and 256 out: weights in memory of the host"
    return lines(title, "sequences", "tokens/s", series, log_x=True, log_y=True)
