"""`Speculation`: tokens guessed ahead by something cheap, and verified together in one pass of the model.

A pass over the guesses of a sequence costs little more than a pass over one token as long as weights are what it waits
for; every guess that is right is a pass saved (Leviathan et al. 2023; Chen et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from perfmodel.arithmetic import Number
from perfmodel.model import Model
from perfmodel.precision import Precision
from perfmodel.speculation.acceptance import chain_tokens, level_sizes


class Method(NamedTuple):
    """One way to guess: its defaults, and the acceptance that its paper or a benchmark found.

    guesses  how many tokens ahead
    nodes    tokens of the tree of guesses; None for a chain
    rates    acceptance of the guesses, one place after another; the last holds beyond
    source   where the rates come from
    """

    title: str
    guesses: int
    nodes: int | None
    rates: tuple[float, ...]
    source: str


SPEC_BENCH = "Spec-Bench, Vicuna 7B on one A100, greedy"
METHODS = {
    "draft": Method(
        "a draft model",
        5,
        None,
        (0.7,),
        "0.5 to 0.9 for drafts far smaller, Leviathan et al. 2023, §4 (recalled)",
    ),
    "medusa": Method(
        "Medusa heads",
        4,
        63,
        (0.56, 0.32, 0.20, 0.15),
        "heads for Vicuna 7B, FasterDecoding/Medusa",
    ),
    "eagle": Method("EAGLE", 5, 25, (0.69,), f"3.61 tokens a pass, {SPEC_BENCH}"),
    "eagle2": Method("EAGLE-2", 6, 60, (0.71,), "4.36 tokens a pass, Spec-Bench, Vicuna 7B on one RTX 3090, greedy"),
    "eagle3": Method("EAGLE-3", 3, None, (0.77,), "2.81 tokens a pass, Llama 3.1 8B, MT-bench, vLLM's spec_decode.py"),
    "mtp": Method("multi-token heads", 1, None, (0.85,), "0.85 to 0.9, DeepSeek-AI 2024, V3, §5.4.3"),
    "ngram": Method("n-grams of the prompt", 10, None, (0.42,), f"1.73 tokens a pass of prompt lookup, {SPEC_BENCH}"),
    "lookahead": Method("lookahead decoding", 4, None, (0.40,), f"1.66 tokens a pass, {SPEC_BENCH}"),
}
"""Name → method. Rates of EAGLE, n-grams and lookahead are those that give the tokens a pass that were measured."""
EAGLES = ("eagle", "eagle2", "eagle3")
WINDOW = 7
"""W = G of lookahead decoding: the columns of its window, and the n-grams it verifies (its README's default)."""
REDUCED_VOCABULARY = 32_000
"""Tokens that an EAGLE-3 head predicts (draft_vocab_size in eagle/traineagle3/config.json of SafeAILab/EAGLE)."""


@dataclass(frozen=True, slots=True)
class Speculation:
    """How tokens are guessed, how many, and how often they are right.

    method     a name of METHODS
    guesses    k, how many tokens ahead: the length of a chain, the levels of a tree; may be an array for a chain
    rates      acceptance of the guess at each place, given those before it; the last holds beyond
    nodes      tokens of the tree that a pass verifies; None for a chain
    draft      what is run for each level of guesses, as a model: its embedding, layers and LM head; None where no
               device computes (n-grams) or where heads stand on the last layer (Medusa)
    precision  how its weights and cache are stored
    tp         devices that share it; None for as many as the target, where it divides, else each runs it whole
    features   hidden states of the target that a product joins into the draft's input; 0 of a model of its own
    tables     whether it stores an embedding and an LM head of its own
    copies     sets of its layers that are stored, one a place (heads for several tokens)
    stated     whether the acceptance was given, or is typical
    """

    method: str
    guesses: Number
    rates: tuple[Number, ...]
    nodes: int | None = None
    draft: Model | None = None
    precision: Precision | None = None
    tp: int | None = None
    features: int = 0
    tables: bool = True
    copies: int = 1
    stated: bool = True

    @property
    def verified(self) -> Number:
        """Tokens of a sequence in a pass: the guesses and the token before them.

        Lookahead decoding passes (W + G)(N − 1) tokens: W columns of a window that makes n-grams and G n-grams that are
        verified, each of N − 1 (Fu et al. 2024, §3.3); N − 1 is how many it may guess right.
        """
        if self.method == "lookahead":
            return 2 * WINDOW * self.guesses
        return (self.guesses if self.nodes is None else self.nodes) + 1

    @property
    def tokens_a_pass(self) -> Number:
        """Expected tokens of a sequence that a pass yields, its own one included."""
        if self.nodes is None:
            return chain_tokens(self.rates, self.guesses)
        return level_sizes(self.rates, int(self.guesses), self.nodes)[1]

    @property
    def rows(self) -> list[int]:
        """Tokens of a sequence that a draft takes in for each level of a tree that is not empty: the level before."""
        assert self.nodes is not None
        sizes = level_sizes(self.rates, int(self.guesses), self.nodes)[0]
        return [1, *(size for size in sizes if size)][: sum(1 for size in sizes if size)]

    def guessing(self, guesses: Number) -> Speculation:
        """The same so many tokens ahead."""
        return replace(self, guesses=guesses)

    def accepting(self, *rates: Number) -> Speculation:
        """The same at other acceptance."""
        return replace(self, rates=rates)
