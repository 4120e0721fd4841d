"""The most frequent label, whatever the text: what a model of labels must be better than."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from slipway.training.evaluation.examples import Example
from slipway.training.evaluation.questions import Kind, Question, Reply


@dataclass(frozen=True, slots=True)
class MostFrequent:
    """Always the same label, or the same tag."""

    label: str
    tag: str
    shares: dict[str, float]
    """Of each label among the rows that were counted."""

    @classmethod
    def of(cls, rows: Iterable[Example]) -> "MostFrequent":
        """What is most frequent in rows."""
        labels: Counter[str] = Counter()
        tags: Counter[str] = Counter()
        for row in rows:
            labels.update([row.reference] if row.task == "classify" else ())
            tags.update(row.tags)
        total = labels.total()
        shares = {label: count / total for label, count in sorted(labels.items())}
        label, tag = (next((name for name, _ in each.most_common(1)), "") for each in (labels, tags))
        return cls(label, tag or "O", shares)

    @property
    def name(self) -> str:
        """For people."""
        return "the most frequent label"

    @property
    def identity(self) -> str:
        """Asked anew each time at no cost, but kept like all others."""
        return f"frequent-{Question('classify', text=f'{self.label} {self.tag} {self.shares}').key}"

    def kinds(self) -> frozenset[Kind]:
        """What it can be asked."""
        return frozenset({"classify", "tag"})

    def close(self) -> None:
        """Nothing is held."""

    def replies(self, questions: Sequence[Question]) -> Iterator[tuple[Question, Reply]]:
        """The same reply to each."""
        for each in questions:
            if each.kind == "tag":
                yield each, Reply(tags=(self.tag,) * len(each.tokens))
            else:
                yield each, Reply(self.label, scores=dict(self.shares))
