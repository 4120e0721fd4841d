"""The Secret with the key that engines ask for, in a namespace of LLMServices."""

import base64
from typing import Any

from slipway_operator import names
from slipway_operator.settings import OperatorSettings


def key_secret(namespace: str, key: str, settings: OperatorSettings) -> dict[str, Any]:
    """Its manifest."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": settings.engine_key_secret,
            "namespace": namespace,
            "labels": {names.MANAGED_BY: names.MANAGER},
        },
        "type": "Opaque",
        "data": {"engine-key": base64.b64encode(key.encode()).decode()},
    }
