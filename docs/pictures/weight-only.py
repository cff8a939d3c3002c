"""TPOT against batch by format of weights (docs/levers/weight-only.md)."""

from draw import lines

from perfmodel import estimate

SERIES = {
    "bf16": {},
    "int4, fused": {"weights": "int4"},
    "int4, unfused": {"weights": "int4", "dequantize": "unfused"},
    "fp8": {"weights": "fp8"},
}
BATCHES = [1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512]


def picture() -> str:
    """Llama 3 8B on one H100, expected milliseconds."""
    found = {}
    for name, asked in SERIES.items():
        times = estimate("llama3-8b", "h100", gpu_count=1, batch=BATCHES, must_fit=False, **asked).tpot_s.expected
        found[name] = [(batch, 1e3 * float(time)) for batch, time in zip(BATCHES, times, strict=True)]
    title = "Llama 3 8B on H100, vLLM: time per token by format of weights"
    return lines(title, "sequences at once", "ms per token", found, log_x=True)
