"""Memory in bytes, for serving and for each way of training, by formulas over the architecture.

**Serving** takes

    parameters x width                                                    the weights
    + concurrency x tokens x 2 x layers x kv_heads x head_dim x width     keys and values
    + batch x (4 hidden + 3 inner) x width + concurrency x vocab x 4      one step's work
    + what the engine itself takes

where `tokens` is the context, rounded up to vLLM's blocks of 16; layers with a sliding window keep no more
than the window. Encoders keep no keys and values.

**Training** takes

    parameters x width + trained parameters x 16           the model's weights; of what is trained the
                                                           masters, the gradients' sums and AdamW's two
                                                           moments in float32 (4 + 4 + 8), and the model's
                                                           own gradients
    + tokens x (blocks x (a hidden + b inner) x width      what the backward pass needs of the blocks
                + 12 vocab)                                logits in float32: themselves, softmax, gradient
    + what the process itself takes

where `tokens` are those of one micro-batch; in float32 the model's weights are the masters. (a, b) is
(10, 5), of lora and qlora (20, 12), of dora (25, 19): adapters keep the input of each linear layer, their
dropout's mask and result, dora its output too. These were fitted to what Llama blocks take in PyTorch with
fused attention, in the form of Korthikanti et al. (arXiv:2205.05198). With checkpointing the blocks keep
their inputs alone, and one of them is computed anew at a time. Of `frozen` only the trained blocks count, of
`head` one, since nothing flows back through the others. `qlora` keeps the blocks' linear layers in 4 bits
(NF4 with double quantization: 4.127 bits a weight, Dettmers et al., arXiv:2305.14314).

A test holds the formulas to what processes really take: trained parameters exactly, memory within a quarter.
"""

from dataclasses import dataclass
from math import ceil
from typing import Literal

from slipway.training.choosing.architectures import Architecture

Method = Literal["lora", "dora", "qlora", "full", "frozen", "head"]
Device = Literal["gpu", "cpu"]
METHODS: tuple[Method, ...] = ("lora", "dora", "qlora", "full", "frozen", "head")

GIB = 1 << 30
_BLOCK_NUMBERS: dict[Method, tuple[int, int]] = {
    "lora": (20, 12),
    "dora": (25, 19),
    "qlora": (20, 12),
    "full": (10, 5),
    "frozen": (10, 5),
    "head": (10, 5),
}
"""Numbers that a block keeps for a token: times its width, and times the width of its MLP."""
_NF4 = 4.127 / 8
_BLOCK = 16
"""Tokens of a block of vLLM's cache."""
_ENGINE: dict[Device, int] = {"gpu": int(1.5 * GIB), "cpu": int(3.5 * GIB)}
"""What an engine takes by itself: on a GPU its context, its graphs and its libraries' work space; on a CPU
the libraries in its three processes."""
_BATCH: dict[Device, int] = {"gpu": 8192, "cpu": 2048}
"""Tokens that vLLM works on in one step at most."""
_PROCESS: dict[Device, int] = {"gpu": int(0.8 * GIB), "cpu": int(0.7 * GIB)}
"""What a training process takes by itself: libraries, the device's context, the data at hand."""


@dataclass(frozen=True, slots=True)
class Serving:
    """Bytes that serving takes."""

    weights: int
    cache: int
    """Keys and values."""
    work: int
    """Of one step."""
    engine: int

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.work + self.engine


@dataclass(frozen=True, slots=True)
class Training:
    """Bytes that training takes."""

    weights: int
    """Of frozen and of trained parameters."""
    gradients: int
    optimizer: int
    activations: int
    process: int
    trained: int
    """Parameters that are trained; a number, not bytes."""

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations + self.process


def cache_per_token(model: Architecture, width: int = 2) -> int:
    """Bytes of keys and values for one token, in layers without a window; 0 for an encoder.

    An encoder-decoder keeps those of its own tokens and, for the cross-attention, those of the input.
    """
    if model.shape == "encoder":
        return 0
    kept = 2 if model.shape == "encoder-decoder" else 1
    return kept * 2 * model.layers * model.kv_heads * model.head_dim * width


def serving(model: Architecture, device: Device, context: int, concurrency: int, width: int = 2) -> Serving:
    """What serving takes.

    Args:
        model: what is served.
        device: where.
        context: tokens of a conversation, its answer included.
        concurrency: conversations of that length at the same time.
        width: bytes of a number.
    """
    tokens = _rounded(min(context, model.context))
    each = cache_per_token(model, width)
    full = each * (model.layers - model.windowed) // model.layers * tokens
    window = _rounded(min(tokens, model.window or tokens))
    cache = concurrency * (full + each * model.windowed // model.layers * window)
    batch = min(_BATCH[device], concurrency * tokens)
    work = batch * (4 * model.hidden + 3 * model.inner) * width + concurrency * model.vocab * 4
    return Serving(model.parameters * width, cache, work, _ENGINE[device])


def training(
    model: Architecture,
    method: Method,
    device: Device,
    tokens: int,
    *,
    rank: int = 16,
    trained_layers: int = 2,
    checkpointing: bool = False,
    width: int = 2,
    logits: bool = True,
) -> Training:
    """What training takes.

    Args:
        model: the base.
        method: what is trained.
        device: where.
        tokens: of one micro-batch: its examples times their length.
        rank: of adapters.
        trained_layers: of `frozen`.
        checkpointing: whether activations are computed twice.
        width: bytes of a frozen weight and of an activation.
        logits: whether the head speaks of the whole vocabulary (task generate), not of a few labels.
    """
    trained = trained_parameters(model, method, rank, trained_layers)
    added = 0 if method in ("full", "frozen") else trained
    weights = (model.parameters + added) * width
    if method == "qlora":
        linear = sum(each.weights for each in model.linears)
        weights = int(linear * _NF4) + (model.parameters - linear + added) * width
    outer, inner = _BLOCK_NUMBERS[method]
    block = (outer * model.hidden + inner * model.inner) * width
    through = {"head": 1, "frozen": min(trained_layers, model.blocks)}.get(method, model.blocks)
    kept = through * model.hidden * width + block if checkpointing else through * block
    activations = tokens * (kept + (12 * model.vocab if logits else 0))
    copies = trained if width < 4 else 0
    return Training(
        weights + 4 * copies,
        4 * trained + width * copies,
        8 * trained,
        activations,
        _PROCESS[device],
        trained,
    )


def trained_parameters(model: Architecture, method: Method, rank: int, trained_layers: int) -> int:
    """Parameters that a method trains; a new head's few labels are not counted."""
    if method == "full":
        return model.parameters
    if method == "head":
        return 0
    if method == "frozen":
        return model.block_parameters * min(trained_layers, model.blocks)
    adapters = sum(rank * (each.inputs + each.outputs) * each.count for each in model.linears)
    magnitudes = sum(each.outputs * each.count for each in model.linears) if method == "dora" else 0
    return adapters + magnitudes


def most_tokens(free: int, needed: Training, tokens: int) -> int:
    """Tokens of a micro-batch that fit into `free` bytes, by what `tokens` of them take; 0 if none do."""
    each = needed.activations / tokens
    return max(0, int((free - (needed.total - needed.activations)) / each)) if each else tokens


def _rounded(tokens: int) -> int:
    return ceil(tokens / _BLOCK) * _BLOCK
