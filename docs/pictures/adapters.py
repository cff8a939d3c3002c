"""What adapters add to a token, against the batch."""

from __future__ import annotations

from draw import lines

import perfmodel as pm

BATCHES = (1, 2, 4, 8, 16, 32, 64)


def picture() -> str:
    """Llama 2 7B on an A100, rank 16 on all linear layers, as in Punica's measurements."""
    series: dict[str, list[tuple[float, float]]] = {}
    for batch in BATCHES:
        plain = _tpot_s(batch, None)
        for name, lora in (
            ("one adapter", "16,all,1"),
            ("8 adapters", "16,all,8"),
            ("one a sequence", f"16,all,{batch}"),
        ):
            series.setdefault(name, []).append((batch, (_tpot_s(batch, lora) - plain) * 1e3))
    return lines("Adapters of rank 16 beside Llama 2 7B, A100", "sequences at once", "ms more a token", series)


def _tpot_s(batch: int, lora: str | None) -> float:
    return pm.estimate("llama2-7b", "a100-80gb", batch=batch, prompt=512, lora=lora).tpot_s.expected
