"""The command line on a real cluster: what it shows, what it has the operator do, how it fails."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.kubectl import Kubectl
from slipway.objects.plainkeys import key_hash

PATIENCE = 60


@dataclass(frozen=True)
class Slipway:
    """Runs `slipway` in a namespace of a cluster."""

    kubeconfig: Path
    namespace: str

    @property
    def environ(self) -> dict[str, str]:
        rest = {name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY_")}
        return rest | {"KUBECONFIG": str(self.kubeconfig)}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "slipway", *arguments, "--namespace", self.namespace]

    def run(self, *arguments: str, seconds: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), env=self.environ, capture_output=True, text=True, timeout=seconds
        )

    def __call__(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, f"slipway {arguments}: {done.stderr}{done.stdout}"
        return done.stdout

    def refused(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 1, f"slipway {arguments}: {done.returncode} {done.stdout}"
        assert "Traceback" not in done.stderr
        return done.stderr

    @contextmanager
    def started(self, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
        with subprocess.Popen(
            self.command(*arguments),
            env=self.environ | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()


def interrupt(process: "subprocess.Popen[str]") -> None:
    """Ctrl-C, and what came of it."""
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130


def await_line(process: "subprocess.Popen[str]", pattern: str) -> str:
    """The next line of a process's output that has the pattern; the test's time limit ends the wait."""
    assert process.stdout is not None
    for line in process.stdout:
        if re.search(pattern, line):
            return line
    raise AssertionError(f"the command ended without {pattern!r}")


@pytest.fixture(scope="module", autouse=True)
def definitions(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "--force-conflicts", "--kustomize=k8s/crds")
    kubectl("wait", "--for=condition=Established", "crd", "llmservices.slipway.dev", "apikeys.slipway.dev")


@pytest.fixture
def operator(kubectl: Kubectl, namespace: str, fake_engine: str, tmp_path: Path) -> Iterator[None]:
    """An operator for the test's namespace alone, outside the cluster, where it measures nothing."""
    settings = {
        "NAMESPACE": namespace,
        "WATCH_NAMESPACE": namespace,
        "ENGINE_IMAGE_CPU": fake_engine,
        "DEVICE": "cpu",
        "HOST": "127.0.0.1",
        "PORT": "0",
    }
    environ = {f"SLIPWAY_OPERATOR_{name}": value for name, value in settings.items()}
    with (tmp_path / "operator.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "slipway_operator"],
            env=os.environ | environ | {"KUBECONFIG": str(kubectl.kubeconfig)},
            stderr=log,
            stdout=log,
        )
        yield
        process.terminate()
        process.wait(30)


@pytest.fixture
def slipway(cluster: Path, namespace: str) -> Slipway:
    return Slipway(cluster, namespace)


def service(name: str, *args: str, replicas: int = 1, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "LLMService",
        "metadata": {"name": name},
        "spec": {
            "model": {"source": "pypi://model==1.0/model.gguf"},
            "engine": {
                "device": "cpu",
                "args": list(args),
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            },
            "replicas": replicas,
            **spec,
        },
    }


STEPS = {
    "strategy": "Canary",
    "steps": [{"weight": 20, "pause": "manual"}, {"weight": 60, "pause": "manual"}],
}


@pytest.mark.usefixtures("operator")
def test_a_rollout_is_followed_to_its_good_or_bad_end(slipway: Slipway, kubectl: Kubectl) -> None:
    kubectl.apply(slipway.namespace, service("small", replicas=2))
    assert slipway("rollout", "status", "small").endswith("2 of 2 replicas are ready.\n")
    (view,) = json.loads(slipway("get", "-o", "json"))
    assert (view["state"], view["ready"]) == ("Ready", 2)
    assert "Nothing is wrong." in slipway("explain", "small")
    assert slipway("status").startswith("Cluster: https://")

    kubectl.apply(
        slipway.namespace, service("small", "--fail=SourceNotFound:There is no such model.", replicas=2)
    )
    failed = slipway.run("rollout", "status", "small")
    assert failed.returncode == 1
    assert failed.stdout.splitlines()[-1].startswith("SourceNotFound: Revision ")
    assert "There is no such model" in failed.stdout
    assert "1. SourceNotFound: Revision " in slipway("explain", "small")
    assert "RolledBack" in slipway("rollout", "history", "small").splitlines()[1]
    assert "Degraded" in slipway("describe", "small")
    assert slipway.run("status").returncode == 1


