"""Images: built with buildah, kept as blobs in the cache, and given to the nodes' containerd.

Blobs lie uncompressed in one OCI layout, and a node is sent only those that it has not got yet. So a change
of the code costs a layer of a few megabytes, not an engine of six gigabytes.
"""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.locks import locked
from cluster.nodes import ctr
from cluster.places import CACHE, CHECKOUT, HERE, LAYOUT, Node
from cluster.processes import ClusterError, run

BLOBS = LAYOUT / "blobs" / "sha256"
SUITE, PACKAGES = "bookworm", "python3,python3-venv,ca-certificates"
TAG = "test"
CERTIFICATES = "/etc/ssl/certs"
CODE = ("Dockerfile", "pyproject.toml", "README.md", "LICENSE", "service", "operator", "locks/uv.txt")
TARGETS = {
    "gateway": (*CODE, "locks/dev.txt", "locks/gateway.txt"),
    "engine-cpu": (*CODE, "locks/dev.txt", "locks/engine-cpu.txt"),
    "training": (*CODE, "locks/dev.txt", "locks/training.txt"),
}
"""The project's own images, and the files that go into each."""
FAKE_ENGINE, FAKE_TRAINING = "fake-engine", "fake-training"
STORES = "stores"


@dataclass(frozen=True)
class Image:
    """An image by its full name; `key` says what it is made from, `build` leaves it in buildah's storage."""

    name: str
    key: str
    build: Callable[[], object]


def pause(programs: Path) -> Image:
    return _program(programs, "pause")


def coredns(programs: Path) -> Image:
    return _program(programs, "coredns")


def base() -> Image:
    """Debian with Python: what the project's images start from, and what tests run small pods of."""
    name = f"localhost/slipway-base:{TAG}"
    return Image(name, f"{SUITE} {PACKAGES}", lambda: _debian(name, PACKAGES))


def stores() -> Image:
    """Redis and PostgreSQL of Debian, for pods of a user that has a name, which initdb asks for."""
    name, debian = f"localhost/slipway-stores:{TAG}", f"localhost/slipway-stores-debian:{TAG}"
    packages = "redis-server,postgresql"
    text = f"FROM {debian}\nRUN useradd --uid 10001 --no-create-home stores\nUSER 10001:10001\n"

    def build() -> None:
        _debian(debian, packages)
        with tempfile.TemporaryDirectory() as empty:
            _containerfile(name, text, Path(empty))

    return Image(name, f"{SUITE} {packages} {text}", build)


def fake_engine() -> Image:
    """An engine without a model, with faults on demand."""
    name, file = f"localhost/slipway-fake-engine:{TAG}", HERE / "fake_engine.py"
    text = (
        f"FROM {base().name}\nCOPY {file.name} /{file.name}\nUSER 10001:10001\n"
        f'ENTRYPOINT ["python3", "-I", "/{file.name}"]\n'
    )
    return Image(
        name,
        _key(base().key + text, "tests/cluster/fake_engine.py"),
        lambda: _containerfile(name, text, HERE),
    )


def fake_training() -> Image:
    """Stages of a FineTune without a model, with faults on demand."""
    name, file = f"localhost/slipway-fake-training:{TAG}", HERE / "fake_training.py"
    packages = "/usr/lib/python3/dist-packages/slipway/training"
    text = (
        f"FROM {base().name}\nCOPY {file.name} {packages}/__main__.py\n"
        f"COPY {file.name} {packages}/registry/__main__.py\n"
        "RUN ln -s python3 /usr/bin/python\nUSER 10001:10001\n"
    )
    return Image(
        name,
        _key(base().key + text, "tests/cluster/fake_training.py"),
        lambda: _containerfile(name, text, HERE),
    )


def project(target: str) -> Image:
    """A target of the project's Dockerfile, as this checkout has it."""
    name = f"localhost/slipway-{target}:{TAG}"
    build = _large if target in ("engine-cpu", "training") else _dockerfile
    return Image(name, _key(base().key, *TARGETS[target]), lambda: build(target, name))


def named(target: str) -> Image:
    """The image of a target: `fake-engine`, `fake-training`, `stores`, or one of the Dockerfile's."""
    return OWN[target]() if target in OWN else project(target)


