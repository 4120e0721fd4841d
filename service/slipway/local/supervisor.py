"""Runs the processes that the state folder's objects ask for: observe, plan, act, report, wait.

The supervisor is what the operator and the kubelet are on a cluster. It decides nothing itself: `plans.plan`
does, and this carries it out.
"""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from slipway.local import plans
from slipway.local.applying import read_services
from slipway.local.commands import Commands
from slipway.local.fine_tune_queue import FineTuneQueue
from slipway.local.folders import StateFolder
from slipway.local.plans import GATEWAY, Action, Replica, State, Timing, Wanted
from slipway.local.ports import FreePorts, reachable, url
from slipway.local.probes import Probe, answers
from slipway.local.processes import Identity, Launcher, groups_members
from slipway.local.progress import clock
from slipway.local.records import Records
from slipway.local.replicas import Running, environment_of
from slipway.local.reports import removed_report, replica_report, service_report, stamp
from slipway.objects.llmservices import LLMService
from slipway.objects.loading import LoadError
from slipway.training.workspaces import Workspace

Key = tuple[str, str, int]
HOUSEKEEPING_S = 10.0


@dataclass(frozen=True)
class Settings:
    """What `slipway up` was asked for."""

    host: str = "127.0.0.1"
    port: int = 8000
    timeout: float = 1800
    """Seconds until all must be ready for the first time; 0: no limit."""
    timing: Timing = field(default_factory=Timing)


