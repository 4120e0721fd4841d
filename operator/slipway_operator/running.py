"""The life of an operator process: watch, wait until it leads, act, hand over."""

import asyncio
import os
import signal
import socket
import sys
import time

from slipway.kube.client import Client
from slipway.kube.config import load
from slipway_operator.leases import Election
from slipway_operator.logs import Log
from slipway_operator.metrics import Metrics
from slipway_operator.names import MANAGER
from slipway_operator.operators import Operator
from slipway_operator.server import Server
from slipway_operator.settings import OperatorSettings

_SILENT = 300.0
"""Seconds without a sign of the API server after which an operator is not ready."""


async def serve(settings: OperatorSettings, client: Client, log: Log) -> None:
    """Run until SIGTERM."""
    metrics = Metrics()
    election = Election(
        client=client,
        namespace=settings.namespace,
        name=settings.lease,
        identity=settings.identity,
        duration=settings.lease_duration,
        renew=settings.lease_renew,
        clock=time.monotonic,
        report=lambda text: log.write("warning", "lease", text),
    )
    operator = Operator(client, settings, log, metrics, time.time, lambda: election.may_act)
    server = Server(
        metrics,
        refresh=lambda: _refresh(metrics, operator, election),
        why_not_ready=lambda: _why_not_ready(operator),
        why_not_alive=lambda: "",
    )
    port = await server.start(settings.host, settings.port)
    log.write("info", "started", f"Metrics and health at port {port}", identity=settings.identity)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    stopping = asyncio.create_task(stop.wait())
    living = asyncio.create_task(_live(operator, election, log))
    try:
        await asyncio.wait((stopping, living), return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            log.write("info", "stopping", "Asked to stop")
        else:
            living.result()
    finally:
        for task in (living, stopping):
            task.cancel()
        await asyncio.gather(living, stopping, return_exceptions=True)
        await election.release()
        operator.queue.close()
        await server.stop()
        await client.close()


async def _live(operator: Operator, election: Election, log: Log) -> None:
    """Watch all the time, act while leading; a lead that was lost may be won again."""
    async with asyncio.TaskGroup() as group:
        group.create_task(operator.watch())
        await operator.synced()
        while True:
            log.write("info", "waiting", "The cluster's state is known; waiting for the lead")
            await election.win()
            log.write("info", "leading", f"{election.identity} acts")
            acting = group.create_task(operator.act())
            await election.hold()
            acting.cancel()
            await asyncio.wait((acting,))
            log.write("warning", "lost", "The lead was lost: nothing is written any more")


def _refresh(metrics: Metrics, operator: Operator, election: Election) -> None:
    metrics.leading.set(election.leading)
    metrics.queued.set(len(operator.queue))
    metrics.failing.set(operator.queue.failing)
    calls: dict[tuple[str, str], int] = {}
    for (verb, resource, _), count in operator.client.calls.items():
        calls[verb, resource] = calls.get((verb, resource), 0) + count
    for labels, count in calls.items():
        metrics.calls.labels(*labels).set(count)
    metrics.stale.set(operator.stale_seconds())
    metrics.gateways.labels("expected").set(operator.measuring.expected)
    metrics.gateways.labels("answered").set(operator.measuring.answered)


def _why_not_ready(operator: Operator) -> str:
    if not operator.has_synced:
        return "the cluster's state is not known yet"
    silent = operator.stale_seconds()
    return f"the API server was last heard of {silent:.0f} s ago" if silent > _SILENT else ""


def main() -> None:
    """Run the operator of this process's environment."""
    settings = OperatorSettings()
    if not settings.identity:
        identity = f"{socket.gethostname()}_{os.getpid()}"
        settings = settings.model_copy(update={"identity": identity})
    log = Log(sys.stderr)

    async def run() -> None:
        await serve(settings, Client(load(os.environ), manager=MANAGER), log)

    asyncio.run(run())
