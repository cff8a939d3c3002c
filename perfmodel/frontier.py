"""Which points nothing beats: the Pareto front of two figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def frontier(points: Sequence[tuple[float, float]]) -> set[int]:
    """Indices of the points that no other is as good as in both figures and better in one.

    Smaller is better; give a figure that is to be large with its sign turned. Equal points are all on the front.
    """
    x, y = zip(*points, strict=True) if points else ((), ())
    best = {points[i] for i in front(x, y, False, False).tolist()}
    return {i for i, point in enumerate(points) if point in best}


def front(x: Any, y: Any, more_x: bool, more_y: bool) -> Any:
    """Indices of the rows on the front, from the best x on: no row is better in one and no worse in the other.

    `more_x` and `more_y` say that more is better. Rows without a value are on no front; of equal rows the first is.
    """
    import numpy as np

    a, b = (-np.asarray(v, float) if more else np.asarray(v, float) for v, more in ((x, more_x), (y, more_y)))
    known = np.flatnonzero(np.isfinite(a) & np.isfinite(b))
    order = known[np.lexsort((b[known], a[known]))]
    if not len(order):
        return order
    best = np.minimum.accumulate(b[order])
    first = np.ones(len(order), dtype=bool)
    first[1:] = b[order][1:] < best[:-1]
    return order[first]
