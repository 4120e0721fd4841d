"""Adapters that FineTunes bring to an LLMService's running engines: which, and how they share the requests.

Pure. A new version replaces the one before as a new revision of the model does: by the same rollouts, in
which a "replica" is an adapter's presence in all ready engines. All that is remembered is in the status.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter

from slipway.objects import LLMService
from slipway.objects.annotations import ROLLOUT_COMMAND
from slipway.objects.engines import takes_adapters
from slipway.objects.rollouts import Step
from slipway_operator import rollouts
from slipway_operator.rollouts import Broken, Counts, Event, RevisionObserved, RolloutPolicy, RolloutState

Object = Mapping[str, Any]
_STEPS = TypeAdapter(tuple[Step, ...])
_DRAIN = 5.0
"""Seconds that a version is kept without requests before engines let it go: gateways must have seen it."""
_IDENTITY = ("name", "engineName", "source", "digest", "fineTune")
NO_LORA = (
    "LoRANotEnabled: The engines of LLMService {name} take no adapters: add --enable-lora to "
    "spec.engine.args (and --max-lora-rank for a rank above 16), which starts new engines once."
)
NO_ENGINES = "No engine of LLMService {name} is ready; it is loaded when one is."


@dataclass(frozen=True, slots=True)
class Offer:
    """What a FineTune has for the service."""

    name: str
    """Served name."""
    fine_tune: str
    source: str
    version: str
    digest: str
    at: str
    """When it was registered: of several of one name the newest counts."""
    policy: RolloutPolicy
    command: str | None = None
    """`slipway rollout VERB`, as the FineTune's annotation has it."""


@dataclass(frozen=True, slots=True)
class Engines:
    """What the service's ready engines have."""

    ready: int = 0
    loaded: Mapping[str, int] = field(default_factory=dict)
    """Name -> engines that have it."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Name -> why engines do not take it, which waiting does not mend."""
    failing: Mapping[str, str] = field(default_factory=dict)
    """Name -> why it could not be loaded just now."""


@dataclass(frozen=True, slots=True)
class Result:
    """The part of the service's status that is about adapters."""

    adapters: list[dict[str, Any]] = field(default_factory=list)
    rollouts: list[dict[str, Any]] = field(default_factory=list)
    events: tuple[Event, ...] = ()
    again_after: float | None = None
    wanted: Mapping[str, str] = field(default_factory=dict)
    """What engines are to have: name -> source."""
    under_way: bool = False
    """A version is being compared with the one before it."""


def offers(service: LLMService, fine_tunes: Iterable[Object]) -> list[Offer]:
    """What the FineTunes of the service's namespace have for it."""
    found = []
    for item in fine_tunes:
        deploy, status = item["spec"].get("deploy") or {}, item.get("status") or {}
        artifact = status.get("artifact") or {}
        if deploy.get("service") != service.metadata.name or item["metadata"].get("deletionTimestamp"):
            continue
        if artifact.get("kind") != "adapter" or not artifact.get("source") or not artifact.get("version"):
            continue
        name = item["metadata"]["name"]
        registered: Object = next(
            (each for each in status.get("stages") or () if each["name"] == "register"), {}
        )
        found.append(
            Offer(
                name=deploy.get("name") or name,
                fine_tune=name,
                source=artifact["source"],
                version=artifact["version"],
                digest=artifact.get("digest", ""),
                at=str(registered.get("completedAt") or status.get("startedAt") or ""),
                policy=_policy(service, deploy.get("steps") or ()),
                command=(item["metadata"].get("annotations") or {}).get(ROLLOUT_COMMAND),
            )
        )
    return sorted(found, key=lambda offer: (offer.name, offer.at, offer.fine_tune))


def newest(found: Iterable[Offer]) -> dict[str, Offer]:
    """By served name the offer that counts."""
    return {offer.name: offer for offer in found}


def advance(
    service: LLMService,
    status: Mapping[str, Any],
    found: Sequence[Offer],
    engines: Engines,
    counts: Mapping[str, Counts],
    now: float,
) -> Result:
    """The next step of every adapter. `status` is the service's own, `now` in seconds since 1970."""
    alive = {offer.fine_tune for offer in found}
    before = [each for each in status.get("adapters") or () if each["fineTune"] in alive]
    states = {each["name"]: RolloutState.from_status(each) for each in status.get("adapterRollouts") or ()}
    adapters: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    events: list[Event] = []
    waits: list[float] = []
    wanted: dict[str, str] = {}
    under_way = False
    for name, offer in newest(found).items():
        entries = [each for each in before if each["name"] == name]
        target = _entry(offer, entries, before)
        known = {each["engineName"]: each for each in (*entries, target)}
        step = _step(service, offer, target, known, states.get(name), engines, counts, now)
        kept.append({"name": name, **step.state.to_status()})
        events += step.events
        waits += [step.again_after] if step.again_after is not None else []
        under_way = under_way or step.state.canary is not None
        said = _entries(service, known, target, step, engines)
        adapters += said
        wanted |= {
            each["engineName"]: each["source"]
            for each in said
            if each["state"] != "RolledBack" or step.replicas.get(each["engineName"], 0) > 0
        }
    return Result(adapters, kept, tuple(events), min(waits, default=None), wanted, under_way)


