"""APIKey: who may call what, and how much."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from slipway.objects.meta import Part, Resource


class Limits(Part):
    """How much a key may use. A limit that is left out does not limit."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    """Requests let through in any 60 seconds."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Prompt and completion tokens in any 60 seconds; estimated before a call, settled after it."""
    max_parallel: int | None = Field(default=None, ge=1)
    """Requests in flight at the same time."""


class APIKeySpec(Part):
    """What a key may do."""

    owner: str = Field(default="default", min_length=1, max_length=253)
    """Person or team the key belongs to; usage is counted for it."""
    models: tuple[Annotated[str, StringConstraints(min_length=1, max_length=253)], ...] = ("*",)
    """Globs over the served model names: `*` all, `smol*` those that begin so."""
    limits: Limits = Limits()
    expires_at: AwareDatetime | None = None
    """The key stops working at this time (RFC 3339, with a time zone)."""
    disabled: bool = False
    """Refuse the key without deleting it."""


class APIKeyStatus(Part):
    """What Slipway found out about a key."""

    key_hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    """SHA-256 of the plain key, in hex. A key holds 256 random bits, so nobody reverses it by guessing."""
    created_at: datetime | None = None


class APIKey(Resource):
    """A key for the API. The plain key is shown once; everything holds its hash."""

    kind: Literal["APIKey"] = "APIKey"
    spec: APIKeySpec = APIKeySpec()
    status: APIKeyStatus = APIKeyStatus()