class Supervisor:
    """One local run, from its start to the end of its last process."""

    def __init__(
        self,
        state: StateFolder,
        commands: Commands,
        settings: Settings,
        say: Callable[[str], None],
        probe: Probe = answers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state, self._commands, self._settings, self._say = state, commands, settings, say
        self._probe, self._clock, self._timing = probe, clock, settings.timing
        self._launcher, self._ports = Launcher(), FreePorts()
        self._running: dict[Key, Running] = {}
        self._services: dict[str, LLMService] = {}
        self._revisions: dict[tuple[str, str], LLMService] = {}
        self._proven: set[tuple[str, str]] = set()
        self._probes: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._engine_key = ""
        self._seen: object = None
        self._sequence = 0
        self._started = clock()
        self._started_at = datetime.now(UTC)
        self._housekept = self._started
        self._phase, self._message = "Starting", ""
        self._was_ready = self._failing = False
        self._stops = 0
        self._records = Records(state, say, clock)
        self._fine_tunes = FineTuneQueue(state, Workspace.found(None), say)

    @property
    def was_ready(self) -> bool:
        """Whether all was ready once."""
        return self._was_ready

    @property
    def failure(self) -> str:
        """Why the first start failed; empty if it did not."""
        return self._message if self._failing else ""

    def stop(self) -> None:
        """Begin to stop; called again, kill."""
        self._stops += 1
        self._wake.set()

    async def run(self) -> None:
        """Until stopped or the first start failed; no process is left then."""
        self._engine_key = self._state.engine_key()
        fine_tunes = asyncio.create_task(self._fine_tunes.run())
        try:
            while await self._step():
                try:
                    async with asyncio.timeout(self._timing.tick):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                self._wake.clear()
        finally:
            fine_tunes.cancel()
            await asyncio.gather(fine_tunes, return_exceptions=True)
            await self._end()

    async def _end(self) -> None:
        for running in self._running.values():
            if running.child is not None:
                running.child.kill()
        for task in self._probes:
            task.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)
        self._launcher.close()
        self._phase = "Failed" if self._failing else "Stopped"
        self._running.clear()
        self._records.publish(self._report(self._clock()), force=True)

    async def _step(self) -> bool:
        """One round; False once nothing is left to wait for."""
        now = self._clock()
        for running in self._running.values():
            if running.replica.state is State.STARTING:
                running.listen(now)
        stopping = self._stops > 0 or self._failing
        if not stopping:
            self._reload(now)
        observed = [running.replica for running in self._running.values()]
        if stopping:
            actions = plans.plan_stop(observed, now, self._timing)
        else:
            actions = plans.plan(self._wanted(), observed, now, self._timing)
        for action in actions:
            self._act(action, now)
        if self._stops > 1:
            for running in self._running.values():
                if running.child is not None:
                    running.child.kill()
        self._judge(now)
        self._housekeep(now)
        self._records.publish(self._report(now))
        return not (stopping and not self._running)

    # --- what is wanted

    def _reload(self, now: float) -> None:
        """Take up the objects if they changed."""
        try:
            seen = (
                self._state.sequence(),
                sorted(
                    (entry.name, entry.stat().st_mtime_ns, entry.inode())
                    for entry in os.scandir(self._state.objects)
                    if entry.name.startswith("llmservice-")
                ),
            )
        except OSError:
            return
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._services = read_services(self._state)
        except LoadError as error:
            self._say(f"The objects cannot be read, the last good ones go on: {error}")
            return
        for service in self._services.values():
            self._revisions[service.metadata.name, service.revision] = service
        if seen[0] != self._sequence:
            self._sequence = seen[0]
            self._retry(now)

    def _retry(self, now: float) -> None:
        """Someone applied the objects anew: what failed or waits gets another chance at once."""
        for key, running in list(self._running.items()):
            if running.replica.state is State.FAILED:
                del self._running[key]
            elif running.replica.state is State.WAITING:
                running.replica = replace(running.replica, retry_at=now)

    def _wanted(self) -> list[Wanted]:
        return [
            Wanted(GATEWAY, "", 1),
            *(
                Wanted(name, service.revision, service.spec.replicas, service.spec.rollout.between_processes)
                for name, service in self._services.items()
            ),
        ]

    # --- acting

    def _act(self, action: Action, now: float) -> None:
        if isinstance(action, plans.Start):
            self._start(action, now)
            return
        running = self._running[action.key]
        match action:
            case plans.Drain():
                self._enter(running, State.DRAINING, now)
                self._records.endpoints(self._services, self._running.values())
            case plans.Terminate():
                self._enter(running, State.STOPPING, now)
                self._records.endpoints(self._services, self._running.values())
                if running.child is not None:
                    running.child.terminate()
            case plans.Kill():
                running.replica = replace(running.replica, killed=True)
                if action.reason == "Unhealthy":
                    running.reason = "Unhealthy"
                    running.message = f"did not answer {running.replica.failed_probes} health probes in a row"
                else:
                    self._say(f"{running.label} did not finish in time and was killed.")
                if running.child is not None:
                    running.child.kill()
            case plans.Forget():
                del self._running[action.key]

    def _enter(self, running: Running, state: State, now: float) -> None:
        running.replica = replace(running.replica, state=state, since=now)

    def _start(self, action: plans.Start, now: float) -> None:
        key = (action.group, action.revision, action.index)
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = Running(Replica(*key, since=now))
        else:
            running.replica = replace(
                running.replica, state=State.STARTING, since=now, restarts=running.replica.restarts + 1
            )
        service = None if action.group == GATEWAY else self._revisions[action.group, action.revision]
        if service is None:
            running.port = self._settings.port
            argv = self._commands.gateway(self._settings.host, self._settings.port, self._state.root)
        else:
            running.port = self._ports.take()
            argv = self._commands.engine(service, running.port)
        environment = environment_of(service, self._engine_key)
        if service is not None:
            environment["SLIPWAY_ADAPTERS_FILE"] = str(self._state.brought(service.metadata.name))
        try:
            child = running.launch(argv, self._state, self._launcher, environment, now, datetime.now(UTC))
        except OSError as error:
            running.reason, running.message = "CannotStart", str(self._state.explain(error))
            self._lost(running, now)
            return
        self._records.processes(self._running.values())
        self._records.endpoints(self._services, self._running.values())
        child.on_exit(lambda code: self._ended(key, code))
        task = asyncio.create_task(self._watch(running))
        self._probes.add(task)
        task.add_done_callback(self._probes.discard)

    async def _watch(self, running: Running) -> None:
        """Probe one process for as long as it lives."""
        child = running.child
        gateway = running.replica.group == GATEWAY
        host = reachable(self._settings.host) if gateway else "127.0.0.1"
        path, key = ("/livez", None) if gateway else ("/health", self._engine_key)
        while running.child is child:
            healthy = await self._probe(host, running.port, path, key, self._timing.probe_timeout)
            if running.child is not child:
                return
            self._probed(running, healthy)
            starting = running.replica.state is State.STARTING
            await asyncio.sleep(
                self._timing.probe_interval_starting if starting else self._timing.probe_interval
            )

    def _probed(self, running: Running, healthy: bool) -> None:
        now = self._clock()
        before = running.replica.state
        running.replica = plans.probed(running.replica, now, self._timing, healthy=healthy)
        after = running.replica.state
        if after is before:
            return
        if after is State.READY:
            running.reason = running.message = ""
            self._proven.add((running.replica.group, running.replica.revision))
            if before is State.STARTING:
                if service := self._revisions.get((running.replica.group, running.replica.revision)):
                    self._records.started(service, running, now)
                if self._was_ready:
                    self._say(f"{running.label} is ready.")
            self._refresh_members()
        else:
            running.reason, running.message = "ProbeFailed", "does not answer its health probe"
            self._say(f"{running.label} does not answer its health probe; it gets no requests until it does.")
        self._records.endpoints(self._services, self._running.values())
        self._wake.set()

    def _ended(self, key: Key, code: int) -> None:
        """A process ended. The endpoints are right before anything else happens."""
        running = self._running[key]
        now = self._clock()
        if running.replica.state not in plans.LEAVING:
            running.listen(now)
            if running.reason != "Unhealthy":
                running.reason, running.message = running.explain(code)
        if running.child is not None:
            self._launcher.forget(running.child.pid)
        running.child = None
        self._lost(running, now)
        self._records.processes(self._running.values())

    def _lost(self, running: Running, now: float) -> None:
        """What becomes of a replica whose process is gone."""
        before = running.replica
        proven = self._was_ready and (before.group, before.revision) in self._proven
        after = plans.ended(before, now, self._timing, proven=proven)
        if after is None:
            del self._running[before.key]
        else:
            running.replica = after
        self._records.endpoints(self._services, self._running.values())
        if after is not None and after.state is State.WAITING:
            wait = after.retry_at - now
            self._say(f"{running.label}: {running.message}\n{running.label} starts again in {wait:.0f} s.")
        self._wake.set()

    # --- judging and reporting

    def _judge(self, now: float) -> None:
        """Whether the first start is over, and how."""
        if self._phase != "Starting" or self._stops:
            if self._stops and not self._failing:
                self._phase = "Stopping"
            return
        failed = [r for r in self._running.values() if r.replica.state is State.FAILED]
        if failed:
            self._fail(f"{failed[0].label}: {failed[0].message}")
        elif self._all_ready():
            self._phase, self._was_ready = "Running", True
        elif 0 < self._settings.timeout <= now - self._started:
            late = [r for r in self._running.values() if r.replica.state is not State.READY]
            what = f"; {late[0].label}: {replica_report(late[0], now, {})['message']}" if late else ""
            spent = clock(self._settings.timeout)
            self._fail(f"Not ready after {spent} (--timeout){what}. Logs: {self._state.logs}")

    def _fail(self, message: str) -> None:
        self._failing, self._phase, self._message = True, "Stopping", message
        self._wake.set()

    def _all_ready(self) -> bool:
        gateway = self._running.get((GATEWAY, "", 0))
        return (
            gateway is not None
            and gateway.replica.state is State.READY
            and all(
                report["state"] in ("Ready", "Stopping") for report in self._service_reports(self._clock())
            )
        )

    def _service_reports(self, now: float) -> list[dict[str, Any]]:
        groups: dict[str, list[Running]] = {name: [] for name in self._services}
        for running in self._running.values():
            if running.replica.group != GATEWAY:
                groups.setdefault(running.replica.group, []).append(running)
        reports = []
        for name, replicas in sorted(groups.items()):
            if name in self._services:
                service = self._services[name]
                reports.append(service_report(service, replicas, now, self._records.last_start(service)))
            else:
                service = self._revisions[name, replicas[0].replica.revision]
                reports.append(removed_report(service, replicas, now))
        return reports

    def _report(self, now: float) -> dict[str, Any]:
        gateway = self._running.get((GATEWAY, "", 0))
        absent = Running(Replica(GATEWAY, "", 0, State.STARTING))
        row = replica_report(gateway or absent, now, {})
        identity = Identity.of(os.getpid())
        return {
            "supervisor": {
                "pid": os.getpid(),
                "startTime": identity.start if identity else 0,
                "startedAt": stamp(self._started_at),
                "state": self._phase,
                "message": self._message,
            },
            "applied": self._sequence,
            "gateway": {
                "url": url(self._settings.host, self._settings.port),
                "state": row["state"] if gateway else "Stopped",
                **{name: row[name] for name in ("reason", "message", "pid", "restarts", "startedAt", "log")},
            },
            "services": self._service_reports(now),
        }

    def _refresh_members(self) -> None:
        """Remember what the children started, so that it can be found again without them."""
        groups = groups_members([r.child.pid for r in self._running.values() if r.child is not None])
        for running in self._running.values():
            if running.child is not None:
                running.members = tuple(groups[running.child.pid])
        self._records.processes(self._running.values())

    def _housekeep(self, now: float) -> None:
        """Now and then: try again what could not be saved, keep logs bounded."""
        if self._records.retry():
            self._records.endpoints(self._services, self._running.values())
            self._records.processes(self._running.values())
        if now - self._housekept < HOUSEKEEPING_S:
            return
        self._housekept = now
        self._refresh_members()
        self._records.bound_logs(self._running.values())
