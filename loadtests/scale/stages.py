"""One operator's way through the benchmark."""

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from loadtests.scale.api_server import Counts, read_counts
from loadtests.scale.figures import Figures
from loadtests.scale.programs import Program

from cluster.kubectl import Kubectl
from slipway.kube.client import Client
from slipway.kube.informers import Informer
from slipway.kube.kinds import DEPLOYMENT, LLM_SERVICE, POD

_QUIET = 8.0
"""Seconds without a write after which an operator has nothing left to do."""
_LONGEST = 600.0
_SELECTOR = "app.kubernetes.io/managed-by=slipway-operator"

Object = dict[str, Any]


def service(name: str, namespace: str, replicas: int) -> Object:
    """An LLMService; its pods, if it has any, are made and never started."""
    nowhere = {"spec": {"nodeSelector": {"slipway.dev/bench": "nowhere"}}}
    return {
        "apiVersion": LLM_SERVICE.api_version,
        "kind": LLM_SERVICE.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": {"source": "hf://HuggingFaceTB/SmolLM2-135M-Instruct"},
            "engine": {"device": "cpu", "podTemplate": nowhere},
            "replicas": replicas,
        },
    }


def answered(item: Object) -> bool:
    """Whether its operator has dealt with what it asks for now."""
    seen = (item.get("status") or {}).get("observedGeneration")
    return bool(seen == item["metadata"]["generation"])


