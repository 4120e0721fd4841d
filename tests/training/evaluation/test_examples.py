"""Examples from datasets and from files of the user."""

import json
from pathlib import Path
from typing import Any

import pytest

from slipway.training.errors import EvaluationError
from slipway.training.evaluation.examples import Example, examples, read
from slipway.training.records import Record


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            {"prompt": "2+2?", "completion": "4"},
            {"task": "generate", "messages": (("user", "2+2?"),), "reference": "4"},
        ),
        (
            {
                "messages": [
                    {"role": "system", "content": "s"},
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": "a"},
                ]
            },
            {"task": "generate", "messages": (("system", "s"), ("user", "q")), "reference": "a"},
        ),
        (
            {"prompt": "q", "chosen": "good", "rejected": "bad"},
            {"task": "generate", "messages": (("user", "q"),), "reference": "good", "rejected": "bad"},
        ),
        (
            {"text": "it crashes", "label": "bug"},
            {"task": "classify", "text": "it crashes", "reference": "bug"},
        ),
        (
            {"tokens": ["Ann", "sat"], "tags": ["B-PER", "O"]},
            {"task": "tag", "tokens": ("Ann", "sat"), "tags": ("B-PER", "O")},
        ),
        ({"text": "all of it"}, {"task": "text", "text": "all of it", "reference": "all of it"}),
    ],
)
def test_lines_of_each_shape(tmp_path: Path, row: dict[str, Any], expected: dict[str, Any]) -> None:
    found = read(written(tmp_path / "rows.jsonl", row | {"id": "7", "language": "en", "score": 3}))
    slices = {"language": "en", "score": "3"}
    assert found == [Example(id="7", slices=slices, place="rows.jsonl:1", **expected)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"rows.jsonl:2 is not JSON"),
        ("[1]", r"rows.jsonl:2 is no JSON object"),
        ('{"question": "q"}', r"rows.jsonl:2 is no example: a line has `messages`"),
        ('{"messages": [{"role": "user", "content": "q"}]}', "rows.jsonl:2 is no example"),
        ('{"tokens": ["a", "b"], "tags": ["O"]}', "rows.jsonl:2 is no example"),
        ('{"prompt": "q"}', "rows.jsonl:2 is no example"),
    ],
)
def test_a_line_that_is_no_example_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "fine"}\n' + line + "\n")
    with pytest.raises(EvaluationError, match=message):
        read(path)


def test_files_that_hold_nothing_or_are_not_there_are_told(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(EvaluationError, match="holds no example"):
        read(tmp_path / "empty.jsonl")
    with pytest.raises(EvaluationError, match="is not there"):
        read(tmp_path / "none.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b'{"text": "caf\xe9"}')
    with pytest.raises(EvaluationError, match=r"is not UTF-8 \(byte 13\)"):
        read(tmp_path / "latin.jsonl")


def test_two_equal_lines_are_two_examples(tmp_path: Path) -> None:
    one, other = read(written(tmp_path / "rows.jsonl", {"text": "a"}, {"text": "a"}))
    assert one.id != other.id


def test_a_datasets_record_with_empty_columns() -> None:
    record: Record = {
        "id": "1", "format": "classification", "source": "s", "place": "f:1", "augmented": "",
        "slices": {"group": "x"}, "messages": None, "text": "t", "label": "l", "tokens": None, "tags": None,
    }  # fmt: skip
    assert list(examples([record])) == [
        Example("1", "classify", text="t", reference="l", slices={"group": "x"}, place="f:1")
    ]
