"""What a model is made of, worked out from its config.json: parameters, linear layers, attention.

The counts are exact for the families named here; a test holds them to the models of Transformers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from slipway.training.errors import TuningError

Shape = Literal["decoder", "encoder", "encoder-decoder"]

LLAMAS = (
    "llama",
    "mistral",
    "mixtral",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "gemma2",
    "gemma3_text",
    "phi3",
    "granite",
    "olmo2",
)
"""Decoders with RMSNorm, gated MLPs and grouped attention; they differ in biases, norms and experts."""
BERTS = ("bert", "roberta", "xlm-roberta", "distilbert")
FAMILIES = (*LLAMAS, *BERTS, "modernbert", "t5")


@dataclass(frozen=True, slots=True)
class Linear:
    """Linear layers of one shape."""

    inputs: int
    outputs: int
    count: int

    @property
    def weights(self) -> int:
        """Without biases."""
        return self.inputs * self.outputs * self.count


@dataclass(frozen=True, slots=True)
class Architecture:
    """What memory depends on."""

    family: str
    shape: Shape
    hidden: int
    inner: int
    """Width of the MLP; of a mixture of experts, of all that one token goes through."""
    layers: int
    """Blocks; of an encoder-decoder, those of the decoder."""
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    context: int
    """Tokens at most."""
    parameters: int
    """All, tied ones once."""
    active: int
    """Those that one token goes through."""
    linears: tuple[Linear, ...]
    """The linear layers of the blocks: what adapters are laid over."""
    window: int | None = None
    """Tokens that a layer with a sliding window looks back on."""
    windowed: int = 0
    """Layers that have one."""

    @property
    def blocks(self) -> int:
        """Blocks of encoder and decoder together."""
        return 2 * self.layers if self.shape == "encoder-decoder" else self.layers

    @property
    def block_parameters(self) -> int:
        """Weights of one block's linear layers, on average."""
        return sum(linear.weights for linear in self.linears) // self.blocks

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Architecture":
        """By a model's config.json.

        Raises:
            TuningError: the family is not known, or a figure is missing.
        """
        config = config.get("text_config") or config
        family = str(config.get("model_type"))
        try:
            if family in LLAMAS:
                return _llama(family, config)
            if family in BERTS:
                return _bert(family, config)
            if family == "modernbert":
                return _modernbert(config)
            if family == "t5":
                return _t5(config)
        except KeyError as missing:
            raise TuningError(f"The config.json of a {family} names no {missing}.", "BadModel") from None
        known = ", ".join(FAMILIES)
        raise TuningError(
            f"Memory of the family `{family}` cannot be worked out; known are {known}.", "UnknownFamily"
        )


def _llama(family: str, config: Mapping[str, Any]) -> Architecture:
    hidden, layers, heads = config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    head_dim = config.get("head_dim") or hidden // heads
    queries, keys = heads * head_dim, kv_heads * head_dim
    experts, chosen = _experts(family, config)
    inner = config["moe_intermediate_size"] if family == "qwen3_moe" else config["intermediate_size"]
    biased = bool(config.get("attention_bias"))
    bias = queries + 2 * keys if biased or family == "qwen2" else 0
    bias += hidden if biased else 0
    norms = {"gemma2": 4 * hidden, "gemma3_text": 4 * hidden}.get(family, 2 * hidden)
    norms += {
        "qwen3": 2 * head_dim,
        "qwen3_moe": 2 * head_dim,
        "gemma3_text": 2 * head_dim,
        "olmo2": queries + keys,
    }.get(family, 0)
    attention = (
        Linear(hidden, queries, layers),
        Linear(hidden, keys, 2 * layers),
        Linear(queries, hidden, layers),
    )
    expert = 3 * hidden * inner
    router = experts * hidden if experts > 1 else 0
    block = sum(each.weights for each in attention) // layers + bias + norms + router
    vocab = config["vocab_size"]
    tied = config.get("tie_word_embeddings", family.startswith("gemma"))
    ends = vocab * hidden * (1 if tied else 2) + hidden
    mlp = (Linear(hidden, inner, 2 * layers * experts), Linear(inner, hidden, layers * experts))
    return Architecture(
        family,
        "decoder",
        hidden,
        inner * chosen,
        layers,
        heads,
        kv_heads,
        head_dim,
        vocab,
        config.get("max_position_embeddings", 2048),
        parameters=ends + layers * (block + experts * expert),
        active=ends + layers * (block + chosen * expert),
        linears=attention + mlp,
        window=_window(family, config),
        windowed=_windowed(family, config, layers),
    )


