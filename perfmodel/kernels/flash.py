"""Attention kernels beside the measured ones: what each costs relative to those that the constants were fitted to."""

from __future__ import annotations

from typing import NamedTuple

from perfmodel.arithmetic import Number, ceil, maximum

SRAM = 192 * 1024
"""Bytes of on-chip memory that FlashAttention's blocks of keys are cut for (Dao et al. 2022, §2.1: A100)."""
SPLIT_FLOPS = 4
"""To join two partial results of an element: two products with their weights, a sum, a division."""
SHARE_ALONE = 0.8
"""Part of its even share of the bandwidth that a compute unit draws alone: the middle of Dao et al. 2023's table."""
PAGED = 1.23
"""vLLM's first PagedAttention kernel took 20–26 % longer than FasterTransformer's (Kwon et al. 2023, §7.1)."""


class Variant(NamedTuple):
    """A kernel: what it is, its share of the prefill rate of the measured one, and habits.

    speed     architecture → share of the measured kernel's rate; "" for all others that it runs on
    splits    whether decode spreads the keys of a sequence over compute units (flash-decoding)
    decode    factor on the time of decode
    """

    told: str
    speed: dict[str, float]
    splits: bool = True
    decode: float = 1.0


# The measured kernels are of FlashAttention-3's kind on Hopper, of FlashAttention-2's on Ampere and Ada. The third is
# 1.5 to 2 times as fast as the second on H100 (Shah et al. 2024, abstract), that about twice as fast as the first
# (Dao 2023, abstract; what idle units of few heads cost is in that).
VARIANTS = {
    "flash1": Variant(
        "FlashAttention (Dao et al. 2022): keys in the outer loop",
        {"Hopper": 1 / 3.5, "Ampere": 1 / 2, "Ampere GDDR": 1 / 2, "Ada": 1 / 2},
        splits=False,
    ),
    "flash2": Variant("FlashAttention-2 (Dao 2023)", {"Hopper": 1 / 1.75, "Ampere": 1, "Ampere GDDR": 1, "Ada": 1}),
    "flash3": Variant("FlashAttention-3 (Shah et al. 2024)", {"Hopper": 1}),
    "unsplit": Variant("decode without split keys: one unit of work a query head", {"": 1}, splits=False),
    "paged-v1": Variant("vLLM's first PagedAttention kernel (Kwon et al. 2023)", {"": 1}, decode=PAGED),
}
ATTENTIONS = ("flash", *VARIANTS, "naive")


def speed(name: str, architecture: str) -> float | None:
    """Share of the measured kernel's prefill rate; None where the kernel does not run or nothing is published."""
    if name not in VARIANTS:
        return 1.0
    found = VARIANTS[name].speed
    return found.get(architecture, found.get(""))


def unsplit_s(keys: Number, heads: Number, head_bytes: Number, compute_units: Number, bandwidth: Number) -> Number:
    """Seconds of a decode step whose keys are not split: each of `heads` query heads (of all sequences) is one unit.

        ⌈heads/units⌉ · keys · bytes · units/(0.8·bandwidth)

    `head_bytes` are those of one key and value. Fewer heads than compute units leave the others idle (Dao et al. 2023,
    Flash-Decoding). Within 25 % of the ten rows of that table of an A100.
    """
    return ceil(heads / compute_units) * keys * head_bytes * compute_units / (SHARE_ALONE * bandwidth)


def flash1_reread(pairs: Number, tokens: Number, heads: Number, sizes: tuple[Number, Number], word: Number) -> Number:
    """Bytes that FlashAttention moves beyond reading everything once (Dao et al. 2022, alg. 1 and theorem 2).

    Blocks of SRAM/4H keys stand in the outer loop: for each, all queries are read again, and the result read and
    written, Θ(S²H²/SRAM): (pairs/block − tokens)·N·(H + 2U).
    """
    (H, U), block = sizes, ceil(SRAM / word / (4 * sizes[0]))
    again = maximum(pairs / block - tokens, 0)
    return again * heads * (H + 2 * U) * word
