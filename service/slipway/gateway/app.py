"""Puts one gateway together from its settings; the parts can be exchanged for tests."""

import os
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from starlette.middleware.cors import CORSMiddleware

from slipway.gateway.accounts import Accounts
from slipway.gateway.answering import Answering
from slipway.gateway.api import make_api
from slipway.gateway.apis import audit as audit_api
from slipway.gateway.apis import batches as batches_api
from slipway.gateway.apis import feedback as feedback_api
from slipway.gateway.apis import files as files_api
from slipway.gateway.apis import fine_tuning as fine_tuning_api
from slipway.gateway.apis import fine_tuning_reports as fine_tuning_reports_api
from slipway.gateway.apis import keys as keys_api
from slipway.gateway.apis import limits as limits_api
from slipway.gateway.apis import make_caller
from slipway.gateway.apis import me as me_api
from slipway.gateway.apis import organization_usage as organization_usage_api
from slipway.gateway.apis import owners as owners_api
from slipway.gateway.apis import responses as responses_api
from slipway.gateway.apis import usage as usage_api
from slipway.gateway.apis.changing import Changing
from slipway.gateway.batches.asking import Asking
from slipway.gateway.batches.runner import BatchRunner
from slipway.gateway.catalog import Catalog, Source
from slipway.gateway.ensembles.asking import Ensembles
from slipway.gateway.files.store import Files
from slipway.gateway.finetuning.folders import FolderFineTunes
from slipway.gateway.finetuning.places import FineTunes
from slipway.gateway.finetuning.runner import FineTuningRunner
from slipway.gateway.finetuning.signing import Signing
from slipway.gateway.frontdoor import ASGIApp, FrontDoor
from slipway.gateway.identity.audit import Audit
from slipway.gateway.identity.identities import Identities
from slipway.gateway.identity.kept import KeptIdentities
from slipway.gateway.identity.oidc import OIDC
from slipway.gateway.lifespan import EngineKey, Gateway
from slipway.gateway.limits import LIMIT_HEADERS, InProcessLimits, LimitStore
from slipway.gateway.limits.contract import nothing_used
from slipway.gateway.limits.seeds import SharedSeed
from slipway.gateway.logs import JSONLog
from slipway.gateway.messages.handling import Messages
from slipway.gateway.metrics import UNKNOWN, Metrics
from slipway.gateway.relay.admission import QueueLimits
from slipway.gateway.relay.balancer import Balancer
from slipway.gateway.relay.relay import Relay, RelayLimits
from slipway.gateway.relay.transport import TCPTransport, Transport, TransportLimits
from slipway.gateway.relay.watching import Watch, WatchLimits
from slipway.gateway.responses.handling import Responses
from slipway.gateway.routes import relayed_routes
from slipway.gateway.serving import Serving
from slipway.gateway.settings import GatewaySettings
from slipway.gateway.statefolder import StateFolder
from slipway.gateway.storage.database import Database
from slipway.gateway.usage.child import RecorderChild
from slipway.gateway.usage.gauges import JournalMetrics
from slipway.gateway.usage.journal import Journal
from slipway.gateway.usage.process import Task
from slipway.gateway.usage.records import Recording
from slipway.gateway.usage.spending import Spending

if TYPE_CHECKING:
    from slipway.gateway.tracing import Tracing

CONSOLE = Path(__file__).parent / "console"
_STALLED = {"silent": "does not answer /health", "stuck": "counts no more tokens, though it answers /health"}


