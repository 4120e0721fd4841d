"""What is in a version of a dataset, counted in one pass over each part, in memory that stays the same.

Words, lengths, labels, groups and repeats are counted over all rows. Languages, sub-words, personal data and
drift are looked at on every n-th row, at most `sample` of each part.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slipway.training.data.identities import input_of, key, text_of
from slipway.training.data.steps.languages import PREFIX, Language
from slipway.training.data.steps.personal import Redactor, redactor
from slipway.training.data.versions import PARTS, DatasetVersion, Part
from slipway.training.data.words import words_of
from slipway.training.drift import Profile, Shift, shifts
from slipway.training.exploration.counting import Distinct, Lengths, Repeats, Tally
from slipway.training.exploration.tokenizing import Measured, Subwords
from slipway.training.records import Record

_MOST_WORDS = 200_000
_MOST_LABELS = 1_000
_MOST_VALUES = 200
_MOST_FIELDS = 32
_LONGEST_VALUE = 80
_WINDOW = 1_000
"""Words of the windows whose different words are counted."""
_EVERY = 2_000
"""Rows between two looks at whether to stop."""
_BATCH = 256
SAMPLE = 20_000
"""Rows of each part that are looked at more closely."""


@dataclass(slots=True)
class Vocabulary:
    """The words of texts, without case."""

    words: Tally = field(default_factory=lambda: Tally(_MOST_WORDS))
    growth: list[tuple[int, int]] = field(default_factory=list)
    """Words read, and different ones among them."""
    windows: int = 0
    """Windows of 1,000 words."""
    in_windows: int = 0
    """Different words in each window, summed."""
    _different: Distinct = field(default_factory=Distinct)
    _next: int = 1_000
    _window: list[str] = field(default_factory=list)

    def add(self, words: list[str]) -> None:
        """Count the words of a text."""
        for word in set(words):
            if word not in self.words.counts:
                self._different.add(word)
        self.words.update(words)
        self._window += words
        while len(self._window) >= _WINDOW:
            self.windows += 1
            self.in_windows += len(set(self._window[:_WINDOW]))
            del self._window[:_WINDOW]
        if self.words.total >= self._next:
            self.growth.append((self.words.total, self.different))
            self._next = int(self.words.total * 1.3)

    @property
    def exact(self) -> bool:
        """Whether no word had to be forgotten."""
        return not self.words.missed

    @property
    def different(self) -> int:
        """Different words."""
        return len(self.words.counts) if self.exact else self._different.number

    @property
    def type_token_ratio(self) -> float:
        """Different words by all words. It falls as texts grow: compare it at equal sizes only."""
        return self.different / self.words.total if self.words.total else 0.0

    @property
    def standardized_ratio(self) -> float | None:
        """The same within windows of 1,000 words, which can be compared (Scott's standardized ratio)."""
        return self.in_windows / (_WINDOW * self.windows) if self.windows else None

    @property
    def once(self) -> int | None:
        """Words that occur once; None if words had to be forgotten."""
        return sum(count == 1 for count in self.words.counts.values()) if self.exact else None


@dataclass(slots=True)
class Group:
    """The values of one field."""

    values: Tally = field(default_factory=lambda: Tally(_MOST_VALUES))
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    """Labels by value."""
    absent: int = 0
    """Rows without the field."""


@dataclass(slots=True)
class PartStatistics:
    """What is in one part."""

    rows: int = 0
    augmented: Counter[str] = field(default_factory=Counter)
    """Rows that an augmentation made, by its name."""
    sources: Tally = field(default_factory=lambda: Tally(_MOST_VALUES))
    characters: Lengths = field(default_factory=Lengths)
    words: Lengths = field(default_factory=Lengths)
    asked: Lengths = field(default_factory=Lengths)
    """Words of what the model is asked; nothing of plain texts."""
    answered: Lengths = field(default_factory=Lengths)
    """Words of the answers of conversations."""
    turns: Lengths = field(default_factory=Lengths)
    """Messages of conversations."""
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    labels: Tally = field(default_factory=lambda: Tally(_MOST_LABELS))
    """Labels of texts, or tags of tokens but for `O`."""
    groups: dict[str, Group] = field(default_factory=dict)
    sampled: int = 0
    """Rows that the rest was looked at on."""
    languages: Counter[str] = field(default_factory=Counter)
    personal: Counter[str] = field(default_factory=Counter)
    """Rows with personal data, by its kind."""
    subwords: Measured | None = None
    """By the base model's tokenizer."""
    profile: Profile = field(default_factory=Profile)
    """Of the rows that no augmentation made."""


@dataclass(slots=True)
class Statistics:
    """What is in a version."""

    parts: dict[Part, PartStatistics]
    contents: Repeats
    """Rows that say the same, but for those that an augmentation made."""
    inputs: Repeats
    """Rows that ask the same."""
    shifts: dict[Part, list[Shift]]
    """How far validation and test are from train."""


def explore(
    version: DatasetVersion,
    *,
    model: Path | None = None,
    sample: int = SAMPLE,
    check: Callable[[], None] = lambda: None,
    tell: Callable[[str, int, int | None], None] = lambda message, step, total: None,
) -> Statistics:
    """Count what is in a version.

    Args:
        version: it
        model: folder of the base model, for its sub-words
        sample: rows of each part that are looked at more closely
        check: called now and then; raises Stopped where the work is to stop
        tell: told the rows that are done

    Raises:
        DataError: the model has no tokenizer.
    """
    contents, inputs = Repeats(), Repeats()
    parts: dict[Part, PartStatistics] = {}
    done, total = 0, sum(version.count(part) for part in PARTS)
    close = _Close(model)
    for number, part in enumerate(PARTS):
        found = parts[part] = PartStatistics()
        rows = version.count(part)
        stride = max(1, -(-rows // sample))
        close.begin(found)
        for index, record in enumerate(version.rows(part)):
            _count(found, record)
            if not record["augmented"]:
                _repeats(record, number, contents, inputs)
            if index % stride == 0:
                close.look(record)
            done += 1
            if done % _EVERY == 0:
                check()
                tell("exploring", done, total)
        close.end()
    moved = {
        part: shifts(parts["train"].profile, parts[part].profile) for part in PARTS[1:] if parts[part].rows
    }
    return Statistics(parts, contents, inputs, moved)


def answer_of(record: Record) -> str:
    """What the model is to answer: the last message, the preferred answer, the label, the tags."""
    match record["format"]:
        case "chat":
            messages = record.get("messages") or []
            return messages[-1]["content"] if messages else ""
        case "preference":
            return record.get("chosen") or ""
        case "tokens":
            return " ".join(record.get("tags") or ())
    return record.get("label") or ""


def _count(found: PartStatistics, record: Record) -> None:
    text = text_of(record)
    words = words_of(text)
    found.rows += 1
    found.sources.add(record["source"])
    if record["augmented"]:
        found.augmented[record["augmented"]] += 1
    found.characters.add(len(text))
    found.words.add(len(words))
    found.vocabulary.add(words)
    if messages := record.get("messages"):
        found.turns.add(len(messages))
        answer = len(words_of(answer_of(record)))
        found.answered.add(answer)
        asked = messages[:-1] if record["format"] == "chat" else messages
        found.asked.add(sum(len(words_of(m["content"])) for m in asked if m["role"] != "system"))
    if (label := record.get("label")) is not None:
        found.labels.add(label)
    found.labels.update([tag for tag in record.get("tags") or [] if tag != "O"])
    _group(found, record["slices"] or {}, label)


def _group(found: PartStatistics, slices: dict[str, str], label: str | None) -> None:
    for name in slices:
        if name not in found.groups and len(found.groups) < _MOST_FIELDS:
            found.groups[name] = Group(absent=found.rows - 1)
    for name, group in found.groups.items():
        value = slices.get(name)
        if value is None:
            group.absent += 1
            continue
        value = value[:_LONGEST_VALUE]
        group.values.add(value)
        if label is not None and (value in group.labels or len(group.labels) < _MOST_VALUES):
            counts = group.labels.setdefault(value, Counter())
            if label in counts or len(counts) < _MOST_VALUES:
                counts[label] += 1


def _repeats(record: Record, part: int, contents: Repeats, inputs: Repeats) -> None:
    # What was redacted or cut to the same text is one record; its id says so.
    contents.add(int(record["id"][:16], 16), part, 0)
    asked = input_of(record)
    if asked:
        inputs.add(key(asked), part, key(answer_of(record)))


class _Close:
    """Looks more closely at some rows."""

    def __init__(self, model: Path | None) -> None:
        self._language = Language(Language.Options())
        self._personal: Redactor = redactor()
        self._model = model
        self._found = PartStatistics()
        self._subwords: Subwords | None = None
        self._texts: list[str] = []

    def begin(self, found: PartStatistics) -> None:
        """From now on count for this part."""
        self._found = found
        if self._model is not None:
            self._subwords = Subwords.of_model(self._model)
            found.subwords = self._subwords.measured

    def look(self, record: Record) -> None:
        """Count a row's language, personal data and sub-words."""
        found = self._found
        found.sampled += 1
        text = text_of(record)
        language = _language(self._language(record))
        found.languages[language] += 1
        found.personal.update({kind for _, _, kind in self._personal.find(text)})
        if not record["augmented"]:
            found.profile.add(text, language)
        self._texts.append(text)
        if len(self._texts) >= _BATCH:
            self.end()

    def end(self) -> None:
        """Count what is left of this part."""
        if self._subwords is not None and self._texts:
            self._subwords.add(self._texts)
        self._texts.clear()


def _language(changes: Sequence[str]) -> str:
    return changes[0].removeprefix(PREFIX)
