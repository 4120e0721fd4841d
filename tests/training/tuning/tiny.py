"""Models of some thousand random weights, with a tokenizer of bytes: every family's real code, in no time."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    BertConfig,
    BertForMaskedLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_SPECIAL = ("<pad>", "<|im_start|>", "<|im_end|>", "[CLS]", "[SEP]")


def tokenizer(template: str | None = TEMPLATE) -> Any:
    """One token a byte."""
    vocabulary = {token: at for at, token in enumerate([*_SPECIAL, *sorted(ByteLevel.alphabet())])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="<|im_end|>",
        additional_special_tokens=[*_SPECIAL[1:]],
    )
    made.chat_template = template
    return made


def _size() -> int:
    return len(tokenizer())


def llama(folder: Path, **settings: Any) -> Path:
    """A decoder."""
    torch.manual_seed(0)
    asked = {
        "vocab_size": _size(),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "eos_token_id": 2,
        "tie_word_embeddings": True,
    }
    return _saved(LlamaForCausalLM(LlamaConfig(**asked | settings)), folder)


def bert(folder: Path) -> Path:
    """An encoder."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=128,
        pad_token_id=0,
    )
    return _saved(BertForMaskedLM(config), folder)


def t5(folder: Path) -> Path:
    """An encoder and a decoder."""
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=_size(),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        pad_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=0,
    )
    return _saved(T5ForConditionalGeneration(config), folder)


def _saved(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
