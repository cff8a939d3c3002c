"""Quantized weights for `validate/llama.py`: INT8, INT4 and FP8 in place of its linear layers.

    told = quantized(llama, "int4")
    told.bytes, told.way          # what the weights of the swapped layers weigh now, and "fused" or "unfused"

"int8"  one symmetric scale an output row; inputs stay in 16 bits
"int4"  groups of 128 inputs, two weights a byte, each group with a scale and a shift, or symmetric with a scale alone
"fp8"   E4M3 with a scale a row or a matrix; inputs are scaled and cast in every pass, and the product runs in FP8

A layer is "fused" where a kernel of torch widens the weights inside the product (FP8: multiplies them as they are), and
"unfused" where they are written out first and then multiplied. Which kernels there are depends on torch, device and
sizes; a layer tries its own once, against the plain product, and keeps it only if both agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from perfmodel.errors import RequestError

GROUP = 128  # inputs that share a scale in INT4
E4M3_MAX = 448.0  # the largest number of float8_e4m3fn
INNER_TILES = 8  # of 16 columns: how the CUDA kernel of INT4 lays out its weights (torch's tinygemm)
AGREEMENT = 0.02  # of the largest result: a fused product may differ from the plain one by rounding only


class Quantized(nn.Module):
    """A linear layer without bias, its weight [rows, columns] quantized.

    format   the row of perfmodel.precision that says what it weighs
    way      "fused" or "unfused"
    """

    scheme: ClassVar[str]
    format: str

    def __init__(self, weight: Tensor, fused: bool | None) -> None:
        super().__init__()
        self.rows, self.columns = weight.shape
        self.dtype = weight.dtype
        # what scales are kept in: 16 bits, also where the model computes in 32
        self.small = torch.bfloat16 if weight.dtype == torch.float32 else weight.dtype
        self.way = "unfused"
        self._pack(weight)
        if fused is not False and self._agrees():
            self.way = "fused"
            self._drop_plain()
        if fused and self.way != "fused":
            raise RequestError(
                f"torch {torch.__version__} has no fused {self.scheme} product on {weight.device.type} "
                f"for a {self.rows} × {self.columns} weight in {str(weight.dtype).removeprefix('torch.')}."
            )

    def _pack(self, weight: Tensor) -> None:
        """Make the buffers."""
        raise NotImplementedError

    def dequantized(self) -> Tensor:
        """The weight written out, [rows, columns]."""
        raise NotImplementedError

    def _fused(self, x: Tensor) -> Tensor:
        """[M, columns] → [M, rows] by torch's kernel; any error means that there is none."""
        raise NotImplementedError

    def _unfused(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.dequantized())

    def _drop_plain(self) -> None:
        """Let go of what only the unfused way needs."""

    def forward(self, x: Tensor) -> Tensor:
        """[…, columns] → […, rows]."""
        flat = x.reshape(-1, self.columns)  # [M, columns]
        y = self._fused(flat) if self.way == "fused" else self._unfused(flat)
        return y.view(*x.shape[:-1], self.rows)

    def _agrees(self) -> bool:
        """Whether the fused product of a few rows is there and is right."""
        device = next(self.buffers()).device
        # torch's INT8 kernel for CPUs reads past the end of odd sizes, so odd ones are not tried
        if device.type == "meta" or self.rows % 16 or self.columns % 32:
            return False
        x = torch.linspace(-1, 1, 16 * self.columns, device=device).sin().view(16, -1).to(self.dtype)
        try:
            fused = self._fused(x).float()
        except (RuntimeError, NotImplementedError, AttributeError, TypeError):
            return False
        plain = self._unfused(x).float()
        return bool((fused - plain).abs().max() <= AGREEMENT * plain.abs().max())

    @property
    def bytes(self) -> int:
        """What is stored: weights, scales and shifts."""
        return sum(buffer.nbytes for buffer in self.buffers())


