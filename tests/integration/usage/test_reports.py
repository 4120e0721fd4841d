"""Usage and costs as clients read them: /v1/usage, one request's record, OpenAI's organization reports."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import openai
import pytest

from integration.awaiting import until
from integration.gateway.clients import Reply, call
from integration.gateway.conftest import StartUpstream
from integration.usage import seeds
from integration.usage.conftest import Place, StartPlace, ask, make_place

DAY = 86_400
START = seeds.TODAY * DAY


def day(ago: int) -> str:
    return (datetime.fromtimestamp(START, UTC) - timedelta(days=ago)).date().isoformat()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def there(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A gateway over some days of usage by two owners."""
    url = None
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_server").new_database()
    one = make_place(tmp_path_factory.mktemp("usage") / "state", url=url)
    one.state.key("other", "sk-other", owner="default")
    one.state.key("foreign", "sk-foreign", owner="search")
    seeds.add(
        one.engine,
        seeds.record(1),
        seeds.record(2, second=70),
        seeds.record(3, key="other", status=502, error="engine_closed", tokens=(0, 0, 0, 0)),
        seeds.record(4, day=1, model="e", operation="embeddings", tokens=(7, 0, 0, 70)),
        seeds.record(
            5, day=1, key="foreign", owner="search", batch="batch_1", tokens=(2, 3, 0, 1_500_000_000)
        ),
        seeds.record(6, day=40),
        seeds.record(7, day=1, operation="tokenize", tokens=(0, 0, 0, 0)),
    )
    one.open()
    yield one
    one.close()


async def get(there: Place, path: str, key: str = "sk-boss") -> Reply:
    return await call(there.gateways[0].port(), path, key=key)


async def test_usage_is_parted_as_asked(there: Place) -> None:
    reply = await get(there, "/v1/usage?group_by=day,key")

    assert reply.status == 200
    assert [(row["day"], row["key"], row["requests"], row["failed"]) for row in reply.json["data"]] == [
        (day(1), "foreign", 1, 0),
        (day(1), "local", 2, 0),
        (day(0), "local", 2, 0),
        (day(0), "other", 1, 1),
    ]
    assert reply.json["data"][2] == {
        "day": day(0),
        "key": "local",
        "requests": 2,
        "failed": 0,
        "prompt_tokens": 20,
        "completion_tokens": 10,
        "cached_tokens": 8,
        "cost_usd": "0.000002",
    }
    assert reply.json["total"]["requests"] == 6
    assert reply.json["total"]["cost_usd"] == "1.50000207"


async def test_usage_of_a_time_a_model_and_a_page(there: Place) -> None:
    old = await get(there, f"/v1/usage?start={day(40)}&end={day(39)}")
    assert [row["requests"] for row in old.json["data"]] == [1]
    model = await get(there, "/v1/usage?group_by=model&model=e")
    assert [(row["model"], row["prompt_tokens"]) for row in model.json["data"]] == [("e", 7)]
    first = await get(there, "/v1/usage?group_by=day,key&limit=3")
    rest = await get(there, f"/v1/usage?group_by=day,key&limit=3&offset={first.json['next_offset']}")
    assert [len(page.json["data"]) for page in (first, rest)] == [3, 1]
    assert [page.json["has_more"] for page in (first, rest)] == [True, False]
    nothing = await get(there, f"/v1/usage?group_by=owner&start={day(400)}&end={day(390)}")
    assert nothing.json["data"] == []
    assert nothing.json["total"]["requests"] == 0


async def test_a_member_sees_its_owners_usage_and_no_other(there: Place) -> None:
    own = await get(there, "/v1/usage?group_by=owner", key="sk-test")
    assert [(row["owner"], row["requests"]) for row in own.json["data"]] == [("default", 5)]
    assert own.json["total"]["requests"] == 5

    for path in ("/v1/usage?owner=search", "/v1/usage/receipt", "/v1/organization/costs?start_time=0"):
        refused = await get(there, path, key="sk-test")
        assert (refused.status, refused.error["code"]) == (403, "permission_denied"), path
    assert (await get(there, "/v1/usage", key="sk-wrong")).status == 401


WRONG = {
    "/v1/usage?group_by=colour": "group_by",
    "/v1/usage?start=yesterday": "start",
    "/v1/usage?start=2031-01-02&end=2031-01-01": "start",
    "/v1/usage?limit=0": "limit",
    "/v1/usage/receipt?gateway=nonsense": "gateway",
    "/v1/organization/usage/completions": "start_time",
    "/v1/organization/usage/completions?start_time=0&bucket_width=2d": "bucket_width",
    "/v1/organization/usage/completions?start_time=0&limit=32": "limit",
    "/v1/organization/usage/embeddings?start_time=0&group_by=batch": "group_by",
    "/v1/organization/costs?start_time=0&page=next": "page",
}


async def test_a_wrong_question_is_named(there: Place) -> None:
    for path, param in WRONG.items():
        reply = await get(there, path)
        assert (reply.status, reply.error["param"]) == (400, param), path


