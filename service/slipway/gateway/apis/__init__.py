"""HTTP routes that are not relayed, a module an area; each makes a FastAPI router from what it needs."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import Request

from slipway.gateway.auth import Key
from slipway.gateway.errors import APIError
from slipway.gateway.identity.audit import Audit
from slipway.gateway.identity.identities import Identities
from slipway.gateway.requests import read_head

Caller = Callable[[Request], Awaitable[Key]]
"""Who makes a request. Raises APIError 401."""


def make_caller(identities: Identities, audit: Audit) -> Caller:
    """Finds the caller as the relayed routes do."""

    async def caller(request: Request) -> Key:
        head = read_head(request.scope["headers"])
        try:
            found = await identities.resolve(head)
        except APIError as error:
            audit.refused(None, error.code, request.scope["path"][:128], head.request_id.decode())
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
