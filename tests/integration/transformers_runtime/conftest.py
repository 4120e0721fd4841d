"""Tiny models, made once, and one engine at a time."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.transformers_runtime.engines import Engine, Reference, make_models, running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.engine)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder for each model."""
    folder = tmp_path_factory.mktemp("models")
    make_models(folder)
    return folder


@pytest.fixture(scope="session")
def reference(models: Path) -> Iterator[Reference]:
    """Transformers with the same models."""
    asked = Reference(models)
    yield asked
    asked.close()


@pytest.fixture(scope="module")
def engine(
    models: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Engine]:
    """The engine of the model and task that the module names as MODEL and TASK."""
    asked = request.module
    args = ("--runtime", "transformers", "--task", asked.TASK)
    with running(tmp_path_factory.mktemp("engine"), models / asked.MODEL, *args) as engine:
        yield engine
