"""Things that requests name, made when they are first named: files, batches, keys, owners, …"""

import json
from collections.abc import Callable
from itertools import count
from typing import Any

from schemathesis import Case

from integration.waiting import until

Ask = Callable[..., Any]
"""Makes a request: an operation's label, and the parts of the request."""
_NUMBERS = count()
_SAID = [{"role": "user", "content": "Hi"}]


class Made:
    """One of each kind that is there; another once it was deleted."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._there: dict[str, str] = {}
        self._making: dict[str, Callable[[], str]] = {
            "/v1/files/{file}": self._file,
            "/v1/batches/{batch}": self._batch,
            "/v1/fine_tuning/jobs/{job}": self._job,
            "/v1/responses/{response}": self._response,
            "/v1/requests/{request_id}": self._request,
            "/v1/keys/{name}": lambda: self._named("POST /v1/keys"),
            "/v1/owners/{name}": lambda: self._named("POST /v1/owners"),
            "/v1/models/{name}": lambda: "m",
        }

    def name_in_path(self, case: Case[Any]) -> None:
        """Put the name of something that is there into a path that takes one."""
        for kind in self._making:
            if case.path.startswith(kind):
                name = kind.partition("{")[2].rstrip("}")
                case.path_parameters = {**(case.path_parameters or {}), name: self._one(kind)}
                if case.method == "DELETE" or case.path.endswith("/cancel"):
                    del self._there[kind]

    def name_in_body(self, body: Any) -> None:
        """Put the names of things that are there into the fields that take them."""
        if not isinstance(body, dict):
            return
        for field, kind in (
            ("input_file_id", "/v1/files/{file}"),
            ("request_id", "/v1/requests/{request_id}"),
        ):
            if isinstance(body.get(field), str):
                body[field] = self._one(kind)
        for field in ("training_file", "validation_file"):
            if isinstance(body.get(field), str):
                body[field] = self._examples()

    def _one(self, kind: str) -> str:
        if kind not in self._there:
            self._there[kind] = self._making[kind]()
        return self._there[kind]

    def _file(self) -> str:
        return self._id(
            "POST /v1/files", {"file": b"{}", "purpose": "batch"}, media_type="multipart/form-data"
        )

    def _examples(self) -> str:
        turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
        lines = b"".join(json.dumps({"messages": turns}).encode() + b"\n" for _ in range(10))
        return self._id(
            "POST /v1/files", {"file": lines, "purpose": "fine-tune"}, media_type="multipart/form-data"
        )

    def _job(self) -> str:
        return self._id("POST /v1/fine_tuning/jobs", {"model": "m", "training_file": self._examples()})

    def _batch(self) -> str:
        return self._id(
            "POST /v1/batches",
            {
                "input_file_id": self._one("/v1/files/{file}"),
                "endpoint": "/v1/chat/completions",
                "completion_window": "24h",
            },
        )

    def _response(self) -> str:
        return self._id("POST /v1/responses", {"model": "m", "input": "Hi", "background": True})

    def _request(self) -> str:
        answer = self._ask("POST /v1/chat/completions", body={"model": "m", "messages": _SAID})
        name = str(answer.headers["x-request-id"][0])

        def recorded() -> bool:
            found = self._ask("GET /v1/requests/{request_id}", path_parameters={"request_id": name})
            return bool(found.status_code == 200)

        until(recorded, "the request is recorded")
        return name

    def _named(self, label: str) -> str:
        return self._id(label, {"name": f"made-{next(_NUMBERS)}"})

    def _id(self, label: str, body: object, **parts: Any) -> str:
        return str(self._ask(label, body=body, **parts).json()["id"])
