"""Small Llamas that calibration runs whole, and on which workloads: none of them is a model that people serve."""

from __future__ import annotations

from typing import NamedTuple

from perfmodel.model import Model
from perfmodel.spec import checked

from .measure import Setting


class Size(NamedTuple):
    """Layers, width, query heads, KV heads, size of a head, width of the feed-forward."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_size: int
    ffn: int

    @property
    def parameters(self) -> int:
        kept = self.width * self.head_size * 2 * (self.heads + self.kv_heads) + 3 * self.width * self.ffn
        return self.layers * kept + 2 * VOCABULARY * self.width


VOCABULARY = 10240
SIZES = (
    Size(8, 256, 4, 2, 64, 640),
    Size(6, 640, 10, 5, 64, 1792),
    Size(4, 1280, 20, 5, 64, 3584),
    Size(3, 2560, 20, 5, 128, 7168),
    Size(2, 5120, 40, 10, 128, 13824),
)
PREFILLS = (
    (1, 12),
    (1, 48),
    (1, 160),
    (1, 450),
    (1, 900),
    (1, 1800),
    (1, 3600),
    (3, 100),
    (3, 600),
    (12, 50),
    (12, 300),
)
"""(sequences, prompt)."""
DECODES = (
    (1, 40),
    (1, 350),
    (1, 1400),
    (1, 5600),
    (2, 100),
    (3, 700),
    (6, 60),
    (12, 250),
    (24, 120),
    (48, 500),
    (96, 90),
)
"""(sequences, tokens in the cache)."""
STEPS = 9
"""Tokens that decode is timed over."""


def model_of(size: Size) -> Model:
    """A Llama of that size."""
    data = {
        "title": f"calibration model, {size.layers} layers of {size.width}",
        "family": "llama3",
        "hidden_size": size.width,
        "vocabulary": VOCABULARY,
        "max_context": 131072,
        "rope": {"theta": 500000.0},
        "blocks": [
            {
                "repeat": size.layers,
                "mixer": {
                    "kind": "attention",
                    "heads": size.heads,
                    "kv_heads": size.kv_heads,
                    "head_size": size.head_size,
                },
                "feed_forward": {"kind": "gated", "size": size.ffn},
            }
        ],
        "source": "made for calibration",
    }
    return checked(Model, data, "calibration model").model_copy(update={"name": f"calibration-{size.width}"})


def settings() -> list[tuple[str, Setting]]:
    """("prefill" or "decode", what is run), in an order in which any first part is a fair sample."""
    found = [("prefill", Setting(b, t, 1)) for b, t in PREFILLS]
    found += [("decode", Setting(b, t, STEPS)) for b, t in DECODES]
    return [found[i * 7 % len(found)] for i in range(len(found))]
