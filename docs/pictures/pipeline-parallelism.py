"""Throughput against time per token of 405B on one and two nodes (docs/levers/pipeline-parallelism.md)."""

from draw import lines

from perfmodel import estimate

BATCHES = [2, 4, 8, 16, 32, 64]
SERIES = {
    "BF16, PP 2, one micro-batch": {"pp": 2, "microbatches": 1},
    "BF16, PP 2, two": {"pp": 2, "microbatches": 2},
    "FP8, PP 2, two": {"pp": 2, "microbatches": 2, "weights": "fp8"},
    "FP8, one node": {"weights": "fp8"},
}


def picture() -> str:
    """Llama 3.1 405B on nodes of eight H100, 4,096 tokens in, 256 out: decode alone."""
    found = {}
    for name, asked in SERIES.items():
        answers = (
            estimate("llama3.1-405b", "h100", tp=8, prompt=4096, batch=b, must_fit=False, **asked) for b in BATCHES
        )
        found[name] = [(1e3 * a.tpot_s.expected, a.work.batch / a.tpot_s.expected / a.plan.gpu_count) for a in answers]
    title = "Llama 3.1 405B on H100, TP 8: decode at 2 to 64 sequences"
    return lines(title, "ms per token", "tokens/s of each GPU", found)
