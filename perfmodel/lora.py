"""Low-rank adapters served beside a model (Hu et al. 2021, LoRA): which, of what rank, how many."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.arithmetic import Number, minimum
from perfmodel.errors import RequestError
from perfmodel.spec import nearest

TARGETS = {
    "q": "attention.q",
    "k": "attention.k",
    "v": "attention.v",
    "o": "attention.o",
    "gate": "ffn.gate",
    "up": "ffn.up",
    "down": "ffn.down",
}
"""Targets as adapters name them (q_proj, …) → the model's tensors."""
MOST_RANK, MOST_ADAPTERS = 4096, 10**6


@dataclass(frozen=True, slots=True)
class Lora:
    """`adapters` different ones of rank `rank` on the `targets` of every layer; all of them lie in device memory.

    targets   tensors by their names ("attention.q"), or everything under a name ("attention", "ffn"); none given
              means every matrix of mixers and dense feed-forwards, as QLoRA trains (Dettmers et al. 2023, §4).
              Embedding, LM head, routers and routed experts have no adapter.
    adapters  how many are loaded (vLLM's max_loras); the requests of a pass are spread over them
    """

    rank: int
    targets: tuple[str, ...] = ()
    adapters: int = 1

    def touches(self, tensor: str) -> bool:
        """Whether the matrix of that name has an adapter."""
        if any(part in tensor for part in (".experts.", "router", "kv_b", "index_", "shared_gate")):
            return False  # kv_b is absorbed in decode, where no adapter can stand beside it
        return not self.targets or any(tensor == name or tensor.startswith(f"{name}.") for name in self.targets)

    def touched(self, requests: Number) -> Number:
        """Adapters that a pass of so many requests reads: each has one, as different as can be."""
        return minimum(self.adapters, requests)

    def told(self) -> str:
        """In words, for the assumptions of an answer."""
        several = f"{self.adapters:,} adapters" if self.adapters > 1 else "one adapter"
        return f"{several} of rank {self.rank:,} on {', '.join(self.targets) or 'all linear layers'}"


def lora_of(given: str | int | Lora | None) -> Lora | None:
    """What `--lora RANK[,TARGETS][,ADAPTERS]` asks for: "16", "16,q+v", "16,8", "64,attention,32".

    The first whole number is the rank, the second the adapters; words are targets, joined by + or commas.
    """
    if given is None or isinstance(given, Lora):
        return given
    pieces = [piece.strip() for piece in str(given).replace("+", ",").split(",")]
    numbers = [piece for piece in pieces if piece.isdigit()]
    words = [piece for piece in pieces if piece and not piece.isdigit()]
    if isinstance(given, bool) or not pieces[0].isdigit() or len(numbers) > 2 or "" in pieces:
        raise RequestError(
            f'--lora needs a rank, then targets and a number of adapters: "16,q+v,8"; got {given!r:.60}.'
        )
    rank, adapters = int(numbers[0]), int(numbers[1]) if len(numbers) > 1 else 1
    if not 1 <= rank <= MOST_RANK or not 1 <= adapters <= MOST_ADAPTERS:
        raise RequestError(
            f"--lora: the rank is from 1 to {MOST_RANK:,}, the adapters from 1 to {MOST_ADAPTERS:,}; got {given!r:.60}."
        )
    return Lora(rank, tuple(_target(word) for word in words if word not in ("all", "all-linear")), adapters)


def _target(word: str) -> str:
    """A target by the name that adapters give it ("q_proj"), or that the model's tensors have ("ffn.gate")."""
    if "." in word or word in ("attention", "ffn", "mixer"):
        return word
    name = word.removesuffix("_proj")
    if name not in TARGETS:
        known = [*TARGETS, "attention", "ffn", "all"]
        guess = nearest(name, known)
        hint = f'did you mean "{guess}"?' if guess else "known: " + ", ".join(known)
        raise RequestError(f'--lora: adapters have no target "{word[:40]}"; {hint}')
    return TARGETS[name]
