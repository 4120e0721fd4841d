"""The model that is trained: loaded, and made ready by its method."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from slipway.objects.hyperparameters import Hyperparameters
from slipway.training.errors import TuningError
from slipway.training.tuning import conversations, dropouts
from slipway.training.tuning.jobs import Kind, TrainingJob

_DROPOUTS = (
    *("attention_dropout", "attention_probs_dropout_prob", "hidden_dropout_prob", "hidden_dropout"),
    *("attn_pdrop", "resid_pdrop", "embd_pdrop", "dropout", "dropout_rate", "classifier_dropout"),
)
"""What configurations of model families call it."""
_TASKS = {"generate": "CAUSAL_LM", "classify": "SEQ_CLS", "tag": "TOKEN_CLS"}


@dataclass(frozen=True, slots=True)
class Base:
    """What is known of a base model before its weights are loaded."""

    config: Any
    tokenizer: Any

    @property
    def sequence_to_sequence(self) -> bool:
        """Whether it reads with an encoder and writes with a decoder."""
        return bool(getattr(self.config, "is_encoder_decoder", False))


def look(job: TrainingJob) -> Base:
    """Read a base model's config and tokenizer.

    Raises:
        TuningError: Transformers does not know it, or the task or method does not fit it.
    """
    from transformers import AutoConfig, AutoTokenizer

    _check(job)
    try:
        config = AutoConfig.from_pretrained(job.base)
        tokenizer = AutoTokenizer.from_pretrained(job.base)
    except (OSError, ValueError) as error:
        raise TuningError(f"The base model cannot be read: {error}", "BadBaseModel") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if (
        job.task == "generate"
        and not tokenizer.chat_template
        and not getattr(config, "is_encoder_decoder", False)
    ):
        tokenizer.chat_template = conversations.CHATML
    return Base(config, tokenizer)


def load(
    job: TrainingJob, base: Base, labels: tuple[str, ...], dtype: torch.dtype, device: torch.device
) -> Any:
    """The model on its device, its parameters set to be trained or not as the method says.

    Raises:
        TuningError: it cannot be loaded or does not fit the method.
    """
    import transformers

    config, settings = base.config, job.hyperparameters
    config.use_cache = False
    config.pad_token_id = base.tokenizer.pad_token_id
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: at for at, label in enumerate(labels)}
        config.num_labels = len(labels)
    if settings.dropout is not None:
        for name in _DROPOUTS:
            if hasattr(config, name):
                setattr(config, name, settings.dropout.number)
    kinds = {
        "classify": transformers.AutoModelForSequenceClassification,
        "tag": transformers.AutoModelForTokenClassification,
        "generate": transformers.AutoModelForSeq2SeqLM
        if base.sequence_to_sequence
        else transformers.AutoModelForCausalLM,
    }
    torch.manual_seed(settings.seed)  # A new head is drawn at random.
    more: dict[str, Any] = {"quantization_config": _four_bits(dtype)} if job.method == "qlora" else {}
    try:
        model = kinds[job.task].from_pretrained(
            job.base, config=config, dtype=dtype, use_safetensors=True, **more
        )
    except (OSError, ValueError) as error:
        raise TuningError(
            f"The base model cannot be loaded for {job.task}: {error}", "BadBaseModel"
        ) from error
    if job.method != "qlora":
        model.to(device)
    if settings.gradient_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    made = _made_ready(model, job, base)
    if device.type == "cpu":
        dropouts.quicken(made)
    if not any(parameter.requires_grad for parameter in made.parameters()):
        raise TuningError("Nothing of the model would be trained.", "NothingToTrain")
    return made


def kind_of(method: str) -> Kind:
    """What a method makes."""
    return "adapter" if method in ("lora", "dora", "qlora") else "model"


def blocks_of(model: nn.Module) -> nn.ModuleList:
    """The model's layers: its longest list of modules."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise TuningError(
            "The model has no list of layers, so `frozen` cannot tell the last ones.", "BadMethod"
        )
    return max(lists, key=len)


def set_training(model: Any, method: str, *, preference: bool) -> None:
    """Turn on what is on while training only.

    Features that are frozen are computed as they will be; a preference compares log probabilities with those
    of the base, which dropout would blur.
    """
    model.train()
    if method == "head":
        model.eval()
        for module in model.modules():
            if any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
                module.train()
    if preference:
        for module in model.modules():
            if isinstance(module, nn.Dropout | dropouts.BulkDropout):
                module.eval()
            if isinstance(getattr(module, "attention_dropout", None), float):
                module.attention_dropout = 0.0


def _check(job: TrainingJob) -> None:
    if job.method == "qlora" and not torch.cuda.is_available():
        raise TuningError(
            "Method qlora needs a GPU: its quantized base runs on CUDA alone. Use method lora, which trains"
            " the same adapter over the whole base, or a node with a GPU.",
            "NeedsGPU",
        )
    if job.method == "head" and job.task == "generate":
        raise TuningError(
            "Method head trains a new head over frozen features and goes with tasks classify and tag; for"
            " generate use lora or frozen.",
            "BadMethod",
        )


def _four_bits(dtype: torch.dtype) -> Any:
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        raise TuningError(
            "Method qlora needs the package bitsandbytes in the training environment: install it, or use"
            " method lora.",
            "MissingPackage",
        ) from None
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def _made_ready(model: Any, job: TrainingJob, base: Base) -> Any:
    settings: Hyperparameters = job.hyperparameters
    match job.method:
        case "lora" | "dora" | "qlora":
            return _adapted(model, job, base)
        case "frozen":
            _freeze(model)
            for block in blocks_of(model)[-settings.trained_layers :]:
                block.requires_grad_(True)
            _train_head(model, job.task)
        case "head":
            _freeze(model)
            _train_head(model, job.task)
    return model


def _adapted(model: Any, job: TrainingJob, base: Base) -> Any:
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    settings = job.hyperparameters
    if job.method == "qlora":
        model = prepare_model_for_kbit_training(
            model, use_gradient_checkpointing=settings.gradient_checkpointing
        )
    elif settings.gradient_checkpointing:
        model.enable_input_require_grads()
    task = "SEQ_2_SEQ_LM" if job.task == "generate" and base.sequence_to_sequence else _TASKS[job.task]
    adapter = LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout.number,
        target_modules=list(settings.lora_targets) or "all-linear",
        use_dora=job.method == "dora",
        task_type=task,
    )
    try:
        # Masters in float32 are the optimizer's; an adapter kept so would compute in float32.
        made = get_peft_model(model, adapter, autocast_adapter_dtype=False)
    except ValueError as error:
        raise TuningError(f"The adapter cannot be put into the model: {error}", "BadMethod") from error
    made.peft_config["default"].base_model_name_or_path = job.base_source or str(job.base)
    return made


def _freeze(model: nn.Module) -> None:
    model.requires_grad_(False)


def _train_head(model: Any, task: Literal["generate", "classify", "tag"]) -> None:
    """A new head always; of a model that writes its own only where it is not the embedding as well."""
    if task != "generate":
        for name in ("score", "classifier", "classification_head", "pre_classifier"):
            if hasattr(model, name):
                getattr(model, name).requires_grad_(True)
        return
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is not None and head.weight is not embedding.weight:
        head.requires_grad_(True)