class Int8(Quantized):
    """w ≈ q·s, q from −127 to 127, one s a row (as the W8A16 of torchao and LLM.int8() without outliers)."""

    scheme, format = "int8", "int8-row16"
    q: Tensor
    scale: Tensor

    def _pack(self, weight: Tensor) -> None:
        wide = weight.float()
        scale = (wide.abs().amax(1) / 127).clamp_min(1e-12).to(self.small)  # [rows]
        q = (wide / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8)
        self.register_buffer("q", q)
        self.register_buffer("scale", scale)

    def dequantized(self) -> Tensor:
        """The weight written out, [rows, columns]."""
        return self.q.to(self.dtype) * self.scale[:, None].to(self.dtype)

    def _fused(self, x: Tensor) -> Tensor:
        return torch._weight_int8pack_mm(x, self.q, self.scale.to(self.dtype))


class Int4(Quantized):
    """w ≈ q·s + z, q from −8 to 7, an s and a z for each 128 inputs of a row; z is 0 and not stored if symmetric.

    Unfused, weights lie two a byte, the even column in the high half, as q + 8. torch's kernels have layouts of their
    own of as many bytes, and a shift for every group, so that symmetric weights weigh there as others do.
    """

    scheme = "int4"
    q: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, weight: Tensor, fused: bool | None, symmetric: bool = False) -> None:
        if weight.shape[1] % GROUP:
            raise RequestError(f"int4 needs inputs in groups of {GROUP}; a weight has {weight.shape[1]} of them.")
        self.symmetric, self.format = symmetric, "int4-sym" if symmetric else "int4-shift"
        super().__init__(weight, fused)

    def _pack(self, weight: Tensor) -> None:
        groups = weight.float().view(self.rows, -1, GROUP)  # [rows, columns/128, 128]
        low, high = groups.amin(2, keepdim=True), groups.amax(2, keepdim=True)
        if self.symmetric:
            scale = torch.maximum(-low / 8, high / 7)
            shift = torch.zeros_like(low)
        else:
            scale = (high - low) / 15
            shift = low + 8 * scale
        scale, shift = scale.clamp_min(1e-12).to(self.small), shift.to(self.small)
        q = ((groups - shift.float()) / scale.float()).round().clamp(-8, 7) + 8
        q = q.view(self.rows, -1).to(torch.uint8)
        self.register_buffer("q", q[:, ::2] << 4 | q[:, 1::2])  # [rows, columns/2]
        self.register_buffer("scale", scale.squeeze(2))  # [rows, columns/128]
        if not self.symmetric:
            self.register_buffer("shift", shift.squeeze(2))

    def _levels(self) -> Tensor:
        """q + 8, one number an element, [rows, columns]."""
        return torch.stack((self.q >> 4, self.q & 15), dim=-1).view(self.rows, self.columns)

    def dequantized(self) -> Tensor:
        """The weight written out, [rows, columns]."""
        groups = (self._levels().to(self.dtype) - 8).view(self.rows, -1, GROUP)
        wide = groups * self.scale[..., None].to(self.dtype)
        if not self.symmetric:
            wide = wide + self.shift[..., None].to(self.dtype)
        return wide.view(self.rows, self.columns)

    def _fused(self, x: Tensor) -> Tensor:
        if self.dtype == torch.float32:
            raise NotImplementedError("its scales would take 32 bits, as the inputs do")
        packed, scales = self._packed_for_kernel() if "packed" not in self._buffers else (self.packed, self.scales)
        multiply: Any = torch.ops.aten._weight_int4pack_mm
        if x.device.type == "cpu":
            multiply = torch.ops.aten._weight_int4pack_mm_for_cpu
        y: Tensor = multiply(x, packed, GROUP, scales)
        return y

    def _packed_for_kernel(self) -> tuple[Tensor, Tensor]:
        """Weights in the layout of the device's kernel, and scales and shifts [columns/128, rows, 2]."""
        if self.q.device.type == "cpu":
            packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(self._levels().int(), 1)
        else:
            packed = torch.ops.aten._convert_weight_to_int4pack(self.q, INNER_TILES)
        shift = torch.zeros_like(self.scale) if self.symmetric else self.shift
        return packed, torch.stack((self.scale, shift), dim=-1).transpose(0, 1).contiguous().to(self.dtype)

    def _drop_plain(self) -> None:
        self.packed: Tensor
        self.scales: Tensor
        packed, scales = self._packed_for_kernel()
        for name in ("q", "scale", "shift"):
            self._buffers.pop(name, None)
        self.register_buffer("packed", packed)
        self.register_buffer("scales", scales)
        self.format = "int4-shift"


