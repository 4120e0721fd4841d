"""The objects people write: the one definition that CRDs, docs, local runs and checks come from.

API group `slipway.dev`, version `v1alpha1`.
"""

from slipway.objects.annotations import PAUSED, ROLLOUT_COMMAND, ROTATE_KEY, ROTATION_OVERLAP
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
from slipway.objects.autoscaling import Autoscaling
from slipway.objects.finetunes import FineTune, FineTuneSpec, FineTuneStatus
from slipway.objects.llmservices import (
    Adapter,
    CacheSpec,
    EngineSpec,
    LLMService,
    LLMServiceSpec,
    ModelSpec,
    Pricing,
    Task,
)
from slipway.objects.meta import API_VERSION, Condition, Metadata, Resource
from slipway.objects.modelroutes import Ensemble, ModelRoute, ModelRouteSpec, Target
from slipway.objects.owners import Owner, OwnerSpec
from slipway.objects.resources import Resources
from slipway.objects.rollouts import Analysis, RolloutSpec, Step
from slipway.objects.scalars import Duration, Factor, Fraction, Pause, Quantity
from slipway.objects.statuses import (
    FetchStatus,
    LLMServiceStatus,
    RevisionRecord,
    RolloutStatus,
    ScalingStatus,
    Traffic,
)

__all__ = [
    "API_VERSION",
    "PAUSED",
    "ROLLOUT_COMMAND",
    "ROTATE_KEY",
    "ROTATION_OVERLAP",
    "APIKey",
    "APIKeySpec",
    "APIKeyStatus",
    "Adapter",
    "Analysis",
    "Autoscaling",
    "Budget",
    "CacheSpec",
    "Condition",
    "Duration",
    "EngineSpec",
    "Ensemble",
    "Factor",
    "FetchStatus",
    "FineTune",
    "FineTuneSpec",
    "FineTuneStatus",
    "Fraction",
    "LLMService",
    "LLMServiceSpec",
    "LLMServiceStatus",
    "Limits",
    "Metadata",
    "ModelLimits",
    "ModelRoute",
    "ModelRouteSpec",
    "ModelSpec",
    "Owner",
    "OwnerName",
    "OwnerSpec",
    "Pause",
    "Pricing",
    "Priority",
    "Quantity",
    "Resource",
    "Resources",
    "RevisionRecord",
    "Role",
    "RolloutSpec",
    "RolloutStatus",
    "ScalingStatus",
    "Step",
    "Target",
    "Task",
    "Traffic",
]