@dataclass(slots=True)
class Stage:
    """Drives one operator and watches what comes of it, with a client of its own."""

    client: Client
    kubectl: Kubectl
    program: Program
    log: Path
    _answered_at: dict[str, float] = field(default_factory=dict)
    """LLMService -> when its status first said so, on the monotonic clock."""
    _seen_at: dict[str, float] = field(default_factory=dict)
    """LLMService -> when it was first seen."""
    _pod_at: dict[str, float] = field(default_factory=dict)
    """LLMService -> when a pod of it was first seen."""

    async def run(self, services: int, idle: float, applies: int) -> Figures:
        """All of it, in this order. Raises RuntimeError, TimeoutError."""
        namespace = self.program.namespace
        informers = [
            Informer(self.client, LLM_SERVICE, namespace, on_change=self._changed),
            Informer(self.client, POD, namespace, selector=_SELECTOR, on_change=self._pod),
            Informer(self.client, DEPLOYMENT, namespace, selector=_SELECTOR),
        ]
        watching = [asyncio.create_task(each.run()) for each in informers]
        figures = Figures(self.program.name, self.program.version, services, applies)
        try:
            await asyncio.gather(*(each.synced() for each in informers))
            self._tell(f"{services} LLMServices are made")
            await self._make(services)
            self._tell("it is started")
            await self._converge(figures)
            self._tell("until Deployments are seen to")
            await self._until(
                lambda: all(answered(each) for each in informers[2].items.values()), "the Deployments"
            )
            await self._settled()
            self._tell(f"{idle:.0f} s in which nothing changes")
            await self._idle(figures, idle)
            self._tell(f"{applies} times kubectl apply")
            await self._apply(figures, applies)
            self._tell("it is started anew")
            await self._restart(figures)
        finally:
            if self.program.process is not None:
                self.program.stop()
            for task in watching:
                task.cancel()
            for task in watching:
                with suppress(asyncio.CancelledError):
                    await task
        return figures

    # --- what is measured ------------------------------------------------------------------------

    async def _make(self, services: int) -> None:
        async def some(numbers: range) -> None:
            for number in numbers:
                await self.client.create(LLM_SERVICE, service(f"s{number:04}", self.program.namespace, 0))

        await asyncio.gather(*(some(range(first, services, 8)) for first in range(8)))
        await self._until(lambda: len(self._seen_at) >= services, "the LLMServices")

    async def _converge(self, figures: Figures) -> None:
        before, began = await self._counts(), time.monotonic()
        self.program.start(self.log)
        await asyncio.to_thread(self.program.until_ready, 60)
        figures.ready = time.monotonic() - began
        await self._until(lambda: len(self._answered_at) >= figures.services, "all statuses")
        figures.converged = max(self._answered_at.values()) - began
        figures.converged_cpu = self.program.cpu
        counts = (await self._settled()).since(before)
        figures.calls, figures.writes, figures.verbs = counts.total, counts.writes, dict(counts.verbs)
        figures.own_calls = await asyncio.to_thread(self.program.own_calls)
        figures.pss = self.program.pss
        await self._check_children(figures)

    async def _check_children(self, figures: Figures) -> None:
        """All of them are there, or the figures are of no use. Raises RuntimeError."""
        for plural in (
            "deployments.apps",
            "serviceaccounts",
            "services",
            "poddisruptionbudgets",
            "networkpolicies",
        ):
            listed = await asyncio.to_thread(
                self.kubectl, "get", plural, f"--namespace={self.program.namespace}",
                f"--selector={_SELECTOR}", "--output=name",
            )  # fmt: skip
            wanted = figures.services * (2 if plural == "services" else 1)
            if len(listed.split()) != wanted:
                raise RuntimeError(f"{self.program.name}: {len(listed.split())} {plural}, not {wanted}")

    async def _idle(self, figures: Figures, seconds: float) -> None:
        before, cpu, began = await self._counts(), self.program.cpu, time.monotonic()
        await asyncio.sleep(seconds)
        counts, took = (await self._counts()).since(before), time.monotonic() - began
        figures.idle_calls = counts.total * 60 / took
        figures.idle_writes = counts.writes
        figures.idle_cpu = (self.program.cpu - cpu) * 60 / took
        figures.idle_pss = self.program.pss

    async def _apply(self, figures: Figures, applies: int) -> None:
        whole, ours = [], []
        for number in range(applies):
            name = f"apply{number:02}"
            began = time.monotonic()
            await asyncio.to_thread(
                self.kubectl.apply, self.program.namespace, service(name, self.program.namespace, 1)
            )
            await self._until(lambda name=name: name in self._pod_at, f"a pod of {name}")  # type: ignore[misc]
            whole.append(self._pod_at[name] - began)
            ours.append(self._pod_at[name] - self._seen_at[name])
            await self._until(lambda name=name: name in self._answered_at, f"{name}'s status")  # type: ignore[misc]
            await self.client.delete(LLM_SERVICE, self.program.namespace, name)
        for taken, into in ((whole, figures.apply), (ours, figures.pod)):
            into["p50"] = median(taken)
            into["p99"] = quantiles(taken, n=100, method="inclusive")[98] if len(taken) > 1 else taken[0]
            into["most"] = max(taken)

    async def _restart(self, figures: Figures) -> None:
        await self._settled()
        self.program.stop()
        before, began = await self._counts(), time.monotonic()
        self.program.start(self.log)
        await asyncio.to_thread(self.program.until_ready, 60)
        figures.restart_ready = time.monotonic() - began
        counts = (await self._settled()).since(before)
        figures.restart_calls, figures.restart_writes = counts.total, counts.writes
        figures.restart_cpu, figures.restart_pss = self.program.cpu, self.program.pss

    # --- what it is measured with ----------------------------------------------------------------

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            return
        name, now = new["metadata"]["name"], time.monotonic()
        self._seen_at.setdefault(name, now)
        if answered(new):
            self._answered_at.setdefault(name, now)

    def _pod(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self._pod_at.setdefault(new["metadata"]["labels"]["slipway.dev/service"], time.monotonic())

    async def _counts(self) -> Counts:
        return await read_counts(self.client, self.program.name)

    async def _settled(self) -> Counts:
        """The counts once nothing has been written for a while, and the operator is not busy."""
        counts, cpu, since = await self._counts(), self.program.cpu, time.monotonic()
        end = since + _LONGEST
        while time.monotonic() - since < _QUIET:
            if time.monotonic() > end:
                raise TimeoutError(f"{self.program.name} goes on writing: {self.log}")
            await asyncio.sleep(1)
            newer, used = await self._counts(), self.program.cpu
            if newer.writes != counts.writes or used - cpu > 0.2:
                since = time.monotonic()
            counts, cpu = newer, used
        return counts

    async def _until(self, done: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _LONGEST
        while not done():
            if time.monotonic() > end:
                raise TimeoutError(f"{self.program.name}: waited in vain for {what}; {self.log}")
            await asyncio.sleep(0.02)

    def _tell(self, what: str) -> None:
        print(f"{self.program.name}: {what}", file=sys.stderr, flush=True)