def _policy(service: LLMService, steps: Sequence[Mapping[str, Any]]) -> RolloutPolicy:
    """By steps with the service's own comparison, or at once."""
    if not steps:
        return RolloutPolicy("BlueGreen", scale_down_delay=_DRAIN, drain=_DRAIN)
    stages = rollouts.steps_of(_STEPS.validate_python(steps))
    return replace(rollouts.policy_of(service.spec), strategy="Canary", steps=stages, paused=False)


def _entry(offer: Offer, entries: Sequence[Object], every: Sequence[Object]) -> dict[str, Any]:
    """The version that an offer is about, under a name that no other version has."""
    for each in entries:
        if (each["fineTune"], each["source"]) == (offer.fine_tune, offer.source):
            return dict(each)
    engine_name = f"{offer.name}.{offer.version}"
    if any(each["engineName"] == engine_name for each in every):
        # Of another FineTune, whose registry counts its versions for itself.
        engine_name = f"{engine_name}-{offer.digest.removeprefix('sha256:')[:8] or offer.fine_tune}"
    made = {
        "name": offer.name,
        "engineName": engine_name,
        "source": offer.source,
        "fineTune": offer.fine_tune,
    }
    return made | ({"digest": offer.digest} if offer.digest else {})


def _step(
    service: LLMService,
    offer: Offer,
    target: Object,
    known: Mapping[str, Object],
    state: RolloutState | None,
    engines: Engines,
    counts: Mapping[str, Counts],
    now: float,
) -> rollouts.Step:
    state = state or RolloutState()
    if state.stable not in known:
        state = replace(state, stable=None)  # Its FineTune is gone.
    if state.canary not in known:
        state = replace(state, canary=None)
    leaving = tuple(each for each in state.leaving if each.revision in known)
    state = replace(state, leaving=leaving)
    held = not takes_adapters(service)
    seen = {name: _presence(name, engines, counts) for name in known}
    observed = rollouts.Observed(
        target=target["engineName"],
        replicas=1,
        revisions=seen,
        command=rollouts.command_of(offer.command),
        held=held,
    )
    return rollouts.advance(offer.policy, state, observed, now)


def _presence(name: str, engines: Engines, counts: Mapping[str, Counts]) -> RevisionObserved:
    """One replica, ready when every ready engine has it; where there is no engine, nothing lacks it."""
    everywhere = engines.loaded.get(name, 0) >= engines.ready
    refused = engines.refused.get(name)
    broken = Broken("AdapterRefused", refused) if refused is not None else None
    return RevisionObserved(1, int(everywhere), 1, broken, counts.get(name))


def _entries(
    service: LLMService,
    known: Mapping[str, Object],
    target: Object,
    step: rollouts.Step,
    engines: Engines,
) -> list[dict[str, Any]]:
    traffic = dict(step.traffic)
    made = []
    for name, entry in sorted(known.items()):
        failed = step.state.failed
        rolled_back = failed is not None and failed.revision == name
        wanted = step.replicas.get(name, 0) > 0 or name in (step.state.stable, step.state.canary)
        if not wanted and not rolled_back and name != target["engineName"]:
            continue
        said = {field: entry[field] for field in _IDENTITY if field in entry}
        present = engines.loaded.get(name, 0) > 0 or engines.ready == 0
        if rolled_back and failed is not None:
            said |= {"state": "RolledBack", "weight": 0, "message": failed.message}
        elif present and takes_adapters(service):
            message = step.message if name == step.state.canary else ""
            said |= {"state": "Ready", "weight": traffic.get(name, 0), "message": message}
        else:
            said |= {"state": "Loading", "weight": 0, "message": _why(service, name, engines)}
        made.append({field: value for field, value in said.items() if value != ""})
    return made


def _why(service: LLMService, name: str, engines: Engines) -> str:
    if not takes_adapters(service):
        return NO_LORA.format(name=service.metadata.name)
    if name in engines.refused:
        return f"AdapterRefused: {engines.refused[name]}"
    if name in engines.failing:
        return f"AdapterNotLoaded: {engines.failing[name]}"
    if engines.ready == 0:
        return NO_ENGINES.format(name=service.metadata.name)
    return f"{engines.loaded.get(name, 0)} of {engines.ready} engines have it."
