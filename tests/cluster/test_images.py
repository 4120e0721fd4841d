"""The gateway's image as built: what it weighs, who it runs as, what it imports, what runs unasked."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster import images
from cluster.kubectl import Kubectl
from cluster.pods import pod

MOST = 200_000_000
"""Bytes that the gateway's image may add to its base."""
ENGINES = ("torch", "vllm", "transformers", "numpy")
OTHERS = ("kubernetes", "kopf", "requests", "psycopg", "alembic", "mako", "opentelemetry.sdk", "google")
PROGRAMS = {
    "slipway.gateway.app": (*ENGINES, *OTHERS, "aiohttp"),
    "slipway_operator.running": (
        *ENGINES,
        *OTHERS,
        "fastapi",
        "sqlalchemy",
        "redis",
        "cryptography",
        "slipway.gateway",
    ),
}
"""What each program imports only when it is asked for, or never. They would cost most of a second."""
LOOK = """
import importlib, json, os, site, sys
try:
    open("/opt/slipway/written", "w")
    writable = True
except OSError:
    writable = False
importlib.import_module(sys.argv[1])
folders = {folder for folder in [*sys.path, *site.getsitepackages()] if os.path.isdir(folder)}
print(json.dumps({
    "user": [os.getuid(), os.getgid()],
    "writable": writable,
    "home": os.access(os.environ["HOME"], os.W_OK),
    "pth": [name for folder in folders for name in os.listdir(folder) if name.endswith(".pth")],
    "modules": sorted(sys.modules),
}))
"""


@pytest.fixture(scope="session")
def built(own_cluster: bool, project_image: Callable[[str], str]) -> str:
    """The gateway's image, whose layers this machine has."""
    if not own_cluster:
        pytest.skip("the layers of an image are known where this project builds it, on its own cluster")
    return project_image("gateway")


def names_in(layer: Path) -> list[str]:
    with tarfile.open(layer) as archive:
        return archive.getnames()


def test_the_gateways_image_adds_less_than_200_mb_to_its_base(built: str) -> None:
    added = images.layers_above(built, images.base().name)
    assert 0 < sum(layer.stat().st_size for layer in added) < MOST


def test_no_pth_file_in_the_image_runs_code_at_each_start_of_python(built: str) -> None:
    added = images.layers_above(built, images.base().name)
    names = [name for layer in added for name in names_in(layer)]
    assert any(name.endswith("/slipway/__init__.py") for name in names)
    assert not [name for name in names if name.endswith((".pth", "/sitecustomize.py", "/usercustomize.py"))]


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_runs_as_nobody_much_on_a_root_that_is_read_only_and_imports_what_it_needs(
    program: str, kubectl: Kubectl, namespace: str, project_image: Callable[[str], str]
) -> None:
    name = program.replace(".", "-").replace("_", "-")
    home = {"volumes": [{"name": "home", "emptyDir": {}}], "restartPolicy": "Never"}
    made = pod(name, project_image("gateway"), ["python", "-c", LOOK, program], **home)
    (container,) = made["spec"]["containers"]
    container["volumeMounts"] = [{"name": "home", "mountPath": "/var/lib/slipway"}]
    del container["readinessProbe"]
    del made["spec"]["securityContext"]["runAsUser"]  # The image itself says who it runs as.
    kubectl.apply(namespace, made)
    kubectl.wait(namespace, "jsonpath={.status.phase}=Succeeded", f"pod/{name}")
    seen: dict[str, Any] = json.loads(kubectl("logs", f"--namespace={namespace}", name))
    assert seen["user"] == [10001, 10001]
    assert (seen["writable"], seen["home"]) == (False, True)
    assert seen["pth"] == []
    assert program in seen["modules"]
    assert set(PROGRAMS[program]).isdisjoint(seen["modules"])
