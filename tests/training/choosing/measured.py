"""Measures what a process takes to serve or to train: `measured.py CONFIG WHAT TOKENS`, bytes as JSON.

CONFIG is a Llama's config.json as text, WHAT a method of training, or `serve`. Weights are random; they and
the arithmetic are in float32, in which every CPU computes.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

CONCURRENCY = 4


def status(name: str) -> int:
    """Bytes of a line such as VmRSS (now) or VmHWM (at most since it was set back)."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def measure(config: dict[str, Any], what: str, tokens: int) -> dict[str, int]:
    _run(config | {"num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 64}, what, 8)
    Path("/proc/self/clear_refs").write_text("5")  # Sets VmHWM back, after what libraries set up once.
    before = status("VmRSS")
    trained = _run(config, what, tokens)
    return {"peak": status("VmHWM") - before, "trained": trained}


def _run(config: dict[str, Any], what: str, tokens: int) -> int:
    model: Any = LlamaForCausalLM(LlamaConfig(**config))
    if what == "serve":
        with torch.inference_mode():
            ids = torch.zeros(CONCURRENCY, tokens, dtype=torch.long)
            cache = model(ids[:, :-1], use_cache=True, logits_to_keep=1).past_key_values
            model(ids[:, -1:], past_key_values=cache, use_cache=True)
        return 0
    model = _prepared(model, what)
    return _train(model, tokens)


def _prepared(model: Any, method: str) -> Any:
    if method in ("lora", "dora"):
        from peft import LoraConfig, get_peft_model

        return get_peft_model(
            model, LoraConfig(r=16, lora_dropout=0.05, target_modules="all-linear", use_dora=method == "dora")
        )
    if method == "frozen":
        model.requires_grad_(False)
        for block in model.model.layers[-2:]:
            block.requires_grad_(True)
    return model


def _train(model: Any, tokens: int) -> int:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    ids = torch.randint(0, model.config.vocab_size, (1, tokens), generator=torch.Generator().manual_seed(0))
    for _ in range(2):
        optimizer.zero_grad(set_to_none=False)
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()
    return sum(parameter.numel() for parameter in trained)


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
