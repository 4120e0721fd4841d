"""Groups labelled tokens to entities. Pure.

The rules are those of Transformers' TokenClassificationPipeline with `aggregation_strategy="simple"`: each
token has its likeliest label, neighbours of the same label are one entity, `B-` begins a new one, and `O` is
no entity.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NO_ENTITY = "O"


@dataclass(frozen=True)
class Token:
    """One token of a text that is no special token."""

    label: str
    score: float
    """Probability of the label."""
    start: int
    """Where it begins in the text, in characters."""
    end: int


@dataclass(frozen=True)
class Entity:
    """A part of a text with a label."""

    label: str
    score: float
    """Mean over its tokens."""
    start: int
    end: int


def group(tokens: Sequence[Token]) -> list[Entity]:
    """The entities of one text, in the order of the text."""
    return [entity for entity in _runs(tokens) if entity.label != NO_ENTITY]


def _runs(tokens: Sequence[Token]) -> Iterator[Entity]:
    run: list[Token] = []
    for token in tokens:
        begins, tag = _parts(token.label)
        if run and (begins or tag != _parts(run[-1].label)[1]):
            yield _joined(run)
            run = []
        run.append(token)
    if run:
        yield _joined(run)


def _parts(label: str) -> tuple[bool, str]:
    """Whether a label begins an entity, and the entity's kind."""
    if label.startswith("B-"):
        return True, label[2:]
    return False, label.removeprefix("I-")


def _joined(run: Sequence[Token]) -> Entity:
    score = sum(token.score for token in run) / len(run)
    return Entity(_parts(run[0].label)[1], score, run[0].start, run[-1].end)
