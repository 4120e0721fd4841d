"""Small random LoRA adapters of a small random model, as training leaves them."""

import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from slipway.training.merging.adapters import Adapter, read


def base() -> LlamaForCausalLM:
    """The same weights every time."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        vocab_size=64,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config)


def adapter(folder: Path, seed: int, *, digest: str = "sha256:base", **asked: object) -> Adapter:
    """A random adapter in a folder."""
    options = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"], **asked}
    model = get_peft_model(base(), LoraConfig(**options))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    model.peft_config["default"].base_model_name_or_path = "hf://org/base"
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    told = {"base": {"source": "hf://org/base@c0ffee", "digest": digest, "name": "base"}, "task": "generate"}
    (folder / "training.json").write_text(json.dumps(told))
    (folder / "tokenizer_config.json").write_text("{}")
    return read(folder, folder.name)
