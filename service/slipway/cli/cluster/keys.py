"""`slipway key` on a cluster: APIKey objects, and the Secrets in which the operator puts the plain keys."""

import asyncio
import base64
import time
from dataclasses import dataclass
from typing import Any

import click

from slipway.cli.cluster.sessions import Session
from slipway.kube import Obj
from slipway.kube.errors import AlreadyExistsError, ForbiddenError, NotFoundError
from slipway.kube.kinds import API_KEY, SECRET
from slipway.objects.annotations import ROTATE_KEY, ROTATION_OVERLAP

_MADE_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Made:
    """A key, its object, and where it was made."""

    plain: str
    key: Obj


async def create_key(session: Session, name: str, spec: dict[str, Any]) -> Made:
    """Make an APIKey and read the key that the operator made for it. Raises ClickException, KubeError."""
    made = {"metadata": {"name": name, "namespace": session.own}, "spec": spec}
    try:
        await session.client.create(API_KEY, made)
    except AlreadyExistsError:
        raise click.ClickException(
            f"There is an APIKey {name} in {session.own} already; `slipway key rotate {name}` makes it anew."
        ) from None
    return await _await(session, name, "")


async def rotate_key(session: Session, name: str, overlap_s: int) -> Made:
    """Have the operator give a key a new secret; the one before works for `overlap_s` more seconds."""
    await session.find(API_KEY, name)
    asked = str(int(time.time() * 1000))
    annotations = {ROTATE_KEY: asked, ROTATION_OVERLAP: f"{overlap_s}s"}
    await session.client.merge(API_KEY, session.own, name, {"metadata": {"annotations": annotations}})
    return await _await(session, name, asked)


async def delete_key(session: Session, name: str) -> None:
    """Delete an APIKey, and with it its Secret. Raises ClickException if there is none."""
    await session.find(API_KEY, name)
    await session.client.delete(API_KEY, session.own, name)


async def _await(session: Session, name: str, rotation: str) -> Made:
    """The key once the operator has made it."""
    end = time.monotonic() + _MADE_WITHIN_S
    while True:
        key = await session.client.get(API_KEY, session.own, name)
        status = key.get("status") or {}
        if status.get("keyHash") and (not rotation or status.get("handledRotation") == rotation):
            return Made(await _plain(session, status.get("secretName") or f"apikey-{name}"), key)
        if time.monotonic() > end:
            raise click.ClickException(
                f"The operator has not made the key within {_MADE_WITHIN_S:g} s; once it runs, "
                f"`kubectl get secret apikey-{name} -n {session.own} -o jsonpath='{{.data.key}}' | base64 -d`"
                " prints it. `slipway status` says whether it runs."
            )
        await asyncio.sleep(0.2)


async def _plain(session: Session, secret: str) -> str:
    try:
        found = await session.client.get(SECRET, session.own, secret)
        return base64.b64decode(found["data"]["key"]).decode()
    except ForbiddenError:
        raise click.ClickException(
            f"The key is made. It is in the Secret {secret} of {session.own}, which you may not read."
        ) from None
    except (NotFoundError, KeyError):
        raise click.ClickException(
            f"The Secret {secret} of {session.own} does not hold the key any more: rotate it."
        ) from None
