"""What a refused client is told."""

from datetime import UTC, datetime

import pytest

from slipway.gateway.limits import InProcessLimits, Rates, Subject, refusal
from slipway.objects.money import dollars

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp()  # A Wednesday.


async def refused(
    rates: Rates, subject: str = "key", tokens: int = 10, cost: int = 10, key: str = "ops"
) -> tuple[int, str, str, int]:
    store = InProcessLimits(lambda: NOON, lambda: NOON)
    whose = Subject("s", subject, "ops", rates, "m" if subject == "model" else None)  # type: ignore[arg-type]
    while (decision := await store.reserve((whose,), tokens, cost)).reservation is not None:
        pass
    error = refusal(decision, NOON, key)
    return error.status, error.code, error.message, int(dict(error.headers).get(b"retry-after", b"0"))


@pytest.mark.parametrize(
    ("rates", "said", "code", "seconds"),
    [
        (
            Rates(requests=3),
            "may make 3 requests a minute. Try again in 61 seconds.",
            "rate_limit_exceeded",
            61,
        ),
        (Rates(tokens=25), "may use 25 tokens a minute.", "rate_limit_exceeded", 61),
        (Rates(parallel=2), "may have 2 requests in flight. Wait until one ends.", "rate_limit_exceeded", 1),
        (
            Rates(tokens_day=25),
            "may use 25 tokens a day. It begins anew at 2026-03-05 00:00 UTC.",
            "rate_limit_exceeded",
            43_200,
        ),
        (Rates(day=25), "may spend $0.000000025 a day;", "budget_exceeded", 43_200),
        (Rates(week=25), "It begins anew at 2026-03-09 00:00 UTC.", "budget_exceeded", 4 * 86_400 + 43_200),
        (Rates(month=25), "It begins anew at 2026-04-01 00:00 UTC.", "budget_exceeded", 27 * 86_400 + 43_200),
    ],
)
async def test_the_sentence_names_limit_and_time(rates: Rates, said: str, code: str, seconds: int) -> None:
    status, found, message, after = await refused(rates)
    assert (status, found, after) == (429, code, seconds)
    assert said in message


@pytest.mark.parametrize(
    ("subject", "whose"),
    [
        ("key", "This key may"),
        ("model", "This key on the model `m` may"),
        ("owner", "The owner `ops`, with all keys together, may"),
    ],
)
async def test_the_sentence_names_whose_limit_it_is(subject: str, whose: str) -> None:
    assert (await refused(Rates(requests=1), subject))[2].startswith(whose)


@pytest.mark.parametrize("subject", ["key", "model"])
async def test_the_limit_of_the_key_that_made_this_one_is_told_so(subject: str) -> None:
    message = (await refused(Rates(requests=1), subject, key="child"))[2]
    assert message.startswith("The key `ops`, with which this one was made, ")


@pytest.mark.parametrize("rates", [Rates(tokens=5), Rates(tokens_day=5), Rates(day=5), Rates(month=5)])
async def test_a_call_larger_than_the_whole_limit_is_told_so(rates: Rates) -> None:
    status, code, _, after = await refused(rates)
    assert (status, code, after) == (400, "request_too_large_for_limit", 0)


def test_dollars_are_exact() -> None:
    assert [dollars(nano) for nano in (0, 1, 1_500_000_000, 20_000_000_000)] == [
        "0",
        "0.000000001",
        "1.5",
        "20",
    ]
