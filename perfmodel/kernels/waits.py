"""What one kernel waits for."""

from __future__ import annotations

from typing import NamedTuple

from perfmodel.arithmetic import Number, norm


class Waits(NamedTuple):
    """Seconds of one kernel on each resource, as if it were alone.

    Computing and moving overlap, imperfectly: together they take the 2-norm of both, the smooth form of the
    roofline's max (equal to it far from the ridge, up to √2 longer on it). `link`, `overhead` and `alone`, moving that
    overlaps nothing, come on top.
    """

    compute: Number = 0
    bandwidth: Number = 0
    link: Number = 0
    overhead: Number = 0
    alone: Number = 0

    @property
    def total(self) -> Number:
        """Expected seconds."""
        return self.overhead + self.link + self.alone + norm(self.compute, self.bandwidth)

    def at(self, compute: Number, memory: Number, launch: Number = 1) -> Waits:
        """The same where computing runs `compute` times as fast, memory `memory` times, and starts take `launch`."""
        legs = self.compute / compute, self.bandwidth / memory, self.link, self.overhead * launch, self.alone / memory
        return Waits(*legs)

    def part(self, share: Number) -> Waits:
        """What falls to a part of the kernel's work."""
        return Waits(*(leg * share for leg in self))

    def beside(self, other: Waits) -> Waits:
        """Leg by leg, this and `other`."""
        return Waits(*(mine + its for mine, its in zip(self, other, strict=True)))
