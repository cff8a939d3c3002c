"""What `validate/llama.py` builds: sizes taken from a spec, rotary positions, and refusal of all that is no Llama."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from perfmodel.block import Block
from perfmodel.errors import RequestError, one_line
from perfmodel.model import Model
from perfmodel.reading import read_json

EPSILON = 1e-5
"""Llama 2's and 3's `rms_norm_eps`: a spec does not state it, as no size depends on it."""

LIKE_LLAMA = ("llama", "mistral")
"""Types of transformers, and beginnings of a spec's family, that compute as Llama: Granite's sizes are alike too."""


@dataclass(frozen=True)
class Positions:
    """Rotary positions (Su et al. 2021), and how Llama 3.1 stretches them from 8k tokens to 128k.

    Pair i of a head of H elements turns by θ^(−2i/H) a token. With a `factor`, waves longer than trained/low tokens
    turn that many times slower, those shorter than trained/high as before, and those between by a blend of both
    (Llama 3.1's reference code, `apply_scaling`). A spec states theta, factor and trained context; `low` and `high`
    are 1 and 4 in every release of Llama, and in transformers' config.json `low_freq_factor`, `high_freq_factor`.
    """

    theta: float = 500_000.0
    factor: float | None = None  # 8 in Llama 3.1 and 3.3, 32 in Llama 3.2
    low: float = 1.0
    high: float = 4.0
    trained: int = 8192

    def turns(self, head_size: int) -> torch.Tensor:
        """Radians a token of each pair, [H/2] in FP32."""
        H = head_size
        turns = self.theta ** (-torch.arange(0, H, 2, dtype=torch.float32, device="cpu") / H)
        if self.factor is None:
            return turns
        periods = self.trained * turns / (2 * math.pi)  # turns completed within the trained context
        kept = ((periods - self.low) / (self.high - self.low)).clamp(0, 1)
        return turns * (kept + (1 - kept) / self.factor)


@dataclass(frozen=True)
class Shape:
    """Sizes of a Llama, with the letters that formulas have for them (docs/nomenclature.md)."""

    name: str
    layers: int  # L
    whole: int  # layers of the spec that these are the first of
    width: int  # D
    heads: int  # N
    kv_heads: int  # K
    head_size: int  # H
    ffn: int  # F
    vocabulary: int  # V
    tied: bool
    positions: Positions
    epsilon: float = EPSILON


def shape_of(
    model: Model,
    layers: int | None = None,
    positions: Positions | None = None,
    epsilon: float | None = None,
    config: str | Path | Mapping[str, Any] | None = None,
) -> Shape:
    """The shape of a spec, cut to its first `layers`; RequestError where something is not as in Llama.

    Positions are those given, else those of `config` (the values of a config.json, or its path), else those of the
    spec; ε likewise, and 10⁻⁵ where neither states it.
    """
    block = _only_block(model)
    mixer, feed_forward = block.mixer, block.feed_forward
    stated = _read(config) if config is not None else {}
    if layers is not None and (isinstance(layers, bool) or not isinstance(layers, int) or layers < 1):
        raise RequestError(f"layers must be a whole number of at least 1; got {str(layers)[:40]}.")
    if layers is not None and layers > model.layers:
        raise RequestError(f"{model.title} has {model.layers} layers; got layers {layers}.")
    if epsilon is None:
        epsilon = _number(stated, "rms_norm_eps", EPSILON)
    return Shape(
        name=model.name or model.title,
        layers=layers or model.layers,
        whole=model.layers,
        width=model.hidden_size,
        heads=mixer.heads,  # type: ignore[union-attr]
        kv_heads=mixer.kv_heads,  # type: ignore[union-attr]
        head_size=mixer.head_size,  # type: ignore[union-attr]
        ffn=feed_forward.size,  # type: ignore[union-attr]
        vocabulary=model.vocabulary,
        tied=model.tied_embeddings,
        positions=positions or (positions_stated(stated) if stated else positions_of(model)),
        epsilon=epsilon,
    )


# ── positions ────────────────────────────────────────────────────────────────────────────────────


def positions_of(model: Model) -> Positions:
    """Those that a spec states."""
    rope = model.rope
    if rope is None:
        raise RequestError(f"{model.title}: its spec states no rope; give positions, like Positions(theta=10000).")
    return _positions(model.title, rope.scaling, rope.theta, rope.factor, rope.trained_context)


def positions_stated(config: Mapping[str, Any]) -> Positions:
    """Those of a config.json: transformers 4 has rope_theta and rope_scaling, 5 has both in rope_parameters."""
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(scaling, Mapping):
        raise RequestError("config.json: rope_scaling must be a mapping of fields to values.")
    kind = scaling.get("rope_type") or scaling.get("type")
    theta = _number(scaling, "rope_theta", _number(config, "rope_theta", 10_000.0))
    factor = _number(scaling, "factor", 0.0) or None
    trained = int(_number(scaling, "original_max_position_embeddings", 8192))
    found = _positions("config.json", kind, theta, factor, trained)
    if found.factor is None:
        return found
    low, high = _number(scaling, "low_freq_factor", 1.0), _number(scaling, "high_freq_factor", 4.0)
    if low == high:
        raise RequestError(f"config.json: low_freq_factor and high_freq_factor must differ; both are {low:g}.")
    return Positions(found.theta, found.factor, low, high, found.trained)


def _positions(where: str, kind: Any, theta: float, factor: float | None, trained: int | None) -> Positions:
    if kind in (None, "", "default"):
        return Positions(theta)
    if kind != "llama3" or factor is None:
        raise RequestError(f'{where}: positions scaled by "{str(kind)[:40]}" are not built here, only those of llama3.')
    return Positions(theta, factor, trained=trained or 8192)


def _read(config: str | Path | Mapping[str, Any]) -> Mapping[str, Any]:
    found = config if isinstance(config, Mapping) else read_json(Path(config), one_line(str(config)))
    if not isinstance(found, Mapping) or not found:
        raise RequestError("config.json: must be a mapping of fields to values.")
    kind = found.get("model_type", "llama")
    if kind not in LIKE_LLAMA:
        raise RequestError(f'config.json: a model of type "{str(kind)[:40]}" computes otherwise than Llama.')
    return found


def _number(values: Mapping[str, Any], name: str, default: float) -> float:
    found = values.get(name)
    if found is None:
        return default
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 < found < 1e18:
        raise RequestError(f"config.json: {name} must be a number above 0; got {str(found)[:40]}.")
    return float(found)


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────

# fields that size a Llama, or say nothing of how it computes; any other must be as its class has it by default, so that
# what specs learn later is refused and not passed over
_MODEL = {"name", "title", "family", "hub", "aliases", "released", "source", "notes", "blocks", "order", "rope"}
_MODEL |= {"hidden_size", "vocabulary", "max_context", "extended_context", "tied_embeddings"}
_MODEL |= {"multi_token", "quantization"}  # heads beside the model, and how a checkpoint stores what is built here
_BLOCK = {"repeat", "mixer", "feed_forward", "exempt", "formats"}
_MIXER, _FEED_FORWARD = {"kind", "heads", "kv_heads", "head_size"}, {"kind", "size"}


def _only_block(model: Model) -> Block:
    """The one kind of layer that a Llama has."""
    told = [*_unlike(model, _MODEL)]
    for block in model.blocks:
        for part, kind in (("mixer", "attention"), ("feed_forward", "gated")):
            found = getattr(getattr(block, part), "kind", None)
            if found != kind:
                told.append(f"{part} {'of no kind' if found is None else found}")
        told += _unlike(block, _BLOCK)
        told += _unlike(block.mixer, _MIXER, {"rotary_size": getattr(block.mixer, "head_size", None)})
        told += _unlike(block.feed_forward, _FEED_FORWARD)
    if told:
        raise RequestError(
            f"{model.title} is not built like Llama 3, the one architecture that validate/llama.py has: {told[0]}."
        )
    first = model.blocks[0]
    if any((block.mixer, block.feed_forward) != (first.mixer, first.feed_forward) for block in model.blocks):
        raise RequestError(f"{model.title} has layers of several sizes; only layers that are alike are built here.")
    if first.mixer.head_size % 2:  # type: ignore[union-attr]
        raise RequestError(f"{model.title}: positions turn pairs, so head_size must be even.")
    return first


def _unlike(part: Any, sized: set[str], also: Mapping[str, Any] | None = None) -> list[str]:
    """Fields of a spec that are neither `sized` nor as their class has them, as "window 4096"."""
    if part is None:
        return []
    told = []
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if name in sized or value == field.default or value == (also or {}).get(name, field.default):
            continue
        told.append(f"{name} {str(value)[:40]}" if isinstance(value, (int, str)) else name)
    return told
