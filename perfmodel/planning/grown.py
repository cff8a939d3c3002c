"""An option under other traffic: as many of the same kind as that needs."""

from __future__ import annotations

from dataclasses import replace

from perfmodel.planning.option import Option
from perfmodel.planning.space import Structure

FACTORS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0)
"""Of the traffic that was planned for."""


def grown(option: Option) -> list[tuple[float, Option | None]]:
    """(factor, the fewest of the option's kind that carry so much) for each of FACTORS; None where no number does."""

    def under(factor: float) -> Option | None:
        def change(one: Structure) -> Structure:
            return one.under(replace(one.demand, peak=one.demand.peak * factor))

        return option.moved(change)

    return [(factor, option if factor == 1 else under(factor)) for factor in FACTORS]
