"""Children that the API server does not let the operator make: what that means, and the mend."""

from collections.abc import Mapping
from typing import Any

from slipway.kube.errors import APIStatusError
from slipway_operator.executor import ChildError, ContestedError
from slipway_operator.statuses import condition

_WEBHOOK_AWAY = "failed calling webhook"
"""So begins what an API server says (with status 500) of a webhook that it cannot ask."""


def is_refusal(error: APIStatusError) -> bool:
    """Whether the API server will say the same until somebody changes something. Other errors pass."""
    return error.status in (400, 403, 422) or _WEBHOOK_AWAY in error.message


def refusal(error: APIStatusError | ChildError) -> tuple[str, str]:
    """Reason and message of a child that could not be made."""
    if isinstance(error, ChildError):
        return "Contested" if isinstance(error, ContestedError) else "NameTaken", str(error)
    said = error.message or str(error)
    if "exceeded quota" in said:
        return "QuotaExceeded", f"{said}. Raise the ResourceQuota, or ask for less."
    if _WEBHOOK_AWAY in said:
        return (
            "WebhookUnavailable",
            f"{said}. Bring what answers for the webhook back, or delete its configuration.",
        )
    if "admission webhook" in said:
        return "RefusedByWebhook", f"{said}. Change the object so that the webhook agrees."
    if "ValidatingAdmissionPolicy" in said:
        return "RefusedByPolicy", f"{said}. Change the object so that the policy agrees."
    if error.status == 403:
        return (
            "Forbidden",
            f"{said}. Give the operator's ServiceAccount the right, or the namespace the room.",
        )
    return "ChildRefused", f"{said}. Change the fields it names, or engine.podTemplate."


def with_refusal(
    status: Mapping[str, Any], parent: Mapping[str, Any], error: APIStatusError | ChildError, now: float
) -> dict[str, Any]:
    """The status with a child that could not be made as what degrades the service."""
    reason, message = refusal(error)
    before = (parent.get("status") or {}).get("conditions") or ()
    generation = status["observedGeneration"]
    made = []
    for each in status["conditions"]:
        if each["type"] == "Degraded" or (each["type"] == "Ready" and each["status"] == "False"):
            value = "True" if each["type"] == "Degraded" else "False"
            made.append(condition(before, (each["type"], value, reason, message), generation, now))
        else:
            made.append(each)
    return {**status, "conditions": made}