class Fp8(Quantized):
    """w ≈ q·s in E4M3, s of a row or of the matrix; inputs likewise, with scales of this pass (dynamic)."""

    scheme = "fp8"
    q: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor, fused: bool | None, scales: str = "row") -> None:
        if scales not in ("row", "matrix"):
            raise RequestError(f"fp8 scales are of a row or of a matrix; got {str(scales)[:40]}.")
        self.by_row, self.format = scales == "row", "fp8-row" if scales == "row" else "fp8-tensor-dynamic"
        super().__init__(weight, fused)

    def _scaled(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x [M, columns] in E4M3, and what it is to be multiplied by, [M, 1] or a number."""
        largest = x.abs().amax(1, keepdim=True) if self.by_row else x.abs().amax()
        scale = (largest.float() / E4M3_MAX).clamp_min(1e-12)
        return (x.float() / scale).clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn), scale

    def _pack(self, weight: Tensor) -> None:
        q, scale = self._scaled(weight)
        self.register_buffer("q", q)
        self.register_buffer("scale", scale)

    def dequantized(self) -> Tensor:
        """The weight written out, [rows, columns]."""
        return (self.q.float() * self.scale).to(self.dtype)

    def _fused(self, x: Tensor) -> Tensor:
        q, scale = self._scaled(x)
        by = self.scale.t() if self.by_row else self.scale  # [1, rows]: one a column of the result
        return torch._scaled_mm(q, self.q.t(), scale_a=scale, scale_b=by, out_dtype=self.dtype)

    def _unfused(self, x: Tensor) -> Tensor:
        q, scale = self._scaled(x)
        return functional.linear((q.float() * scale).to(self.dtype), self.dequantized())


SCHEMES: dict[str, type[Quantized]] = {"int8": Int8, "int4": Int4, "fp8": Fp8}


@dataclass(frozen=True)
class Told:
    """What `quantized` did: to how many layers, their bytes before and now, in which format, and how they multiply."""

    scheme: str
    format: str
    way: str  # "fused", "unfused", or "mixed"
    layers: int
    bytes_before: int
    bytes: int


def quantized(llama: nn.Module, scheme: str, fused: bool | None = None, **choice: Any) -> Told:
    """Swap every linear layer of the model but its LM head, in place; the embedding and the head stay in 16 bits.

    `fused` asks for one way (None: fused where it works). `choice` is `symmetric` of "int4", `scales` ("row" or
    "matrix") of "fp8". FP8 without a device that multiplies it is refused, unless it is asked for unfused.
    """
    if scheme not in SCHEMES:
        raise RequestError(f"A quantized model is one of {', '.join(SCHEMES)}; got {str(scheme)[:40]}.")
    known = {"int4": {"symmetric"}, "fp8": {"scales"}}.get(scheme, set())
    if extra := sorted(set(choice) - known):
        raise RequestError(f"{scheme} has no choice of {extra[0]}.")
    if scheme == "fp8" and fused is None:
        fused = True  # widened to 16 bits it would gain nothing, and measure something else
    places = [
        (part, name)
        for part in llama.modules()
        for name, child in part.named_children()
        if type(child) is nn.Linear and name != "head"
    ]
    if not places:
        raise RequestError("There is no linear layer left to quantize.")
    before, new = 0, []
    for part, name in places:
        weight = getattr(part, name).weight.detach()
        before += weight.nbytes
        new.append(SCHEMES[scheme](weight, fused, **choice))
        setattr(part, name, new[-1])  # the old weight is freed here
    ways, formats = {layer.way for layer in new}, {layer.format for layer in new}
    return Told(
        scheme,
        "mixed" if len(formats) > 1 else formats.pop(),
        "mixed" if len(ways) > 1 else ways.pop(),
        len(new),
        before,
        sum(layer.bytes for layer in new),
    )
