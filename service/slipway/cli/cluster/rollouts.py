"""`slipway rollout` on a cluster: commands as an annotation that the operator carries out once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import click

from slipway.cli.cluster.progress import Progress, progress_of, revision_named
from slipway.cli.cluster.sessions import Session, find_service
from slipway.cli.cluster.watching import Following
from slipway.kube import Obj
from slipway.kube.kinds import EVENT, LLM_SERVICE
from slipway.objects.annotations import PAUSED, ROLLOUT_COMMAND

T = TypeVar("T")
_TOLD_WITHIN_S = 3.0
"""How long after it the operator's event about it may come."""
_REFUSALS = frozenset(
    {
        "NothingToPromote",
        "NothingToAbort",
        "NothingToReturnTo",
        "NothingToUndo",
        "NothingToRetry",
        "StillPaused",
        "UnknownCommand",
    }
)
_ANSWERS = _REFUSALS | {
    "RolloutPaused",
    "RolloutResumed",
    "Promoted",
    "RolledBack",
    "Undone",
    "Retried",
}
"""Reasons of the events by which the operator says what it did with a command."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the operator did."""

    refused: bool
    text: str


async def command_rollout(session: Session, name: str, verb: str, argument: str, timeout: float) -> Answer:
    """Have the operator carry out `verb`, and return what it said; it may take `timeout` seconds.

    Raises ClickException, KubeError.
    """
    service = await find_service(session, name)
    if (service["metadata"].get("annotations") or {}).get(PAUSED) == "true":
        raise click.ClickException(
            f"{name} is left alone by the operator: "
            f"`kubectl annotate llm/{name} -n {session.own} {PAUSED}-` lets it act again."
        )
    if verb == "undo" and argument:
        argument = _revision(service, name, argument)
    told_before = {event["metadata"]["name"] for event in await _events(session, name)}
    text = f"{verb}{':' if argument else ''}{argument}@{int(time.time() * 1000)}"
    await session.client.merge(
        LLM_SERVICE, session.own, name, {"metadata": {"annotations": {ROLLOUT_COMMAND: text}}}
    )
    await _until(lambda: _taken(session, name, text), timeout, _not_taken(name, session.own, timeout))

    async def told() -> Answer | None:
        for event in await _events(session, name):
            if event["metadata"]["name"] not in told_before and event["reason"] in _ANSWERS:
                return Answer(event["reason"] in _REFUSALS, event.get("note", ""))
        return None

    try:
        return await _until(told, _TOLD_WITHIN_S, "")
    except click.ClickException:
        # Events are no state, and may be lost; the status is what came of it.
        return Answer(False, progress_of(await find_service(session, name), time.time()).text)


def _revision(service: Obj, name: str, asked: str) -> str:
    revision = revision_named(service, asked)
    if revision is None:
        history = (service.get("status") or {}).get("history") or ()
        known = ", ".join(f"{entry.get('number')} ({entry['revision']})" for entry in history) or "none"
        raise click.ClickException(f"{name} has no revision {asked!r} to return to; its history has {known}.")
    return revision


def _not_taken(name: str, namespace: str, timeout: float) -> str:
    return (
        f"The operator has not taken the command within {timeout:g} s, and will once it runs: "
        f"`slipway status -n {namespace}` says whether it does, `slipway explain {name}` what is in its way."
    )


async def _taken(session: Session, name: str, text: str) -> bool | None:
    service = await session.client.get(LLM_SERVICE, session.own, name)
    rollout = (service.get("status") or {}).get("rollout") or {}
    asked = (service["metadata"].get("annotations") or {}).get(ROLLOUT_COMMAND)
    if rollout.get("handledCommand") == text:
        return True
    if asked != text:
        raise click.ClickException(
            f"Another command took this one's place before it was carried out: {asked}."
        )
    return None


async def _events(session: Session, name: str) -> list[Obj]:
    events = (await session.client.list(EVENT, session.own)).items
    return [event for event in events if is_about(event, LLM_SERVICE.kind, name)]


def is_about(event: Obj, kind: str, name: str) -> bool:
    """Whether an event tells of this object."""
    about = event.get("regarding") or {}
    return about.get("kind") == kind and about.get("name") == name


async def _until(look: Callable[[], Awaitable[T | None]], seconds: float, otherwise: str) -> T:
    end = time.monotonic() + seconds
    while (found := await look()) is None:
        if time.monotonic() > end:
            raise click.ClickException(otherwise)
        await asyncio.sleep(0.3)
    return found


async def follow_rollout(
    session: Session, name: str, timeout: float | None, say: Callable[[str], None]
) -> Progress:
    """Tell of the rollout as it goes on, until it ends; `timeout` in seconds. Raises TimeoutError."""
    await find_service(session, name)
    following = Following(session)
    said, progress = "", None
    async with asyncio.timeout(timeout), following.running():
        while True:
            service = next(
                (
                    item
                    for item in following.items(LLM_SERVICE)
                    if (item["metadata"]["name"], item["metadata"]["namespace"]) == (name, session.own)
                ),
                None,
            )
            if service is None:
                raise click.ClickException(f"{name} was deleted.")
            progress = progress_of(service, time.time())
            if progress.state != "Waiting":
                return progress
            text = following.stale or progress.text
            if text != said:
                say(text)
                said = text
            await following.wait(1.0)
