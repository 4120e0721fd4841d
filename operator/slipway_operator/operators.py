"""The operator: watches, decides by the pure plans, acts through the executor, and tells what it did."""

import asyncio
import time
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from slipway.kube.backoffs import Backoff
from slipway.kube.client import Client
from slipway.kube.errors import APIStatusError, ConflictError, KubeError, NotFoundError
from slipway.kube.informers import Informer
from slipway.kube.kinds import (
    API_KEY,
    ENDPOINT_SLICE,
    FINE_TUNE,
    LEADER_WORKER_SET,
    LLM_SERVICE,
    POD,
    POD_MONITOR,
    SECRET,
    TRAIN_JOB,
    TRAINING_RUNTIME,
    Kind,
)
from slipway.objects import APIKey, FineTune, LLMService
from slipway.objects.annotations import PAUSED
from slipway.objects.plainkeys import new_key
from slipway_operator import names
from slipway_operator.adapters import offers
from slipway_operator.autoscaling import ScalingState
from slipway_operator.engine_keys import key_secret
from slipway_operator.events import Teller
from slipway_operator.executor import CHILD_KINDS, ChildError, Executor
from slipway_operator.finetunes import plans as finetunes
from slipway_operator.finetunes.polling import Polling
from slipway_operator.keys import plan_key, secret_name
from slipway_operator.loading import Loading
from slipway_operator.logs import Log
from slipway_operator.measuring import Measuring
from slipway_operator.metrics import Metrics
from slipway_operator.plans import Observed, Plan, plan
from slipway_operator.queues import Queue
from slipway_operator.refusals import is_refusal, refusal, with_refusal
from slipway_operator.relations import concerned, fine_tunes, newer
from slipway_operator.rollouts import Event
from slipway_operator.settings import OperatorSettings
from slipway_operator.statuses import condition
from slipway_operator.worlds import Key, Object, World, key_of, owner_of

Item = tuple[Kind, Key]
"""What the queue holds: an object, or (under SECRET) the engines' key of a namespace."""
_OPTIONAL = (POD_MONITOR, LEADER_WORKER_SET, TRAIN_JOB, TRAINING_RUNTIME)
_ATTEMPT = 30.0
"""Seconds that one turn may take."""


