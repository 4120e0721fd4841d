"""The sections of the exploration report on what the rows are like, each as HTML."""

from collections import Counter
from collections.abc import Mapping, Sequence

from slipway.training import reports
from slipway.training.data.steps.languages import Language
from slipway.training.data.versions import Part
from slipway.training.exploration import pictures
from slipway.training.exploration.counting import Lengths
from slipway.training.exploration.statistics import Group, PartStatistics, Vocabulary
from slipway.training.exploration.warnings import cramers_v, evenness, is_group
from slipway.training.reports import Cell, Share

Parts = Mapping[Part, PartStatistics]
"""The parts that hold rows."""
_TOP = 25
_MOST_GROUPS = 12


def lengths(parts: Parts) -> str:
    """Lengths of the rows in words, and a table of all kinds of lengths."""
    words = {name: found.words for name, found in parts.items()}
    rows: list[Sequence[Cell]] = []
    for name, found in parts.items():
        for what, each in (
            ("characters", found.characters),
            ("words", found.words),
            ("words asked", found.asked),
            ("words answered", found.answered),
            ("messages", found.turns),
            ("sub-words", found.subwords.lengths if found.subwords else Lengths()),
        ):
            if each.number:
                quantiles = [each.quantile(share) for share in (0.05, 0.5, 0.95, 0.99)]
                rows.append((name, what, each.shortest, *quantiles, each.longest, each.mean))
    head = ["part", "length in", "shortest", "5 %", "median", "95 %", "99 %", "longest", "mean"]
    return pictures.lengths(words, "words in a row") + reports.table(head, rows)


def vocabulary(parts: Parts) -> str:
    """Words: how many, how often, how many of them are known from train."""
    head = [
        "part", "words", "different", "type-token ratio", "in 1,000 words", "once", "known from train",
    ]  # fmt: skip
    known = parts["train"].vocabulary if "train" in parts else Vocabulary()
    rows = [
        (
            name,
            found.vocabulary.words.total,
            found.vocabulary.different,
            found.vocabulary.type_token_ratio,
            found.vocabulary.standardized_ratio,
            found.vocabulary.once,
            _covered(found.vocabulary, known),
        )
        for name, found in parts.items()
    ]
    text: str = reports.paragraph(
        "Words without case. The type-token ratio (different words by all) falls as texts grow; the one"
        " within windows of 1,000 words can be compared. Known from train: the words that train has too."
    )
    if not all(found.vocabulary.exact for found in parts.values()):
        text += reports.paragraph(
            "There are so many words that seldom ones were estimated, within about 1 %."
        )
    top = known.words.counts.most_common(_TOP)
    words = reports.table(
        ["word", "occurrences", "share"],
        [(word, count, Share(count / known.words.total)) for word, count in top],
        "The most frequent words of train",
    )
    pictured = pictures.zipf(known) if known.words.total else ""
    return (
        text
        + reports.table(head, rows)
        + pictured
        + reports.details(f"The {len(top)} most frequent words", words)
    )


def _covered(vocabulary: Vocabulary, known: Vocabulary) -> Share | None:
    inside = sum(count for word, count in vocabulary.words.counts.items() if word in known.words.counts)
    return Share(inside / vocabulary.words.total) if vocabulary.words.total else None


def subwords(parts: Parts) -> str:
    """What the base model's tokenizer makes of the rows."""
    measured = {name: found.subwords for name, found in parts.items() if found.subwords}
    head = [
        "part",
        "rows",
        "tokens a word",
        "words cut up",
        "characters a token",
        "unknown tokens",
        "longest row",
    ]
    rows = [
        (
            name,
            each.lengths.number,
            each.fertility,
            Share(each.continued),
            each.characters_per_token,
            Share(each.unknown_share),
            each.lengths.longest,
        )
        for name, each in measured.items()
    ]
    size = max(each.vocabulary for each in measured.values())
    text: str = reports.paragraph(
        f"By the base model's tokenizer ({size:,} tokens), without its template. Many tokens a word mean a"
        " vocabulary that does not fit the texts: training and answers take longer, and are worse."
    )
    lengths = {name: each.lengths for name, each in measured.items()}
    return text + reports.table(head, rows) + pictures.lengths(lengths, "sub-words in a row")


def labels(parts: Parts) -> str:
    """Labels or tags, and how even they are."""
    counts = {name: found.labels.counts for name, found in parts.items() if found.labels.counts}
    names = sorted(
        {name for each in counts.values() for name in each}, key=lambda name: -_count(counts, name)
    )
    rows = [
        (
            name,
            *(value for each in counts.values() for value in (each[name], Share(each[name] / each.total()))),
        )
        for name in names[: 4 * _TOP]
    ]
    head = ["label", *(text for part in counts for text in (part, "share"))]
    even = ", ".join(f"{part} {evenness(each):.2f}" for part, each in counts.items())
    text: str = reports.paragraph(
        f"{len(names):,} labels. Evenness (entropy by its greatest value, 1 for equal shares): {even}."
    )
    return text + pictures.bars(counts, "labels") + reports.table(head, rows)


def _count(counts: Mapping[Part, Counter[str]], name: str) -> int:
    return sum(each[name] for each in counts.values())


def languages(parts: Parts) -> str:
    """The rows' languages."""
    counts = {name: found.languages for name, found in parts.items() if found.languages}
    sampled = sum(found.sampled for found in parts.values())
    text: str = reports.paragraph(
        f"Identified in {sampled:,} rows by their first {Language.Options().sample} characters."
    )
    return text + pictures.bars(counts, "languages")


def groups(parts: Parts) -> str:
    """How the fields of the source are covered."""
    text: str = reports.paragraph(
        "How each field of the source is covered. Groups with few rows are hardly learned; where labels"
        " follow from the group, a model may learn the group in place of the matter (selection bias)."
    )
    train = parts.get("train", PartStatistics())
    skipped = []
    shown = 0
    for name in sorted({field for found in parts.values() for field in found.groups}):
        group = train.groups.get(name, Group())
        if not is_group(group) or shown == _MOST_GROUPS:
            skipped.append(name)
            continue
        shown += 1
        text += _group(name, group, parts)
    if skipped:
        listed = ", ".join(skipped)
        text += reports.paragraph(f"Not shown, for too many values or none in train: {listed}.")
    return text


def _group(name: str, group: Group, parts: Parts) -> str:
    there = {part: found.groups[name].values.counts for part, found in parts.items() if name in found.groups}
    head = ["value", *(text for part in there for text in (part, "share"))]
    values = [value for value, _ in group.values.counts.most_common()]
    values += sorted({value for counts in there.values() for value in counts} - set(values))
    rows = [
        (
            value,
            *(text for each in there.values() for text in (each[value], Share(each[value] / each.total()))),
        )
        for value in values[: 2 * _TOP]
    ]
    text: str = f"<h3>{reports.escape(name)}</h3>\n" + pictures.bars(there, name) + reports.table(head, rows)
    labelled = {value: labels for value, labels in group.labels.items() if labels}
    if len(labelled) > 1:
        value, certain = cramers_v(labelled)
        sure = "more than chance" if certain else "no more than chance allows"
        text += reports.paragraph(f"Labels follow from it by Cramér's V {value:.2f} (0 to 1), {sure}.")
        text += pictures.labels_by_group(name, labelled)
    return text
