"""Merges LoRA adapters by PEFT's `add_weighted_adapter`, without their base model.

What an adapter adds to a layer is s B A, with s = alpha / rank. With weights w

| method | the merged update                                                                       |
|--------|-----------------------------------------------------------------------------------------|
| cat    | sum of w s B A, exactly; its rank is the sum of the ranks                               |
| svd    | the best approximation of that sum of the largest rank                                  |
| linear | (sum of sqrt(w s) B) (sum of sqrt(w s) A): cheap, exact for adapters that are alike     |
| ties   | of A and of B each: the largest `density` of the values, those of the majority's sign,  |
|        | their mean (Yadav et al., arXiv:2306.01708)                                             |
| dare_… | of the values a random `density`, scaled up by 1 / density (Yu et al., arXiv:2311.03099) |
| …_svd  | the same with the updates themselves instead of A and B, cut down to the largest rank   |
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import copyfile
from typing import Any

from slipway.training.errors import TuningError
from slipway.training.merging.adapters import Adapter, Layer, Method, check
from slipway.training.runs import write_atomically

_MERGED = "merged"
_KEPT = ("training.json", "adapter_config.json", "adapter_model.safetensors", "README.md", "record.json")
"""Files of an adapter that its merge has anew or not at all; the others are the tokenizer's."""


def merge(
    adapters: Sequence[Adapter],
    weights: Sequence[float],
    method: Method,
    folder: Path,
    *,
    density: float = 0.5,
    rank: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Merge adapters into a folder: safetensors, configuration, tokenizer, `merge.json` with the lineage.

    Args:
        adapters: at least two, of one base.
        weights: of each, positive or negative.
        method: see above.
        folder: is made.
        density: share of the values that ties and dare keep; above 0, at most 1.
        rank: of the result, for svd; the largest of the adapters' if left out.
        seed: of what dare draws.

    Returns:
        what `merge.json` says.

    Raises:
        TuningError: they cannot be merged so.
    """
    if len(adapters) < 2 or len(weights) != len(adapters):
        raise TuningError("Merging takes at least two adapters, and a weight for each.", "BadMerge")
    if not 0 < density <= 1:
        raise TuningError(f"Density is a share above 0 and at most 1, not {density:g}.", "BadMerge")
    if rank is not None and not method.endswith("svd"):
        raise TuningError(f"The rank of the result can be chosen with svd, not with {method}.", "BadMerge")
    check(adapters, method)
    tensors, config = _merged(adapters, weights, method, density, rank, seed)
    folder.mkdir(parents=True)
    _save(folder, tensors, config, adapters[0])
    document = {
        "method": method,
        "density": density if method.startswith(("ties", "dare")) else None,
        "seed": seed if method.startswith("dare") else None,
        "rank": config["r"],
        "base": {"source": adapters[0].base, "digest": adapters[0].base_digest},
        "adapters": [
            {"name": each.name, "digest": each.digest, "weight": weight}
            for each, weight in zip(adapters, weights, strict=True)
        ],
    }
    write_atomically(folder / "merge.json", json.dumps(document, indent=1))
    return document


def _merged(
    adapters: Sequence[Adapter],
    weights: Sequence[float],
    method: Method,
    density: float,
    rank: int | None,
    seed: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    torch.manual_seed(seed)
    layers: dict[str, Layer] = {}
    for adapter in adapters:
        layers |= adapter.layers
    model: Any = None
    names = [f"a{at}" for at in range(len(adapters))]
    for name, adapter in zip(names, adapters, strict=True):
        # Full names instead of patterns: the skeleton has no other layers, and patterns may be of two kinds.
        config = LoraConfig(**_arguments(adapter), target_modules=list(adapter.layers))
        if model is None:
            model = PeftModel(_skeleton(layers), config, adapter_name=name)
        else:
            model.add_adapter(name, config)
        loaded = {key: tensor.float() for key, tensor in load_file(adapter.weights).items()}
        set_peft_model_state_dict(model, loaded, adapter_name=name)
    model.base_model.add_weighted_adapter(
        names, list(weights), _MERGED, method, svd_rank=rank, density=density, svd_full_matrices=False
    )
    tensors = get_peft_model_state_dict(model, adapter_name=_MERGED, save_embedding_layers=False)
    return {key: tensor.contiguous() for key, tensor in tensors.items()}, _config(model, adapters[0])


def _arguments(adapter: Adapter) -> dict[str, Any]:
    """What of a configuration the arithmetic depends on."""
    names = ("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "fan_in_fan_out")
    return {name: adapter.config[name] for name in names if name in adapter.config}


def _config(model: Any, first: Adapter) -> dict[str, Any]:
    """The merged adapter's configuration. Its scale is in its weights already: alpha / rank is 1."""
    rank = model.peft_config[_MERGED].r
    targets = sorted({layer.rpartition(".")[2] for layer in model.peft_config[_MERGED].target_modules})
    own = {
        "r": rank,
        "lora_alpha": rank,
        "use_rslora": False,
        "rank_pattern": {},
        "alpha_pattern": {},
        "target_modules": targets,
        "inference_mode": True,
    }
    return {**first.config, **own}


def _skeleton(layers: Mapping[str, Layer]) -> Any:
    """A module with linear layers of these names and shapes, which take no memory."""
    import torch
    from torch import nn

    root = nn.Module()
    for name, layer in layers.items():
        *parents, last = name.split(".")
        place = root
        for parent in parents:
            if not hasattr(place, parent):
                place.add_module(parent, nn.Module())
            place = getattr(place, parent)
        linear = nn.Linear(layer.inputs, layer.outputs, bias=False, device="meta")
        # One number, shown as a whole matrix.
        linear.weight = nn.Parameter(torch.zeros(1).expand(layer.outputs, layer.inputs), requires_grad=False)
        place.add_module(last, linear)
    return root


def _save(folder: Path, tensors: Mapping[str, Any], config: Mapping[str, Any], first: Adapter) -> None:
    from safetensors.torch import save_file

    dtype = _dtype(first)
    save_file(
        {key: tensor.to(dtype) for key, tensor in tensors.items()},
        folder / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    write_atomically(folder / "adapter_config.json", json.dumps(config, indent=2, sort_keys=True))
    for path in sorted(first.folder.iterdir()):
        if path.is_file() and path.name not in _KEPT:
            copyfile(path, folder / path.name)


def _dtype(adapter: Adapter) -> Any:
    """The number format of the first adapter's weights."""
    from safetensors.torch import load_file

    return next(iter(load_file(adapter.weights).values())).dtype
