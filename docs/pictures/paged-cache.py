"""The part of a cache that stays empty in last blocks, by the size of a block."""

from __future__ import annotations

from draw import lines

from perfmodel.cache.held import mean_waste_tokens


def picture() -> str:
    """The SVG."""
    blocks = (1, 2, 4, 8, 16, 32, 64, 128, 256)
    series = {
        f"{tokens:,} tokens": [(float(b), 100 * mean_waste_tokens(b) / (tokens + mean_waste_tokens(b))) for b in blocks]
        for tokens in (100, 500, 2000, 8000)
    }
    title = "Part of the cache that is empty, mean over lengths of every rest"
    return lines(title, "tokens of a block", "empty (%)", series, log_x=True)
