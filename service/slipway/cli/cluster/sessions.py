"""A command's connection to a cluster, and what goes wrong with it in sentences."""

import asyncio
import difflib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import click

from slipway.cli.places import Cluster, MissingError
from slipway.kube import Client, Kind, Obj
from slipway.kube.calls import CallLimits
from slipway.kube.config import load
from slipway.kube.errors import (
    APIStatusError,
    ConfigError,
    ForbiddenError,
    KubeError,
    NotFoundError,
    UnauthorizedError,
    UnreachableError,
)
from slipway.kube.kinds import LLM_SERVICE

T = TypeVar("T")
MANAGER = "slipway-cli"
_LIMITS = CallLimits(connect=5.0, attempts=3)


@dataclass(frozen=True, slots=True)
class Session:
    """A client, and the namespace that the command works in."""

    client: Client
    own: str
    """Where an object is sought that is named without its namespace."""
    everywhere: bool

    @property
    def namespace(self) -> str | None:
        """Where objects are listed; None: everywhere."""
        return None if self.everywhere else self.own

    async def find(self, kind: Kind, name: str) -> Obj:
        """The object of this name. Raises MissingError, which names those like it."""
        try:
            return await self.client.get(kind, self.own, name)
        except NotFoundError as error:
            if not error.details.get("name"):
                raise  # The kind is not there at all.
        found = [item["metadata"] for item in (await self.client.list(kind)).items]
        raise MissingError(missing(kind, name, self.own, found)) from None


def missing(kind: Kind, name: str, namespace: str, found: list[Obj]) -> str:
    """That there is no such object, and what may have been meant; `found` is the metadata of all."""
    here = [each["name"] for each in found if each["namespace"] == namespace]
    elsewhere = sorted(each["namespace"] for each in found if each["name"] == name)
    said = f"There is no {kind.kind} {name!r} in the namespace {namespace}"
    if elsewhere:
        return f"{said}, but one in {', '.join(elsewhere)}: add -n {elsewhere[0]}."
    if like := difflib.get_close_matches(name, here, n=3):
        return f"{said}; did you mean {' or '.join(like)}?"
    if here:
        return f"{said}; there are {', '.join(sorted(here)[:10])}."
    return f"{said}, and no other either. `slipway get {_word(kind)} -A` shows those of all namespaces."


def _word(kind: Kind) -> str:
    return "keys" if kind.kind == "APIKey" else "services"


def on_cluster(place: Cluster, work: Callable[[Session], Awaitable[T]]) -> T:
    """Do `work` on the cluster. Raises ClickException with a sentence."""

    async def run() -> T:
        connection = load(os.environ, place.context)
        own = place.namespace or connection.namespace
        async with Client(connection, manager=MANAGER, limits=_LIMITS) as client:
            return await work(Session(client, own, place.everywhere))

    try:
        return asyncio.run(run())
    except KubeError as error:
        raise click.ClickException(sentence(error)) from None


def sentence(error: KubeError) -> str:
    """What is the matter and how to mend it."""
    said = str(error).rstrip(".")
    if isinstance(error, ConfigError):
        return f"No cluster to talk to: {said}. Set KUBECONFIG, or give --context; --state means a local run."
    if isinstance(error, UnreachableError):
        why = getattr(error.__cause__, "strerror", None) or said
        return f"The API server cannot be reached ({why}). Is the cluster up, and is this the right context?"
    if isinstance(error, UnauthorizedError):
        return "The API server does not know who asks: sign in again, or choose another --context."
    if isinstance(error, ForbiddenError):
        return f"The cluster does not allow it: {said}. Somebody may bind you the ClusterRole that has it."
    if isinstance(error, NotFoundError) and not error.details.get("name"):
        return "The cluster has no Slipway objects: install the chart, or `kubectl apply -k k8s/crds`."
    if isinstance(error, APIStatusError):
        return f"The API server refused: {said}."
    return f"The API server's answer cannot be used: {said}."


async def find_service(session: Session, name: str) -> Obj:
    """The LLMService of this name. Raises MissingError."""
    return await session.find(LLM_SERVICE, name)
