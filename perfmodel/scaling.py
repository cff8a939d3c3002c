"""Width and depth what-ifs: the same architecture with other sizes, as structured pruning leaves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perfmodel.errors import RequestError, SpecError
from perfmodel.model import Model
from perfmodel.order import order_of
from perfmodel.spec import checked, nearest

SIZES = ("layers", "hidden", "ffn", "heads", "kv_heads", "experts", "chosen", "kv_sharing")
MOST_LAYERS = 10_000


def scaled(model: Model, **sizes: int | None) -> Model:
    """`model` with other sizes (Muralidharan et al. 2024, Minitron, §2: depth, width, heads, FFN).

    layers       evenly spread ones of its layers stay, or are repeated
    hidden       model width D; heads keep their size
    ffn          width of every feed-forward and routed expert; shared experts in proportion
    heads        query heads; KV heads follow where there is one each, else stay
    kv_heads     KV heads; 0 for one a query head
    experts, chosen   experts of every layer of them, and how many serve a token
    kv_sharing   each n attention layers in a row share keys and values (Brandon et al. 2024, CLA)

    RequestError when a size is not a whole number above zero, or they do not fit together.
    """
    given = {name: size for name, size in sizes.items() if size is not None}
    for name, size in given.items():
        _check(name, size)
    if not given:
        return model
    told = ", ".join(f"{name} {size}" for name, size in given.items())
    data = model.model_dump(exclude_none=True)
    data["blocks"] = [_block(block, model.hidden_size, given) for block in data["blocks"]]
    data["hidden_size"] = given.get("hidden", model.hidden_size)
    _lay_out(data, model.sequence(), given)
    data["title"] = f"{model.title} ({told})"
    try:
        return checked(Model, data, f"--prune {told}")
    except SpecError as error:
        raise RequestError(str(error)) from None


def sizes_of(text: str) -> dict[str, int]:
    """ "layers=32,hidden=4096" → the keyword arguments of `scaled`."""
    found: dict[str, int] = {}
    for part in text.split(","):
        name, equals, size = part.strip().partition("=")
        if not equals or not size.strip().isdigit():
            raise RequestError(f'--prune takes sizes like "layers=32,hidden=4096"; got "{part.strip()[:40]}".')
        found[name.strip()] = int(size)
    for name, number in found.items():
        _check(name, number)
    return found


def _check(name: str, size: Any) -> None:
    if name not in SIZES:
        guess = nearest(name, SIZES)
        hint = f'did you mean "{guess}"?' if guess else "known: " + ", ".join(SIZES)
        raise RequestError(f'--prune: "{name[:40]}" is not a size of a model; {hint}')
    least, most = 0 if name == "kv_heads" else 1, MOST_LAYERS if name == "layers" else 10**9
    if isinstance(size, bool) or not isinstance(size, int) or not least <= size <= most:
        raise RequestError(f"--prune {name} must be a whole number from {least} to {most:,}; got {str(size)[:40]}.")


def _block(block: dict[str, Any], width: int, given: dict[str, int]) -> dict[str, Any]:
    return block | {
        part: _part(block[part], width, given) for part in ("mixer", "beside", "feed_forward") if part in block
    }


def _part(layer: dict[str, Any], width: int, given: dict[str, int]) -> dict[str, Any]:
    """One mixer or feed-forward with the sizes that it has."""
    layer = dict(layer)
    if "heads" in given and "heads" in layer and "head_size" in layer and "state_size" not in layer:
        if layer.get("kv_heads") == layer["heads"]:
            layer["kv_heads"] = given["heads"]
        layer["heads"] = given["heads"]
    if "kv_heads" in given and "kv_heads" in layer:
        layer["kv_heads"] = given["kv_heads"] or layer["heads"]
    if "ffn" in given and layer["kind"] in ("gated", "plain", "experts", "channel-mix"):
        if "shared_size" in layer:
            layer["shared_size"] = max(1, layer["shared_size"] * given["ffn"] // layer["size"])
        layer["size"] = given["ffn"]
    layer |= {name: given[name] for name in ("experts", "chosen") if name in given and name in layer}
    if "hidden" in given:
        # sizes that are the stream's own, or multiples of it
        for name in ("input_size", "stream_size"):
            if name in layer:
                layer[name] = layer[name] * given["hidden"] // width
    return layer


def _lay_out(data: dict[str, Any], sequence: list[int], given: dict[str, int]) -> None:
    """Which layers stay, and which of them share keys and values."""
    blocks = data["blocks"]
    layers = given.get("layers", len(sequence))
    kept = _spread(sequence, layers)
    if "kv_sharing" in given:
        kept = _shared(blocks, kept, given["kv_sharing"])
    used = sorted(set(kept))
    data["blocks"] = [blocks[i] | {"repeat": kept.count(i)} for i in used]
    numbered = [used.index(i) for i in kept]
    data["order"] = order_of(numbered)


def _spread(sequence: list[int], layers: int) -> list[int]:
    """`layers` of the layers, evenly spread among those of each kind, whose shares stay as near as can be."""
    kinds = sorted(set(sequence))
    exact = {kind: layers * sequence.count(kind) / len(sequence) for kind in kinds}
    counts = {kind: int(share) for kind, share in exact.items()}
    for kind in sorted(kinds, key=lambda kind: counts[kind] - exact[kind])[: layers - sum(counts.values())]:
        counts[kind] += 1
    kept: list[tuple[int, int]] = []
    for kind, count in counts.items():
        places = [i for i, other in enumerate(sequence) if other == kind]
        kept += [(places[j * len(places) // count], kind) for j in range(count)]
    return [kind for _, kind in sorted(kept)]


def _shared(blocks: list[dict[str, Any]], kept: list[int], every: int) -> list[int]:
    """`kept` with all but the first of each `every` attention layers replaced by one that shares its cache."""
    twins: dict[int, int] = {}
    found, seen = [], 0
    for i in kept:
        if (blocks[i].get("mixer") or {}).get("kind") != "attention":
            found.append(i)
            continue
        if seen % every and i not in twins:
            blocks.append(blocks[i] | {"mixer": blocks[i]["mixer"] | {"shares_kv": True}})
            twins[i] = len(blocks) - 1
        found.append(twins[i] if seen % every else i)
        seen += 1
    return found


def pruned(model: Model, sizes: str | Mapping[str, int] | None) -> Model:
    """`model` with other sizes, and a note that says so; the model itself when there are none."""
    given = sizes_of(sizes) if isinstance(sizes, str) else dict(sizes or {})
    if not given:
        return model
    told = ", ".join(f"{name} {size:,}" for name, size in given.items())
    note = f"{model.title} with other sizes, as --prune asked: {told}; what it does not name stays."
    return model.scaled(**given).model_copy(update={"notes": (*model.notes, note)})
