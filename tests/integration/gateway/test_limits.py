"""Limits and budgets as clients meet them."""

import asyncio
from typing import Any

from integration.gateway.clients import Reply, chat
from integration.gateway.conftest import Running, Start, StartUpstream

PRICES = {"inputPerMillion": "1000", "outputPerMillion": "1000"}
"""A tenth of a cent a token; the scripted engine answers with nine."""


async def served(
    start: Start, start_upstream: StartUpstream, *, owner: dict[str, Any] | None = None, **key: Any
) -> Running:
    """A gateway of the models m and o, a key of the owner ops, and the owner's own limits."""
    upstream = await start_upstream()
    gateway = await start(upstream)
    gateway.state.service("m", pricing=PRICES)
    gateway.state.service("o", pricing=PRICES)
    gateway.state.key(owner="ops", **key)
    if owner is not None:
        gateway.state._object("owner", "Owner", "ops", {"limits": owner})
    gateway.state.endpoints(m=[upstream.address], o=[upstream.address])
    await gateway.until(lambda: "o" in gateway.gateway.catalog.snapshot.models)
    await gateway.until(lambda: bool(gateway.gateway.catalog.snapshot.owners) == (owner is not None))
    return gateway


async def ask(gateway: Running, model: str = "m", **fields: Any) -> Reply:
    return await gateway.call("/v1/chat/completions", chat(model=model, **{"max_tokens": 5} | fields))


async def levels(gateway: Running) -> dict[tuple[str, str | None, str], dict[str, Any]]:
    """What /v1/limits says, by subject, model and limit."""
    data = (await gateway.call("/v1/limits")).json["data"]
    return {(each["subject"], each["model"], each["limit"]): each for each in data}


async def test_a_burst_does_not_get_past_a_budget(start: Start, start_upstream: StartUpstream) -> None:
    """The price of what a request may use is set aside before it is made, and given back after it."""
    gateway = await served(start, start_upstream, limits={"budgetUSD": {"day": "0.03"}})
    replies = await asyncio.gather(*(ask(gateway) for _ in range(20)))
    passed = [reply for reply in replies if reply.status == 200]
    refused = next(reply for reply in replies if reply.status == 429)
    assert 1 <= len(passed) <= 3
    assert (refused.error["code"], refused.error["type"]) == ("budget_exceeded", "insufficient_quota")
    assert refused.error["message"].startswith("This key may spend $0.03 a day;")
    assert refused.error["message"].endswith("00:00 UTC.")
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    level = (await levels(gateway))["key", None, "budget_day"]
    assert (level["amount"], level["used"], level["unit"]) == ("0.03", f"0.0{9 * len(passed):02d}", "usd")


async def test_a_request_that_alone_exceeds_a_budget_is_told_so(
    start: Start, start_upstream: StartUpstream
) -> None:
    gateway = await served(start, start_upstream, limits={"budgetUSD": {"week": "0.01"}})
    reply = await ask(gateway, max_tokens=1000)
    assert (reply.status, reply.error["code"]) == (400, "request_too_large_for_limit")
    # One that sets no bound fits: the gateway sets less aside for it.
    assert (await ask(gateway, max_tokens=None)).status == 200


async def test_a_keys_limits_on_models_count_apart(start: Start, start_upstream: StartUpstream) -> None:
    limits = [{"model": "m*", "requestsPerMinute": 1}, {"model": "*", "requestsPerMinute": 2}]
    gateway = await served(start, start_upstream, modelLimits=limits)
    assert [(await ask(gateway, "m")).status for _ in range(2)] == [200, 429]
    replies = [await ask(gateway, "o") for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert replies[2].error["message"].startswith("This key on the model `o` may make 2 requests a minute.")
    shown = await levels(gateway)
    assert {key: level["used"] for key, level in shown.items()} == {
        ("model", "m", "requests_per_minute"): 1,
        ("model", "e", "requests_per_minute"): 0,
        ("model", "o", "requests_per_minute"): 2,
    }


async def test_an_owners_keys_share_its_limits(start: Start, start_upstream: StartUpstream) -> None:
    gateway = await served(start, start_upstream, owner={"tokensPerDay": 20, "requestsPerMinute": 3})
    gateway.state.key("second", "sk-second", owner="ops")
    await gateway.until(lambda: len(gateway.gateway.catalog.snapshot.keyring.keys) == 2)
    first = await ask(gateway)
    assert first.headers["x-ratelimit-remaining-requests"] == "2"
    second = await gateway.call("/v1/chat/completions", chat(max_tokens=5), key="sk-second")
    assert second.status == 200
    third = await ask(gateway)
    assert (third.status, third.error["type"]) == (429, "tokens")
    assert third.error["message"].startswith(
        "The owner `ops`, with all keys together, may use 20 tokens a day. It begins anew at"
    )
    metrics = (await gateway.call("/metrics", key=None)).body.decode()
    assert 'slipway_limited_total{limit="tokens_per_day",subject="owner"} 1.0' in metrics
    level = (await levels(gateway))["owner", None, "tokens_per_day"]
    assert (level["used"], level["remaining"]) == (18, 2)


async def test_a_key_without_limits_reserves_nothing(start: Start, start_upstream: StartUpstream) -> None:
    gateway = await served(start, start_upstream)
    reply = await ask(gateway)
    assert reply.status == 200
    assert not [name for name in reply.headers if name.startswith("x-ratelimit")]
    assert await levels(gateway) == {}
