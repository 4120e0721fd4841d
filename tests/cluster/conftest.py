"""A cluster for the tests: the one that KUBECONFIG names, the one that runs, or one of their own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from cluster import images
from cluster.bring_up import healthy
from cluster.kubectl import Kubectl
from cluster.places import KUBECONFIG
from cluster.programs import programs
from cluster.volumes import renew_volumes

TESTS = Path(__file__).parents[1]
START = 30 * 60
"""Seconds that a first start may take: it compiles Kubernetes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("cluster")
            if item.get_closest_marker("timeout") is None:
                # Not of the fixtures: the first of all sessions builds Kubernetes in one.
                item.add_marker(pytest.mark.timeout(120, func_only=True))


def command(*arguments: str) -> str:
    """Run the cluster's own command. Fails the test with what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "cluster", *arguments],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=START,
    )
    if done.returncode:
        pytest.fail(f"python -m cluster {' '.join(arguments)}: {done.stderr[-2000:]}", pytrace=False)
    return done.stdout.strip()


@pytest.fixture(scope="session")
def own_cluster() -> bool:
    """Whether the cluster is this project's, so that its parts can be stopped and loaded."""
    return os.environ.get("KUBECONFIG", str(KUBECONFIG)) == str(KUBECONFIG)


@pytest.fixture(scope="session")
def cluster(own_cluster: bool) -> Iterator[Path]:
    """The kubeconfig of a cluster. One that this session starts it also ends; any other it leaves running."""
    if not own_cluster:
        yield Path(os.environ["KUBECONFIG"])
        return
    ran_before = healthy()
    command("up")
    yield KUBECONFIG
    if not ran_before:
        command("down")


@pytest.fixture(scope="session")
def kubectl(cluster: Path, own_cluster: bool) -> Kubectl:
    """The real kubectl: this project's, or where the cluster is somebody's, the one on the PATH."""
    program = programs() / "kubectl" if own_cluster else shutil.which("kubectl")
    if program is None:
        pytest.fail("kubectl is not on the PATH. Install it to run the tests against your own cluster.")
    return Kubectl(Path(program), cluster)


@pytest.fixture
def namespace(kubectl: Kubectl, own_cluster: bool) -> Iterator[str]:
    """A namespace of the test's own, under Pod Security `restricted`. Its end is asked for, not awaited."""
    if own_cluster:
        renew_volumes(programs())
    name = f"test-{uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    # Without it no pod may be made yet.
    kubectl.wait(name, "create", "serviceaccount/default")
    kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def python_image(own_cluster: bool) -> str:
    """An image with nothing but Python, for small pods of a test's own."""
    return images.base().name if own_cluster else os.environ.get("SLIPWAY_IMAGE_BASE", "python:3.12-slim")


@pytest.fixture(scope="session")
def project_image(cluster: Path, own_cluster: bool) -> Callable[[str], str]:
    """Build an image by its target (`gateway`, `fake-engine`, ...), load it, and return its name.

    On somebody's own cluster, SLIPWAY_IMAGE_GATEWAY, _ENGINE_CPU, _FAKE_ENGINE and _STORES name images that
    it can pull.
    """

    def image(target: str) -> str:
        variable = f"SLIPWAY_IMAGE_{target.upper().replace('-', '_')}"
        if named := os.environ.get(variable):
            return named
        if not own_cluster:
            pytest.fail(f"KUBECONFIG names a cluster of your own. Set {variable} to an image it can pull.")
        return command("images", target).splitlines()[-1]

    return image


@pytest.fixture(scope="session")
def fake_engine(project_image: Callable[[str], str]) -> str:
    """The image of engines without a model; see fake_engine.py."""
    return project_image("fake-engine")


@pytest.fixture(scope="session")
def fake_training(project_image: Callable[[str], str]) -> str:
    """The image of stages without a model; see fake_training.py."""
    return project_image("fake-training")


@pytest.fixture
def api_server(kubectl: Kubectl, own_cluster: bool) -> Iterator[Callable[[str], object]]:
    """Stop and start the API server alone: `api_server("stop")`. It runs again after the test."""
    if not own_cluster:
        pytest.skip("only the API server of this project's own cluster may be stopped")
    yield lambda verb: command("apiserver", verb)
    if not healthy():
        command("apiserver", "start")
