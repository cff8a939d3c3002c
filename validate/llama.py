"""Llama 3 in torch (Grattafiori et al. 2024), built from a perfmodel spec: the model that predictions are held against.

    llama = build(load_model("llama3.2-1b"), dtype="bf16", device="cuda")
    llama.allocate(sequences=4, length=2048)          # the static cache
    logits = llama.prefill(prompt)                    # prompt [B, T] → [B, V]
    logits = llama.decode(logits.argmax(-1), T)       # one token each, at position T → [B, V]

A layer is x + attention(norm(x)), then x + ffn(norm(x)). Shapes stand beside the tensors in the letters of
docs/nomenclature.md: B sequences of equal length, T new tokens of each, S positions in the cache, D model width,
N query heads, K KV heads, H size of a head, F width of the feed-forward, V vocabulary. Q, K and V are one product, and
gate and up another, as in every serving engine and in perfmodel's count of launches.

The cache has a fixed place for every position, and the caller says at which one tokens stand. Nothing is ever cleared:
going back to an earlier position rewinds it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.bias import causal_lower_right

from perfmodel.errors import RequestError
from perfmodel.model import Model

from .llama_shape import Positions, Shape, shape_of
from .llama_weights import config_beside, fill_from, fill_randomly

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
ATTENTION = ("sdpa", "naive")


@dataclass(frozen=True)
class Place:
    """Where the new tokens of a pass stand, and what they see: found once, used by every layer.

    rows     their positions: a slice, or [T] numbers on the device where the pass has fixed shapes
    cos, sin [T, H/2], by which queries and keys turn
    keys     how many positions attention reads; those of the pass itself where there is no cache
    cached   whether keys and values go through the cache
    mask     None: every query sees all `keys`; "causal": query i sees keys up to i; else [T, keys], true where seen
    """

    rows: slice | Tensor
    cos: Tensor
    sin: Tensor
    keys: int
    cached: bool
    mask: Any


class Llama(nn.Module):
    """Token ids in, logits out. `attention` is "sdpa" (torch's fused kernels) or "naive" (scores in memory)."""

    def __init__(self, shape: Shape, attention: str = "sdpa") -> None:
        super().__init__()
        D, V = shape.width, shape.vocabulary
        self.shape, self.attention = shape, attention
        self.embedding = nn.Embedding(V, D)
        self.layers = nn.ModuleList(Layer(shape, attention) for _ in range(shape.layers))
        self.norm = Norm(D, shape.epsilon)
        self.head = nn.Linear(D, V, bias=False)
        if shape.tied:
            self.head.weight = self.embedding.weight
        self.sequences = self.length = 0  # of the cache

    def forward(self, tokens: Tensor, place: Place | None = None, last: bool = False) -> Tensor:
        """[B, T] ids → [B, T, V] logits in FP32, or [B, 1, V] of the last token; without a place, no cache is used."""
        place = place or self.uncached(tokens.shape[1])
        x = self.embedding(tokens)  # [B, T, D]
        for layer in self.layers:
            x = layer(x, place)
        x = self.norm(x[:, -1:] if last else x)
        return self.head(x).float()

    # ── what a server does ───────────────────────────────────────────────────────────────────────

    def allocate(self, sequences: int, length: int) -> None:
        """An empty cache for `sequences` of up to `length` tokens, and the turns of so many positions."""
        weight = self.embedding.weight
        self.sequences, self.length = sequences, length
        self.cos, self.sin = self._turns(length)
        for layer in self.layers:
            layer.attention.allocate(sequences, length, weight.dtype, weight.device)

    def prefill(self, tokens: Tensor, start: int = 0, chunk: int | None = None, every: bool = False) -> Tensor:
        """[B, T] tokens that stand from `start` on → [B, V] logits of the last, or [B, T, V] of `every` one.

        With `chunk` they go through in slices of so many, each of which sees those before it in the cache.
        """
        T = self._tokens(tokens, chunk)
        parts = []
        for begin in range(0, T, chunk or T):
            piece = tokens[:, begin : begin + (chunk or T)]
            place = self.at(start + begin, piece.shape[1])
            parts.append(self(piece, place, last=not every))
        return torch.cat(parts, dim=1) if every else parts[-1][:, 0]

    def decode(self, token: Tensor, position: int) -> Tensor:
        """[B] tokens at `position`, with all before it cached → [B, V] logits; decoding.py compiles and captures it."""
        return self(token[:, None], self.at(position, 1))[:, -1]

    def _tokens(self, tokens: Tensor, chunk: int | None) -> int:
        """T, if the tokens are those of the sequences that the cache is for."""
        if tokens.dim() != 2 or 0 in tokens.shape or (chunk is not None and chunk < 1):
            raise RequestError(
                f"prefill takes [B, T] tokens and chunks of 1 or more; got {list(tokens.shape)}, {chunk}."
            )
        if self.length and tokens.shape[0] != self.sequences:
            raise RequestError(f"The cache is for {self.sequences} sequences; got {tokens.shape[0]}.")
        return tokens.shape[1]

    def generate(self, tokens: Tensor, new: int, chunk: int | None = None) -> Tensor:
        """[B, T] prompts → [B, new] tokens, the likeliest at each step."""
        token = self.prefill(tokens, chunk=chunk).argmax(-1)  # [B]
        made = [token]
        for position in range(tokens.shape[1], tokens.shape[1] + new - 1):
            token = self.decode(token, position).argmax(-1)
            made.append(token)
        return torch.stack(made, dim=1)

    # ── places ───────────────────────────────────────────────────────────────────────────────────

    def at(self, start: int, T: int) -> Place:
        """T tokens from position `start` on; attention reads the positions up to the last of them, and no more."""
        S = start + T
        if not 0 < T <= S <= self.length:
            raise RequestError(
                f"The cache has {self.length} positions; {T} tokens from position {start} on do not fit. "
                "allocate(sequences, length) makes one."
            )
        rows = slice(start, S)
        return Place(rows, self.cos[rows], self.sin[rows], S, True, self._mask(T, S))

    def at_tensor(self, rows: Tensor, keys: int, masked: bool = True) -> Place:
        """[T] positions that are numbers on the device, so that a compiled or captured pass serves any of them.

        Attention reads `keys` positions, whatever stands there, and a mask hides those that come later. Without
        `masked` the caller promises that there are none: the last token stands at keys − 1, and is the only one.
        """
        mask = torch.arange(keys, device=rows.device) <= rows[:, None] if masked else None  # [T, keys]
        return Place(rows, self.cos[rows], self.sin[rows], keys, True, mask)

    def uncached(self, T: int) -> Place:
        """T tokens that see only each other: a whole text computed afresh."""
        cos, sin = self._turns(T)
        return Place(slice(0, T), cos, sin, T, False, self._mask(T, T))

    def _mask(self, T: int, S: int) -> Any:
        """What lets the last T of S positions see themselves and what is before them."""
        device = self.embedding.weight.device
        if T == 1:
            return None
        if T == S and self.attention == "sdpa":
            return "causal"
        if device.type == "cuda" and self.attention == "sdpa":
            return causal_lower_right(T, S)  # flash attention knows it; written out, it would rule that kernel out
        return torch.ones(T, S, dtype=torch.bool, device=device).tril(S - T)

    def _turns(self, length: int) -> tuple[Tensor, Tensor]:
        """cos and sin of position × turn, [length, H/2] each."""
        weight = self.embedding.weight
        turns = self.shape.positions.turns(self.shape.head_size).to(weight.device)
        angles = torch.arange(length, dtype=torch.float32, device=weight.device)[:, None] * turns
        return angles.cos().to(weight.dtype), angles.sin().to(weight.dtype)

    # ── bytes ────────────────────────────────────────────────────────────────────────────────────

    @property
    def weight_bytes(self) -> int:
        """Of all that is stored but the cache; a tied head once."""
        tensors = [*self.parameters(), *(b for n, b in self.named_buffers() if not n.endswith((".keys", ".values")))]
        return sum(t.nbytes for t in tensors)

    @property
    def kv_bytes(self) -> int:
        """Of the whole cache, used or not."""
        return sum(layer.attention.keys.nbytes + layer.attention.values.nbytes for layer in self.layers)


class Layer(nn.Module):
    """x + attention(norm(x)), then x + ffn(norm(x))."""

    def __init__(self, shape: Shape, attention: str) -> None:
        super().__init__()
        self.attention_norm = Norm(shape.width, shape.epsilon)
        self.attention = Attention(shape, attention)
        self.ffn_norm = Norm(shape.width, shape.epsilon)
        self.ffn = FeedForward(shape.width, shape.ffn)

    def forward(self, x: Tensor, place: Place) -> Tensor:
        """[B, T, D] → [B, T, D]."""
        x = x + self.attention(self.attention_norm(x), place)
        return x + self.ffn(self.ffn_norm(x))


class Norm(nn.Module):
    """RMSNorm: w·x / √(mean(x²) + ε) (Zhang & Sennrich 2019, eq. 4)."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(width)), epsilon

    def forward(self, x: Tensor) -> Tensor:
        """[…, D] → […, D]; torch squares and sums in FP32 whatever the dtype."""
        return functional.rms_norm(x, self.weight.shape, self.weight, self.epsilon)


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) · up(x)) (Shazeer 2020, eq. 6)."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * size, bias=False)
        self.down = nn.Linear(size, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] → [B, T, D]."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)  # [B, T, F] each
        return self.down(functional.silu(gate) * up)


class Attention(nn.Module):
    """N query heads that share K heads of keys and values (Ainslie et al. 2023), over a cache of fixed length."""

    keys: Tensor  # [B, K, length, H]
    values: Tensor

    def __init__(self, shape: Shape, kind: str) -> None:
        super().__init__()
        D, N, K, H = shape.width, shape.heads, shape.kv_heads, shape.head_size
        self.sizes, self.attend = (N, K, H), {"sdpa": sdpa, "naive": naive}[kind]
        self.qkv = nn.Linear(D, (N + 2 * K) * H, bias=False)
        self.out = nn.Linear(N * H, D, bias=False)

    def allocate(self, sequences: int, length: int, dtype: torch.dtype, device: torch.device) -> None:
        """Room for keys and values; zeros, as what a mask hides is multiplied by 0 and must be finite."""
        _, K, H = self.sizes
        for name in ("keys", "values"):
            empty = torch.zeros(sequences, K, length, H, dtype=dtype, device=device)
            self.register_buffer(name, empty, persistent=False)

    def forward(self, x: Tensor, place: Place) -> Tensor:
        """[B, T, D] → [B, T, D]."""
        (B, T, _), (N, K, H) = x.shape, self.sizes
        heads = self.qkv(x).view(B, T, N + 2 * K, H).transpose(1, 2)  # [B, N + 2K, T, H]
        q, k, v = heads.split((N, K, K), dim=1)
        q, k = turned(q, place), turned(k, place)
        if place.cached:
            k, v = self._through_cache(k, v, place)  # [B, K, S, H]
        y = self.attend(q, k, v, place.mask)  # [B, N, T, H]
        return self.out(y.transpose(1, 2).reshape(B, T, N * H))

    def _through_cache(self, k: Tensor, v: Tensor, place: Place) -> tuple[Tensor, Tensor]:
        """Write those of the new tokens, [B, K, T, H]; give those of all `place.keys` positions, not copied."""
        for cache, new in ((self.keys, k), (self.values, v)):
            if isinstance(place.rows, slice):
                cache[:, :, place.rows] = new
            else:
                cache.index_copy_(2, place.rows, new)
        return self.keys[:, :, : place.keys], self.values[:, :, : place.keys]


def turned(x: Tensor, place: Place) -> Tensor:
    """Elements i and i + H/2 of each head of x [B, heads, T, H] turned together, as in transformers' checkpoints."""
    a, b = x.chunk(2, dim=-1)  # [B, heads, T, H/2]
    return torch.cat((a * place.cos - b * place.sin, b * place.cos + a * place.sin), dim=-1)


def sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Any) -> Tensor:
    """Attention of q [B, N, T, H] over k and v [B, K, S, H] by torch's fused kernels: flash where nothing is masked.

    The kernels that take a mask have no shared heads, so there the queries of a KV head become rows of one head.
    """
    if type(mask) is Tensor:
        rows, seen = folded(q, k, mask)
        return functional.scaled_dot_product_attention(rows, k, v, attn_mask=seen).view(q.shape)
    shared, causal = q.shape[1] != k.shape[1], isinstance(mask, str)
    return functional.scaled_dot_product_attention(
        q, k, v, attn_mask=None if causal else mask, is_causal=causal, enable_gqa=shared
    )


