"""What the operator reports of an LLMService."""

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from slipway.objects.meta import Condition, Status
from slipway.objects.rules import named_by


class Traffic(Status):
    """One revision's share of the requests."""

    revision: str
    """Ten hex digits."""
    weight: int = Field(ge=0, le=100)
    """Percent."""


class RolloutStatus(Status):
    """Where a rollout is; the operator keeps here all that it needs to go on after a restart."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})

    phase: Literal["Idle", "Progressing", "Paused", "Promoting", "RolledBack", "Complete"] = "Idle"
    """What is going on; Paused waits for `slipway rollout promote` or `resume`."""
    step: int = 0
    """The step of the canary, from 0."""
    step_started_at: datetime | None = None
    """Since when."""
    reason: str = ""
    """One CamelCase word for machines."""
    message: str = ""
    """A sentence for people, with the numbers of a comparison that failed."""
    handled_command: str | None = None
    """The last value of the annotation slipway.dev/rollout-command that was carried out."""


class RevisionRecord(Status):
    """A revision that was rolled out."""

    revision: str
    """Ten hex digits."""
    number: int
    """Counts the revisions of the service."""
    deployed_at: datetime | None = None
    """When its rollout began."""
    outcome: str = ""
    """What became of it: one CamelCase word."""
    reason: str = ""
    """Why it was taken back."""
    spec: dict[str, Any] = Field(default_factory=dict)
    """What makes its pods different, to return to."""


class ScalingStatus(Status):
    """The last decision about the number of engines."""

    desired: int | None = None
    """Engines wanted."""
    reason: str = ""
    """One CamelCase word for machines."""
    message: str = ""
    """The numbers behind it."""
    last_decision_at: datetime | None = None
    """When it last changed."""
    last_active_at: datetime | None = None
    """When there last was a request."""


class FetchStatus(Status):
    """How far the model's way into the cache is."""

    phase: str = ""
    """Pending, Running, Complete or Failed."""
    message: str = ""
    """What it is doing, or what is the matter and how to mend it."""


class ServedAdapter(Status):
    """One version of an adapter that a FineTune has brought to the running engines."""

    name: str
    """The served name, what clients put into `model`; several versions may have one."""
    engine_name: str
    """The name by which engines know this version, such as `support.v2`."""
    source: str
    """Where engines fetch it from."""
    digest: str | None = None
    """Digest of its content."""
    fine_tune: str
    """The FineTune that it came of."""
    weight: int = Field(default=0, ge=0, le=100)
    """Percent of the requests for `name` that it gets; those of one name add up to 100 once one is ready."""
    state: Literal["Loading", "Ready", "RolledBack"] = "Loading"
    """Loading: not in every ready engine yet. RolledBack: it was worse than the version before it."""
    message: str = ""
    """What it waits for, or why it was taken back, and how to mend it."""


class AdapterRollout(Status):
    """How the newest version of an adapter replaces the one before. Revisions are engine names."""

    name: str
    """The adapter's served name."""
    stable_revision: str | None = None
    """The version that serves."""
    canary_revision: str | None = None
    """The version that is being rolled out."""
    canary_weight: int | None = None
    """Percent of the requests that it gets."""
    traffic: tuple[Traffic, ...] = ()
    """How requests are shared out."""
    rollout: RolloutStatus = RolloutStatus()
    """Where it is."""


class LLMServiceStatus(Status):
    """What was observed."""

    conditions: tuple[Condition, ...] = Field(default=(), json_schema_extra=named_by("type"))
    """Ready, Progressing, Degraded; ScalingActive with autoscaling."""
    observed_generation: int | None = None
    """The generation of the object that this status is about."""
    model: str | None = None
    """The served name, what clients put into `model`."""
    replicas: int = 0
    """Pods that exist."""
    ready_replicas: int = 0
    """Pods that serve."""
    desired_replicas: int | None = None
    """Pods wanted, by `spec.replicas` or by autoscaling."""
    ready: str | None = None
    """Pods that serve of those wanted, such as `1/2`."""
    selector: str | None = None
    """Selects the pods, for `kubectl scale`."""
    stable_revision: str | None = None
    """The revision that serves."""
    canary_revision: str | None = None
    """The revision that is being rolled out."""
    canary_weight: int | None = None
    """Percent of the requests that it gets."""
    traffic: tuple[Traffic, ...] = ()
    """How the gateways share the requests out; empty: over all ready pods alike."""
    rollout: RolloutStatus = RolloutStatus()
    """Where the rollout is."""
    history: tuple[RevisionRecord, ...] = ()
    """Revisions, the newest first."""
    scaling: ScalingStatus | None = None
    """The last decision of autoscaling."""
    fetch: FetchStatus | None = None
    """The model's way into the cache."""
    adapters: tuple[ServedAdapter, ...] = Field(default=(), json_schema_extra=named_by("engineName"))
    """Adapters that FineTunes have brought to the running engines, beside those of `spec.adapters`."""
    adapter_rollouts: tuple[AdapterRollout, ...] = Field(default=(), json_schema_extra=named_by("name"))
    """How the newest versions of those take the places of the ones before."""
