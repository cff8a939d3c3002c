"""Tokens per second against clients, for the policies of batching."""

from __future__ import annotations

from draw import lines

from perfmodel.serving.question import serve

CLIENTS = (1, 2, 4, 8, 16, 32, 64, 128)
NAMES = {
    "mixed": "mixed (chunked prefill)",
    "prefill-first": "prefill first",
    "decode-first": "decode first",
    "static": "static, padded",
}


def picture() -> str:
    """The SVG."""
    series = {name: [(float(c), _rate(policy, c)) for c in CLIENTS] for policy, name in NAMES.items()}
    title = "Llama 3.1 8B on an H100: output tokens/s"
    return lines(title, "clients of a closed loop", "output tokens/s", series, log_x=True)


def _rate(policy: str, clients: int) -> float:
    answer = serve(
        "llama3.1-8b", "h100", concurrency=clients, requests=400, policy=policy, output_lengths="uniform:32-480"
    )
    return answer.load.output_rate
