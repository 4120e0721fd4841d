"""The lines of a batch: what one asks for, what is wrong with it, what came of it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson

from slipway.gateway.errors import APIError

ENDPOINTS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/score",
    "/v1/rerank",
    "/v1/classify",
)
MOST_ERRORS = 100
"""Errors of one file that are told."""


@dataclass(frozen=True, slots=True)
class Line:
    """One request of a batch."""

    number: int
    """Counts from 1, as editors do."""
    custom_id: str
    body: dict[str, Any]


class LineError(Exception):
    """A line that cannot be taken; the message says how to mend it."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


async def numbered(content: AsyncIterator[bytes], longest: int) -> AsyncIterator[tuple[int, bytes]]:
    """The lines of a file that are not empty, with their numbers. Raises LineError for an endless one."""
    rest, number = b"", 0
    async for data in content:
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            number += 1
            if line.strip():
                yield number, line
        if len(rest) > longest:
            raise LineError("line_too_long", f"Line {number + 1} is longer than {longest} bytes.")
    if rest.strip():
        yield number + 1, rest


def read_line(number: int, data: bytes, endpoint: str, longest: int) -> Line:
    """Read one line. Raises LineError."""
    if len(data) > longest:
        raise LineError("line_too_long", f"The line is longer than {longest} bytes.")
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise LineError("invalid_json_line", f"The line is not valid JSON (column {error.colno}).") from None
    if not isinstance(value, dict):
        raise LineError("invalid_json_line", "The line must be a JSON object.")
    unknown = value.keys() - {"custom_id", "method", "url", "body"}
    if unknown:
        name = min(unknown)[:64]
        raise LineError("unknown_parameter", f"Unknown field `{name}`.", name)
    custom_id = value.get("custom_id")
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= 512:
        raise LineError(
            "invalid_custom_id", "`custom_id` must be a string of 1 to 512 characters.", "custom_id"
        )
    if value.get("method") != "POST":
        raise LineError("invalid_method", "`method` must be `POST`.", "method")
    if value.get("url") != endpoint:
        raise LineError("mismatched_url", f"`url` must be the batch's endpoint, `{endpoint}`.", "url")
    body = value.get("body")
    if not isinstance(body, dict):
        raise LineError("invalid_body", "`body` must be a JSON object.", "body")
    if body.get("stream"):
        raise LineError("invalid_body", "`stream` has no use in a batch; leave it out.", "body.stream")
    return Line(number, custom_id, body)


def answered(batch: str, line: Line, status: int, request_id: str, body: bytes) -> bytes:
    """The line of an output file for a request that an API answered."""
    return _record(
        batch,
        line,
        {"status_code": status, "request_id": request_id, "body": orjson.Fragment(body or b"null")},
        None,
    )


def unanswered(batch: str, line: Line, error: APIError) -> bytes:
    """The line of an error file for a request that was not answered."""
    return _record(batch, line, None, {"code": error.code, "message": error.message})


def _record(batch: str, line: Line, response: Any, error: Any) -> bytes:
    return orjson.dumps(
        {
            "id": f"batch_req_{batch.removeprefix('batch_')}_{line.number}",
            "custom_id": line.custom_id,
            "response": response,
            "error": error,
        }
    )