OWN = {FAKE_ENGINE: fake_engine, FAKE_TRAINING: fake_training, STORES: stores}
"""Images of the tests' own."""


def ensure(image: Image, say: Callable[[str], None]) -> None:
    """Have the image in the cache, made anew where something that goes into it has changed."""
    if _current(image):
        return
    with locked("images"):
        if not _current(image):  # another run may have built it meanwhile
            say(f"building {image.name}")
            image.build()
            _keep(image.name, image.key)


def keep(name: str) -> None:
    """Have an image that buildah has in the cache as well."""
    with locked("images"):
        _keep(name)


def _current(image: Image) -> bool:
    record = _record(image.name)
    try:
        known = json.loads(record.read_text())
        return known["key"] == image.key and all(blob.exists() for blob in _blobs(known["manifest"]))
    except (OSError, ValueError, KeyError):
        return False  # no record, or one that was cut off


def _keep(name: str, key: str = "") -> None:
    """Copy an image from buildah's storage into the cache. Blobs that are there already are not copied."""
    LAYOUT.mkdir(parents=True, exist_ok=True)
    # Not by `buildah push`: it compresses, each time anew, which takes minutes. As it is, a blob is known.
    plain = "--dest-oci-accept-uncompressed-layers"
    run("skopeo", "copy", "--quiet", plain, f"containers-storage:{name}", f"oci:{LAYOUT}:{name}")
    index = json.loads((LAYOUT / "index.json").read_text())
    reference = "org.opencontainers.image.ref.name"
    # An image that gave its name away stays in the index without one, and goes here.
    index["manifests"] = [entry for entry in index["manifests"] if reference in entry.get("annotations", {})]
    (LAYOUT / "index.json").write_text(json.dumps(index))
    digests = {entry["annotations"][reference]: entry["digest"] for entry in index["manifests"]}
    _record(name).write_text(json.dumps({"key": key, "manifest": digests[name]}))
    _forget_unused({blob.name for digest in digests.values() for blob in _blobs(digest)})


def layers_above(name: str, base: str) -> list[Path]:
    """The layers that an image in the cache adds to the one it is built from, as uncompressed archives."""
    own, below = (list(_blobs(json.loads(_record(each).read_text())["manifest"])) for each in (name, base))
    ids, base_ids = (json.loads(blobs[1].read_text())["rootfs"]["diff_ids"] for blobs in (own, below))
    if ids[: len(base_ids)] != base_ids:
        raise ClusterError(f"{name} is not built from {base} as it is now")
    return own[2 + len(base_ids) :]


def load(node: Node, name: str) -> bool:
    """Give a node an image that the cache has. False where it has that very image already."""
    with locked("images", shared=True):
        return _load(node, name)


