"""Small Llamas that several tests build."""

from __future__ import annotations

from typing import Any

import pytest

from perfmodel.model import Model
from perfmodel.spec import checked

torch = pytest.importorskip("torch")
V = 61
LLAMA3 = {"theta": 500_000, "scaling": "llama3", "factor": 8, "trained_context": 16}


def spec(heads: int = 4, kv_heads: int = 2, head_size: int = 16, **other: Any) -> Model:
    """A small Llama; `other` replaces fields of the model, and those of mixer and feed_forward by their names."""
    mixer = {"kind": "attention", "heads": heads, "kv_heads": kv_heads, "head_size": head_size}
    feed_forward = {"kind": "gated", "size": 80}
    block = {"repeat": 3, "mixer": mixer | other.pop("mixer", {}), "feed_forward": feed_forward}
    block |= {"feed_forward": feed_forward | other.pop("feed_forward", {})} | other.pop("block", {})
    data = {"title": "Small", "family": "llama3", "hidden_size": 48, "vocabulary": V, "max_context": 512}
    data |= {"rope": LLAMA3, "blocks": [block], "source": "this test"}
    return checked(Model, data | other, "small")


def ids(sequences: int, tokens: int) -> Any:
    return torch.randint(V, (sequences, tokens), generator=torch.Generator().manual_seed(tokens))
