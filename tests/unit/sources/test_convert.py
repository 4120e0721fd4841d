"""The conversion's process, with stand-ins for the engine's libraries."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from slipway.sources import ConversionError, DiskFullError, FetchCancelledError, Progress
from slipway.sources.convert import convert
from slipway.sources.origins import Job
from unit.sources import models

GGUF = """
class Tensor:
    n_bytes, n_elements = 1000, 2000

class GGUFReader:
    def __init__(self, path):
        self.tensors = [Tensor()] * 3

class Data:
    nbytes = 1000

def dequantize(data, kind):
    return data

def get_tensor_name_map(arch, blocks):
    return {}
"""
TRANSFORMERS = """
import json, os, signal, sys, time
from pathlib import Path
import gguf

class GgufConfig:
    def __init__(self, dequantize):
        assert dequantize

class Saved:
    chat_template = "{{ messages }}"

    def __init__(self, names):
        self.names = names

    def save_pretrained(self, folder):
        for name in self.names:
            Path(folder, name).write_text("{}")

class AutoTokenizer:
    @staticmethod
    def from_pretrained(folder, *, gguf_file, trust_remote_code):
        assert trust_remote_code is False
        assert os.environ["HF_HUB_OFFLINE"] == "1"
        print("noise on standard output")
        gguf.GGUFReader(folder + "/" + gguf_file)
        return Saved(["tokenizer.json"])

class AutoModelForCausalLM:
    @staticmethod
    def from_pretrained(folder, *, gguf_file, quantization_config, dtype, trust_remote_code):
        assert trust_remote_code is False
        told = Path(folder, gguf_file).read_text()
        if told == "slow":
            Path(folder, "pid").write_text(str(os.getpid()))
            while True:
                time.sleep(0.01)
        if told == "unknown":
            raise ValueError("GGUF model with architecture x is not supported yet.")
        if told == "full":
            raise RuntimeError("I/O error: No space left on device (os error 28)")
        if told == "memory":
            os.kill(os.getpid(), signal.SIGKILL)
        for tensor in gguf.GGUFReader(folder + "/" + gguf_file).tensors:
            gguf.dequantize(gguf.Data(), 0)
        return Saved(["config.json", "model.safetensors"])
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    libraries = models.write(
        tmp_path / "libraries",
        {
            "gguf.py": GGUF.encode(),
            "torch.py": b"bfloat16 = 'bf16'",
            "transformers.py": TRANSFORMERS.encode(),
        },
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(libraries), *sys.path]))
    return tmp_path


def job(
    reports: list[Progress] | None = None, cancelled: threading.Event | None = None, free: int = 1 << 40
) -> Job:
    def require(size: int) -> None:
        if size > free:
            raise DiskFullError("full")

    return Job((reports if reports is not None else []).append, cancelled, require)


def gguf(folder: Path, told: str) -> Path:
    path = folder / "m.gguf"
    path.write_text(told)
    return path


def test_makes_a_folder_with_weights_tokenizer_and_chat_template(folder: Path) -> None:
    reports = list[Progress]()
    model = convert(gguf(folder, "fine"), folder, job(reports))
    assert sorted(path.name for path in model.iterdir()) == [
        "chat_template.jinja",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert (model / "chat_template.jinja").read_text() == "{{ messages }}"
    assert {report.stage for report in reports} == {"convert"}
    assert (reports[-1].done, reports[-1].total) == (3000, 3000)


@pytest.mark.parametrize(
    ("told", "message"),
    [("unknown", "architecture x is not supported"), ("memory", "killed .signal 9..*memory")],
)
def test_tells_why_it_failed_and_leaves_nothing(folder: Path, told: str, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        convert(gguf(folder, told), folder, job())
    assert not list(folder.glob("converted-*"))


def test_tells_a_full_disk(folder: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        convert(gguf(folder, "full"), folder, job())
    with pytest.raises(DiskFullError):
        # 6000 parameters at two bytes.
        convert(gguf(folder, "fine"), folder, job(free=11_999))
    assert not list(folder.glob("converted-*"))


def test_can_be_cancelled(folder: Path) -> None:
    cancelled = threading.Event()
    path = gguf(folder, "slow")

    def cancel() -> None:
        while not (folder / "pid").exists():
            cancelled.wait(0.01)
        cancelled.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(FetchCancelledError):
        convert(path, folder, job(cancelled=cancelled))
    thread.join()
    assert not list(folder.glob("converted-*"))


def test_ends_with_the_process_that_started_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = gguf(folder, "slow")
    program = [
        sys.executable,
        "-m",
        "slipway.sources.gguf_to_safetensors",
        str(path),
        str(folder / "out"),
    ]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        while not (folder / "pid").exists():
            assert process.poll() is None
        assert process.stdin
        process.stdin.close()
        try:
            assert process.wait(timeout=30) == 1
        finally:
            process.kill()
