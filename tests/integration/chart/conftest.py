"""The chart, rendered by the real Helm."""

import pytest

from cluster.helm import Helm
from cluster.programs import programs


@pytest.fixture(scope="session")
def helm() -> Helm:
    return Helm(programs() / "helm")
