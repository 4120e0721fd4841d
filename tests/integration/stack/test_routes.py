"""Which of vLLM's routes can be reached: compared with those that the running engine has."""

import json
import re
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from integration.stack.running import CHAT, EMBED, Stack
from slipway.engine.guard import KEYED, OPEN

ROUTE = re.compile(r"Route: (\S+), Methods: ([A-Z, ]+)")
RELAYED = {
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/responses",
    "/v1/score",
    "/v1/rerank",
    "/tokenize",
    "/detokenize",
}
GATEWAYS_OWN = {("GET", "/v1/models"), ("GET", "/metrics"), ("GET", "/openapi.json")}


def ask(url: str, method: str, key: str) -> int:
    body = b"{}" if method in ("POST", "PUT") else None
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    try:
        with urlopen(Request(url, body, headers, method=method)) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


def registered(stack: Stack, service: str) -> set[tuple[str, str]]:
    """Method and path of every route that vLLM registered, as it told in its log."""
    found = set()
    for log in (stack.state / "logs").glob(f"{service}*"):
        for line in log.read_text().splitlines():
            if line.startswith("{") and (route := ROUTE.search(json.loads(line).get("message", ""))):
                found |= {(method, route[1]) for method in route[2].split(", ")}
    assert ("POST", "/invocations") in found, "the log names the routes"
    return found


@pytest.fixture(scope="module", params=[CHAT, EMBED])
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def routes(stack: Stack, service: str) -> set[tuple[str, str]]:
    return registered(stack, service)


def test_the_engine_serves_its_list_and_nothing_else_of_vllm(
    stack: Stack, service: str, routes: set[tuple[str, str]]
) -> None:
    url, key = stack.engine(service)
    for method, path in sorted(routes):
        status = ask(url + path, method, key)
        if (method, path) in KEYED | OPEN:
            assert status not in (401, 404, 405), (method, path, status)
        else:
            assert status == 404, (method, path, status)


def test_every_route_on_the_list_is_one_that_vllm_has(stack: Stack) -> None:
    """But /classify, which only classifiers have."""
    both = registered(stack, CHAT) | registered(stack, EMBED)
    assert both >= (KEYED | OPEN) - {("POST", "/classify")}


def test_the_engine_asks_for_its_own_key(stack: Stack) -> None:
    url, _ = stack.engine(CHAT)
    for method, path in sorted(KEYED):
        assert ask(url + path, method, stack.key) == 401, (method, path)


def test_the_gateway_passes_its_list_on_and_nothing_else_of_vllm(
    stack: Stack, routes: set[tuple[str, str]]
) -> None:
    for method, path in sorted(routes):
        status = ask(stack.url + path, method, stack.key)
        if (method == "POST" and path in RELAYED) or (method, path) in GATEWAYS_OWN:
            assert status in (200, 400), (method, path, status)
        else:
            assert status in (404, 405), (method, path, status)