@dataclass(slots=True)
class Operator:
    """Looks after all LLMServices, FineTunes and APIKeys while it leads."""

    client: Client
    settings: OperatorSettings
    log: Log
    metrics: Metrics
    now: Callable[[], float]
    """Seconds since 1970."""
    may_act: Callable[[], bool] = lambda: True
    """Asked before each write."""
    world: World = field(default_factory=World)
    queue: Queue[Item] = field(init=False)
    executor: Executor = field(init=False)
    measuring: Measuring = field(init=False)
    polling: Polling = field(init=False)
    loading: Loading = field(init=False)
    teller: Teller = field(init=False)
    informers: list[Informer] = field(default_factory=list)
    _scaling: dict[Key, ScalingState] = field(default_factory=dict)
    _optional: frozenset[str] = frozenset()
    _made: asyncio.Event = field(default_factory=asyncio.Event)
    """The informers are."""

    def __post_init__(self) -> None:
        self.queue = Queue(self.settings.backoff_first, self.settings.backoff_most)
        self.executor = Executor(self.client, self.world, self.may_act)
        self.teller = Teller(self.client, self.log, self.settings.identity, self.now)
        self.measuring = Measuring(self.settings, self.world, self.engine_key, self._measured)
        self.polling = Polling(self.settings, self.world, lambda key: self.queue.add((FINE_TUNE, key)))
        self.loading = Loading(self.settings, self.world, self.engine_key, self._measured, self.may_act)

    def engine_key(self) -> str:
        """The key that engines ask for; "" where they ask for none."""
        file = self.settings.engine_key_file
        try:
            return file.read_text().strip() if file is not None else ""
        except OSError as error:
            self.log.write("error", "engine_key", f"{file} cannot be read: {error.strerror}")
            return ""

    # --- watching ------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Learn the cluster's state and keep it; returns when it is cancelled."""
        self._optional = await self._found_kinds()
        namespace = self.settings.watch_namespace or None
        wanted: list[tuple[Kind, str | None, str | None]] = [
            (LLM_SERVICE, namespace, None),
            (FINE_TUNE, namespace, None),
            (API_KEY, namespace, None),
            (POD, namespace, names.CHILDREN),
        ]
        wanted += [
            (kind, namespace, names.CHILDREN)
            for kind in CHILD_KINDS
            if kind not in _OPTIONAL or kind.plural in self._optional
        ]
        gateways = f"kubernetes.io/service-name={self.settings.gateway_service}"
        wanted.append((ENDPOINT_SLICE, self.settings.namespace, gateways))
        self.informers = [
            Informer(
                self.client,
                kind,
                where,
                selector=selector,
                on_change=self._listener(kind),
                on_fault=self._faulty(kind),
                on_listed=self._lister(kind),
            )
            for kind, where, selector in wanted
        ]
        self._made.set()
        async with asyncio.TaskGroup() as group:
            for informer in self.informers:
                group.create_task(informer.run())

    async def synced(self) -> None:
        """Wait until everything has been read once."""
        await self._made.wait()
        for informer in self.informers:
            await informer.synced()

    @property
    def has_synced(self) -> bool:
        """Whether everything has been read once."""
        return bool(self.informers) and all(informer.has_synced for informer in self.informers)

    def stale_seconds(self) -> float:
        """Time since the API server was last heard of, of the kind of which that is longest."""
        now = time.monotonic()
        return max(
            (now - each.stale_since for each in self.informers if each.stale_since is not None), default=0.0
        )

    async def _found_kinds(self) -> frozenset[str]:
        """Which of the optional kinds this cluster has."""
        found = set()
        for kind in _OPTIONAL:
            listed = await self._listed_kinds(kind)
            found |= {each["name"] for each in listed["resources"]} & {kind.plural}
        return frozenset(found)

    async def _listed_kinds(self, kind: Kind) -> Object:
        """The kinds of a group and version, none if the cluster does not know it; asked until answered."""
        backoff = Backoff()
        while True:
            try:
                return await self.client.request("GET", kind.root)
            except NotFoundError:
                return {"resources": []}
            except KubeError as error:
                self._faulty(kind)(error)
            await asyncio.sleep(backoff.next())

    def _listener(self, kind: Kind) -> Callable[[Object | None, Object | None], None]:
        def listen(old: Object | None, new: Object | None) -> None:
            if new is not None:
                if self.world.put(kind, new):
                    self._changed(kind, new)
            elif old is not None:
                self.world.remove(kind, old)
                self._changed(kind, old)

        return listen

    def _lister(self, kind: Kind) -> Callable[[Set[Key], str], None]:
        def listed(keys: Set[Key], version: str) -> None:
            for item in self.world.missing(kind, keys, version):
                self.world.remove(kind, item)
                self._changed(kind, item)

        return listed

    def _faulty(self, kind: Kind) -> Callable[[KubeError], None]:
        def report(error: KubeError) -> None:
            self.log.write("warning", "watch", str(error), resource=kind.plural)

        return report

    def _changed(self, kind: Kind, item: Object) -> None:
        key = key_of(item)
        if kind in (LLM_SERVICE, FINE_TUNE, API_KEY):
            self.queue.add((kind, key))
            if kind is LLM_SERVICE and self.settings.engine_key_file is not None:
                self.queue.add((SECRET, (key[0], "")))
            for other in concerned(self.world, kind, item):
                self.queue.add(other)
            return
        owner = owner_of(item)
        if owner is not None:
            self.queue.add(owner)
        elif kind is SECRET:
            labels = item["metadata"].get("labels", {})
            if names.API_KEY in labels:
                self.queue.add((API_KEY, (key[0], labels[names.API_KEY])))
            else:
                self.queue.add((SECRET, (key[0], "")))

    def _measured(self, key: Key) -> None:
        self.queue.add((LLM_SERVICE, key))

    # --- acting ----------------------------------------------------------------------------------------

    async def act(self) -> None:
        """Look after everything until cancelled. Only who leads may call it."""
        for kind in (LLM_SERVICE, FINE_TUNE, API_KEY):
            for item in self.world.all(kind):
                self.queue.add((kind, key_of(item)))
        async with asyncio.TaskGroup() as group:
            group.create_task(self.measuring.run())
            group.create_task(self.polling.run())
            group.create_task(self.loading.run())
            for _ in range(self.settings.workers):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            item = await self.queue.get()
            kind, key = item
            started = self.now()
            try:
                # Not wait_for: that of Python 3.11 may lose the cancellation of a worker.
                async with asyncio.timeout(_ATTEMPT):
                    again_after = await self._look_after(kind, key)
            except asyncio.CancelledError:
                # The lead was lost; who wins it again begins with what was left.
                self.queue.add(item)
                self.queue.done(item)
                raise
            except ConflictError as error:
                # Something has changed meanwhile: no failure, and the change itself comes up as well.
                self.log.write("info", "conflict", str(error), kind=kind.kind, object="/".join(key))
                self.queue.failed(item)
                self.metrics.turn(kind.kind, "conflict", self.now() - started)
            except Exception as error:
                wait = self.queue.failed(item, getattr(error, "retry_after", None) or 0.0)
                self.metrics.turn(kind.kind, "error", self.now() - started)
                self.log.write(
                    "error", "failed", f"{type(error).__name__}: {error}",
                    kind=kind.kind, object="/".join(key), again_after=round(wait, 1),
                )  # fmt: skip
            else:
                self.queue.done(item)
                self.metrics.turn(kind.kind, "ok", self.now() - started)
                if again_after is not None:
                    self.queue.add_after(item, again_after)

    async def _look_after(self, kind: Kind, key: Key) -> float | None:
        if kind is SECRET:
            await self._engine_key(key[0])
            return None
        parent = self.world.get(kind, key)
        if parent is None:
            self.queue.forget((kind, key))
            self._scaling.pop(key, None)
            if kind is LLM_SERVICE:
                self.measuring.forget(key)
                self.loading.forget(key)
            elif kind is FINE_TUNE:
                self.polling.forget(key)
            return None
        if parent["metadata"].get("deletionTimestamp"):
            return None  # Its children go by their owner references.
        if (parent["metadata"].get("annotations") or {}).get(PAUSED) == "true":
            await self._say(kind, parent, ("Progressing", "False", "Paused", _PAUSED))
            return None
        try:
            if kind is API_KEY:
                return await self._key(APIKey.model_validate(parent), parent)
            if kind is FINE_TUNE:
                return await self._fine_tune(FineTune.model_validate(_without_status(parent)), parent)
            return await self._service(LLMService.model_validate(_without_status(parent)), parent)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            await self._say(kind, parent, ("Ready", "False", "InvalidSpec", f"{where}: {first['msg']}"))
            return None

    async def _service(self, service: LLMService, parent: Object) -> float | None:
        key = key_of(parent)
        offered = offers(service, fine_tunes(self.world, key[0]))
        observed = Observed(
            children=self.world.children(LLM_SERVICE, key),
            measured=self.measuring.of(key),
            scaling=self._scaling.get(key, ScalingState()),
            optional=self._optional,
            offers=offered,
            engines=self.loading.of(key),
        )
        made = plan(service, parent, observed, self.settings, self.now())
        self._scaling[key] = made.scaling
        self.measuring.watch(key, service, under_way=made.under_way)
        held = [each["engineName"] for each in (parent.get("status") or {}).get("adapters") or ()]
        again_after = await self._carry_out(LLM_SERVICE, parent, made)
        # After the status has their names: another operator must know what to take away.
        self.loading.want(key, made.adapters, held, offered=bool(offered))
        return again_after

    async def _fine_tune(self, fine_tune: FineTune, parent: Object) -> float | None:
        key = namespace, _ = key_of(parent)
        deploy = fine_tune.spec.deploy
        service = self.world.get(LLM_SERVICE, (namespace, deploy.service)) if deploy is not None else None
        children = self.world.children(FINE_TUNE, key)
        observed = finetunes.Observed(
            children=children,
            progress=self.polling.of(key),
            service=service,
            newer=newer(self.world, fine_tune, service),
            optional=self._optional,
        )
        made = finetunes.plan(fine_tune, parent, observed, self.settings, self.now())
        again_after = await self._carry_out(FINE_TUNE, parent, made)
        self.polling.watch(key, made.status or {})
        return again_after

    async def _carry_out(self, kind: Kind, parent: Object, made: Plan) -> float | None:
        """Write what a plan asks for; after how many seconds to look again."""
        refused: APIStatusError | ChildError | None = None
        for manifest in made.apply:
            try:
                await self.executor.apply(manifest)
            except (APIStatusError, ChildError) as error:
                if isinstance(error, APIStatusError) and not is_refusal(error):
                    raise
                refused = refused or error  # The others do not depend on it.
        for child, item in made.delete:
            await self.executor.delete(child, item)
        status = made.status
        if status is not None:
            if refused is not None:
                status = with_refusal(status, parent, refused, self.now())
            # What is told is in the status as well: a turn that changes nothing there has nothing to tell.
            if await self.executor.status(kind, parent, status):
                told = (Event("Warning", *refusal(refused)),) if refused is not None else ()
                # Watches tell nothing of what this operator itself has written.
                for other in concerned(self.world, kind, self.world.get(kind, key_of(parent)) or parent):
                    self.queue.add(other)
                for event in (*told, *made.events):
                    await self.teller.tell(kind, parent, event)
        if refused is not None:
            raise refused
        return made.again_after

    async def _key(self, key: APIKey, parent: Object) -> float | None:
        secret = None
        if key.status.key_hash is None or key.rotation is not None:
            secret = await self._fresh_secret(parent)
        made = plan_key(key, parent, secret, self.now(), new_key)
        if made.secret is not None:
            await self.executor.apply(made.secret)
        await self.executor.status(API_KEY, parent, made.status)
        for event in made.events:
            await self.teller.tell(API_KEY, parent, event)
        return made.again_after

    async def _fresh_secret(self, parent: Object) -> Object | None:
        """The key's Secret from the API server itself: a second one would make the first a dead one."""
        namespace, name = key_of(parent)
        try:
            secret = await self.client.get(SECRET, namespace, secret_name(name))
        except NotFoundError:
            return None
        owners = secret["metadata"].get("ownerReferences", ())
        return secret if any(each["uid"] == parent["metadata"]["uid"] for each in owners) else None

    async def _engine_key(self, namespace: str) -> None:
        """The engines' key lies in each namespace that has an LLMService, and in no other."""
        needed = any(key_of(item)[0] == namespace for item in self.world.all(LLM_SERVICE))
        if namespace == self.settings.namespace:
            return  # What installed the operator has put it there.
        if needed:
            await self.executor.apply(key_secret(namespace, self.engine_key(), self.settings))
            return
        held = self.world.get(SECRET, (namespace, self.settings.engine_key_secret))
        if held is not None:
            await self.executor.delete(SECRET, held)

    # --- telling -----------------------------------------------------------------------------------------

    async def _say(self, kind: Kind, parent: Object, said: tuple[str, str, str, str]) -> None:
        """Put one condition into the status, and leave the rest of it."""
        status = dict(parent.get("status") or {})
        generation = int(parent["metadata"].get("generation", 0))
        others = [each for each in status.get("conditions") or () if each["type"] != said[0]]
        made = condition(status.get("conditions") or (), said, generation, self.now())
        status |= {"observedGeneration": generation, "conditions": [made, *others]}
        if await self.executor.status(kind, parent, status) and said[2] == "InvalidSpec":
            await self.teller.tell(kind, parent, Event("Warning", said[2], said[3]))


_PAUSED = f"The annotation {PAUSED} is set: remove it to have the operator go on."


def _without_status(parent: Object) -> Mapping[str, Any]:
    """The object without what the operator itself has written."""
    return {name: value for name, value in parent.items() if name != "status"}
