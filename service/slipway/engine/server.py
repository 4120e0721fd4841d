"""`slipway engine` with vLLM: fetches the model while vLLM is imported, then runs vLLM's server on it."""

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from slipway.engine import followers, reports
from slipway.engine.draining import SignalCallbacks
from slipway.engine.environments import engine_environment, find_device, gomp_library, memory_limit
from slipway.engine.failures import FirstError
from slipway.engine.options import Device, EngineOptions, check_args, vllm_flags
from slipway.engine.starting import Fetch, answer_signals, fail
from slipway.engine.templates import chat_template, tool_calling

PREPARED = "SLIPWAY_ENGINE_PREPARED"


def run(options: EngineOptions) -> int:
    """Serve until SIGTERM; the exit code: 0 after a drain, 1 for a failed start, 2 for wrong arguments."""
    reports.configure_logging()
    first_error = FirstError()
    logging.getLogger("vllm").addHandler(first_error)
    answer_signals()
    try:
        check_args(options.args)
        device = find_device(options.device)
        if find_spec("vllm") is None:
            raise ModuleNotFoundError(name="vllm")
        _prepare_process(options, device)
        fetched = Fetch(options)
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
        if not _serve(flags, options.drain_timeout):
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
        return fail(error, first_error.text)
    return 0


def _prepare_process(options: EngineOptions, device: Device) -> None:
    """Start the interpreter anew with the variables that only count at a process's start."""
    if os.environ.get(PREPARED) == str(os.getpid()):
        return
    cpus = len(os.sched_getaffinity(0))
    added = engine_environment(options, device, os.environ, cpus=cpus, gomp=gomp_library())
    environ = {**os.environ, **added, PREPARED: str(os.getpid())}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)  # noqa: S606


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


def _serve(flags: Sequence[str], drain_timeout: float) -> bool:
    """Run vLLM's own server, or this node's part of one, until it stops; whether it was asked to."""
    import uvloop
    from vllm.entrypoints.launchers.api_server.entry import run_server_worker
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.entrypoints.launchers.launcher import setup_server
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = make_arg_parser(FlexibleArgumentParser(prog="slipway engine -- "))
    args = parser.parse_args(list(flags))
    validate_parsed_serve_args(args)
    if args.headless:
        return followers.compute(args, drain_timeout)
    address, listener = setup_server(args, reuse_port=False)
    worker: Callable[..., Any] = run_server_worker

    class Loop(SignalCallbacks, uvloop.Loop):  # type: ignore[misc]
        pass

    loop = Loop()
    uvloop.run(worker(address, listener, args, log_config=None), loop_factory=lambda: loop)
    return loop.drain_begun
