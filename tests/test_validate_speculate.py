"""Speculative decoding on real models: the tokens are those of the target alone, or distributed as they are."""

from __future__ import annotations

from typing import Any

import pytest

from perfmodel.cli.scripts import script
from perfmodel.errors import RequestError
from perfmodel.model import Model
from perfmodel.spec import checked
from perfmodel.speculation.acceptance import chain_tokens

torch = pytest.importorskip("torch")
llama, speculation = script("llama"), script("speculate")
pytestmark = pytest.mark.usefixtures("one_thread")


def spec(vocabulary: int = 40, layers: int = 2) -> Model:
    mixer = {"kind": "attention", "heads": 4, "kv_heads": 2, "head_size": 8}
    block = {"repeat": layers, "mixer": mixer, "feed_forward": {"kind": "gated", "size": 64}}
    data = {"title": "Small", "family": "llama3", "hidden_size": 32, "vocabulary": vocabulary, "max_context": 512}
    return checked(Model, data | {"rope": {"theta": 1e4}, "blocks": [block], "source": "this test"}, "small")


def pair(noise: float, vocabulary: int = 40, attention: str = "sdpa") -> tuple[Any, Any]:
    """A target, and a draft with its weights and some noise: 0 is always right, 3 knows nothing."""
    target, draft = (llama.build(spec(vocabulary), dtype="fp32", attention=attention) for _ in range(2))
    generator = torch.Generator().manual_seed(3)
    for mine, exact in zip(draft.parameters(), target.parameters(), strict=True):
        if mine.dim() > 1:
            mine.add_(noise * exact.std() * torch.randn(exact.shape, generator=generator))
    return target, draft


