"""The gateway against its own OpenAPI document: no fault, no answer that the document does not describe."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode, checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi import checks as conformance

from integration.gateway.processes import Process
from integration.gateway.states import State
from integration.gateway.upstreams import Upstream, behave


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseSchema]:
    """The document as served, over a scripted engine in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    upstream = asyncio.run_coroutine_threadsafe(Upstream(behave).start(), loop).result()
    state = State(tmp_path_factory.mktemp("schema") / "state")
    state.service("m")
    state.service("e", task="embed")
    state.service("c", task="classify")
    state.key()
    state.endpoints(**{name: [upstream.address] for name in "mec"})
    process = Process(Path(state.folder))
    url = f"http://127.0.0.1:{process.port()}"
    yield schemathesis.openapi.from_url(f"{url}/openapi.json", config=SchemathesisConfig())
    process.kill()
    asyncio.run_coroutine_threadsafe(upstream.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    assert not upstream.errors


EVENTS = "text/event-stream"
CHECKS = [
    checks.not_a_server_error,
    conformance.status_code_conformance,
    conformance.content_type_conformance,
    conformance.response_headers_conformance,
    conformance.response_schema_conformance,
    conformance.unsupported_method,
]
OPERATIONS = (
    "POST /v1/chat/completions",
    "POST /v1/completions",
    "POST /v1/embeddings",
    "POST /v1/score",
    "POST /v1/rerank",
    "POST /v1/classify",
    "POST /v1/responses",
    "POST /v1/responses/input_tokens",
    "GET /v1/responses/{response}",
    "DELETE /v1/responses/{response}",
    "POST /v1/responses/{response}/cancel",
    "GET /v1/responses/{response}/input_items",
    "POST /v1/messages",
    "POST /v1/messages/count_tokens",
    "POST /tokenize",
    "POST /detokenize",
    "GET /v1/models",
    "GET /v1/models/{name}",
    "GET /livez",
    "GET /readyz",
    "GET /metrics",
)
_MODELS = {"embeddings": "e", "score": "e", "rerank": "e", "classify": "c"}
CASES = [(label, GenerationMode.POSITIVE) for label in OPERATIONS] + [
    (label, GenerationMode.NEGATIVE) for label in OPERATIONS if label.startswith("POST")
]


def operations(api: BaseSchema) -> dict[str, Any]:
    return {each.ok().label: each.ok() for each in api.get_all_operations() if isinstance(each, Ok)}


def test_every_operation_of_the_document_is_tried(api: BaseSchema) -> None:
    assert sorted(operations(api)) == sorted(OPERATIONS)


@pytest.mark.parametrize(("label", "mode"), CASES)
def test_answers_are_as_documented(api: BaseSchema, label: str, mode: GenerationMode) -> None:
    operation = operations(api)[label]
    statuses: set[int] = set()

    @given(operation.as_strategy(generation_mode=mode))
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def run(case: Any) -> None:
        if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
            # A name out of the blue would only ever test the 404.
            case.body["model"] = _MODELS.get(label.rpartition("/")[2], "m")
        response = case.call(headers={"authorization": "Bearer sk-test"})
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    run()
    if mode is GenerationMode.POSITIVE and "{" not in label:
        assert 200 in statuses, statuses


_MESSAGES = [{"role": "user", "content": "Hi"}]
STREAMED: dict[str, dict[str, Any] | None] = {
    "POST /v1/chat/completions": {"messages": _MESSAGES},
    "POST /v1/completions": {"prompt": "Hi"},
    "POST /v1/responses": {"input": "Hi"},
    "POST /v1/messages": {"messages": _MESSAGES, "max_tokens": 5},
    "GET /v1/responses/{response}": None,
}


def test_every_streamed_operation_is_tried(api: BaseSchema) -> None:
    streamed = [
        label
        for label, operation in operations(api).items()
        if EVENTS in operation.definition.raw["responses"]["200"]["content"]
    ]
    assert sorted(streamed) == sorted(STREAMED)


@pytest.mark.parametrize("label", STREAMED)
def test_streams_are_as_documented(api: BaseSchema, label: str) -> None:
    body = STREAMED[label]
    if body is None:
        started = stream(api, "POST /v1/responses", body={"model": "m", "input": "Hi", "background": True})
        identity = json.loads(started.text.partition("data: ")[2].partition("\n")[0])["response"]["id"]
        answer = stream(api, label, path_parameters={"response": identity}, query={"stream": "true"})
    else:
        answer = stream(api, label, body={"model": "m"} | body)
    assert answer.headers["content-type"][0].partition(";")[0] == EVENTS


def stream(api: BaseSchema, label: str, **parts: Any) -> Any:
    """The answer to one request for a stream, once it was found to be as documented."""
    if "body" in parts:
        parts["body"]["stream"] = True
        parts["media_type"] = "application/json"
    case = operations(api)[label].Case(**parts)
    answer = case.call(headers={"authorization": "Bearer sk-test"})
    assert answer.status_code == 200, answer.text
    case.validate_response(answer, checks=CHECKS)
    return answer


def test_the_document_is_valid(api: BaseSchema) -> None:
    api.validate()