@pytest.mark.usefixtures("operator")
def test_a_canary_is_steered_by_commands_that_the_operator_answers(
    slipway: Slipway, kubectl: Kubectl
) -> None:
    kubectl.apply(slipway.namespace, service("small", "--say=a", rollout=STEPS))
    slipway("rollout", "status", "small")
    assert "No rollout is going on" in slipway.refused("rollout", "promote", "small")

    kubectl.apply(slipway.namespace, service("small", "--say=b", rollout=STEPS))
    with slipway.started("rollout", "status", "small") as following:
        await_line(following, "^Paused: .*20%")
        assert slipway.run("rollout", "status", "small", "--timeout", "0.1").returncode == 3
        assert slipway.run("rollout", "status", "small", "--no-wait").returncode == 0
        assert "promote small" in slipway("explain", "small")
        assert "next step" in slipway("rollout", "promote", "small")
        await_line(following, "^Paused: .*60%")
        assert "in full" in slipway("rollout", "promote", "small", "--full")
        following.communicate(timeout=PATIENCE)
        assert following.returncode == 0

    assert "Returns to revision" in slipway("rollout", "undo", "small", "--to", "1")
    slipway("rollout", "status", "small")
    assert "no revision '7'" in slipway.refused("rollout", "undo", "small", "--to", "7")
    assert "is tried again" in slipway("rollout", "retry", "small")
    assert "taken back" in slipway("rollout", "abort", "small")


def test_a_command_that_no_operator_takes_is_told(slipway: Slipway, kubectl: Kubectl) -> None:
    kubectl.apply(slipway.namespace, service("small"))
    told = slipway.refused("rollout", "pause", "small", "--timeout", "1")
    assert "The operator has not taken the command within 1 s" in told
    kubectl("annotate", "llm/small", "slipway.dev/paused=true", f"--namespace={slipway.namespace}")
    assert "is left alone by the operator" in slipway.refused("rollout", "pause", "small")


@pytest.mark.usefixtures("operator")
def test_watching_survives_the_api_server(
    slipway: Slipway, kubectl: Kubectl, api_server: Callable[[str], object]
) -> None:
    kubectl.apply(slipway.namespace, service("small"))
    with slipway.started("get", "--watch") as watching:
        await_line(watching, "small  Ready  1/1")
        api_server("stop")
        await_line(watching, "The API server cannot be reached")
        api_server("start")
        await_line(watching, "answers again")
        kubectl("scale", "llm/small", "--replicas=0", f"--namespace={slipway.namespace}")
        kubectl("delete", "llm/small", f"--namespace={slipway.namespace}", "--wait=false")
        await_line(watching, "small  gone")
        interrupt(watching)


@pytest.mark.usefixtures("operator")
def test_keys_are_made_rotated_and_deleted(slipway: Slipway, kubectl: Kubectl) -> None:
    plain = slipway("key", "create", "ci", "--owner", "me", "--model", "small*").strip()
    key = kubectl.get(slipway.namespace, "apikey", "ci")
    assert key["status"]["keyHash"] == key_hash(plain)
    assert (key["spec"]["owner"], key["spec"]["models"]) == ("me", ["small*"])
    assert "already" in slipway.refused("key", "create", "ci")

    renewed = slipway("key", "rotate", "ci", "--overlap", "2h").strip()
    status = kubectl.get(slipway.namespace, "apikey", "ci")["status"]
    assert (status["keyHash"], status["previousKeyHash"]) == (key_hash(renewed), key_hash(plain))
    assert re.search(r"ci +me +member +small\*", slipway("key", "list"))
    slipway("key", "delete", "ci")
    assert slipway("get", "keys") == "No keys.\n"
    assert "There is no APIKey 'ci'" in slipway.refused("key", "delete", "ci")


