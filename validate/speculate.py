"""Speculative decoding with a draft model (Leviathan et al. 2023; Chen et al. 2023), on two static caches.

    told = speculate(target, draft, prompt, new=128, guesses=4)
    told.tokens                       # what target.generate(prompt, 128) gives, token for token
    told.accepted, told.rates         # of each pass; of each place in the chain of guesses

A pass: the draft guesses k tokens one by one, the target runs once over the last token and the k guesses, and the
longest run of guesses that it agrees with is kept, with one token of its own after them. Both caches are then rewound,
which takes no work: what stands beyond the kept tokens is overwritten when their positions are reached.

Greedy output equals plain greedy decoding as far as numbers do: a pass over k + 1 tokens may round otherwise than one
over a single token, and where two logits are within that of each other the choice may differ (most in FP16 and BF16).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from perfmodel.errors import RequestError


@dataclass(frozen=True)
class Speculated:
    """What came of it.

    tokens    [1, new], with none beyond what was asked for
    guessed   how many tokens the draft guessed in each pass: k, and fewer in the last, so that none is too many
    accepted  how many of them were kept in each pass; every pass yields one token more
    """

    tokens: Tensor
    guessed: tuple[int, ...]
    accepted: tuple[int, ...]

    @property
    def passes(self) -> int:
        """How often the target ran after the prompt."""
        return len(self.accepted)

    @property
    def rates(self) -> tuple[float, ...]:
        """Share of guesses accepted at each place of the chain, of those whose forerunners were: α₁, α₂, …

        They are what `perfmodel.speculation` calls rates. A place that was never reached has none, nor those after it.
        """
        found = []
        for place in range(max(self.guessed, default=0)):
            reached = [
                kept > place for kept, made in zip(self.accepted, self.guessed, strict=True) if kept >= place < made
            ]
            if not reached:
                break
            found.append(sum(reached) / len(reached))
        return tuple(found)

    @property
    def tokens_per_pass(self) -> float:
        """Tokens that a pass of the target yields, itself included."""
        return sum(kept + 1 for kept in self.accepted) / len(self.accepted) if self.accepted else 1.0


def speculate(
    target: Any,
    draft: Any,
    prompt: Tensor,
    new: int,
    guesses: int = 4,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> Speculated:
    """`new` tokens after a prompt [1, T], `guesses` at a time.

    At `temperature` 0 the likeliest token counts; above it tokens are drawn, and guesses are kept or replaced so that
    the result is distributed as the target's own draws, by a generator of the device that both models are on. Each
    needs a cache for one sequence of T + new tokens (`allocate(1, T + new)`).
    """
    _check(target, draft, prompt, new, guesses, temperature)
    ways = Greedy() if temperature == 0 else Drawn(temperature, generator)
    text = prompt[0].tolist()  # every token so far
    end = len(text) + new
    text.append(ways.choose(target.prefill(prompt)[0])[0])
    known = 0  # of the text, how many tokens the draft's cache holds
    guessed, accepted = [], []
    while len(text) < end:
        k = min(guesses, end - len(text) - 1)  # the pass adds a token of its own
        chain, beliefs = _guess(draft, text, known, k, ways)
        last = torch.tensor([[text[-1], *chain]], device=prompt.device)  # [1, k + 1]
        logits = target.prefill(last, start=len(text) - 1, every=True)[0]  # [k + 1, V]
        kept, own = ways.verify(chain, beliefs, logits)
        # the draft has run over all its guesses but the last, so its cache may lag one token behind
        known = len(text) + min(kept, k - 1) if k else known
        text += [*chain[:kept], own]
        guessed.append(k)
        accepted.append(kept)
    made = torch.tensor([text[-new:]], device=prompt.device)
    return Speculated(made, tuple(guessed), tuple(accepted))


def _guess(draft: Any, text: list[int], known: int, k: int, ways: Any) -> tuple[list[int], list[Tensor]]:
    """k tokens after the text, and what the draft believed of each, [V]; its cache holds `known` tokens of the text."""
    chain: list[int] = []
    beliefs: list[Tensor] = []
    for _ in range(k):
        unread = [*text, *chain][known:]
        logits = draft.prefill(torch.tensor([unread], device=draft.embedding.weight.device), start=known)[0]  # [V]
        known += len(unread)
        token, belief = ways.choose(logits)
        chain.append(token)
        beliefs.append(belief)
    return chain, beliefs


class Greedy:
    """The likeliest token counts."""

    def choose(self, logits: Tensor) -> tuple[int, Tensor]:
        """[V] logits → a token, and what was believed of it."""
        return int(logits.argmax()), logits

    def verify(self, chain: list[int], beliefs: list[Tensor], logits: Tensor) -> tuple[int, int]:
        """k guesses and the target's logits [k + 1, V] → how many are right, and the target's token after them."""
        right = logits.argmax(-1).tolist()
        kept = next((i for i, guess in enumerate(chain) if guess != right[i]), len(chain))
        return kept, right[kept]


class Drawn:
    """Tokens are drawn at a temperature; rejection keeps the target's distribution (Leviathan et al. 2023, alg. 1)."""

    def __init__(self, temperature: float, generator: torch.Generator | None) -> None:
        self.temperature, self.generator = temperature, generator

    def choose(self, logits: Tensor) -> tuple[int, Tensor]:
        """[V] logits → a token, and the distribution that it was drawn from."""
        belief = self._distribution(logits)
        return self._draw(belief), belief

    def verify(self, chain: list[int], beliefs: list[Tensor], logits: Tensor) -> tuple[int, int]:
        """Keep guess x with probability min(1, p(x)/q(x)); replace the first other by a draw from max(p − q, 0)."""
        truths = self._distribution(logits)  # p, [k + 1, V]
        for i, (guess, q) in enumerate(zip(chain, beliefs, strict=True)):
            p, q = truths[i], q.to(truths.device)
            uniform = torch.rand((), generator=self.generator, device=p.device, dtype=p.dtype)
            if uniform * q[guess] >= p[guess]:
                left = (p - q).clamp_min(0)
                return i, self._draw(left if bool(left.sum() > 0) else p)
        return len(chain), self._draw(truths[-1])

    def _distribution(self, logits: Tensor) -> Tensor:
        return (logits.double() / self.temperature).softmax(-1)

    def _draw(self, weights: Tensor) -> int:
        return int(torch.multinomial(weights, 1, generator=self.generator))


