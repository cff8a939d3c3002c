"""TTFT against the prompt by the nodes that share it (docs/levers/context-parallelism.md)."""

from draw import lines

from perfmodel import estimate

PROMPTS = [2**n for n in range(13, 21)]


def picture() -> str:
    """Llama 3.1 405B in FP8 on nodes of eight H100, expected seconds."""
    found = {}
    for cp in (1, 2, 4, 8, 16):
        answer = estimate("llama3.1-405b", "h100", tp=8, cp=cp, prompt=PROMPTS, output=2, weights="fp8", must_fit=False)
        name = f"{cp} node{'s' if cp > 1 else ''}"
        found[name] = [(p, float(t)) for p, t in zip(PROMPTS, answer.ttft_s.expected, strict=True)]
    title = "Llama 3.1 405B, FP8, TP 8 × CP on H100: time to first token"
    return lines(title, "prompt tokens", "seconds", found, log_x=True, log_y=True)
