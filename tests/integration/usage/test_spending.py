"""What limits by the calendar begin to count from: the recorded spending of a day, week or month."""

from datetime import UTC, datetime

import pytest

from integration.awaiting import until
from integration.gateway.conftest import StartUpstream
from integration.usage import seeds
from integration.usage.conftest import StartPlace, ask
from slipway.gateway.limits.contract import UNLIMITED, Subject
from slipway.gateway.storage.database import Database
from slipway.gateway.usage.spending import Spending

NOW = seeds.TODAY * 86_400 + 3600.0


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_spending_is_that_of_the_period_and_the_subject(
    request: pytest.FixtureRequest, place: StartPlace, kind: str
) -> None:
    there = place(url=None if kind == "sqlite" else str(request.getfixturevalue("postgres")))
    seeds.add(
        there.engine,
        seeds.record(1),
        seeds.record(2, model="fast", served_model="n"),
        seeds.record(3, key="other"),
        seeds.record(4, key="foreign", owner="search"),
        seeds.record(5, day=1),
        seeds.record(6, day=40),
    )
    database = Database(there.url)
    await database.migrate()
    spending = Spending(database)

    key = Subject("key/local", "key", "local", UNLIMITED)
    model = Subject("model/n@local", "model", "local", UNLIMITED, "n")
    owner = Subject("owner/default", "owner", "default", UNLIMITED)
    nobody = Subject("key/new", "key", "new", UNLIMITED)
    of_day = [await spending(subject, "day", NOW) for subject in (key, model, owner, nobody)]
    assert of_day == [(30, 2000), (15, 1000), (45, 3000), (0, 0)]
    today = datetime.fromtimestamp(NOW, UTC)
    yesterday_too = {"week": today.weekday() > 0, "month": today.day > 1}
    for period, longer in yesterday_too.items():
        assert await spending(key, period, NOW) == ((45, 3000) if longer else (30, 2000))
    database.close()


async def test_a_budget_holds_over_a_restart_and_a_kill(
    start_upstream: StartUpstream, place: StartPlace
) -> None:
    """One request costs 0.0000065 dollars; the budget takes three by their reservations' end."""
    there = place(await start_upstream(), key={"limits": {"budgetUSD": {"month": "0.00002"}}})
    first = there.start()
    port = first.port()
    served = 0
    while (await ask(port, max_tokens=2)).status == 200:
        served += 1
    await there.recorded(served)
    first.kill()
    await until(lambda: not first.running, "the first gateway's end")

    port = there.open()

    reply = await ask(port, max_tokens=2)
    assert served == 3
    assert (reply.status, reply.error["code"]) == (429, "budget_exceeded")
