"""TPOT against tp, inside a node and over two (docs/levers/tensor-parallelism.md)."""

from draw import lines

from perfmodel import estimate

SPLITS = {"tp alone": [(n, {"tp": n}) for n in (2, 4, 8, 16)]}
SPLITS["tp 8, stages on nodes"] = [(8, {"tp": 8}), (16, {"tp": 8, "pp": 2})]
SPLITS["tp alone, half of it hidden"] = [(n, {"tp": n, "overlap": 0.5}) for n in (2, 4, 8, 16)]


def picture() -> str:
    """Llama 3 70B on H100, 32 sequences, expected milliseconds."""
    found = {
        name: [(n, 1e3 * estimate("llama3-70b", "h100", batch=32, must_fit=False, **asked).tpot_s.expected)
               for n, asked in splits]
        for name, splits in SPLITS.items()
    }  # fmt: skip
    return lines("Llama 3 70B on H100, 32 sequences: time per token", "GPUs", "ms per token", found, log_x=True)
