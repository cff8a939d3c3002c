"""What stands between logits and the next token: penalties, masks, filters, as passes over sequences × vocabulary.

Bytes are those of engines that run each step as a kernel of its own over FP32 logits. Temperature, softmax and the draw
are the `sampling` op that every answer has.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from perfmodel.arithmetic import Number
from perfmodel.errors import RequestError
from perfmodel.layers.layer import Context
from perfmodel.op import Op
from perfmodel.spec import nearest

VLLM = "vLLM V1, v1/sample (sampler.py, ops/penalties.py, ops/topk_topp_sampler.py)"
LOGIT, INDEX, FLAG = 4, 8, 1  # bytes: FP32 values, INT64 indices and counts, booleans
DIGITS = 6
"""Passes of CUB's radix sort of many rows over 32-bit keys, 6 bits each (recalled from its tuning policies)."""
SORT = DIGITS * (LOGIT + 2 * (LOGIT + INDEX))
"""Bytes an element to sort logits with their indices: each pass reads the keys, then all, and writes all: CUB's 3n
(Adinets & Merrill 2022, Onesweep, abstract). torch.sort of whole rows calls it."""
ROUNDS = 2
"""Rounds of rejection; their number has a bound of log₂(1/ε) (FlashInfer, Sorting-Free GPU Kernels, 2025). Two is our
assumption, which timings of vLLM's pull request 40376 bear out."""

SOFTMAX = 2 * LOGIT  # read, written
FILTERED = LOGIT + FLAG + FLAG + 2 * LOGIT  # compared with a threshold, then filled with −∞ where it is below
SCATTERED = LOGIT + INDEX + LOGIT  # back to where it was before the sort


class Step(NamedTuple):
    """One step of a sampler: bytes and FLOPs an element of sequences × vocabulary, kernels, bytes alive an element."""

    bytes: float
    flops: float
    kernels: int
    alive: float = 0
    source: str = VLLM


STEPS = {
    # counts of prompt and output tokens: zeros written, compared with 0; then repetition (logits and two masks),
    # frequency (counts times penalty, subtracted), presence (mask times penalty, subtracted)
    "penalties": Step(
        2 * (INDEX + INDEX + FLAG)
        + (2 * LOGIT + 2 * FLAG)
        + (INDEX + LOGIT + 3 * LOGIT)
        + (FLAG + LOGIT + 3 * LOGIT),
        7,
        11,
        2 * (INDEX + FLAG),
    ),
    "grammar": Step(2 * LOGIT + 1 / 8, 1, 1, 1 / 8, "Dong et al. 2024 (XGrammar), §3: a bit a token"),
    "min-p": Step(SOFTMAX + LOGIT + FILTERED, 5 + 1 + 2, 5, LOGIT, "Nguyen et al. 2024 (min-p); vLLM V1, min-p"),
    # log-softmax, probabilities, entropy, distance to it; sorted by that; summed up and cut
    "typical-p": Step(
        2 * SOFTMAX + (2 * LOGIT + LOGIT + LOGIT) + 4 * LOGIT
        + SORT + SCATTERED + SOFTMAX + 2 * LOGIT + FILTERED + SCATTERED,
        5 + 1 + 2 + 2 + 5 + 1 + 1,
        14 + DIGITS,
        2 * (LOGIT + INDEX) + 2 * LOGIT,
        "Meister et al. 2023 (locally typical sampling), §4; transformers, TypicalLogitsWarper",
    ),
    "top-k": Step(SORT + FILTERED + SCATTERED, 1, DIGITS + 5, 2 * (LOGIT + INDEX)),
    "top-p": Step(
        SORT + SOFTMAX + 2 * LOGIT + FILTERED + SCATTERED, 5 + 1 + 1, DIGITS + 8, 2 * (LOGIT + INDEX) + LOGIT
    ),
}  # fmt: skip
WORDS = ("greedy", "temperature", *STEPS, "sorting-free")
"""What `--sampling` takes."""


def sampling_of(given: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The steps that `--sampling` names, in the order in which they run: "top-p,penalties"; nothing is the default."""
    if given is None:
        return ()
    pieces = str(given).replace("+", ",").split(",") if isinstance(given, str) else given
    words = [str(piece).strip().replace("_", "-") for piece in pieces]
    for word in words:
        if word not in WORDS:
            guess = nearest(word, WORDS)
            hint = f'did you mean "{guess}"?' if guess else "known: " + ", ".join(WORDS)
            raise RequestError(f'--sampling: no step of a sampler is called "{word[:40]}"; {hint}')
    if "greedy" in words and (others := set(words) - {"greedy", "penalties", "grammar"}):
        raise RequestError(
            f"--sampling: greedy takes the largest logit, whatever {sorted(others)[0]} would leave of others."
        )
    if "sorting-free" in words and not {"top-k", "top-p"} & set(words):
        raise RequestError("--sampling: sorting-free is a way to do top-k or top-p; name one of them too.")
    return tuple(word for word in WORDS if word in words and word != "temperature")


def sampling_ops(context: Context, vocabulary: Number, plain: Op) -> list[Op]:
    """The steps that are asked for, then `plain`, the draw of every answer; with none, just that."""
    steps = list(context.sampling)
    draw = _greedy(plain) if "greedy" in steps else plain
    return [*(_step(context, vocabulary, name, step) for name, step in _run(steps)), draw]


def _run(steps: list[str]) -> list[tuple[str, Step]]:
    """Steps as kernels do them: top-k and top-p share one sort, or reject without any."""
    run = [(name, STEPS[name]) for name in steps if name in STEPS and name not in ("top-k", "top-p")]
    cuts = [name for name in ("top-k", "top-p") if name in steps]
    if "sorting-free" in steps:  # FlashInfer: each round reads the probabilities twice, and cuts by both at once
        free = Step(
            2 * ROUNDS * LOGIT, 2 * ROUNDS, 1, 0, "FlashInfer, Sorting-Free GPU Kernels for LLM Sampling (2025)"
        )
        return [*run, ("_".join(cuts).replace("-", "_"), free)]
    if len(cuts) == 2:
        k, p = STEPS["top-k"], STEPS["top-p"]
        shared = Step(
            k.bytes + p.bytes - SORT - SCATTERED, k.flops + p.flops, k.kernels + p.kernels - DIGITS - 1, p.alive
        )
        return [*run, ("top_k_top_p", shared)]
    return [*run, *((name.replace("-", "_"), STEPS[name]) for name in cuts)]


def _step(context: Context, vocabulary: Number, name: str, step: Step) -> Op:
    rows = context.batch.head_rows
    history = context.batch.written if name == "penalties" else 0
    return Op(
        name.replace("-", "_"),
        "elementwise",
        flops=step.flops * rows * vocabulary,
        # each token of the history is read, and its count read and written
        activation_bytes=step.bytes * rows * vocabulary + 3 * INDEX * history,
        launches=step.kernels,
        form="sampler",
        inputs=((rows, vocabulary),),
        output=(rows, vocabulary),
        source=step.source,
    )


def _greedy(plain: Op) -> Op:
    """The largest logit: one reading, one comparison an element, in place of softmax and draw."""
    rows, vocabulary = plain.inputs[0]
    return replace(plain, flops=rows * vocabulary, activation_bytes=rows * vocabulary * LOGIT, source=VLLM)


def sampling_bytes(steps: tuple[str, ...]) -> float:
    """Bytes alive an element of sequences × vocabulary beside logits and probabilities, in the step that needs most."""
    free = "sorting-free" in steps
    return max((STEPS[name].alive for name in steps if name in STEPS and not (free and name[:3] == "top")), default=0)
