"""APIKey: who may call what, and how much."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from slipway.objects.annotations import ROTATE_KEY, ROTATION_OVERLAP
from slipway.objects.meta import Condition, Part, Resource, Status
from slipway.objects.money import Dollars
from slipway.objects.rules import named_by
from slipway.objects.scalars import Duration

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
    """Of a day."""
    week: Dollars | None = None
    """Of a week."""
    month: Dollars | None = None
    """Of a month."""


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
    """Glob over the served model names."""


class APIKeySpec(Part):
    """What a key may do."""

    owner: OwnerName = "default"
    """Person or team the key belongs to; usage is counted for it."""
    role: Role = "member"
    """What it may do beside calling models."""
    models: tuple[Glob, ...] = ("*",)
    """Globs over the served model names: `*` all, `smol*` those that begin so."""
    limits: Limits = Limits()
    """How much may be used with this key."""
    model_limits: tuple[ModelLimits, ...] = ()
    """Further limits that hold for this key on single models."""
    priority: Priority = "normal"
    """Who is served first when the engines are full."""
    expires_at: AwareDatetime | None = None
    """The key stops working at this time (RFC 3339, with a time zone)."""
    disabled: bool = False
    """Refuse the key without deleting it."""


class APIKeyStatus(Status):
    """What Slipway found out about a key."""

    conditions: tuple[Condition, ...] = Field(default=(), json_schema_extra=named_by("type"))
    """Ready: the key is in its Secret and works."""
    observed_generation: int | None = None
    """The generation of the object that this status is about."""
    secret_name: str | None = None
    """The Secret that holds the plain key under `key`."""
    key_hash: KeyHash | None = None
    """The hash of the plain key."""
    previous_key_hash: KeyHash | None = None
    """After a rotation: the hash of the key before, which still works until `previousExpiresAt`."""
    previous_expires_at: AwareDatetime | None = None
    """When the key before the rotation stops working."""
    created_at: datetime | None = None
    """When the plain key was made."""
    rotated_at: datetime | None = None
    """When it was last made anew."""
    handled_rotation: str | None = None
    """The last value of the annotation slipway.dev/rotate-key that was carried out."""


class APIKey(Resource):
    """A key for the API. The plain key is shown once, or put into a Secret; all else holds its hash."""

    kind: Literal["APIKey"] = "APIKey"
    """APIKey."""
    spec: APIKeySpec = APIKeySpec()
    """What the key may do."""
    status: APIKeyStatus = APIKeyStatus()
    """What Slipway found out about it."""

    @property
    def rotation(self) -> str | None:
        """The value of the annotation slipway.dev/rotate-key that was not carried out yet."""
        asked = self.metadata.annotations.get(ROTATE_KEY)
        return asked if asked and asked != self.status.handled_rotation else None

    @property
    def rotation_overlap(self) -> Duration:
        """How long the key before a rotation works on. Raises ValueError with a sentence."""
        written = self.metadata.annotations.get(ROTATION_OVERLAP, "24h")
        try:
            return Duration.of(written)
        except ValueError:
            raise ValueError(
                f"the annotation {ROTATION_OVERLAP} is {written!r}; write a duration such as 24h, 90m or 0s"
            ) from None
