"""Attention of new tokens over their context: prefill, decode, and both of multi-head latent attention.

A batch that mixes prefill and decode is two calls, one for each part; engines run them one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from perfmodel.arithmetic import Number, ceil, log2, maximum, minimum, norm
from perfmodel.kernels.waits import Waits

BLOCK = 128  # keys that one step over a tile's keys takes in, masked or not
WRITTEN = 512  # elements of a token's keys (and as many of its values) from which on writing them takes no longer
HELD = 0.5  # of the L2 cache: what is still in it of the activations that the kernel before wrote
CHUNK = 512  # keys that one pass of a decode kernel takes in
TILE_ROWS = 64  # of a decode kernel's products: the heads, and the tokens, that share a KV head
REFERENCE = 128  # head size at which shares of the peak are told


class Queries(NamedTuple):
    """One group of sequences that attend alike.

    sequences   B
    tokens      T, new ones of each
    context     S, keys of each: the new tokens' and those before them
    reach       min(S, window): keys that the last token sees
    heads       N on this device, for queries
    kv_heads    K on this device; 1 for latent attention's shared vector
    head_size   H; where keys and values differ, the mean of both
    """

    sequences: Number
    tokens: Number
    context: Number
    reach: Number
    heads: Number
    kv_heads: Number
    head_size: Number


@dataclass(frozen=True, slots=True)
class Prefill:
    """How one library's kernel for many new tokens a sequence does on one device.

    launch_s    seconds to start
    compute     share of the peak of the matrix units at head size 128, in the middle of a long context
    softmax     head size whose products take as long as the exponentials of the same pairs
    tile        queries of one head that a compute unit takes at a time
    tile_s      seconds that a compute unit loses between tiles
    tail        how far the longest tile sticks out: 0 where work is dealt longest first, 1 where it comes last
    memory      share of the bandwidth
    write_s     seconds a compute unit takes to write one token's keys and values to the cache, beyond moving them
    """

    launch_s: float
    compute: float
    softmax: float
    tile: float
    tile_s: float
    tail: float
    memory: float
    write_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Decode:
    """How one library's kernel for one new token a sequence does on one device.

    launch_s    seconds to start
    chunk_s     seconds more for every doubling of the context: partial results over its chunks to be joined
    memory      share of the bandwidth
    compute     share of the peak of the matrix units, mostly empty rows of whose tiles one token's heads fill
    unit_s      seconds a compute unit takes for one KV head of one sequence, however short, at head size 128
    exposed     part of that during which nothing is read
    key_s       seconds more for each key, where one compute unit walks a sequence alone; 0 where units share it
    """

    launch_s: float
    chunk_s: float
    memory: float
    compute: float
    unit_s: float
    exposed: float
    key_s: float = 0.0


def prefill_waits(
    flops: Number,
    activation_bytes: Number,
    kv_bytes: Number,
    written_bytes: Number,
    q: Queries,
    peak: Number,
    bandwidth: Number,
    compute_units: Number,
    l2_bytes: Number,
    c: Prefill,
) -> Waits:
    """launch + preparation + ‖makespan of the tiles, bytes moved‖₂.

        work         (pairs seen + masked pairs in blocks on the edges) · 4·N·H · (1 + softmax/H)
                     / (compute·peak·(1 + softmax/128)) + tiles·tile_s / compute units
        longest      the tile whose queries see most: tile·reach pairs on one compute unit
        makespan     max(work, (1 − tail)·longest) + tail·longest (list scheduling: Graham 1969)
        tiles        B·N·⌈T/tile⌉ (FlashAttention-2: Dao 2023, §3.3)
        moved        queries and output, keys and values once
        preparation  a kernel that turns queries and keys (rotary embedding) and writes keys and values to the cache:
                     as many bytes again, and write_s a token

    The softmax costs as much for any head size (FlashAttention-4: exponentials bind on Blackwell). Of activations that
    fit into half the L2 cache, part is still there: y bytes cross device memory as y²/(y + L2/2). `flops` counts the
    pairs seen; bytes: `activation_bytes` queries read and output written, `kv_bytes` keys and values read,
    `written_bytes` those written. Seconds; fitted to operator tables of aiconfigurator-core 0.12.0.
    """
    share = minimum(c.compute * (1 + c.softmax / REFERENCE) / (1 + c.softmax / q.head_size), 1)
    tiles = q.sequences * q.heads * ceil(q.tokens / c.tile)
    pair_flops = 4 * q.heads * q.head_size
    block = minimum(q.tokens, BLOCK)
    cut = minimum(q.tokens, q.context - q.reach)  # tokens whose window leaves keys out: they have a second edge
    masked_flops = pair_flops * q.sequences * (q.tokens * block + cut * minimum(cut, BLOCK)) / 2
    work = (flops + masked_flops) / (share * peak) + tiles * c.tile_s / compute_units
    longest = 4 * q.head_size * c.tile * q.reach / (share * peak / compute_units)
    makespan = maximum(work, (1 - c.tail) * longest) + c.tail * longest
    moved = _missed(activation_bytes + kv_bytes, l2_bytes) / (c.memory * bandwidth)
    prepared = _missed(activation_bytes + 2 * written_bytes, l2_bytes) / (c.memory * bandwidth)
    full = minimum(q.kv_heads * q.head_size, WRITTEN) / WRITTEN
    written = c.write_s * full * q.sequences * q.tokens / compute_units
    return Waits(makespan, moved, overhead=c.launch_s + prepared + written)


def _missed(size: Number, l2_bytes: Number) -> Number:
    """Bytes of `size` that cross device memory."""
    return size * size / (size + HELD * l2_bytes)


def decode_waits(
    flops: Number,
    kv_bytes: Number,
    other_bytes: Number,
    q: Queries,
    peak: Number,
    bandwidth: Number,
    compute_units: Number,
    c: Decode,
) -> Waits:
    """launch + chunk·log₂(1 + reach/512) + exposed·units + walk + ‖(1 − exposed)·units, FLOPs/(compute·peak), bytes‖₂.

        units   B·K / compute units · unit_s · (1 + H/128)/2: one KV head of one sequence is one unit of work
                (flash-decoding splits it further where units are fewer: Dao et al. 2023)
        bytes   keys, values and all else over memory·bandwidth
        walk    key_s·reach·max(1, B·K / compute units), of kernels that do not split

    T tokens of a sequence at once (guesses to be verified) read the cache once, and fill rows of the tiles that the N/K
    heads of one token leave empty: they take max(1, T·N/K/64)/max(1, N/K/64) times as long to compute as one.

    Windows leave only `reach` keys to read. `kv_bytes` keys and values read, `other_bytes` queries, output and the new
    token's keys and values. Seconds; fitted to operator tables of aiconfigurator-core 0.12.0.
    """
    rounds = q.sequences * q.kv_heads / compute_units
    units = c.unit_s * (1 + q.head_size / REFERENCE) / 2 * rounds
    group = q.heads / q.kv_heads
    rows = maximum(1, q.tokens * group / TILE_ROWS) / maximum(1, group / TILE_ROWS)
    computing = flops / q.tokens * rows / (c.compute * peak)
    moving = (kv_bytes + other_bytes) / (c.memory * bandwidth)
    joining = c.chunk_s * log2(1 + q.reach / CHUNK)
    walk = c.key_s * q.reach * maximum(1, rounds)
    overhead = c.launch_s + joining + c.exposed * units + walk
    return Waits(norm((1 - c.exposed) * units, computing), moving, overhead=overhead)
