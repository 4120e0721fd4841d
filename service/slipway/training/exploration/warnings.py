"""What in a dataset will make a model worse, unfair, or look better than it is: sentences for people."""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from slipway.training.drift import chi2_quantile
from slipway.training.exploration.statistics import Group, Statistics

FEW = 30
"""Rows of a group below which nothing can be said of it."""
_FEW_LABELS = 10
_SMALL = 0.01
_IMBALANCE = 20
_ASSOCIATED = 0.3
"""Cramér's V from which a label is told by the group alone."""
_MOST_VALUES = 50
_MOST_SAID = 5
_ABSENT = 0.05


def warnings(statistics: Statistics) -> list[str]:
    """All that is worth a warning, the gravest first."""
    return [*_leaks(statistics), *_labels(statistics), *_coverage(statistics), *_shifted(statistics)]


def is_group(group: Group) -> bool:
    """Whether a field tells groups apart, and not rows: few values, each of several rows."""
    values, rows = len(group.values.counts), group.values.total
    return 1 <= values <= _MOST_VALUES and not group.values.missed and (values <= 2 or values <= rows / 2)


def cramers_v(counts: dict[str, Counter[str]]) -> tuple[float, bool]:
    """How far labels follow from groups, and whether that is more than chance (chi2 at 99.9 %).

    Cramér's V, from 0 to 1, with Bergsma's correction for small samples (Journal of the Korean Statistical
    Society 42, 2013).
    """
    total = sum(each.total() for each in counts.values())
    labels: Counter[str] = Counter()
    for each in counts.values():
        labels.update(each)
    rows, columns = len(counts), len(labels)
    if rows < 2 or columns < 2:
        return 0.0, False
    chi2 = sum(
        (each[label] - each.total() * labels[label] / total) ** 2 / (each.total() * labels[label] / total)
        for each in counts.values()
        for label in labels
    )
    degrees = (rows - 1) * (columns - 1)
    squared = max(0.0, chi2 / total - degrees / (total - 1))
    fewer = min(rows - (rows - 1) ** 2 / (total - 1), columns - (columns - 1) ** 2 / (total - 1)) - 1
    return (min(1.0, math.sqrt(squared / fewer)) if fewer > 0 else 0.0), chi2 > chi2_quantile(degrees)


def _leaks(statistics: Statistics) -> Iterator[str]:
    contents, inputs = statistics.contents, statistics.inputs
    if contents.across:
        yield (
            f"{contents.across:,} records are in more than one part: the evaluation would measure what was"
            " learned by heart. Give the split a field to group by, or deduplicate."
        )
    elif inputs.across:
        yield (
            f"{inputs.across:,} inputs are in more than one part, with other answers: the evaluation asks"
            " what was seen in training."
        )
    if inputs.contradicted:
        yield (
            f"{inputs.contradicted:,} inputs occur with different labels or answers: a model can learn one of"
            " them at most. Look whether they are mistakes."
        )


def _labels(statistics: Statistics) -> Iterator[str]:
    train = statistics.parts["train"].labels
    if not train.counts:
        return
    most, often = train.counts.most_common(1)[0]
    least, seldom = min(train.counts.items(), key=lambda each: (each[1], each[0]))
    if often > _IMBALANCE * seldom:
        yield (
            f"Labels are unbalanced: `{most}` occurs {often:,} times and `{least}` {seldom:,} times in train."
            " Weigh classes (`classWeights`), or augment the seldom ones; accuracy alone says little."
        )
    few = sorted(label for label, count in train.counts.items() if count < _FEW_LABELS)
    if few:
        yield f"Fewer than {_FEW_LABELS} examples in train of {_listed(few)}: too few to be learned."
    for part in ("validation", "test"):
        other = statistics.parts[part].labels
        if other.counts:
            unseen = sorted(other.counts.keys() - train.counts.keys())
            missing = sorted(train.counts.keys() - other.counts.keys())
            if unseen and not train.missed:
                yield f"In {part}, and never in train: {_listed(unseen)}."
            if missing and not other.missed:
                yield f"In train, and never in {part}, so that nothing is known of them: {_listed(missing)}."


