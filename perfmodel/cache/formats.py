"""How the KV cache is stored in few bits: scales and zero points of a head's vector, a window left in 16 bits."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import cast

from perfmodel.arithmetic import Number, maximum, minimum
from perfmodel.batch import WHOLE, Batch, View
from perfmodel.errors import RequestError
from perfmodel.precision import FORMATS, NumberFormat, Precision, number_format
from perfmodel.spec import nearest

UNPACK_8 = 3
"""Vector operations to widen an 8-bit integer: to floating point, subtract the zero point, multiply by the scale."""
UNPACK_4 = 5
"""The same of fewer bits, with mask and shift (Lin et al. 2024, QServe, §5.3: five for an INT4 element)."""


@dataclass(frozen=True, slots=True)
class CacheFormat(NumberFormat):
    """A way to store keys and values that attention widens again as it reads them.

    Groups of scales are `block` elements, or (0) a head's whole key or value of one token.

    residual  last tokens of a sequence that stay in 16 bits
    unpack    vector operations that widen one element
    """

    residual: int = 0
    unpack: int = 0

    @property
    def vector_bytes(self) -> Number:
        """Bytes of scale and zero point of a head's key or value of one token, where these are its group."""
        return 0 if self.block else self.scales / 8


# LMDeploy: scale and zero in 16 bits a token and head, asymmetric (docs, quantization/kv_quant: "per-head per-token
# asymmetric"). TensorRT-LLM: one scale a tensor, left out. KIVI: groups of 32 (keys along tokens, values along
# channels), scale and zero in 16 bits each; the last 128 tokens stay in 16 bits (Liu et al. 2024, §4.1: G = 32,
# R = 128; "kivi2-r32" has another R). KVQuant: keys by channel (scales found beforehand, none stored), 1 % outliers
# apart, each a 16-bit value and a 16-bit index (Hooper et al. 2024, §3.4; recalled). llama.cpp: blocks of 32 as in
# GGUF files (--cache-type-k q8_0).
CACHES: dict[str, CacheFormat] = {
    f.name: f
    for f in (
        CacheFormat("int8", 8, None, scales=32, block=0, unpack=UNPACK_8),
        CacheFormat("int4", 4, None, scales=32, block=0, unpack=UNPACK_4),
        CacheFormat("int8-tensor", 8, None, unpack=UNPACK_8 - 1),
        CacheFormat("kivi4", 4, None, scales=32, block=32, residual=128, unpack=UNPACK_4),
        CacheFormat("kivi2", 2, None, scales=32, block=32, residual=128, unpack=UNPACK_4),
        CacheFormat("kvquant4", 4.32, None, unpack=UNPACK_4),
        CacheFormat("kvquant3", 3.32, None, unpack=UNPACK_4),
        CacheFormat("kvquant2", 2.32, None, unpack=UNPACK_4),
    )
}
_WINDOW = re.compile(r"(?P<base>kivi[24])-r(?P<residual>\d{1,5})")
_ALIASES = {"int2": "kivi2", "kivi": "kivi2"}
BLOCKS_OF_32 = ("q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")


def cache_format(name: str, use: str) -> NumberFormat:
    """The format of a KV cache called `name`; RequestError names the flag (`use`) and the nearest if there is none."""
    key = _ALIASES.get(name.lower(), name.lower())
    if key in CACHES:
        return CACHES[key]
    if (window := _WINDOW.fullmatch(key)) and CACHES[window["base"]].residual:
        return replace(CACHES[window["base"]], name=key, residual=int(window["residual"]))
    if key in BLOCKS_OF_32:
        row = FORMATS[key]
        own = {field.name: getattr(row, field.name) for field in fields(NumberFormat)}
        return CacheFormat(**own, unpack=UNPACK_8 if row.bits == 8 else UNPACK_4)
    guess = nearest(key, [*CACHES, *_ALIASES])
    if guess and key not in FORMATS and not nearest(key, FORMATS):
        raise RequestError(f'{use}: no cache format is called "{name}"; did you mean "{guess}"?')
    return number_format(name, use)


def _packed(precision: Precision) -> CacheFormat | None:
    """The cache's format where it is one of few bits; its sizes may be in letters (perfmodel.explain)."""
    return cast(CacheFormat, precision.kv) if hasattr(precision.kv, "unpack") else None


def kept_bytes(precision: Precision, tokens: Number, elements: Number, vectors: Number) -> Number:
    """Bytes that `tokens` of one sequence take, each of so many elements in so many vectors (a head's key or value).

    (S − r)·(elements·bits + scales) + r·elements·16 bits, r = min(S, residual)
    """
    kv = _packed(precision)
    if kv is None:
        return tokens * elements * precision.kv.bytes
    recent = minimum(tokens, kv.residual)
    packed = (tokens - recent) * (elements * kv.bytes + vectors * kv.vector_bytes)
    return packed + recent * elements * precision.stream.bytes


def written_bytes(precision: Precision, tokens: Number, heads: Number, size: Number) -> Number:
    """Bytes of the new keys (or values) of `tokens` put into the cache.

    Those that first stand in a 16-bit window are written there, and once more when they leave it.
    """
    kv = _packed(precision)
    packed = tokens * heads * size * precision.kv.bytes
    if kv is None:
        return packed
    first = tokens * heads * size * precision.stream.bytes if kv.residual else 0
    return packed + tokens * heads * kv.vector_bytes + first


def read_bytes(precision: Precision, batch: Batch, view: View, heads: Number, size: Number) -> Number:
    """Bytes of cached keys (or values) that a pass reads."""
    kv, tokens = _packed(precision), batch.cached(view)
    if kv is None:
        return tokens * heads * size * precision.kv.bytes
    recent = batch.recent(kv.residual, view) if kv.residual else 0
    packed = (tokens - recent) * heads * (size * kv.bytes + kv.vector_bytes)
    return packed + recent * heads * size * precision.stream.bytes


def unpack_flops(precision: Precision, batch: Batch, heads: Number, size: Number, view: View = WHOLE) -> Number:
    """Vector operations that widen the cached keys (or values) that a pass reads; 0 where none are packed."""
    kv = _packed(precision)
    if kv is None:
        return 0
    recent = batch.recent(kv.residual, view) if kv.residual else 0
    return maximum(batch.cached(view) - recent, 0) * heads * size * kv.unpack
