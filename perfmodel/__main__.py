"""`perfmodel` and `python -m perfmodel`."""

from __future__ import annotations

import gc


def entry() -> None:
    """The console script."""
    gc.set_threshold(100_000)  # a short command makes much and throws away little: looking through it takes a tenth
    from perfmodel.cli import main

    raise SystemExit(main())


if __name__ == "__main__":
    entry()
