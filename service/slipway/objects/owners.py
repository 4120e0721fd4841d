"""Owner: a person or team, the limits that all of its keys share, and who signs in as it."""

from typing import Annotated, Literal

from pydantic import StringConstraints

from slipway.objects.apikeys import Glob, Limits, OwnerName, Priority, Role
from slipway.objects.meta import Part, Resource

Subject = Annotated[str, StringConstraints(min_length=1, max_length=253)]


class OwnerSpec(Part):
    """What the owner's keys and people may do together."""

    name: OwnerName | None = None
    """What keys put into `owner`, an e-mail address for instance; the object's own name if left out."""
    limits: Limits = Limits()
    """Shared by all keys and people of the owner, over all models."""
    role: Role = "member"
    """Of people who sign in as this owner. Keys carry a role of their own."""
    models: tuple[Glob, ...] = ("*",)
    """What people who sign in may call. Keys carry globs of their own."""
    priority: Priority = "normal"
    """Of people who sign in."""
    subjects: tuple[Subject, ...] = ()
    """Who signs in by OIDC as this owner: values of the claim that the gateway is told to look at."""


class Owner(Resource):
    """A person or team."""

    kind: Literal["Owner"] = "Owner"
    """Owner."""
    spec: OwnerSpec = OwnerSpec()
    """What its keys and people may do."""

    @property
    def owner_name(self) -> str:
        """What keys put into `owner`."""
        return self.spec.name or self.metadata.name
