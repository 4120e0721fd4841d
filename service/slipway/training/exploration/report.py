"""The exploration report: one HTML page beside a version's files."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slipway.training import reports
from slipway.training.data.versions import DatasetVersion, Part
from slipway.training.data.watching import Watch
from slipway.training.drift import Shift, shift_of
from slipway.training.exploration import distributions
from slipway.training.exploration.statistics import Statistics, explore
from slipway.training.exploration.warnings import warnings
from slipway.training.reports import HTML, Cell, Share
from slipway.training.runs import write_atomically

_EXCERPT = 200


def ensure(version: DatasetVersion, watch: Watch) -> list[str]:
    """Write the report of a version that has none; what speaks against training on it.

    Raises:
        Stopped: asked to.
    """
    if version.report.exists():
        return []
    statistics = explore(version, check=watch.check, tell=watch.tell)
    write(version, statistics)
    return warnings(statistics)


def write(version: DatasetVersion, statistics: Statistics) -> Path:
    """Write the report into the version's folder; where it is."""
    title = f"Dataset {version.reference}"
    write_atomically(version.report, reports.page(title, _sections(version, statistics)))
    return version.report


def _sections(version: DatasetVersion, statistics: Statistics) -> Iterator[tuple[str, str]]:
    parts = {name: found for name, found in statistics.parts.items() if found.rows}
    yield "Overview", _overview(version, statistics)
    yield "Warnings", _warnings(statistics)
    yield "Lengths", distributions.lengths(parts)
    yield "Vocabulary", distributions.vocabulary(parts)
    if any(found.subwords for found in parts.values()):
        yield "Sub-words", distributions.subwords(parts)
    if any(found.labels.counts for found in parts.values()):
        yield "Labels", distributions.labels(parts)
    yield "Languages", distributions.languages(parts)
    if any(found.groups for found in parts.values()):
        yield "Groups", distributions.groups(parts)
    yield "Parts compared", _drift(statistics)
    yield "Repeats", _repeats(version, statistics)
    yield "What was dropped", _dropped(version)
    yield "Personal data", _personal(version, parts)
    if version.manifest.augmentation:
        yield "Augmentation", _augmentation(version, parts)
    yield "Where it comes from", _lineage(version)


def _overview(version: DatasetVersion, statistics: Statistics) -> str:
    manifest = version.manifest
    rows: list[tuple[str, Cell]] = [
        ("Format", manifest.format),
        ("Prepared", manifest.created_at.strftime("%Y-%m-%d %H:%M UTC")),
        ("Digest", HTML(f"<code>{reports.escape(manifest.digest)}</code>")),
    ]
    head = ["part", "rows", "of them augmented", "characters", "words", "words in a row (median)"]
    table = [
        (
            name,
            found.rows,
            found.augmented.total(),
            found.characters.total,
            found.words.total,
            found.words.quantile(0.5),
        )
        for name, found in statistics.parts.items()
    ]
    return reports.facts(rows) + reports.table(head, table)


def _warnings(statistics: Statistics) -> str:
    found = warnings(statistics)
    if not found:
        return reports.paragraph("Nothing was found that speaks against training on this.")
    return "".join(reports.notice(_marked(each)) for each in found)


def _drift(statistics: Statistics) -> str:
    rows = [
        (part, shift.of, round(shift.psi, 4), shift.bound, round(shift.js, 4), shift.drifted)
        for part, found in statistics.shifts.items()
        for shift in [*found, *_label_shift(statistics, part)]
    ]
    text: str = reports.paragraph(
        "How far each part is from train. PSI: population stability index, of which more than its bound is"
        " more than chance and custom allow; JS: Jensen-Shannon divergence, from 0 to 1. Rows that an"
        " augmentation made are left out."
    )
    if not rows:
        return reports.paragraph("There is no part to compare train with.")
    return text + reports.table(["part", "of", "PSI", "bound", "JS", "differs"], rows)


def _label_shift(statistics: Statistics, part: Part) -> list[Shift]:
    train, other = statistics.parts["train"].labels.counts, statistics.parts[part].labels.counts
    shift = shift_of("labels", train, other)
    return [] if shift is None else [shift]


