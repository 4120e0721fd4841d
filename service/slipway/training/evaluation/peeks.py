"""Counts how often a test part was looked at: what is looked at again and again is no longer held out."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FILE = "test-reads.jsonl"


def look(folder: Path, who: str, evaluation: str) -> int:
    """Write down that an evaluation reads the test part, and say how many have.

    Args:
        folder: of the dataset's version
        who: for people: which run
        evaluation: identity of model and questions; one that goes on after a stop looks no second time
    """
    before = {each["evaluation"] for each in looks(folder)}
    if evaluation not in before:
        line = json.dumps({"at": datetime.now(UTC).isoformat(), "by": who, "evaluation": evaluation}) + "\n"
        with (folder / FILE).open("ab", buffering=0) as file:
            file.write(line.encode())
    return len(before | {evaluation})


def looks(folder: Path) -> Iterator[dict[str, Any]]:
    """Who has looked, and when, in order."""
    path = folder / FILE
    if path.exists():
        with path.open() as file:
            for line in file:
                if line.endswith("\n"):
                    yield json.loads(line)
