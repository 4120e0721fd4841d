"""What is wrong with a request, as an answer in OpenAI's envelope."""

from dataclasses import dataclass


@dataclass(eq=False)
class RequestError(Exception):
    """A request that is not answered; `message` says how to mend it."""

    status: int
    code: str
    message: str
    param: str | None = None
    retry_after: int | None = None
    """Seconds after which the same request may be taken."""

    def document(self) -> dict[str, object]:
        """The body of the answer."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {
            "error": {"message": self.message, "type": kind, "param": self.param, "code": self.code},
        }


def invalid(message: str, param: str | None = None) -> RequestError:
    """A request that no repetition makes right."""
    return RequestError(400, "invalid_request", message, param)


def queue_full() -> RequestError:
    """More waits than the engine takes on."""
    return RequestError(503, "overloaded", "The engine's queue is full. Try again shortly.", retry_after=1)


def failed() -> RequestError:
    """The model failed while it worked on the request; the engine's log says why."""
    return RequestError(500, "engine_failed", "The engine failed while it worked on this request.")