def make_gateway(
    settings: GatewaySettings,
    *,
    log: JSONLog | None = None,
    source: Source | None = None,
    transport: Transport | None = None,
    limits: LimitStore | None = None,
) -> Gateway:
    """Put a gateway together; parts that are left out are the real ones."""
    log = log if log is not None else JSONLog()
    catalog = Catalog()
    instance = secrets.token_hex(6)
    metrics = Metrics(CollectorRegistry())
    engine_key = EngineKey(settings.engine_key_file or settings.state / "secrets" / "engine-key")
    relay = Relay(
        transport if transport is not None else TCPTransport(_transport_limits(settings)),
        Balancer(
            time.monotonic,
            settings.max_per_endpoint,
            settings.low_priority_share,
            lambda address: metrics.ejections.inc(),
        ),
        RelayLimits(
            settings.attempts,
            settings.retry_share,
            queue=QueueLimits(settings.max_queue, settings.queue_timeout, settings.max_queue_per_key),
        ),
        on_retry=lambda service, reason: metrics.retries.labels(service, reason).inc(),
        on_shed=lambda reason: metrics.shed.labels(reason).inc(),
        on_wait=lambda priority, seconds: metrics.queue_wait.labels(priority).observe(seconds),
        on_outcome=metrics.revisions.outcome,
        on_first_byte=metrics.revisions.first_byte,
    )

    def stalled(address: str, outcome: str) -> None:
        metrics.stalls.inc()
        log.write("warning", "stalled", f"{address} has work, is silent and {_STALLED[outcome]}")

    database = Database(settings.database, seconds=settings.database_timeout)
    always: list[Callable[[], Coroutine[Any, Any, None]]] = [
        Watch(
            relay,
            WatchLimits(settings.stall, settings.stall_patience, settings.hang),
            time.monotonic,
            on_probe=lambda outcome: metrics.probes.labels(outcome).inc(),
            on_stall=stalled,
        ).run
    ]
    known: list[Callable[[], Awaitable[None]]] = []
    if limits is None:
        seed = SharedSeed(Spending(database)) if settings.usage else nothing_used
        limits = InProcessLimits(time.monotonic, time.time, seed)
        if settings.limits_redis_url:
            from slipway.gateway.limits.stores import shared_limits

            limits = shared_limits(
                settings,
                seed,
                log,
                told=metrics.limits_up.set,
                fell_back=lambda decision: metrics.limits_fallback.labels(decision).inc(),
            )
            always.append(limits.run)
            known.append(limits.known)
    recorder = _recorder(settings, instance, log) if settings.usage else None
    usage = None
    if recorder is not None:
        usage = Recording(recorder.journal, catalog, time.perf_counter, time.time)
        metrics.registry.register(JournalMetrics(recorder.journal))
    accounts = Accounts(limits, metrics, log, time.perf_counter, usage)
    oidc = OIDC(settings, catalog, log, time.monotonic, time.time) if settings.oidc_issuer else None
    if oidc is not None:
        always.append(oidc.run)
    kept = KeptIdentities(database, catalog, log, metrics.identities_up.set)
    if oidc is not None:
        kept.person = oidc.person
    known.append(kept.known)
    catalog.extend = kept.extend
    identities = Identities(catalog, time.time, lambda: kept.loaded, oidc)
    audit = Audit(database, log, _now_us, settings.audit_retention_days)
    caller = make_caller(identities, audit)
    changing = Changing(caller, database, kept, audit)
    serving = Serving(
        settings=settings,
        catalog=catalog,
        limits=limits,
        relay=relay,
        identities=identities,
        audit=audit,
        accounts=accounts,
        log=log,
        engine_key=lambda: engine_key.value,
        clock=time.perf_counter,
        wall=time.time,
        answering=Answering(accounts, log, time.perf_counter),
        tracing=_tracing(settings),
    )
    if source is None:
        source = _source(settings, log)
    gateway = Gateway(
        settings,
        catalog,
        source,
        serving,
        relay,
        metrics,
        log,
        engine_key,
        database,
        name=f"gw-{instance}",
        recorder=recorder,
        always=always,
        known=known,
    )
    catalog.on_change.append(gateway.changed)
    catalog.on_change.append(metrics.revisions.changed)
    metrics.watch(lambda: catalog.snapshot, relay.balancer.outstanding, relay.admission.waiting_for)
    routes = relayed_routes(settings)
    files = Files(database, _now_us, settings.file_max, settings.files_max)
    batches = BatchRunner(
        database=database,
        files=files,
        asking=Asking(serving.perform, routes, time.monotonic, _now_us),
        key_of=identities.named,
        log=log,
        now_us=_now_us,
        gateway=gateway.name,
        parallel=settings.batch_parallel,
        longest=settings.max_body,
    )
    gateway.background += [kept.run, audit.run, batches.run]
    signing = Signing(lambda: engine_key.value)
    places = _fine_tunes(settings, signing)
    tuning = None
    if places is not None:
        tuning = FineTuningRunner(
            database=database,
            files=files,
            places=places,
            snapshot=lambda: catalog.snapshot,
            log=log,
            now_us=_now_us,
            gateway=gateway.name,
            longest=settings.max_body,
            poll=4 * settings.poll_interval,
        )
        gateway.background.append(tuning.run)
    responses = Responses(serving, database, gateway.name, settings.responses_keep, time.time)
    gateway.background.append(responses.run)
    messages = Messages(serving)
    serving.ensembles = Ensembles(
        serving.perform, routes, lambda: catalog.snapshot, accounts, time.perf_counter
    )
    serving.handlers = {
        "/v1/responses": responses.create,
        "/v1/responses/input_tokens": responses.count,
        "/v1/messages": messages.create,
        "/v1/messages/count_tokens": messages.count,
    }

    def rated(model: str, rating: str) -> None:
        snapshot = catalog.snapshot
        known = model in snapshot.models or model in snapshot.routes
        metrics.feedback.labels(model if known else UNKNOWN, rating).inc()

    api = make_api(
        catalog,
        metrics,
        routes,
        caller=caller,
        routers=(
            files_api.router(caller, files),
            batches_api.router(caller, database, _now_us, batches.kick),
            fine_tuning_api.router(
                caller, catalog, audit, tuning, signing, _now_us, settings.fine_tuning_jobs
            ),
            fine_tuning_reports_api.router(
                caller, database, None if tuning is None else tuning.places, time.time
            ),
            responses_api.router(caller, database, responses),
            usage_api.router(caller, database, _now_us),
            organization_usage_api.router(caller, database, _now_us),
            me_api.router(caller, oidc),
            keys_api.router(caller, changing, catalog, kept, _now_us),
            owners_api.router(caller, changing, catalog, kept, _now_us),
            audit_api.router(caller, database),
            limits_api.router(caller, lambda: catalog, limits),
            feedback_api.router(caller, database, _now_us, rated, recorded=settings.usage),
        ),
        console=CONSOLE,
        connects=me_api.origins(oidc),
        refused=audit.refused,
        draining=lambda: gateway.draining,
        on_cluster=settings.source == "kubernetes",
        on_scrape=gateway.scraped,
    )
    app: ASGIApp = FrontDoor(routes, serving, api, gateway)
    if settings.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["authorization", "content-type", "x-request-id", "x-api-key"],
            expose_headers=["x-request-id", "retry-after", "retry-after-ms", *LIMIT_HEADERS],
        )
    gateway.app = app
    return gateway


