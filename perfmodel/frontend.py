"""What a request costs on the host before its prompt reaches the engine: HTTP, chat template, tokenization.

Only where it is asked for: runs that the engines' overheads were fitted to were partly measured behind an HTTP
server, so that `prompt_s` may hold some of it. Detokenization and streaming run beside the device in a process of their
own (vLLM V1, SGLang) and add nothing to a token until that process is saturated, which is not modelled.
"""

from __future__ import annotations

from perfmodel.arithmetic import Number

TOKENIZED_PER_S = 450e3
"""Prompt tokens a second of one core: 100,000 took 220 ms of vLLM 0.19's front end ("CPU-GPU co-design for agentic
inference on MI300X", andyluo7.github.io, 2026-05-14)."""
REQUEST_S = 1e-3
"""Parsing, template, hand-over to the engine and the first chunk back (recalled: a millisecond or two)."""


def request_s(prompt: Number) -> Number:
    """Seconds of one request of so many prompt tokens, alone on its front end."""
    return REQUEST_S + prompt / TOKENIZED_PER_S
