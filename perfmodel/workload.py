"""`Workload`: what users send."""

from __future__ import annotations

from dataclasses import dataclass, replace

from perfmodel.arithmetic import Number, ceil, minimum
from perfmodel.errors import RequestError

PROMPT, OUTPUT, BATCH = 1024, 256, 1
"""The workload taken when none is given: a chat turn, alone on the device."""

BLOCK_LENGTH = 32
"""Tokens of a block of a model that writes by denoising (Nie et al. 2025, LLaDA, §2.4; Wu et al. 2025, Fast-dLLM)."""


@dataclass(frozen=True, slots=True)
class Workload:
    """`batch` sequences at once, each of `prompt` tokens in and `output` tokens out.

    Of the prompt, `images` × `image_tokens` stand for images, and its first `prefix` tokens are the same for all, which
    a share `prefix_hit` of the prompts finds in the cache. Each prompt becomes `samples` completions, or is searched by
    `beams`. Sizes are whole numbers, or float64 arrays of them that broadcast together. Models that write by denoising
    take `denoising_steps` passes in all (one a token when None) over blocks of `block_length`, one block after another.
    """

    prompt: Number = PROMPT
    output: Number = OUTPUT
    batch: Number = BATCH
    denoising_steps: Number | None = None
    block_length: Number = BLOCK_LENGTH
    images: int = 0
    image_tokens: int = 0
    prefix: Number = 0
    prefix_hit: float = 1.0
    samples: int = 1
    beams: int = 1

    @property
    def text(self) -> Number:
        """Tokens of the prompt that are text."""
        return self.prompt - self.images * self.image_tokens

    @property
    def width(self) -> int:
        """Sequences that each prompt becomes."""
        return self.samples * self.beams

    @property
    def sequences(self) -> Number:
        """Sequences that decode at once."""
        return self.batch if self.width == 1 else self.batch * self.width

    @property
    def shares(self) -> bool:
        """Whether sequences have cached tokens in common."""
        return self.width > 1 or (self.prefix_hit > 0 and not (isinstance(self.prefix, int) and self.prefix == 0))

    @property
    def length(self) -> Number:
        """Tokens of a finished sequence, for which cache is set aside."""
        return self.prompt + self.output

    @property
    def decode_steps(self) -> Number:
        """Passes after the prefill; the prefill itself yields the first output token."""
        return self.output - 1

    @property
    def output_tokens(self) -> Number:
        """Tokens that all sequences together receive."""
        return (self.batch if self.samples == 1 else self.batch * self.samples) * self.output

    @property
    def steps(self) -> Number:
        """Denoising passes in all."""
        return self.output if self.denoising_steps is None else self.denoising_steps

    @property
    def block(self) -> Number:
        """Tokens that are denoised together."""
        return minimum(self.block_length, self.output)

    @property
    def blocks(self) -> Number:
        """Blocks of the output."""
        return ceil(self.output / self.block)

    @property
    def smallest_prompt(self) -> int:
        """Tokens of the shortest prompt."""
        return int(self.prompt.min()) if hasattr(self.prompt, "min") else int(self.prompt)

    def largest(self) -> Workload:
        """The workload whose every size is the largest of its axis."""
        names = ("prompt", "output", "batch", "denoising_steps", "block_length", "prefix")
        return replace(self, **{name: _largest(getattr(self, name)) for name in names})


def _largest(size: Number) -> Number:
    return int(size.max()) if hasattr(size, "max") else size


def whole_number(value: object, use: str, limit: int = 10**9) -> Number:
    """`value` as a positive whole number, or a list or array of them as float64; RequestError if it is not."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        raise RequestError(f"{use} must be a whole number of at least 1; got {value!r}.")
    if isinstance(value, int):
        sizes: Number = value
        bad = not 1 <= value <= limit
    else:
        import numpy as np

        try:
            sizes = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise RequestError(f"{use} must be a whole number or a list of them; got {value!r}.") from None
        inside = (sizes >= 1) & (sizes <= limit) & (sizes == np.floor(sizes))
        bad = not sizes.size or not bool(inside.all())
        if sizes.ndim == 0 and not bad:
            return int(sizes)
    if bad:
        raise RequestError(f"{use} must be a whole number from 1 to {limit:,}; got {value!r}.")
    return sizes
