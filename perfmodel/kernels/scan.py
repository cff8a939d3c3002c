"""Recurrences: kernels of mixers that keep a state in place of a cache."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.arithmetic import Number, ceil, norm
from perfmodel.kernels.waits import Waits


@dataclass(frozen=True, slots=True)
class Scan:
    """What one library's kernels of one recurrence reach on one device.

    launch_s  launches, and what comes before the first state is read
    compute   share of the peak of the format that computes
    memory    share of the bandwidth at which states are read and written
    rows      share of it at which rows stream, each input read and each output written once: low where a chain of
              kernels writes and reads again what passes between them
    chunk_s   seconds that each chunk of a sequence waits for the state of the one before
    chunk     tokens of a chunk: the last one of a sequence is computed whole
    held      bytes of rows that stay in cache from one kernel to the next
    """

    launch_s: float
    compute: float
    memory: float
    rows: float = 1.0
    chunk_s: float = 0.0
    chunk: float = 1.0
    held: float = 0.0


def scan_waits(
    tokens: Number,
    flops: Number,
    state_bytes: Number,
    row_bytes: Number,
    peak: Number,
    bandwidth: Number,
    c: Scan,
) -> Waits:
    """launch + ‖padded FLOPs / (compute·peak), ‖(states/memory + rows crossing/rows) / bandwidth, chunks·chunk_s‖₂‖₂.

    Chunks of a sequence follow one another, each a set of matrix products inside, while sequences and heads run side
    by side (Yang et al. 2024, Gated Linear Attention, §4; Yang et al. 2025, Gated DeltaNet, §3.3). A decode step is one
    chunk of one token, and moves every sequence's state in and out.

        tokens       new ones of each sequence; the FLOPs of all are padded to whole chunks: ⌈tokens/chunk⌉·chunk/tokens
        state_bytes  states read and written, and the recurrence's own weights
        row_bytes    activations read and written; ‖row_bytes, held‖₂ − held cross memory
    """
    chunks = ceil(tokens / c.chunk)
    computing = flops * (chunks * c.chunk / tokens) / (c.compute * peak)
    crossing = norm(row_bytes, c.held) - c.held
    moving = (state_bytes / c.memory + crossing / c.rows) / bandwidth
    return Waits(computing, norm(moving, chunks * c.chunk_s), overhead=c.launch_s)
