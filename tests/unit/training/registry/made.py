"""Small artifacts with the right files, and what is known of them."""

import json
from pathlib import Path

from slipway.training.registry.records import (
    BaseModelRecord,
    CodeRecord,
    DatasetRecord,
    Draft,
    FileRecord,
    Record,
    SourceRecord,
)
from slipway.training.registry.store import Registry
from unit.sources import models


def artifact(folder: Path, seed: int = 0, size: int = 5_000) -> Path:
    """An adapter as training leaves it."""
    return models.write(
        folder,
        {
            "adapter_config.json": json.dumps({"peft_type": "LORA", "r": 4}).encode(),
            "adapter_model.safetensors": models.safetensors(size, seed),
            "tokenizer.json": b'{"version": "1.0"}',
            "training.json": b"{}",
            "README.md": b"what the library writes",
        },
    )


def draft(name: str = "support", **changes: object) -> Draft:
    """What is known of it."""
    about = Draft(
        name=name,
        kind="adapter",
        base_model=BaseModelRecord(source="hf://org/base", name="base", digest="sha256:" + "b" * 64),
        dataset=DatasetRecord(
            version=f"{name}/d1",
            digest="sha256:" + "d" * 64,
            sources=(SourceRecord(name="mine", source="file:///data.jsonl", digest="sha256:" + "e" * 64),),
        ),
        code=CodeRecord(slipway="0.1.0"),
    )
    return about.model_copy(update=changes)


def card(about: Draft, version: str, files: tuple[FileRecord, ...]) -> str:
    """A card without content."""
    return f"# {about.name} {version}, {len(files)} files\n"


def register(
    registry: Registry, scratch: Path, name: str = "support", seed: int = 0, **changes: object
) -> Record:
    """A version of `name`."""
    return registry.register(draft(name, **changes), artifact(scratch / f"{name}-{seed}", seed), card)
