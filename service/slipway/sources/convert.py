"""Makes a folder of bf16 safetensors from a GGUF file, in a process of its own."""

import errno
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

from slipway.sources.errors import ConversionError, MissingDependencyError
from slipway.sources.origins import Job
from slipway.sources.progress import Meter, Progress, check

VERSION = "bf16-1"
"""Part of a converted model's key in the cache: raise it when the same file comes out differently."""
_NEEDS = ("accelerate", "gguf", "torch", "transformers")
_POLL_S = 0.1


def require() -> None:
    """Check that this is an engine's environment.

    Raises:
        MissingDependencyError: it is none.
    """
    missing = [name for name in _NEEDS if not importlib.util.find_spec(name)]
    if missing:
        raise MissingDependencyError(
            f"A GGUF file has to be converted, which needs {', '.join(missing)}: "
            "install slipway[engine-cpu] or slipway[engine-gpu] where the engine runs."
        )


def convert(gguf: Path, scratch: Path, job: Job) -> Path:
    """Convert `gguf`, return a new folder below `scratch` that holds the model and nothing else.

    Raises:
        ConversionError: an architecture that Transformers cannot read, a damaged file, too little memory.
        DiskFullError: the result would not fit.
    """
    job.report(Progress("convert", message=f"loading Transformers to convert {gguf.name}"))
    for left in scratch.glob("converted-*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="converted-", dir=scratch))
    try:
        _run(gguf, folder, job)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    folder.chmod(0o755)
    return folder


def _run(gguf: Path, folder: Path, job: Job) -> None:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "slipway.sources.gguf_to_safetensors", str(gguf), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ
            | {
                "HF_HUB_OFFLINE": "1",
                "TQDM_DISABLE": "1",
                "TRANSFORMERS_VERBOSITY": "error",
                "CUDA_VISIBLE_DEVICES": "",
            },
        )
        lines: SimpleQueue[bytes | None] = SimpleQueue()
        reader = threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True)
        with process:
            reader.start()
            try:
                error = _follow(lines, gguf, job)
            except BaseException:
                process.kill()
                raise
            finally:
                reader.join()  # It ends with the process; the pipe must not be closed under it.
        log.seek(max(0, log.seek(0, os.SEEK_END) - 400))
        if process.returncode or error:
            raise _failure(gguf, process.returncode, error, log.read().decode(errors="replace"))


def _follow(lines: "SimpleQueue[bytes | None]", gguf: Path, job: Job) -> str | None:
    """Report what the process writes until it ends; return the error it tells, if any."""
    meter: Meter | None = None
    while True:
        check(job.cancelled)
        try:
            line = lines.get(timeout=_POLL_S)
        except Empty:
            continue
        if line is None:
            if meter:
                meter.close()
            return None
        told = json.loads(line)
        if "error" in told:
            return str(told["error"])
        if "needs" in told:
            job.require(told["needs"])
        meter = meter or Meter(
            job.report, "convert", told["total"], f"converting {gguf.name} to bf16 safetensors"
        )
        meter.move(told["done"])


def _pump(stream: "IO[bytes] | None", lines: "SimpleQueue[bytes | None]") -> None:
    for line in stream or ():
        lines.put(line)
    lines.put(None)


def _failure(gguf: Path, status: int, error: str | None, log: str) -> Exception:
    if error and ("No space left" in error or "Disk quota" in error):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if status < 0:
        return ConversionError(
            f"The conversion of {gguf.name} was killed (signal {-status}). It needs 2 bytes of memory for "
            "each parameter; if there was less, use a model published as safetensors."
        )
    return ConversionError(
        f"{gguf.name} cannot be converted: {error or _last_line(log) or status}. "
        "Use a model published as safetensors."
    )


def _last_line(log: str) -> str:
    lines = log.strip().splitlines()
    return lines[-1] if lines else ""
