"""From sources to a version: what comes of dirty data, what is made again, what goes on after a stop."""

import random
from pathlib import Path
from typing import Any

import pytest

from slipway.objects.datasets import DatasetSpec
from slipway.training.data import executors
from slipway.training.data.pipeline import prepare
from slipway.training.data.versions import PARTS, DatasetVersion, damage
from slipway.training.errors import DataError, Stopped
from slipway.training.workspaces import Workspace
from training.data.preparing import Watching, dropped, lines, prepared, records, sentence, spec

LIGHT = [{"name": "whitespace"}, {"name": "deduplicate"}]
"""Steps that load little."""


def chats(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {"prompt": f"Say {sentence(n)}", "completion": sentence(n + 10_000), "topic": f"t{n % 4}"}
        for n in range(start, start + count)
    ]


def parts(version: DatasetVersion) -> dict[str, str]:
    """The part of each record by its id."""
    return {row["id"]: part for part in PARTS for row in version.rows(part)}


def test_nothing_of_dirty_data_is_silently_lost(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    lines(folder / "good.jsonl", chats(100))
    (folder / "empty.jsonl").touch()
    (folder / "crlf.jsonl").write_bytes(
        lines(folder / "x", chats(20, 100)).read_bytes().replace(b"\n", b"\r\n")
    )
    (folder / "x").unlink()
    (folder / "bom.jsonl").write_bytes(
        lines(folder / "y", chats(20, 200)).read_bytes().decode().encode("utf-16")
    )
    (folder / "y").unlink()
    dirty = [
        b'{"prompt": "cut',
        b"\0\0\0",
        b"[" * 50_000,
        b'{"text": "of another format"}',
        '{"prompt": "Grüße aus Köln, sagt sie", "completion": "schön"}'.encode("cp1252"),
        '{"prompt": "mojibake for the win", "completion": "schÃ¶n war es dort oben"}'.encode(),
        b'{"prompt": "how can I reach you?", "completion": "at jo@example.com"}',
    ]
    (folder / "dirty.jsonl").write_bytes(b"\n".join(dirty))
    lines(folder / "again.jsonl", chats(10))

    version = prepared(tmp_path / "work", spec(folder))

    assert dropped(version) == {"bad-json": 2, "too-deep": 1, "missing-field": 1, "duplicate": 10}
    (source,) = version.manifest.sources
    assert (source.read, source.kept, source.empty_files) == (157, 143, ["empty.jsonl"])
    assert source.kept == len(records(version)) == sum(version.count(part) for part in PARTS)
    assert {row["place"] for row in version.dropped() if row["reason"] != "duplicate"} == {
        f"dirty.jsonl:{line}" for line in (1, 2, 3, 4)
    }
    texts = [message["content"] for row in records(version) for message in row["messages"] or ()]
    assert {"schön", "schön war es dort oben", "at <EMAIL_ADDRESS>"} <= set(texts)
    assert version.manifest.changed["encoding guessed"] == 1
    assert version.manifest.changed["personal data: EMAIL_ADDRESS"] == 1
    assert not any("jo@example.com" in str(row) for row in version.dropped())
    assert damage(version) == []


def test_too_much_that_is_broken_is_refused_with_places(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", [*chats(10), {"x": 1}, {"x": 2}])
    with pytest.raises(
        DataError, match=r"2 of 12 records are broken.*a\.jsonl:11: It has no `messages`"
    ) as caught:
        prepared(tmp_path / "work", spec(path))
    assert caught.value.reason == "TooManyBroken"
    assert prepared(tmp_path / "work", spec(path, maxBroken="0.2")).manifest.sources[0].kept == 10


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_data_without_records_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match="No record is left"):
        prepared(tmp_path / "work", spec(path))


def test_the_same_records_in_other_files_make_the_same_version(tmp_path: Path) -> None:
    rows = chats(200) + [{**row, "completion": row["completion"] + " indeed"} for row in chats(20)]
    first = prepared(tmp_path / "one", spec(lines(tmp_path / "a" / "z.jsonl", rows)))
    random.Random(1).shuffle(rows)
    lines(tmp_path / "b" / "1.jsonl", rows[:50])
    lines(tmp_path / "b" / "0.jsonl", rows[50:])
    second = prepared(tmp_path / "two", spec(tmp_path / "b"))
    assert parts(first) == parts(second)
    assert first.reference == second.reference
    other = prepared(tmp_path / "two", spec(tmp_path / "b", split={"seed": 1}))
    assert parts(other) != parts(second)


def test_pieces_and_processes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = lines(tmp_path / "a.jsonl", chats(300))
    wanted = spec(path, preparation=LIGHT)
    whole = prepared(tmp_path / "one", wanted)
    monkeypatch.setattr("slipway.training.data.chunks.TARGET", 5000)
    monkeypatch.setattr("slipway.training.data.chunks._BLOCK", 1000)
    pieces = prepared(tmp_path / "two", wanted)
    spread = prepared(tmp_path / "three", wanted, executor=executors.processes(2))
    assert list(whole.rows("train")) == list(pieces.rows("train")) == list(spread.rows("train"))
    assert whole.digest == pieces.digest == spread.digest


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", chats(50))
    first = prepared(tmp_path / "work", spec(path))

    def never(work: Any, tasks: Any) -> Any:
        raise AssertionError("it was made again")

    again = prepared(tmp_path / "work", spec(path), executor=never)
    assert again == first
    lines(path, chats(51))
    with pytest.raises(AssertionError, match="made again"):
        prepared(tmp_path / "work", spec(path), executor=never)


def test_another_version_than_the_asked_one_is_refused(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", chats(50))
    version = prepared(tmp_path / "work", spec(path))
    assert prepared(tmp_path / "work", spec(path, version=version.reference)) == version
    for place in ("work", "fresh"):
        with pytest.raises(DataError, match="not 0123456789abcdef, which is asked for") as caught:
            prepared(tmp_path / place, spec(path, version="0123456789abcdef"))
        assert caught.value.reason == "OtherVersion"


@pytest.mark.parametrize("checks", [0, 1, 3, 6, 9])
def test_a_stopped_preparation_goes_on_to_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checks: int
) -> None:
    monkeypatch.setattr("slipway.training.data.chunks.TARGET", 5000)
    monkeypatch.setattr("slipway.training.data.chunks._BLOCK", 1000)
    path = lines(tmp_path / "a.jsonl", chats(200))
    expected = prepared(tmp_path / "other", spec(path))
    workspace = Workspace(tmp_path / "work")
    with pytest.raises(Stopped):
        prepare("test", spec(path), Watching(workspace, checks))
    assert not workspace.datasets.exists()
    done = list((workspace.root / "tmp").glob("prepare-*/0*.json"))
    worked: list[int] = []

    def counting(work: Any, tasks: Any) -> Any:
        for task in tasks:
            before = Path(task.folder, f"{task.number:05d}.json").exists()
            worked.append(not before)
            yield work(task)

    version = prepared(tmp_path / "work", spec(path), executor=counting)
    assert version.digest == expected.digest
    assert sum(worked) == len(worked) - len(done)
    assert list((workspace.root / "tmp").iterdir()) == []


def test_two_at_the_same_time_make_the_same(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", chats(100))
    versions = list[DatasetVersion]()

    def with_another_inside(work: Any, tasks: Any) -> Any:
        for task in tasks:
            versions.append(prepared(tmp_path / "work", spec(path)))
            yield work(task)

    versions.append(prepared(tmp_path / "work", spec(path), executor=with_another_inside))
    assert versions[0] == versions[1]
    assert len(list((tmp_path / "work" / "datasets" / "test").iterdir())) == 1
    assert list((tmp_path / "work" / "tmp").iterdir()) == []


def test_a_failed_preparation_leaves_nothing(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", [{"x": 1}])
    with pytest.raises(DataError):
        prepared(tmp_path / "work", spec(path))
    assert [each.name for each in (tmp_path / "work").rglob("*")] == ["tmp"]


def test_two_sources_with_weights_are_mixed(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", chats(100))
    lines(tmp_path / "b.jsonl", chats(100, 500))
    wanted = spec(tmp_path / "a.jsonl", source={"name": "one", "weight": "2"}).model_dump(
        mode="json", by_alias=True
    )
    wanted["sources"].append({"name": "two", "source": (tmp_path / "b.jsonl").as_uri(), "weight": "0.5"})
    version = prepared(tmp_path / "work", DatasetSpec.model_validate(wanted))
    train = [row["source"] for row in version.rows("train")]
    kept = {each.name: each.kept for each in version.manifest.sources}
    held_back = [row["source"] for part in ("validation", "test") for row in version.rows(part)]
    assert kept["one"] == 100
    assert 35 <= kept["two"] <= 65
    assert dropped(version) == {"weight": 100 - kept["two"]}
    assert train.count("one") == 2 * (100 - held_back.count("one"))
    assert train.count("two") == kept["two"] - held_back.count("two")
    assert version.manifest.parts["train"].repeated == train.count("one") / 2


def test_groups_and_classes_are_kept(tmp_path: Path) -> None:
    rows = [
        {"text": sentence(n), "label": "rare" if n % 10 == 0 else "common", "author": f"a{n // 5}"}
        for n in range(400)
    ]
    path = lines(tmp_path / "a.jsonl", rows)
    version = prepared(tmp_path / "one", spec(path, "classification", split={"groupBy": "author"}))
    authors = [{row["slices"]["author"] for row in version.rows(part)} for part in PARTS]
    assert all(authors)
    assert not authors[0] & authors[1] | authors[0] & authors[2] | authors[1] & authors[2]
    version = prepared(tmp_path / "one", spec(path, "classification"))
    assert version.manifest.parts["test"].labels == {"common": 36, "rare": 4}
    assert version.manifest.parts["validation"].labels == {"common": 36, "rare": 4}


def test_evaluation_sets_are_kept_out(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", chats(30))
    exam = lines(tmp_path / "exam.jsonl", [{"question": row["completion"]} for row in chats(5)])
    steps = [{"name": "decontaminate", "options": {"against": [exam.as_uri()], "words": 8}}]
    version = prepared(tmp_path / "work", spec(path, preparation=steps))
    assert dropped(version) == {"contaminated": 5}


@pytest.mark.parametrize(
    ("form", "row"),
    [
        ("preference", {"prompt": "Why {}?", "chosen": "{}", "rejected": "no"}),
        ("tokens", {"tokens": ["{}", "b"], "tags": ["O", "X"]}),
        ("text", {"text": "{}"}),
    ],
)
def test_every_format_comes_back_as_it_went_in(tmp_path: Path, form: str, row: dict[str, Any]) -> None:
    def filled(value: Any, number: int) -> Any:
        if isinstance(value, list):
            return [filled(each, number) for each in value]
        return value.replace("{}", sentence(number).replace(" ", "_" if form == "tokens" else " "))

    rows = [{name: filled(value, n) for name, value in row.items()} for n in range(40)]
    version = prepared(tmp_path / "work", spec(lines(tmp_path / "a.jsonl", rows), form))
    back = {record["place"]: record for record in records(version)}
    assert len(back) == 40
    name = "chosen" if form == "preference" else next(iter(row))
    assert [back[f"a.jsonl:{n + 1}"][name] for n in range(40)] == [each[name] for each in rows]  # type: ignore[literal-required]


def test_damage_is_found(tmp_path: Path) -> None:
    version = prepared(tmp_path / "work", spec(lines(tmp_path / "a.jsonl", chats(50))))
    (path,) = version.files("test")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert damage(version) == ["test-00000.parquet holds other bytes than were written."]
    path.write_bytes(b"")
    version.files("train")[0].unlink()
    (version.folder / "more-00000.parquet").touch()
    assert damage(version) == [
        "train-00000.parquet is missing.",
        f"test-00000.parquet has 0 bytes instead of {len(content)}.",
        "more-00000.parquet does not belong to it.",
    ]


@pytest.mark.parametrize("reference", ["other", "test/ffff", "../test", "test/..", ""])
def test_versions_that_are_not_there_are_named(tmp_path: Path, reference: str) -> None:
    version = prepared(tmp_path / "work", spec(lines(tmp_path / "a.jsonl", chats(50))))
    workspace = Workspace(tmp_path / "work")
    assert DatasetVersion.open(workspace, "test") == version
    assert DatasetVersion.open(workspace, version.reference[:10]) == version
    with pytest.raises(DataError) as caught:
        DatasetVersion.open(workspace, reference)
    assert caught.value.reason == "DatasetMissing"
