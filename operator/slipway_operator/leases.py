"""Which of several operators acts: the one that holds a Lease (coordination.k8s.io) and renews it.

Nobody compares clocks of two machines: who waits takes a Lease over when it has not seen it change for the
Lease's whole duration, by its own clock. Who holds it gives up acting before that: when it could not renew
for two thirds of the duration.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from slipway.kube.client import Client
from slipway.kube.errors import AlreadyExistsError, ConflictError, KubeError, NotFoundError
from slipway.kube.kinds import LEASE


@dataclass(slots=True)
class Election:
    """One candidate. Times are seconds of `clock`, a monotonic one."""

    client: Client
    namespace: str
    name: str
    identity: str
    duration: float
    renew: float
    clock: Callable[[], float]
    report: Callable[[str], None]
    leading: bool = False
    _renewed: float = field(default=float("-inf"))
    """When the renewal was asked for that the lead rests on."""
    _held: dict[str, Any] | None = None
    """The Lease as it was last written by us: a renewal need not read it first."""
    _seen: tuple[Any, ...] = ()
    """What changes with each renewal, as last seen."""
    _seen_at: float = field(default=float("-inf"))

    async def win(self) -> None:
        """Wait until this candidate leads."""
        while True:
            asked = self.clock()
            if await self._try():
                self._renewed = asked
                if self._left > 0:
                    break
            await asyncio.sleep(self.renew)
        self.leading = True

    @property
    def may_act(self) -> bool:
        """Whether nobody else can lead yet. To be asked before each write: a process that was stopped for
        a while goes on in the middle of what it did."""
        return self.leading and self._left > 0

    @property
    def _left(self) -> float:
        """Seconds for which the last renewal is good for acting."""
        return self._renewed + self.duration * 2 / 3 - self.clock()

    async def hold(self) -> None:
        """Renew; returns when the Lease is lost, so that whoever acted stops."""
        while self._left > 0:
            await asyncio.sleep(min(self.renew, self._left))
            asked = self.clock()
            try:
                async with asyncio.timeout(self._left):
                    held = await self._try()
            except TimeoutError:
                continue
            if held:
                self._renewed = asked
            elif self._seen and self._seen[0] != self.identity:
                break
        self.leading = False

    async def release(self) -> None:
        """Let another one lead at once. Does nothing where the Lease is not ours."""
        if not self.leading:
            return
        self.leading = False
        try:
            lease = await self.client.get(LEASE, self.namespace, self.name)
            if lease["spec"].get("holderIdentity") == self.identity:
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self.client.replace(LEASE, lease)
        except KubeError as error:
            self.report(f"The Lease could not be released: {error}")

    async def _try(self) -> bool:
        """Take or renew the Lease; whether it is held now."""
        try:
            return await self._take()
        except (AlreadyExistsError, ConflictError):
            return False  # Another one was faster.
        except KubeError as error:
            self.report(f"The Lease cannot be had: {error}")
            return False

    async def _take(self) -> bool:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        ours = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, round(self.duration)),
            "renewTime": now,
        }
        held, self._held = self._held, None
        if held is not None:
            held["spec"] |= ours
            with suppress(ConflictError, NotFoundError):  # Somebody has changed it: look at it anew.
                return await self._put(held)
        try:
            lease = await self.client.get(LEASE, self.namespace, self.name)
        except NotFoundError:
            body: dict[str, Any] = {
                "apiVersion": LEASE.api_version,
                "kind": LEASE.kind,
                "metadata": {"name": self.name, "namespace": self.namespace},
                "spec": {**ours, "acquireTime": now, "leaseTransitions": 0},
            }
            self._held = await self.client.create(LEASE, body)
            self._see(body["spec"])
            return True
        spec = lease.setdefault("spec", {})
        holder = spec.get("holderIdentity") or ""
        if holder != self.identity:
            self._see(spec)
            free = not holder or self.clock() - self._seen_at >= float(spec.get("leaseDurationSeconds") or 0)
            if not free:
                return False
            ours |= {"acquireTime": now, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        spec |= ours
        return await self._put(lease)

    async def _put(self, lease: dict[str, Any]) -> bool:
        self._held = await self.client.replace(LEASE, lease)
        self._see(self._held["spec"])
        return True

    def _see(self, spec: dict[str, Any]) -> None:
        seen = (spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions"))
        if seen != self._seen:
            self._seen, self._seen_at = seen, self.clock()
