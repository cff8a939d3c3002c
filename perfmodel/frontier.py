"""Which points nothing beats: the Pareto front, of two figures that are to be small."""

from __future__ import annotations

from collections.abc import Sequence


def frontier(points: Sequence[tuple[float, float]]) -> set[int]:
    """Indices of the points that no other is as good as in both figures and better in one; n·log n.

    Smaller is better; give a figure that is to be large with its sign turned. Equal points are all on the front.
    """
    order = sorted(range(len(points)), key=lambda i: points[i])
    found: set[int] = set()
    best = float("inf")
    for i in order:
        first, second = points[i]
        if second < best:
            best, corner = second, first
            found.add(i)
        elif second == best and first == corner:
            found.add(i)
    return found
