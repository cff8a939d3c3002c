"""Weights of one model by format (docs/levers/weight-formats.md)."""

from draw import lines

from perfmodel.catalog import load_gpu, load_model
from perfmodel.deployment import precision_for
from perfmodel.precision import FORMATS

FILES = ("q2_k_m", "q3_k_s", "q3_k_m", "q3_k_l", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k", "q8_0")
OTHERS = ("awq2", "awq3", "int4", "nvfp4", "hqq4", "nf4", "fp8", "bf16")


def picture() -> str:
    """Gigabytes of Llama 3 8B against the bits of a weight of its layers."""
    model, gpu = load_model("llama3-8b"), load_gpu("b200")

    def points(names: tuple[str, ...]) -> list[tuple[float, float]]:
        sizes = {name: sum(model.weight_bytes(precision_for(gpu, name)).values()) / 1e9 for name in names}
        return sorted((8 * float(FORMATS[name].bytes), float(size)) for name, size in sizes.items())

    found = {"GGUF files (head and table too)": points(FILES), "others (head and table in 16 bits)": points(OTHERS)}
    return lines("Llama 3 8B: weights by format", "bits a weight of the layers", "GB", found)
