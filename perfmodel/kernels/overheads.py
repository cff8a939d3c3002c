"""What an engine takes for itself, beside the kernels that it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Overheads:
    """What an engine costs beyond its kernels, fitted to runs of whole models.

    layer_s       time a layer outside the kernels that are modelled: small kernels, gaps between launches
    pass_s        time a pass: scheduling, sampling, copies to and from the host
    prompt_s      time more of a pass that holds prompts
    sequence_s    time more of a pass for each sequence in it
    request_s     a request's way in and its first token's way out: network, tokenizer
    lag           steps under way when a first token comes out, which it waits for
    host_layer_s  the host's time to launch a layer without captured graphs: a pass is never faster than that
    compute       how fast the engine's products and attention run, as a factor on the calibrated kernels
    memory        the same of what streams from memory
    launch        how long the starts of its kernels take, against those that were measured
    fusion        share of element-wise traffic that fusion and caches leave
    spill         how often over the scores of attention that is not fused cross memory, against 16 bits four times
    boundary_s    time to hand a pass from one pipeline stage to the next
    overlap       share of the time that pipelining could save which it does
    in_flight     passes that a pipeline holds before it waits for all of them; 0 has no limit
    vector_16     weights of 16 bits that a compute unit takes a clock where one row meets a matrix; 0 has no limit
    vector_4      the same of weights of 4 bits, which it unpacks
    widened_bytes bytes moved for each quantized weight to widen it before the product of many rows
    """

    layer_s: float = 20e-6
    pass_s: float = 300e-6
    prompt_s: float = 1e-3
    sequence_s: float = 3e-6
    request_s: float = 10e-3
    lag: float = 1.0
    host_layer_s: float = 0.0
    compute: float = 1.0
    memory: float = 1.0
    launch: float = 1.0
    fusion: float = 0.55
    spill: float = 1.0
    boundary_s: float = 0.0
    overlap: float = 1.0
    in_flight: int = 0
    vector_16: float = 0.0
    vector_4: float = 0.0
    widened_bytes: float = 0.0
