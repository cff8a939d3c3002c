"""Columns of words as codes: a name that half a million rows share is kept once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Coded:
    """`words[code]` for each row."""

    codes: Any
    words: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Any) -> Coded:
        return Coded(self.codes[rows], self.words)

    def equal(self, word: str) -> Any:
        """Whether each row is that word."""
        import numpy as np

        return np.asarray([one == word for one in self.words], dtype=bool)[self.codes]

    def array(self) -> Any:
        """The words as a NumPy array of objects."""
        import numpy as np

        return np.asarray(self.words, dtype=object)[self.codes]

    def tolist(self) -> list[str]:
        found: list[str] = self.array().tolist()
        return found


def constant(word: str, rows: int) -> Coded:
    """The same word in every row."""
    import numpy as np

    return Coded(np.zeros(rows, dtype=np.int32), (word,))


def coded(words: Sequence[str]) -> Coded:
    """Words as they stand, one a row."""
    import numpy as np

    codes: dict[str, int] = {}
    found = [codes.setdefault(str(word), len(codes)) for word in words]
    return Coded(np.asarray(found, dtype=np.int32), tuple(codes))


def joined(parts: Sequence[Coded]) -> Coded:
    """Parts of a column, one after another."""
    import numpy as np

    codes: dict[str, int] = {}
    turned = []
    for part in parts:
        own = np.asarray([codes.setdefault(word, len(codes)) for word in part.words], dtype=np.int32)
        turned.append(own[part.codes] if len(own) else part.codes)
    return Coded(np.concatenate(turned), tuple(codes))
