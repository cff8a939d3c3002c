"""What guessed tokens ahead in a published row, as far as its source says."""

from __future__ import annotations

import re

from perfmodel.gpu import GPU
from perfmodel.model import Model
from perfmodel.precision import Precision
from perfmodel.published.names import Unscored, model_of, speculates
from perfmodel.published.rows import Row
from perfmodel.speculation.drafts import speculation_for
from perfmodel.speculation.method import Speculation

# words of engine or note → method; the first match wins
METHOD_WORDS = (
    (r"eagle[- ]?3", "eagle3"),
    (r"eagle[- ]?2", "eagle2"),
    (r"eagle", "eagle"),
    (r"medusa", "medusa"),
    (r"lookahead", "lookahead"),
    (r"\bmtp\b", "mtp"),
    (r"n-?gram|prompt lookup", "ngram"),
)
_DRAFT = re.compile(r"draft (?:model )?(?P<model>[\w.]+-[\w.-]+)(?: (?P<format>(?:int|fp|bf|nvfp)\d+))?", re.IGNORECASE)


def speculation_of(row: Row, model: Model, gpu: GPU, precision: Precision) -> Speculation | None:
    """How a row guessed ahead, at the method's typical acceptance; None where it did not.

    No source so far tells acceptance, or the number of guesses. Unscored where not even the method is told.
    """
    if not speculates(row):
        return None
    said = f"{row.engine} {row.note}"
    method = next((name for words, name in METHOD_WORDS if re.search(words, said, re.IGNORECASE)), None)
    if method is not None:
        return speculation_for(model, gpu, precision, method=method)
    draft = _DRAFT.search(row.note)
    if draft is None:
        raise Unscored("how tokens were guessed ahead is not stated")
    return speculation_for(model, gpu, precision, draft=model_of(draft["model"]), weights=draft["format"])
