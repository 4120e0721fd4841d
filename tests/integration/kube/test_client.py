"""What a call does when the API server refuses, fails, is away or answers with nonsense."""

import asyncio
import socket

import pytest

from integration.kube.apiserver import APIServer
from slipway.kube import Client
from slipway.kube.calls import CallLimits
from slipway.kube.errors import (
    AlreadyExistsError,
    BadAnswerError,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    ServerError,
    TooManyRequestsError,
    UnreachableError,
)
from slipway.kube.kinds import CONFIG_MAP, FINE_TUNE

MAP = {"metadata": {"name": "a", "namespace": "n"}, "data": {"key": "1"}}


async def test_an_object_is_made_read_changed_and_deleted(server: APIServer, client: Client) -> None:
    made = await client.create(CONFIG_MAP, MAP)
    assert (made["kind"], made["data"]) == ("ConfigMap", {"key": "1"})
    with pytest.raises(AlreadyExistsError):
        await client.create(CONFIG_MAP, MAP)
    assert (await client.get(CONFIG_MAP, "n", "a"))["data"] == {"key": "1"}
    changed = await client.apply(CONFIG_MAP, {**MAP, "data": {"key": "2"}})
    assert changed["data"] == {"key": "2"}
    assert await client.delete(CONFIG_MAP, "n", "a") is True
    assert await client.delete(CONFIG_MAP, "n", "a") is False
    with pytest.raises(NotFoundError):
        await client.get(CONFIG_MAP, "n", "a")
    assert client.calls["delete", "configmaps", 404] == 1


async def test_an_apply_names_its_field_manager_and_takes_fields_over(
    server: APIServer, client: Client
) -> None:
    await client.apply(CONFIG_MAP, MAP)
    await client.apply(CONFIG_MAP, MAP, manager="other", force=False, strict=True)
    (_, path, first), (_, _, second) = server.requests
    assert path == "/api/v1/namespaces/n/configmaps/a"
    assert first == {"fieldManager": "tester", "force": "true"}
    assert second == {"fieldManager": "other", "force": "false", "fieldValidation": "Strict"}
    assert server.heads[0]["content-type"] == "application/apply-patch+yaml"


async def test_a_list_comes_in_pages_with_the_kind_of_each_object(server: APIServer, client: Client) -> None:
    for number in range(7):
        server.put(CONFIG_MAP, "n", f"m{number}")
    listing = await client.list(CONFIG_MAP, page=3)
    assert [item["metadata"]["name"] for item in listing.items] == [f"m{number}" for number in range(7)]
    assert {(item["apiVersion"], item["kind"]) for item in listing.items} == {("v1", "ConfigMap")}
    assert len(server.requests) == 3


async def test_a_list_whose_next_page_is_forgotten_starts_again(server: APIServer, client: Client) -> None:
    for number in range(7):
        server.put(CONFIG_MAP, "n", f"m{number}")
    asking = asyncio.create_task(client.list(CONFIG_MAP, page=3))
    while not server.requests:  # noqa: ASYNC110 - any state can be awaited so
        await asyncio.sleep(0)
    server.compact()
    assert len((await asking).items) == 7
    assert client.calls["list", "configmaps", 410] == 1


@pytest.mark.parametrize(
    ("status", "document", "error"),
    [
        (403, {"reason": "Forbidden", "message": "quota exceeded"}, ForbiddenError),
        (409, {"reason": "Conflict", "message": "the object has been modified"}, ConflictError),
        (410, {"reason": "Expired"}, GoneError),
        (422, {"reason": "Invalid", "details": {"causes": [{"field": "spec.x"}]}}, InvalidError),
        (500, {"message": "failed to create typed patch object (n/a): .x: not declared"}, InvalidError),
        (400, "no object", InvalidError),
    ],
)
async def test_a_refusal_is_raised_at_once_as_what_it_is(
    server: APIServer, client: Client, status: int, document: object, error: type[Exception]
) -> None:
    server.refusals.append((status, {}, document))
    with pytest.raises(error):
        await client.get(CONFIG_MAP, "n", "a")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "refusal", [(500, {}, {}), (503, {}, {}), (429, {"retry-after": "0"}, {}), (0, {}, {})]
)
async def test_faults_that_pass_are_tried_again(
    server: APIServer, client: Client, refusal: tuple[int, dict[str, str], object]
) -> None:
    server.put(CONFIG_MAP, "n", "a")
    server.refusals += [refusal, refusal]
    assert (await client.get(CONFIG_MAP, "n", "a"))["metadata"]["name"] == "a"
    assert len(server.requests) >= 3


async def test_faults_that_do_not_pass_end_after_the_attempts_allowed(
    server: APIServer, client: Client
) -> None:
    server.refusals += [(500, {}, {"message": "etcd is away"})] * 9
    with pytest.raises(ServerError, match="etcd is away"):
        await client.get(CONFIG_MAP, "n", "a")
    assert len(server.requests) == 3
    assert client.calls["get", "configmaps", 500] == 3


async def test_a_server_that_asks_for_more_patience_than_there_is_is_not_asked_again(
    server: APIServer, client: Client
) -> None:
    server.refusals.append((429, {"retry-after": "3600"}, {"message": "later"}))
    with pytest.raises(TooManyRequestsError) as caught:
        await client.get(CONFIG_MAP, "n", "a")
    assert caught.value.retry_after == 3600
    assert len(server.requests) == 1


async def test_what_may_have_been_made_is_not_made_twice(server: APIServer, client: Client) -> None:
    server.refusals.append((0, {}, {}))
    with pytest.raises(UnreachableError):
        await client.create(CONFIG_MAP, MAP)
    assert len(server.requests) == 1
    server.refusals.append((429, {"retry-after": "0"}, {}))
    await client.create(CONFIG_MAP, MAP)


async def test_a_server_that_is_away_is_unreachable(server: APIServer, client: Client) -> None:
    await server.stop()
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1"):
        await client.create(CONFIG_MAP, MAP)
    assert client.calls["create", "configmaps", 0] == 3  # Nothing was sent, so it may be tried again.


async def test_nonsense_is_a_bad_answer(server: APIServer, client: Client) -> None:
    server.refusals.append((200, {}, ["no", "object"]))
    with pytest.raises(BadAnswerError):
        await client.get(CONFIG_MAP, "n", "a")


async def test_a_server_that_does_not_answer_in_time_is_unreachable() -> None:
    server = APIServer()
    limits = CallLimits(answer=0.05, attempts=2, first_wait=0.001)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.port = listener.getsockname()[1]
        async with Client(server.connection, limits=limits) as client:
            with pytest.raises(UnreachableError):
                await client.get(FINE_TUNE, "n", "a")
            assert client.calls["get", "finetunes", 0] == 2
