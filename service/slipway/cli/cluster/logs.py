"""`slipway logs` on a cluster."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from slipway.cli.cluster.sessions import Session, find_service, sentence
from slipway.kube import Obj
from slipway.kube.errors import APIStatusError, InvalidError, KubeError, NotFoundError, UnreachableError
from slipway.kube.kinds import POD
from slipway_operator import names
from slipway_operator.pods import CONTAINER

_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which logs, and how much of them."""

    service: str
    revision: str | None
    previous: bool
    tail: int

    def fits(self, pod: Obj) -> bool:
        """Whether this is a pod whose log is wanted."""
        revision = (pod["metadata"].get("labels") or {}).get(names.REVISION, "")
        return self.revision is None or revision.startswith(self.revision)


async def print_logs(session: Session, wanted: Wanted, follow: bool, say: Callable[[str], None]) -> None:
    """Print what the pods have written; with `follow` go on until cancelled.

    Raises ClickException where there is nothing to print, KubeError.
    """
    await find_service(session, wanted.service)
    if follow:
        await _follow(session, wanted, say)
        return
    pods = await _pods(session, wanted)
    if not pods:
        of = f" of revision {wanted.revision}" if wanted.revision else ""
        raise click.ClickException(
            f"{wanted.service} has no pod{of}: `slipway explain {wanted.service}` says why."
        )
    refused: list[str] = []
    for pod in pods:
        name = pod["metadata"]["name"]
        if not _status(pod):
            refused.append(f"{name} has not started.")
            continue
        try:
            await _print(session, wanted, pod, f"{name}  " if len(pods) > 1 else "", False, say)
        except (InvalidError, NotFoundError) as error:
            refused.append(_no_log(name, wanted, error))
    for text in refused:
        click.echo(text, err=True)
    if len(refused) == len(pods):
        raise click.ClickException(f"There is no log; `slipway explain {wanted.service}` says why.")


def _no_log(pod: str, wanted: Wanted, error: APIStatusError) -> str:
    if wanted.previous and "previous terminated container" in error.message:
        return f"{pod} has not been restarted: leave --previous out."
    return f"{pod}: {error.message}."


async def _pods(session: Session, wanted: Wanted) -> list[Obj]:
    selector = f"{names.SERVICE}={wanted.service}"
    found = await session.client.list(POD, session.own, selector=selector)
    return sorted(filter(wanted.fits, found.items), key=lambda pod: str(pod["metadata"]["name"]))


async def _print(
    session: Session, wanted: Wanted, pod: Obj, prefix: str, follow: bool, say: Callable[[str], None]
) -> None:
    params: dict[str, str] = {"container": _container(pod), "tailLines": str(wanted.tail)}
    params |= {"previous": "true"} if wanted.previous else {}
    params |= {"follow": "true"} if follow else {}
    path = POD.path(session.own, pod["metadata"]["name"], "log")
    async with session.client.stream(path, params) as lines:
        async for line in lines:
            say(f"{prefix}{line.decode(errors='replace')}")


def _container(pod: Obj) -> str:
    containers = [each["name"] for each in pod["spec"]["containers"]]
    return CONTAINER if CONTAINER in containers else str(containers[0])


async def _follow(session: Session, wanted: Wanted, say: Callable[[str], None]) -> None:
    """One task for each container that runs; those that begin later are found by looking again."""
    tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
    fault = ""
    try:
        while True:
            try:
                pods = await _pods(session, wanted)
                fault = ""
            except (UnreachableError, APIStatusError) as error:
                if sentence(error) != fault:
                    fault = sentence(error)
                    click.echo(f"{fault} Trying on.", err=True)
                pods = []
            for pod in pods:
                key = (pod["metadata"]["uid"], _restarts(pod))
                if key not in tasks and _runs(pod):
                    tasks[key] = asyncio.create_task(_follow_one(session, wanted, pod, say))
            for task in tasks.values():
                if task.done():
                    task.result()  # Nobody reads on, as in `slipway logs -f | head -1`.
            await asyncio.sleep(_LOOK_S)
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _follow_one(session: Session, wanted: Wanted, pod: Obj, say: Callable[[str], None]) -> None:
    name = pod["metadata"]["name"]
    try:
        await _print(session, wanted, pod, f"{name}  ", True, say)
    except KubeError as error:
        click.echo(f"{name}: the log was cut off ({error}).", err=True)


def _status(pod: Obj) -> dict[str, Any]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return next((each for each in statuses if each["name"] == _container(pod)), {})


def _restarts(pod: Obj) -> int:
    return int(_status(pod).get("restartCount", 0))


def _runs(pod: Obj) -> bool:
    return "running" in (_status(pod).get("state") or {})
