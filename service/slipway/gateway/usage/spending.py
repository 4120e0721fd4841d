"""What a key or an owner has spent since a period began: what limits by the calendar begin to count from."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from slipway.gateway.limits.contract import Subject
from slipway.gateway.limits.periods import begins
from slipway.gateway.storage.database import Database
from slipway.gateway.usage.tables import usage_days

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Spending:
    """The seed of the limits' counters. Raises APIError 503 while the database is away."""

    database: Database

    async def __call__(self, subject: Subject, period: str, seconds: float) -> tuple[int, int]:
        """(tokens, nano-dollars) that the subject used in the `period` that `seconds` lies in."""
        day = begins(period, seconds) // DAY_S
        model = subject.model if subject.kind == "model" else None
        by = "owner" if subject.kind == "owner" else "key"
        return await self.database.read(lambda connection: spent(connection, by, subject.name, model, day))


def spent(connection: Connection, by: str, name: str, model: str | None, first_day: int) -> tuple[int, int]:
    """(tokens, nano-dollars) of a `key` or `owner` since a day (days since 1970), by one model or all."""
    table = usage_days
    query = select(
        func.coalesce(func.sum(table.c.prompt_tokens + table.c.completion_tokens), 0),
        func.coalesce(func.sum(table.c.cost_nano), 0),
    ).where(table.c[by] == name, table.c.day >= first_day)
    if model is not None:
        query = query.where(table.c.served_model == model)
    tokens, cost = connection.execute(query).one()
    return int(tokens), int(cost)
