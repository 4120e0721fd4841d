"""Settings of the gateway: environment variables `SLIPWAY_GATEWAY_…`, each with its unit and default."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from slipway.gateway.isolation import Isolation
from slipway.objects.places import default_state


def _state() -> Path:
    """The state folder: $SLIPWAY_STATE, else where XDG puts state."""
    return default_state(os.environ)


class GatewaySettings(BaseSettings):
    """All bounds are per gateway process unless they say otherwise; times are seconds, sizes bytes."""

    model_config = SettingsConfigDict(
        env_prefix="SLIPWAY_GATEWAY_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    # --- where ---
    host: str = "127.0.0.1"
    """Address to listen at."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen at; 0 takes a free one."""
    state: Path = Field(default_factory=_state)
    """State folder: usage records, and with `source` `folder` the objects and endpoints (see
    docs/architecture.md)."""
    source: Literal["folder", "kubernetes"] = "folder"
    """Where objects and endpoints come from: the state folder, or the cluster that the pod's service account
    or `KUBECONFIG` leads to."""
    kubernetes_namespace: str = ""
    """Namespace whose objects are served; empty: all namespaces."""
    engine_key_file: Path | None = None
    """File with the key that engines ask for, as a mounted Secret; by default `secrets/engine-key` in the
    state folder. It is read again when the catalogue changes."""
    poll_interval: float = Field(default=0.25, gt=0)
    """Seconds between two looks at the state folder."""
    cors_origins: tuple[str, ...] = ()
    """Origins of other sites whose pages may call the API; none by default (JSON list in the environment)."""

    # --- what is kept ---
    database_url: str = ""
    """SQL database for usage, keys, responses, files and batches: `sqlite:///FILE` or `postgresql://…`;
    empty: `gateway.db` in the state folder."""
    database_timeout: float = Field(default=5.0, gt=0)
    """Seconds that a database may take to answer."""

    # --- usage ---
    usage: bool = True
    """Keep a usage record of each request (see docs/usage.md)."""
    usage_retention_days: int = Field(default=90, ge=1)
    """Whole days (UTC) that records are kept; the sums of each day stay longer."""
    usage_totals_days: int = Field(default=800, ge=35)
    """Days that the sums by day are kept: what reports and budgets are made of."""
    usage_journal_max: int = Field(default=1 << 30, ge=1 << 20)
    """Bytes that records may take on disk while the database is away."""
    usage_on_full: Literal["refuse", "serve"] = "refuse"
    """What happens to requests when that is used up: 503 `usage_unavailable`, or served without a record."""

    # --- files and batches ---
    file_max: int = Field(default=209_715_200, ge=1024)
    """Bytes of one file that is uploaded or that a batch writes."""
    files_max: int = Field(default=10_737_418_240, ge=1024)
    """Bytes of all files of one owner."""
    responses_keep: float = Field(default=2_592_000.0, gt=0)
    """Seconds that responses are kept which their makers have not deleted (default: 30 days)."""
    batch_parallel: int = Field(default=16, ge=1)
    """Requests of one batch under way at the same time; they are served at low priority."""

    # --- fine-tuning ---
    fine_tuning_jobs: int = Field(default=2, ge=0)
    """Fine-tuning jobs of one owner that have not ended; 0: none may be made."""
    fine_tuning_namespace: str = ""
    """On a cluster: the namespace whose models can be fine-tuned through the API, and in which the gateways
    may make FineTunes; empty: fine-tuning is not offered there."""
    fine_tuning_address: str = ""
    """On a cluster: the gateways' address as training Jobs reach it, such as
    `http://slipway-gateway.slipway:8000`; they read the examples there."""

    # --- who ---
    oidc_issuer: str = ""
    """OpenID Connect provider whose tokens are taken beside keys, `https://…`; empty: keys alone."""
    oidc_client_id: str = ""
    """The console's client id there, a public client (authorization code with PKCE)."""
    oidc_audience: str = ""
    """Audience that tokens must be for; empty: the client id."""
    oidc_jwks_url: str = ""
    """Where the provider publishes its keys; empty: as its discovery document says."""
    oidc_scopes: tuple[str, ...] = ("openid", "email")
    """Scopes that the console asks for."""
    oidc_subject_claim: str = "sub"
    """Claim that names the person, compared with the owners' `subjects`; `email` must be verified."""
    oidc_owner_claim: str = ""
    """Claim that names the owner of a person whom no owner lists; empty: none does."""
    oidc_accept_unlisted: bool = False
    """Take people whom no owner lists, each as an owner of its own."""
    oidc_role_claim: str = ""
    """Claim whose value may make an admin: a string or a list of them; empty: the owner's role counts."""
    oidc_admin_values: tuple[str, ...] = ()
    """Values of that claim that make one."""
    oidc_leeway: float = Field(default=30.0, ge=0)
    """Seconds that the provider's clock may differ."""
    audit_retention_days: int = Field(default=400, ge=1)
    """Days for which the audit log is kept."""

    # --- limits ---
    limits_redis_url: str = ""
    """Redis that gateways share their counters in: `redis://HOST:6379/0`, `rediss://…`, `unix://PATH`;
    empty: each gateway counts for itself."""
    limits_on_failure: Literal["fail-open", "fail-closed"] = "fail-open"
    """While Redis is away: let requests pass under this gateway's own counters, or refuse them with 503."""
    limits_timeout: float = Field(default=0.25, gt=0)
    """Seconds that Redis may take to answer before it counts as away."""
    limits_lease: float = Field(default=30.0, gt=0)
    """Seconds after which the requests in flight of a gateway that was killed count no more."""

    # --- what is told ---
    otlp_endpoint: str = ""
    """Where OpenTelemetry traces go, by OTLP over HTTP: `http://collector:4318`; empty: nowhere."""
    trace_share: float = Field(default=0.05, ge=0, le=1)
    """Share of the requests that are traced; a request with `traceparent` is traced as that says."""

    # --- clients ---
    max_connections: int = Field(default=8192, ge=1)
    """Client connections at the same time; one more gets 503."""
    max_requests: int = Field(default=4096, ge=1)
    """Relayed requests at the same time; one more gets 503."""
    head_timeout: float = Field(default=10.0, gt=0)
    """Seconds that the head of a request may take."""
    body_timeout: float = Field(default=60.0, gt=0)
    """Seconds that the body of a request may take."""
    write_timeout: float = Field(default=60.0, gt=0)
    """Seconds that a client may take none of its answer before it is cut off."""
    keep_alive: int = Field(default=75, ge=1)
    """Seconds that an unused client connection is kept."""
    max_head: int = Field(default=32_768, ge=1024)
    """Bytes of a request's head."""
    max_headers: int = Field(default=100, ge=10)
    """Headers of a request."""
    max_body: int = Field(default=8_388_608, ge=1024)
    """Bytes of a request's body."""
    backlog: int = Field(default=2048, ge=1)
    """Connections that the kernel holds until they are accepted."""

    # --- requests ---
    max_choices: int = Field(default=16, ge=1)
    """Largest `n`."""
    max_completion_tokens: int = Field(default=131_072, ge=1)
    """Largest `max_tokens` and `max_completion_tokens`."""
    max_messages: int = Field(default=2048, ge=1)
    """Messages of a chat."""
    max_inputs: int = Field(default=2048, ge=1)
    """Inputs of one embeddings request, prompts of one completions request."""
    max_schema_nodes: int = Field(default=2048, ge=1)
    """Values in a JSON schema (keys, items) that constrains an answer or describes a tool."""
    max_schema_depth: int = Field(default=24, ge=1)
    """Levels of such a schema."""
    max_schema_text: int = Field(default=65_536, ge=1)
    """Characters of all names and texts in such a schema, and of all choices together."""
    max_pattern: int = Field(default=512, ge=1)
    """Characters of a regular expression."""
    max_repetitions: int = Field(default=256, ge=1)
    """Copies of its parts that a regular expression unrolls to: counts add up, those of groups multiply."""
    max_schema_count: int = Field(default=10_000, ge=1)
    """Largest minItems, maxItems, minProperties and maxProperties of a JSON schema."""
    max_grammar: int = Field(default=16_384, ge=1)
    """Characters of a grammar."""
    default_completion_tokens: int = Field(default=512, ge=1)
    """Tokens reserved for the answer when the request sets no `max_tokens`."""

    # --- engines ---
    engine_connect_timeout: float = Field(default=3.0, gt=0)
    """Seconds until a connection to an engine stands."""
    engine_first_byte_timeout: float = Field(default=600.0, gt=0)
    """Seconds until an engine's answer begins; one that is not streamed is generated in this time."""
    engine_idle_timeout: float = Field(default=300.0, gt=0)
    """Seconds between two parts of an engine's answer."""
    engine_keep_alive: float = Field(default=4.0, gt=0)
    """Seconds that an unused connection to an engine is kept; below the engine's own limit (uvicorn: 5)."""
    engine_connections: int = Field(default=256, ge=1)
    """Unused connections kept for each endpoint."""
    max_per_endpoint: int = Field(default=256, ge=1)
    """Requests given to one endpoint at the same time; more wait."""
    max_queue: int = Field(default=1024, ge=0)
    """Requests that wait for a free endpoint, for each service; one more gets 503, or the place of one of
    lower priority or of a key that has more waiting."""
    queue_timeout: float = Field(default=30.0, gt=0)
    """Seconds that a request waits for a free endpoint before it gets 503."""
    cold_start_timeout: float = Field(default=600.0, gt=0)
    """Seconds that a request waits for the first endpoint of a service on a cluster that may come up: one
    that scales from zero, is recreated, or has engines that start."""
    max_queue_per_key: int = Field(default=512, ge=1)
    """Requests of one key that wait for a free endpoint of a service; one more gets 503."""
    low_priority_share: float = Field(default=0.5, gt=0, le=1)
    """Share of an endpoint's requests that may be of low priority, as batches are."""
    attempts: int = Field(default=3, ge=1)
    """Endpoints that one request is sent to before the gateway gives up."""
    retry_share: float = Field(default=0.2, ge=0, le=1)
    """Retries there may be for each request, over all of a service; beyond it the first failure is told."""
    stall: float = Field(default=5.0, gt=0)
    """Seconds of silence after which an endpoint that has work is asked whether it lives; one that does not
    answer within `stall_patience` gets nothing until it does, and what it has not begun to answer goes
    elsewhere."""
    stall_patience: float = Field(default=5.0, gt=0)
    """Seconds that it may take to answer that."""
    hang: float = Field(default=120.0, gt=0)
    """Seconds of silence after which an endpoint that has work and lives, but whose metrics count no more
    tokens, is taken to hang behind its server."""
    isolate_prefix_cache: Isolation = "off"
    """Whose requests share what an engine remembers of prompts: everybody's, those of an owner, those of a
    key. Apart, nobody learns from the speed of an answer what others asked; shared beginnings cost again."""

    # --- end ---
    drain_delay: float = Field(default=0.0, ge=0)
    """Seconds after SIGTERM in which new requests are still taken while /readyz says 503 (Kubernetes: 5)."""
    drain_timeout: int = Field(default=60, ge=1)
    """Seconds after that in which running answers may finish."""

    @field_validator("limits_redis_url")
    @classmethod
    def _is_redis(cls, url: str) -> str:
        if url:
            from slipway.gateway.limits.places import place_of

            place_of(url)
        return url

    @property
    def database(self) -> str:
        """The database's URL, the default worked out."""
        return self.database_url or f"sqlite:///{self.state.absolute() / 'gateway.db'}"
