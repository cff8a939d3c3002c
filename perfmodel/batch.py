"""`Batch`: what one forward pass is given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import NamedTuple

from perfmodel.arithmetic import Number, maximum, minimum, triangle


class Group(NamedTuple):
    """`sequences` alike: each brings `tokens` new ones after `context` already cached.

    `decodes` marks a step that generates, or verifies what was guessed: some layers have another form for it
    (absorbed MLA). `kept` is how many tokens of the context a cache policy leaves in layers with ordinary attention
    (None: all), `spared` how many cached tokens a sequence need not read because others of the pass read them too
    (None: none), `prompts` of how many requests they are (None: of as many).
    """

    sequences: Number
    tokens: Number
    context: Number = 0
    decodes: bool = False
    kept: Number | None = None
    spared: Number | None = None
    prompts: Number | None = None


class View(NamedTuple):
    """Which keys a query may see, itself included.

    window   the last `window` of them (Beltagy et al. 2020, Longformer, §3.1)
    chunk    those of its own chunk of `chunk` positions (Llama 4)
    """

    window: int | None = None
    chunk: int | None = None

    @property
    def reach(self) -> int | None:
        """The most keys a query sees; None when there is no limit."""
        return self.window or self.chunk


WHOLE = View()


@dataclass(frozen=True, slots=True)
class Batch:
    """Groups of sequences that share one forward pass; a chunk of prefill beside 32 decodes is one Batch.

    Every formula needs only its sums: `sequences` B, `tokens` M, `pairs` P, `cached` C. Sizes may be
    numbers or broadcasting arrays. `logits` is how many positions reach the LM head (the last of each
    sequence unless told otherwise; 0 for a chunk that ends inside a prompt). Without `causal` every query sees
    every key (diffusion language models).

    `over` devices may share every sequence (context parallelism): sums are then of one of them. Of prompts each has an
    equal part of the tokens and, as parts are dealt so that early and late ones meet, of the pairs (Grattafiori et al.
    2024, Llama 3, §3.3.2); of generated tokens each has an equal part of the cache, and all of the new tokens.
    """

    groups: tuple[Group, ...]
    logits: Number | None = None
    causal: bool = True
    over: int = 1

    @classmethod
    def prefill(cls, sequences: Number, tokens: Number, context: Number = 0) -> Batch:
        """`sequences` prompts (or chunks of them) of `tokens` after `context` cached tokens."""
        return cls((Group(sequences, tokens, context),))

    @classmethod
    def decode(cls, sequences: Number, context: Number) -> Batch:
        """One new token for each of `sequences`, after `context` cached tokens."""
        return cls((Group(sequences, 1, context, decodes=True),))

    @classmethod
    def verify(cls, sequences: Number, tokens: Number, context: Number) -> Batch:
        """`tokens` of each of `sequences` at once, all but the first guessed: every position's logits are wanted.

        Pairs are those of a chain; the few that a tree's mask leaves out are counted.
        """
        return cls((Group(sequences, tokens, context, decodes=True),), logits=sequences * tokens)

    @classmethod
    def denoise(cls, sequences: Number, tokens: Number, context: Number = 0) -> Batch:
        """A bidirectional pass over `tokens` positions, all of whose logits are wanted, after `context` cached ones."""
        return cls((Group(sequences, tokens, context),), logits=sequences * tokens, causal=False)

    def __add__(self, other: Batch) -> Batch:
        return Batch(
            self.groups + other.groups, self.head_rows + other.head_rows, self.causal and other.causal, self.over
        )

    @property
    def sequences(self) -> Number:
        """B, sequences in the pass."""
        return _total(group.sequences for group in self.groups)

    @property
    def prompts(self) -> Number:
        """Requests in the pass: fewer than its sequences where each has several completions or beams."""
        return _total(group.sequences if group.prompts is None else group.prompts for group in self.groups)

    @property
    def written(self) -> Number:
        """Tokens of all sequences so far, new ones included, whatever is kept or read of them."""
        return _total(group.sequences * (group.context + group.tokens) for group in self.groups)

    @property
    def tokens(self) -> Number:
        """M, new tokens in the pass: rows of every matrix product."""
        return _total(group.sequences * self._own(group) for group in self.groups)

    def _own(self, group: Group) -> Number:
        """New tokens of a sequence that one device works on."""
        return group.tokens if self.over == 1 or group.decodes else group.tokens / self.over

    def _shared(self, parts: Iterable[Number]) -> Number:
        """What one of the devices that share the sequences has of a sum over groups."""
        return _total(parts) if self.over == 1 else _total(parts) / self.over

    @property
    def kept(self) -> Number:
        """New tokens whose keys and values one device keeps."""
        return self._shared(group.sequences * group.tokens for group in self.groups)

    @property
    def decodes(self) -> bool:
        """Whether every sequence goes on from a cache, by one token or by those that are guessed."""
        return all(group.decodes for group in self.groups)

    @property
    def head_rows(self) -> Number:
        """Positions whose logits are computed."""
        return self.sequences if self.logits is None else self.logits

    def pairs(self, view: View = WHOLE) -> Number:
        """P, query–key pairs the mask lets through."""
        if not self.causal:
            return self.square_pairs()
        if view.reach is None:
            return self._shared(g.sequences * (g.tokens * g.context + triangle(g.tokens)) for g in self.groups)
        return self._shared(
            g.sequences * (_seen(g.context + g.tokens, view) - _seen(g.context, view)) for g in self.groups
        )

    def square_pairs(self, view: View = WHOLE) -> Number:
        """Query–key pairs with the masked ones counted: each new token against all that is kept of the context."""
        if view.reach is not None and self.causal:
            kept = view.reach - 1
            return self._shared(g.sequences * g.tokens * (minimum(g.context, kept) + g.tokens) for g in self.groups)
        return self._shared(g.sequences * g.tokens * (g.context + g.tokens) for g in self.groups)

    def chunked_pairs(self, chunk: int) -> Number:
        """Pairs among the new tokens alone, within chunks of `chunk` counted from the first of them."""
        view = View(chunk=chunk)
        return self._shared(g.sequences * _seen(g.tokens, view) for g in self.groups)

    def cached(self, view: View = WHOLE) -> Number:
        """C, tokens of earlier passes whose keys and values are read."""
        return self._shared(g.sequences * _read(g, view) for g in self.groups)

    def recent(self, last: int, view: View = WHOLE) -> Number:
        """Of the cached tokens that are read, those among the `last` ones of their sequence."""
        return self._shared(g.sequences * minimum(_read(g, view), last) for g in self.groups)

    def thinned(self) -> Batch:
        """This for layers that a cache policy holds for: contexts are what it kept of them."""
        if all(g.kept is None for g in self.groups):
            return self
        kept = (g if g.kept is None else g._replace(context=g.kept, kept=None) for g in self.groups)
        return Batch(tuple(kept), self.logits, self.causal, self.over)

    @property
    def spares(self) -> bool:
        """Whether sequences read what they share once for all of them."""
        return any(g.spared is not None for g in self.groups)

    def pooled_pairs(self, rate: int, keep: int | None = None) -> Number:
        """Pairs with entries that each stand for `rate` tokens: position i sees ⌊i/rate⌋, at most `keep` of them."""
        return _total(
            g.sequences * (_entries(g.context + g.tokens, rate, keep) - _entries(g.context, rate, keep))
            for g in self.groups
        )

    def pooled_square(self, rate: int) -> Number:
        """Pairs of new tokens with all entries there are at the end of the pass."""
        return _total(g.sequences * g.tokens * ((g.context + g.tokens) // rate) for g in self.groups)

    def pooled(self, rate: int, keep: int | None = None) -> Number:
        """Entries of earlier passes that are read, at most `keep` of each sequence."""
        if keep is None:
            return _total(g.sequences * (g.context // rate) for g in self.groups)
        return _total(g.sequences * minimum(g.context // rate, keep) for g in self.groups)

    @property
    def resumed(self) -> Number:
        """Sequences that go on from a state left by an earlier pass."""
        return _total(g.sequences * minimum(g.context, 1) for g in self.groups)

    def phases(self) -> list[tuple[bool, Batch]]:
        """(whether it generates, its groups) for what of this batch prefills and what generates."""
        parts = [(kind, tuple(g for g in self.groups if g.decodes is kind)) for kind in (False, True)]
        return [(kind, Batch(groups, causal=self.causal, over=self.over)) for kind, groups in parts if groups]

    @property
    def rows(self) -> tuple[Number, ...]:
        """The leading dimensions of every activation: (B, T), or (M,) when groups differ."""
        if len(self.groups) == 1:
            return (self.groups[0].sequences, self._own(self.groups[0]))
        return (self.tokens,)


def _total(parts: Iterable[Number]) -> Number:
    # sum() would begin with the int 0, which a `Traced` number would show
    return reduce(add, parts)


def _read(g: Group, view: View) -> Number:
    """Cached tokens that each sequence of a group reads."""
    if view.window is not None:
        return minimum(g.context, maximum(view.window - 1, 0))
    if view.chunk is not None:
        return g.context - g.context // view.chunk * view.chunk
    return g.context if g.spared is None else g.context - g.spared


def _entries(n: Number, rate: int, keep: int | None) -> Number:
    """Σ min(⌊i/rate⌋, keep) for i = 1 … n."""
    below = n if keep is None else minimum(n, keep * rate)
    full = below // rate
    rising = rate * (triangle(full) - full) + full * (below - full * rate + 1)
    return rising if keep is None else rising + (n - below) * keep


def _seen(n: Number, view: View) -> Number:
    """Pairs of the first n positions: Σ min(i, window), or Σ ((i − 1) mod chunk + 1), for i = 1 … n."""
    if view.window is not None:
        full = minimum(n, view.window)
        return triangle(full) + (n - full) * view.window
    assert view.chunk is not None
    whole = n // view.chunk
    return whole * triangle(view.chunk) + triangle(n - whole * view.chunk)