def _load(node: Node, name: str) -> bool:
    digest = json.loads(_record(name).read_text())["manifest"]
    if f"{name} " in (listed := ctr(node, "images", "ls", f"name=={name}")) and digest in listed:
        return False
    present = set(ctr(node, "content", "ls", "-q").split())
    process = subprocess.Popen(
        ["ctr", f"--address={node.containerd}", "--namespace=k8s.io", "images", "import", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process, tarfile.open(fileobj=process.stdin, mode="w|") as archive:
        _add(archive, "oci-layout", {"imageLayoutVersion": "1.0.0"})
        _add(archive, "index.json", _index(name, digest))
        for blob in _blobs(digest):
            if f"sha256:{blob.name}" not in present:
                archive.add(blob, f"blobs/sha256/{blob.name}")
        archive.close()
        process.stdin.close()
        said = process.stdout.read().decode()
    if process.returncode:
        raise ClusterError(f"{node.name} did not take {name}: {said}")
    _share(node, digest)
    return True


def _share(node: Node, digest: str) -> None:
    """Let the node's copies of an image's blobs be the cache's own files: neither ever changes one."""
    folder = node.image_store / "io.containerd.content.v1.content" / "blobs" / "sha256"
    for blob in _blobs(digest):
        copy = folder / blob.name
        if copy.exists() and not copy.samefile(blob):
            link = copy.with_suffix(".link")
            link.unlink(missing_ok=True)
            link.hardlink_to(blob)
            link.replace(copy)


def _program(programs: Path, program: str) -> Image:
    file = programs / program
    name = f"localhost/slipway-{program}:{TAG}"
    text = f'FROM scratch\nCOPY {program} /{program}\nUSER 65534:65534\nENTRYPOINT ["/{program}"]\n'
    return Image(name, _key(text, str(file)), lambda: _containerfile(name, text, programs))


def _containerfile(name: str, text: str, context: Path) -> None:
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        options = ["--quiet", "--isolation=chroot", f"--file={file.name}", f"--tag={name}"]
        run("buildah", "build", *options, str(context))


def _debian(name: str, packages: str) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        root, context = Path(folder) / "root", Path(folder) / "context"
        context.mkdir()
        run("debootstrap", "--variant=minbase", f"--include={packages}", SUITE, root)
        for leftover in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / leftover)
            (root / leftover).mkdir()
        # As an archive: copied file by file, everything would belong to root.
        run("tar", "--create", f"--file={context / 'root.tar'}", f"--directory={root}", ".")
        _containerfile(name, 'FROM scratch\nADD root.tar /\nCMD ["python3"]\n', context)


def _large(target: str, name: str) -> None:
    """Build an engine or a training; where only the code has changed, on top of the last whole one.

    To see whether a layer of packages is still right, buildah reads all 6 GB of it, which takes a minute.
    """
    packages = _key(base().key, *(file for file in TARGETS[target] if file not in CODE), "Dockerfile")[:12]
    whole = f"localhost/slipway-{target}:packages-{packages}"
    known = run("buildah", "images", "--all", "--format={{.Name}}:{{.Tag}}").split()
    if whole in known:
        code = f"localhost/slipway-code:{TAG}"
        _dockerfile("code", code)
        text = (
            f"FROM {whole}\nUSER 0\nRUN rm -r /opt/slipway/lib/python3*/site-packages/slipway*\n"
            f"COPY --from={code} /code /opt/slipway\nUSER 10001:10001\n"
        )
        with tempfile.TemporaryDirectory() as empty:
            _containerfile(name, text, Path(empty))
        return
    _dockerfile(target, whole)
    run("buildah", "tag", whole, name)
    for old in known:
        if old.startswith(f"localhost/slipway-{target}:packages-"):
            run("buildah", "rmi", old)


def _dockerfile(target: str, name: str) -> None:
    # With the host's certificates: behind a proxy that signs anew, pip and uv would trust nothing otherwise.
    options = ["--isolation=chroot", "--network=host", f"--volume={CERTIFICATES}:{CERTIFICATES}:ro"]
    environment = {"BASE": base().name, "BUILDER": "buildah"}
    run("scripts/image", target, name, *options, env=environment, cwd=CHECKOUT)


def _key(extra: str, *files: str) -> str:
    """A digest of the text and of the files, folders with all they hold, named from the checkout."""
    digest = hashlib.sha256(extra.encode())
    for path in (CHECKOUT / file for file in files):
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in inside:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"\0{file.relative_to(path)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _record(name: str) -> Path:
    return LAYOUT / f"{name.replace('/', '_')}.json"


def _blobs(digest: str) -> Iterator[Path]:
    """The files of an image: manifest, configuration, layers."""

    def blob(digest: str) -> Path:
        return BLOBS / digest.removeprefix("sha256:")

    yield blob(digest)
    manifest = json.loads(blob(digest).read_text())
    yield blob(manifest["config"]["digest"])
    for layer in manifest["layers"]:
        yield blob(layer["digest"])


def _forget_unused(used: set[str]) -> None:
    for blob in BLOBS.iterdir():
        if blob.name not in used:
            blob.unlink()


def _index(name: str, digest: str) -> dict[str, Any]:
    size = (BLOBS / digest.removeprefix("sha256:")).stat().st_size
    media_type = "application/vnd.oci.image.manifest.v1+json"
    annotations = {"io.containerd.image.name": name}
    entry = {"mediaType": media_type, "digest": digest, "size": size, "annotations": annotations}
    return {"schemaVersion": 2, "manifests": [entry]}


def _add(archive: tarfile.TarFile, name: str, content: dict[str, Any]) -> None:
    data = json.dumps(content).encode()
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
