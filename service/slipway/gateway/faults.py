"""What a client is told when an engine refuses, fails or is not there, in the gateway's own words."""

import orjson

from slipway.gateway import errors
from slipway.gateway.errors import ASK, APIError
from slipway.gateway.relay.constraints import UnsatisfiableError
from slipway.gateway.relay.relay import NoEndpointError, QueueFullError, QueueTimeoutError
from slipway.gateway.relay.transport import (
    BadAnswerError,
    ClosedEarlyError,
    ConnectFailedError,
    TimedOutError,
    TruncatedError,
    UpstreamError,
)


def unanswered(error: NoEndpointError | QueueFullError | QueueTimeoutError, model: str) -> APIError:
    """What a client is told when no engine took its request."""
    match error:
        case NoEndpointError():
            return errors.model_not_ready(model, "its engines are gone. Try again in a few seconds.")
        case QueueFullError(reason="late"):
            return errors.overloaded(
                "All engines of the model are busy, and so many requests wait that this one would not be "
                "served in time. Try again later.",
                error.retry_after,
            )
        case QueueFullError(reason="key"):
            return errors.overloaded(
                "All engines of the model are busy, and this key has as many requests waiting as it may.",
                error.retry_after,
            )
        case QueueFullError():
            return errors.overloaded(
                "All engines of the model are busy and so is the queue. Try again shortly.",
                error.retry_after,
            )
        case QueueTimeoutError(started=False):
            why = f"no engine came up in time. {ASK}"
            return errors.model_not_ready(model, why, max(5.0, error.retry_after))
        case QueueTimeoutError():
            return errors.overloaded(
                "No engine of the model became free in time. Try again shortly.", error.retry_after
            )


def of(error: UpstreamError) -> APIError:
    """What a client is told when its engine gave no usable answer."""
    match error:
        case UnsatisfiableError():
            return errors.invalid_request(
                f"The engine found no way to go on that `{error.param}` allows. Check that its schema or "
                "grammar allows at least one finite text, and does not just lead back to itself.",
                error.param,
                "unsatisfiable_constraint",
            )
        case ConnectFailedError():
            return APIError(
                503,
                "engine_unreachable",
                "The model's engine cannot be reached. Try again in a few seconds.",
                headers=errors.retry_after(2.0),
            )
        case ClosedEarlyError():
            return APIError(
                502, "engine_closed", "The model's engine went away before it answered. Try again."
            )
        case TimedOutError():
            return APIError(504, "engine_timeout", "The model's engine did not answer in time.")
        case TruncatedError():
            return APIError(
                502, "engine_cut_off", "The model's engine went away in the middle of its answer."
            )
        case _:
            return APIError(502, "engine_failed", "The model's engine gave an answer that cannot be used.")


def translate(status: int, said: object, param: str | None, model: str) -> APIError:
    """An engine's error status as the gateway's."""
    if status in (400, 413, 422):
        words = errors.passable(said, "The engine refused the request as not valid.")
        if status == 413:
            return APIError(413, "request_too_large", words)
        return errors.invalid_request(words, param, "invalid_request")
    if status in (429, 503):
        return errors.overloaded("The model's engine takes no more requests now. Try again shortly.", 2.0)
    if status == 404 and isinstance(said, str) and "model" in said.lower():
        return errors.model_not_ready(model, "its engine does not have it yet. Try again in a few seconds.")
    if status in (404, 405, 501):
        return errors.invalid_request(
            f"The engine of `{model}` does not offer this route.", "model", "not_offered"
        )
    if status in (408, 504):
        return of(TimedOutError())
    return of(BadAnswerError())


def said_in(data: bytes) -> tuple[object, str | None]:
    """Message and param in an engine's error body, in whichever of its shapes."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None, None
    if not isinstance(document, dict):
        return None, None
    error = document.get("error")
    inner = error if isinstance(error, dict) else document
    said = inner.get("message") or inner.get("detail") or (error if isinstance(error, str) else None)
    param = inner.get("param")
    return said, param if isinstance(param, str) and len(param) <= 64 else None
