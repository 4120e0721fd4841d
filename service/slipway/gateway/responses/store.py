"""Responses in the database: each with its own input and a pointer to the one it goes on from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Row, delete, insert, literal, select, update

from slipway.gateway.errors import APIError, invalid_request
from slipway.gateway.responses.items import Item
from slipway.gateway.responses.tables import WORKING, events, responses

BATCH = 200
"""Rows that one transaction deletes."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a chain of responses may be."""

    links: int
    size: int
    """Bytes of all their items."""


def not_found(response: str, param: str | None = None) -> APIError:
    """404: there is no such response, or it is somebody else's."""
    return APIError(404, "response_not_found", f"There is no response `{response[:64]}`.", param=param)


def begin(
    connection: Connection,
    *,
    response: dict[str, Any],
    items: list[Item],
    owner: str,
    key: str,
    gateway: str,
    stream: bool,
    now_us: int,
    expires_us: int,
    lease_until_us: int,
) -> None:
    """Keep a response that is about to be made."""
    given = orjson.dumps(items).decode()
    row = {
        "id": response["id"],
        "owner": owner,
        "key": key,
        "status": response["status"],
        "background": response["background"],
        "stream": stream,
        "previous": response["previous_response_id"],
        "created_us": now_us,
        "expires_us": expires_us,
        "gateway": gateway,
        "lease_until_us": lease_until_us,
        "size": len(given),
        "input": given,
        "response": orjson.dumps(response).decode(),
    }
    connection.execute(insert(responses).values(row))


def end(connection: Connection, response: dict[str, Any]) -> bool:
    """Keep how a response ended, unless it was ended or deleted before; whether that was done."""
    text = orjson.dumps(response).decode()
    done = connection.execute(
        update(responses)
        .where(responses.c.id == response["id"], responses.c.status.in_(WORKING))
        .values(
            status=response["status"],
            response=text,
            size=responses.c.size + len(text),
            gateway=None,
            lease_until_us=None,
        )
    )
    return done.rowcount > 0


def forget(connection: Connection, response: str) -> None:
    """Forget a response that was never begun."""
    connection.execute(delete(responses).where(responses.c.id == response))


def row_of(connection: Connection, response: str, owner: str) -> Row[Any]:
    """A response of this owner. Raises 404."""
    row = connection.execute(
        select(responses).where(responses.c.id == response, responses.c.owner == owner)
    ).first()
    if row is None:
        raise not_found(response)
    return row


def shown(row: Row[Any]) -> dict[str, Any]:
    """The response in a row."""
    found: dict[str, Any] = orjson.loads(row.response)
    return {**found, "status": row.status}


def inputs(connection: Connection, response: str, owner: str, bounds: Bounds) -> list[Item]:
    """All items that a response was made from, oldest first. Raises 404; earlier ones may be gone."""
    row = row_of(connection, response, owner)
    own: list[Item] = orjson.loads(row.input)
    if row.previous is None:
        return own
    return [*_items(connection, [link.id for link in _links(connection, row.previous, bounds)]), *own]


def chain(
    connection: Connection, response: str, owner: str, bounds: Bounds, expires_us: int, param: str
) -> list[Item]:
    """The items of a response and of all it goes on from, oldest first; all are kept until `expires_us`.

    Raises 404 where one is missing, 400 where it has not ended well or all together are too much.
    """
    found = _links(connection, response, bounds)
    if not found or found[0].owner != owner:
        raise not_found(response, param)
    if found[0].status not in ("completed", "incomplete"):
        raise invalid_request(
            f"The response `{response}` is {found[0].status}; one can go on from a completed one only.",
            param,
        )
    if len(found) > bounds.links or sum(link.size for link in found) > bounds.size:
        raise invalid_request(
            "The conversation before this response is too long. Begin a new one with what matters of it.",
            param,
        )
    if found[-1].previous is not None:
        raise APIError(
            404, "response_not_found", f"An earlier response of `{response}` was deleted.", param=param
        )
    ids = [link.id for link in found]
    older = responses.c.id.in_(ids) & (responses.c.expires_us < expires_us)
    connection.execute(update(responses).where(older).values(expires_us=expires_us))
    return _items(connection, ids)


