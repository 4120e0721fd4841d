"""Stages of a FineTune without a model, for clusters that need faults no real training has on demand.

It keeps the contract of `python -m slipway.training` and of `python -m slipway.training.registry serve`
(arguments, progress, checkpoint and code 75 on SIGTERM, termination message), in one file of the standard
library. What it does is in the variable FAKE_TRAINING, JSON by stage:

    steps, seconds     of one stage, and of one step (4, 0.1)
    fail               "REASON:MESSAGE", at the last step
    exit               ends with this code at the last step, without a word
    memory             MiB that it takes at the last step
"""

import hashlib
import http.server
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

STOPPED = 75
RESULTS: dict[str, dict[str, Any]] = {
    "prepare": {"records": {"train": 8, "validation": 1, "test": 1}},
    "search": {
        "best": "trial-1",
        "trials": [{"name": "trial-1", "phase": "Succeeded", "metrics": {"eval_loss": 0.5}}],
    },
    "train": {"kind": "adapter", "metrics": {"loss": 0.25}},
    "evaluate": {"metrics": {"accuracy": 0.9375}},
    "register": {},
}


def main(arguments: list[str]) -> int:
    if arguments[0] == "serve":
        return serve(Path(given(arguments, "--root")), int(given(arguments, "--port")))
    stage, name = arguments[0], given(arguments, "--run")
    workspace = Path(given(arguments, "--workspace"))
    run = workspace / "runs" / name
    run.mkdir(parents=True, exist_ok=True)
    asked = json.loads(os.environ.get("FAKE_TRAINING", "{}")).get(stage, {})
    (run / "finetune.yaml").write_text(Path(given(arguments, "--fine-tune")).read_text())
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.append(number))
    told: dict[str, Any] = {"stage": stage}
    tell(told, int(given(arguments, "--serve-progress")))
    checkpoint = run / f"{stage}-checkpoint"
    step = begun = int(checkpoint.read_text()) if checkpoint.exists() else 0
    total, seconds = asked.get("steps", 4), asked.get("seconds", 0.1)
    with (run / "begun.log").open("a") as log:
        log.write(f"{stage} at {begun}\n")
    print((run / "begun.log").read_text(), flush=True)
    while step < total:
        told |= {"step": step, "total_steps": total, "eta_seconds": (total - step) * seconds}
        told |= {"message": f"{stage} works.", "metrics": {"loss": round(1 / (step + 1), 3)}}
        time.sleep(seconds)
        step += 1
        checkpoint.write_text(str(step))
        if stopping:
            return STOPPED
    if "memory" in asked:
        _ = bytearray(asked["memory"] << 20)
    if "exit" in asked:
        print("it ends without a word", flush=True)
        return int(asked["exit"])
    checkpoint.unlink()
    outcome: dict[str, Any] = {
        "stage": stage,
        "state": "Succeeded",
        "message": f"{stage} is done.",
        "result": {},
    }
    if "fail" in asked:
        reason, _, message = asked["fail"].partition(":")
        outcome |= {"state": "Failed", "reason": reason, "message": message}
    else:
        outcome["result"] = {**RESULTS[stage], "resumed_at": begun, **result(stage, name, workspace)}
    Path(given(arguments, "--termination-log")).write_text(json.dumps(outcome))
    return 0 if outcome["state"] == "Succeeded" else 1


def result(stage: str, name: str, workspace: Path) -> dict[str, Any]:
    if stage == "prepare":
        return {"dataset": f"{name}/0123"}
    if stage != "register":
        return {}
    registry = workspace / "registry" / name
    spec = (workspace / "runs" / name / "finetune.yaml").read_text()
    digest = hashlib.sha256(spec.encode()).hexdigest()
    known = {each.read_text(): each.name for each in registry.glob("v*")} if registry.exists() else {}
    version = known.get(digest) or f"v{len(known) + 1}"
    registry.mkdir(parents=True, exist_ok=True)
    (registry / version).write_text(digest)
    return {
        "name": name,
        "version": version,
        "digest": f"sha256:{digest}",
        "uri": f"file://{registry}/{version}",
    }


def given(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def tell(told: dict[str, Any], port: int) -> None:
    """Answer GET /progress."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, json.dumps(told).encode())

        def log_message(self, format: str, *args: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("0.0.0.0", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def serve(root: Path, port: int) -> int:
    """Hand the registry out; GET /health."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = root / self.path.strip("/")
            answer(self, b"ok" if self.path == "/health" else file.read_bytes() if file.is_file() else b"")

        def log_message(self, format: str, *args: Any) -> None: ...

    http.server.ThreadingHTTPServer(("0.0.0.0", port), Handler).serve_forever()
    return 0


def answer(handler: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(200 if body else 404)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
