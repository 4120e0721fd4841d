"""Records made of records."""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from json import dumps, loads
from random import Random
from typing import Any, cast

from slipway.objects.datasets import AugmentationStep
from slipway.training.augmentation import options
from slipway.training.augmentation.keeping import Kept
from slipway.training.augmentation.steps import Augmentation, build
from slipway.training.augmentation.words import Words, kept
from slipway.training.data.identities import record_id
from slipway.training.data.watching import Watch
from slipway.training.errors import DataError
from slipway.training.records import Message, Record

_LONGER = 3
"""What is so many times longer than the text it was made of says something else."""


def augment(
    records: Iterator[Record],
    steps: Sequence[AugmentationStep],
    seed: int,
    context: Watch,
    *,
    refused: Counter[str] | None = None,
) -> Iterator[Record]:
    """The records, each followed by those made of it.

    What is made of a record depends on the record, the steps and the seed, not on what stands beside it.
    Changed is the text of classifications and plain texts, and of conversations the last message of the user:
    never a label, a tag, an answer, code, a placeholder or a number. What was made keeps its parent's source,
    place and slices, and `augmented` names the step. What is there already, or has lost a placeholder or a
    number, is left out.

    Args:
        records: of the training part, and of no other
        steps: what is done; each starts from the records themselves, not from what another step made
        seed: of all that is drawn
        context: the running stage
        refused: counts what was left out, by step and reason

    Raises:
        DataError: a step or an option is unknown, does not fit the records, or its model fails.
        Stopped: what models made until then is kept.
    """
    asked = [(step, options.read(step)) for step in steps]
    return _augmented(records, asked, seed, context, Counter() if refused is None else refused)


def _augmented(
    records: Iterator[Record],
    asked: list[tuple[AugmentationStep, options.Options]],
    seed: int,
    context: Watch,
    refused: Counter[str],
) -> Iterator[Record]:
    made = 0
    with closing(Kept(context.workspace.cache / "augmentation.sqlite")) as store:
        maker = _Maker(build(asked), seed, store, refused)
        for record in maker.run(records):
            context.check()
            yield record
            if record["augmented"]:
                made += 1
                context.tell(f"{made} records made by augmentation", made)


class _Maker:
    def __init__(self, steps: list[Augmentation], seed: int, store: Kept, refused: Counter[str]) -> None:
        self._steps = steps
        self._seed = seed
        self._store = store
        self._refused = refused

    def run(self, records: Iterator[Record]) -> Iterator[Record]:
        """The records and what is made of them, in order, some of them worked on at once."""
        ahead = max((step.parallel for step in self._steps), default=1)
        if ahead == 1:
            for record in records:
                yield from self._all(record)
            return
        pool = ThreadPoolExecutor(ahead, "augmentation")
        waiting: deque[Future[list[Record]]] = deque()
        try:
            for record in records:
                waiting.append(pool.submit(self._all, record))
                while waiting and (len(waiting) > 2 * ahead or waiting[0].done()):
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _all(self, record: Record) -> list[Record]:
        """The record, and what is made of it."""
        all_ = [record]
        if record["augmented"]:
            return all_
        seen = {record["id"]}
        for number, step in enumerate(self._steps):
            draw = Random(self._seed_of(record, number, step, "count"))  # noqa: S311
            whole = int(step.share)
            for copy in range(whole + (draw.random() < step.share - whole)):
                made = self._made(record, step, self._seed_of(record, number, step, str(copy)))
                if made is not None and made["id"] in seen:
                    self._refused[f"{step.name}: the same as what is there"] += 1
                elif made is not None:
                    seen.add(made["id"])
                    all_.append(made)
        return all_

    def _seed_of(self, record: Record, number: int, step: Augmentation, what: str) -> int:
        text = f"{self._seed}/{number}/{step.name}/{record['id']}/{what}"
        return int.from_bytes(sha256(text.encode()).digest()[:4]) >> 1

    def _made(self, record: Record, step: Augmentation, seed: int) -> Record | None:
        """A record made of a record; None, and counted, if the step cannot."""
        before = _content(record, step)
        if before is None:
            self._refused[f"{step.name}: nothing of the user's to change"] += 1
            return None
        known = self._store.get(step.name, step.paid_by, before, seed) if step.paid_by else None
        after = loads(known) if known is not None else _changed(record, before, step, seed)
        if known is None and step.paid_by:
            self._store.put(dumps(after), step.name, step.paid_by, before, seed)
        reason = _fault(before, after)
        if reason:
            self._refused[f"{step.name}: {reason}"] += 1
            return None
        return _with(record, after, step.name)


def _changed(record: Record, before: Any, step: Augmentation, seed: int) -> Any:
    """The content anew; None if the step cannot change it."""
    if step.rewrite is not None:
        return _unquoted(step.rewrite(before, seed).strip(), before)
    if step.edit is None:
        raise ValueError(f"{step.name} does nothing")
    tokens = record["format"] == "tokens"
    words = Words.of_tokens(before, record.get("tags") or []) if tokens else Words.of(before)
    if not words.at or not step.edit(words, Random(seed)):  # noqa: S311
        return None
    return words.parts if tokens else words.text


def _fault(before: Any, after: Any) -> str:
    """Why a content that was made is of no use; empty if it is."""
    if after is None:
        return "no word that could be changed"
    if not after:
        return "empty"
    if after == before:
        return "the same as what is there"
    if isinstance(before, str):
        if kept(after) != kept(before):
            return "a placeholder, an address, a number or code was lost"
        if len(after) > _LONGER * len(before) + 100:
            return "far longer than what it was made of"
    return ""


def _content(record: Record, step: Augmentation) -> Any:
    """What of a record may be changed: a text, or the tokens of a tagged text; None if nothing."""
    if record["format"] == "tokens":
        if not step.fits_tokens:
            raise DataError(
                f"The augmentation `{step.name}` would part tokens from their tags ({record['place']}); for"
                f" the format tokens there are {' and '.join(options.FOR_TOKENS)}."
            )
        return record.get("tokens") or None
    place = _asked(record.get("messages"))
    if place is not None:
        return (record.get("messages") or [])[place]["content"] or None
    return record.get("text") or None


def _with(record: Record, content: Any, name: str) -> Record:
    made: Record = {**record, "slices": dict(record["slices"] or {}), "augmented": name}
    messages = record.get("messages")
    place = _asked(messages)
    if record["format"] == "tokens":
        made["tokens"] = content
    elif place is not None:
        copies = cast("list[Message]", [dict(message) for message in messages or []])
        copies[place]["content"] = content
        made["messages"] = copies
    else:
        made["text"] = content
    made["id"] = record_id(made)
    return made


def _asked(messages: list[Message] | None) -> int | None:
    """The place of the user's last message."""
    places = [place for place, message in enumerate(messages or []) if message["role"] == "user"]
    return places[-1] if places else None


def _unquoted(text: str, before: str) -> str:
    """Without the quotation marks that models like to put around a text."""
    for opening, closing_ in ('""', "''", "\u201c\u201d", "\u00ab\u00bb"):
        if text[:1] == opening and text[-1:] == closing_ and len(text) > 2 and before[:1] != opening:
            return text[1:-1].strip()
    return text
