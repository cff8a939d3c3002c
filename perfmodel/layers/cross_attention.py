"""Attention from text to what an encoder made of images."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from perfmodel.arithmetic import Number
from perfmodel.layers.layer import Context, Tensor, Tensors, TokenMixer, vector
from perfmodel.op import Op
from perfmodel.spec import Letter
from perfmodel.units import Count


class CrossAttention(TokenMixer):
    """Attention from text to the states of an image encoder (Llama 3.2 Vision).

    A request without images skips the whole layer, as vLLM and transformers do: its weights are held, and it
    computes nothing.
    """

    label: ClassVar[str] = "cross_attention"

    kind: Literal["cross-attention"]
    heads: Annotated[Count, Letter("N")]
    kv_heads: Annotated[Count, Letter("K")]
    head_size: Annotated[Count, Letter("H")]

    def tensors(self, width: Number, tp: int = 1) -> Tensors:
        D, H = width, self.head_size
        N, K = (self.heads, self.kv_heads) if tp == 1 else (self.heads // tp, max(self.kv_heads // tp, 1))
        kv = Tensor(K * H, D)
        return {
            "q": Tensor(N * H, D),
            "k": kv,
            "v": kv,
            "o": Tensor(D, N * H),
            "qk_norm": vector(2 * H),
            "gates": vector(2),
        }

    def split_error(self, tp: int) -> str:
        return f"its {self.heads} heads do not divide among {tp} devices" if self.heads % tp else ""

    def live_elements(self, width: Number, tp: int = 1) -> Number:
        return 0

    def ops(self, context: Context) -> list[Op]:
        return []