def _coverage(statistics: Statistics) -> Iterator[str]:
    train = statistics.parts["train"]
    for name, group in train.groups.items():
        if not is_group(group):
            continue
        rows = group.values.total
        small = [
            (value, count)
            for value, count in sorted(group.values.counts.items(), key=lambda each: (each[1], each[0]))
            if count < FEW or count < _SMALL * rows
        ]
        if small:
            shown = [f"{value} ({count:,} rows)" for value, count in small]
            yield (
                f"`{name}`: hardly any training rows of {_listed(shown, mark=False)}. What a model does for"
                " them is left to chance; collect more, or say in its card that they are not covered."
            )
        if group.absent > _ABSENT * train.rows:
            yield f"`{name}` is missing from {group.absent / train.rows:.0%} of the training rows."
        yield from _uneven(name, group)
        yield from _unmeasured(statistics, name, group)


def _uneven(name: str, group: Group) -> Iterator[str]:
    value, certain = cramers_v(group.labels)
    if not certain or value < _ASSOCIATED:
        return
    totals: Counter[str] = Counter()
    for counts in group.labels.values():
        totals.update(counts)
    whole = totals.total()
    gaps: list[tuple[float, Any]] = []
    for each, counts in group.labels.items():
        if counts.total() < FEW or whole == counts.total():
            continue
        for label, count in counts.items():
            here, elsewhere = count / counts.total(), (totals[label] - count) / (whole - counts.total())
            gaps.append((here - elsewhere, (label, here, each, elsewhere)))
    shown = ""
    if gaps:
        _, (label, here, each, elsewhere) = max(gaps, key=lambda gap: gap[0])
        shown = f": `{label}` is {here:.0%} of `{each}` and {elsewhere:.0%} of the rest"
    yield (
        f"`{name}` tells much of the label (Cramér's V {value:.2f}){shown}. A model may learn the group in"
        " place of the matter."
    )


def _unmeasured(statistics: Statistics, name: str, group: Group) -> Iterator[str]:
    test = statistics.parts["test"]
    if not test.rows:
        return
    there = test.groups.get(name, Group()).values
    unmeasured = sorted(group.values.counts.keys() - there.counts.keys())
    unlearned = sorted(there.counts.keys() - group.values.counts.keys())
    if unmeasured:
        yield f"`{name}`: in train and not in test: {_listed(unmeasured)}. Nothing will be measured for them."
    if unlearned:
        yield f"`{name}`: in test and not in train: {_listed(unlearned)}."


def _shifted(statistics: Statistics) -> Iterator[str]:
    for part, shifts in statistics.shifts.items():
        moved = [f"{shift.of} (PSI {shift.psi:.2f})" for shift in shifts if shift.drifted]
        if moved:
            yield (
                f"{part} differs from train by its {' and its '.join(moved)}: what is measured on it is not"
                " what was trained for. Look at the split's groups and at the sources' order."
            )
    train = statistics.parts["train"]
    if train.sampled and train.languages:
        language, count = train.languages.most_common(1)[0]
        few = sorted(
            each
            for each, number in train.languages.items()
            if each not in (language, "unknown") and number < max(2, _SMALL * train.sampled)
        )
        if count < train.sampled and few:
            yield f"Languages with hardly any rows in train: {_listed(few)}; they may be mistakes."


def evenness(counts: Counter[str]) -> float:
    """Entropy of labels by its greatest value (Pielou's evenness): 1 for equal shares, 0 for one label."""
    total = counts.total()
    if len(counts) < 2 or not total:
        return 1.0 if counts else 0.0
    entropy = -sum(count / total * math.log(count / total) for count in counts.values() if count)
    return entropy / math.log(len(counts))


def _listed(values: list[str], *, mark: bool = True) -> str:
    shown = [f"`{value}`" if mark else value for value in values[:_MOST_SAID]]
    more = len(values) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")
