"""What of a file counts on a cluster alone, said where it is run on one machine."""

from collections.abc import Iterator, Mapping
from typing import Any

from slipway.objects.llmservices import LLMService
from slipway.objects.loading import Loaded

FIELDS = (
    "engine.image",
    "engine.resources",
    "engine.podTemplate",
    "cache",
    "autoscaling",
    "rollout.steps",
    "rollout.analysis",
    "rollout.progressDeadline",
    "rollout.revisionHistoryLimit",
    "rollout.maxSurge",
    "rollout.paused",
)
"""Fields of `spec` that change nothing in a local run."""


def warnings(loaded: Loaded) -> Iterator[str]:
    """A sentence for each object of which something does not count on one machine."""
    for service in loaded.services:
        subject = f"LLMService {service.metadata.name}"
        if fields := _given(service):
            verb = "counts" if len(fields) == 1 else "count"
            yield f"{subject}: {', '.join(fields)} {verb} on a cluster alone{_instead(service)}."
        if service.spec.model.source.startswith("pvc://"):
            yield (
                f"{subject}: spec.model.source is a volume of a cluster, which this machine cannot mount;"
                " write file:///path."
            )
    for fine_tune in loaded.fine_tunes:
        yield f"FineTune {fine_tune.metadata.name}: nothing on one machine carries it out."


def _given(service: LLMService) -> list[str]:
    spec = service.spec.model_dump(by_alias=True, exclude_unset=True)
    fields = [f"spec.{path}" for path in FIELDS if _at(spec, path) is not None]
    strategy = service.spec.rollout.strategy
    if strategy != service.spec.rollout.between_processes:
        fields.append(f"spec.rollout.strategy {strategy}")
    return fields


def _at(spec: Mapping[str, Any], path: str) -> Any:
    value: Any = spec
    for name in path.split("."):
        value = value.get(name) if value else None
    return value


def _instead(service: LLMService) -> str:
    """What happens here."""
    said = []
    if service.spec.autoscaling is not None:
        said.append(f"spec.replicas ({service.spec.replicas}) says how many engines run")
    if service.spec.rollout.strategy != service.spec.rollout.between_processes:
        said.append(f"changes are rolled out by {service.spec.rollout.between_processes}")
    return f"; here {' and '.join(said)}" if said else ""
