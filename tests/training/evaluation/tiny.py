"""Models of a few thousand weights, and a tokenizer that reads every text."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

_TEXT = (
    "the cat sat on the mat and the dog barked at the red house where a man and a woman lived",
    "what is the capital of France? Paris. user assistant system write the word question bug praise",
)


def tokenizer() -> Any:
    """Byte-level, 320 tokens, with a beginning, an end and a template."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(_TEXT, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    made.chat_template = (
        "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant] {% endif %}"
    )
    return made


def make_decoder(folder: Path, seed: int = 0) -> Path:
    """A Llama that reads 128 tokens."""
    reading = tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(reading),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=reading.bos_token_id,
        eos_token_id=reading.eos_token_id,
        pad_token_id=reading.pad_token_id,
        initializer_range=0.4,
    )
    return _saved(LlamaForCausalLM(config), reading, folder)


def make_encoder_decoder(folder: Path) -> Path:
    """A T5."""
    reading = tokenizer()
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(reading),
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=1,
        num_heads=4,
        decoder_start_token_id=reading.pad_token_id,
        pad_token_id=reading.pad_token_id,
        eos_token_id=reading.eos_token_id,
    )
    return _saved(T5ForConditionalGeneration(config), reading, folder)


def make_classifier(folder: Path) -> Path:
    """A BERT that labels texts."""
    return _saved(BertForSequenceClassification(_bert(("bug", "praise", "question"))), tokenizer(), folder)


def make_tagger(folder: Path) -> Path:
    """A BERT that tags tokens."""
    reading = tokenizer()
    reading.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return _saved(BertForTokenClassification(_bert(("O", "B-PER", "I-PER"))), reading, folder)


def _bert(labels: tuple[str, ...]) -> BertConfig:
    torch.manual_seed(0)
    return BertConfig(
        vocab_size=320,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
        id2label=dict(enumerate(labels)),
        label2id={label: at for at, label in enumerate(labels)},
        initializer_range=0.4,
    )


def _saved(model: Any, reading: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    reading.save_pretrained(folder)
    return folder
