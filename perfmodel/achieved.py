"""What each op of a pass reaches on one GPU: FLOP/s and bytes/s, to be held against the roofs."""

from __future__ import annotations

from typing import NamedTuple

from perfmodel.answer import Estimate
from perfmodel.arithmetic import Number
from perfmodel.calibration import Constants
from perfmodel.expected import seconds_by_name
from perfmodel.op import totals
from perfmodel.roofline import bound_s


class Achieved(NamedTuple):
    """The ops of one name in a pass, all repetitions and stages together, as one GPU of each stage has them.

    flops    FLOPs of them
    bytes    bytes read and written if each stood alone, activations included
    seconds  expected
    bound_s  least seconds by datasheet peaks
    """

    name: str
    kind: str
    format: str
    repeat: int
    flops: Number
    bytes: Number
    wire_bytes: Number
    seconds: Number
    bound_s: Number

    @property
    def intensity(self) -> Number:
        """FLOP per byte."""
        return self.flops / self.bytes

    @property
    def rate(self) -> Number:
        """FLOP/s while it runs."""
        return self.flops / self.seconds


def achieved(answer: Estimate, phase: str) -> list[Achieved]:
    """Every op of a phase ("prefill": all prompts in one pass; "decode": the first step) by name, as they come."""
    plan = answer.plan
    ops = answer.prefill_ops(plan) if phase == "prefill" else answer.decode_ops(plan)
    seconds = seconds_by_name(ops, Constants(plan.gpu, plan.engine))
    found = []
    for name in dict.fromkeys(op.name for op in ops):
        same = [op for op in ops if op.name == name]
        counted, first = totals(same), same[0]
        least = sum(bound_s(op, plan.gpu, plan.engine.half_sums) * op.repeat for op in same)
        sent = sum(op.wire_bytes * op.repeat for op in same)
        repeat = sum(op.repeat for op in same)
        found.append(
            Achieved(
                name, first.kind, first.format, repeat, counted.flops, counted.bytes, sent, seconds[name], least
            )
        )  # fmt: skip
    return found
