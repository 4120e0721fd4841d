"""What is in a version, counted over all its rows and pictured on a page."""

import random
import re
from pathlib import Path

import pytest

from slipway.training.data.versions import DatasetVersion, damage
from slipway.training.errors import Stopped
from slipway.training.exploration import report
from slipway.training.exploration.statistics import Statistics, explore
from training.exploration.conftest import prepared
from training.exploration.test_tokenizing import saved
from training.test_reports import EVIL, Seen

WORDS = [
    "order",
    "parcel",
    "invoice",
    "courier",
    "price",
    "camera",
    "phone",
    "screen",
    "battery",
    "case",
    "box",
]


def review(draw: random.Random, label: str) -> str:
    tone = {"good": "great lovely quick", "bad": "broken slow rude"}[label].split()
    chosen = [draw.choice(WORDS) for _ in range(draw.randint(6, 30))]
    return f"The {draw.choice(tone)} {' '.join(chosen)} came for {draw.randint(1, 9999)} euros"


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    draw = random.Random(5)
    rows: list[dict[str, str] | str] = []
    for number in range(400):
        label = "good" if number % 4 else "bad"
        city = "Bonn" if label == "bad" and number % 8 else "Ulm"
        rows.append({"text": review(draw, label), "label": label, "city": city, "author": f"a{number}"})
    rows += [dict(row) for row in rows[:20] if isinstance(row, dict)]
    rows += ['{"text": "broken', {"text": "no label here"}]
    rows.append({"text": f"{EVIL} from the quick store", "label": "good", "city": EVIL, "author": "x"})
    rows.append({"text": "Write to jane@company.com about the great box", "label": "good", "city": "Ulm"})
    return prepared(
        tmp_path_factory.mktemp("data"),
        rows,
        augmentation=[{"name": "swap", "share": "0.5"}],
        maxBroken="0.1",
    )


@pytest.fixture(scope="module")
def found(version: DatasetVersion, tmp_path_factory: pytest.TempPathFactory) -> Statistics:
    return explore(version, model=saved(tmp_path_factory.mktemp("model") / "m"))


def test_all_rows_are_counted(version: DatasetVersion, found: Statistics) -> None:
    for part, statistics in found.parts.items():
        assert statistics.rows == version.count(part) == statistics.words.number
        assert statistics.labels.counts == version.manifest.parts[part].labels
    train = found.parts["train"]
    texts = [row["text"] or "" for row in version.rows("train")]
    assert train.characters.total == sum(map(len, texts))
    assert train.characters.longest == max(map(len, texts))
    assert train.augmented == {"swap": version.manifest.parts["train"].augmented}
    assert train.vocabulary.different == len(
        {word for text in texts for word in re.findall(r"\w+", text.lower())}
    )
    assert train.languages["en"] > 0.8 * train.rows
    assert train.groups["city"].values.counts["Bonn"] == sum(
        row["slices"].get("city") == "Bonn" for row in version.rows("train")
    )


def test_a_clean_split_has_no_repeats(found: Statistics) -> None:
    assert (found.contents.across, found.inputs.across, found.inputs.contradicted) == (0, 0, 0)
    assert not [shift for shifts in found.shifts.values() for shift in shifts if shift.drifted]


def test_a_sample_bounds_what_is_looked_at_closely(version: DatasetVersion) -> None:
    train = explore(version, sample=50).parts["train"]
    assert train.rows == version.count("train")
    assert 25 <= train.sampled <= 50
    assert train.profile.texts <= 50
    assert train.subwords is None


def test_exploring_can_be_stopped(version: DatasetVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    from slipway.training.exploration import statistics

    def stop() -> None:
        raise Stopped

    monkeypatch.setattr(statistics, "_EVERY", 100)
    with pytest.raises(Stopped):
        explore(version, check=stop)


def test_the_report_shows_all_of_it_on_one_page(version: DatasetVersion, found: Statistics) -> None:
    path = report.write(version, found)
    assert path == version.report
    text = path.read_text()
    seen = Seen(text)
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings == [
        "Overview", "Warnings", "Lengths", "Vocabulary", "Sub-words", "Labels", "Languages", "Groups",
        "Parts compared", "Repeats", "What was dropped", "Personal data", "Augmentation",
        "Where it comes from",
    ]  # fmt: skip
    for shown in (
        "duplicate",
        "rows.jsonl:421",
        "EMAIL_ADDRESS",
        version.digest,
        "Bonn",
        "swap",
        "tokens a word",
    ):
        assert shown in seen.text
    assert seen.tags.count("svg") >= 7
    assert "tells much of the label" in seen.text


def test_what_the_data_holds_cannot_act_on_the_page(version: DatasetVersion, found: Statistics) -> None:
    seen = Seen(report.write(version, found).read_text())
    assert "script" not in seen.tags
    assert "img" not in seen.tags
    assert EVIL[:20] in seen.text


def test_the_report_belongs_to_the_version_and_is_the_same_again(
    version: DatasetVersion, found: Statistics
) -> None:
    first = report.write(version, found).read_bytes()
    assert report.write(version, found).read_bytes() == first
    assert damage(version) == []


def test_other_formats_are_reported_too(tmp_path: Path) -> None:
    draw = random.Random(1)
    asked = [review(draw, "good") for _ in range(60)]
    chats = [
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": f"Yes, {number}."}]}
        for number, text in enumerate(asked)
    ]
    tagged = [{"tokens": text.split(), "tags": ["B-X", *["O"] * (len(text.split()) - 1)]} for text in asked]
    plain = [{"text": text} for text in asked]
    for form, rows in (("chat", chats), ("tokens", tagged), ("text", plain)):
        version = prepared(tmp_path / form, rows, format=form)
        found = explore(version)
        train = found.parts["train"]
        assert train.turns.number == (train.rows if form == "chat" else 0)
        assert train.labels.counts.keys() == ({"B-X"} if form == "tokens" else set())
        assert "Overview" in report.write(version, found).read_text()
