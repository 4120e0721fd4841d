"""Tiny models with random weights, made once."""

from pathlib import Path

import pytest

from training.evaluation.tiny import make_classifier, make_decoder, make_encoder_decoder, make_tagger


@pytest.fixture(scope="session")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers that reads 128 tokens."""
    return make_decoder(tmp_path_factory.mktemp("decoder"))


@pytest.fixture(scope="session")
def other_decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with other weights."""
    return make_decoder(tmp_path_factory.mktemp("other"), seed=1)


@pytest.fixture(scope="session")
def encoder_decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 of one layer."""
    return make_encoder_decoder(tmp_path_factory.mktemp("t5"))


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one layer with the labels bug, praise, question."""
    return make_classifier(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="session")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one layer with the tags O, B-PER, I-PER."""
    return make_tagger(tmp_path_factory.mktemp("tagger"))


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """A folder for kept replies."""
    return tmp_path / "answers"
