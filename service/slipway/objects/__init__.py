"""The objects people write: the one definition that CRDs, docs, local runs and checks come from.

API group `slipway.dev`, version `v1alpha1`.
"""

from slipway.objects.apikeys import (
    APIKey,
    APIKeySpec,
    APIKeyStatus,
    Budget,
    Limits,
    ModelLimits,
    OwnerName,
    Priority,
    Role,
)
from slipway.objects.llmservices import (
    Adapter,
    EngineSpec,
    LLMService,
    LLMServiceSpec,
    ModelSpec,
    Pricing,
    Task,
)
from slipway.objects.meta import API_VERSION, Condition, Metadata, Resource
from slipway.objects.modelroutes import ModelRoute, ModelRouteSpec, Target
from slipway.objects.owners import Owner, OwnerSpec

__all__ = [
    "API_VERSION",
    "APIKey",
    "APIKeySpec",
    "APIKeyStatus",
    "Adapter",
    "Budget",
    "Condition",
    "EngineSpec",
    "LLMService",
    "LLMServiceSpec",
    "Limits",
    "Metadata",
    "ModelLimits",
    "ModelRoute",
    "ModelRouteSpec",
    "ModelSpec",
    "Owner",
    "OwnerName",
    "OwnerSpec",
    "Pricing",
    "Priority",
    "Resource",
    "Role",
    "Target",
    "Task",
]
