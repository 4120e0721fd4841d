"""`GET /v1/me`: who the caller is; `GET /v1/sign-in`: how people sign in."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from slipway.gateway.apis import Caller
from slipway.gateway.auth import Key
from slipway.gateway.identity.oidc import OIDC


def router(caller: Caller, oidc: OIDC | None) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    @routes.get("/v1/me")
    async def me(request: Request) -> JSONResponse:
        key = await caller(request)
        return JSONResponse({**described(key), "kind": key.kind})

    @routes.get("/v1/sign-in")
    async def sign_in() -> JSONResponse:
        return JSONResponse({"oidc": None if oidc is None else offered(oidc)})

    return routes


def described(key: Key) -> dict[str, Any]:
    """A key as the API shows it: never its secret, nor a hash of it."""
    return {
        "name": key.name,
        "owner": key.owner,
        "role": key.role,
        "models": list(key.models),
        "limits": key.limits.model_dump(mode="json", by_alias=True, exclude_none=True),
        "modelLimits": [
            each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in key.model_limits
        ],
        "priority": key.priority,
        "expiresAt": None if key.ends is None else key.ends.isoformat(),
        "disabled": key.disabled,
        "declared": key.declared,
    }


def offered(oidc: OIDC) -> dict[str, Any] | None:
    """What a browser needs to sign in; None while the provider is not known or has no client for it."""
    provider, settings = oidc.provider, oidc.settings
    if provider is None or not settings.oidc_client_id or not provider.authorization_endpoint:
        return None
    return {
        "issuer": provider.issuer,
        "client_id": settings.oidc_client_id,
        "authorization_endpoint": provider.authorization_endpoint,
        "token_endpoint": provider.token_endpoint,
        "scopes": list(settings.oidc_scopes),
    }


def origins(oidc: OIDC | None) -> Callable[[], tuple[str, ...]]:
    """Where a page that signs in may send requests to beside the gateway."""

    def found() -> tuple[str, ...]:
        said = offered(oidc) if oidc is not None else None
        if said is None:
            return ()
        scheme, _, rest = str(said["token_endpoint"]).partition("://")
        host = rest.partition("/")[0]
        return (f"{scheme}://{host}",) if host and not set(host) & set(" ;,'\"") else ()

    return found
