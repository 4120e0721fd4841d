"""The objects people write: the one definition that CRDs, docs, local runs and checks come from.

API group `slipway.dev`, version `v1alpha1`.
"""

from slipway.objects.apikeys import APIKey, APIKeySpec, APIKeyStatus, Limits
from slipway.objects.llmservices import Adapter, EngineSpec, LLMService, LLMServiceSpec, ModelSpec, Task
from slipway.objects.meta import API_VERSION, Condition, Metadata, Resource

__all__ = [
    "API_VERSION",
    "APIKey",
    "APIKeySpec",
    "APIKeyStatus",
    "Adapter",
    "Condition",
    "EngineSpec",
    "LLMService",
    "LLMServiceSpec",
    "Limits",
    "Metadata",
    "ModelSpec",
    "Resource",
    "Task",
]