def naive(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """The same by its definition, softmax(q·kᵀ/√H)·v (Vaswani et al. 2017, eq. 1), the scores written to memory."""
    rows, seen = folded(q, k, mask)
    scores = rows @ k.transpose(-1, -2) * q.shape[-1] ** -0.5  # [B, K, G·T, S]
    if seen is not None:
        scores = scores.masked_fill(~seen, float("-inf"))
    scores = scores.float()
    weights = (scores - scores.amax(-1, keepdim=True)).exp()
    weights = weights / weights.sum(-1, keepdim=True)
    return (weights.to(v.dtype) @ v).view(q.shape)


def folded(q: Tensor, k: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """q [B, N, T, H] as rows of the K heads it shares, [B, K, G·T, H] with G = N/K, and the mask [G·T, S] of them."""
    B, N, T, H = q.shape
    K = k.shape[1]
    return q.reshape(B, K, N // K * T, H), None if mask is None else mask.repeat(N // K, 1)


def build(
    model: Model,
    *,
    dtype: str = "bf16",
    device: str | torch.device = "cpu",
    attention: str = "sdpa",
    layers: int | None = None,
    weights: str | Path | None = None,
    seed: int = 0,
    positions: Positions | None = None,
    epsilon: float | None = None,
    config: str | Path | Mapping[str, Any] | None = None,
) -> Llama:
    """The model of a spec, with its first `layers` (all by default), ready to run.

    Weights are random by `seed`, or those of a safetensors file, of its index, or of the folder that holds either; then
    positions and ε are those of the config.json beside it, if there is one. On the device "meta" there are no weights.
    RequestError where the spec is no Llama's, or something cannot be had.
    """
    if dtype not in DTYPES:
        raise RequestError(f"dtype must be one of {', '.join(DTYPES)}; got {str(dtype)[:40]}.")
    if attention not in ATTENTION:
        raise RequestError(f"attention must be one of {', '.join(ATTENTION)}; got {str(attention)[:40]}.")
    if weights is not None and config is None:
        config = config_beside(model, Path(weights))
    shape = shape_of(model, layers, positions, epsilon, config)
    where = torch.device(device)
    with torch.device("meta"):
        llama = Llama(shape, attention).to(DTYPES[dtype]).requires_grad_(False).eval()
    if where.type == "meta":
        return llama
    llama = llama.to_empty(device=where)
    if shape.tied:
        llama.head.weight = llama.embedding.weight  # to_empty made two of them
    if weights is None:
        fill_randomly(llama, seed)
    else:
        fill_from(llama, Path(weights))
    return llama
