"""Small models and data, made once."""

from pathlib import Path

import pytest

from slipway.training.data.versions import DatasetVersion
from training.tuning import tiny
from training.tuning.attempts import Attempt
from training.tuning.datasets import chat, version


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.bert(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture(scope="session")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.t5(tmp_path_factory.mktemp("models") / "t5")


@pytest.fixture(scope="session")
def sums(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    """Conversations of different lengths from two sources."""
    rows = [
        chat(f"{'please ' * (at % 4)}{at} and {at}", str(2 * at), source="even" if at % 2 else "odd")
        for at in range(22)
    ]
    return version(tmp_path_factory.mktemp("sums"), {"train": rows[:18], "validation": rows[18:]})


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    return Attempt(tmp_path / "workspace")


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    """Texts that one word decides; one label is rarer."""
    rows = [
        {
            "format": "classification",
            "text": f"{'!!!!' if at % 3 == 0 else '????'} {at}",
            "label": "good" if at % 3 == 0 else "bad",
        }
        for at in range(30)
    ]
    return version(tmp_path_factory.mktemp("labelled"), {"train": rows[:24], "validation": rows[24:]})
