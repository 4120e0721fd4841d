"""The operators as processes: Slipway's, and the one that is written with kopf."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from loadtests.overhead.machines import cpu_seconds, memory, version_of

HERE = Path(__file__).parents[1]
ROOT = HERE.parent
KOPF = ROOT / ".venvs" / "peer-kopf" / "bin" / "python"


@dataclass(slots=True)
class Program:
    """One operator: how it is started, and the process while it runs."""

    name: str
    version: str
    command: list[str]
    ready: str
    """Path that answers 200 as soon as it works."""
    kubeconfig: Path
    namespace: str
    image: str
    port: int = 0
    log: Path | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self, log: Path) -> None:
        """Start it and return at once. What it prints goes to `log`."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        environ = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "KUBECONFIG": str(self.kubeconfig),
            "PYTHONPATH": f"{ROOT / 'service'}{os.pathsep}{ROOT / 'operator'}",
            "SLIPWAY_OPERATOR_NAMESPACE": self.namespace,
            "SLIPWAY_OPERATOR_WATCH_NAMESPACE": self.namespace,
            "SLIPWAY_OPERATOR_DEVICE": "cpu",
            "SLIPWAY_OPERATOR_ENGINE_IMAGE_CPU": self.image,
            "SLIPWAY_OPERATOR_HOST": "127.0.0.1",
            "SLIPWAY_OPERATOR_PORT": str(self.port),
        }
        command = [part.format(port=self.port, namespace=self.namespace) for part in self.command]
        self.log = log
        with log.open("ab") as to:
            self.process = subprocess.Popen(command, env=environ, stdout=to, stderr=to, cwd=log.parent)

    def stop(self) -> None:
        """SIGTERM, as a cluster ends it; SIGKILL after 30 s."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def until_ready(self, seconds: float) -> None:
        """Return when it says that it works. Raises RuntimeError."""
        end = time.monotonic() + seconds
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while time.monotonic() < end:
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} has ended: {self.log}")
            try:
                with opener.open(f"http://127.0.0.1:{self.port}{self.ready}", timeout=5):
                    return
            except OSError:
                time.sleep(0.02)
        raise RuntimeError(f"{self.name} was not ready in {seconds:.0f} s: {self.log}")

    @property
    def cpu(self) -> float:
        """Seconds since its start."""
        assert self.process is not None
        return cpu_seconds([self.process.pid])

    @property
    def pss(self) -> int:
        """Bytes of memory now."""
        assert self.process is not None
        return memory([self.process.pid])[0]

    def own_calls(self) -> int | None:
        """Calls that it has counted itself since its start; None where it counts none."""
        if self.ready != "/readyz":
            return None
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return round(
            sum(float(line.split()[-1]) for line in lines if line.startswith("slipway_operator_api_calls{"))
        )


def slipway(kubeconfig: Path, namespace: str, image: str) -> Program:
    """Slipway's operator, from this checkout."""
    command = [sys.executable, "-m", "slipway_operator"]
    return Program("slipway", "", command, "/readyz", kubeconfig, namespace, image)


def kopf(kubeconfig: Path, namespace: str, image: str) -> Program:
    """The same work with kopf; no leader election."""
    command = [
        str(KOPF), "-m", "kopf", "run", "--standalone", "--namespace={namespace}",
        "--liveness=http://127.0.0.1:{port}/healthz", str(HERE / "peers" / "kopf_operator.py"),
    ]  # fmt: skip
    return Program("kopf", version_of(KOPF, "kopf"), command, "/healthz", kubeconfig, namespace, image)