def _check(target: Any, draft: Any, prompt: Tensor, new: int, guesses: int, temperature: float) -> None:
    if target is draft:
        raise RequestError("Target and draft must be two models: each needs a cache of its own.")
    if target.shape.vocabulary != draft.shape.vocabulary:
        raise RequestError(
            f"Target and draft must share a vocabulary; got {target.shape.vocabulary} and {draft.shape.vocabulary}."
        )
    if prompt.dim() != 2 or prompt.shape[0] != 1 or prompt.shape[1] == 0:
        raise RequestError(
            "Speculation takes one prompt, [1, T]: sequences of a batch would accept different counts, and part; "
            f"got {list(prompt.shape)}."
        )
    if new < 1 or guesses < 1:
        raise RequestError(f"new and guesses must be at least 1; got new {new} and guesses {guesses}.")
    if not 0 <= temperature < float("inf"):
        raise RequestError(f"temperature must be 0 or a number above it; got {temperature}.")
    for role, model in (("target", target), ("draft", draft)):
        if model.length and model.sequences != 1:
            raise RequestError(f"The {role}'s cache is for {model.sequences} sequences; speculation takes one.")
        if model.length < prompt.shape[1] + new:
            raise RequestError(
                f"The {role}'s cache has {model.length} positions; {prompt.shape[1]} + {new} tokens do not fit. "
                "allocate(1, length) makes one."
            )
