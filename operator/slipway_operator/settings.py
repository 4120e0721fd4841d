"""Settings of the operator: environment variables `SLIPWAY_OPERATOR_…`, each with its unit and default."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class OperatorSettings(BaseSettings):
    """Times are seconds unless a field says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix="SLIPWAY_OPERATOR_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    # --- where ---
    namespace: str = "slipway-system"
    """The operator's own namespace: its Lease lies there, and the gateway."""
    watch_namespace: str = ""
    """Look after the objects of this namespace alone; empty: of all."""
    identity: str = ""
    """Who this process is in the Lease; empty: host name and process id."""
    lease: str = "slipway-operator"
    """Name of the Lease that says which operator acts."""
    lease_duration: float = Field(default=15.0, gt=0)
    """Time after which another operator takes over from one that does not renew."""
    lease_renew: float = Field(default=2.0, gt=0)
    """Time between two renewals, and between two looks of one that waits."""

    # --- engines ---
    engine_image_cpu: str = "slipway-engine-cpu:latest"
    """Image of engines on CPUs."""
    engine_image_gpu: str = "slipway-engine-gpu:latest"
    """Image of engines on GPUs."""
    device: Literal["cpu", "gpu"] = "gpu"
    """What `engine.device: auto` means on this cluster."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When nodes pull the engines' images."""
    image_pull_secrets: tuple[str, ...] = ()
    """Names of Secrets that pull them, in the LLMServices' namespaces (JSON list in the environment)."""
    engine_key_secret: str = "slipway-engine-key"  # noqa: S105 - a name
    """Name of the Secret with the engines' key, in every namespace that has an LLMService."""
    engine_key_file: Path | None = None
    """File that holds the key that gateway and operator show to engines; none: engines ask for none."""
    gateway_selector: str = "app.kubernetes.io/name=slipway,app.kubernetes.io/component=gateway"
    """Labels (`k=v,k=v`) of the gateways' pods, which may reach engines."""
    operator_selector: str = "app.kubernetes.io/name=slipway,app.kubernetes.io/component=operator"
    """Labels of the operators' pods, which read engines' metrics."""

    # --- training ---
    training_image: str = "slipway-training:latest"
    """Image of FineTunes' Jobs, and of what serves their artifacts."""
    progress_interval: float = Field(default=3.0, gt=0)
    """Time between two looks at how far training is."""
    interruption_wait: float = Field(default=2.0, ge=0)
    """Wait before a stage that was interrupted or crashed is begun again; doubled for each further time."""
    adapter_interval: float = Field(default=2.0, gt=0)
    """Time between two looks at the engines that are to have adapters."""

    # --- what is measured ---
    gateway_service: str = "slipway-gateway"
    """Service, in the operator's namespace, whose endpoints are the gateways."""
    scrape_interval: float = Field(default=2.0, gt=0)
    """Time between two readings of the gateways' and engines' metrics."""
    scrape_timeout: float = Field(default=2.0, gt=0)
    """Time that one of them may take to answer."""

    # --- work ---
    workers: int = Field(default=8, ge=1)
    """Objects that are looked after at the same time."""
    backoff_first: float = Field(default=0.5, gt=0)
    """Wait after a first failure with an object; doubled for each further one."""
    backoff_most: float = Field(default=120.0, gt=0)
    """Longest such wait."""
    host: str = "0.0.0.0"  # noqa: S104 - a pod is reached from outside
    """Address of metrics and health."""
    port: int = Field(default=9090, ge=0, le=65535)
    """Port of metrics and health; 0 takes a free one."""
