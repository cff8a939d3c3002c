"""The time of one kernel: each formula once, beside its source, with the few constants that measurements gave it.

Formulas take plain numbers or NumPy arrays and know neither models nor devices' names; `perfmodel.expected` hands them
the sizes of an `Op`, the peaks of a `GPU` and the constants that hold for it.
"""

from perfmodel.kernels.waits import Waits

__all__ = ["Waits"]