def _links(connection: Connection, response: str, bounds: Bounds) -> Sequence[Row[Any]]:
    """A response and those it goes on from, newest first; one more than the bound tells that there are more.

    All are of one owner: nobody can go on from another's.
    """
    columns = ("id", "owner", "status", "previous", "size")
    first = select(*(responses.c[name] for name in columns), literal(1).label("depth"))
    links = first.where(responses.c.id == response).cte("links", recursive=True)
    before = responses.alias("before")
    step = select(*(before.c[name] for name in columns), links.c.depth + 1)
    links = links.union_all(step.where(before.c.id == links.c.previous, links.c.depth <= bounds.links))
    return connection.execute(select(links).order_by(links.c.depth)).all()


def _items(connection: Connection, ids: Sequence[str]) -> list[Item]:
    """The items of these responses, theirs and the model's, the last one's first."""
    query = select(responses.c.id, responses.c.input, responses.c.response).where(responses.c.id.in_(ids))
    rows = {row.id: row for row in connection.execute(query)}
    items: list[Item] = []
    for each in reversed(ids):
        items += orjson.loads(rows[each].input)
        items += orjson.loads(rows[each].response)["output"]
    return items


def cancel(connection: Connection, response: str, owner: str) -> Row[Any]:
    """End a response in the background; one that has ended stays as it is. Raises 404, 400."""
    row = row_of(connection, response, owner)
    if not row.background:
        raise invalid_request("Only a response with `background: true` can be cancelled.", "response_id")
    if row.status not in WORKING:
        return row
    end(connection, {**orjson.loads(row.response), "status": "cancelled"})
    return row_of(connection, response, owner)


def remove(connection: Connection, response: str, owner: str) -> None:
    """Delete a response. Raises 404."""
    done = connection.execute(delete(responses).where(responses.c.id == response, responses.c.owner == owner))
    if not done.rowcount:
        raise not_found(response)


def still_wanted(connection: Connection, ids: list[str]) -> set[str]:
    """Those of `ids` that nobody has cancelled or deleted."""
    wanted = select(responses.c.id).where(responses.c.id.in_(ids), responses.c.status.in_(WORKING))
    return set(connection.scalars(wanted))


def renew(connection: Connection, gateway: str, until_us: int) -> None:
    """This gateway lives and works on its responses."""
    mine = (responses.c.gateway == gateway) & responses.c.lease_until_us.is_not(None)
    connection.execute(update(responses).where(mine).values(lease_until_us=until_us))


def abandoned(connection: Connection, now_us: int) -> list[dict[str, Any]]:
    """Responses whose gateway is gone."""
    gone = select(responses.c.response).where(responses.c.lease_until_us < now_us).limit(BATCH)
    return [orjson.loads(text) for text in connection.scalars(gone)]


def record(connection: Connection, response: str, told: list[tuple[int, str]]) -> None:
    """Keep events of a response, by their numbers; none, if it was deleted meanwhile."""
    held = select(responses.c.id).where(responses.c.id == response).with_for_update(read=True, key_share=True)
    if connection.scalar(held) is not None:
        rows = [{"response": response, "sequence": number, "data": data} for number, data in told]
        connection.execute(insert(events), rows)


def told(
    connection: Connection, response: str, owner: str, after: int
) -> tuple[Row[Any], list[tuple[int, str]]]:
    """A response and a batch of its events after that number. Raises 404."""
    row = row_of(connection, response, owner)
    query = select(events.c.sequence, events.c.data).where(events.c.response == response)
    found = connection.execute(
        query.where(events.c.sequence > after).order_by(events.c.sequence).limit(BATCH)
    )
    return row, [(each.sequence, each.data) for each in found]


def forget_events(connection: Connection, before_us: int) -> None:
    """Delete the events of a batch of responses that were begun before then and have ended."""
    ended = (responses.c.created_us < before_us) & responses.c.gateway.is_(None)
    old = select(responses.c.id).where(responses.c.stream, ended, responses.c.id == events.c.response)
    ids = list(connection.scalars(select(events.c.response).where(old.exists()).distinct().limit(BATCH)))
    if ids:
        connection.execute(delete(events).where(events.c.response.in_(ids)))


def expire(connection: Connection, now_us: int) -> int:
    """Delete a batch of responses whose time is over; how many there were."""
    old = list(connection.scalars(select(responses.c.id).where(responses.c.expires_us < now_us).limit(BATCH)))
    if old:
        connection.execute(delete(responses).where(responses.c.id.in_(old)))
    return len(old)
