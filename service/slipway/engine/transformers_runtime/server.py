"""`slipway engine --runtime transformers`: fetches the model while Transformers is imported; serves it."""

import os
import socket
import time
from importlib.util import find_spec
from typing import Any

from slipway.engine import reports
from slipway.engine.draining import SHUTDOWN_S, Drain
from slipway.engine.environments import find_device, worker_threads
from slipway.engine.guard import EngineGuard
from slipway.engine.options import EngineOptions
from slipway.engine.starting import Fetch, answer_signals, fail
from slipway.engine.transformers_runtime import flags
from slipway.engine.transformers_runtime.flags import Flags

RUNTIME = "Transformers"


def run(options: EngineOptions) -> int:
    """Serve until SIGTERM; the exit code: 0 after a drain, 1 for a failed start, 2 for wrong arguments."""
    reports.configure_logging()
    answer_signals()
    try:
        asked = flags.parse(options.args)
        flags.check(options)
        device = find_device(options.device)
        for needed in ("torch", "transformers"):
            if find_spec(needed) is None:
                raise ModuleNotFoundError(name=needed)
        # One text after another is read in one thread; a pool for each would wait for the same cores.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        listener = _bind(options.host, options.port)
        fetched = Fetch(options)
        _import(asked)
        folder, _ = fetched.result()
        reports.progress("load", f"Loading {options.name}")
        from slipway.engine.transformers_runtime.models import load
        from slipway.engine.transformers_runtime.trial import try_out

        model = load(folder, options, device)
        try_out(model)
        if not _serve(model, options, asked, listener):
            reports.failed("EngineDied", "The worker stopped unasked. See the lines above.")
            return 1
    except KeyboardInterrupt:
        return 0
    except BaseException as error:
        return fail(error, runtime=RUNTIME)
    return 0


def _bind(host: str, port: int) -> socket.socket:
    """The engine's socket, bound at once, as a taken port ends the start; it listens when all is ready."""
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener


def _import(asked: Flags) -> None:
    started = time.monotonic()
    reports.progress("import", f"Importing {RUNTIME}")
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(asked.threads or worker_threads(len(os.sched_getaffinity(0))))
    reports.write("imported", f"Imported {RUNTIME}", seconds=round(time.monotonic() - started, 1))


def _serve(model: Any, options: EngineOptions, asked: Flags, listener: socket.socket) -> bool:
    """Answer requests until the end; whether that was asked for."""
    import uvicorn
    import uvloop

    from slipway.engine.transformers_runtime.serving import assemble

    def stop() -> None:
        server.should_exit = True

    engine = assemble(model, options.name, asked, died=stop)
    drain = Drain(options.drain_timeout, stop=stop)
    config = uvicorn.Config(
        EngineGuard(engine.application, drain=drain),
        log_config=None,
        access_log=False,
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    engine.worker.start()
    reports.write("serving", f"{options.name} answers on {options.host}:{options.port}")
    uvloop.run(server.serve(sockets=[listener]))
    if not engine.worker.stop(SHUTDOWN_S):
        os._exit(0 if drain.begun else 1)  # A pass that hangs would hold up the end of the interpreter.
    return drain.begun