def ids(tokens: int, vocabulary: int = 40, seed: int = 0) -> Any:
    return torch.randint(vocabulary, (1, tokens), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("guesses", [1, 2, 5, 30])
@pytest.mark.parametrize("noise", [0.0, 0.1, 3.0])
def test_greedy_tokens_are_the_target_s_own(noise: float, guesses: int) -> None:
    """Token for token, whatever the draft guesses; and the passes add up."""
    target, draft = pair(noise)
    for seed, new in ((0, 24), (1, 7), (2, 1)):
        prompt = ids(9, seed=seed)
        for model in (target, draft):
            model.allocate(1, 9 + new)
        told = speculation.speculate(target, draft, prompt, new, guesses)
        assert torch.equal(told.tokens, target.generate(prompt, new))
        assert told.passes + sum(told.accepted) == new - 1  # the prompt's pass gave the first token
        assert all(0 <= kept <= made <= guesses for kept, made in zip(told.accepted, told.guessed, strict=True))
        if noise == 0:
            assert told.accepted == told.guessed
            assert set(told.rates) <= {1.0}


def test_a_smaller_draft_with_another_attention() -> None:
    target = llama.build(spec(), dtype="fp32")
    draft = llama.build(spec(), dtype="fp32", layers=1, attention="naive")
    for model in (target, draft):
        model.allocate(1, 40)
    told = speculation.speculate(target, draft, ids(9), 31)
    assert torch.equal(told.tokens, target.generate(ids(9), 31))


def test_rates_are_those_of_the_passes() -> None:
    """By hand: of four passes two accept the first guess, and one of those two the second; the last had one guess."""
    told = speculation.Speculated(torch.zeros(1, 8), guessed=(3, 3, 3, 1), accepted=(0, 2, 1, 0))
    assert told.rates == (0.5, 0.5, 0.0)
    assert told.passes == 4
    assert told.tokens_per_pass == 7 / 4
    assert speculation.Speculated(torch.zeros(1, 1), (), ()).rates == ()
    assert speculation.Speculated(torch.zeros(1, 3), (4, 4), (0, 0)).rates == (0.0,)


def test_rates_explain_the_tokens_of_a_pass() -> None:
    """perfmodel's sum over a chain with the measured rates is the measured mean, as every pass had all its guesses."""
    target, draft = pair(0.1)
    for model in (target, draft):
        model.allocate(1, 209)
    told = speculation.speculate(target, draft, ids(9), 200, 3)
    full = [kept for kept, made in zip(told.accepted, told.guessed, strict=True) if made == 3]
    whole = speculation.Speculated(told.tokens, (3,) * len(full), tuple(full))
    assert 0 < sum(full) < 3 * len(full)
    assert chain_tokens(whole.rates, 3) == pytest.approx(whole.tokens_per_pass, rel=1e-9)


def chi_square(found: Any, expected: Any) -> float:
    """Σ (found − expected)²/expected; its mean is the number of cells, less one."""
    return float(((found - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
def test_rejection_keeps_the_distribution(temperature: float) -> None:
    """Leviathan et al. 2023, app. A.1: a guess drawn from q, kept or replaced, is distributed as p; the next as p'."""
    generator = torch.Generator().manual_seed(0)
    ways = speculation.Drawn(temperature, generator)
    draft, target = torch.randn(5, generator=generator), 1.5 * torch.randn(2, 5, generator=generator)
    p, q = (target.double() / temperature).softmax(-1), (draft.double() / temperature).softmax(-1)
    runs, first, second, kept_guesses = 6000, torch.zeros(5), torch.zeros(5), 0
    for _ in range(runs):
        guess, belief = ways.choose(draft)
        kept, own = ways.verify([guess], [belief], target)
        first[guess if kept else own] += 1
        if kept:
            second[own] += 1
            kept_guesses += 1
    assert chi_square(first, runs * p[0]) < 18.5  # 99.9 % of draws with 4 degrees of freedom
    assert chi_square(second, kept_guesses * p[1]) < 18.5
    accepted = float(torch.minimum(p[0], q).sum())  # α = Σ min(p, q) (cor. 3.6)
    assert kept_guesses / runs == pytest.approx(accepted, abs=4 * (accepted * (1 - accepted) / runs) ** 0.5)


def test_sampling_without_a_difference_accepts_all() -> None:
    target, draft = pair(0.0)
    for model in (target, draft):
        model.allocate(1, 40)
    told = speculation.speculate(target, draft, ids(9), 30, 4, temperature=1.0, generator=torch.Generator())
    assert sum(told.accepted) >= 0.95 * sum(told.guessed)  # p and q differ by rounding


def test_whole_runs_are_distributed_as_the_target_draws() -> None:
    """Every text of three tokens from a vocabulary of three, against the product of the target's probabilities."""
    target, draft = pair(0.5, vocabulary=3)
    prompt, runs = ids(4, 3), 1500
    for model in (target, draft):
        model.allocate(1, 7)
    expected = torch.zeros(3, 3, 3, dtype=torch.float64)
    for i in range(3):
        for j in range(3):
            logits = target(torch.cat((prompt, torch.tensor([[i, j]])), dim=1))[0, 3:].double()
            p = logits.softmax(-1)
            expected[i, j] = p[0, i] * p[1, j] * p[2]
    found = torch.zeros(3, 3, 3, dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    for _ in range(runs):
        told = speculation.speculate(target, draft, prompt, 3, 2, temperature=1.0, generator=generator)
        found[tuple(told.tokens[0].tolist())] += 1
    assert float(expected.sum()) == pytest.approx(1)
    assert chi_square(found, runs * expected) < 54.1  # 99.9 % of draws with 26 degrees of freedom


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"prompt": torch.zeros(2, 3, dtype=torch.long)}, r"one prompt, \[1, T\].*got \[2, 3\]"),
        ({"prompt": torch.zeros(1, 0, dtype=torch.long)}, r"got \[1, 0\]"),
        ({"new": 0}, "at least 1; got new 0"),
        ({"guesses": 0}, "at least 1; got new 5 and guesses 0"),
        ({"temperature": -1.0}, "temperature must be 0 or a number above it"),
        ({"temperature": float("nan")}, "temperature must be 0"),
        ({"new": 50}, r"The target's cache has 20 positions; 9 \+ 50 tokens do not fit"),
    ],
    ids=str,
)
def test_wrong_questions_are_refused(changes: dict[str, Any], told: str) -> None:
    target, draft = pair(0.0)
    for model in (target, draft):
        model.allocate(1, 20)
    with pytest.raises(RequestError, match=told):
        speculation.speculate(target, draft, **({"prompt": ids(9), "new": 5} | changes))


def test_models_must_fit_each_other() -> None:
    target, _ = pair(0.0)
    other = llama.build(spec(vocabulary=41))
    target.allocate(1, 20)
    with pytest.raises(RequestError, match="share a vocabulary; got 40 and 41"):
        speculation.speculate(target, other, ids(9), 5)
    other = llama.build(spec())
    other.allocate(2, 20)
    with pytest.raises(RequestError, match="The draft's cache is for 2 sequences"):
        speculation.speculate(target, other, ids(9), 5)
    with pytest.raises(RequestError, match="two models"):
        speculation.speculate(target, target, ids(9), 5)
    with pytest.raises(RequestError, match="The draft's cache has 0 positions"):
        speculation.speculate(target, pair(0.0)[1], ids(9), 5)