@pytest.mark.usefixtures("operator")
def test_logs_of_pods_that_run_and_of_those_that_ended(slipway: Slipway, kubectl: Kubectl) -> None:
    kubectl.apply(
        slipway.namespace,
        service("small", replicas=2),
        service("broken", "--fail=SourceNotFound:There is no such model."),
    )
    slipway("rollout", "status", "small")
    lines = slipway("logs", "small").splitlines()
    assert len({line.split()[0] for line in lines if "Listening" in line}) == 2
    assert "has not been restarted" in slipway.refused("logs", "small", "--previous")
    assert "no pod of revision zz" in slipway.refused("logs", "small", "--revision", "zz")

    with slipway.started("logs", "small", "--follow") as following:
        await_line(following, "Listening")
        kubectl.apply(slipway.namespace, service("small", "--say=b", replicas=2))
        revision = await_revision(slipway, "small")
        await_line(following, f"^small-{revision}.*Listening")
        interrupt(following)

    ended = "jsonpath={.status.containerStatuses[0].lastState.terminated.reason}=Error"
    kubectl.wait(slipway.namespace, ended, "pod", "-l", "slipway.dev/service=broken")
    assert "There is no such model" in slipway("logs", "broken", "--previous")


def await_revision(slipway: Slipway, name: str) -> str:
    """The revision that serves once the rollout is over."""
    slipway("rollout", "status", name)
    (view,) = json.loads(slipway("get", "services", name, "-o", "json"))
    return str(view["revision"])


def test_what_is_not_there_is_told_with_what_is(slipway: Slipway, kubectl: Kubectl) -> None:
    assert slipway("get") == "No services.\n"
    kubectl.apply(slipway.namespace, service("smollm"))
    assert "did you mean smollm?" in slipway.refused("describe", "smolm")
    elsewhere = Slipway(slipway.kubeconfig, "default").refused("explain", "smollm")
    assert f"add -n {slipway.namespace}" in elsewhere


def test_clusters_that_cannot_be_asked_are_told_in_sentences(
    slipway: Slipway, kubectl: Kubectl, tmp_path: Path
) -> None:
    missing = Slipway(tmp_path / "none", slipway.namespace)
    assert "Set KUBECONFIG" in missing.refused("get")
    silent = Slipway(kubeconfig(tmp_path / "silent", "https://127.0.0.1:1", "x"), slipway.namespace)
    assert "The API server cannot be reached" in silent.refused("get")
    server = kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    stranger = Slipway(kubeconfig(tmp_path / "stranger", server, "nonsense"), slipway.namespace)
    assert "does not know who asks" in stranger.refused("get")
    kubectl("create", "serviceaccount", "guest", f"--namespace={slipway.namespace}")
    token = kubectl("create", "token", "guest", f"--namespace={slipway.namespace}").strip()
    guest = Slipway(kubeconfig(tmp_path / "guest", server, token), slipway.namespace)
    assert "The cluster does not allow it" in guest.refused("get")
    assert "The cluster does not allow it" in guest.refused("get", "--watch")


def kubeconfig(path: Path, server: str, token: str) -> Path:
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "u", "user": {"token": token}}],
    }
    path.write_text(json.dumps(config))
    return path


def test_kubectl_has_it_as_a_plugin(slipway: Slipway, kubectl: Kubectl) -> None:
    kubectl.apply(slipway.namespace, service("small"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def plugin(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(kubectl.program), "slipway", *arguments],
            env=slipway.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    assert f"{slipway.namespace}/small" in plugin("get", "-n", slipway.namespace).stdout
    assert "Usage: kubectl slipway" in plugin("--help").stdout
    assert "No such command 'up'" in plugin("up").stderr
