"""APIKey: who may call what, and how much."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from slipway.objects.meta import Part, Resource
from slipway.objects.money import Dollars

Glob = Annotated[str, StringConstraints(min_length=1, max_length=253)]
"""A pattern over served model names: `*` all, `smol*` those that begin so."""
OwnerName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A person's or a team's name, an e-mail address for instance."""
Role = Literal["admin", "member"]
"""`admin` may see and change every key, owner and usage record; `member` its own."""
Priority = Literal["high", "normal", "low"]
"""Who is served first when the engines are full. Batches run at `low`."""
KeyHash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 of a plain key, in hex. A key holds 256 random bits, so nobody reverses it by guessing."""


class Budget(Part):
    """Money that may be spent in a calendar period (UTC; weeks begin on Monday)."""

    day: Dollars | None = None
    week: Dollars | None = None
    month: Dollars | None = None


class Limits(Part):
    """How much may be used. A limit that is left out does not limit."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    """Requests let through in any 60 seconds."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Prompt and completion tokens in any 60 seconds; estimated before a call, settled after it."""
    tokens_per_day: int | None = Field(default=None, ge=1)
    """Prompt and completion tokens in a calendar day (UTC)."""
    max_parallel: int | None = Field(default=None, ge=1)
    """Requests in flight at the same time."""
    budget_usd: Budget = Field(default=Budget(), alias="budgetUSD")
    """US dollars by the models' prices; reserved before a call, settled after it."""


class ModelLimits(Limits):
    """Limits of one key on one model; the first entry whose glob fits counts, for each model apart."""

    model: Glob


class APIKeySpec(Part):
    """What a key may do."""

    owner: OwnerName = "default"
    """Person or team the key belongs to; usage is counted for it."""
    role: Role = "member"
    """What it may do beside calling models."""
    models: tuple[Glob, ...] = ("*",)
    """Globs over the served model names: `*` all, `smol*` those that begin so."""
    limits: Limits = Limits()
    model_limits: tuple[ModelLimits, ...] = ()
    """Further limits that hold for this key on single models."""
    priority: Priority = "normal"
    """Who is served first when the engines are full."""
    expires_at: AwareDatetime | None = None
    """The key stops working at this time (RFC 3339, with a time zone)."""
    disabled: bool = False
    """Refuse the key without deleting it."""


class APIKeyStatus(Part):
    """What Slipway found out about a key."""

    key_hash: KeyHash | None = None
    """The hash of the plain key."""
    previous_key_hash: KeyHash | None = None
    """After a rotation: the hash of the key before, which still works until `previousExpiresAt`."""
    previous_expires_at: AwareDatetime | None = None
    created_at: datetime | None = None


class APIKey(Resource):
    """A key for the API. The plain key is shown once; everything holds its hash."""

    kind: Literal["APIKey"] = "APIKey"
    spec: APIKeySpec = APIKeySpec()
    status: APIKeyStatus = APIKeyStatus()
