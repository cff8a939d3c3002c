"""Time per token against the context, with all tokens cached and with budgets."""

from __future__ import annotations

from draw import lines

from perfmodel.answer import estimate


def picture() -> str:
    """The SVG."""
    series = {}
    for name, policy in (
        ("all tokens", None),
        ("StreamingLLM 4+2044", "streaming:4+2044"),
        ("H2O 1024+1024", "h2o:1024+1024"),
        ("SnapKV 2016+32", "snapkv:2016+32"),
    ):
        points = []
        for i in range(9, 18):
            answer = estimate(
                "llama3-8b", "h100", tp=1, must_fit=False, batch=16, prompt=2**i, output=2, kv_policy=policy
            )
            points.append((float(2**i), 1e3 * answer.tpot_s.expected))
        series[name] = points
    title = "Llama 3 8B on H100, 16 sequences: time per token by cached tokens"
    return lines(title, "prompt (tokens)", "time per token (ms)", series, log_x=True)
