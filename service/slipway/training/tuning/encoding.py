"""Records of a dataset become examples of tokens, each format in its way."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from slipway.training.errors import DataError
from slipway.training.records import Record
from slipway.training.tuning import conversations, examples
from slipway.training.tuning.conversations import IGNORED, Tokens
from slipway.training.tuning.examples import Examples

if TYPE_CHECKING:
    from slipway.training.data.versions import DatasetVersion, Part

_VERSION = 1
"""Raised when the same records become other tokens."""


@dataclass(slots=True)
class Encoder:
    """Makes examples of records.

    Args:
        tokenizer: a fast one, with a chat template where conversations are encoded.
        max_length: tokens of an example at most; what is longer is cut at its end, text goes on in the next.
        labels: of classes or tags, in the order of the model's outputs.
        sequence_to_sequence: whether the model reads with an encoder and writes with a decoder.
    """

    tokenizer: Any
    max_length: int
    labels: tuple[str, ...] = ()
    sequence_to_sequence: bool = False
    dropped: Counter[str] = field(default_factory=Counter)
    """Records that were cut or left out, by reason."""

    def encode(self, record: Record) -> Iterator[Tokens]:
        """The examples of one record: none if nothing in it can be learned, two of a preference."""
        ways: dict[str, Callable[[Record], Iterator[Tokens]]] = {
            "chat": self._chat,
            "preference": self._preference,
            "classification": self._classification,
            "tokens": self._tags,
            "text": self._text,
        }
        yield from ways[record["format"]](record)

    def _chat(self, record: Record) -> Iterator[Tokens]:
        messages = record.get("messages") or []
        if self.sequence_to_sequence:
            yield from self._kept(self._pair(messages))
            return
        yield from self._kept(conversations.encode(self.tokenizer, messages))

    def _pair(self, messages: list[Any]) -> Tokens:
        """What is read, ignored, then what is written."""
        read = self.tokenizer("\n".join(m["content"] for m in messages[:-1]))["input_ids"][: self.max_length]
        written = self.tokenizer(text_target=messages[-1]["content"])["input_ids"][: self.max_length]
        return Tokens(read + written, [IGNORED] * len(read) + written)

    def _preference(self, record: Record) -> Iterator[Tokens]:
        prompt = list(record.get("messages") or [])
        pair = [
            conversations.encode(
                self.tokenizer, [*prompt, {"role": "assistant", "content": record[which] or ""}]
            )
            for which in ("chosen", "rejected")
        ]
        # Only the answer is compared; earlier turns of the assistant are part of the question.
        pair = [_last_turn(tokens) for tokens in pair]
        kept = [tokens for each in pair for tokens in self._kept(each)]
        if len(kept) == 2:
            yield from kept

    def _classification(self, record: Record) -> Iterator[Tokens]:
        ids = self.tokenizer(record["text"] or "", truncation=True, max_length=self.max_length)["input_ids"]
        yield Tokens(ids, [self._label(record["label"] or ""), *[IGNORED] * (len(ids) - 1)])

    def _tags(self, record: Record) -> Iterator[Tokens]:
        """A word's tag is learned at the first of its tokens."""
        encoded = self.tokenizer(
            record["tokens"], is_split_into_words=True, truncation=True, max_length=self.max_length
        )
        tags, labels, before = record["tags"] or [], [], None
        for word in encoded.word_ids():
            labels.append(IGNORED if word is None or word == before else self._label(tags[word]))
            before = word
        yield Tokens(encoded["input_ids"], labels)

    def _text(self, record: Record) -> Iterator[Tokens]:
        ids = self.tokenizer(record["text"] or "")["input_ids"]
        if self.tokenizer.eos_token_id is not None:
            ids = [*ids, self.tokenizer.eos_token_id]
        for at in range(0, len(ids), self.max_length):
            piece = ids[at : at + self.max_length]
            if len(piece) > 1:
                yield Tokens(piece, list(piece))

    def _kept(self, tokens: Tokens) -> Iterator[Tokens]:
        long = len(tokens.ids) > self.max_length and not self.sequence_to_sequence
        cut = tokens.cut(self.max_length) if long else tokens
        if long:
            self.dropped["cut to maxLength"] += 1
        if cut.learned:
            yield cut
        else:
            self.dropped["left out: nothing to learn within maxLength"] += 1

    def _label(self, name: str) -> int:
        try:
            return self.labels.index(name)
        except ValueError:
            raise DataError(
                f"The label {name!r} is in the validation part and not in the training part; split again.",
                "UnknownLabel",
            ) from None


def _last_turn(tokens: Tokens) -> Tokens:
    """With the last learned stretch alone."""
    labels = list(tokens.labels)
    at = len(labels)
    while at and labels[at - 1] == IGNORED:
        at -= 1
    while at and labels[at - 1] != IGNORED:
        at -= 1
    return Tokens(tokens.ids, [IGNORED] * at + labels[at:])


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen while a part was encoded."""

    formats: list[str]
    dropped: dict[str, int]


def encode_part(
    dataset: "DatasetVersion", part: "Part", encoder: Encoder, folder: Path, check: Callable[[], None]
) -> None:
    """Make a part of the dataset tokens in `folder`, unless an earlier attempt did.

    Raises:
        DataError: the part holds records that cannot be learned from.
        Stopped: from `check`, which is called after each record.
    """
    target = _place(dataset, part, encoder, folder)
    if target.exists():
        return
    unfinished = folder / f".{target.name}.unfinished"
    rmtree(unfinished, ignore_errors=True)
    formats: set[str] = set()
    with examples.Writer(unfinished) as writer:
        for record in dataset.rows(part):
            check()
            formats.add(record["format"])
            for tokens in encoder.encode(record):
                writer.add(tokens, record["id"], record["source"])
    facts = {"formats": sorted(formats), "dropped": encoder.dropped}
    (unfinished / "facts.json").write_text(json.dumps(facts))
    unfinished.rename(target)


def read_part(
    dataset: "DatasetVersion", part: "Part", encoder: Encoder, folder: Path
) -> tuple[Examples, Facts]:
    """What `encode_part` made."""
    place = _place(dataset, part, encoder, folder)
    return examples.read(place), Facts(**json.loads((place / "facts.json").read_text()))


def _place(dataset: "DatasetVersion", part: "Part", encoder: Encoder, folder: Path) -> Path:
    return folder / f"{part}-{_key(dataset, encoder)}"


def _key(dataset: "DatasetVersion", encoder: Encoder) -> str:
    depends = (
        _VERSION,
        dataset.digest,
        _description(encoder.tokenizer),
        encoder.tokenizer.chat_template,
        encoder.max_length,
        encoder.labels,
        encoder.sequence_to_sequence,
    )
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]


def _description(tokenizer: Any) -> Any:
    """All that a tokenizer does, but for what a call before has set in it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return repr(tokenizer)
    return json.loads(backend.to_str()) | {"truncation": None, "padding": None}


def labels_of(dataset: "DatasetVersion", task: str) -> tuple[str, ...]:
    """The labels or tags of the training part, sorted; none for a model that writes."""
    if task == "generate":
        return ()
    found: set[str] = set()
    for record in dataset.rows("train", columns=["label", "tags"]):
        found.update([record["label"] or ""] if task == "classify" else record["tags"] or [])
    return tuple(sorted(found))
