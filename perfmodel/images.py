"""Images in a prompt, as the tokens that the language model reads in their place; encoders are not modelled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Any

from perfmodel.errors import RequestError
from perfmodel.model import Model
from perfmodel.workload import Workload, whole_number

SIZE = "1024x1024"
"""Pixels of an image where none are given."""
MOST_PIXELS = 10**5  # on a side


def _fixed(tokens: int) -> Callable[[int, int], int]:
    return lambda wide, high: tokens


def _patches(side: int) -> Callable[[int, int], int]:
    """A token for each square of so many pixels a side, the image resized to whole ones."""
    return lambda wide, high: max(round(wide / side), 1) * max(round(high / side), 1)


def _tiles(side: int, tokens: int, most: int) -> Callable[[int, int], int]:
    """So many tokens for each tile, at most `most` of them, and for the whole where there are several."""

    def counted(wide: int, high: int) -> int:
        tiles = min(ceil(wide / side) * ceil(high / side), most)
        return tokens * (tiles + (tiles > 1))

    return counted


# Gemma 3: 256 of the 896 × 896 encoder, pooled (Gemma Team 2025, §2.1; config mm_tokens_per_image). Gemma 3n: 256
# (config vision_soft_tokens_per_image). Gemma 4: budgets of 70 to 1,120, 280 by default (ai.google.dev, Vision
# understanding). Llama 4: tiles of 336 pixels, patches of 14, pixel shuffle 0.5: 144 a tile, and a global one. Qwen3-VL
# and after: patches of 16, 2 × 2 merged: 32 × 32 pixels (28 × 28 of Qwen2-VL). Kimi K2.5: patches of 14, 2 × 2 merged
# (recalled).
TOKENS: dict[str, Callable[[int, int], int]] = {
    "gemma3": _fixed(256),
    "gemma3n": _fixed(256),
    "gemma4": _fixed(280),
    "llama4": _tiles(336, 144, 16),
    "qwen3-vl": _patches(32),
    "qwen3.5": _patches(32),
    "qwen3.6": _patches(32),
    "kimi-k2": _patches(28),
}
"""Family → tokens of an image of so many pixels."""
ENCODES = "The language model alone; encoders of images"


def takes_images(model: Model) -> bool:
    """Whether the whole model has an encoder of images, which its file leaves out."""
    return any(note.startswith(ENCODES) for note in model.notes)


def image_tokens(model: Model, size: str | None = None, tokens: int | None = None) -> int:
    """Tokens of one image in the prompt: those given, or what the model's family makes of `size` ("1280x720")."""
    if tokens is not None:
        if size is not None:
            raise RequestError("--image-tokens says how many an image has, whatever its size; leave --image-size out.")
        return tokens
    if any(block.idle for block in model.blocks):
        raise RequestError(
            f"{model.name} reads images by cross-attention, not as tokens of the prompt, which is not modelled."
        )
    if model.family not in TOKENS or not takes_images(model):
        raise RequestError(
            f"how many tokens an image has is not known of {model.name}; give --image-tokens, like 576 (LLaVA)."
        )
    return TOKENS[model.family](*_pixels(size or SIZE))


def _pixels(size: str) -> tuple[int, int]:
    parts = str(size).lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.isdigit() and 1 <= int(part) <= MOST_PIXELS for part in parts):
        raise RequestError(f'--image-size needs width and height in pixels, like "1280x720"; got "{str(size)[:40]}".')
    return int(parts[0]), int(parts[1])


def with_images(model: Model, work: Workload, images: Any, size: str | None, tokens: Any) -> Workload:
    """`work` with `images` in each prompt, as tokens of it; the same where there are none."""
    if images is None:
        for use, value in (("--image-size", size), ("--image-tokens", tokens)):
            if value is not None:
                raise RequestError(f"{use} says how large an image is; give --images, how many there are, too.")
        return work
    count = whole_number(images, "--images", 10**4)
    each = image_tokens(model, size, None if tokens is None else whole_number(tokens, "--image-tokens", 10**6))
    return replace(work, prompt=work.prompt + count * each, images=count, image_tokens=each)
