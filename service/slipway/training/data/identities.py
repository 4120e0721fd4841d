"""What a record is, apart from where it came from: its texts, its id, its keys."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from slipway.training.records import Record

CONTENT = ("messages", "chosen", "rejected", "text", "label", "tokens", "tags")
"""The columns that hold what a record says."""


def record_id(record: Record) -> str:
    """First 32 hexadecimal digits of the SHA-256 of a record's content."""
    content = {name: record.get(name) for name in CONTENT if record.get(name) is not None}
    document = json.dumps([record["format"], content], ensure_ascii=False, sort_keys=True)
    # Lone surrogates cannot be written as UTF-8; they are told apart all the same.
    return hashlib.sha256(document.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def key(text: str) -> int:
    """64 bits that stand for a text; 0 for none."""
    if not text:
        return 0
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def text_of(record: Record) -> str:
    """All that a record says, without the system's message, which many records share."""
    texts = [m["content"] for m in record.get("messages") or () if m["role"] != "system"]
    texts += [text for name in ("chosen", "rejected", "text") if (text := _text(record, name))]
    texts.append(" ".join(record.get("tokens") or ()))
    return "\n".join(text for text in texts if text)


def input_of(record: Record) -> str:
    """What a model is asked with a record; empty where it is asked nothing."""
    match record["format"]:
        case "chat":
            asked = (record.get("messages") or [])[:-1]
        case "preference":
            asked = record.get("messages") or []
        case "classification":
            return _folded(record.get("text") or "")
        case "tokens":
            return _folded(" ".join(record.get("tokens") or ()))
        case _:
            return ""
    return _folded("\n".join(f"{turn['role']}: {turn['content']}" for turn in asked if turn["content"]))


def rewrite(record: Record, change: Callable[[str], str], *, tokens: bool = False) -> bool:
    """Change each text of a record in place; whether any became another.

    Args:
        tokens: also those of a format `tokens`, each on its own; one that would become empty stays.
    """
    changed = False
    for message in record.get("messages") or ():
        text = change(message["content"])
        changed |= text != message["content"]
        message["content"] = text
    fields: dict[str, Any] = record  # type: ignore[assignment]
    for name in ("chosen", "rejected", "text"):
        before = fields.get(name)
        if before is not None:
            fields[name] = change(before)
            changed |= fields[name] != before
    words = record.get("tokens")
    if tokens and words is not None:
        after = [change(word) or word for word in words]
        changed |= after != words
        record["tokens"] = after
    return changed


def _text(record: Record, name: str) -> str | None:
    value = record.get(name)
    return value if isinstance(value, str) else None


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())
