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
from hypothesis import strategies as st
from schemathesis import GenerationMode, checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi import checks as conformance

from integration.gateway.made import Made
from integration.gateway.processes import Process
from integration.gateway.states import State
from integration.gateway.upstreams import Upstream, behave

MEMBER, ADMIN = "sk-test", "sk-admin"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseSchema]:
    """The document as served, over a scripted engine in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    upstream = asyncio.run_coroutine_threadsafe(Upstream(behave).start(), loop).result()
    state = State(tmp_path_factory.mktemp("schema") / "state")
    state.service("m", engine={"args": ["--enable-lora"]})
    state.service("e", task="embed")
    state.service("c", task="classify")
    state.key()
    state.key("boss", ADMIN, role="admin")
    state.endpoints(**{name: [upstream.address] for name in "mec"})
    process = Process(Path(state.folder), fine_tuning_jobs=1000)
    url = f"http://127.0.0.1:{process.port()}"
    # A made-up key beside the real one is refused before anything else is looked at.
    config = SchemathesisConfig.from_dict({"generation": {"with-security-parameters": False}})
    yield schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
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
TAKING = (
    "POST /v1/chat/completions",
    "POST /v1/completions",
    "POST /v1/embeddings",
    "POST /v1/score",
    "POST /v1/rerank",
    "POST /v1/classify",
    "POST /v1/responses",
    "POST /v1/responses/input_tokens",
    "GET /v1/responses/{response}",
    "GET /v1/responses/{response}/input_items",
    "POST /v1/messages",
    "POST /v1/messages/count_tokens",
    "POST /v1/files",
    "GET /v1/files",
    "POST /v1/batches",
    "GET /v1/batches",
    "POST /v1/fine_tuning/jobs",
    "GET /v1/fine_tuning/jobs",
    "GET /v1/fine_tuning/jobs/{job}/events",
    "GET /v1/fine_tuning/jobs/{job}/checkpoints",
    "GET /v1/fine_tuning/jobs/{job}/examples/{part}.jsonl",
    "GET /v1/fine_tuning/jobs/{job}/reports/{name}",
    "GET /v1/usage",
    "GET /v1/usage/receipt",
    "GET /v1/organization/usage/completions",
    "GET /v1/organization/usage/embeddings",
    "GET /v1/organization/costs",
    "POST /v1/keys",
    "GET /v1/keys",
    "PATCH /v1/keys/{name}",
    "POST /v1/keys/{name}/rotate",
    "GET /v1/owners",
    "POST /v1/owners",
    "PATCH /v1/owners/{name}",
    "GET /v1/audit",
    "POST /v1/feedback",
    "GET /v1/feedback",
    "GET /v1/feedback/export",
    "POST /tokenize",
    "POST /detokenize",
)
"""Operations with a query or a body, that can be wrong."""
BARE = (
    "DELETE /v1/responses/{response}",
    "POST /v1/responses/{response}/cancel",
    "GET /v1/files/{file}",
    "DELETE /v1/files/{file}",
    "GET /v1/files/{file}/content",
    "GET /v1/batches/{batch}",
    "POST /v1/batches/{batch}/cancel",
    "GET /v1/fine_tuning/jobs/{job}",
    "GET /v1/fine_tuning/jobs/{job}/reports",
    "POST /v1/fine_tuning/jobs/{job}/cancel",
    "POST /v1/fine_tuning/jobs/{job}/pause",
    "POST /v1/fine_tuning/jobs/{job}/resume",
    "GET /v1/requests/{request_id}",
    "GET /v1/me",
    "GET /v1/sign-in",
    "GET /v1/keys/{name}",
    "DELETE /v1/keys/{name}",
    "GET /v1/owners/{name}",
    "DELETE /v1/owners/{name}",
    "GET /v1/limits",
    "GET /v1/models",
    "GET /v1/models/{name}",
    "GET /livez",
    "GET /readyz",
    "GET /metrics",
)
OPERATIONS = TAKING + BARE
SIGNED = (
    "GET /v1/fine_tuning/jobs/{job}/examples/{part}.jsonl",
    "GET /v1/fine_tuning/jobs/{job}/reports/{name}",
)
"""Whose addresses nobody guesses."""
OPEN = ("GET /v1/sign-in", "GET /livez", "GET /readyz", "GET /metrics", *SIGNED)
_MODELS = {"embeddings": "e", "score": "e", "rerank": "e", "classify": "c"}
CASES = [(label, GenerationMode.POSITIVE) for label in OPERATIONS] + [
    (label, GenerationMode.NEGATIVE) for label in TAKING
]


def operations(api: BaseSchema) -> dict[str, Any]:
    return {each.ok().label: each.ok() for each in api.get_all_operations() if isinstance(each, Ok)}


def test_every_operation_of_the_document_is_tried(api: BaseSchema) -> None:
    found = operations(api)
    taking = [label for label, operation in found.items() if operation.query or operation.body]
    assert sorted(taking) == sorted(TAKING)
    assert sorted(found) == sorted(OPERATIONS)


@pytest.mark.parametrize(("label", "mode"), CASES)
def test_answers_are_as_documented(api: BaseSchema, label: str, mode: GenerationMode) -> None:
    operation = operations(api)[label]
    made = Made(lambda label, **parts: ask(api, label, **parts))
    statuses: set[int] = set()

    @given(operation.as_strategy(generation_mode=mode), st.booleans(), st.sampled_from((MEMBER, ADMIN)))
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def run(case: Any, real: bool, key: str) -> None:
        # A name out of the blue would only ever test the 404.
        if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
            case.body["model"] = _MODELS.get(label.rpartition("/")[2], "m")
        made.name_in_body(case.body)
        if real:
            made.name_in_path(case)
        response = case.call(headers={"authorization": f"Bearer {key}"})
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    run()
    if mode is GenerationMode.POSITIVE and label not in SIGNED:
        assert statuses & {200, 201}, statuses


@pytest.mark.parametrize("label", OPERATIONS)
def test_who_has_no_key_is_told_so(api: BaseSchema, label: str) -> None:
    operation = operations(api)[label]

    @given(operation.as_strategy())
    @settings(max_examples=1, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def run(case: Any) -> None:
        answer = case.call(headers={"authorization": "Bearer sk-wrong"})
        assert (answer.status_code == 401) == (label not in OPEN), answer.text
        case.validate_response(answer, checks=CHECKS)

    run()


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
        if EVENTS in operation.definition.raw["responses"].get("200", {}).get("content", ())
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
    answer = ask(api, label, **parts)
    assert answer.status_code == 200, answer.text
    return answer


def ask(api: BaseSchema, label: str, **parts: Any) -> Any:
    """The answer to one request, once it was found to be as documented."""
    if "body" in parts:
        parts.setdefault("media_type", "application/json")
    case = operations(api)[label].Case(**parts)
    answer = case.call(headers={"authorization": f"Bearer {ADMIN}"})
    case.validate_response(answer, checks=CHECKS)
    return answer


def test_the_document_is_valid(api: BaseSchema) -> None:
    api.validate()
