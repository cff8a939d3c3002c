"""Memory and time by what FP8 leaves alone (docs/levers/fp8-recipes.md)."""

from draw import lines

from perfmodel import estimate

SERIES = {"bf16": {}, "fp8-llama3": {"weights": "fp8-llama3"}, "fp8": {"weights": "fp8"}}
BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]


def picture() -> str:
    """Llama 3 70B on four H200, expected milliseconds."""
    found = {}
    for name, asked in SERIES.items():
        times = estimate("llama3-70b", "h200", gpu_count=4, batch=BATCHES, must_fit=False, **asked).tpot_s.expected
        found[name] = [(batch, 1e3 * float(time)) for batch, time in zip(BATCHES, times, strict=True)]
    title = "Llama 3 70B on 4 × H200: what FP8 leaves alone"
    return lines(title, "sequences at once", "ms per token", found, log_x=True)