ODD = (
    "/v1/requests/%00",
    "/v1/requests/" + "x" * 65,
    "/v1/usage?owner=%00",
    "/v1/usage?key=%ff%fe&model=%F0%9F%98%80",
    "/v1/usage?end=0001-01-02",
    "/v1/usage?start=0001-01-01&end=9999-12-31&group_by=day,day,model",
    "/v1/usage?offset=9999999",
    "/v1/usage?start=99999999999999999999",
    "/v1/usage/receipt?start=9999-12-31",
    "/v1/usage/receipt?gateway=000000000000:999999999999999",
    "/v1/organization/costs?start_time=9007199254740991&end_time=9007199254740991",
    "/v1/organization/costs?start_time=0&page=page_999999999999",
    "/v1/organization/costs?start_time=0&project_ids=%00",
    "/v1/organization/usage/completions?start_time=0&bucket_width=1m&limit=1440",
    "/v1/organization/usage/completions?start_time=5&end_time=1",
    "/v1/organization/usage/completions?start_time=0&group_by=model&group_by[]=model&group_by=user_id",
)


async def test_odd_questions_are_answered_or_refused(there: Place) -> None:
    for path in ODD:
        reply = await get(there, path)
        assert reply.status in (200, 400, 404), (path, reply)


async def test_a_request_is_shown_with_where_its_time_went(
    start_upstream: StartUpstream, place: StartPlace
) -> None:
    there = place(await start_upstream(), key={"owner": "search"})
    port = there.start().port()
    there.state.key("foreign", "sk-foreign", owner="support")
    reply = await ask(port, stream=True)
    request_id = reply.headers["x-request-id"]
    await there.recorded(1)

    shown = (await get(there, f"/v1/requests/{request_id}", key="sk-test")).json

    timings = shown["timings"]
    stages = [timings[f"{name}_ms"] for name in ("auth", "limits", "queue", "prefill", "decode")]
    assert all(stage >= 0 for stage in stages)
    assert sum(stages) == pytest.approx(timings["total_ms"], abs=0.01)
    assert (shown["model"], shown["status"], shown["stream"], shown["earlier"]) == ("m", 200, True, [])
    assert shown["cost_usd"] == "0.0000065"
    assert (await get(there, f"/v1/requests/{request_id}")).json == shown
    await until(lambda: len(there.gateways[0].events("catalog")) > 1, "the other key")
    foreign = await get(there, f"/v1/requests/{request_id}", key="sk-foreign")
    assert (foreign.status, foreign.error["code"]) == (404, "request_not_found")


@pytest.fixture
async def client(there: Place) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's own client, with an admin key."""
    async with openai.AsyncOpenAI(
        base_url=f"http://127.0.0.1:{there.gateways[0].port()}/v1", api_key="sk-test", admin_api_key="sk-boss"
    ) as one:
        yield one


async def test_openais_client_reads_completions_usage(client: openai.AsyncOpenAI) -> None:
    usage = client.admin.organization.usage
    page = await usage.completions(
        start_time=START - DAY, end_time=START + DAY, group_by=["project_id", "model"]
    )

    assert not page.has_more
    assert [(each.start_time, each.end_time) for each in page.data] == [
        (START - DAY, START),
        (START, START + DAY),
    ]
    results = [
        (each.project_id, each.model, each.num_model_requests, each.input_tokens, each.output_tokens)
        for bucket in page.data
        for each in bucket.results
        if each.object == "organization.usage.completions.result"
    ]
    assert results == [("search", "m", 1, 2, 3), ("default", "m", 3, 20, 10)]
    (today,) = page.data[1].results
    assert today.object == "organization.usage.completions.result"
    assert (today.input_cached_tokens, today.api_key_id, today.user_id, today.batch) == (8, None, None, None)


async def test_openais_client_filters_and_asks_for_minutes(client: openai.AsyncOpenAI) -> None:
    usage = client.admin.organization.usage
    minutes = await usage.completions(
        start_time=START, end_time=START + 180, bucket_width="1m", api_key_ids=["local"]
    )
    assert [len(each.results) for each in minutes.data] == [1, 1, 0]
    batches = await usage.completions(start_time=START - DAY, batch=True, group_by=["batch", "api_key_id"])
    (result,) = [each for bucket in batches.data for each in bucket.results]
    assert result.object == "organization.usage.completions.result"
    assert (result.batch, result.api_key_id) == (True, "foreign")
    embedded = await usage.embeddings(
        start_time=START - DAY, end_time=START, models=["e"], user_ids=["default"]
    )
    (one,) = embedded.data[0].results
    assert one.object == "organization.usage.embeddings.result"
    assert (one.num_model_requests, one.input_tokens) == (1, 7)


async def test_openais_client_reads_costs_page_by_page(client: openai.AsyncOpenAI) -> None:
    costs: dict[str | None, float] = {}
    page_name: str | openai.Omit = openai.omit
    pages = 0
    while True:
        page = await client.admin.organization.usage.costs(
            start_time=START - 45 * DAY,
            end_time=START + DAY,
            limit=20,
            group_by=["project_id"],
            page=page_name,
        )
        pages += 1
        for bucket in page.data:
            for each in bucket.results:
                assert each.object == "organization.costs.result"
                assert each.amount is not None
                assert each.amount.currency == "usd"
                costs[each.project_id] = costs.get(each.project_id, 0) + (each.amount.value or 0)
        if page.next_page is None:
            break
        page_name = page.next_page

    assert pages == 3
    assert costs == pytest.approx({"search": 1.5, "default": 3070e-9})


async def test_a_member_key_is_no_admin_key(there: Place) -> None:
    async with openai.AsyncOpenAI(
        base_url=f"http://127.0.0.1:{there.gateways[0].port()}/v1", api_key="x", admin_api_key="sk-test"
    ) as member:
        with pytest.raises(openai.PermissionDeniedError):
            await member.admin.organization.usage.costs(start_time=START)
