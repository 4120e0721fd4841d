"""What can go wrong between Slipway and a Kubernetes API server.

KubeError
├── ConfigError               no usable kubeconfig or service account
├── UnreachableError          no connection, no answer in time, or an answer cut short
├── BadAnswerError            an answer that is not what the API promises
└── APIStatusError            the API server said no, with a Status
    ├── UnauthorizedError     401
    ├── ForbiddenError        403
    ├── NotFoundError         404
    ├── ConflictError         409: somebody else has changed it, or owns a field
    │   └── AlreadyExistsError    reason AlreadyExists
    ├── GoneError             410: a resourceVersion or continue token is too old
    ├── InvalidError          400, 422: the object or the request is wrong
    ├── TooManyRequestsError  429: overload, or an eviction that a disruption budget forbids
    └── ServerError           5xx
"""

from typing import Any


class KubeError(Exception):
    """Anything that this package raises."""


class ConfigError(KubeError):
    """The kubeconfig or the pod's service account cannot be used; the message says what to mend."""


class UnreachableError(KubeError):
    """The API server could not be reached, did not answer in time, or was cut off."""


class BadAnswerError(KubeError):
    """The answer is no JSON, no object, or longer than any object may be."""


class APIStatusError(KubeError):
    """The API server refused, or failed.

    `status` is the HTTP status, `reason` Kubernetes' one CamelCase word, `message` its sentence, `details`
    the rest of what it says (causes with their fields), `retry_after` seconds if it named any.
    """

    def __init__(
        self,
        status: int,
        reason: str = "",
        message: str = "",
        details: dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message or f"the API server answered {status} {reason}".rstrip())
        self.status = status
        self.reason = reason
        self.message = message
        self.details = details or {}
        self.retry_after = retry_after


class UnauthorizedError(APIStatusError):
    """401: the credentials are missing, wrong or have expired."""


class ForbiddenError(APIStatusError):
    """403: RBAC, a quota or an admission webhook does not allow it."""


class NotFoundError(APIStatusError):
    """404: no such object, or no such kind."""


class ConflictError(APIStatusError):
    """409: it has changed since it was read, or another field manager owns a field."""


class AlreadyExistsError(ConflictError):
    """409 on a create: an object of that name is there."""


class GoneError(APIStatusError):
    """410: the resourceVersion or continue token is older than what the server keeps."""


class InvalidError(APIStatusError):
    """400 or 422: what was sent is wrong; `details` may name fields."""


class TooManyRequestsError(APIStatusError):
    """429: asked to come later."""


class ServerError(APIStatusError):
    """5xx: the API server, or a webhook behind it, failed."""


_BY_STATUS: dict[int, type[APIStatusError]] = {
    400: InvalidError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    422: InvalidError,
    429: TooManyRequestsError,
}


def status_error(status: int, document: Any, retry_after: float | None = None) -> APIStatusError:
    """The error for an HTTP status and what came with it: a Status object, or anything else."""
    fields = document if isinstance(document, dict) else {}
    reason, message, details = (fields.get(name) for name in ("reason", "message", "details"))
    reason = reason if isinstance(reason, str) else ""
    details = details if isinstance(details, dict) else {}
    if retry_after is None and isinstance(details.get("retryAfterSeconds"), int):
        retry_after = float(details["retryAfterSeconds"]) or None
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else APIStatusError)
    if status == 500 and str(message).startswith("failed to create typed patch object"):
        kind = InvalidError  # How server-side apply says that a field is wrong; trying again is useless.
    if status == 409 and reason == "AlreadyExists":
        kind = AlreadyExistsError
    return kind(status, reason, message if isinstance(message, str) else "", details, retry_after)
