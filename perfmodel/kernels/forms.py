"""Every form of kernel, by the name it has in `calibration:` blocks."""

from __future__ import annotations

from typing import Any

from perfmodel.kernels.attention import Decode, Prefill
from perfmodel.kernels.collective import Collective
from perfmodel.kernels.gemm import Gemm
from perfmodel.kernels.grouped import Grouped
from perfmodel.kernels.overheads import Overheads
from perfmodel.kernels.scan import Scan
from perfmodel.kernels.sustained import Sustained

FORMS: dict[str, type[Any]] = {
    "gemm": Gemm,
    "grouped": Grouped,
    "prefill": Prefill,
    "decode": Decode,
    "decode-mha": Decode,
    "mla-prefill": Prefill,
    "mla-decode": Decode,
    "mla-product": Gemm,
    "scan": Scan,
    "collective": Collective,
    "exchange": Collective,
    "sustained": Sustained,
    "overheads": Overheads,
}
