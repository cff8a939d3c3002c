"""How much faster decoding gets by guessing three tokens ahead, against the batch, at several acceptances."""

from __future__ import annotations

from draw import lines

from perfmodel.answer import estimate
from perfmodel.speculation.speedup import speedup

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
RATES = (0.9, 0.8, 0.7, 0.6, 0.4, 0.2)


def picture() -> str:
    """The picture as SVG."""
    series = {}
    for rate in RATES:
        answer = estimate(
            "llama3.1-70b",
            "h100",
            tp=4,
            batch=BATCHES,
            prompt=500,
            draft="llama3.2-1b",
            draft_tokens=3,
            acceptance=rate,
            must_fit=False,
        )
        gains = speedup(answer.plan, answer.work)
        series[f"acceptance {rate:g}"] = [(float(b), float(gain)) for b, gain in zip(BATCHES, gains, strict=True)]
    series["no gain"] = [(float(BATCHES[0]), 1.0), (float(BATCHES[-1]), 1.0)]
    title = "Llama 3.1 70B on 4 H100, three tokens ahead by Llama 3.2 1B"
    return lines(title, "sequences at once", "times as fast as without", series, log_x=True)
