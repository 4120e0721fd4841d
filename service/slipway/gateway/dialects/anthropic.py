"""Anthropic's words for errors: `{"type": "error", "error": {"type", "message"}}`."""

from dataclasses import replace

import orjson

from slipway.gateway.dialects import OPENAI
from slipway.gateway.errors import APIError

_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def error(told: APIError) -> bytes:
    """An error answer's body."""
    kind = _KINDS.get(told.status) or ("api_error" if told.status >= 500 else "invalid_request_error")
    return orjson.dumps({"type": "error", "error": {"type": kind, "message": told.message}})


def error_event(told: APIError) -> bytes:
    """The event that tells a stream's client that it is cut short."""
    return b"event: error\ndata: " + error(told) + b"\n\n"


ANTHROPIC = replace(
    OPENAI,
    error=error,
    error_event=error_event,
    headers=lambda request_id: [(b"request-id", request_id)],
)
