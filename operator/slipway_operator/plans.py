"""What an LLMService asks of the cluster, decided without doing any of it.

`plan` compares the object with what was observed. Called again with what came of the plan it returns what is
left to do, and nothing to write once all is as wanted; killed anywhere in between, it goes on from the
object's status and its children alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slipway.kube.kinds import (
    DEPLOYMENT,
    JOB,
    LEADER_WORKER_SET,
    POD,
    SERVICE,
    Kind,
)
from slipway.objects import LLMService
from slipway.objects.annotations import ROLLOUT_COMMAND
from slipway.objects.engines import takes_adapters
from slipway_operator import adapters, autoscaling, names, rollouts
from slipway_operator.children import adapters_map, fetch_job, revision_children, shared_children
from slipway_operator.histories import Histories
from slipway_operator.pod_states import Pods, Trouble, job_state, read_pods, trouble_of
from slipway_operator.rollouts import Event, RolloutState, Step
from slipway_operator.settings import OperatorSettings
from slipway_operator.statuses import UNDER_WAY, Story, write_status

Object = dict[str, Any]
Children = Mapping[tuple[Kind, str], Object]
Groups = Mapping[str, tuple[Kind, Object]]
"""Revision -> its Deployment or LeaderWorkerSet."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What gateways and engines tell of one service."""

    gateways: autoscaling.Load | None = None
    engines: autoscaling.Load | None = None
    requests: float | None = None
    """Requests since ever, over all gateways and revisions."""
    revisions: Mapping[str, rollouts.Counts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observed:
    """The world around one LLMService."""

    children: Children = field(default_factory=dict)
    measured: Measured = Measured()
    scaling: autoscaling.ScalingState = field(default_factory=autoscaling.ScalingState)
    optional: frozenset[str] = frozenset()
    """Plurals of the optional kinds that this cluster has."""
    offers: Sequence[adapters.Offer] = ()
    """Adapters that FineTunes have for it."""
    engines: adapters.Engines | None = None
    """What adapters its ready engines have; None before they were asked."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in this order."""

    apply: tuple[Object, ...] = ()
    delete: tuple[tuple[Kind, Object], ...] = ()
    status: Mapping[str, Any] | None = None
    events: tuple[Event, ...] = ()
    again_after: float | None = None
    """Seconds after which time alone may ask for more."""
    scaling: autoscaling.ScalingState = field(default_factory=autoscaling.ScalingState)
    under_way: bool = False
    """A rollout is."""
    adapters: Mapping[str, str] = field(default_factory=dict)
    """What engines are to have beside their own: name -> source."""


def plan(
    service: LLMService, parent: Object, observed: Observed, settings: OperatorSettings, now: float
) -> Plan:
    """The next steps for `service`, parsed from `parent`. `now` is in seconds since 1970."""
    status = parent.get("status") or {}
    groups = _groups(observed.children)
    pods = _pods_by_revision(observed.children, groups, now)
    signals = _signals(service, status, observed.measured, pods)
    decision = autoscaling.decide(autoscaling.policy_of(service.spec), observed.scaling, signals, now)
    histories = Histories(service, status.get("history") or ())
    fetch = _fetch(service, observed, settings, parent, now)
    state = RolloutState.from_status(status)
    step = None
    if not (fetch.waits and state.stable is None):
        step = rollouts.advance(
            rollouts.policy_of(service.spec),
            state,
            rollouts.Observed(
                target=service.revision,
                replicas=decision.desired,
                revisions=_revisions(observed, groups, pods, service.revision, fetch),
                command=rollouts.command_of(parent["metadata"].get("annotations", {}).get(ROLLOUT_COMMAND)),
                history=histories.deployed,
                held=fetch.waits,
            ),
            now,
        )
    histories = histories.after(service, step, now)
    apply = shared_children(service, settings, parent, observed.optional)
    if fetch.job is not None:
        apply.append(fetch.job)
    delete = [(JOB, job) for job in fetch.old]
    if step is not None:
        running, gone = _revisions_children(
            histories, step, observed.children, groups, pods, settings, parent
        )
        apply += running
        delete += gone
    story = Story(
        service=service,
        before=status,
        generation=int(parent["metadata"].get("generation", 0)),
        decision=decision,
        step=step,
        pods=pods,
        fetch=(fetch.phase, fetch.message) if fetch.phase else None,
        trouble=fetch.trouble,
        history=histories.entries,
        now=now,
    )
    written, events = write_status(story)
    brought = _adapters(service, status, observed, now)
    if takes_adapters(service):
        apply.append(adapters_map(service, brought.adapters, parent))
    written |= {
        name: value
        for name, value in (("adapters", brought.adapters), ("adapterRollouts", brought.rollouts))
        if value
    }
    return Plan(
        apply=tuple(apply),
        delete=tuple(delete),
        status=written,
        events=(*(step.events if step is not None else ()), *events, *brought.events),
        again_after=_soonest(
            decision.again_after, step.again_after if step is not None else None, brought.again_after
        ),
        scaling=decision.state,
        under_way=(step is not None and step.state.phase in UNDER_WAY) or brought.under_way,
        adapters=brought.wanted,
    )


def _adapters(
    service: LLMService, status: Mapping[str, Any], observed: Observed, now: float
) -> adapters.Result:
    if observed.engines is None:
        # An operator that has just begun knows nothing yet, and takes nothing away.
        held = status.get("adapters") or ()
        wanted = {each["engineName"]: each["source"] for each in held if each["state"] != "RolledBack"}
        return adapters.Result(list(held), list(status.get("adapterRollouts") or ()), wanted=wanted)
    revisions = observed.measured.revisions
    return adapters.advance(service, status, observed.offers, observed.engines, revisions, now)


def _soonest(*waits: float | None) -> float | None:
    return min((wait for wait in waits if wait is not None), default=None)


# --- the model in the cache ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Fetch:
    """The Job that brings a model into a shared cache."""

    job: Object | None = None
    waits: bool = False
    """Engines wait for it."""
    phase: str = ""
    message: str = ""
    trouble: Trouble | None = None
    old: tuple[Object, ...] = ()
    """Jobs of earlier models, over by now."""


def _fetch(
    service: LLMService, observed: Observed, settings: OperatorSettings, parent: Object, now: float
) -> _Fetch:
    jobs = {name: job for (kind, name), job in observed.children.items() if kind == JOB}
    job = fetch_job(service, settings, parent)
    name = job["metadata"]["name"] if job is not None else ""
    old = tuple(each for other, each in jobs.items() if other != name and job_state(each)[0] != "Running")
    if job is None:
        return _Fetch(old=old)
    state, message = job_state(jobs.get(name, {}))
    if state == "Complete":
        return _Fetch(job, False, state, "The model is in the cache.", None, old)
    pods = (
        pod for (kind, _), pod in observed.children.items() if kind == POD and _label(pod, names.FETCH_OF)
    )
    trouble = next(filter(None, (trouble_of(pod, now) for pod in pods)), None)
    if state == "Failed":
        trouble = trouble or Trouble("FetchFailed", f"The model could not be fetched: {message}")
        return _Fetch(job, False, state, trouble.message, Trouble(trouble.reason, trouble.message, True), old)
    return _Fetch(job, True, state, trouble.message if trouble else "Fetching the model.", trouble, old)


# --- revisions ---------------------------------------------------------------------------------------


def _label(item: Object, label: str) -> str:
    return str(item["metadata"].get("labels", {}).get(label, ""))


def _groups(children: Children) -> Groups:
    return {
        _label(item, names.REVISION): (kind, item)
        for (kind, _), item in children.items()
        if kind in (DEPLOYMENT, LEADER_WORKER_SET)
    }


def _pods_by_revision(children: Children, groups: Groups, now: float) -> dict[str, Pods]:
    pods: dict[str, list[Object]] = {}
    for (kind, _), item in children.items():
        if kind == POD and (revision := _label(item, names.REVISION)):
            pods.setdefault(revision, []).append(item)
    return {
        revision: read_pods(pods.get(revision, ()), groups[revision][1] if revision in groups else None, now)
        for revision in {*pods, *groups}
    }


def _revisions(
    observed: Observed, groups: Groups, pods: Mapping[str, Pods], target: str, fetch: _Fetch
) -> dict[str, rollouts.RevisionObserved]:
    seen: dict[str, rollouts.RevisionObserved] = {}
    for revision, each in pods.items():
        trouble = each.trouble if each.trouble is not None and each.trouble.final else None
        wanted = groups[revision][1]["spec"].get("replicas", 1) if revision in groups else 0
        seen[revision] = rollouts.RevisionObserved(
            replicas=wanted,
            ready=each.ready,
            pods=each.replicas + each.leaving,
            broken=rollouts.Broken(trouble.reason, trouble.message) if trouble is not None else None,
            counts=observed.measured.revisions.get(revision),
        )
    if fetch.phase == "Failed" and fetch.trouble is not None and target not in seen:
        broken = rollouts.Broken(fetch.trouble.reason, fetch.trouble.message)
        seen[target] = rollouts.RevisionObserved(replicas=0, broken=broken)
    return seen


def _revisions_children(
    histories: Histories,
    step: Step,
    children: Children,
    groups: Groups,
    pods: Mapping[str, Pods],
    settings: OperatorSettings,
    parent: Object,
) -> tuple[list[Object], list[tuple[Kind, Object]]]:
    """Manifests of the revisions that stay, and what goes of the others."""
    apply: list[Object] = []
    delete: list[tuple[Kind, Object]] = []
    kept = {step.state.stable, step.state.canary}
    for revision in sorted({*step.replicas, *groups}):
        replicas = step.replicas.get(revision, 0)
        if replicas == 0 and revision not in kept:
            held = pods.get(revision, Pods())
            scaled = revision not in groups or groups[revision][1]["spec"].get("replicas", 1) == 0
            if scaled and held.replicas + held.leaving == 0:
                delete += _all_of(children, revision)
                continue
        service = histories.service_at(revision)
        if service is not None:
            apply += revision_children(service, revision, replicas, settings, parent)
        elif replicas == 0:
            delete += _all_of(children, revision)  # No longer wanted, and nobody knows what it was.
    delete += [
        # Of a deletion that was cut short only the Service is left.
        (kind, item)
        for (kind, _), item in children.items()
        if kind == SERVICE and _label(item, names.REVISION) not in {"", *kept, *step.replicas, *groups}
    ]
    return apply, delete


def _all_of(children: Children, revision: str) -> list[tuple[Kind, Object]]:
    return [
        (kind, item)
        for (kind, _), item in children.items()
        if kind in (DEPLOYMENT, LEADER_WORKER_SET, SERVICE) and _label(item, names.REVISION) == revision
    ]


# --- load ----------------------------------------------------------------------------------------------


def _signals(
    service: LLMService, status: Mapping[str, Any], measured: Measured, pods: Mapping[str, Pods]
) -> autoscaling.Signals:
    replicas = int(status.get("desiredReplicas", service.spec.replicas))
    ready = sum(each.ready for each in pods.values())
    return autoscaling.Signals(
        replicas=replicas,
        ready=ready,
        starting=max(0, replicas - ready),
        gateways=measured.gateways,
        engines=measured.engines,
        requests_total=measured.requests,
    )
