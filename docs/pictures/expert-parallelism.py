"""Throughput against time per token of DeepSeek-V3 on eight devices (docs/levers/expert-parallelism.md)."""

from draw import lines

from perfmodel import estimate

BATCHES = [8, 16, 32, 64, 128, 256, 512, 1024]
SERIES = {
    "TP 8": {"tp": 8},
    "TP 8, EP 8": {"tp": 8, "ep": 8},
    "DP 8, EP 8, all-gather": {"dp": 8, "ep": 8},
    "DP 8, EP 8, DeepEP": {"dp": 8, "ep": 8, "exchange": "deepep"},
    "the same, skew 0.6": {"dp": 8, "ep": 8, "exchange": "deepep", "routing_skew": 0.6},
}


def picture() -> str:
    """DeepSeek-V3 on eight H200, 2,048 tokens in, 512 out: what fits, decode alone."""
    found = {}
    for name, asked in SERIES.items():
        answers = [estimate("deepseek-v3", "h200", prompt=2048, output=512, batch=b, must_fit=False, **asked)
                   for b in BATCHES]  # fmt: skip
        found[name] = [(1e3 * a.tpot_s.expected, a.work.batch / a.tpot_s.expected / 8) for a in answers if a.fits]
    title = "DeepSeek-V3 on 8 H200: decode at 8 to 1,024 sequences, as far as memory goes"
    return lines(title, "ms per token", "tokens/s of each GPU", found)
