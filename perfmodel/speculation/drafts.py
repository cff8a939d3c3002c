"""What is asked of speculation → a `Speculation`: the draft made or taken, everything checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

from perfmodel.block import Block
from perfmodel.deployment import precision_for
from perfmodel.errors import RequestError
from perfmodel.gpu import GPU
from perfmodel.layers.attention import GroupedQueryAttention
from perfmodel.layers.feedforward import GatedFeedForward
from perfmodel.layers.latent_attention import LatentAttention
from perfmodel.layers.moe import MixtureOfExperts
from perfmodel.model import Model
from perfmodel.precision import Precision
from perfmodel.spec import nearest
from perfmodel.speculation.acceptance import rate_that_yields
from perfmodel.speculation.method import EAGLES, METHODS, REDUCED_VOCABULARY, Speculation

PADDING = 128
"""Tokens by which vocabularies of one tokenizer may differ in padding (llama.cpp, common/speculative.cpp)."""
MOST_GUESSES, MOST_NODES = 64, 1024
Rates = float | Sequence[float] | str | None


def speculation_for(
    target: Model,
    gpu: GPU,
    precision: Precision,
    cache: bool = True,
    method: str | None = None,
    draft: Model | None = None,
    guesses: int | None = None,
    nodes: int | None = None,
    acceptance: Rates = None,
    accepted_length: float | None = None,
    tp: int | None = None,
    weights: str | None = None,
) -> Speculation | None:
    """What guesses ahead of `target`; None when nothing is asked. RequestError in one sentence for what cannot be."""
    if method is None and draft is None:
        _nothing_else(guesses, nodes, acceptance, accepted_length, tp, weights)
        return None
    name = _named(method, draft)
    if target.bidirectional:
        raise RequestError(f"{target.name} writes by denoising, many tokens a pass; --speculate is for other models.")
    if not cache:
        raise RequestError("--no-kv-cache computes all again at each step; speculation needs the cache: leave one out.")
    usual = METHODS[name]
    k = _whole(guesses, usual.guesses, "--draft-tokens", MOST_GUESSES)
    tree = usual.nodes if guesses is None else None
    tree = tree if nodes is None else _whole(nodes, 1, "--draft-tree", MOST_NODES)
    if tree is not None and name in ("ngram", "lookahead"):
        raise RequestError(f"--draft-tree: {usual.title} has no tree of guesses; use it with medusa, eagle or a draft.")
    if tree is not None and tree < k:
        raise RequestError(
            f"--draft-tree {tree} holds fewer than {k} guessed ahead; give {k} or more, or --draft-tokens {tree}."
        )
    if name != "draft" and weights is not None:
        raise RequestError("--draft-weights is for a draft model; name it by --draft.")
    if name in ("ngram", "lookahead", "medusa") and tp is not None:
        raise RequestError(f"--draft-tp is for a draft that is a model; {usual.title} need none.")
    stated = acceptance is not None or accepted_length is not None
    asked = Speculation(name, k, _rates(acceptance) or usual.rates, tree, tp=_draft_tp(tp), stated=stated)
    asked = _measured(asked, acceptance, accepted_length)
    return _drafted(asked, target, gpu, precision, draft, weights)


def method_named(name: str) -> str:
    """A method that there is; RequestError otherwise."""
    if name not in METHODS:
        guess = nearest(str(name), METHODS)
        hint = f'did you mean "{guess}"?' if guess else "known: " + ", ".join(METHODS)
        raise RequestError(f'--speculate: no method is called "{name}"; {hint}')
    return name


def _named(method: str | None, draft: Model | None) -> str:
    if method is None:
        return "draft"
    if method_named(method) == "draft" and draft is None:
        raise RequestError("--speculate draft needs the draft model: --draft MODEL, like --draft llama3.2-1b.")
    if method != "draft" and draft is not None:
        raise RequestError(
            f"--speculate {method} brings its own draft; leave out --draft {draft.name}, or --speculate."
        )
    return method


def _nothing_else(*given: object) -> None:
    uses = ("--draft-tokens", "--draft-tree", "--acceptance", "--accepted-length", "--draft-tp", "--draft-weights")
    for use, value in zip(uses, given, strict=True):
        if value is not None:
            raise RequestError(f"{use} needs a draft: --draft MODEL, or --speculate METHOD ({', '.join(METHODS)}).")


def _whole(value: object, usual: int, use: str, most: int) -> int:
    if value is None:
        return usual
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise RequestError(f"{use} must be a whole number from 1 to {most:,}; got {value!r}.")
    return value


def _draft_tp(tp: object) -> int | None:
    return None if tp is None else _whole(tp, 1, "--draft-tp", 1024)


def _rates(acceptance: Rates) -> tuple[float, ...] | None:
    """Acceptance as numbers: one, or one for each place."""
    if acceptance is None:
        return None
    parts: Sequence[object] = acceptance.split(",") if isinstance(acceptance, str) else (acceptance,)
    if isinstance(acceptance, (list, tuple)):
        parts = acceptance
    rates = tuple(_rate(part, acceptance) for part in parts)
    if not rates:
        raise RequestError("--acceptance needs a rate from 0 to 1, like 0.7, or one for each place: 0.8,0.7,0.6.")
    return rates


def _rate(part: object, asked: object) -> float:
    try:
        rate = float(part)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        rate = float("nan")
    if isinstance(part, bool) or not isfinite(rate) or not 0 <= rate <= 1:
        raise RequestError(
            f"--acceptance must be from 0 to 1, like 0.7, or a rate for each place, like 0.8,0.7,0.6; got {asked!r}."
        )
    return rate


def _measured(asked: Speculation, acceptance: Rates, length: float | None) -> Speculation:
    """`asked` with the rate that yields the measured tokens a pass, where they are given."""
    if length is None:
        return asked
    if acceptance is not None:
        raise RequestError("--acceptance and --accepted-length say the same in two ways; give one.")
    most = float(asked.accepting(1.0).tokens_a_pass)
    if isinstance(length, bool) or not isinstance(length, (int, float)) or not 1 <= length <= most:
        raise RequestError(
            f"--accepted-length is the mean number of tokens a pass yields, from 1 to {most:g} with {asked.guesses} "
            f"guessed ahead; got {length!r}."
        )
    return asked.accepting(rate_that_yields(lambda rate: float(asked.accepting(rate).tokens_a_pass), length))


# ── the draft ────────────────────────────────────────────────────────────────────────────────────


def _drafted(
    asked: Speculation, target: Model, gpu: GPU, precision: Precision, draft: Model | None, weights: str | None
) -> Speculation:
    """`asked` with what guesses."""
    if draft is not None:
        own = precision_for(gpu, weights, None, None, draft.quantization)
        return replace(asked, draft=_checked(draft, target), precision=replace(own, kv=precision.kv))
    if asked.method == "mtp":
        return _multi_token(asked, target, precision)
    if asked.method in EAGLES:
        third = asked.method == "eagle3"
        plain = Precision(precision.stream, precision.kv, precision.stream, precision.stream)
        return replace(
            asked,
            draft=eagle_layer(target, third),
            precision=plain,
            features=3 if third else 2,
            tables=False,
        )
    return asked


def _checked(draft: Model, target: Model) -> Model:
    if draft.bidirectional:
        raise RequestError(f"--draft {draft.name} writes by denoising; a draft must write one token after another.")
    if abs(draft.vocabulary - target.vocabulary) > PADDING:
        raise RequestError(
            f"--draft {draft.name} has a vocabulary of {draft.vocabulary:,} tokens, {target.name} of "
            f"{target.vocabulary:,}; guesses must be tokens of the target: take a draft of its family."
        )
    if draft.total_parameters >= target.total_parameters:
        raise RequestError(
            f"--draft {draft.name} is no smaller than {target.name}; take a draft of a tenth of its size or less."
        )
    return draft


def eagle_layer(target: Model, third: bool = False) -> Model:
    """The draft of EAGLE: one layer like the target's, on features joined with the next token's embedding.

    EAGLE and EAGLE-2 share embedding and LM head with the target (Li et al. 2024a, §4.2; 2024b). EAGLE-3 feeds its
    attention both inputs side by side and has an LM head of its own over a reduced vocabulary (Li et al. 2025, §3.1).
    Of a target with experts it is dense, as wide as the experts that serve a token.
    """
    mixers = [mixer for block in target.blocks for mixer in block.mixers]
    mixer = next((m for m in reversed(mixers) if isinstance(m, (GroupedQueryAttention, LatentAttention))), None)
    if mixer is None:
        raise RequestError(f"{target.name} has no attention that an EAGLE layer could be like; use --draft MODEL.")
    if isinstance(mixer, GroupedQueryAttention):
        both = 2 * target.hidden_size if third else None
        mixer = mixer.model_copy(update={"window": None, "chunk": None, "shares_kv": False, "input_size": both})
    else:
        mixer = mixer.model_copy(update={"indexer": None})
    block = Block(repeat=1, mixer=mixer, feed_forward=GatedFeedForward(kind="gated", size=_dense_width(target)))
    return Model(
        name=f"{'eagle3' if third else 'eagle'} of {target.name}",
        title="EAGLE-3 layer" if third else "EAGLE layer",
        family="eagle",
        hidden_size=target.hidden_size,
        vocabulary=target.vocabulary,
        head_vocabulary=min(REDUCED_VOCABULARY, target.vocabulary) if third else None,
        max_context=target.max_context,
        norm=target.norm,
        blocks=(block,),
        source="SafeAILab/EAGLE",
    )


def _dense_width(target: Model) -> int:
    """Width of the target's dense feed-forward, or of the experts that serve a token together."""
    parts = [block.feed_forward for block in target.blocks if block.feed_forward]
    dense = [part.size for part in parts if not isinstance(part, MixtureOfExperts)]
    experts = [
        part.chosen * part.size + (part.shared_size or 0) for part in parts if isinstance(part, MixtureOfExperts)
    ]
    return int((dense or experts or [4 * target.hidden_size])[-1])


def _multi_token(asked: Speculation, target: Model, precision: Precision) -> Speculation:
    """The target's own heads for further tokens (DeepSeek-AI 2024, V3, §2.2), kept as its layers are."""
    heads = target.multi_token
    if heads is None:
        raise RequestError(
            f"{target.name} has no heads for further tokens, as deepseek-v3 or glm-4.5 have; use --speculate eagle3 or "
            "--draft MODEL."
        )
    layer = heads.block.model_copy(update={"repeat": 1})
    model = target.model_copy(
        update={"name": f"heads of {target.name}", "blocks": (layer,), "order": None, "multi_token": None,
                "tied_embeddings": False}
    )  # fmt: skip
    return replace(
        asked, draft=model, precision=precision, features=2, tables=heads.own_tables, copies=heads.block.repeat
    )
