"""Time to first token and between tokens against the rate of requests."""

from __future__ import annotations

from draw import lines

from perfmodel.serving.question import serve

SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
LENGTHS = {"prompt_lengths": "lognormal:1024,0.8", "output_lengths": "lognormal:256,0.8"}


def picture() -> str:
    """The SVG."""
    full = serve("llama3.1-8b", "h100", rate=1.0, requests=2, **LENGTHS).saturation.requests_per_s
    answers = [serve("llama3.1-8b", "h100", rate=share * full, requests=1500, **LENGTHS) for share in SHARES]
    series = {
        f"{name} {which}": [
            (share * full, 1e3 * getattr(answer.distributions[key], which))
            for share, answer in zip(SHARES, answers, strict=True)
        ]
        for key, name in (("ttft_s", "TTFT"), ("itl_s", "ITL"))
        for which in ("mean", "p99")
    }
    title = f"Llama 3.1 8B on an H100, full at {full:.1f} requests/s"
    return lines(title, "requests a second", "milliseconds", series, log_y=True)