def _source(settings: GatewaySettings, log: JSONLog) -> Source:
    if settings.source == "folder":
        return StateFolder(
            settings.state,
            settings.poll_interval,
            lambda file, problem: log.write("warning", "state", f"{file}: {problem}", file=file),
        )
    # Loaded where it is asked for: it is of no use on one machine.
    from slipway.gateway.kubernetes import KubernetesSource
    from slipway.kube.config import load

    return KubernetesSource(
        load(os.environ),
        settings.kubernetes_namespace,
        lambda where, problem: log.write("warning", "object", f"{where}: {problem}", object=where),
        lambda level, sentence: log.write(level, "kubernetes", sentence),
    )


def _fine_tunes(settings: GatewaySettings, signing: Signing) -> FineTunes | None:
    if settings.source == "folder":
        return FolderFineTunes(settings.state)
    if not settings.fine_tuning_namespace or not settings.fine_tuning_address:
        return None
    from slipway.gateway.finetuning.clusters import ClusterFineTunes
    from slipway.kube.config import load

    return ClusterFineTunes(
        load(os.environ), settings.fine_tuning_namespace, settings.fine_tuning_address, signing
    )


def _tracing(settings: GatewaySettings) -> "Tracing | None":
    if not settings.otlp_endpoint:
        return None
    from slipway.gateway.tracing import tracing_to

    return tracing_to(settings.otlp_endpoint, settings.trace_share, time.perf_counter)


def _recorder(settings: GatewaySettings, instance: str, log: JSONLog) -> RecorderChild:
    root = settings.state / "usage"
    journal = Journal(
        root,
        instance,
        wall=time.time,
        most=settings.usage_journal_max,
        serve_when_full=settings.usage_on_full == "serve",
    )
    task = Task(
        root=str(root.absolute()),
        instance=instance,
        database=settings.database,
        timeout=settings.database_timeout,
        retention_days=settings.usage_retention_days,
        totals_days=settings.usage_totals_days,
    )
    return RecorderChild(journal, task, log)


def _now_us() -> int:
    return time.time_ns() // 1000


def _transport_limits(settings: GatewaySettings) -> TransportLimits:
    return TransportLimits(
        connect=settings.engine_connect_timeout,
        first_byte=settings.engine_first_byte_timeout,
        idle=settings.engine_idle_timeout,
        keep=settings.engine_keep_alive,
        idle_connections=settings.engine_connections,
    )
