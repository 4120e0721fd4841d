"""Stand-ins for gateway and engine, with faults on demand: `python standins.py ROLE ARGS…`.

The roles: `cli` runs the command `slipway` with stand-in programs, `gateway` and `engine` are those programs,
`background` is the supervisor of `up --detach`. An engine does what its service's environment asks for:
STANDIN_FAULT is a comma-separated list of `fail` (says why, ends with 1), `crash` (ends with 3 and a trace),
`never` (never becomes healthy), `deaf` (ignores SIGTERM), `child` (starts a child of its own), `slow` (waits
for the file $STANDIN_GATE before it is healthy), `doomed` (ends with 3 as soon as that file is gone),
`loner` (only the first is healthy; others end with 3 once that folder holds `go`).
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from slipway.objects.llmservices import LLMService

ME = str(Path(__file__).absolute())


class StandIns:
    """The command lines of this file's roles."""

    def check(self, runtimes: "Collection[str]") -> None:
        if os.environ.get("STANDIN_NO_ENGINE"):
            from slipway.local.errors import EngineMissingError

            raise EngineMissingError("The engines' interpreter is missing: make it with `make envs`.")

    def gateway(self, host: str, port: int, state: Path) -> list[str]:
        return [sys.executable, ME, "gateway", "--host", host, "--port", str(port), "--state", str(state)]

    def engine(self, service: "LLMService", port: int) -> list[str]:
        return [sys.executable, ME, "engine", "--port", str(port), "--name", service.served_name]

    def supervisor(self, arguments: list[str]) -> list[str]:
        return [sys.executable, ME, "background", *arguments]


def say(event: str, message: str, **more: object) -> None:
    print(json.dumps({"ts": 0, "level": "info", "event": event, "message": message, **more}), file=sys.stderr)


def serve(host: str, port: int, path: str, key: str | None, state: Path | None = None) -> None:
    """Answer `path` with 200 until SIGTERM; others with 404, wrong keys with 401.

    With a `state` folder also `/readyz` as a gateway does that has read it, once the file
    $STANDIN_GATEWAY_GATE exists; that it was asked before is seen by `$STANDIN_GATEWAY_GATE-asked`.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = key is None or self.headers.get("Authorization") == f"Bearer {key}"
            ready = state is not None and self.path == "/readyz"
            body = readiness(state) if state is not None and ready else b""
            self.send_response((200 if ready or self.path == path else 404) if allowed else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    server.serve_forever(poll_interval=0.05)


def readiness(state: Path) -> bytes:
    from slipway.local.applying import read_services
    from slipway.local.folders import StateFolder

    gate = os.environ.get("STANDIN_GATEWAY_GATE")
    endpoints = json.loads((state / "endpoints.json").read_text())
    if gate and not Path(gate).exists():
        endpoints = {}
        Path(f"{gate}-asked").touch()
    models = [
        {
            "name": service.served_name,
            "ready": any(each["ready"] for each in endpoints.get(name, [])),
            "reason": "its engine is starting",
        }
        for name, service in read_services(StateFolder(state)).items()
    ]
    return json.dumps({"models": models}).encode()


def die_without(gate: Path) -> None:
    while gate.exists():
        time.sleep(0.02)
    os._exit(3)


def alone(gate: Path) -> None:
    try:
        gate.mkdir()
    except FileExistsError:
        while not (gate / "go").exists():
            time.sleep(0.02)
        sys.exit(3)


def engine(port: int) -> None:
    faults = os.environ.get("STANDIN_FAULT", "").split(",")
    signal.signal(signal.SIGTERM, signal.SIG_IGN if "deaf" in faults else lambda *_: os._exit(0))
    say("progress", "Reading the model", stage="download", done=5e6, total=10e6, unit="B", eta_s=3)
    if "child" in faults:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if "fail" in faults:
        say("failed", "There is no model at file:///nowhere: name one that exists.", reason="ModelMissing")
        sys.exit(1)
    if "crash" in faults:
        print("Traceback (most recent call last):\nValueError: a trace", file=sys.stderr)
        sys.exit(3)
    gate = os.environ.get("STANDIN_GATE")
    if "loner" in faults and gate:
        alone(Path(gate))
    while "slow" in faults and gate and not Path(gate).exists():
        time.sleep(0.02)
    if "doomed" in faults and gate:
        threading.Thread(target=die_without, args=(Path(gate),), daemon=True).start()
    say("progress", "Loading", stage="load", done=10, total=100, unit="%")
    serve("127.0.0.1", port, "/nothing" if "never" in faults else "/health", os.environ["SLIPWAY_ENGINE_KEY"])


def main(role: str, arguments: list[str]) -> None:
    if role == "cli":
        from slipway.cli import main as slipway

        slipway(arguments, prog_name="slipway", obj=StandIns())
    elif role == "background":
        from slipway.local.background import supervise

        sys.exit(supervise(arguments, StandIns()))
    elif role == "engine":
        engine(int(arguments[arguments.index("--port") + 1]))
    else:
        if os.environ.get("STANDIN_GATEWAY_FAULT") == "crash":
            sys.exit("the gateway cannot start")
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        host, port = arguments[arguments.index("--host") + 1], int(arguments[arguments.index("--port") + 1])
        state = Path(arguments[arguments.index("--state") + 1])
        serve(host, port, "/livez", None, state)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
