"""The stage `deploy` on one machine: the running engines of `slipway up` load the registered adapter.

Engines load it while they serve, under a name of its version; then the gateway is told which version a name
leads to, by the state folder's `adapters.json`. Engines that begin later read `brought/SERVICE.json`. The
LLMService itself is its owner's and is not changed. On a cluster the operator does this.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import yaml

from slipway.objects import LLMService
from slipway.objects.engines import takes_adapters
from slipway.objects.finetunes import DeploySpec
from slipway.objects.places import default_state
from slipway.objects.scalars import Pause
from slipway.objects.statuses import ServedAdapter
from slipway.training.errors import DeployError
from slipway.training.registry.store import Registry
from slipway.training.runs import write_atomically
from slipway.training.stages import Context, Done

_PATIENCE = 120.0
"""Seconds that an engine has to load an adapter: it may wait for what it is answering."""
_LOOK_EVERY = 0.5
_TAKEN_UP = 3.0
"""Seconds after which every gateway has read what was written: it looks four times a second. Until then it
sends requests to the version before."""
_RANK = "--max-lora-rank"
_DEFAULT_RANK = 16
"""Of vLLM's engines."""


@dataclass(frozen=True, slots=True)
class _State:
    """What of the state folder is read and written."""

    root: Path

    def service(self, name: str) -> LLMService:
        """The LLMService. Raises DeployError."""
        path = self.root / "objects" / f"llmservice-{name}.yaml"
        try:
            return LLMService.model_validate(yaml.safe_load(path.read_text()))
        except FileNotFoundError:
            raise DeployError(
                f"There is no LLMService {name} in {self.root}; start it with `slipway up`, or name another"
                " one in deploy.service.",
                "ServiceMissing",
            ) from None

    def engines(self, service: str) -> list[str]:
        """Addresses of its engines that are ready. Raises DeployError."""
        try:
            endpoints = json.loads((self.root / "endpoints.json").read_text()).get(service, [])
        except FileNotFoundError:
            endpoints = []
        ready = [str(each["address"]) for each in endpoints if each.get("ready")]
        if not ready:
            raise DeployError(
                f"No engine of {service} is ready; wait for `slipway status` to say so, and run it again.",
                "NoEngine",
            )
        return ready

    @property
    def key(self) -> str:
        """What engines ask for."""
        return (self.root / "secrets" / "engine-key").read_text().strip()

    def adapters(self) -> dict[str, list[dict[str, Any]]]:
        """By service: the versions that FineTunes have brought."""
        try:
            found: dict[str, list[dict[str, Any]]] = json.loads((self.root / "adapters.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def write(self, service: str, adapters: list[ServedAdapter]) -> None:
        """Tell gateway and later engines of a service's versions."""
        rows = [each.model_dump(mode="json", by_alias=True) for each in adapters]
        brought = {each.engine_name: each.source for each in adapters if each.state == "Ready"}
        (self.root / "brought").mkdir(exist_ok=True)
        write_atomically(self.root / "brought" / f"{service}.json", json.dumps(brought, indent=1))
        write_atomically(self.root / "adapters.json", json.dumps(self.adapters() | {service: rows}, indent=1))


def work(context: Context) -> Done:
    """Load the adapter into every engine of the service, and give it the name's requests.

    Raises:
        DeployError: the service, its engines or the artifact do not fit; the message says the mend.
        Stopped: while a step of the rollout waits.
    """
    asked = context.fine_tune.spec.deploy
    if asked is None:
        raise DeployError("Nothing is to be deployed: the FineTune has no `deploy`.")
    registered = context.result("register")
    state = _State(default_state(os.environ))
    service = state.service(asked.service)
    registry = Registry.of(context.workspace)
    # The version on this machine, also where its `uri` is a copy in a bucket.
    folder = registry.folder(str(registered["name"]), str(registered["version"]))
    source = folder.as_uri()
    _fits(context, service, folder)
    name, engine_name = context.fine_tune.adapter_name, f"{registered['name']}.{registered['version']}"
    for address in state.engines(asked.service):
        context.tell(f"Loading {engine_name} into the engine at {address}")
        _load(address, state.key, engine_name, str(folder))
    new = ServedAdapter(
        name=name,
        engine_name=engine_name,
        source=source,
        digest=registered["digest"],
        fine_tune=context.fine_tune.metadata.name,
        weight=100,
        state="Ready",
    )
    rest = [
        ServedAdapter.model_validate(row)
        for row in state.adapters().get(asked.service, [])
        if row["engineName"] != engine_name
    ]
    before = [each for each in rest if each.name == name and each.weight]
    others = [each for each in rest if each.name != name]
    _roll_out(context, state, asked, others, before, new)
    if before:
        time.sleep(_TAKEN_UP)
    for each in before:
        for address in state.engines(asked.service):
            _unload(address, state.key, each.engine_name)
    # What the next evaluation is compared with, and what is never collected.
    registry.promote(folder.parent.name, folder.name, f"deployed to {asked.service} as {name}")
    return Done(
        f"{name} is served by {asked.service} ({engine_name}).",
        {"service": asked.service, "name": name, "engineName": engine_name},
    )


def _fits(context: Context, service: LLMService, artifact: Path) -> None:
    """Whether the service's engines can load it. Raises DeployError."""
    name = service.metadata.name
    config = artifact / "adapter_config.json"
    if not config.is_file():
        raise DeployError(
            f"What method {context.fine_tune.spec.method} makes is a whole model, which no running engine"
            f" loads: serve it by an LLMService of its own, with source {artifact.as_uri()}.",
            "NotAnAdapter",
        )
    if not takes_adapters(service):
        raise DeployError(
            f"The engines of {name} take no adapters: put `--enable-lora` into its engine.args"
            " (runtime vllm) and run `slipway up` again.",
            "NoAdapters",
        )
    settings = json.loads(config.read_text())
    if settings.get("use_dora"):
        raise DeployError(
            "vLLM loads no DoRA adapters at run time: tune with method lora, or merge it into its base and"
            " serve the whole model.",
            "NotLoadable",
        )
    rank, most = int(settings["r"]), _max_rank(service)
    if rank > most:
        raise DeployError(
            f"The adapter's rank is {rank}, and the engines of {name} take {most} at most:"
            f" put `{_RANK}={rank}` into its engine.args, or lower loraRank.",
            "RankTooHigh",
        )


def _max_rank(service: LLMService) -> int:
    args = [part for arg in service.spec.engine.args for part in arg.split("=", 1)]
    return int(args[args.index(_RANK) + 1]) if _RANK in args[:-1] else _DEFAULT_RANK


def _roll_out(
    context: Context,
    state: _State,
    asked: DeploySpec,
    others: list[ServedAdapter],
    before: list[ServedAdapter],
    new: ServedAdapter,
) -> None:
    """Give the new version the name's requests: at once, or step by step where there was one before."""
    for step in asked.steps if before else ():
        weighed = [
            before[-1].model_copy(update={"weight": 100 - step.weight}),
            new.model_copy(update={"weight": step.weight}),
        ]
        state.write(asked.service, [*others, *weighed])
        context.run.say(f"{new.engine_name} gets {step.weight} % of the requests for {new.name}.")
        _pause(context, step.pause, f"{new.engine_name} gets {step.weight} %")
    state.write(asked.service, [*others, new])


def _pause(context: Context, pause: Pause | None, message: str) -> None:
    if pause is None:
        return
    if pause.seconds is None:
        context.run.say("Nobody promotes on this machine: a pause `manual` is passed over.", "warning")
        return
    until = time.monotonic() + pause.seconds
    while (left := until - time.monotonic()) > 0:
        context.check()
        context.tell(f"{message}; {left:.0f} s more")
        time.sleep(min(left, _LOOK_EVERY))


def _load(address: str, key: str, name: str, path: str) -> None:
    status, text = _post(address, key, "/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})
    if status != 200 and "already" not in text:
        raise DeployError(f"The engine at {address} does not load {name}: {text[:500]}", "NotLoaded")


def _unload(address: str, key: str, name: str) -> None:
    """What was unloaded already is as it should be."""
    _post(address, key, "/v1/unload_lora_adapter", {"lora_name": name})


def _post(address: str, key: str, path: str, body: Mapping[str, str]) -> tuple[int, str]:
    request = Request(
        f"http://{address}{path}",
        json.dumps(body).encode(),
        {"content-type": "application/json", "authorization": f"Bearer {key}"},
    )
    try:
        with urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310
            return answer.status, answer.read().decode(errors="replace")
    except HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")
    except (URLError, OSError) as error:
        raise DeployError(
            f"The engine at {address} does not answer ({error}); see `slipway status`, and run it again.",
            "EngineUnreachable",
        ) from error
