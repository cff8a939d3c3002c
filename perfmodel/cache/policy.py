"""`CachePolicy`: which tokens of a sequence stay in the cache of layers with ordinary attention."""

from __future__ import annotations

import re
from dataclasses import dataclass

from perfmodel.arithmetic import Number, maximum, minimum
from perfmodel.errors import RequestError

KINDS = ("streaming", "h2o", "snapkv")
SOURCES = {
    "streaming": "Xiao et al. 2024 (StreamingLLM), §3.2",
    "h2o": "Zhang et al. 2023 (H2O), §4.2",
    "snapkv": "Li et al. 2024 (SnapKV), §4.1",
}
_GIVEN = re.compile(r"(?P<kind>\w+):(?P<chosen>\d{1,9})\+(?P<recent>\d{1,9})(?P<windowed>:windowed)?")


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """A budget of cached tokens for each sequence, in layers whose queries would otherwise see all of them.

    kind      "streaming": the first tokens (sinks) and a window that slides (Xiao et al. 2024, StreamingLLM);
              "h2o": the tokens that took most attention so far, and the last ones (Zhang et al. 2023);
              "snapkv": of the prompt what its last tokens look at, and these; all of the output (Li et al. 2024)
    chosen    tokens kept wherever they stand: sinks, heavy hitters, or what the prompt's end looks at
    recent    tokens kept because they are the last, of the sequence or (SnapKV) of the prompt
    windowed  whether the prefill, too, sees sinks and window alone; it sees everything otherwise
    """

    kind: str
    chosen: int
    recent: int
    windowed: bool = False

    @property
    def budget(self) -> int:
        """Tokens kept: of the whole sequence, or of the prompt (SnapKV)."""
        return self.chosen + self.recent

    @property
    def source(self) -> str:
        return SOURCES[self.kind]

    @property
    def edges(self) -> tuple[int, ...]:
        """Contexts at which what is kept stops to grow."""
        return () if self.kind == "snapkv" else (self.budget,)

    def kept(self, prompt: Number, context: Number) -> Number:
        """Tokens kept once a sequence is `context` ≥ `prompt` long.

        min(S, budget); SnapKV min(prompt, budget) + (S − prompt)
        """
        if self.kind == "snapkv":
            return minimum(prompt, self.budget) + (context - prompt)
        return minimum(context, self.budget)

    def common(self, prompt: Number, context: Number, leading: Number, same_prompt: bool) -> Number:
        """Of the tokens kept, those among the `leading` ones that sequences share.

        Completions of the `same_prompt` share what SnapKV kept of it; other prompts choose otherwise. H2O chooses by
        what each sequence wrote, so that none are shared; of a window those that have not left it.
        """
        if self.kind == "h2o" or (self.kind == "snapkv" and not same_prompt):
            return 0
        if self.kind == "snapkv":
            return minimum(leading, minimum(prompt, self.budget))
        return maximum(self.kept(prompt, context) - (context - leading), minimum(leading, self.chosen))

    def __str__(self) -> str:
        return f"{self.kind}:{self.chosen}+{self.recent}" + (":windowed" if self.windowed else "")


def cache_policy(given: str | CachePolicy | None) -> CachePolicy | None:
    """The policy written as "streaming:4+1020", "h2o:512+512" or "snapkv:1024+32"; RequestError for anything else."""
    if given is None or isinstance(given, CachePolicy):
        return given
    found = _GIVEN.fullmatch(str(given))
    if not found or found["kind"] not in KINDS or int(found["chosen"]) + int(found["recent"]) < 1:
        kind = str(given).partition(":")[0]
        hint = "" if kind in KINDS else f" ({kind[:40]!r} is none of {', '.join(KINDS)})"
        raise RequestError(
            f"--kv-policy must be streaming:4+1020 (sinks + window), h2o:512+512 (heavy hitters + recent) or "
            f"snapkv:1024+32 (chosen + observing); got {str(given)[:60]!r}{hint}."
        )
    if found["windowed"] and found["kind"] != "streaming":
        raise RequestError(f"--kv-policy {given}: only streaming has a windowed prefill, as streaming:4+1020:windowed.")
    return CachePolicy(found["kind"], int(found["chosen"]), int(found["recent"]), bool(found["windowed"]))
