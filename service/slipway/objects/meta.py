"""What all Slipway objects share: apiVersion, kind, metadata, conditions (Kubernetes' API conventions)."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

API_VERSION: Literal["slipway.dev/v1alpha1"] = "slipway.dev/v1alpha1"

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=63)]
"""A name of an object, as DNS wants it: lower case letters, digits, `-` and `.`."""


class Part(BaseModel):
    """A part of an object: camelCase in YAML, unknown fields refused, unchangeable once read."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )


class Metadata(Part):
    """The part of Kubernetes' ObjectMeta that Slipway reads; the rest is accepted and ignored."""

    model_config = ConfigDict(extra="ignore")

    name: Name
    """Unique among the objects of its kind (and namespace)."""
    namespace: str | None = None
    """Kubernetes namespace; ignored by local runs."""
    labels: dict[str, str] = Field(default_factory=dict)
    """For selecting objects."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Anything else about the object."""
    creation_timestamp: datetime | None = Field(default=None, strict=False)
    """When the object was made; set by the API server, and by local runs when it is applied."""
    generation: int | None = None
    """Counts the changes of `spec`; set by the API server."""


class Status(Part):
    """What was observed. Fields that a newer operator writes are no reason to refuse the object."""

    model_config = ConfigDict(extra="ignore")


class Condition(Status):
    """One observation of an object's state, after Kubernetes' metav1.Condition."""

    type: str
    """What is observed: Ready, Progressing, Degraded."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""
    reason: str
    """One CamelCase word for machines."""
    message: str = ""
    """A sentence for people: what is the matter and how to mend it."""
    observed_generation: int | None = None
    """The generation of the object that this is about."""
    last_transition_time: datetime | None = None
    """When `status` last changed."""


class Resource(Part):
    """Any Slipway object."""

    api_version: Literal["slipway.dev/v1alpha1"] = API_VERSION
    """The version of the object's form."""
    metadata: Metadata
    """Name, namespace, labels, annotations."""
