"""The one shape of every error answer: OpenAI's envelope, a status, a sentence with the mend."""

import re
from collections.abc import Iterable

import orjson

Headers = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")


class APIError(Exception):
    """An answer that is not a success; it becomes the envelope `{"error": {message, type, param, code}}`.

    `status` is the HTTP status, `kind` the envelope's `type`, `param` the request field at fault.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        kind: str | None = None,
        param: str | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.kind = kind or ("server_error" if status >= 500 else "invalid_request_error")
        self.param = param
        self.headers = tuple(headers)

    def body(self) -> bytes:
        """The envelope as JSON."""
        return envelope(self.message, self.kind, self.param, self.code)


def envelope(message: str, kind: str, param: str | None, code: str) -> bytes:
    """OpenAI's error envelope as JSON bytes."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


def retry_after(seconds: float) -> Headers:
    """`Retry-After` in whole seconds, and `retry-after-ms`, which OpenAI's SDKs read first."""
    whole = max(1, int(-(-seconds // 1)))
    return [
        (b"retry-after", str(whole).encode()),
        (b"retry-after-ms", str(max(1, int(seconds * 1000))).encode()),
    ]


def invalid_request(message: str, param: str | None = None, code: str = "invalid_value") -> APIError:
    """400: the request itself is wrong."""
    return APIError(400, code, message, param=param)


def invalid_api_key() -> APIError:
    """401: one answer for every key that is not good, whatever is wrong with it."""
    return APIError(
        401,
        "invalid_api_key",
        "The API key is missing or not valid. Send `Authorization: Bearer KEY` with a key issued here.",
        headers=[(b"www-authenticate", b"Bearer")],
    )


def model_not_found(name: str) -> APIError:
    """404: the model does not exist, or this key may not know that it does."""
    shown = name if len(name) <= 100 else name[:100] + "…"
    return APIError(
        404,
        "model_not_found",
        f"The model `{shown}` does not exist or this key may not use it. GET /v1/models lists those it may.",
        param="model",
    )


ASK = "Those who run it can see why."
"""What clients are told in place of a cause that names what runs where."""


def model_not_ready(name: str, why: str, seconds: float = 5.0) -> APIError:
    """503: the model is known, but no engine serves it now."""
    return APIError(
        503, "model_not_ready", f"The model `{name}` is not ready: {why}", headers=retry_after(seconds)
    )


def permission_denied(what: str) -> APIError:
    """403: the key is good, but this is not for it."""
    return APIError(403, "permission_denied", f"{what} needs a key with the role `admin`.")


def overloaded(why: str, seconds: float = 1.0) -> APIError:
    """503: a bound of the gateway is reached."""
    return APIError(503, "overloaded", why, headers=retry_after(seconds))


def body_too_large(limit: int) -> APIError:
    """413: the body is over the bound."""
    return APIError(413, "request_too_large", f"The request body is larger than {limit} bytes. Send less.")


def request_timeout(what: str) -> APIError:
    """408: the client was too slow."""
    return APIError(
        408, "request_timeout", f"{what} did not arrive in time. Send it faster, or in smaller parts."
    )


def internal_error() -> APIError:
    """500: a fault of the gateway; the text says nothing about its inside."""
    return APIError(
        500, "internal_error", "The gateway failed. Its log has the cause under this answer's x-request-id."
    )


# A path, an address or a trace in an engine's words tells about the inside: such words do not pass.
_INSIDE = re.compile(
    r"(?:/[\w.@+-]+){2,}|[A-Za-z]:\\|\bFile \"|Traceback|0x[0-9a-fA-F]{6,}|\.py\b|\b\d{1,3}(?:\.\d{1,3}){3}\b"
)


def passable(message: object, fallback: str, longest: int = 1000) -> str:
    """An engine's words if they may reach the client, otherwise `fallback`."""
    if not isinstance(message, str) or not message.strip() or len(message) > longest:
        return fallback
    return fallback if _INSIDE.search(message) else message
