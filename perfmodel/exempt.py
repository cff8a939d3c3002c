"""`--exempt`: parts of a model that stay in 16 bits while the others are quantized, and recipes of that kind.

A recipe is one row of `RECIPES`: a name that `--weights` takes, the format it means, and what it leaves alone.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple

from perfmodel.block import Block
from perfmodel.errors import RequestError
from perfmodel.model import Model
from perfmodel.order import LETTERS, order_of
from perfmodel.precision import Precision
from perfmodel.spec import nearest

HEAD = "lm_head"
"""The part that is no block's."""
SIXTEEN = 16
_ENDS = re.compile(r"(?P<end>first|last)-layers=(?P<count>\d{1,5})")


class Recipe(NamedTuple):
    """A format and what is not in it."""

    weights: str
    exempt: str
    source: str


RECIPES = {
    "fp8-llama3": Recipe(
        "fp8-row",
        "attention,first-layers=1,last-layers=1",
        "Llama Team 2024, The Llama 3 Herd of Models, §6.2: FP8 by rows for the feed-forward products, about half of "
        "the inference compute; not for parameters of self-attention, nor in the first and last layer",
    ),
}


def recipe(weights: str | None, exempt: str | None) -> tuple[str | None, str | None]:
    """`--weights` and `--exempt` as they stand once a recipe is taken for what it means."""
    found = RECIPES.get(weights.lower()) if isinstance(weights, str) else None
    if found is None:
        return weights, exempt
    return found.weights, f"{found.exempt},{exempt}" if exempt else found.exempt


class Exempt(NamedTuple):
    """What stays in 16 bits: tensors by name or prefix, so many first and last layers, and whether the LM head."""

    parts: tuple[str, ...]
    first: int
    last: int
    head: bool


def exempt_of(model: Model, text: str) -> Exempt:
    """`text` ("attention,first-layers=1,lm_head") read for `model`; RequestError where it has no such part."""
    ends = {"first": 0, "last": 0}
    parts: list[str] = []
    known = known_parts(model)
    for word in filter(None, (word.strip().lower() for word in str(text).split(","))):
        if match := _ENDS.fullmatch(word):
            ends[match["end"]] = int(match["count"])
        elif word in known or word == HEAD:
            parts.append(word)
        else:
            guess = nearest(word, [*known, HEAD, "first-layers=1", "last-layers=1"])
            hint = f'did you mean "{guess}"?' if guess else f"it has {', '.join(known)}"
            raise RequestError(f'--exempt: {model.name or model.title} has no part "{word[:40]}"; {hint}')
    if not parts and not any(ends.values()):
        raise RequestError(f'--exempt names what stays in 16 bits, like "attention,last-layers=1"; got "{text}".')
    if max(ends.values()) > model.layers:
        raise RequestError(f"--exempt: {model.name or model.title} has {model.layers} layers; got {str(text)[:60]!r}.")
    return Exempt(tuple(dict.fromkeys(part for part in parts if part != HEAD)), **ends, head=HEAD in parts)


def known_parts(model: Model) -> list[str]:
    """Parts of the model's layers that can be named: "attention", and tensors of it, "attention.q"."""
    found: dict[str, None] = {}
    for layer in (layer for block in model.blocks for layer in block.layers):
        found |= {layer.label: None}
        for name, tensor in layer.tensors(model.hidden_size).items():
            if not tensor.wide:
                words = f"{layer.label}.{name}".split(".")
                found |= {".".join(words[: i + 1]): None for i in range(1, len(words))}
    return list(found)


def exempted_model(model: Model, exempt: Exempt) -> Model:
    """`model` whose blocks say what stays in 16 bits, beside what its checkpoint leaves alone already.

    First and last layers become blocks of their own. The head is the precision's, and not among them.
    """
    blocks = tuple(_sparing(block, exempt.parts, block.repeat) for block in model.blocks)
    if not exempt.first + exempt.last:
        return model.model_copy(update={"blocks": blocks})
    if any(block.copies is not None for block in blocks):
        raise RequestError(f"--exempt: layers of {model.name or model.title} share weights; name parts, not layers.")
    sequence = model.sequence()
    places = [at for at, i in enumerate(sequence) if not blocks[i].inner]
    whole = {*places[: exempt.first], *places[len(places) - exempt.last :]}
    layers = [(i, at in whole) for at, i in enumerate(sequence)]
    kinds = list(dict.fromkeys(layers))
    if len(kinds) > len(LETTERS):
        raise RequestError(f"--exempt: {model.name or model.title} would have too many kinds of layers.")
    split = (
        _sparing(blocks[i], whole_of(blocks[i]) if all_of_it else (), layers.count((i, all_of_it)))
        for i, all_of_it in kinds
    )
    return model.model_copy(update={"blocks": tuple(split), "order": order_of([kinds.index(at) for at in layers])})


def whole_of(block: Block) -> tuple[str, ...]:
    """Every part of a block, by name."""
    return tuple(dict.fromkeys(layer.label for layer in block.layers))


def _sparing(block: Block, parts: tuple[str, ...], repeat: int) -> Block:
    """`block`, `repeat` times, with `parts` in 16 bits too."""
    kept = tuple(dict.fromkeys((*block.exempt, *parts)))
    return block.model_copy(update={"repeat": repeat, "exempt": kept})


def sparing(model: Model, precision: Precision, text: str | None) -> tuple[Model, Precision]:
    """Model and precision with what `--exempt` names in 16 bits; unchanged where it names nothing."""
    if text is None:
        return model, precision
    if precision.weights.bits >= SIXTEEN:
        raise RequestError(f"--exempt needs quantized weights, like --weights fp8; these are {precision.weights.name}.")
    exempt = exempt_of(model, text)
    return exempted_model(model, exempt), replace(precision, head=None) if exempt.head else precision