def _experts(family: str, config: Mapping[str, Any]) -> tuple[int, int]:
    """Experts of a block, and those that a token goes through."""
    if family == "mixtral":
        return int(config["num_local_experts"]), int(config.get("num_experts_per_tok", 2))
    if family == "qwen3_moe":
        return int(config["num_experts"]), int(config["num_experts_per_tok"])
    return 1, 1


def _window(family: str, config: Mapping[str, Any]) -> int | None:
    if family.startswith("qwen") and not config.get("use_sliding_window"):
        return None
    window: int | None = config.get("sliding_window")
    return window


def _windowed(family: str, config: Mapping[str, Any], layers: int) -> int:
    if _window(family, config) is None:
        return 0
    if family == "gemma2":
        return layers // 2
    if family == "gemma3_text":
        return layers - layers // int(config.get("sliding_window_pattern", 6))
    return layers


def _bert(family: str, config: Mapping[str, Any]) -> Architecture:
    small = family == "distilbert"
    hidden, layers = (
        config["dim" if small else "hidden_size"],
        config["n_layers" if small else "num_hidden_layers"],
    )
    inner = config["hidden_dim" if small else "intermediate_size"]
    heads, positions = (
        config["n_heads" if small else "num_attention_heads"],
        config["max_position_embeddings"],
    )
    kinds = 0 if small else config.get("type_vocab_size", 2)
    pooler = 0 if small else hidden * hidden + hidden
    linears = (
        Linear(hidden, hidden, 4 * layers),
        Linear(hidden, inner, layers),
        Linear(inner, hidden, layers),
    )
    biases = layers * (4 * hidden + inner + hidden)
    parameters = (config["vocab_size"] + positions + kinds) * hidden + 2 * hidden + pooler
    parameters += sum(each.weights for each in linears) + biases + layers * 4 * hidden
    # RoBERTa counts positions from behind its padding token.
    context = positions - 2 if "roberta" in family else positions
    return _encoder(family, hidden, inner, layers, heads, config["vocab_size"], context, parameters, linears)


def _modernbert(config: Mapping[str, Any]) -> Architecture:
    hidden, layers, inner = config["hidden_size"], config["num_hidden_layers"], config["intermediate_size"]
    linears = (
        Linear(hidden, 3 * hidden, layers),
        Linear(hidden, hidden, layers),
        Linear(hidden, 2 * inner, layers),
        Linear(inner, hidden, layers),
    )
    # The first block has no norm before its attention; one stands behind the embeddings, one at the end.
    parameters = config["vocab_size"] * hidden + sum(each.weights for each in linears)
    parameters += hidden * (2 * layers - 1) + 2 * hidden
    return _encoder(
        "modernbert",
        hidden,
        inner,
        layers,
        config["num_attention_heads"],
        config["vocab_size"],
        config["max_position_embeddings"],
        parameters,
        linears,
    )


def _encoder(
    family: str,
    hidden: int,
    inner: int,
    layers: int,
    heads: int,
    vocab: int,
    context: int,
    parameters: int,
    linears: tuple[Linear, ...],
) -> Architecture:
    return Architecture(
        family,
        "encoder",
        hidden,
        inner,
        layers,
        heads,
        heads,
        hidden // heads,
        vocab,
        context,
        parameters,
        parameters,
        linears,
    )


def _t5(config: Mapping[str, Any]) -> Architecture:
    hidden, layers, inner, heads = (
        config["d_model"],
        config["num_layers"],
        config["d_ff"],
        config["num_heads"],
    )
    queries, vocab = heads * config["d_kv"], config["vocab_size"]
    decoders = config.get("num_decoder_layers") or layers
    gated = str(config.get("feed_forward_proj", "relu")).startswith("gated")
    attentions = layers + 2 * decoders
    linears = (
        Linear(hidden, queries, 3 * attentions),
        Linear(queries, hidden, attentions),
        Linear(hidden, inner, (2 if gated else 1) * (layers + decoders)),
        Linear(inner, hidden, layers + decoders),
    )
    norms = hidden * (2 * layers + 3 * decoders + 2)
    positions = 2 * config.get("relative_attention_num_buckets", 32) * heads
    heads_out = 0 if config.get("tie_word_embeddings", True) else vocab * hidden
    parameters = vocab * hidden + heads_out + sum(each.weights for each in linears) + norms + positions
    return Architecture(
        "t5",
        "encoder-decoder",
        hidden,
        inner,
        decoders,
        heads,
        heads,
        config["d_kv"],
        vocab,
        config.get("n_positions", 512),
        parameters,
        parameters,
        linears,
    )
