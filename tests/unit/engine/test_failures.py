"""Why an engine did not start."""

import errno
import logging
import os
import sys

import pytest

from slipway.engine.failures import FirstError, explain
from slipway.engine.options import OptionsError
from slipway.sources.errors import SourceNotFoundError


@pytest.mark.parametrize(
    ("error", "reason", "says"),
    [
        (SourceNotFoundError("No such folder."), "SourceNotFound", "No such folder."),
        (OptionsError("No GPU."), "WrongArguments", "No GPU."),
        (OSError(errno.EADDRINUSE, "in use"), "PortTaken", "--port"),
        (OSError(errno.ENOSPC, "full"), "DiskFull", "SLIPWAY_CACHE"),
        (ModuleNotFoundError("No module named 'vllm'", name="vllm"), "VLLMMissing", "make envs"),
        (RuntimeError("boom"), "EngineFailed", "RuntimeError: boom."),
    ],
)
def test_each_cause_has_a_reason_and_a_mend(error: Exception, reason: str, says: str) -> None:
    found, message = explain(error)
    assert found == reason
    assert says in message


def test_the_first_error_of_a_child_is_the_cause() -> None:
    parents_view = RuntimeError("Engine core initialization failed. See root cause above.")
    reason, message = explain(
        parents_view, "ValueError: Available memory on node 0 (1/2 GiB) is less than desired"
    )
    assert reason == "NotEnoughMemory"
    assert "lower engine.maxModelLen" in message
    assert "Engine core initialization failed" not in message


def test_a_long_text_is_cut() -> None:
    assert len(explain(RuntimeError("x" * 10_000))[1]) < 600


def log_error(handler: FirstError, text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError:
        record = logging.LogRecord("vllm", logging.ERROR, __file__, 1, "failed", None, sys.exc_info())
    handler.handle(record)


def test_an_error_of_a_forked_process_is_seen_here() -> None:
    handler = FirstError()
    assert handler.text == ""
    child = os.fork()
    if child == 0:
        log_error(handler, "no such tensor")
        os._exit(0)
    os.waitpid(child, 0)
    log_error(handler, "a consequence")
    assert handler.text == "ValueError: no such tensor"
