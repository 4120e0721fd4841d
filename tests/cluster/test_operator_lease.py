"""Of several operator processes one acts; another takes over when it ends, dies or is held up."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cluster.installation import key, service
from cluster.kubectl import Kubectl

LEASE = "slipway-operator"
SHORT, LONG = 3, 60
"""Seconds of a Lease: one that runs out while a test waits, and one that does not."""
Start = Callable[..., Any]


@dataclass
class Candidate:
    """A process of the operator."""

    name: str
    process: asyncio.subprocess.Process
    said: list[dict[str, Any]] = field(default_factory=list)
    more: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def listen(self) -> None:
        """Collect its log lines."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            async with self.more:
                self.said.append(json.loads(line))
                self.more.notify_all()

    async def says(self, event: str, times: int = 1) -> dict[str, Any]:
        """Wait until it has logged `event` so often; the last such line."""

        def lines() -> list[dict[str, Any]]:
            return [line for line in self.said if line["event"] == event]

        async with self.more, asyncio.timeout(30):
            await self.more.wait_for(lambda: len(lines()) >= times)
        return lines()[-1]

    async def metrics(self) -> dict[str, float]:
        """Sample -> value."""
        port = (await self.says("started"))["message"].rpartition(" ")[2]
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/metrics") as answer,
        ):
            text = await answer.text()
        pairs = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    async def leads(self) -> bool:
        return (await self.metrics())["slipway_operator_leading"] == 1

    async def writes(self) -> float:
        """Calls that changed something but the Lease."""
        return sum(
            value
            for name, value in (await self.metrics()).items()
            if name.startswith("slipway_operator_api_calls{")
            and not any(f'verb="{verb}"' in name for verb in ("get", "list", "watch"))
            and 'resource="leases"' not in name
        )


@pytest.fixture(scope="module", autouse=True)
def definitions(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "--force-conflicts", "--kustomize=k8s/crds")
    kubectl("wait", "--for=condition=Established", "crd", "llmservices.slipway.dev", "apikeys.slipway.dev")


@pytest.fixture
async def start(cluster: Path, namespace: str) -> AsyncIterator[Start]:
    """Start an operator that looks after the namespace; it is killed after the test."""
    async with asyncio.TaskGroup() as group:
        started: list[tuple[Candidate, asyncio.Task[None]]] = []

        async def begin(name: str, seconds: int) -> Candidate:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "slipway_operator",
                stderr=asyncio.subprocess.PIPE,
                env={
                    **os.environ,
                    "KUBECONFIG": str(cluster),
                    "SLIPWAY_OPERATOR_NAMESPACE": namespace,
                    "SLIPWAY_OPERATOR_WATCH_NAMESPACE": namespace,
                    "SLIPWAY_OPERATOR_IDENTITY": name,
                    "SLIPWAY_OPERATOR_LEASE": LEASE,
                    "SLIPWAY_OPERATOR_LEASE_DURATION": str(seconds),
                    "SLIPWAY_OPERATOR_LEASE_RENEW": "0.2",
                    "SLIPWAY_OPERATOR_DEVICE": "cpu",
                    "SLIPWAY_OPERATOR_HOST": "127.0.0.1",
                    "SLIPWAY_OPERATOR_PORT": "0",
                },
            )  # fmt: skip
            candidate = Candidate(name, process)
            started.append((candidate, group.create_task(candidate.listen())))
            await candidate.says("waiting")
            return candidate

        yield begin
        for candidate, _ in started:
            if candidate.process.returncode is None:
                candidate.process.kill()
            await candidate.process.wait()


def lease(kubectl: Kubectl, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = kubectl.get(namespace, "lease", LEASE)["spec"]
    return found


def hand_to(kubectl: Kubectl, namespace: str, holder: str) -> None:
    """Take the Lease as another operator would."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    patch = {"spec": {"holderIdentity": holder, "renewTime": now, "leaseDurationSeconds": LONG}}
    kubectl(
        "patch", "lease", LEASE, f"--namespace={namespace}", "--type=merge", f"--patch={json.dumps(patch)}"
    )


def replicas(kubectl: Kubectl, namespace: str) -> list[int]:
    return [item["spec"]["replicas"] for item in kubectl.get(namespace, "deployments")["items"]]


@asynccontextmanager
async def stopped(candidate: Candidate) -> AsyncIterator[None]:
    candidate.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        candidate.process.send_signal(signal.SIGCONT)


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(true):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_one_of_two_acts(kubectl: Kubectl, namespace: str, start: Start) -> None:
    first, second = await start("first", LONG), await start("second", LONG)
    await first.says("leading")
    kubectl.apply(namespace, key("k"))
    await asyncio.to_thread(kubectl.wait, namespace, "condition=Ready", "apikey/k")
    assert (await first.leads(), await second.leads()) == (True, False)
    assert await second.writes() == 0 < await first.writes()


async def test_who_ends_hands_over_and_who_dies_is_followed_when_its_time_is_over(
    kubectl: Kubectl, namespace: str, start: Start
) -> None:
    ends = await start("ends", LONG)
    await ends.says("leading")
    dies = await start("dies", SHORT)
    ends.process.terminate()
    await dies.says("leading")  # Long before the Lease of the first has run out.
    assert await ends.process.wait() == 0

    follows = await start("follows", SHORT)
    dies.process.kill()
    await dies.process.wait()
    last = lease(kubectl, namespace)
    assert last["holderIdentity"] == "dies"
    await follows.says("leading")
    now = lease(kubectl, namespace)
    waited = datetime.fromisoformat(now["acquireTime"]) - datetime.fromisoformat(last["renewTime"])
    assert waited.total_seconds() >= SHORT
    assert now["leaseTransitions"] == last["leaseTransitions"] + 1
    kubectl.apply(namespace, key("k"))
    await asyncio.to_thread(kubectl.wait, namespace, "condition=Ready", "apikey/k")


async def test_who_is_held_up_is_followed_and_does_not_act_when_it_goes_on(
    kubectl: Kubectl, namespace: str, start: Start
) -> None:
    slow, quick = await start("slow", SHORT), await start("quick", SHORT)
    await slow.says("leading")
    async with stopped(slow):
        await quick.says("leading")
    await slow.says("lost")
    assert (await slow.leads(), await quick.leads()) == (False, True)
    assert lease(kubectl, namespace)["holderIdentity"] == "quick"


async def test_who_wakes_up_writes_nothing_of_what_it_was_about_to_and_may_lead_again(
    kubectl: Kubectl, namespace: str, start: Start
) -> None:
    only = await start("only", SHORT)
    kubectl.apply(namespace, service("m"))
    await until(lambda: replicas(kubectl, namespace) == [1])
    async with stopped(only):
        last = datetime.fromisoformat(lease(kubectl, namespace)["renewTime"])
        await until(lambda: (datetime.now(UTC) - last).total_seconds() > SHORT)
        hand_to(kubectl, namespace, "another")
        kubectl("scale", "llm/m", "--replicas=2", f"--namespace={namespace}")
    await only.says("lost")
    assert replicas(kubectl, namespace) == [1]
    hand_to(kubectl, namespace, "")
    await only.says("leading", times=2)
    await until(lambda: replicas(kubectl, namespace) == [2])
