"""Small models with the right files, and wheels around them."""

import hashlib
import json
import random
import zipfile
from pathlib import Path


def safetensors(size: int, seed: int = 0) -> bytes:
    """A whole safetensors file with `size` bytes of noise as its one tensor."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(header).to_bytes(8, "little") + header + random.Random(seed).randbytes(size)


def files(size: int = 200_000, seed: int = 0) -> dict[str, bytes]:
    """A model's files by name."""
    return {
        "config.json": b'{"model_type": "llama"}',
        "tokenizer.json": b'{"version": "1.0"}',
        "LICENSE": b"Apache-2.0",
        "model.safetensors": safetensors(size, seed),
    }


def write(folder: Path, content: dict[str, bytes]) -> Path:
    """Put files into a folder."""
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """All files below a folder, without the cache's own manifest."""
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    found.pop("slipway-manifest.json", None)
    return found


def wheel(path: Path, package: str, version: str, members: dict[str, bytes]) -> Path:
    """A wheel that pip accepts."""
    info = f"{package}-{version}.dist-info"
    metadata = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    path.mkdir(parents=True, exist_ok=True)
    target = path / f"{package}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in (members | metadata).items():
            archive.writestr(name, data)
    return target


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