def _repeats(version: DatasetVersion, statistics: Statistics) -> str:
    dropped = {each.reason: each.count for each in version.manifest.dropped}
    contents, inputs = statistics.contents, statistics.inputs
    rows: list[tuple[str, Cell]] = [
        ("Dropped as the same as another record", dropped.get("duplicate", 0)),
        ("Dropped as nearly the same", dropped.get("near-duplicate", 0)),
        ("Rows that say the same as another", contents.again),
        ("Records in more than one part", contents.across),
        ("Rows that ask the same as another", inputs.again),
        ("Inputs in more than one part", inputs.across),
        ("Inputs with different labels or answers", inputs.contradicted),
    ]
    text: str = reports.facts(rows)
    least = min(contents.share, inputs.share)
    if least < 1:
        text += reports.paragraph(f"Estimated from {least:.2%} of all different records.")
    return text


def _dropped(version: DatasetVersion) -> str:
    manifest = version.manifest
    read = sum(source.read for source in manifest.sources)
    if not manifest.dropped:
        return reports.paragraph(f"Nothing, of {read:,} records that were read.")
    rows = [
        (each.reason, each.count, Share(each.count / read) if read else None) for each in manifest.dropped
    ]
    text: str = reports.table(["reason", "records", "of those read"], rows)
    for each in manifest.dropped:
        examples = [
            (example.source, example.place, example.detail, example.excerpt[:_EXCERPT])
            for example in each.examples
        ]
        if examples:
            table = reports.table(["source", "place", "why", "begins"], examples)
            text += reports.details(f"{each.reason}: {len(examples)} of {each.count:,}", table)
    return text


def _personal(version: DatasetVersion, parts: distributions.Parts) -> str:
    found = {
        what.removeprefix("personal data: "): count
        for what, count in version.manifest.changed.items()
        if what.startswith("personal data: ")
    }
    left = Counter[str]()
    for part in parts.values():
        left.update(part.personal)
    sampled = sum(part.sampled for part in parts.values())
    kinds = sorted(found.keys() | left.keys())
    if not kinds:
        return reports.paragraph(
            f"None was found, neither in preparation nor in {sampled:,} rows of the result."
        )
    rows = [(kind, found.get(kind, 0), left[kind]) for kind in kinds]
    head = ["kind", "records with it before", f"rows with it now, of {sampled:,}"]
    text: str = reports.table(head, rows)
    if left:
        text += reports.notice(
            "There is personal data in the result. Add the step `redact-pii`, or look whether they only look"
            " like it."
        )
    return text


def _augmentation(version: DatasetVersion, parts: distributions.Parts) -> str:
    made = parts["train"].augmented if "train" in parts else Counter[str]()
    rows = [
        (
            step["name"],
            step["share"],
            made[step["name"]],
            _options(step),
        )
        for step in version.manifest.augmentation
    ]
    text: str = reports.table(["step", "asked for, a record", "records made", "options"], rows)
    refused = version.manifest.statistics.get("augmentation_refused") or {}
    if refused:
        table = [(*what.split(": ", 1), count) for what, count in sorted(refused.items())]
        text += reports.table(["step", "left out because it was", "records"], table)
    return text


def _lineage(version: DatasetVersion) -> str:
    manifest = version.manifest
    rows = [
        (each.name, each.resolved, each.licence, each.read, each.kept, each.weight, each.digest)
        for each in manifest.sources
    ]
    head = ["source", "from", "licence", "read", "kept", "weight", "digest"]
    steps = [(step["name"], _options(step)) for step in manifest.preparation]
    changed = [
        (what, count) for what, count in manifest.changed.items() if not what.startswith("personal data: ")
    ]
    text: str = reports.table(head, rows) + reports.table(["step", "options"], steps, "Preparation, in order")
    if changed:
        text += reports.table(["what was changed", "records"], changed)
    return text + reports.details("Code and libraries", reports.facts(sorted(manifest.code.items())))


def _options(step: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in step["options"].items()) or "defaults"


def _marked(text: str) -> HTML:
    """A sentence whose names stand between backticks."""
    return HTML(re.sub("`([^`]*)`", r"<code>\1</code>", reports.escape(text)))
