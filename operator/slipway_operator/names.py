"""Names, labels and annotations: what ties the operator's children to their object."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from slipway.objects import API_VERSION

GROUP = API_VERSION.partition("/")[0]
MANAGER = "slipway-operator"
"""The one field manager of server-side apply, and the value of MANAGED_BY."""
MANAGED_BY = "app.kubernetes.io/managed-by"
SERVICE = f"{GROUP}/service"
REVISION = f"{GROUP}/revision"
WORKER_OF = f"{GROUP}/worker-of"
"""Label of pods that serve nothing themselves: further nodes of a replica."""
FETCH_OF = f"{GROUP}/fetch-of"
"""Label of pods that fetch a model into a shared cache."""
FINE_TUNE = f"{GROUP}/fine-tune"
"""Label of everything that a FineTune has."""
STAGE = f"{GROUP}/stage"
"""Label of a FineTune's Jobs and their pods."""
ATTEMPT = f"{GROUP}/attempt"
"""Label of the same: how often the stage was begun."""
TOKEN = f"{GROUP}/token"
"""Label of a FineTune's Job: digest of what the stage depends on."""
ENDS = f"{GROUP}/ends"
"""Annotation on a FineTune's Job: how many attempts in a row before it were interrupted, and crashed."""
ARTIFACTS = f"{GROUP}/artifacts-of"
"""Label of the pods that serve a FineTune's artifacts to engines."""
API_KEY = f"{GROUP}/api-key"
DIGEST = f"{GROUP}/applied"
"""Annotation on a child: digest of the manifest that was applied last."""
CHILDREN = f"{MANAGED_BY}={MANAGER}"
"""Label selector of everything that the operator made."""


def labels(service: str, revision: str | None = None) -> dict[str, str]:
    """The labels of a child of `service`, and of a revision of it."""
    made = {MANAGED_BY: MANAGER, "app.kubernetes.io/name": "slipway-engine", SERVICE: service}
    return made if revision is None else made | {REVISION: revision}


def of_fine_tune(name: str) -> dict[str, str]:
    """The labels of what a FineTune has."""
    return {MANAGED_BY: MANAGER, "app.kubernetes.io/name": "slipway-training", FINE_TUNE: name}


def selector(service: str, revision: str | None = None) -> dict[str, str]:
    """What selects the pods of `service`, or of one revision."""
    return {SERVICE: service} if revision is None else {SERVICE: service, REVISION: revision}


def of_revision(service: str, revision: str) -> str:
    """The name of a revision's Deployment and Service."""
    return f"{service}-{revision}"


def digest(manifest: Mapping[str, Any]) -> str:
    """Sixteen hex digits over a manifest."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]


def owner(parent: Mapping[str, Any]) -> dict[str, Any]:
    """The owner reference that makes a child go with `parent`, any Slipway object as a dictionary."""
    return {
        "apiVersion": API_VERSION,
        "kind": parent["kind"],
        "name": parent["metadata"]["name"],
        "uid": parent["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
