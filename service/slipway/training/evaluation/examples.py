"""The examples of a test: what is asked, and what the right answer is."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, cast

from slipway.training.errors import EvaluationError
from slipway.training.evaluation.questions import Reply, turns
from slipway.training.records import Record

Task = Literal["generate", "classify", "tag", "text"]


@dataclass(frozen=True, slots=True)
class Example:
    """One example of a test."""

    id: str
    task: Task
    messages: tuple[tuple[str, str], ...] = ()
    """Of `generate`: the conversation up to the answer."""
    text: str = ""
    """Of `classify` and `text`."""
    tokens: tuple[str, ...] = ()
    """Of `tag`."""
    reference: str = ""
    """The right answer or label; of `text`, the text."""
    rejected: str = ""
    """Of preferences: the answer that is worse than the reference."""
    tags: tuple[str, ...] = ()
    """Of `tag`: the right tags."""
    slices: dict[str, str] = field(default_factory=dict)
    place: str = ""

    @property
    def shown(self) -> str:
        """What was asked, for people."""
        if self.messages:
            return "\n".join(f"{role}: {content}" for role, content in self.messages)
        return self.text or " ".join(self.tokens)


@dataclass(frozen=True, slots=True)
class Prediction:
    """An example and what a model made of it."""

    example: Example
    answer: Reply = field(default_factory=Reply)
    """The generated answer, label or tags."""
    likelihood: Reply | None = None
    """How likely the reference is to the model."""
    rejected: Reply | None = None
    """How likely the rejected answer is."""

    def document(self) -> dict[str, Any]:
        """A line of predictions.jsonl."""
        example = self.example
        line: dict[str, Any] = {
            "id": example.id,
            "place": example.place,
            "prompt": example.shown,
            "reference": list(example.tags) or example.reference,
            "answer": list(self.answer.tags) or self.answer.text,
            "scores": self.answer.scores,
            "logprob": self.likelihood.logprob if self.likelihood else None,
            "slices": example.slices,
            "error": self.answer.error,
        }
        return {name: value for name, value in line.items() if value not in ("", {}, None)}


def examples(records: Iterable[Record]) -> Iterator[Example]:
    """The examples in a dataset's records."""
    for record in records:
        yield _of(record)


def read(path: Path) -> list[Example]:
    """The examples in a JSONL file, whose lines are like a dataset's records or shorter.

    A line has `messages` (the last one the answer), or `prompt` and `completion`, or `messages` or `prompt`
    with `chosen` and `rejected`, or `text` and `label`, or `tokens` and `tags`, or `text` alone. Other fields
    whose values are short texts, numbers or truth values can be named as slices.

    Raises:
        EvaluationError: with the line's number.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise EvaluationError(f"{path} is not there; name a JSONL file.", "DataMissing") from None
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path} is not UTF-8 (byte {error.start}).", "BadData") from None
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            found.append(_of(_record(line, f"{path.name}:{number}")))
    if not found:
        raise EvaluationError(f"{path} holds no example.", "BadData")
    return found


def _of(record: Record) -> Example:
    slices = dict(record.get("slices") or {})
    common: dict[str, Any] = {"id": record["id"], "slices": slices, "place": record["place"]}
    match record["format"]:
        case "chat":
            *asked, answer = turns(record.get("messages") or [])
            return Example(task="generate", messages=tuple(asked), reference=answer[1], **common)
        case "preference":
            chosen, rejected = record.get("chosen") or "", record.get("rejected") or ""
            asked = list(turns(record.get("messages") or []))
            return Example(
                task="generate", messages=tuple(asked), reference=chosen, rejected=rejected, **common
            )
        case "classification":
            label = record.get("label") or ""
            return Example(task="classify", text=record.get("text") or "", reference=label, **common)
        case "tokens":
            tokens, tags = record.get("tokens") or [], record.get("tags") or []
            return Example(task="tag", tokens=tuple(tokens), tags=tuple(tags), **common)
        case _:
            text = record.get("text") or ""
            return Example(task="text", text=text, reference=text, **common)


_SHAPES = (
    "`messages` that end with the assistant's, `prompt` and `completion`, `prompt` with `chosen` and"
    " `rejected`, `text` and `label`, `tokens` and `tags`, or `text`"
)


def _record(line: str, place: str) -> Record:
    """One line of a file of the user."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise EvaluationError(f"{place} is not JSON: {error}.", "BadData") from None
    if not isinstance(row, dict):
        raise EvaluationError(f"{place} is no JSON object.", "BadData")
    record = _shaped(row)
    if record is None:
        raise EvaluationError(f"{place} is no example: a line has {_SHAPES}.", "BadData")
    known = {
        "id",
        "messages",
        "prompt",
        "completion",
        "chosen",
        "rejected",
        "text",
        "label",
        "tokens",
        "tags",
    }
    slices = row.get("slices") if isinstance(row.get("slices"), dict) else {}
    plain = {
        name: value
        for name, value in ({**row, **(slices or {})}).items()
        if name not in known and isinstance(value, (str, int, float)) and len(str(value)) <= 256
    }
    record["slices"] = {name: str(value) for name, value in plain.items()}
    content = json.dumps(record, sort_keys=True).encode("utf-8", "surrogatepass")
    # Two lines with the same content are two examples.
    unique = f"{place}\n".encode() + content
    record |= {"id": str(row.get("id") or sha256(unique).hexdigest()[:32]), "place": place}
    return cast(Record, record)


def _shaped(row: dict[str, Any]) -> dict[str, Any] | None:
    """The columns of a record; None if the row is of no shape that is known."""

    def texts(*names: str) -> bool:
        return all(isinstance(row.get(name), str) for name in names)

    messages = row.get("messages")
    if messages is None and texts("prompt"):
        messages = [{"role": "user", "content": row["prompt"]}]
        if texts("completion"):
            messages.append({"role": "assistant", "content": row["completion"]})
    if messages is not None:
        if not _conversation(messages):
            return None
        if texts("chosen", "rejected"):
            return {
                "format": "preference",
                "messages": messages,
                "chosen": row["chosen"],
                "rejected": row["rejected"],
            }
        whole = len(messages) > 1 and messages[-1]["role"] == "assistant"
        return {"format": "chat", "messages": messages} if whole else None
    if texts("text", "label"):
        return {"format": "classification", "text": row["text"], "label": row["label"]}
    tokens, tags = row.get("tokens"), row.get("tags")
    if isinstance(tokens, list) and isinstance(tags, list) and len(tokens) == len(tags):
        return {"format": "tokens", "tokens": [str(each) for each in tokens], "tags": [str(t) for t in tags]}
    return {"format": "text", "text": row["text"]} if texts("text") else None


def _conversation(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict)
        and each.get("role") in ("system", "user", "assistant")
        and isinstance(each.get("content"), str)
        for each in value
    )
