"""Every catalogued model equals its published config.json, and counts what the transformers module counts.

published_configs.yaml holds the values of the published config.json files, kept apart from models/, so that a slip in
either shows. The totals come from elsewhere again: a slip in both files alike shows there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from perfmodel.block import Block
from perfmodel.catalog import load_model, names
from perfmodel.huggingface import model_from_config
from perfmodel.layers.attention import GroupedQueryAttention
from perfmodel.model import Model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

Values = dict[str, Any]
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def expanded(value: Any) -> Any:
    """`value` with each {times, of} in a list written out."""
    if isinstance(value, dict):
        return {key: expanded(inner) for key, inner in value.items()}
    if not isinstance(value, list):
        return value
    entries: list[Any] = []
    for entry in value:
        run = isinstance(entry, dict) and set(entry) == {"times", "of"}
        entries += expanded(entry["of"]) * entry["times"] if run else [expanded(entry)]
    return entries


def published() -> dict[str, Values]:
    text = Path(__file__).with_name("published_configs.yaml").read_text(encoding="utf-8")
    return {str(name): expanded(entry) for name, entry in yaml.load(text, Loader=_LOADER).items()}


PUBLISHED = published()
CONFIGS: dict[str, Values] = {name: entry["config"] for name, entry in PUBLISHED.items()}
TOTALS: dict[str, int] = {name: entry["total"] for name, entry in PUBLISHED.items() if "total" in entry}

# what the config leaves to the code beside it, or the publisher says elsewhere: no oracle here
UNSTATED = {
    "rope": {"baichuan2-7b", "codegen-16b", "dbrx", "gpt-j-6b", "minicpm3-4b"}
    | {"falcon-7b", "falcon-40b", "falcon-180b", "gemma-3-4b", "gemma-3-12b", "gemma-3-27b"},
    "max_context": {"bloom", "bloom-7b1", "bloom-560m"},
}
# their configs name each layer that is left in 16 bits, in lists too long to repeat
LONG_LISTS = {
    name for name in CONFIGS if name.endswith(("-fp8", "-nvfp4")) and "quantization" not in str(CONFIGS[name])
}

# ── the catalogue against the published values ───────────────────────────────────────────────────────


def layers(model: Model, quantized: bool) -> list[Block]:
    """Every layer by itself, in the order in which they run."""
    plain: Values = {"repeat": 1, "copies": None} | ({} if quantized else {"exempt": ()})
    return [model.blocks[i].model_copy(update=plain) for i in model.sequence()]


def test_every_model_has_a_config() -> None:
    assert sorted(CONFIGS) == sorted(names("model"))


@pytest.mark.parametrize("name", CONFIGS)
def test_models_equal_what_their_configs_are_read_as(name: str) -> None:
    ours, read = load_model(name), model_from_config(CONFIGS[name], PUBLISHED[name]["from"])
    quantized = name not in LONG_LISTS
    assert layers(ours, quantized) == layers(read, quantized)
    assert [block.copies for block in ours.blocks] == [block.copies for block in read.blocks]
    own = {"name", "title", "family", "hub", "aliases", "released", "source", "notes"}
    own |= {"blocks", "order", "multi_token", "extended_context"} | (set() if quantized else {"quantization"})
    for field in set(Model.model_fields) - own:
        if name not in UNSTATED.get(field, ()):
            assert getattr(ours, field) == getattr(read, field), field
    if read.multi_token is not None:
        assert ours.multi_token is not None


def plain_ones() -> list[str]:
    """Models of one block, shaped like Llama, whose fields need no reader."""
    kinds = ("llama", "mistral", "qwen2", "qwen3", "gemma", "phi3")
    return [name for name, values in CONFIGS.items() if values["model_type"] in kinds]


@pytest.mark.parametrize("name", plain_ones())
def test_fields_equal_the_published_config(name: str) -> None:
    model, values = load_model(name), CONFIGS[name]
    (block,) = model.blocks
    mixer, rope, kind = block.mixer, model.rope, values["model_type"]
    scaling = values.get("rope_scaling") or {}
    assert isinstance(mixer, GroupedQueryAttention)
    assert rope is not None
    assert block.feed_forward is not None
    assert model.hidden_size == values["hidden_size"]
    assert model.vocabulary == values["vocab_size"]
    assert model.max_context == values["max_position_embeddings"]
    assert model.tied_embeddings == values.get("tie_word_embeddings", False)
    assert model.scaled_embeddings == (kind == "gemma")
    assert (rope.theta, rope.factor) == (values["rope_theta"], scaling.get("factor"))
    assert block.repeat == values["num_hidden_layers"]
    assert (mixer.heads, mixer.kv_heads) == (values["num_attention_heads"], values["num_key_value_heads"])
    assert mixer.head_size == values.get("head_dim", model.hidden_size // mixer.heads)
    assert mixer.window == (values.get("sliding_window") if values.get("use_sliding_window", True) else None)
    assert (mixer.qkv_bias, mixer.qk_norm == "head") == (kind == "qwen2", kind == "qwen3")
    assert block.feed_forward.size == values["intermediate_size"]
    assert block.feed_forward.activation == values["hidden_act"]


# ── against the modules of transformers ──────────────────────────────────────────────────────────────

# what transformers builds under another name, shaped alike
BUILT_AS = {
    "Dream": "qwen2", "baichuan": "llama", "internlm2": "llama", "kimi_k2": "deepseek_v3", "mimo": "qwen2",
    "minimax_m1": "minimax", "minimax_text_01": "minimax", "qwen3_vl_text": "qwen3", "qwen3_vl_moe_text": "qwen3_moe",
}  # fmt: skip
# code of their own repositories alone builds these
UNBUILT = {"chatglm", "deepseek", "hunyuan", "llada", "nemotron-nas"}


def language_values(name: str) -> Values:
    values = CONFIGS[name]
    if "text_config" not in values:
        return values
    shared = {key: values[key] for key in ("tie_word_embeddings", "vocab_size") if key in values}
    return {"model_type": f"{values['model_type']}_text"} | shared | values["text_config"]


def built_kind(name: str) -> str:
    kind = language_values(name)["model_type"]
    return BUILT_AS.get(kind, kind)


def module_of(name: str) -> Any:
    """The module without weights; what is left out changes no count, and differs between releases."""
    left_out = ("model_type", "rope_scaling", "rope_parameters", "rope_theta", "quantization_config")
    values = {key: value for key, value in language_values(name).items() if key not in left_out}
    kind = built_kind(name)
    if kind == "minimax":
        values["layer_types"] = [f"{('linear', 'full')[code]}_attention" for code in values.pop("attn_type_list")]
    config = transformers.AutoConfig.for_model(kind, **values)
    config.pad_token_id = None
    with torch.device("meta"):
        if kind == "mllama_text_model":
            return transformers.MllamaForCausalLM._from_config(config)
        return transformers.AutoModelForCausalLM.from_config(config)


BUILDABLE = [name for name in CONFIGS if built_kind(name) not in UNBUILT]


@pytest.mark.parametrize("name", BUILDABLE)
def test_parameters_equal_transformers(name: str) -> None:
    model, module = load_model(name), module_of(name)
    table, head = module.get_input_embeddings().weight, module.get_output_embeddings()
    assert model.total_parameters == sum(p.numel() for p in module.parameters())  # a tied table comes once
    assert model.parameters()["embedding"] == table.numel()
    assert model.tied_embeddings == (head.weight is table)
    stack = getattr(getattr(module, "model", None), "layers", None)
    if stack is None or any(block.inner for block in model.blocks):
        return
    assert model.layers == len(stack)
    for i, layer in zip(model.sequence(), stack, strict=True):
        ours = model.blocks[i].parameters(model.hidden_size, model.norm)
        assert sum(ours.values()) == sum(p.numel() for p in layer.parameters())


# ── against the totals on the Hub ────────────────────────────────────────────────────────────────────

# these totals count the heads that predict further tokens
WITH_MULTI_TOKEN = {"qwen3-next-80b-a3b", "ernie-4.5-300b-a47b", "glm-4.5", "glm-4.5-air", "glm-4.6"}
SIGLIP, LLAMA4_EYES = 416_866_032, 871_932_416
# stored and so counted there, though no parameters of the language model
STORED_BESIDES = {
    # rotary frequencies of each layer
    "llama2-7b": 32 * 64,
    "llama2-13b": 40 * 64,
    "llama2-70b": 80 * 64,
    # a tied table written twice
    "qwen3-0.6b": 151936 * 1024,
    "qwen3-1.7b": 151936 * 2048,
    "falcon-7b": 65024 * 4544,
    "falcon-180b": 65024 * 14848,
    # a correction for each expert of each router, which learns by no gradient
    "minimax-m2": 62 * 256,
    "kimi-linear-48b-a3b": 26 * 256,
    "dots.llm1": 61 * 128,
    "glm-4.5": 90 * 160,
    "glm-4.5-air": 46 * 128,
    "glm-4.6": 90 * 160,
    # one norm less beside the further head
    "ernie-4.5-300b-a47b": -8192,
    # what sees, and its projection
    "gemma-3-4b": SIGLIP + 1152 * (2560 + 1),
    "gemma-3-12b": SIGLIP + 1152 * (3840 + 1),
    "gemma-3-27b": SIGLIP + 1152 * (5376 + 1),
    "llama4-scout": LLAMA4_EYES,
    "llama4-maverick": LLAMA4_EYES,
    "llama3.2-11b-vision": 863_567_379 + 4096 * (7680 + 1),
    # what sees and hears; keys and values of the layers that share those of others (two projections, a norm)
    "gemma-3n-e2b": 983_281_504 + 10 * (2 * 2048 * 512 + 256),
    "gemma-3n-e4b": 983_281_504 + 15 * (2 * 2048 * 512 + 256),
}


@pytest.mark.parametrize(("name", "total"), TOTALS.items())
def test_parameters_equal_the_published_total(name: str, total: int) -> None:
    model = load_model(name)
    further = model.multi_token_parameters if name in WITH_MULTI_TOKEN else 0
    assert model.total_parameters == total - further - STORED_BESIDES.get(name, 0)
