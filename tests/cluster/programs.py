"""Kubernetes, Helm and CoreDNS, compiled once and kept in the cache by what they are made from."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from cluster.locks import locked
from cluster.places import HERE, PROGRAMS
from cluster.processes import ClusterError, run

MODULE = HERE / "binaries"
HELM, COREDNS = "helm.sh/helm/v4/cmd/helm@v4.3.1", "github.com/coredns/coredns@v1.15.0"
VERSION = "v1.37.2"
"""Of Kubernetes: as in the module's go.mod. Clients read it from the API server and cannot do without."""
NAMES = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
)
ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": ""}


@dataclass(frozen=True)
class Build:
    """One run of the Go compiler."""

    what: str
    command: list[str]
    packages: int
    """How many packages it compiles where nothing is cached; the rest of the time is told from it."""
    environment: dict[str, str] = field(default_factory=dict)


def programs() -> Path:
    """The folder that holds every program, built first where it is not there yet."""
    folder = PROGRAMS / _key()
    with locked("programs"):
        if not folder.exists():
            _build(folder)
    return folder


def _build(folder: Path) -> None:
    unfinished = folder.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for build in _builds(unfinished):
        _compile(build)
    for name in NAMES:
        (unfinished / name).symlink_to("kubernetes")
    unfinished.rename(folder)
    for other in PROGRAMS.iterdir():
        if other != folder:
            shutil.rmtree(other)


def _key() -> str:
    digest = hashlib.sha256(f"{HELM} {COREDNS} {VERSION} {_go_version()}".encode())
    for file in sorted(MODULE.rglob("*")):
        if file.is_file():
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _go_version() -> str:
    if not shutil.which("go"):
        raise ClusterError(
            "Go is missing. Install Go 1.26 (https://go.dev/doc/install): it builds Kubernetes."
        )
    return run("go", "env", "GOVERSION", cwd=MODULE).strip()


def _builds(target: Path) -> list[Build]:
    major, minor, _ = VERSION.removeprefix("v").split(".")
    flags = ["-s", "-w"]
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        for name, value in {"Version": VERSION, "Major": major, "Minor": minor, "TreeState": "clean"}.items():
            flags.append(f"-X {package}.git{name}={value}")
    common = ["-v", "-trimpath", "-buildvcs=false", "-ldflags"]
    module = ["go", "build", *common, " ".join(flags), "-o", f"{target}/", "./kubernetes", "./pause"]
    install = ["go", "install", *common, "-s -w"]
    place = {"GOBIN": str(target)}
    return [
        Build("Kubernetes", module, 2880),
        Build("Helm", [*install, HELM], 1180, place),
        Build("CoreDNS", [*install, COREDNS], 1410, place),
    ]


def _compile(build: Build) -> None:
    """Run the compiler, saying now and then how far it is."""
    began = time.monotonic()
    process = subprocess.Popen(
        ["nice", *build.command],
        cwd=MODULE,
        env={**os.environ, **ENVIRONMENT, **build.environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    lines: list[str] = []
    assert process.stderr is not None
    reader = threading.Thread(target=lambda stream: lines.extend(stream), args=[process.stderr])
    reader.start()
    while reader.is_alive():
        _say(build, sum(not line.startswith("go: ") for line in lines), time.monotonic() - began)
        reader.join(1 if sys.stderr.isatty() else 20)
    if process.wait():
        raise ClusterError(f"{build.what} did not compile: {''.join(lines[-30:])}")
    print(f"\r{build.what}: built in {time.monotonic() - began:.0f} s{'':40}", file=sys.stderr)


def _say(build: Build, compiled: int, passed: float) -> None:
    left = ""
    if compiled > build.packages * 0.05:
        seconds = passed * max(0.0, build.packages / compiled - 1)
        left = f", about {max(seconds, 10):.0f} s left"
    text = f"{build.what}: {compiled} of about {build.packages} packages in {passed:.0f} s{left}"
    print(f"\r{text:70}", end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)
