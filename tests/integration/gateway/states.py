"""A state folder to serve from, written as the supervisor writes it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml


class State:
    """Files are replaced by rename, as docs/architecture.md says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "objects").mkdir(parents=True)
        (folder / "secrets").mkdir()

    def write(self, name: str, data: str) -> None:
        new = self.folder / (name + ".new")
        new.write_text(data)
        new.replace(self.folder / name)

    def service(
        self,
        name: str,
        *,
        task: str = "generate",
        served: str | None = None,
        adapters: Any = (),
        **spec: Any,
    ) -> None:
        model = {"source": "hf://org/model", "task": task, "name": served or name}
        own = {"model": model, "adapters": [{"name": each, "source": "hf://org/a"} for each in adapters]}
        self._object("llmservice", "LLMService", name, own | spec)

    def key(self, name: str = "local", token: str = "sk-test", **spec: Any) -> None:
        digest = hashlib.sha256(token.encode()).hexdigest()
        self._object("apikey", "APIKey", name, spec, {"keyHash": digest})

    def route(self, name: str, **spec: Any) -> None:
        self._object("modelroute", "ModelRoute", name, spec)

    def endpoints(self, **services: Any) -> None:
        """Addresses by service; one that is not ready is written as `!host:port`."""
        document = {
            service: [
                {"address": each.lstrip("!"), "revision": "r1", "ready": not each.startswith("!")}
                for each in addresses
            ]
            for service, addresses in services.items()
        }
        self.write("endpoints.json", json.dumps(document))

    def adapters(self, service: str, *adapters: tuple[str, str, int], state: str = "Ready") -> None:
        """Versions of adapters that engines have loaded: served name, engines' name, weight."""
        rows = [
            {
                **{"name": name, "engineName": engine, "weight": weight, "state": state},
                **{"source": f"file:///registry/{engine}", "fineTune": name},
            }
            for name, engine, weight in adapters
        ]
        self.write("adapters.json", json.dumps({service: rows}))

    def status(self, *, progress: str = "", **services: tuple[str, str, str]) -> None:
        """What the supervisor says of services with one engine each: state, reason, message."""
        rows = [
            {
                **{"name": name, "model": name, "task": "generate", "revision": "r1"},
                **{"state": state, "reason": reason, "message": message},
                **{"replicas": 1, "readyReplicas": int(state == "Ready")},
                "processes": [{"revision": "r1", "state": "Starting", "message": progress}],
            }
            for name, (state, reason, message) in services.items()
        ]
        self.write("status.json", json.dumps({"services": rows}))

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()

    def _object(self, prefix: str, kind: str, name: str, spec: Any, status: Any = None) -> None:
        document = {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        }
        if status is not None:
            document["status"] = status
        self.write(f"objects/{prefix}-{name}.yaml", yaml.safe_dump(document))
