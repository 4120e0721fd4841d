"""`slipway engine`: fetches the model while vLLM is imported, then runs vLLM's server on it."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from slipway.engine import reports
from slipway.engine.draining import SignalCallbacks
from slipway.engine.environments import engine_environment, find_device, gomp_library, memory_limit
from slipway.engine.failures import FirstError, explain
from slipway.engine.options import Device, EngineOptions, check_args, vllm_flags
from slipway.engine.sources import fetch
from slipway.engine.sources.progress import Progress
from slipway.engine.templates import chat_template, tool_calling

PREPARED = "SLIPWAY_ENGINE_PREPARED"


def run(options: EngineOptions) -> int:
    """Serve until SIGTERM; the exit code: 0 after a drain, 1 for a failed start, 2 for wrong arguments."""
    reports.configure_logging()
    first_error = FirstError()
    logging.getLogger("vllm").addHandler(first_error)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _stop_at_once)
    try:
        check_args(options.args)
        device = find_device(options.device)
        if find_spec("vllm") is None:
            raise ModuleNotFoundError(name="vllm")
        _prepare_process(options, device)
        fetched = _Fetch(options)
        _import_vllm(device)
        model, adapters = fetched.result()
        template = chat_template(model) if options.task == "generate" else None
        tool_parser, other_template = tool_calling(template)
        flags = vllm_flags(
            options,
            model=model,
            adapters=adapters,
            device=device,
            total_memory=memory_limit(),
            tool_parser=tool_parser,
            chat_template=other_template,
        )
        reports.progress("load", f"Loading {options.name}")
        if not _serve(flags):
            reports.failed(
                "EngineDied", f"vLLM's engine stopped unasked. {first_error.text or 'See the lines above.'}"
            )
            return 1
    except KeyboardInterrupt:
        return 0
    except SystemExit as stop:  # vLLM's argument parser ends so; its words are on standard error.
        if stop.code not in (None, 0):
            reports.failed("WrongArguments", "vLLM refused its flags: see the line above, and engine.args.")
            return 2
        return 0
    except BaseException as error:
        return _fail(error, first_error.text)
    return 0


def _fail(error: BaseException, first: str = "") -> int:
    """Report why the start failed; the exit code."""
    logging.getLogger("slipway.engine").debug("The start failed", exc_info=error)
    reason, message = explain(error, first)
    reports.failed(reason, message)
    return 2 if reason == "WrongArguments" else 1


def _prepare_process(options: EngineOptions, device: Device) -> None:
    """Start the interpreter anew with the variables that only count at a process's start."""
    if os.environ.get(PREPARED) == str(os.getpid()):
        return
    cpus = len(os.sched_getaffinity(0))
    added = engine_environment(options, device, os.environ, cpus=cpus, gomp=gomp_library())
    environ = {**os.environ, **added, PREPARED: str(os.getpid())}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)  # noqa: S606


class _Fetch:
    """Fetches model and adapters in a thread, as downloads wait for the network and imports for the CPU.

    A source that cannot be had ends the process at once, not after the import.
    """

    def __init__(self, options: EngineOptions) -> None:
        self._sources = {"": options.source, **options.adapters}
        self._paths: dict[str, Path] = {}
        self._thread = threading.Thread(target=self._run, name="fetch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for name, source in self._sources.items():
                self._paths[name] = fetch(source, progress=report_fetch).path
        except BaseException as error:
            os._exit(_fail(error))

    def result(self) -> tuple[Path, dict[str, Path]]:
        """The folder of the model and those of the adapters by name."""
        self._thread.join()
        paths = dict(self._paths)
        return paths.pop(""), paths


def report_fetch(progress: Progress) -> None:
    """Pass a fetch's progress on as a line."""
    reports.progress(
        progress.stage,
        progress.message,
        done=progress.done,
        total=progress.total,
        unit=progress.unit,
        eta_s=progress.eta_s,
    )


def _import_vllm(device: Device) -> None:
    """Import what vLLM's three processes need, once; on a CPU the two others are forked from this one."""
    started = time.monotonic()
    reports.progress("import", "Importing vLLM")
    import uvloop  # noqa: F401
    import vllm.entrypoints.launchers.api_server.entry
    import vllm.entrypoints.launchers.cli_args
    import vllm.v1.engine.async_llm

    if device == "cpu":
        import vllm.v1.engine.core
        import vllm.v1.executor.multiproc_executor
        import vllm.v1.worker.cpu_worker  # noqa: F401
    reports.write("imported", "Imported vLLM", seconds=round(time.monotonic() - started, 1))


def _serve(flags: Sequence[str]) -> bool:
    """Run vLLM's own server until it stops; whether it was asked to."""
    import uvloop
    from vllm.entrypoints.launchers.api_server.entry import run_server_worker
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.entrypoints.launchers.launcher import setup_server
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser(prog="slipway engine -- "))
    args = parser.parse_args(list(flags))
    validate_parsed_serve_args(args)
    address, listener = setup_server(args, reuse_port=False)
    worker: Callable[..., Any] = run_server_worker

    class Loop(SignalCallbacks, uvloop.Loop):  # type: ignore[misc]
        pass

    loop = Loop()
    uvloop.run(worker(address, listener, args, log_config=None), loop_factory=lambda: loop)
    return loop.drain_begun


def _stop_at_once(signum: int, _frame: object) -> None:
    """End a start that is under way: nothing runs yet that could be drained.

    vLLM's own answer, a KeyboardInterrupt, was seen to be lost while the engine core starts. vLLM puts a
    handler that drains in this one's place when it serves.
    """
    for child in _descendants():
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    reports.write("stopped", f"Stopped by {signal.Signals(signum).name} before the start was complete")
    os._exit(0)


def _descendants(proc: Path = Path("/proc")) -> list[int]:
    """The processes below this one, children before grandchildren."""
    parents: dict[int, list[int]] = {}
    for stat in proc.glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(stat.parent.name))
    found = parents.get(os.getpid(), [])
    for pid in found:
        found.extend(parents.get(pid, []))
    return found
