"""Where an adapter is on its way into an LLMService's running engines, by what that says of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway.objects import FineTune
from slipway.objects.finetunes import DeploySpec
from slipway_operator.finetunes.records import State
from slipway_operator.pod_states import Trouble


@dataclass(frozen=True, slots=True)
class Deployment:
    """The stage `deploy`."""

    state: State
    reason: str
    message: str
    adapter: str | None = None
    """What engines call the version that they have."""
    trouble: Trouble | None = None


def deployment(
    fine_tune: FineTune,
    asked: DeploySpec,
    artifact: Mapping[str, Any],
    service: Mapping[str, Any] | None,
    newer: str | None,
) -> Deployment:
    """How far `artifact`, a FineTune's `status.artifact`, has come."""
    if artifact.get("kind") == "model":
        message = (
            f"method {fine_tune.spec.method} makes a whole model, which no running engine can take: serve "
            f"{artifact.get('source')} by an LLMService of its own, and leave spec.deploy out."
        )
        return Deployment("Failed", "NotAnAdapter", message)
    if newer is not None:
        message = f"FineTune {newer} has brought a newer version of {fine_tune.adapter_name}."
        return Deployment("Succeeded", "Superseded", message)
    if service is None:
        message = (
            f"There is no LLMService {asked.service} in this namespace: create it, or change "
            "spec.deploy.service."
        )
        return _held("ServiceNotFound", message)
    status = service.get("status") or {}
    entry = next((each for each in status.get("adapters") or () if _is(each, fine_tune, artifact)), None)
    if entry is None:
        return Deployment("Running", "", f"Waits for LLMService {asked.service} to take it.")
    engine_name, message = entry["engineName"], entry.get("message", "")
    if entry["state"] == "RolledBack":
        return Deployment("Failed", "RolledBack", message, engine_name)
    if entry["state"] == "Loading":
        reason, _, said = message.partition(": ")
        if said and reason.isalnum():
            return _held(reason, said, engine_name)
        return Deployment("Running", "", message or "Engines load it.", engine_name)
    if entry.get("weight", 0) < 100:
        said = message or f"{engine_name} takes {entry.get('weight', 0)} % of the requests."
        return Deployment("Running", "Canary", said, engine_name)
    name = fine_tune.adapter_name
    return Deployment("Succeeded", "", f"{asked.service} answers as {name} by {engine_name}.", engine_name)


def _held(reason: str, message: str, adapter: str | None = None) -> Deployment:
    return Deployment("Running", reason, message, adapter, Trouble(reason, message))


def _is(entry: Mapping[str, Any], fine_tune: FineTune, artifact: Mapping[str, Any]) -> bool:
    return bool(entry["fineTune"] == fine_tune.metadata.name and entry["source"] == artifact.get("source"))
