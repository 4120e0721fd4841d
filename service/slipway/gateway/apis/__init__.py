"""HTTP routes that are not relayed, a module an area; each makes a FastAPI router from what it needs."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import Request

from slipway.gateway.auth import Key
from slipway.gateway.errors import APIError
from slipway.gateway.identity.audit import Audit
from slipway.gateway.identity.identities import Identities
from slipway.gateway.requests import HEAD, Head

Caller = Callable[[Request], Awaitable[Key]]
"""Who makes a request. Raises APIError 401."""


def head_of(request: Request) -> Head:
    """The request's head as the front door read it."""
    head: Head = request.scope[HEAD]
    return head


def id_of(request: Request) -> str:
    """The request's id, the one in its answer."""
    return head_of(request).request_id.decode()


def route_of(request: Request) -> str:
    """The path of the route that answers, with its parameters' names: what strangers write is not in it."""
    return str(getattr(request.scope.get("route"), "path", ""))


def make_caller(identities: Identities, audit: Audit) -> Caller:
    """Finds the caller as the relayed routes do."""

    async def caller(request: Request) -> Key:
        try:
            found = await identities.resolve(head_of(request))
        except APIError as error:
            if error.status == 401:
                audit.refused(None, error.code, route_of(request), id_of(request))
            raise
        request.state.caller = found
        return found

    return caller


def page(items: Sequence[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    """A page of a list as OpenAI's clients read it."""
    return {
        "object": "list",
        "data": list(items),
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": more,
    }
