"""Why an engine did not start, as a sentence with the mend."""

import errno
import logging
import mmap
import re

from slipway.engine.options import OptionsError
from slipway.sources.errors import SourceError

# What the text of an error of vLLM holds -> (reason, the mend).
KNOWN = (
    (
        r"KV cache is needed|larger than the maximum number of tokens that can be stored in KV cache",
        "NotEnoughMemory",
        "The key-value cache is too small for one request of the full length: set engine.maxModelLen lower, "
        "or give the cache more memory with engine.args: [--kv-cache-memory-bytes, BYTES].",
    ),
    (
        r"[Aa]vailable memory on node|out of memory|Cannot allocate memory|OutOfMemoryError",
        "NotEnoughMemory",
        "The machine has not enough free memory for this model: stop other engines, lower engine.maxModelLen "
        "or replicas, or use a smaller model.",
    ),
    (
        r"max_model_len|max_position_embeddings",
        "WrongMaxModelLen",
        "engine.maxModelLen is longer than the model's own limit: lower it or leave it out.",
    ),
    (
        r"are not supported for now|is not supported|supported architecture|Unrecognized model"
        r"|does not recognize this architecture|model_type",
        "ModelNotSupported",
        "vLLM does not serve this kind of model: check config.json and vLLM's list of supported models.",
    ),
    (
        r"unrecognized arguments|invalid choice|expected one argument|error: argument",
        "WrongArguments",
        "A flag in engine.args is not one of vLLM's: compare it with vLLM's engine arguments.",
    ),
)


class StartError(Exception):
    """A start that cannot succeed, with its reason known; the message says how to mend it."""

    def __init__(self, reason: str, message: str) -> None:
        """`reason` is one CamelCase word for machines."""
        super().__init__(message)
        self.reason = reason


class FirstError(logging.Handler):
    """Remembers the first error with a traceback that this process or one forked from it logged.

    vLLM's parent process knows only that a child failed. The memory is shared across forks.
    """

    SIZE = 4096

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._memory = mmap.mmap(-1, self.SIZE)

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None and not self.text:
            kind, error = record.exc_info[0], record.exc_info[1]
            text = f"{kind.__name__ if kind else 'Error'}: {error}".encode()[: self.SIZE - 1]
            self._memory[: len(text)] = text

    @property
    def text(self) -> str:
        """The error as `Kind: message`; empty where there was none."""
        return self._memory[:].rstrip(b"\0").decode(errors="replace")


def explain(error: BaseException, first: str = "", runtime: str = "vLLM") -> tuple[str, str]:
    """The reason (one CamelCase word) and the sentence for a start that ended with `error`.

    Args:
        error: what the engine's own process saw.
        first: what a process forked from it logged first, as `Kind: message`.
        runtime: what serves the model, as people call it.
    """
    if isinstance(error, StartError):
        return error.reason, str(error)
    if isinstance(error, SourceError):
        return re.sub(r"Error$", "", type(error).__name__) or "SourceError", str(error)
    if isinstance(error, OptionsError):
        return "WrongArguments", str(error)
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return (
            "PortTaken",
            "Another process listens on the engine's port: stop it, or choose another with --port.",
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return (
            "DiskFull",
            "The disk is full: free some space, or set SLIPWAY_CACHE to a folder on another disk.",
        )
    if isinstance(error, ModuleNotFoundError) and error.name in ("vllm", "torch", "transformers"):
        return (
            f"{runtime[0].upper()}{runtime[1:]}Missing",
            f"{runtime} is not installed in this environment: run `make envs` and take "
            "`slipway` from .venvs/engine-cpu or .venvs/engine-gpu, or use an engine image.",
        )
    cause = first or f"{type(error).__name__}: {error}"
    for pattern, reason, mend in KNOWN:
        if re.search(pattern, cause):
            return reason, f"{mend} {runtime} said: {_shorten(cause)}"
    return "EngineFailed", f"{runtime} did not start: {_shorten(cause)} The lines above tell more."


def _shorten(text: str, limit: int = 400) -> str:
    text = " ".join(text.split())
    text = text if len(text) <= limit else text[:limit] + "…"
    return text if text.endswith((".", "…", "!", "?")) else text + "."
